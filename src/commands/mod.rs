//! One file a subcommand; each reads as the sentence that it performs.

mod check;
mod check_image;
mod diff;
mod eol;
mod get;
mod list;
mod prune;
mod snapshot;
mod summary;
mod trend;

pub use check::check;
pub use diff::diff;
pub use eol::eol;
pub use get::get;
pub use list::list;
pub use prune::prune;
pub use snapshot::snapshot;
pub use trend::trend;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use tempfile::NamedTempFile;
use tokio_util::sync::CancellationToken;

use crate::cli::{ClusterArgs, EngineArgs, PullSecretsOf, RegistryArgs, StoreArgs};
use crate::cluster::{self, Cluster};
use crate::registry::guard::Rules;
use crate::registry::helper::Helpers;
use crate::registry::settings::{RegistrySettings, read_docker_config};
use crate::registry::source::{CredentialSource, TenantCredentials, docker_config_file};
use crate::registry::{Engine, EngineError, EngineSettings};
use crate::report::plain;
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
    /// Exit code 4: `diff --exit-code`, and something changed.
    Different,
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

/// What is special about which registry.
fn registry_settings(arguments: &RegistryArgs) -> Result<Arc<RegistrySettings>, UsageError> {
    let settings = arguments.registries.as_deref().map(RegistrySettings::read);
    let settings = settings
        .transpose()
        .map_err(|error| UsageError::caused_by(&error))?;
    let settings = settings.unwrap_or_default();
    Ok(Arc::new(settings.without(&arguments.deny_registry)))
}

/// Whose credentials are tried. What files hold is looked at now, and read when it is used.
fn credentials(
    pull_secrets: PullSecretsOf,
    settings: &Arc<RegistrySettings>,
    cluster: Option<&Cluster>,
) -> Result<CredentialSource, UsageError> {
    let tenants: Option<Box<dyn TenantCredentials>> = match (pull_secrets, cluster) {
        (PullSecretsOf::Nobody, _) => None,
        (PullSecretsOf::Namespace, Some(cluster)) => Some(Box::new(cluster.pull_secrets())),
        (PullSecretsOf::Namespace, None) => {
            let problem = "--pull-secrets namespace needs a cluster to get them from, not --pods";
            return Err(UsageError(problem.into()));
        }
    };
    let docker_config = docker_config_file();
    if let Some(path) = &docker_config {
        read_docker_config(path).map_err(|problem| {
            UsageError(format!(
                "the Docker configuration {}: {problem}",
                path.display()
            ))
        })?;
    }
    Ok(CredentialSource::new(
        Arc::clone(settings),
        tenants,
        docker_config,
        Helpers::from_environment(),
    ))
}

/// How the registries are read: what may be reached depends on where we are, and on the cluster's API server.
async fn engine_settings(
    engine: &EngineArgs,
    registry: &RegistryArgs,
    max_layer_bytes: u64,
    registries: Arc<RegistrySettings>,
    cluster: Option<&Cluster>,
) -> EngineSettings {
    let rules = Rules::of_this_place(
        cluster::in_cluster(),
        registry.allow_host.clone(),
        cluster.and_then(Cluster::api_server),
    );
    EngineSettings {
        engine: engine.engine,
        crane: engine.crane.clone(),
        timeout: engine.crane_timeout,
        max_layer_bytes,
        rules: rules.await,
        registries,
    }
}

/// Starts what reads the registries, and the guard before it.
async fn start_engine(
    settings: EngineSettings,
    credentials: CredentialSource,
    stop: CancellationToken,
) -> anyhow::Result<Engine> {
    let engine = Engine::start(settings, credentials, stop).await;
    engine.map_err(|error| match error {
        // A variable of the environment.
        EngineError::Proxy(error) => UsageError::caused_by(&error).into(),
        other => other.into(),
    })
}

/// Writes to a file, which appears whole or not at all, or to standard output.
fn write_output(
    path: Option<&Path>,
    out: &mut dyn Write,
    write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let Some(path) = path else {
        return write(out);
    };
    let file = scratch_file(&folder_of(path))?;
    let mut writer = BufWriter::new(file);
    write(&mut writer)?;
    let file = writer
        .into_inner()
        .map_err(std::io::IntoInnerError::into_error)?;
    // A rename: a link at this path is replaced, not followed.
    file.persist(path)
        .with_context(|| format!("could not write {}", path.display()))?;
    Ok(())
}

/// The file that a run is named by, where there is one of this name.
fn local_file(name: &str) -> Option<&Path> {
    Some(Path::new(name)).filter(|path| path.is_file())
}

fn open_local(path: &Path) -> Result<File, UsageError> {
    File::open(path).map_err(|error| UsageError(format!("could not read {}: {error}", shown(path))))
}

/// A path, for a message.
fn shown(path: &Path) -> String {
    plain(&path.display().to_string()).into_owned()
}

/// The folder that a file is in.
fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.into(),
        _ => ".".into(),
    }
}

fn scratch_file(folder: &Path) -> anyhow::Result<NamedTempFile> {
    let file = tempfile::Builder::new()
        .prefix(".image-census-")
        .tempfile_in(folder);
    file.with_context(|| format!("could not write to {}", folder.display()))
}
