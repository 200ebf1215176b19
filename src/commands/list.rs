//! `list`: the committed runs of a store.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use chrono::{TimeDelta, Utc};
use comfy_table::Cell;
use serde::Serialize;

use super::{Outcome, open_store};
use crate::cli::{ListArgs, TableFormat};
use crate::history;
use crate::report::{Manifest, Scope, format_time, plain};
use crate::storage::{Format, RunKey, Store};
use crate::terminal::{Meaning, Terminal, align_numbers, keep_whole, keep_words};

/// Columns of characters from which on a terminal has room for everything.
const WIDE: u16 = 100;

/// A committed run.
#[derive(Debug, Serialize)]
struct Listed {
    run_id: String,
    cluster_name: String,
    snapshot_time: String,
    scope: String,
    pods: usize,
    containers: usize,
    images: usize,
    not_inspected: usize,
    /// Why not: images by kind of error.
    not_inspected_by: BTreeMap<String, usize>,
    complete: bool,
    /// Why it is not complete.
    reason: Option<String>,
    /// Its report is not in the store any more, as after a rule of the bucket's.
    expired: bool,
    /// With `--max-age`: whether it is older.
    #[serde(skip_serializing_if = "Option::is_none")]
    stale: Option<bool>,
}

/// Shows the runs; with `--max-age` each cluster's last complete one, and fails if one is stale.
pub async fn list(arguments: &ListArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let store = open_store(&arguments.store).await?;
    let store = store.as_ref();
    let runs = history::runs(store, arguments.cluster.as_ref()).await?;
    let listed = match arguments.max_age {
        None => all(store, arguments, runs).await?,
        Some(max_age) => last_complete(store, runs, max_age).await?,
    };
    match arguments.format {
        TableFormat::Json => writeln!(out, "{:#}", serde_json::json!({ "runs": listed }))?,
        TableFormat::Table => print(&listed, out)?,
    }
    // No run at all is the stalest of answers.
    let stale = arguments.max_age.is_some()
        && (listed.is_empty() || listed.iter().any(|run| run.stale == Some(true)));
    Ok(if stale {
        Outcome::Failed
    } else {
        Outcome::Done
    })
}

async fn all(
    store: &dyn Store,
    arguments: &ListArgs,
    runs: Vec<RunKey>,
) -> anyhow::Result<Vec<Listed>> {
    let reports = history::runs_with(store, arguments.cluster.as_ref(), Format::Json).await?;
    let reports: BTreeSet<_> = reports.into_iter().collect();
    let manifests = history::manifests(store, runs).await?;
    let listed = manifests.into_iter().map(|(run, manifest)| Listed {
        expired: !reports.contains(&run),
        ..Listed::of(&run, &manifest)
    });
    Ok(listed.collect())
}

async fn last_complete(
    store: &dyn Store,
    runs: Vec<RunKey>,
    max_age: TimeDelta,
) -> anyhow::Result<Vec<Listed>> {
    let mut clusters = BTreeMap::<_, Vec<_>>::new();
    for run in runs {
        clusters.entry(run.cluster.clone()).or_default().push(run);
    }
    let mut listed = Vec::new();
    for (cluster, runs) in clusters {
        match history::newest_complete(store, &runs, None, None).await? {
            Some((run, manifest)) => listed.push(Listed {
                stale: Some(Utc::now() - run.run.time() > max_age),
                ..Listed::of(&run, &manifest)
            }),
            None => {
                tracing::warn!(%cluster, "no run of this cluster is complete");
                let Some(run) = runs.last() else { continue };
                let manifest = history::manifest(store, run).await?;
                listed.push(Listed {
                    stale: Some(true),
                    ..Listed::of(run, &manifest)
                });
            }
        }
    }
    Ok(listed)
}

impl Listed {
    fn of(run: &RunKey, manifest: &Manifest) -> Self {
        let (counts, header) = (&manifest.counts, &manifest.header);
        Self {
            run_id: run.run.to_string(),
            cluster_name: run.cluster.to_string(),
            snapshot_time: format_time(&header.snapshot_time),
            scope: header.scope.to_string(),
            pods: counts.pods,
            containers: counts.containers,
            images: counts.images,
            not_inspected: counts.not_inspected,
            not_inspected_by: counts.reasons(),
            complete: header.completeness.complete,
            reason: header.completeness.reason.clone(),
            expired: false,
            stale: None,
        }
    }

    fn not_inspected(&self) -> String {
        let reasons = self.not_inspected_by.iter();
        let reasons: Vec<_> = reasons
            .map(|(kind, images)| format!("{images} {kind}"))
            .collect();
        match reasons.as_slice() {
            [] => self.not_inspected.to_string(),
            reasons => format!("{} ({})", self.not_inspected, reasons.join(", ")),
        }
    }

    fn state(&self) -> String {
        let state = match (&self.reason, self.complete) {
            (_, true) => "yes".to_owned(),
            (Some(reason), false) => format!("no ({reason})"),
            (None, false) => "no".to_owned(),
        };
        let expired = if self.expired { ", report expired" } else { "" };
        let stale = if self.stale == Some(true) {
            ", STALE"
        } else {
            ""
        };
        format!("{state}{expired}{stale}")
    }
}

fn print(listed: &[Listed], out: &mut dyn Write) -> anyhow::Result<()> {
    if listed.is_empty() {
        writeln!(out, "no runs")?;
        return Ok(());
    }
    let terminal = Terminal::of_stdout(true);
    // What says little goes first where there is little room.
    let with_pods = terminal.width.is_none_or(|width| width >= WIDE);
    let with_scope = listed
        .iter()
        .any(|run| run.scope != Scope::default().to_string());
    let mut columns = vec!["RUN", "CLUSTER"];
    columns.extend(with_scope.then_some("SCOPE"));
    let numbers = columns.len();
    columns.extend(with_pods.then_some("PODS"));
    columns.extend(["CONTAINERS", "IMAGES", "NOT INSPECTED", "COMPLETE"]);
    let not_inspected = columns.len() - 2;
    let mut table = terminal.table(columns);
    for run in listed {
        let meaning = match (run.stale, run.complete, run.expired) {
            (Some(true), ..) => Some(Meaning::Bad),
            (_, false, _) | (.., true) => Some(Meaning::Warning),
            _ => None,
        };
        let mut line = vec![Cell::new(&run.run_id), Cell::new(&run.cluster_name)];
        line.extend(with_scope.then(|| Cell::new(plain(&run.scope))));
        line.extend(with_pods.then(|| Cell::new(run.pods)));
        line.extend([
            Cell::new(run.containers),
            Cell::new(run.images),
            Cell::new(run.not_inspected()),
            terminal.cell(plain(&run.state()), meaning),
        ]);
        table.add_row(line);
    }
    align_numbers(&mut table, numbers..not_inspected);
    keep_whole(&mut table, [0, 1]);
    // `1 unsupported)` and `COMPLETE`.
    keep_words(&mut table, [(not_inspected, 16), (not_inspected + 1, 10)]);
    writeln!(out, "{}", table.trim_fmt())?;
    Ok(())
}
