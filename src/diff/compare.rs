//! The comparison itself: two sorted maps, key by key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::side::{Distro, Facts, Key, Running};
use super::{Change, ChangeKind, Diff, DiffImage, DiffRun, Side, TransientCounts};
use crate::image::{Digest, Platform};
use crate::os::EolStatus;
use crate::report::{ContainerType, Header, SCHEMA_VERSION};

/// What is left out or taken in.
#[derive(Debug, Clone, Default)]
pub struct DiffOptions {
    /// Only these kinds; empty means all.
    pub only: Vec<ChangeKind>,
    /// Only these namespaces; empty means all.
    pub namespaces: Vec<String>,
    /// List what comes and goes by its nature, too.
    pub include_transient: bool,
}

/// Compares two reports; `None` if one has no head. Only what the scopes of both include is compared.
pub fn compare(old: &Side, new: &Side, options: &DiffOptions) -> Option<Diff> {
    let heads = (old.header()?, new.header()?);
    let mut diff = Diff {
        schema_version: SCHEMA_VERSION.into(),
        old: DiffRun::from(heads.0),
        new: DiffRun::from(heads.1),
        counts: BTreeMap::new(),
        transient: TransientCounts::default(),
        changes: Vec::new(),
    };
    let keys: BTreeSet<&Key> = old.containers.keys().chain(new.containers.keys()).collect();
    for key in keys {
        if !is_compared(key, heads, options) {
            continue;
        }
        let (then, now) = (old.containers.get(key), new.containers.get(key));
        let sides = Sides {
            old,
            new,
            then,
            now,
        };
        if !options.include_transient && is_transient(key, then, now) {
            diff.transient.added += u64::from(then.is_none());
            diff.transient.removed += u64::from(now.is_none());
            continue;
        }
        let mut kinds = sides.kinds(key);
        if !options.only.is_empty() {
            kinds.retain(|kind| options.only.contains(kind));
        }
        if kinds.is_empty() {
            continue;
        }
        for kind in &kinds {
            *diff.counts.entry(*kind).or_default() += 1;
        }
        diff.changes.push(Change {
            namespace: key.namespace.to_string(),
            workload_kind: key.workload_kind.to_string(),
            workload_name: key.workload_name.to_string(),
            container_type: key.container_type,
            container: key.container.to_string(),
            kinds: kinds.into_iter().collect(),
            old: images(old, then),
            new: images(new, now),
        });
    }
    Some(diff)
}

fn is_compared(key: &Key, heads: (&Header, &Header), options: &DiffOptions) -> bool {
    let asked = options.namespaces.is_empty()
        || options
            .namespaces
            .iter()
            .any(|name| **name == *key.namespace);
    asked && heads.0.scope.includes(&key.namespace) && heads.1.scope.includes(&key.namespace)
}

/// Ephemeral containers; Jobs without a CronJob; bare pods and pods of unknown controllers that have
/// run to completion.
fn is_transient(key: &Key, then: Option<&Running>, now: Option<&Running>) -> bool {
    let over = || then.into_iter().chain(now).all(|running| running.is_over);
    key.container_type == ContainerType::Ephemeral
        || match &*key.workload_kind {
            "Job" => true,
            "CronJob" | "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "StaticPod"
            | "Rollout" => false,
            _ => over(),
        }
}

fn images(side: &Side, running: Option<&Running>) -> Vec<DiffImage> {
    let images = running.into_iter().flat_map(|running| &running.images);
    let images: BTreeSet<_> = images
        .map(|(reference, index)| describe(reference, &side.images[*index]))
        .collect();
    images.into_iter().collect()
}

fn describe(reference: &Arc<str>, facts: &Facts) -> DiffImage {
    let text = |text: Option<&Arc<str>>| text.map(ToString::to_string);
    let distribution = facts.distribution.as_ref();
    DiffImage {
        image: reference.to_string(),
        manifest_digest: facts.manifest_digest,
        platform: facts.platform.to_string(),
        distro_id: text(distribution.and_then(|d| d.id.as_ref())),
        distro_version: text(distribution.and_then(|d| d.version.as_ref())),
        distro_name: text(distribution.and_then(|d| d.name.as_ref())),
        eol_status: facts.eol_status,
        inspection_status: facts.status,
        error_kind: facts.error_kind,
    }
}

/// One key on both sides.
struct Sides<'a> {
    old: &'a Side,
    new: &'a Side,
    then: Option<&'a Running>,
    now: Option<&'a Running>,
}

/// Where the same tag leads, by reference and platform.
type Manifests<'a> = BTreeMap<(&'a Arc<str>, &'a Arc<Platform>), BTreeSet<Digest>>;

impl Sides<'_> {
    fn kinds(&self, key: &Key) -> BTreeSet<ChangeKind> {
        let mut kinds = BTreeSet::new();
        let was_mixed = !mixed(&manifests(self.old, self.then)).is_empty();
        match (self.then, self.now) {
            (None, Some(_)) => {
                kinds.insert(ChangeKind::Added);
            }
            (Some(_), None) if *key.workload_kind == *"CronJob" => {
                kinds.insert(ChangeKind::NotRunning);
            }
            (Some(_), None) => {
                kinds.insert(ChangeKind::Removed);
            }
            (Some(then), Some(now)) => self.changed(then, now, &mut kinds),
            (None, None) => {}
        }
        // One tag with two manifests in one night, that had one the night before or was not there.
        if self.now.is_some() && !was_mixed && !mixed(&manifests(self.new, self.now)).is_empty() {
            kinds.insert(ChangeKind::MovedTag);
        }
        kinds
    }

    fn changed(&self, then: &Running, now: &Running, kinds: &mut BTreeSet<ChangeKind>) {
        let old = Facet::of(self.old, then);
        let new = Facet::of(self.new, now);
        if old.references != new.references {
            kinds.insert(ChangeKind::ReferenceChanged);
            if old.registries != new.registries {
                kinds.insert(ChangeKind::RegistryChanged);
            }
        }
        let (before, after) = (
            manifests(self.old, self.then),
            manifests(self.new, self.now),
        );
        let has_moved = |(tag, now): (&_, &BTreeSet<Digest>)| {
            before
                .get(tag)
                .is_some_and(|then: &BTreeSet<_>| !now.is_subset(then))
        };
        if after.iter().any(has_moved) {
            kinds.insert(ChangeKind::MovedTag);
        }
        if differ(
            &old.distributions,
            old.is_whole,
            &new.distributions,
            new.is_whole,
        ) {
            kinds.insert(ChangeKind::DistributionChanged);
        }
        // Entered: it is in that state now, and as far as was known then it was in none as bad.
        let was = |status| old.statuses.contains(&status);
        if old.is_whole && new.statuses.contains(&EolStatus::Eol) && !was(EolStatus::Eol) {
            kinds.insert(ChangeKind::EnteredEol);
        }
        let was_extended = was(EolStatus::Extended) || was(EolStatus::Eol);
        if old.is_whole && new.statuses.contains(&EolStatus::Extended) && !was_extended {
            kinds.insert(ChangeKind::EnteredExtended);
        }
        match (old.is_missed, new.is_missed) {
            (false, true) => kinds.insert(ChangeKind::NoLongerInspectable),
            (true, false) if new.is_whole => kinds.insert(ChangeKind::AgainInspectable),
            _ => false,
        };
    }
}

/// Whether two sets differ, as far as both are known: what is new on a side counts only if all of the
/// other is known.
fn differ<T: Ord>(
    old: &BTreeSet<T>,
    old_is_whole: bool,
    new: &BTreeSet<T>,
    new_is_whole: bool,
) -> bool {
    if old.is_empty() || new.is_empty() {
        return false;
    }
    (old_is_whole && !new.is_subset(old)) || (new_is_whole && !old.is_subset(new))
}

/// What is compared of one side.
struct Facet<'a> {
    references: BTreeSet<&'a Arc<str>>,
    registries: BTreeSet<Option<&'a Arc<str>>>,
    distributions: BTreeSet<Distro>,
    statuses: BTreeSet<EolStatus>,
    /// Every image was inspected.
    is_whole: bool,
    /// An image could not be inspected that should have been.
    is_missed: bool,
}

impl<'a> Facet<'a> {
    fn of(side: &'a Side, running: &'a Running) -> Self {
        let facts = |place: usize| &side.images[place];
        let known = running
            .images
            .iter()
            .map(|(_, place)| facts(*place))
            .filter(|facts| facts.is_known());
        Self {
            references: running.images.iter().map(|(image, _)| image).collect(),
            registries: running
                .images
                .iter()
                .map(|(_, place)| facts(*place).registry.as_ref())
                .collect(),
            distributions: known.clone().filter_map(Facts::distro_identity).collect(),
            statuses: known.clone().filter_map(|facts| facts.eol_status).collect(),
            is_whole: known.count() == running.images.len(),
            is_missed: running
                .images
                .iter()
                .any(|(_, place)| facts(*place).is_missed()),
        }
    }
}

fn manifests<'a>(side: &'a Side, running: Option<&'a Running>) -> Manifests<'a> {
    let mut manifests = Manifests::new();
    for (reference, place) in running.into_iter().flat_map(|running| &running.images) {
        let facts = &side.images[*place];
        if let Some(digest) = facts.manifest_digest {
            let key = (reference, &facts.platform);
            manifests.entry(key).or_default().insert(digest);
        }
    }
    manifests
}

fn mixed<'a, 'b>(manifests: &'b Manifests<'a>) -> Vec<&'b (&'a Arc<str>, &'a Arc<Platform>)> {
    let several = manifests.iter().filter(|(_, digests)| digests.len() > 1);
    several.map(|(tag, _)| tag).collect()
}
