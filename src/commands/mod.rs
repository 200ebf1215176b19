//! One file a subcommand; each reads as the sentence that it performs.

mod get;
mod list;
mod snapshot;

pub use get::get;
pub use list::list;
pub use snapshot::snapshot;

use crate::cli::StoreArgs;
use crate::cluster;
use crate::storage::LocalStore;

/// An error that arguments, environment or local files alone decide: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// How a command that did its work ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Exit code 0.
    Done,
    /// Exit code 3: `--strict`, and something was not inspected.
    Incomplete,
}

fn open_store(arguments: &StoreArgs) -> Result<LocalStore, UsageError> {
    match &arguments.store {
        Some(store) if store.to_string_lossy().contains("://") => Err(UsageError(
            "--store takes a folder: object stores are not supported yet".into(),
        )),
        Some(store) if store.as_os_str().is_empty() => {
            Err(UsageError("--store is empty: name a folder".into()))
        }
        Some(store) => Ok(LocalStore::new(store)),
        None if cluster::in_cluster() => {
            Err(UsageError("inside a cluster, --store must be given".into()))
        }
        None => Ok(LocalStore::new("reports")),
    }
}
