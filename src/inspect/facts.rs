//! Inspects the images of a plan through a [`Registry`].

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use futures::StreamExt;
use serde::Deserialize;
use tokio::sync::OnceCell;

use super::plan::{ImageTarget, Wanted};
use crate::image::{Digest, Platform, Repository};
use crate::os::{
    Certainty, EolSubject, EolTable, HistoryEntry, Identification, LayerError, LayerFinding,
    LayerPolicy, LayerState, Limit, ScanLimits, ScanRequest, Step, layer_infos, next_step,
    scan_layer, windows,
};
use crate::registry::{InspectError, Registry};
use crate::report::{ErrorKind, ImageRecord, InspectionStatus, LayerRecord};
use crate::reuse::Knowledge;

/// Longest text that is kept of a configuration, in bytes.
const MAX_TEXT_BYTES: usize = 1_024;
/// Labels that the OCI image specification predefines begin so ("Annotations").
const OCI_LABELS: &str = "org.opencontainers.image.";
/// Indexes in indexes that are followed: the OCI image specification allows them, few tools write one.
const MAX_INDEXES: usize = 3;
/// A manifest lists at most this many layers: overlayfs mounts 500, containerd 128.
const MAX_LAYERS: usize = 1_000;

/// What decides how images are inspected.
pub struct InspectorSettings {
    /// Which layers are read.
    pub layers: LayerPolicy,
    /// Bounds of a layer.
    pub scan_limits: ScanLimits,
    /// Images in work at once.
    pub concurrency: usize,
    /// End-of-life dates.
    pub eol: EolTable,
    /// Days before an end in which it is `ending`.
    pub eol_warn_days: u32,
    /// The run's time.
    pub now: DateTime<Utc>,
}

/// A layer is asked of a registry so often, then all other images that share it fail alike. Crane has
/// tried each time as often as it does; a base that hundreds share must not cost as many time limits.
const LAYER_ATTEMPTS: u8 = 3;

/// Manifests are remembered up to so many bytes in all. Real ones have a few KiB, so that 10,000 images
/// fit; a registry that sends 4 MiB for each shall not fill the memory.
const MAX_REMEMBERED_BYTES: usize = 64 << 20;

/// What was read once and verified. Failures are not in it: another registry may do better.
type Memo<K, V> = Mutex<HashMap<K, Arc<OnceCell<Arc<V>>>>>;

/// A layer's findings, each for another request. Whoever reads the layer holds
/// the lock, so that others wait for the finding instead of reading the layer too.
type Findings = tokio::sync::Mutex<Vec<LayerFinding>>;

/// Inspects images; what several share is read once, and what an earlier run knows not at all.
pub struct Inspector<R> {
    registry: R,
    settings: InspectorSettings,
    known: Knowledge,
    manifests: Memo<Digest, Vec<u8>>,
    manifest_bytes: AtomicUsize,
    layers: Mutex<HashMap<Digest, Arc<Findings>>>,
    failures: Failures,
}

/// A platform's manifest, and where it was found.
struct PlatformManifest {
    digest: Digest,
    manifest: ManifestDocument,
    /// Annotations of its entry in the index, then those of the index itself.
    index_annotations: [BTreeMap<String, String>; 2],
}

/// How often a layer failed at a registry, and how the last time.
type Failures = Mutex<HashMap<(Arc<str>, Digest), (u8, LayerFailure)>>;

/// A layer that was not read to its end; what was found until then is not verified, and serves images
/// of this registry only.
#[derive(Clone)]
struct LayerFailure {
    error: InspectError,
    found: Option<LayerFinding>,
}

impl From<InspectError> for LayerFailure {
    fn from(error: InspectError) -> Self {
        Self { error, found: None }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    digest: Digest,
    #[serde(default)]
    media_type: String,
    size: Option<u64>,
    platform: Option<DescribedPlatform>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct DescribedPlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
    #[serde(rename = "os.version")]
    os_version: Option<String>,
}

/// An index or a manifest.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ManifestDocument {
    schema_version: u64,
    artifact_type: Option<String>,
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Configuration {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
    #[serde(rename = "os.version")]
    os_version: Option<String>,
    created: Option<String>,
    config: Option<RunConfiguration>,
    history: Option<Vec<History>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct RunConfiguration {
    user: Option<String>,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct History {
    created_by: Option<String>,
    empty_layer: bool,
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
    /// What has waited longest comes first, so that a deadline does not cut off the same ones for ever.
    pub async fn inspect(
        &self,
        targets: &[ImageTarget],
        done: impl Fn(&ImageRecord),
    ) -> Vec<ImageRecord> {
        let done = &done;
        let now = self.settings.now;
        let mut order: Vec<_> = targets.iter().enumerate().collect();
        order.sort_by_cached_key(|(_, target)| {
            self.known
                .waiting_since(&empty_record(target))
                .unwrap_or(now)
        });
        let inspections = order.into_iter().map(|(place, target)| async move {
            let record = self.inspect_one(target).await;
            done(&record);
            (place, record)
        });
        // Unordered, or one slow image would hold up those behind it.
        let mut records: Vec<_> = futures::stream::iter(inspections)
            .buffer_unordered(self.settings.concurrency.max(1))
            .collect()
            .await;
        records.sort_unstable_by_key(|(place, _)| *place);
        records.into_iter().map(|(_, record)| record).collect()
    }

    /// What an earlier run knew of images that are not among tonight's.
    pub fn carried(&self, tonight: &[ImageRecord]) -> Vec<ImageRecord> {
        self.known.carried(tonight)
    }

    /// The layers that were read to their end and verified, tonight or before, by digest.
    pub fn layers(&self) -> Vec<LayerRecord> {
        let memo = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut findings = BTreeMap::new();
        for (digest, known) in memo.iter() {
            // Nothing is being read any more.
            let Ok(known) = known.try_lock() else {
                continue;
            };
            // One that tells about more paths serves the requests for fewer.
            let widest = known.iter().max_by_key(|known| known.requested.len());
            findings.extend(widest.map(|finding| (*digest, finding.clone())));
        }
        let read = findings.into_iter().map(|(digest, finding)| LayerRecord {
            digest,
            finding,
            inspected_at: self.settings.now,
        });
        let mut layers = self.known.layers().clone();
        layers.extend(read.map(|layer| (layer.digest, layer)));
        layers.into_values().collect()
    }

    async fn inspect_one(&self, target: &ImageTarget) -> ImageRecord {
        let mut record = empty_record(target);
        if let Err(error) = self.learn(target, &mut record).await {
            record.inspection_status = match error.kind {
                _ if record.os.is_some() => InspectionStatus::Partial,
                ErrorKind::Deadline | ErrorKind::NotRunning | ErrorKind::Policy => {
                    InspectionStatus::Skipped
                }
                _ => InspectionStatus::Failed,
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
        let digest = match pinned {
            Ok(digest) => digest,
            Err(tag) => self.registry.resolve(repository, tag).await?,
        };
        let Some(known) = self.known.image(&digest, &target.platform) else {
            return self.ask(target, repository, digest, image_id, record).await;
        };
        if known.is_due {
            let mut renewed = record.clone();
            let asked = self.ask(target, repository, digest, image_id, &mut renewed);
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
        repository: &Repository,
        digest: Digest,
        image_id: Option<&Digest>,
        record: &mut ImageRecord,
    ) -> Result<(), InspectError> {
        let found = self
            .platform_manifest(repository, &digest, &target.platform)
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
        let bytes = self
            .registry
            .configuration(repository, &config.digest)
            .await?;
        verify(&bytes, &config.digest, repository)?;
        let configuration: Configuration =
            serde_json::from_slice(&bytes).map_err(|_| invalid(repository, "configuration"))?;
        if layers.len() > MAX_LAYERS {
            return Err(InspectError::new(
                ErrorKind::Invalid,
                "the manifest lists over 1,000 layers: rebuild the image",
            ));
        }
        describe(record, &found, &configuration, config, layers);
        if record.os.is_none() {
            return Err(invalid(repository, "configuration"));
        }
        if record.os.as_deref() == Some("windows") {
            let version = record.os_version.as_deref();
            record.distro_release = version.and_then(windows::release_name).map(Into::into);
            return Ok(());
        }
        let history: Vec<_> = configuration
            .history
            .unwrap_or_default()
            .into_iter()
            .map(|entry| HistoryEntry {
                created_by: entry.created_by,
                empty_layer: entry.empty_layer,
            })
            .collect();
        self.find_distribution(repository, layers, &history, record)
            .await
    }

    /// The manifest that a node of `platform` runs.
    async fn platform_manifest(
        &self,
        repository: &Repository,
        digest: &Digest,
        platform: &Platform,
    ) -> Result<PlatformManifest, InspectError> {
        let mut found = PlatformManifest {
            digest: *digest,
            manifest: self.manifest(repository, digest).await?,
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
                manifest: self.manifest(repository, &child.digest).await?,
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
        repository: &Repository,
        digest: &Digest,
    ) -> Result<ManifestDocument, InspectError> {
        let cell = remembered(&self.manifests, *digest);
        let bytes = cell
            .get_or_try_init(|| async {
                let bytes = self.registry.manifest(repository, digest).await?;
                verify(&bytes, digest, repository)?;
                self.bound_manifests(digest, bytes.len());
                Ok::<_, InspectError>(Arc::new(bytes))
            })
            .await?;
        let document: ManifestDocument =
            serde_json::from_slice(bytes).map_err(|_| invalid(repository, "manifest"))?;
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
            let mut memo = self
                .manifests
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            memo.remove(digest);
        }
    }

    async fn find_distribution(
        &self,
        repository: &Repository,
        layers: &[Descriptor],
        history: &[HistoryEntry],
        record: &mut ImageRecord,
    ) -> Result<(), InspectError> {
        let sizes: Vec<_> = layers.iter().map(|layer| layer.size).collect();
        let infos = layer_infos(&sizes, history);
        let mut read: Vec<LayerReading> = layers.iter().map(|_| None).collect();
        let (identification, certainty) = loop {
            let states: Vec<_> = read.iter().map(state_of).collect();
            match next_step(self.settings.layers, &infos, &states) {
                Step::Done {
                    identification,
                    certainty,
                } => break (identification, certainty),
                Step::Read { layer, request } => {
                    let Some(descriptor) = layers.get(layer) else {
                        break (Identification::None, Certainty::Doubtful);
                    };
                    let scanned = if descriptor.media_type.ends_with("+encrypted") {
                        Err(encrypted().into())
                    } else {
                        self.layer(repository, &descriptor.digest, request).await
                    };
                    // The registry is not well, or we are at the end: the other layers would fail,
                    // too, after as long a time, and the image's result is known.
                    if let Err(LayerFailure { error, .. }) = &scanned
                        && matches!(
                            error.kind,
                            ErrorKind::Deadline
                                | ErrorKind::Timeout
                                | ErrorKind::Network
                                | ErrorKind::RateLimited
                        )
                    {
                        return Err(error.clone());
                    }
                    read[layer] = Some(scanned);
                }
            }
        };
        let failure = read
            .into_iter()
            .flatten()
            .find_map(Result::err)
            .map(|failure| failure.error);
        // What a history says of a layer is its author's word.
        record.distribution_certain = failure.is_none() && certainty == Certainty::Proved;
        match (identification, failure) {
            // Of a layer over the limit its beginning was read: that serves this image, as partial.
            (Identification::Found(found), failure)
                if failure
                    .as_ref()
                    .is_none_or(|error| error.kind == ErrorKind::Policy) =>
            {
                record.distribution_layer = layers.get(found.layer).map(|layer| layer.digest);
                record.distro_source = Some(found.source.clone());
                record.distro_release = found.release.clone();
                record.distribution = Some(found);
                failure.map_or(Ok(()), Err)?;
            }
            // A layer that was not read may say otherwise: unknown, not half known.
            (_, Some(failure)) => return Err(failure),
            (Identification::None, None) if certainty != Certainty::Doubtful => {
                record.distro_source = Some("none".into());
            }
            (_, None) => {
                let message =
                    "the file that names the distribution is too large or cannot be resolved";
                return Err(InspectError::new(ErrorKind::Policy, message));
            }
        }
        Ok(())
    }

    async fn layer(
        &self,
        repository: &Repository,
        digest: &Digest,
        request: ScanRequest,
    ) -> Result<LayerFinding, LayerFailure> {
        if let Some(known) = self
            .known
            .layer(digest)
            .filter(|known| known.serves(&request))
        {
            return Ok(known.narrowed(&request));
        }
        let findings = {
            let mut memo = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(memo.entry(*digest).or_default())
        };
        let mut findings = findings.lock().await;
        if let Some(known) = findings.iter().find(|known| known.serves(&request)) {
            return Ok(known.narrowed(&request));
        }
        if let Some(failure) = self.given_up(repository, digest) {
            return Err(failure);
        }
        // What is read anew tells about all that was asked for before too, as far as that is bounded.
        let limits = self.settings.scan_limits.clone();
        let mut wider = request.clone();
        let before = findings.iter().flat_map(|known| known.requested.clone());
        wider.extra_paths.extend(before);
        if wider.extra_paths.len() > limits.max_extra_paths {
            wider = request.clone();
        }
        let scan = move |reader: &mut dyn std::io::Read| scan_layer(reader, &wider, &limits);
        let failure = match self.registry.layer(repository, digest, scan).await {
            Ok((Ok(finding), true)) => {
                let narrowed = finding.narrowed(&request);
                findings.push(finding);
                return Ok(narrowed);
            }
            Ok((Ok(_), false)) => broken_off(repository).into(),
            Ok((Err(error), _)) => layer_failure(error, repository),
            Err(error) => error.into(),
        };
        self.note_failure(repository, digest, &failure);
        Err(failure)
    }

    /// Why a layer is not asked of this registry any more.
    fn given_up(&self, repository: &Repository, digest: &Digest) -> Option<LayerFailure> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let (times, failure) = failures.get(&(Arc::clone(&repository.registry), *digest))?;
        (*times >= LAYER_ATTEMPTS).then(|| failure.clone())
    }

    fn note_failure(&self, repository: &Repository, digest: &Digest, failure: &LayerFailure) {
        // These are a repository's own, and known at once.
        if matches!(
            failure.error.kind,
            ErrorKind::Unauthorized | ErrorKind::Denied | ErrorKind::NotFound
        ) {
            return;
        }
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (Arc::clone(&repository.registry), *digest);
        let times = failures.get(&key).map_or(0, |(times, _)| *times);
        failures.insert(key, (times.saturating_add(1), failure.clone()));
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

/// The entry of an index that a node of `platform` runs.
fn child_for<'a>(platform: &Platform, children: &'a [Descriptor]) -> Option<&'a Descriptor> {
    let rank = |child: &&Descriptor| {
        let offered = child.platform.as_ref()?;
        platform.rank(&Platform {
            os: offered.os.clone(),
            architecture: offered.architecture.clone(),
            variant: offered.variant.clone(),
            os_version: offered.os_version.clone(),
        })
    };
    // BuildKit's attestations are children for no platform.
    let is_image =
        |child: &&Descriptor| !child.annotations.contains_key("vnd.docker.reference.type");
    let mut images = children.iter().filter(is_image);
    let ranked = images.clone().filter(|child| rank(child).is_some());
    ranked.min_by_key(rank).or_else(|| {
        // An only entry without a platform is what it is, as if there were no index.
        let only = images.next().filter(|child| child.platform.is_none())?;
        images.next().is_none().then_some(only)
    })
}

type LayerReading = Option<Result<LayerFinding, LayerFailure>>;

fn state_of(reading: &LayerReading) -> LayerState<'_> {
    match reading {
        None => LayerState::Unread,
        Some(Ok(finding)) => LayerState::Read(finding),
        Some(Err(LayerFailure {
            found: Some(finding),
            ..
        })) => LayerState::Partial(finding),
        Some(Err(_)) => LayerState::Unreadable,
    }
}

fn broken_off(repository: &Repository) -> InspectError {
    let registry = &repository.registry;
    InspectError::new(
        ErrorKind::Network,
        format!("{registry} broke off in the middle of a layer: check the network"),
    )
}

fn layer_failure(error: LayerError, repository: &Repository) -> LayerFailure {
    match error {
        LayerError::Read(_) => broken_off(repository).into(),
        LayerError::Limit { limit, found } => {
            // The one limit that is a setting.
            let advice = match limit {
                Limit::Compressed => "raise --max-layer to read it whole",
                _ => "see what is in it before you run it",
            };
            LayerFailure {
                error: InspectError::new(ErrorKind::Policy, format!("{limit}: {advice}")),
                found: Some(*found),
            }
        }
        LayerError::Malformed(reason) => {
            let message = format!("a layer is malformed, {reason}: rebuild the image");
            InspectError::new(ErrorKind::Invalid, message).into()
        }
        LayerError::Unsupported(compression) => {
            let message = format!(
                "a layer is compressed with {compression}: push the image with gzip or zstd"
            );
            InspectError::new(ErrorKind::Unsupported, message).into()
        }
    }
}

fn remembered<K: std::hash::Hash + Eq, V>(memo: &Memo<K, V>, key: K) -> Arc<OnceCell<Arc<V>>> {
    // A poisoned map is still a map: its entries are set once and whole.
    let mut memo = memo.lock().unwrap_or_else(PoisonError::into_inner);
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

fn verify(bytes: &[u8], digest: &Digest, repository: &Repository) -> Result<(), InspectError> {
    if Digest::of(bytes) == *digest {
        return Ok(());
    }
    let registry = &repository.registry;
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

fn is_image_configuration(media_type: &str) -> bool {
    matches!(
        media_type,
        "application/vnd.oci.image.config.v1+json"
            | "application/vnd.docker.container.image.v1+json"
    )
}

/// True for the types of layers that a runtime unpacks, whatever their compression, and for none.
fn is_layer(media_type: &str) -> bool {
    media_type.is_empty()
        || media_type.starts_with("application/vnd.oci.image.layer.")
        || media_type.starts_with("application/vnd.docker.image.rootfs.")
        || media_type.starts_with("application/vnd.docker.container.image.rootfs.")
}

fn encrypted() -> InspectError {
    let message = "a layer is encrypted: only who holds the key can tell what is in it";
    InspectError::new(ErrorKind::Unsupported, message)
}

fn not_an_image(kind: Option<&str>) -> InspectError {
    let what = if kind.is_some_and(|kind| kind.contains("helm")) {
        "a Helm chart"
    } else {
        "another artifact"
    };
    InspectError::new(
        ErrorKind::Unsupported,
        format!("this is {what}, not an image: correct the pod's image"),
    )
}

fn text(text: &str) -> Option<String> {
    let text = &text[..text.floor_char_boundary(MAX_TEXT_BYTES)];
    (!text.is_empty()).then(|| text.to_owned())
}

fn describe(
    record: &mut ImageRecord,
    found: &PlatformManifest,
    configuration: &Configuration,
    config: &Descriptor,
    layers: &[Descriptor],
) {
    let run = configuration.config.as_ref();
    let labels = run.and_then(|run| run.labels.as_ref());
    record.config_digest = Some(config.digest);
    record.os = configuration.os.as_deref().and_then(text);
    record.architecture = configuration.architecture.as_deref().and_then(text);
    record.variant = configuration.variant.as_deref().and_then(text);
    record.os_version = configuration.os_version.as_deref().and_then(text);
    // Reproducible builds set 1970 or year 1 for "no time": no image is older than Docker's first.
    record.created = configuration
        .created
        .as_deref()
        .and_then(|created| DateTime::parse_from_rfc3339(created).ok())
        .map(|created| created.with_timezone(&Utc))
        .filter(|created| created.timestamp() >= 315_532_800);
    let sizes: Option<Vec<u64>> = layers
        .iter()
        .chain([config])
        .map(|descriptor| descriptor.size)
        .collect();
    record.size_bytes = sizes.and_then(|sizes| sizes.into_iter().try_fold(0_u64, u64::checked_add));
    record.user = run.and_then(|run| run.user.as_deref()).and_then(text);
    record.labels = labels
        .into_iter()
        .flatten()
        .filter(|(key, _)| key.starts_with(OCI_LABELS) && key.len() <= 128)
        .take(32)
        .filter_map(|(key, value)| Some((key.clone(), text(value)?)))
        .collect();
    let [entry, index] = &found.index_annotations;
    for (source, values) in [
        ("annotation", found.manifest.annotations.as_ref()),
        ("annotation", Some(entry)),
        ("annotation", Some(index)),
        ("label", labels),
    ] {
        let value = |key: &str| {
            values?
                .get(&format!("{OCI_LABELS}base.{key}"))
                .and_then(|value| text(value))
        };
        if let Some(name) = value("name") {
            let digest = value("digest").map_or_else(String::new, |digest| format!("@{digest}"));
            record.base_image = Some(if name.contains('@') {
                name
            } else {
                name + &digest
            });
            record.base_image_source = Some(source.into());
            break;
        }
    }
}

fn empty_record(target: &ImageTarget) -> ImageRecord {
    let (tag, digest, image_id) = match &target.wanted {
        Wanted::Digest(digest) => (None, Some(*digest), None),
        Wanted::Tag(tag) => (Some(Arc::clone(tag)), None, None),
        Wanted::ImageId(id, pinned) => (pinned.as_ref().err().cloned(), None, Some(*id)),
        Wanted::NotRunning(tag) => (tag.clone(), None, None),
        Wanted::Invalid(_) => (None, None, None),
    };
    ImageRecord {
        registry: target
            .repository
            .as_ref()
            .map(|repository| Arc::clone(&repository.registry)),
        repository: target
            .repository
            .as_ref()
            .map(|repository| Arc::clone(&repository.path)),
        tag,
        digest,
        image_id,
        platform: Arc::clone(&target.platform),
        manifest_digest: None,
        config_digest: None,
        os: None,
        architecture: None,
        variant: None,
        os_version: None,
        distribution: None,
        distribution_layer: None,
        distribution_certain: false,
        distro_source: None,
        distro_release: None,
        eol_status: None,
        eol_date: None,
        eol_extended_date: None,
        base_image: None,
        base_image_source: None,
        created: None,
        size_bytes: None,
        user: None,
        labels: BTreeMap::new(),
        inspection_status: InspectionStatus::Ok,
        error_kind: None,
        error_message: None,
        inspected_via: None,
        inspected_at: None,
        waiting_since: None,
        last_seen: None,
    }
}
