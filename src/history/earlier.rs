//! Reads earlier runs: what the last one knows, as far as it can be trusted, and whole reports to
//! compare with.
//!
//! For tonight's run, whatever is wrong with an earlier one means a warning and a colder night, never a
//! failed one.

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::time::Instant;

use sha2::{Digest as _, Sha256};
use tokio_util::io::SyncIoBridge;

use super::{HistoryError, SigningKey, manifest_with_text, runs};
use crate::diff::Side;
use crate::report::{
    Compression, Header, Manifest, Part, ReadError, Report, ReportBuilder, decompressed,
    read_report,
};
use crate::reuse::{Knowledge, Reuse};
use crate::storage::{Format, ObjectReader, RunKey, Store};

/// Earlier runs that are tried: one damaged report must not cost a cold night, and a store full of
/// them not an hour.
const MAX_TRIES: usize = 5;
/// The facts of 100,000 images take about 200 MB.
const MAX_FACTS_BYTES: u64 = 256 << 20;
/// A report of 3,000,000 containers; its parts are read one by one.
pub const MAX_REPORT_BYTES: u64 = 2 << 30;

/// Which earlier runs are believed.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// With a key, only runs that it has signed.
    pub key: Option<SigningKey>,
    /// The cluster's id tonight, if it is known.
    pub cluster_id: Option<String>,
    /// Whether a run of another cluster id is believed once.
    pub accept_new_cluster_id: bool,
}

/// Why an earlier run is not used.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Its manifest or report cannot be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// There is a key, and the run does not carry its signature.
    #[error("it carries no signature of this key")]
    NotSigned,
    /// The certificate authority is another.
    #[error(
        "it is of a cluster with another certificate authority: two clusters share a name, or this one's CA was renewed (then pass --accept-new-cluster-id once)"
    )]
    OtherCluster,
    /// It says that it is larger than any of ours.
    #[error("its manifest claims a size that no report of ours has")]
    TooLarge,
    /// The manifest names no such file.
    #[error("its manifest lists no report")]
    NoReport,
    /// Sizes or checksums differ.
    #[error("its report is not what its manifest says: it was changed or cut off after the run")]
    Changed,
    /// It is no report that we can read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Trust {
    /// Whether a run is believed.
    pub fn examine(&self, manifest: &Manifest, text: &[u8]) -> Result<(), Refusal> {
        if self.key.as_ref().is_some_and(|key| !key.verifies(text)) {
            return Err(Refusal::NotSigned);
        }
        let ids = (&self.cluster_id, &manifest.header.cluster_id);
        match ids {
            (Some(tonight), Some(then)) if tonight != then && !self.accept_new_cluster_id => {
                Err(Refusal::OtherCluster)
            }
            _ => Ok(()),
        }
    }
}

/// What the newest believable run before `key` knows; nothing if there is none.
pub async fn knowledge(store: &dyn Store, key: &RunKey, trust: &Trust, reuse: Reuse) -> Knowledge {
    let runs = match runs(store, Some(&key.cluster)).await {
        Ok(runs) => runs,
        Err(error) => {
            tracing::warn!("nothing is reused: {error}");
            return Knowledge::default();
        }
    };
    let (earlier, later): (Vec<_>, Vec<_>) = runs.into_iter().partition(|run| run.run < key.run);
    if let Some(run) = later.last() {
        tracing::warn!(run_id = %run.run, "a run of a later time than this one is not reused: is a clock wrong?");
    }
    for run in earlier.iter().rev().take(MAX_TRIES) {
        let started = Instant::now();
        match facts(store, run, trust, reuse).await {
            Ok((knowledge, bytes)) => {
                let images = knowledge.image_count();
                let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                let trusted = match trust.key {
                    Some(_) => "its signature",
                    None => "whoever may write to the store (see --signing-key-file)",
                };
                tracing::info!(run_id = %run.run, images, bytes, milliseconds, trusted, "reusing what an earlier run knows");
                return knowledge;
            }
            Err(refusal) => tracing::warn!(run_id = %run.run, "not reused: {refusal}"),
        }
    }
    Knowledge::default()
}

async fn facts(
    store: &dyn Store,
    run: &RunKey,
    trust: &Trust,
    reuse: Reuse,
) -> Result<(Knowledge, u64), Refusal> {
    let (manifest, text) = manifest_with_text(store, run).await?;
    trust.examine(&manifest, &text)?;
    let file = manifest.file(Format::Json).ok_or(Refusal::NoReport)?;
    let facts = file.facts.as_ref().ok_or(Refusal::NoReport)?;
    let compression = file.compression;
    let size_bytes = facts.size_bytes;
    let content = Content {
        size_bytes,
        sha256: facts.sha256.clone(),
        // Cut behind the opening of the containers' list, this makes it a whole document again.
        tail: b"]}",
    };
    let mut knowledge = Knowledge::default();
    let learn = move |object| {
        read_verified(object, content, MAX_FACTS_BYTES, |part| {
            knowledge.take(part, &reuse);
        })
        .map(|()| (knowledge, size_bytes))
    };
    read_object(store, run, compression, learn).await
}

/// The last complete run of an earlier day than `key`'s that can be compared with a run of this head,
/// and its report.
pub async fn last_comparable(
    store: &dyn Store,
    key: &RunKey,
    head: &Header,
    trust: &Trust,
) -> Result<Option<Side>, Refusal> {
    let runs = runs(store, Some(&key.cluster)).await;
    let runs = runs.map_err(HistoryError::from)?;
    let earlier = runs
        .iter()
        .rev()
        .filter(|run| run.run.date() < key.run.date());
    for run in earlier {
        let (manifest, text) = match manifest_with_text(store, run).await {
            Err(error @ HistoryError::Manifest(_)) => {
                tracing::warn!(run_id = %run.run, "not compared with: {error}");
                continue;
            }
            other => other?,
        };
        let comparable =
            manifest.header.completeness.complete && manifest.header.scope == head.scope;
        if comparable {
            trust.examine(&manifest, &text)?;
            return side(store, run, &manifest).await.map(Some);
        }
    }
    Ok(None)
}

/// A run's whole report, as one side of a comparison.
pub async fn side(store: &dyn Store, run: &RunKey, manifest: &Manifest) -> Result<Side, Refusal> {
    whole(store, run, manifest, Side::take).await
}

/// A run's whole report.
pub async fn report(
    store: &dyn Store,
    run: &RunKey,
    manifest: &Manifest,
) -> Result<Report, Refusal> {
    let builder: ReportBuilder = whole(store, run, manifest, ReportBuilder::take).await?;
    builder.finish().ok_or(Refusal::Changed)
}

/// What takes the parts of a run's whole report.
async fn whole<T: Default + Send + 'static>(
    store: &dyn Store,
    run: &RunKey,
    manifest: &Manifest,
    take: fn(&mut T, Part),
) -> Result<T, Refusal> {
    let file = manifest.file(Format::Json).ok_or(Refusal::NoReport)?;
    let content = Content {
        size_bytes: file.size_bytes,
        sha256: file.sha256.clone(),
        tail: b"",
    };
    let mut taker = T::default();
    let read = move |object| {
        read_verified(object, content, MAX_REPORT_BYTES, |part| {
            take(&mut taker, part);
        })
        .map(|()| taker)
    };
    read_object(store, run, file.compression, read).await
}

/// A report in a local file, which nothing vouches for.
pub fn side_of_file(file: std::fs::File) -> Result<Side, ReadError> {
    let mut side = Side::default();
    read_file(file, |part| side.take(part))?;
    Ok(side)
}

/// The whole report in a local file, which nothing vouches for.
pub fn report_of_file(file: std::fs::File) -> Result<Report, ReadError> {
    let mut builder = ReportBuilder::default();
    read_file(file, |part| builder.take(part))?;
    builder.finish().ok_or(ReadError::Io)
}

fn read_file(file: std::fs::File, mut each: impl FnMut(Part)) -> Result<(), ReadError> {
    let file = decompressed(file).map_err(|_| ReadError::Io)?;
    read_report(file.take(MAX_REPORT_BYTES), |part| {
        each(part);
        ControlFlow::Continue(())
    })
}

/// Opens a run's report and reads it on a thread that may block.
async fn read_object<T: Send + 'static>(
    store: &dyn Store,
    run: &RunKey,
    compression: Option<Compression>,
    read: impl FnOnce(ObjectReader) -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let object = store.open(&run.object_as(Format::Json, compression)).await;
    let object = object.map_err(HistoryError::from)?;
    let reading = tokio::task::spawn_blocking(move || read(object));
    reading.await.unwrap_or(Err(Refusal::Changed))
}

/// What a manifest says of a report or of its beginning.
struct Content {
    size_bytes: u64,
    sha256: String,
    /// What makes a document of it.
    tail: &'static [u8],
}

/// Hands over the parts of a report, which are to be used only if this ends well: with the right digest
/// of all that was read.
fn read_verified(
    object: ObjectReader,
    content: Content,
    max_bytes: u64,
    mut each: impl FnMut(Part),
) -> Result<(), Refusal> {
    if content.size_bytes > max_bytes {
        return Err(Refusal::TooLarge);
    }
    let mut source = Hashing {
        inner: SyncIoBridge::new(object).take(content.size_bytes),
        hasher: Sha256::new(),
    };
    let text = decompressed(&mut source).map_err(|_| Refusal::Changed);
    let read = text.map(|text| {
        // Small files may hold much.
        let text = text.take(max_bytes).chain(content.tail);
        read_report(text, |part| {
            each(part);
            ControlFlow::Continue(())
        })
    });
    // To its end, also where it cannot be read: a file that was changed is told from one that the run
    // left so.
    let drained = io::copy(&mut source, &mut io::sink());
    if drained.is_err() || hex::encode(source.hasher.finalize()) != content.sha256 {
        return Err(Refusal::Changed);
    }
    Ok(read??)
}

struct Hashing<R> {
    inner: R,
    hasher: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}
