//! The layers of an image: each is read once, whatever images share it, until the distribution is
//! known.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::document::Descriptor;
use super::inspector::Inspector;
use crate::image::{Digest, Repository};
use crate::os::{
    Certainty, HistoryEntry, Identification, LayerError, LayerFinding, LayerState, Limit,
    ScanRequest, Step, layer_infos, next_step, scan_layer,
};
use crate::registry::source::Pull;
use crate::registry::{InspectError, Registry};
use crate::report::{ErrorKind, ImageRecord, LayerRecord};
use crate::sync::lock;

/// A layer is asked of a registry so often, then all other images that share it fail alike. Crane has
/// tried each time as often as it does; a base that hundreds share must not cost as many time limits.
const LAYER_ATTEMPTS: u8 = 3;
/// Text and paths kept of all layers of an image, in bytes: 1 MiB. Real images have some KiB; without
/// a bound on their sum, 1,000 layers at the limit of each would be 256 MiB.
const MAX_HELD_BYTES: usize = 1 << 20;

/// An image whose registry is reading a layer that another registry's image needs, too, is waited for so
/// long; then that layer is read there as well. A registry chooses how slowly it answers, and which
/// layers it claims to have.
const PATIENCE_WITH_OTHERS: Duration = Duration::from_secs(30);

/// A layer of tonight's images.
#[derive(Default)]
pub(super) struct Layer {
    /// What was found, each for another request.
    found: Mutex<Vec<LayerFinding>>,
    /// Held by whoever reads it, so that others wait for the finding instead of reading it, too.
    turn: tokio::sync::Mutex<()>,
    /// The registry that it is being read from.
    reader: Mutex<Option<Arc<str>>>,
}

/// How often a layer failed at a registry, and how the last time.
pub(super) type Failures = Mutex<HashMap<(Arc<str>, Digest), (u8, LayerFailure)>>;

/// A layer that was not read to its end; what was found until then is not verified, and serves images
/// of this registry only.
#[derive(Clone)]
pub(super) struct LayerFailure {
    error: InspectError,
    found: Option<LayerFinding>,
}

impl From<InspectError> for LayerFailure {
    fn from(error: InspectError) -> Self {
        Self { error, found: None }
    }
}

impl<R: Registry> Inspector<R> {
    /// The layers that were read to their end and verified, tonight or before, by digest.
    pub fn layers(&self) -> Vec<LayerRecord> {
        let memo = lock(&self.layers);
        let mut findings = BTreeMap::new();
        for (digest, layer) in memo.iter() {
            let known = lock(&layer.found);
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

    pub(super) async fn find_distribution(
        &self,
        pull: &Pull,
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
                        self.layer(pull, &descriptor.digest, request).await
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
                    let held = read.iter().map(|reading| held_bytes(state_of(reading)));
                    if held.sum::<usize>() > MAX_HELD_BYTES {
                        let message = "the layers have too much text in release files: see what is in them before you run the image";
                        return Err(InspectError::new(ErrorKind::Policy, message));
                    }
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
        pull: &Pull,
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
        let layer = {
            let mut memo = lock(&self.layers);
            Arc::clone(memo.entry(*digest).or_default())
        };
        let _turn = layer.turn(&pull.registry).await;
        if let Some(known) = layer.serving(&request) {
            return Ok(known);
        }
        if let Some(failure) = self.given_up(pull, digest) {
            return Err(failure);
        }
        // What is read anew tells about all that was asked for before too, as far as that is bounded.
        let limits = self.settings.scan_limits.clone();
        let mut wider = request.clone();
        for known in lock(&layer.found).iter() {
            wider.extra_paths.extend(known.requested.clone());
        }
        if wider.extra_paths.len() > limits.max_extra_paths {
            wider = request.clone();
        }
        let scan = move |reader: &mut dyn std::io::Read| {
            let result = scan_layer(&mut *reader, &wider, &limits);
            if let Err(LayerError::Malformed(_) | LayerError::Unsupported(_)) = &result {
                // To the end, where crane tells whether this is the layer at all.
                let _ = std::io::copy(reader, &mut std::io::sink());
            }
            result
        };
        let failure = match self.registry.layer(pull, digest, scan).await {
            Ok((Ok(finding), true)) => {
                let narrowed = finding.narrowed(&request);
                lock(&layer.found).push(finding);
                return Ok(narrowed);
            }
            Ok((Ok(_), false)) => broken_off(pull).into(),
            Ok((Err(error), _)) => layer_failure(error, pull),
            Err(error) => error.into(),
        };
        self.note_failure(pull, digest, &failure);
        Err(failure)
    }

    /// Why a layer is not asked of this registry any more.
    fn given_up(&self, repository: &Repository, digest: &Digest) -> Option<LayerFailure> {
        let failures = lock(&self.failures);
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
        let mut failures = lock(&self.failures);
        let key = (Arc::clone(&repository.registry), *digest);
        let times = failures.get(&key).map_or(0, |(times, _)| *times);
        failures.insert(key, (times.saturating_add(1), failure.clone()));
    }
}

impl Layer {
    /// Waits for one's turn to read it: of images of one registry one reads, those of others do not
    /// wait for ever.
    async fn turn(&self, registry: &Arc<str>) -> Option<Turn<'_>> {
        let is_other = lock(&self.reader)
            .as_ref()
            .is_some_and(|reader| reader != registry);
        let turn = self.turn.lock();
        let turn = if is_other {
            tokio::time::timeout(PATIENCE_WITH_OTHERS, turn)
                .await
                .ok()?
        } else {
            turn.await
        };
        *lock(&self.reader) = Some(Arc::clone(registry));
        Some(Turn {
            layer: self,
            _turn: turn,
        })
    }

    fn serving(&self, request: &ScanRequest) -> Option<LayerFinding> {
        let found = lock(&self.found);
        let known = found.iter().find(|known| known.serves(request))?;
        Some(known.narrowed(request))
    }
}

/// Somebody reads a layer.
struct Turn<'a> {
    layer: &'a Layer,
    _turn: tokio::sync::MutexGuard<'a, ()>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *lock(&self.layer.reader) = None;
    }
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

fn held_bytes(state: LayerState<'_>) -> usize {
    match state {
        LayerState::Read(finding) | LayerState::Partial(finding) => finding.held_bytes(),
        LayerState::Unread | LayerState::Unreadable => 0,
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

fn encrypted() -> InspectError {
    let message = "a layer is encrypted: only who holds the key can tell what is in it";
    InspectError::new(ErrorKind::Unsupported, message)
}
