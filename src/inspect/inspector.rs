//! Inspects the images of a plan through a [`Registry`].

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::{StreamExt, stream};
use tokio::sync::{OnceCell, Semaphore};

use super::document::{
    Configuration, ManifestDocument, PlatformManifest, child_for, is_image_configuration, is_layer,
    not_an_image,
};
use super::layers::{Failures, Layer};
use super::plan::{ImageTarget, Wanted};
use super::record::{describe, empty_record};
use crate::image::{Digest, Platform, Repository};
use crate::os::{EolSubject, EolTable, HistoryEntry, LayerPolicy, ScanLimits, windows};
use crate::registry::pattern::AllowedRegistries;
use crate::registry::source::Pull;
use crate::registry::{Answer, InspectError, Registry};
use crate::report::{ErrorKind, ImageRecord, InspectionStatus};
use crate::reuse::Knowledge;
use crate::sync::lock;

/// Indexes in indexes that are followed: the OCI image specification allows them, few tools write one.
const MAX_INDEXES: usize = 3;
/// A manifest lists at most this many layers: overlayfs mounts 500, containerd 128.
const MAX_LAYERS: usize = 1_000;

/// The layers of an image may take this long in all: an image holds up one of few slots.
const MAX_LAYERS_TIME: Duration = Duration::from_secs(60 * 60);

/// What decides how images are inspected.
pub struct InspectorSettings {
    /// Which layers are read.
    pub layers: LayerPolicy,
    /// Bounds of a layer.
    pub scan_limits: ScanLimits,
    /// Images in work at once.
    pub concurrency: usize,
    /// Which registries are asked at all.
    pub allowed: AllowedRegistries,
    /// Images in work at once of one registry; by default half of all, where there are several.
    pub registry_concurrency: Option<usize>,
    /// End-of-life dates.
    pub eol: EolTable,
    /// Days before an end in which it is `ending`.
    pub eol_warn_days: u32,
    /// The run's time.
    pub now: DateTime<Utc>,
}

/// Manifests are remembered up to so many bytes in all. Real ones have a few KiB, so that 10,000 images
/// fit; a registry that sends 4 MiB for each shall not fill the memory.
const MAX_REMEMBERED_BYTES: usize = 64 << 20;

/// What was read once and verified. Failures are not in it: another registry may do better.
type Memo<K, V> = Mutex<HashMap<K, Arc<OnceCell<Arc<V>>>>>;

/// Inspects images; what several share is read once, and what an earlier run knows not at all.
pub struct Inspector<R> {
    pub(super) registry: R,
    pub(super) settings: InspectorSettings,
    pub(super) known: Knowledge,
    manifests: Memo<Digest, Vec<u8>>,
    manifest_bytes: AtomicUsize,
    pub(super) layers: Mutex<HashMap<Digest, Arc<Layer>>>,
    pub(super) failures: Failures,
}

impl<R: Registry> Inspector<R> {
    /// An inspector that has read nothing yet and knows what an earlier run knew.
    pub fn new(registry: R, settings: InspectorSettings, known: Knowledge) -> Self {
        Self {
            registry,
            settings,
            known,
            manifests: Memo::default(),
            manifest_bytes: AtomicUsize::new(0),
            layers: Mutex::default(),
            failures: Failures::default(),
        }
    }

    /// Inspects all targets, `done` being called after each; the records are in the targets' order.
    /// Namespaces take turns, so that none spends the night or a budget alone; of each, what has waited
    /// longest comes first, so that a deadline does not cut off the same ones for ever.
    pub async fn inspect(
        &self,
        targets: &[ImageTarget],
        done: impl Fn(&ImageRecord),
    ) -> Vec<ImageRecord> {
        let now = self.settings.now;
        let mut order: Vec<_> = targets.iter().enumerate().collect();
        order.sort_by_cached_key(|(_, target)| {
            self.known
                .may_wait_since(&empty_record(target))
                .unwrap_or(now)
        });
        let queues = by_registry(by_turns(order));
        let at_once = self.at_once_of_one(queues.len());
        // Whoever waits for a slot gets it in turn, and of a registry only a few wait.
        let (done, slots) = (&done, &Semaphore::new(self.settings.concurrency.max(1)));
        let queues = queues.into_iter().map(|queue| {
            let inspections = queue.into_iter().map(move |(place, target)| async move {
                let _slot = slots.acquire().await;
                let record = self.inspect_one(target).await;
                done(&record);
                (place, record)
            });
            // Unordered, or one slow image would hold up those behind it.
            let inspected = stream::iter(inspections).buffer_unordered(at_once);
            inspected.boxed_local()
        });
        let mut records: Vec<_> = stream::select_all(queues).collect().await;
        records.sort_unstable_by_key(|(place, _)| *place);
        records.into_iter().map(|(_, record)| record).collect()
    }

    /// Images in work at once of one registry, so that a slow one leaves slots to the others.
    fn at_once_of_one(&self, registries: usize) -> usize {
        let all = self.settings.concurrency.max(1);
        let default = if registries > 1 { all.div_ceil(2) } else { all };
        let wanted = self.settings.registry_concurrency.unwrap_or(default);
        wanted.clamp(1, all)
    }

    /// What an earlier run knew of images that are not among tonight's.
    pub fn carried(&self, tonight: &[ImageRecord]) -> Vec<ImageRecord> {
        self.known.carried(tonight)
    }

    async fn inspect_one(&self, target: &ImageTarget) -> ImageRecord {
        let mut record = empty_record(target);
        if let Err(error) = self.learn(target, &mut record).await {
            record.inspection_status = if record.os.is_some() {
                InspectionStatus::Partial
            } else if error.is_skipped {
                InspectionStatus::Skipped
            } else {
                InspectionStatus::Failed
            };
            record.error_kind = Some(error.kind);
            record.error_message = Some(error.message);
            if record.repository.is_some() && error.kind != ErrorKind::NotRunning {
                let waiting = [&record, &empty_record(target)];
                let since = waiting
                    .into_iter()
                    .find_map(|image| self.known.waiting_since(image));
                record.waiting_since = since.or(Some(self.settings.now));
            }
        }
        if record.os.is_some() {
            record.inspected_at.get_or_insert(self.settings.now);
            self.add_end_of_life(&mut record);
        }
        record
    }

    /// Fills the record, by what is known or by asking.
    async fn learn(
        &self,
        target: &ImageTarget,
        record: &mut ImageRecord,
    ) -> Result<(), InspectError> {
        let (pinned, image_id) = match &target.wanted {
            Wanted::Digest(digest) => (Ok(*digest), None),
            Wanted::Tag(tag) => (Err(tag), None),
            Wanted::ImageId(id, pinned) => (pinned.as_ref().copied(), Some(id)),
            Wanted::NotRunning(_) => {
                let message = "the pod is over and its node did not report a digest: nothing runs";
                return Err(InspectError::new(ErrorKind::NotRunning, message));
            }
            Wanted::Invalid(error) => {
                let message = format!("{error}: correct the pod's image");
                return Err(InspectError::new(ErrorKind::Invalid, message));
            }
        };
        let Some(repository) = &target.repository else {
            let message = "an image without a repository was to be inspected: report this";
            return Err(InspectError::new(ErrorKind::Internal, message));
        };
        self.settings.allowed.check(repository)?;
        let pull = &Pull {
            repository: repository.clone(),
            pullers: Arc::clone(&target.pullers),
        };
        let digest = match pinned {
            Ok(digest) => digest,
            Err(tag) => self.registry.resolve(pull, tag).await?,
        };
        let Some(known) = self.known.image(&digest, &target.platform) else {
            return self.ask(target, pull, digest, image_id, record).await;
        };
        if known.is_due {
            let mut renewed = record.clone();
            let asked = self.ask(target, pull, digest, image_id, &mut renewed);
            if asked.await.is_ok() {
                *record = renewed;
                return Ok(());
            }
        }
        let facts = &known.record;
        is_running(image_id, facts.config_digest.as_ref())?;
        *record = ImageRecord {
            registry: record.registry.clone(),
            repository: record.repository.clone(),
            tag: None,
            digest: Some(digest),
            image_id: None,
            platform: Arc::clone(&record.platform),
            waiting_since: None,
            last_seen: None,
            ..facts.as_ref().clone()
        };
        Ok(())
    }

    /// Fills the record from the registry.
    async fn ask(
        &self,
        target: &ImageTarget,
        pull: &Pull,
        digest: Digest,
        image_id: Option<&Digest>,
        record: &mut ImageRecord,
    ) -> Result<(), InspectError> {
        let found = self
            .platform_manifest(pull, &digest, &target.platform)
            .await?;
        let manifest = &found.manifest;
        let config = manifest
            .config
            .as_ref()
            .ok_or_else(|| not_an_image(manifest.artifact_type.as_deref()))?;
        is_running(image_id, Some(&config.digest))?;
        record.digest = Some(digest);
        record.tag = None;
        record.image_id = None;
        record.manifest_digest = Some(found.digest);
        if !is_image_configuration(&config.media_type) {
            return Err(not_an_image(Some(&config.media_type)));
        }
        let layers = manifest.layers.as_deref().unwrap_or_default();
        // Signatures and attestations have an image's configuration in form, and layers of their own.
        if !layers.is_empty() && !layers.iter().any(|layer| is_layer(&layer.media_type)) {
            return Err(not_an_image(None));
        }
        let answer = self.registry.configuration(pull, &config.digest).await?;
        verify(&answer, &config.digest, pull)?;
        let bytes = answer.value;
        let configuration: Configuration =
            serde_json::from_slice(&bytes).map_err(|_| invalid(pull, "configuration"))?;
        if layers.len() > MAX_LAYERS {
            return Err(InspectError::new(
                ErrorKind::Invalid,
                "the manifest lists over 1,000 layers: rebuild the image",
            ));
        }
        describe(record, &found, &configuration, config, layers);
        record.inspected_via = answer.via.map(|mirror| mirror.to_string());
        if record.os.is_none() {
            return Err(invalid(pull, "configuration"));
        }
        if record.os.as_deref() == Some("windows") {
            let version = record.os_version.as_deref();
            record.distro_release = version.and_then(windows::release_name).map(Into::into);
            return Ok(());
        }
        let history: Vec<_> = configuration
            .history
            .unwrap_or_default()
            .0
            .into_iter()
            .map(|entry| HistoryEntry {
                created_by: entry.created_by,
                empty_layer: entry.empty_layer,
            })
            .collect();
        let found = self.find_distribution(pull, layers, &history, record);
        let found = tokio::time::timeout(MAX_LAYERS_TIME, found).await;
        found.unwrap_or_else(|_| {
            let registry = &pull.registry;
            let message =
                format!("{registry} took over an hour for the layers: see whether it is well");
            Err(InspectError::new(ErrorKind::Timeout, message))
        })
    }

    /// The manifest that a node of `platform` runs.
    async fn platform_manifest(
        &self,
        pull: &Pull,
        digest: &Digest,
        platform: &Platform,
    ) -> Result<PlatformManifest, InspectError> {
        let mut found = PlatformManifest {
            digest: *digest,
            manifest: self.manifest(pull, digest, false).await?,
            index_annotations: Default::default(),
        };
        for _ in 0..MAX_INDEXES {
            let Some(children) = &found.manifest.manifests else {
                return Ok(found);
            };
            let child = child_for(platform, children).ok_or_else(|| {
                let message =
                    format!("the image has no manifest for {platform}: build it for this platform");
                InspectError::new(ErrorKind::NotFound, message)
            })?;
            found = PlatformManifest {
                digest: child.digest,
                index_annotations: [
                    child.annotations.clone(),
                    found.manifest.annotations.clone().unwrap_or_default(),
                ],
                manifest: self.manifest(pull, &child.digest, true).await?,
            };
        }
        if found.manifest.manifests.is_none() {
            return Ok(found);
        }
        let message = "the image is an index of indexes of indexes: push a plain one";
        Err(InspectError::new(ErrorKind::Unsupported, message))
    }

    async fn manifest(
        &self,
        pull: &Pull,
        digest: &Digest,
        child: bool,
    ) -> Result<ManifestDocument, InspectError> {
        let cell = remembered(&self.manifests, *digest);
        let bytes = cell
            .get_or_try_init(|| async {
                let answer = self.registry.manifest(pull, digest, child).await?;
                verify(&answer, digest, pull)?;
                self.bound_manifests(digest, answer.value.len());
                Ok::<_, InspectError>(Arc::new(answer.value))
            })
            .await?;
        let document: ManifestDocument =
            serde_json::from_slice(bytes).map_err(|_| invalid(pull, "manifest"))?;
        if document.schema_version == 1 {
            let message = "the image has the obsolete manifest schema 1: push it again";
            return Err(InspectError::new(ErrorKind::Unsupported, message));
        }
        Ok(document)
    }

    /// Forgets a manifest for which there is no room: who waits for it now still gets it.
    fn bound_manifests(&self, digest: &Digest, length: usize) {
        let before = self.manifest_bytes.fetch_add(length, Ordering::Relaxed);
        if before + length > MAX_REMEMBERED_BYTES {
            self.manifest_bytes.fetch_sub(length, Ordering::Relaxed);
            let mut memo = lock(&self.manifests);
            memo.remove(digest);
        }
    }

    fn add_end_of_life(&self, record: &mut ImageRecord) {
        let distribution = record.distribution.as_ref();
        let is_windows = record.os.as_deref() == Some("windows");
        let subject = EolSubject {
            id: distribution
                .and_then(|d| d.id.as_deref())
                .or(is_windows.then_some("windows")),
            version: distribution.and_then(|d| d.version.as_deref()),
            name: distribution.and_then(|d| d.os_name.as_deref().or(d.name.as_deref())),
            release: distribution.and_then(|d| d.release.as_deref()),
            os_version: record.os_version.as_deref().filter(|_| is_windows),
        };
        let end = self.settings.eol.status(
            &subject,
            self.settings.now.date_naive(),
            self.settings.eol_warn_days,
        );
        record.eol_status = end.status;
        record.eol_date = end.date;
        record.eol_extended_date = end.extended_date;
    }
}

/// The first image of each namespace, then the second of each, and so on; what several run comes at the
/// best of their turns.
fn by_turns(mut order: Vec<(usize, &ImageTarget)>) -> Vec<(usize, &ImageTarget)> {
    let mut turns = HashMap::<&str, usize>::new();
    order.sort_by_cached_key(|(_, target)| {
        let namespaces: BTreeSet<_> = target.pullers.iter().map(|by| &*by.namespace).collect();
        let theirs = namespaces.into_iter().map(|namespace| {
            let turn = turns.entry(namespace).or_default();
            *turn += 1;
            *turn
        });
        theirs.min()
    });
    order
}

/// A queue for each registry, in the order of their first images.
fn by_registry(order: Vec<(usize, &ImageTarget)>) -> Vec<Vec<(usize, &ImageTarget)>> {
    let mut queues: Vec<Vec<_>> = Vec::new();
    let mut known = HashMap::new();
    for (place, target) in order {
        let registry = target
            .repository
            .as_ref()
            .map(|at| Arc::clone(&at.registry));
        let queue = *known.entry(registry).or_insert(queues.len());
        if queue == queues.len() {
            queues.push(Vec::new());
        }
        queues[queue].push((place, target));
    }
    queues
}

fn remembered<K: std::hash::Hash + Eq, V>(memo: &Memo<K, V>, key: K) -> Arc<OnceCell<Arc<V>>> {
    // A poisoned map is still a map: its entries are set once and whole.
    let mut memo = lock(memo);
    Arc::clone(memo.entry(key).or_default())
}

/// Whether the node's bare image id is that of a configuration.
fn is_running(image_id: Option<&Digest>, config: Option<&Digest>) -> Result<(), InspectError> {
    if image_id.is_none() || image_id == config {
        return Ok(());
    }
    let message =
        "the running image is no longer behind this tag: restart the pod, or pin its digest";
    Err(InspectError::new(ErrorKind::NotFound, message))
}

fn verify(
    answer: &Answer<Vec<u8>>,
    digest: &Digest,
    repository: &Repository,
) -> Result<(), InspectError> {
    if Digest::of(&answer.value) == *digest {
        return Ok(());
    }
    let registry = answer.via.as_ref().unwrap_or(&repository.registry);
    let message = format!(
        "{registry} sent content that does not have the digest that was asked for: do not trust it"
    );
    Err(InspectError::new(ErrorKind::Invalid, message))
}

fn invalid(repository: &Repository, what: &str) -> InspectError {
    let registry = &repository.registry;
    InspectError::new(
        ErrorKind::Invalid,
        format!("the {what} that {registry} holds cannot be read: push the image again"),
    )
}
