//! `list`: the committed runs of a store.

use std::io::Write;

use comfy_table::{Table, presets::NOTHING};

use super::{Outcome, open_store};
use crate::cli::ListArgs;
use crate::history;

/// Shows the runs.
pub async fn list(arguments: &ListArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let store = open_store(&arguments.store).await?;
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header([
        "RUN",
        "CLUSTER",
        "PODS",
        "CONTAINERS",
        "IMAGES",
        "NOT INSPECTED",
        "COMPLETE",
    ]);
    for run in history::runs(store.as_ref(), arguments.cluster.as_ref()).await? {
        let manifest = match history::manifest(store.as_ref(), &run).await {
            Ok(manifest) => manifest,
            Err(error) => {
                tracing::warn!(run_id = %run.run, "{error}");
                continue;
            }
        };
        let (counts, complete) = (manifest.counts, manifest.header.completeness);
        let complete = if complete.complete {
            "yes".into()
        } else {
            complete.reason.unwrap_or_else(|| "no".into())
        };
        table.add_row([
            run.run.to_string(),
            run.cluster.to_string(),
            counts.pods.to_string(),
            counts.containers.to_string(),
            counts.images.to_string(),
            counts.not_inspected.to_string(),
            crate::report::plain(&complete).into_owned(),
        ]);
    }
    writeln!(out, "{}", table.trim_fmt())?;
    Ok(Outcome::Done)
}
