//! Which runs a store holds, which one a user means, and what they say.

mod earlier;
mod nights;
mod retention;
mod signature;

pub use earlier::{
    MAX_REPORT_BYTES, Refusal, Trust, knowledge, last_comparable, report, report_of_file, side,
    side_of_file,
};
pub use nights::{last_of_each_day, nights};
pub use retention::{Keep, Kept, retained};
pub use signature::{SigningKey, SigningKeyError};

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt};
use tokio::io::AsyncReadExt;

use crate::nearest::nearest;
use crate::report::{Manifest, Scope, is_readable_version, plain};
use crate::storage::{ClusterName, Format, RunKey, Store, StoreError};

/// A manifest's bytes at the most: its counts grow with distributions and registries only.
const MAX_MANIFEST_BYTES: u64 = 16 << 20;
/// Manifests that are read at once: a year of them comes over 50 ms in about a second.
const READS_AT_ONCE: usize = 16;

/// Why a run cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// None such.
    #[error("no run is named {0}{1}: `image-census list` shows all")]
    NoRun(String, String),
    /// None such that is complete.
    #[error("there is no complete run{0}: `image-census list` shows all")]
    NoCompleteRun(&'static str),
    /// The store has others.
    #[error("the store holds no run of the cluster {0}{1}; it holds: {2}")]
    NoCluster(String, String, String),
    /// Several clusters.
    #[error("the store holds several clusters: name one with --cluster: {0}")]
    Clusters(String),
    /// A manifest cannot be read.
    #[error("the manifest of {0} is damaged, or of a newer major version")]
    Manifest(String),
}

/// The committed runs, oldest first.
pub async fn runs(
    store: &dyn Store,
    cluster: Option<&ClusterName>,
) -> Result<Vec<RunKey>, StoreError> {
    runs_with(store, cluster, Format::Manifest).await
}

/// The runs that have a file of a format, committed or not, oldest first.
pub async fn runs_with(
    store: &dyn Store,
    cluster: Option<&ClusterName>,
    format: Format,
) -> Result<Vec<RunKey>, StoreError> {
    let files = files(store, cluster, format).await?;
    let mut runs: Vec<_> = files.into_iter().map(|(run, _)| run).collect();
    runs.sort();
    Ok(runs)
}

/// The files of a format, of committed runs or not, by run and key; what is none of ours is left out.
pub async fn files(
    store: &dyn Store,
    cluster: Option<&ClusterName>,
    format: Format,
) -> Result<Vec<(RunKey, String)>, StoreError> {
    let keys = store.list(&format.folder(cluster)).await?.into_iter();
    let files = keys.filter_map(|key| Some((RunKey::from_key(&key, format)?, key)));
    Ok(files.collect())
}

/// The runs of the one cluster that is meant, oldest first: of the named one, or of the only one.
pub async fn runs_of_one(
    store: &dyn Store,
    cluster: Option<&ClusterName>,
) -> Result<Vec<RunKey>, HistoryError> {
    let found = runs(store, cluster).await?;
    match cluster {
        Some(cluster) if found.is_empty() => {
            // Who may list this cluster only is not told of others, and that is no failure.
            let all = runs(store, None).await.unwrap_or_default();
            let known = clusters(&all);
            if known.is_empty() {
                return Ok(found);
            }
            let (name, known) = (cluster.to_string(), known.into_iter().collect::<Vec<_>>());
            let hint = hint(nearest(&name, known.iter().map(String::as_str)));
            Err(HistoryError::NoCluster(name, hint, known.join(", ")))
        }
        Some(_) => Ok(found),
        None => match clusters(&found) {
            several if several.len() > 1 => {
                let names: Vec<_> = several.into_iter().collect();
                Err(HistoryError::Clusters(names.join(", ")))
            }
            _ => Ok(found),
        },
    }
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!(" (did you mean {name}?)"))
}

fn clusters(runs: &[RunKey]) -> BTreeSet<String> {
    runs.iter().map(|run| run.cluster.to_string()).collect()
}

/// Reads the manifests of some runs, several at once, in the runs' order. One that is damaged is left
/// out with a warning.
pub async fn manifests(
    store: &dyn Store,
    runs: Vec<RunKey>,
) -> Result<Vec<(RunKey, Manifest)>, HistoryError> {
    futures::stream::iter(runs)
        .map(|run| async move {
            match manifest(store, &run).await {
                Ok(manifest) => Ok(Some((run, manifest))),
                Err(error @ HistoryError::Manifest(_)) => {
                    tracing::warn!(run_id = %run.run, "{error}");
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        })
        .buffered(READS_AT_ONCE)
        .try_filter_map(|found| async move { Ok(found) })
        .try_collect()
        .await
}

/// Reads a run's manifest.
pub async fn manifest(store: &dyn Store, key: &RunKey) -> Result<Manifest, HistoryError> {
    Ok(manifest_with_text(store, key).await?.0)
}

/// Reads a run's manifest; also as it stands in the store.
pub async fn manifest_with_text(
    store: &dyn Store,
    key: &RunKey,
) -> Result<(Manifest, Vec<u8>), HistoryError> {
    let damaged = || HistoryError::Manifest(key.run.to_string());
    let mut text = Vec::new();
    let reader = store.open(&key.object(Format::Manifest)).await?;
    reader
        .take(MAX_MANIFEST_BYTES)
        .read_to_end(&mut text)
        .await
        .map_err(|_| damaged())?;
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|_| damaged())?;
    let ours = manifest.header.run_id == key.run.to_string()
        && manifest.header.cluster_name == key.cluster.to_string()
        && is_readable_version(&manifest.header.schema_version);
    if ours {
        Ok((manifest, text))
    } else {
        Err(damaged())
    }
}

/// The newest complete run of some (oldest first): of those before a day, and with a scope, if these
/// are given.
pub async fn newest_complete(
    store: &dyn Store,
    runs: &[RunKey],
    before: Option<chrono::NaiveDate>,
    scope: Option<&Scope>,
) -> Result<Option<(RunKey, Manifest)>, HistoryError> {
    for run in runs.iter().rev() {
        if before.is_some_and(|day| run.run.date() >= day) {
            continue;
        }
        let manifest = match manifest(store, run).await {
            Err(error @ HistoryError::Manifest(_)) => {
                tracing::warn!(run_id = %run.run, "{error}");
                continue;
            }
            other => other?,
        };
        let header = &manifest.header;
        if header.completeness.complete && scope.is_none_or(|scope| header.scope == *scope) {
            return Ok(Some((run.clone(), manifest)));
        }
    }
    Ok(None)
}

/// The run that a user names, of one cluster's (oldest first).
pub async fn find(store: &dyn Store, name: &str, runs: &[RunKey]) -> Result<RunKey, HistoryError> {
    let no_run = || {
        let ids: Vec<_> = runs.iter().map(|run| run.run.to_string()).collect();
        let known = ["latest", "yesterday"]
            .into_iter()
            .chain(ids.iter().map(String::as_str));
        HistoryError::NoRun(plain(name).into_owned(), hint(nearest(name, known)))
    };
    if let Some(back) = name.strip_prefix("latest") {
        let back = match back.strip_prefix('~') {
            Some(back) => back.parse().ok(),
            None => back.is_empty().then_some(0),
        };
        let run = back.and_then(|back| runs.iter().rev().nth(back));
        return run.cloned().ok_or_else(no_run);
    }
    if let Ok(id) = name.parse() {
        let run = runs.iter().find(|run| run.run == id);
        return run.cloned().ok_or_else(no_run);
    }
    // Days: the last complete run of the named one, or of the newest one before that of the newest run.
    let newest = runs.last().map(|run| run.run.date()).ok_or_else(no_run)?;
    let found = if name == "yesterday" {
        newest_complete(store, runs, Some(newest), None).await?
    } else {
        let day = chrono::NaiveDate::parse_from_str(name, "%Y-%m-%d").map_err(|_| no_run())?;
        let of_day: Vec<_> = runs
            .iter()
            .filter(|run| run.run.date() == day)
            .cloned()
            .collect();
        newest_complete(store, &of_day, None, None).await?
    };
    found.map(|(run, _)| run).ok_or_else(no_run)
}
