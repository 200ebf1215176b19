//! Which distinct images a snapshot's containers want, before anything is asked of a registry.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use crate::image::{Digest, ImageReference, Platform, ReferenceError, Repository, RunningImage};
use crate::report::DigestSource;
use crate::snapshot::{ClusterSnapshot, ContainerRecord, Puller};

/// What is known of the running image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wanted {
    /// Its digest.
    Digest(Digest),
    /// Only a tag, to be resolved tonight.
    Tag(Arc<str>),
    /// A bare image id; the tag or digest of the reference may lead to it.
    ImageId(Digest, Result<Digest, Arc<str>>),
    /// The pod is over and no digest was reported: not looked up.
    NotRunning(Option<Arc<str>>),
    /// The reference breaks a rule.
    Invalid(ReferenceError),
}

/// A distinct image to inspect.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageTarget {
    /// Where it lies; none for references that could not be read.
    pub repository: Option<Repository>,
    /// What is wanted of it.
    pub wanted: Wanted,
    /// The node's platform.
    pub platform: Arc<Platform>,
    /// Who runs it: with their credentials it may be asked for.
    pub pullers: Arc<[Arc<Puller>]>,
}

/// What a container asks for.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Distinct targets, sorted.
    pub targets: Vec<ImageTarget>,
    /// For each container of the snapshot, in its order: the target, the tag, and where its digest
    /// comes from if the target has one.
    pub containers: Vec<(usize, Option<Arc<str>>, Option<DigestSource>)>,
}

impl Plan {
    /// Reduces a snapshot to its distinct images.
    pub fn of(snapshot: &ClusterSnapshot) -> Self {
        let mut targets = BTreeMap::<ImageTarget, usize>::new();
        let mut known = BTreeMap::new();
        let mut containers = Vec::with_capacity(snapshot.containers.len());
        for container in &snapshot.containers {
            let key = (
                &container.image,
                &container.image_id,
                &container.platform,
                container.is_over(),
            );
            let entry = known.entry(key).or_insert_with(|| {
                let (target, tag, source) = target(container);
                let next = targets.len();
                (*targets.entry(target).or_insert(next), tag, source)
            });
            containers.push(entry.clone());
        }
        // From the order in which they were met to sorted order.
        let mut places = vec![0; targets.len()];
        for (place, met) in targets.values().enumerate() {
            places[*met] = place;
        }
        for (target, ..) in &mut containers {
            *target = places[*target];
        }
        let mut targets: Vec<_> = targets.into_keys().collect();
        let places = containers.iter().map(|(target, ..)| *target);
        add_pullers(&mut targets, snapshot, places);
        Self {
            targets,
            containers,
        }
    }
}

/// Notes of each target who runs it, each once, in an order that does not depend on the pods'.
fn add_pullers(
    targets: &mut [ImageTarget],
    snapshot: &ClusterSnapshot,
    places: impl Iterator<Item = usize>,
) {
    let mut pullers = vec![BTreeSet::new(); targets.len()];
    // Rows share them: comparing addresses leaves few to compare by their content.
    let mut seen = HashSet::new();
    for (row, target) in snapshot.containers.iter().zip(places) {
        if seen.insert((target, Arc::as_ptr(&row.puller))) {
            pullers[target].insert(Arc::clone(&row.puller));
        }
    }
    for (target, pullers) in targets.iter_mut().zip(pullers) {
        target.pullers = pullers.into_iter().collect();
    }
}

fn target(container: &ContainerRecord) -> (ImageTarget, Option<Arc<str>>, Option<DigestSource>) {
    let platform = Arc::clone(&container.platform);
    let reference: ImageReference = match container.image.parse() {
        Ok(reference) => reference,
        Err(error) => {
            return (
                ImageTarget {
                    repository: None,
                    wanted: Wanted::Invalid(error),
                    platform,
                    pullers: Arc::default(),
                },
                None,
                None,
            );
        }
    };
    let running = container
        .image_id
        .as_deref()
        .map_or(RunningImage::Unknown, RunningImage::parse);
    let tag = reference.tag.clone();
    let fallback = || tag.clone().unwrap_or_else(|| "latest".into());
    let (wanted, source) = match (running, reference.digest) {
        (RunningImage::Digest(digest), _) => (Wanted::Digest(digest), Some(DigestSource::Status)),
        (RunningImage::ImageId(id), Some(digest)) => {
            (Wanted::ImageId(id, Ok(digest)), Some(DigestSource::ImageId))
        }
        (RunningImage::ImageId(id), None) => (
            Wanted::ImageId(id, Err(fallback())),
            Some(DigestSource::ImageId),
        ),
        (RunningImage::Unknown, _) if container.is_over() => {
            (Wanted::NotRunning(tag.clone()), None)
        }
        (RunningImage::Unknown, Some(digest)) => {
            (Wanted::Digest(digest), Some(DigestSource::Reference))
        }
        (RunningImage::Unknown, None) => (Wanted::Tag(fallback()), Some(DigestSource::Tag)),
    };
    (
        ImageTarget {
            repository: Some(reference.repository),
            wanted,
            platform,
            pullers: Arc::default(),
        },
        tag,
        source,
    )
}
