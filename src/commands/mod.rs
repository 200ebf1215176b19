//! One file a subcommand; each reads as the sentence that it performs.

mod get;
mod list;
mod snapshot;
mod summary;

pub use get::get;
pub use list::list;
pub use snapshot::snapshot;

use crate::cli::StoreArgs;
use crate::cluster;
use crate::storage::{LocalStore, S3Store, Store, StoreLocation};

/// An error that arguments, environment or local files alone decide: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

impl UsageError {
    fn caused_by(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        Self(text)
    }
}

/// How a command that did its work ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Exit code 0.
    Done,
    /// Exit code 3: `--strict`, and something was not inspected.
    Incomplete,
}

async fn open_store(arguments: &StoreArgs) -> anyhow::Result<Box<dyn Store>> {
    match &arguments.store {
        Some(StoreLocation::Folder(folder)) => Ok(Box::new(LocalStore::new(folder))),
        Some(StoreLocation::Bucket { bucket, prefix }) => {
            let store = S3Store::connect(bucket, prefix, arguments.s3.settings()).await;
            Ok(Box::new(
                store.map_err(|error| UsageError::caused_by(&error))?,
            ))
        }
        None if cluster::in_cluster() => {
            Err(UsageError("inside a cluster, --store must be given".into()).into())
        }
        None => Ok(Box::new(LocalStore::new("reports"))),
    }
}
