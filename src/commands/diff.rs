//! `diff`: what changed between two runs, or two local reports.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail};

use super::{Outcome, UsageError, local_file, open_local, open_store, shown, write_output};
use crate::cli::{DiffArgs, DiffFormat};
use crate::diff::{Diff, DiffOptions, Side, compare, formats};
use crate::history::{self, HistoryError};
use crate::report::plain;
use crate::storage::{RunKey, Store};
use crate::terminal::Terminal;

/// Compares and prints.
pub async fn diff(arguments: &DiffArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let (old, new) = sides(arguments).await?;
    refuse_what_is_not_comparable(&old, &new, arguments)?;
    let options = DiffOptions {
        only: arguments.only.clone(),
        namespaces: arguments.namespace.clone(),
        include_transient: arguments.include_transient,
    };
    let diff = compare(&old, &new, &options).context("a report has no head")?;
    write_output(arguments.output.as_deref(), out, |out| {
        print(&diff, arguments.format, arguments.output.is_none(), out)
    })?;
    Ok(if arguments.exit_code && !diff.changes.is_empty() {
        Outcome::Different
    } else {
        Outcome::Done
    })
}

fn print(
    diff: &Diff,
    format: DiffFormat,
    may_be_terminal: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    match format {
        DiffFormat::Table => formats::table(diff, Terminal::of_stdout(may_be_terminal), out)?,
        DiffFormat::Csv => formats::csv(diff, out)?,
        DiffFormat::Json => formats::json(diff, out)?,
        DiffFormat::Markdown => formats::markdown(diff, out)?,
    }
    Ok(())
}

/// Both sides: local files need no store.
async fn sides(arguments: &DiffArgs) -> anyhow::Result<(Side, Side)> {
    let (old, new) = match (local(&arguments.old)?, local(&arguments.new)?) {
        (Some(old), Some(new)) => return Ok((old, new)),
        sides => sides,
    };
    let store = open_store(&arguments.runs.store).await?;
    let store = store.as_ref();
    let new_runs = history::runs_of_one(store, arguments.runs.cluster.as_ref()).await?;
    let new = match (new, &arguments.new) {
        (Some(side), _) => Picked::File(Box::new(side)),
        (None, Some(name)) => Picked::Run(history::find(store, name, &new_runs).await?),
        (None, None) => Picked::Run(newest(store, &new_runs, "").await?),
    };
    let old = match (old, &arguments.old, &new) {
        (Some(side), ..) => Picked::File(Box::new(side)),
        (None, Some(name), _) => {
            let runs = old_runs(store, arguments, new_runs).await?;
            Picked::Run(history::find(store, name, &runs).await?)
        }
        (None, None, Picked::Run(run)) if arguments.against.is_none() => {
            Picked::Run(before(store, &new_runs, run).await?)
        }
        (None, None, _) => {
            let runs = old_runs(store, arguments, new_runs).await?;
            Picked::Run(newest(store, &runs, " of the cluster to compare with").await?)
        }
    };
    Ok((old.read(store).await?, new.read(store).await?))
}

/// The report, where a file has this name.
fn local(name: &Option<String>) -> anyhow::Result<Option<Side>> {
    let path = name.as_deref().and_then(local_file);
    path.map(read_file).transpose()
}

enum Picked {
    File(Box<Side>),
    Run(RunKey),
}

impl Picked {
    async fn read(self, store: &dyn Store) -> anyhow::Result<Side> {
        match self {
            Self::File(side) => Ok(*side),
            Self::Run(run) => {
                let manifest = history::manifest(store, &run).await?;
                let side = history::side(store, &run, &manifest).await;
                side.with_context(|| format!("could not read run {}", run.run))
            }
        }
    }
}

async fn old_runs(
    store: &dyn Store,
    arguments: &DiffArgs,
    own: Vec<RunKey>,
) -> Result<Vec<RunKey>, HistoryError> {
    match &arguments.against {
        Some(cluster) => history::runs_of_one(store, Some(cluster)).await,
        None => Ok(own),
    }
}

async fn newest(
    store: &dyn Store,
    runs: &[RunKey],
    of: &'static str,
) -> Result<RunKey, HistoryError> {
    let found = history::newest_complete(store, runs, None, None).await?;
    found
        .map(|(run, _)| run)
        .ok_or(HistoryError::NoCompleteRun(of))
}

/// The last complete run of an earlier day with the same scope.
async fn before(store: &dyn Store, runs: &[RunKey], run: &RunKey) -> anyhow::Result<RunKey> {
    let manifest = history::manifest(store, run).await?;
    let scope = &manifest.header.scope;
    let day = Some(run.run.date());
    let found = history::newest_complete(store, runs, day, Some(scope)).await?;
    let none = HistoryError::NoCompleteRun(" of an earlier day with the same scope");
    Ok(found.map(|(run, _)| run).ok_or(none)?)
}

fn read_file(path: &Path) -> anyhow::Result<Side> {
    let side = history::side_of_file(open_local(path)?);
    side.map_err(|error| UsageError(format!("{}: {error}", shown(path))).into())
}

fn refuse_what_is_not_comparable(
    old: &Side,
    new: &Side,
    arguments: &DiffArgs,
) -> anyhow::Result<()> {
    let (Some(old), Some(new)) = (old.header(), new.header()) else {
        bail!("a report has no head");
    };
    if old.scope != new.scope && !arguments.allow_scope_mismatch {
        bail!(
            "the runs have different scopes ({} and {}): what one of them did not list would look added or removed; compare them all the same with --allow-scope-mismatch",
            plain(&old.scope.to_string()),
            plain(&new.scope.to_string())
        );
    }
    let same_name = old.cluster_name == new.cluster_name;
    if let (Some(then), Some(now)) = (&old.cluster_id, &new.cluster_id)
        && same_name
        && then != now
        && !arguments.accept_new_cluster_id
    {
        bail!(
            "the runs are of clusters with different certificate authorities: two clusters share the name {}, or its CA was renewed (then pass --accept-new-cluster-id)",
            plain(&new.cluster_name)
        );
    }
    Ok(())
}
