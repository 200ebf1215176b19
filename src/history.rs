//! Which runs a store holds, and which one a user means.

use tokio::io::AsyncReadExt;

use crate::report::{Manifest, is_readable_version};
use crate::storage::{ClusterName, Format, RunKey, Store, StoreError};

/// A manifest's bytes at the most: its counts grow with distributions and registries only.
const MAX_MANIFEST_BYTES: u64 = 16 << 20;

/// Why a run cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// None such.
    #[error("no run is named {0}: `image-census list` shows all")]
    NoRun(String),
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
    let prefix = cluster.map_or_else(
        || "manifest/".into(),
        |cluster| format!("manifest/cluster={cluster}/"),
    );
    let keys = store.list(&prefix).await?;
    let mut runs: Vec<_> = keys
        .iter()
        .filter_map(|key| RunKey::from_manifest_key(key))
        .collect();
    runs.sort();
    Ok(runs)
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
        && is_readable_version(&manifest.header.schema_version);
    if ours {
        Ok((manifest, text))
    } else {
        Err(damaged())
    }
}

/// The run that a user names.
pub async fn find(
    store: &dyn Store,
    name: &str,
    cluster: Option<&ClusterName>,
) -> Result<RunKey, HistoryError> {
    let runs = runs(store, cluster).await?;
    let mut clusters: Vec<_> = runs.iter().map(|run| run.cluster.to_string()).collect();
    clusters.sort();
    clusters.dedup();
    if clusters.len() > 1 {
        return Err(HistoryError::Clusters(clusters.join(", ")));
    }
    let no_run = || HistoryError::NoRun(crate::report::plain(name).into_owned());
    let newest_first = || runs.iter().rev();
    if let Some(back) = name.strip_prefix("latest") {
        let back = if back.is_empty() {
            Some(0)
        } else {
            back.strip_prefix('~').and_then(|n| n.parse().ok())
        };
        return back
            .and_then(|n| newest_first().nth(n))
            .cloned()
            .ok_or_else(no_run);
    }
    if let Ok(id) = name.parse() {
        return runs
            .iter()
            .find(|run| run.run == id)
            .cloned()
            .ok_or_else(no_run);
    }
    let newest_date = newest_first().next().map(|run| run.run.date());
    for run in newest_first() {
        let date = run.run.date();
        let meant = if name == "yesterday" {
            Some(&date) != newest_date.as_ref()
        } else {
            date == name
        };
        if meant && manifest(store, run).await?.header.completeness.complete {
            return Ok(run.clone());
        }
    }
    Err(no_run())
}
