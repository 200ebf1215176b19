//! `check`: what a snapshot would meet, before the night instead of during it.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;

use chrono::Utc;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::check_image::check_image;
use super::{
    Outcome, UsageError, cluster_name, connect, credentials, engine_settings, open_store,
    registry_settings, start_engine,
};
use crate::cli::{CheckArgs, PullSecretsOf, TableFormat};
use crate::cluster::Cluster;
use crate::history;
use crate::os::ScanLimits;
use crate::pod::{Node, Pod};
use crate::registry::Engine;
use crate::registry::settings::RegistrySettings;
use crate::registry::source::{CredentialSource, TenantCredentials};
use crate::report::{EngineName, Scope, plain};
use crate::snapshot::{ClusterSnapshot, RowOptions};
use crate::storage::{ClusterName, Format, RunId, RunKey, Store};

/// Pull secrets that are named one by one.
const MAX_PROBLEMS: usize = 20;

/// How one check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Ok,
    /// A snapshot would work, and know less.
    Warning,
    Failed,
}

#[derive(Debug, Serialize)]
pub(super) struct Answer {
    check: &'static str,
    pub(super) status: Status,
    /// What was seen; of a failure, also what to do.
    detail: String,
}

/// Checks all, whatever fails.
pub async fn check(arguments: &CheckArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let store = open_store(&arguments.store).await?;
    let name = cluster_name(&arguments.cluster)?;
    let registries = registry_settings(&arguments.registry)?;
    let scope = arguments.cluster.scope();
    let cluster = connect(&arguments.cluster).await;
    let mut answers = check_cluster(&cluster, &scope).await;
    let cluster = cluster.ok();
    // Without a cluster there are none, and the answer on pods says why.
    let pull_secrets = match cluster {
        Some(_) => arguments.registry.pull_secrets,
        None => PullSecretsOf::Nobody,
    };
    let credentials = credentials(pull_secrets, &registries, cluster.as_ref())?;
    let snapshot = match &cluster {
        Some(cluster) if needs_pods(arguments) => {
            let options = RowOptions {
                owner_label: None,
                default_platform: arguments.cluster.default_platform.clone(),
            };
            let listed = cluster.snapshot(scope, options).await;
            listed.ok()
        }
        _ => None,
    };
    if let (Some(cluster), Some(snapshot)) = (&cluster, &snapshot) {
        answers.extend(check_pull_secrets(arguments, cluster, snapshot).await);
    }
    let (engine, found) = check_engine(arguments, credentials, registries, cluster.as_ref()).await;
    answers.push(found);
    if let (Some(image), Some(engine)) = (&arguments.image, engine) {
        let allowed = arguments.registry.allowed();
        let platform = arguments.cluster.default_platform.clone();
        answers.extend(check_image(image, platform, engine, allowed, snapshot).await?);
    }
    answers.extend(check_store(store.as_ref(), &name).await);

    let failed = answers.iter().any(|answer| answer.status == Status::Failed);
    match arguments.format {
        TableFormat::Table => {
            for Answer {
                check,
                status,
                detail,
            } in &answers
            {
                let status = match status {
                    Status::Ok => "ok",
                    Status::Warning => "warning",
                    Status::Failed => "FAILED",
                };
                writeln!(out, "{status:<8}{check:<12}{detail}")?;
            }
        }
        TableFormat::Json => {
            let document = serde_json::json!({"ok": !failed, "checks": answers});
            writeln!(out, "{document:#}")?;
        }
    }
    Ok(if failed {
        Outcome::Failed
    } else {
        Outcome::Done
    })
}

impl Answer {
    pub(super) fn new(check: &'static str, status: Status, detail: &str) -> Self {
        let detail = plain(detail).into_owned();
        Self {
            check,
            status,
            detail,
        }
    }
}

fn answer<E: Into<anyhow::Error>>(check: &'static str, result: Result<String, E>) -> Answer {
    match result {
        Ok(detail) => Answer::new(check, Status::Ok, &detail),
        Err(error) => Answer::new(check, Status::Failed, &format!("{:#}", error.into())),
    }
}

async fn check_cluster(cluster: &Result<Cluster, UsageError>, scope: &Scope) -> Vec<Answer> {
    let cluster = match cluster {
        Ok(cluster) => cluster,
        Err(error) => {
            let message = anyhow::anyhow!("{error}");
            return vec![answer("pods", Err(message))];
        }
    };
    let pods = cluster.may_list::<Pod>(scope).await;
    let pods = answer("pods", pods.map(|()| "can be listed".into()));
    let mut nodes = match cluster.may_list::<Node>(scope).await {
        Err(failure) if failure.is_forbidden() => Answer {
            status: Status::Warning,
            ..answer("nodes", Err::<String, _>(failure))
        },
        other => answer("nodes", other.map(|()| "can be listed".into())),
    };
    if nodes.status == Status::Warning {
        nodes
            .detail
            .push_str("; until then platforms come from node selectors or --default-platform");
    }
    vec![pods, nodes]
}

/// Whether the pods themselves are of interest, not only whether they may be listed.
fn needs_pods(arguments: &CheckArgs) -> bool {
    arguments.image.is_some() || arguments.registry.pull_secrets == PullSecretsOf::Namespace
}

/// Gets what a snapshot would get; what cannot be had is a warning, since other credentials may do.
async fn check_pull_secrets(
    arguments: &CheckArgs,
    cluster: &Cluster,
    snapshot: &ClusterSnapshot,
) -> Vec<Answer> {
    if arguments.registry.pull_secrets != PullSecretsOf::Namespace {
        return Vec::new();
    }
    let secrets = cluster.pull_secrets();
    let pullers: BTreeSet<_> = snapshot.containers.iter().map(|row| &row.puller).collect();
    let mut problems = BTreeSet::new();
    for puller in &pullers {
        problems.extend(secrets.keyring(puller).await.problems);
    }
    if problems.is_empty() {
        let detail = format!("those of {} kinds of pods could be had", pullers.len());
        return vec![Answer::new("pull secrets", Status::Ok, &detail)];
    }
    let shown = problems.iter().take(MAX_PROBLEMS);
    let mut answers: Vec<_> = shown
        .map(|problem| Answer::new("pull secrets", Status::Warning, problem))
        .collect();
    let more = problems.len().saturating_sub(MAX_PROBLEMS);
    if more > 0 {
        let detail = format!("and {more} more: --namespace shows one namespace's");
        answers.push(Answer::new("pull secrets", Status::Warning, &detail));
    }
    answers
}

async fn check_engine(
    arguments: &CheckArgs,
    credentials: CredentialSource,
    registries: Arc<RegistrySettings>,
    cluster: Option<&Cluster>,
) -> (Option<Engine>, Answer) {
    let (engine, registry) = (&arguments.engine, &arguments.registry);
    let most = ScanLimits::default().max_compressed_bytes;
    let settings = engine_settings(engine, registry, most, registries, cluster).await;
    let name = match settings.engine {
        EngineName::Crane => "crane",
        EngineName::Native => "engine",
    };
    let program = arguments.engine.crane.display();
    match start_engine(settings, credentials, CancellationToken::new()).await {
        Ok(engine) => {
            let detail = match engine.crane_version() {
                Some(version) => format!("{version} ({program})"),
                None => "native: crane is not used".into(),
            };
            (Some(engine), Answer::new(name, Status::Ok, &detail))
        }
        Err(error) => (None, answer(name, Err(error))),
    }
}

/// Writing is tried where tonight's run of this cluster would write: rights may end at its part.
async fn check_store(store: &dyn Store, cluster: &ClusterName) -> [Answer; 2] {
    let key = RunKey {
        run: RunId::new(Utc::now(), 0),
        cluster: cluster.clone(),
    };
    let manifest = key.object(Format::Manifest);
    let written = store.probe(&manifest).await;
    let place = store.describe(&manifest);
    let written = answer(
        "store write",
        written.map(|()| format!("{place} could be written")),
    );
    let runs = history::runs(store, Some(cluster)).await;
    let listed = answer(
        "store list",
        runs.map(|runs| format!("{} committed runs of {cluster}", runs.len())),
    );
    [written, listed]
}
