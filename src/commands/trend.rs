//! `trend`: counts per day over a period, from the manifests alone.

use std::collections::BTreeMap;
use std::io::Write;

use chrono::NaiveDate;
use comfy_table::Cell;

use super::{Outcome, open_store, write_output};
use crate::cli::{TrendArgs, TrendFormat};
use crate::history::{self, HistoryError};
use crate::report::{Manifest, Scope, cell, plain};
use crate::storage::RunKey;
use crate::terminal::{Meaning, Terminal, align_numbers, keep_whole};
use crate::trend::{By, TrendRow, rows};

/// Prints the counts.
pub async fn trend(arguments: &TrendArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let store = open_store(&arguments.runs.store).await?;
    let runs = history::runs_of_one(store.as_ref(), arguments.runs.cluster.as_ref()).await?;
    let until = arguments.until.or(runs.last().map(|run| run.run.date()));
    let until = until.ok_or(HistoryError::NoCompleteRun(""))?;
    let days = chrono::Days::new(u64::from(arguments.days.saturating_sub(1)));
    let since = arguments
        .since
        .unwrap_or_else(|| until.checked_sub_days(days).unwrap_or(NaiveDate::MIN));
    let in_period = |run: &RunKey| (since..=until).contains(&run.run.date());
    let runs = runs.into_iter().filter(in_period).collect();
    let manifests = history::manifests(store.as_ref(), runs).await?;
    let complete: Vec<_> = manifests
        .into_iter()
        .filter(|(_, manifest)| manifest.header.completeness.complete)
        .collect();
    let newest = complete.last().map(|(_, manifest)| &manifest.header.scope);
    let scope = newest.filter(|_| !arguments.allow_scope_mismatch).cloned();
    let is_other = |of: &Scope| scope.as_ref().is_some_and(|scope| scope != of);
    let left_out = complete.iter();
    let left_out = left_out
        .filter(|(_, manifest)| is_other(&manifest.header.scope))
        .count();
    let days = history::last_of_each_day(complete, scope.as_ref());
    if left_out > 0 {
        tracing::warn!(
            runs = left_out,
            "runs of another scope than the newest are left out: --allow-scope-mismatch takes them in"
        );
    }
    let rows: Vec<_> = days
        .iter()
        .flat_map(|(day, manifest)| rows(*day, manifest, arguments.by))
        .collect();
    write_output(arguments.output.as_deref(), out, |out| {
        match arguments.format {
            TrendFormat::Table => print(&days, &rows, arguments, out)?,
            TrendFormat::Csv => print_csv(&rows, arguments.by, out)?,
            TrendFormat::Json => {
                let document = serde_json::json!({"by": arguments.by.name(), "rows": rows});
                writeln!(out, "{document}")?;
            }
        }
        Ok(())
    })?;
    Ok(Outcome::Done)
}

/// A line a day, a column for each of the largest values.
fn print(
    days: &BTreeMap<NaiveDate, Manifest>,
    rows: &[TrendRow],
    arguments: &TrendArgs,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let mut totals = BTreeMap::<&Option<String>, u64>::new();
    for row in rows {
        *totals.entry(&row.value).or_default() += row.containers;
    }
    let mut columns: Vec<_> = totals.into_iter().collect();
    columns.sort_by_key(|(_, total)| std::cmp::Reverse(*total));
    let columns: Vec<_> = columns.into_iter().map(|(value, _)| value).collect();

    let terminal = Terminal::of_stdout(arguments.output.is_none());
    let shown = fitting(&columns, terminal.width);
    let (columns, others) = columns.split_at(shown);
    let others = !others.is_empty();
    let mut header = vec![Cell::new("DAY"), "CONTAINERS".into(), "IMAGES".into()];
    header.extend(columns.iter().map(|value| {
        let status = value.as_deref().filter(|_| arguments.by == By::EolStatus);
        let status = status.and_then(|status| serde_json::from_value(status.into()).ok());
        terminal.cell(name(value), status.and_then(Meaning::of))
    }));
    if others {
        header.push("others".into());
    }
    let numbers = 1..header.len();
    let mut table = terminal.table(header);
    for (day, manifest) in days {
        let of_day = rows.iter().filter(|row| row.date == *day);
        let counts: BTreeMap<_, _> = of_day.map(|row| (&row.value, row.containers)).collect();
        let shown: Vec<u64> = columns
            .iter()
            .map(|value| counts.get(value).copied().unwrap_or_default())
            .collect();
        let mut line = vec![
            day.to_string(),
            manifest.counts.containers.to_string(),
            manifest.counts.images.to_string(),
        ];
        line.extend(shown.iter().map(ToString::to_string));
        if others {
            let all: u64 = counts.values().sum();
            line.push((all - shown.iter().sum::<u64>()).to_string());
        }
        table.add_row(line);
    }
    keep_whole(&mut table, [0]);
    align_numbers(&mut table, numbers);
    writeln!(out, "{}", table.trim_fmt())?;
    Ok(())
}

fn name(value: &Option<String>) -> String {
    match value {
        Some(value) => plain(value).into_owned(),
        None => "(not known)".into(),
    }
}

/// How many of the columns, the largest first, fit beside day, totals and others.
fn fitting(columns: &[&Option<String>], width: Option<u16>) -> usize {
    /// `2026-11-23`, `CONTAINERS`, `IMAGES` and `others`.
    const FIXED: usize = 10 + 10 + 6 + 6;
    /// Columns without a terminal; the other formats have all.
    const MOST: usize = 8;
    let Some(width) = width else {
        return columns.len().min(MOST);
    };
    // Each column has a space on either side, and a number of up to 6 digits.
    let mut left = usize::from(width).saturating_sub(FIXED + 4 * 2);
    let fits = |value: &&&Option<String>| {
        let wanted = name(value).chars().count().max(6) + 2;
        let fits = wanted <= left;
        left = left.saturating_sub(wanted);
        fits
    };
    columns.iter().take_while(fits).count()
}

fn print_csv(rows: &[TrendRow], by: By, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(out);
    writer.write_record(["date", "run_id", "by", "value", "containers", "images"])?;
    for row in rows {
        let images = row.images.map(|images| images.to_string());
        writer.write_record([
            &row.date.to_string(),
            &row.run_id,
            by.name(),
            &cell(row.value.as_deref().unwrap_or_default()),
            &row.containers.to_string(),
            images.as_deref().unwrap_or_default(),
        ])?;
    }
    writer.flush()?;
    Ok(())
}
