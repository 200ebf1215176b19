//! `prune`: retention, per cluster and scope.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::SystemTime;

use chrono::{TimeDelta, Utc};
use comfy_table::Cell;
use serde::Serialize;

use super::{Outcome, UsageError, open_store};
use crate::cli::{PruneArgs, TableFormat};
use crate::history::{self, Keep, Kept, retained};
use crate::report::plain;
use crate::storage::{ClusterName, Format, RunKey, Store};
use crate::terminal::{Meaning, Terminal, keep_whole};

/// Files without a manifest are left alone for this long: their run may still be under way.
const MAX_ORPHAN_AGE: TimeDelta = TimeDelta::days(7);
/// A run that is dated so far ahead comes of a wrong clock. Clocks that differ by less are no matter.
const MAX_AHEAD: TimeDelta = TimeDelta::days(1);

/// What becomes of a run.
#[derive(Debug, Serialize)]
struct Verdict {
    run_id: String,
    cluster_name: String,
    scope: String,
    keep: bool,
    /// Why it is kept.
    reasons: Vec<String>,
}

/// Removes runs that no rule keeps, and files that belong to no run.
pub async fn prune(arguments: &PruneArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let keep = Keep {
        last: arguments.keep_last,
        daily: arguments.keep_daily,
        weekly: arguments.keep_weekly,
        monthly: arguments.keep_monthly,
        yearly: arguments.keep_yearly,
    };
    if keep.is_empty() {
        let message = "say what to keep, e.g. --keep-daily 30 --keep-monthly 12";
        return Err(UsageError(message.into()).into());
    }
    let store = open_store(&arguments.runs.store).await?;
    let store = store.as_ref();
    let runs = history::runs_of_one(store, arguments.runs.cluster.as_ref()).await?;
    let committed: BTreeSet<_> = runs.iter().cloned().collect();
    let judged = judge(store, runs, keep).await?;
    let mut files = files(store, arguments.runs.cluster.as_ref()).await?;

    if !arguments.dry_run {
        for (run, verdict) in &judged {
            if !verdict.keep {
                // The manifest first: what is left of a removal that breaks off is invisible, never a
                // run that looks whole.
                store.delete(&run.object(Format::Manifest)).await?;
                for key in files.remove(run).unwrap_or_default() {
                    store.delete(&key).await?;
                }
            }
        }
    }
    let now = Utc::now();
    files.retain(|run, _| !committed.contains(run) && now - run.run.time() > MAX_ORPHAN_AGE);
    let mut orphans: Vec<_> = files.into_values().flatten().collect();
    let long_ago = (now - MAX_ORPHAN_AGE).into();
    orphans.extend(unfinished(store, arguments.runs.cluster.as_ref(), long_ago).await?);
    if !arguments.dry_run {
        for key in &orphans {
            store.delete(key).await?;
        }
    }
    let verdicts: Vec<_> = judged.into_iter().map(|(_, verdict)| verdict).collect();
    match arguments.format {
        TableFormat::Json => {
            let document = serde_json::json!({
                "dry_run": arguments.dry_run,
                "runs": verdicts,
                "orphans": orphans,
            });
            writeln!(out, "{document:#}")?;
        }
        TableFormat::Table => print(&verdicts, &orphans, arguments.dry_run, out)?,
    }
    Ok(Outcome::Done)
}

/// What is kept of each scope, oldest first: a run of one namespace must not push out one of all.
async fn judge(
    store: &dyn Store,
    runs: Vec<RunKey>,
    keep: Keep,
) -> anyhow::Result<Vec<(RunKey, Verdict)>> {
    let latest = Utc::now() + MAX_AHEAD;
    let mut judged = Vec::new();
    let mut scopes = BTreeMap::<String, Vec<(RunKey, bool)>>::new();
    // A manifest that cannot be read is not ours to judge: it is left out here, and so it stays.
    for (run, manifest) in history::manifests(store, runs).await? {
        let scope = manifest.header.scope.to_string();
        let complete = manifest.header.completeness.complete;
        if run.run.time() > latest {
            tracing::warn!(run_id = %run.run, "this run is dated in the future: it is kept, and no rule counts it; was a clock wrong?");
            judged.push(verdict(run, scope, BTreeSet::from([Kept::Future])));
            continue;
        }
        scopes.entry(scope).or_default().push((run, complete));
    }
    for (scope, mut runs) in scopes {
        runs.reverse();
        let ids: Vec<_> = runs
            .iter()
            .map(|(run, complete)| (run.run, *complete))
            .collect();
        for ((run, _), reasons) in runs.into_iter().zip(retained(&ids, keep)) {
            judged.push(verdict(run, scope.clone(), reasons));
        }
    }
    judged.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(judged)
}

fn verdict(run: RunKey, scope: String, reasons: BTreeSet<Kept>) -> (RunKey, Verdict) {
    let verdict = Verdict {
        run_id: run.run.to_string(),
        cluster_name: run.cluster.to_string(),
        scope,
        keep: !reasons.is_empty(),
        reasons: reasons.into_iter().map(words).collect(),
    };
    (run, verdict)
}

fn words(reason: Kept) -> String {
    let words = match reason {
        Kept::Last => "last",
        Kept::Daily => "daily",
        Kept::Weekly => "weekly",
        Kept::Monthly => "monthly",
        Kept::Yearly => "yearly",
        Kept::Oldest => "oldest",
        Kept::Newest => "newest",
        Kept::NewestComplete => "newest complete",
        Kept::Future => "dated in the future",
    };
    words.into()
}

/// All files of our own key grammar but manifests, by run.
async fn files(
    store: &dyn Store,
    cluster: Option<&ClusterName>,
) -> anyhow::Result<BTreeMap<RunKey, Vec<String>>> {
    let mut files = BTreeMap::<_, Vec<_>>::new();
    for format in Format::ALL {
        if format == Format::Manifest {
            continue;
        }
        for (run, key) in history::files(store, cluster, format).await? {
            files.entry(run).or_default().push(key);
        }
    }
    Ok(files)
}

/// What runs that were killed had begun to write.
async fn unfinished(
    store: &dyn Store,
    cluster: Option<&ClusterName>,
    before: SystemTime,
) -> anyhow::Result<Vec<String>> {
    let folders = Format::ALL.map(|format| format.folder(cluster));
    let mut found = Vec::new();
    for folder in folders.into_iter().chain(["latest/".into()]) {
        found.extend(store.unfinished(&folder, before).await?);
    }
    Ok(found)
}

fn print(
    verdicts: &[Verdict],
    orphans: &[String],
    dry_run: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let removed = if dry_run { "would go" } else { "removed" };
    let terminal = Terminal::of_stdout(true);
    let mut table = terminal.table(["RUN", "CLUSTER", "SCOPE", "WHAT", "WHY"]);
    for verdict in verdicts {
        let (what, meaning) = match verdict.keep {
            true => ("kept", None),
            false => (removed, Some(Meaning::Warning)),
        };
        table.add_row([
            Cell::new(&verdict.run_id),
            Cell::new(&verdict.cluster_name),
            Cell::new(plain(&verdict.scope)),
            terminal.cell(what, meaning),
            Cell::new(verdict.reasons.join(", ")),
        ]);
    }
    keep_whole(&mut table, [0, 3]);
    writeln!(out, "{}", table.trim_fmt())?;
    for orphan in orphans {
        writeln!(out, "{removed}: {orphan} (of no committed run)")?;
    }
    let kept = verdicts.iter().filter(|verdict| verdict.keep).count();
    writeln!(
        out,
        "{kept} runs kept, {} {removed}, and {} files of no run",
        verdicts.len() - kept,
        orphans.len()
    )?;
    Ok(())
}
