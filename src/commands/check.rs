//! `check`: what a snapshot would meet, before the night instead of during it.

use std::io::Write;
use std::sync::Arc;

use chrono::Utc;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{Outcome, cluster_name, connect, open_store};
use crate::cli::{CheckArgs, TableFormat};
use crate::history;
use crate::pod::{Node, Pod};
use crate::registry::guard::Rules;
use crate::registry::source::CredentialSource;
use crate::registry::{Crane, CraneSettings};
use crate::report::plain;
use crate::storage::{ClusterName, Format, RunId, RunKey, Store};

/// How one check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    /// A snapshot would work, and know less.
    Warning,
    Failed,
}

#[derive(Debug, Serialize)]
struct Answer {
    check: &'static str,
    status: Status,
    /// What was seen; of a failure, also what to do.
    detail: String,
}

/// Checks all, whatever fails.
pub async fn check(arguments: &CheckArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let store = open_store(&arguments.store).await?;
    let name = cluster_name(&arguments.cluster)?;
    let mut answers = check_cluster(arguments).await;
    answers.push(check_crane(arguments).await);
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

fn answer<E: Into<anyhow::Error>>(check: &'static str, result: Result<String, E>) -> Answer {
    let (status, detail) = match result {
        Ok(detail) => (Status::Ok, detail),
        Err(error) => (Status::Failed, format!("{:#}", error.into())),
    };
    let detail = plain(&detail).into_owned();
    Answer {
        check,
        status,
        detail,
    }
}

async fn check_cluster(arguments: &CheckArgs) -> Vec<Answer> {
    let scope = arguments.cluster.scope();
    let cluster = match connect(&arguments.cluster).await {
        Ok(cluster) => cluster,
        Err(error) => return vec![answer("pods", Err::<String, _>(error))],
    };
    let pods = cluster.may_list::<Pod>(&scope).await;
    let pods = answer("pods", pods.map(|()| "can be listed".into()));
    let mut nodes = match cluster.may_list::<Node>(&scope).await {
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

async fn check_crane(arguments: &CheckArgs) -> Answer {
    let settings = CraneSettings {
        program: arguments.crane.crane.clone(),
        timeout: arguments.crane.crane_timeout,
        max_layer_bytes: 0,
        concurrency: 1,
        rules: Rules::default(),
        registries: Arc::default(),
    };
    let crane = Crane::find(
        settings,
        CredentialSource::default(),
        CancellationToken::new(),
    )
    .await;
    let program = arguments.crane.crane.display();
    answer(
        "crane",
        crane.map(|crane| format!("{} ({program})", crane.version())),
    )
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
