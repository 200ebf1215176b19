//! One file a subcommand; each reads as the sentence that it performs.

mod check;
mod eol;
mod get;
mod list;
mod snapshot;
mod summary;

pub use check::check;
pub use eol::eol;
pub use get::get;
pub use list::list;
pub use snapshot::snapshot;

use crate::cli::{ClusterArgs, StoreArgs};
use crate::cluster::{self, Cluster};
use crate::storage::{ClusterName, LocalStore, S3Store, Store, StoreLocation};

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
    /// Exit code 1: `check` found something that would fail.
    Failed,
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

fn cluster_name(arguments: &ClusterArgs) -> Result<ClusterName, UsageError> {
    if let Some(name) = &arguments.cluster_name {
        return Ok(name.clone());
    }
    if cluster::in_cluster() {
        return Err(UsageError(
            "inside a cluster, --cluster-name must be given".into(),
        ));
    }
    let context = arguments.context.clone().or_else(cluster::current_context);
    let name = context.and_then(|context| ClusterName::cleaned(&context));
    name.ok_or_else(|| UsageError("no cluster name: give one with --cluster-name (there is no kubeconfig context to take it from)".into()))
}

/// The cluster that is meant; that there is none is a matter of arguments and local files.
async fn connect(arguments: &ClusterArgs) -> Result<Cluster, UsageError> {
    let cluster = Cluster::connect(arguments.context.as_deref()).await;
    cluster.map_err(|error| UsageError::caused_by(&error))
}
