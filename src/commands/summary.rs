//! The closing summary of a run, for the person who started it.

use std::collections::BTreeMap;
use std::io::{self, Write};

use crate::diff::{Diff, formats};
use crate::report::{ErrorKind, ImageRecord, InspectionStatus, Manifest, Report, plain};
use crate::storage::{Format, RunKey, Store};

/// Distributions and reasons that are named; the reports have all.
const MAX_LINES: usize = 20;
/// Images that are named for each reason.
const MAX_EXAMPLES: usize = 3;

/// Writes what was found, what could not be inspected and why, and where the report lies.
pub(super) fn summarise(
    store: &dyn Store,
    key: &RunKey,
    report: &Report,
    manifest: &Manifest,
    diff: Option<&Diff>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let counts = &manifest.counts;
    writeln!(
        out,
        "{} containers of {} images in {} pods",
        counts.containers, counts.images, counts.pods
    )?;
    let mut distributions: Vec<_> = counts.by_distribution.iter().collect();
    distributions.retain(|count| count.distro_id.is_some());
    distributions.sort_by_key(|count| std::cmp::Reverse(count.containers));
    for count in distributions.iter().take(MAX_LINES) {
        let id = plain(count.distro_id.as_deref().unwrap_or_default());
        let version = plain(count.distro_version.as_deref().unwrap_or_default());
        writeln!(out, "  {:>7}  {id} {version}", count.containers)?;
    }
    if distributions.len() > MAX_LINES {
        writeln!(
            out,
            "           and {} more distributions",
            distributions.len() - MAX_LINES
        )?;
    }
    write_not_inspected(report, out)?;
    if let Some(reason) = &report.header.completeness.reason {
        writeln!(
            out,
            "cut off by a {reason}: the report holds what was known by then"
        )?;
    }
    if let Some(diff) = diff {
        writeln!(out, "{}", formats::summary(diff))?;
    }
    writeln!(out, "report: {}", store.describe(&key.object(Format::Csv)))?;
    writeln!(out, "        {}", store.describe(&key.object(Format::Json)))
}

/// Each reason once, with the first images that it holds for: a registry that is down fails
/// hundreds of images with one sentence.
fn write_not_inspected(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let mut reasons = BTreeMap::<&str, Vec<&ImageRecord>>::new();
    for image in &report.images {
        let over = image.error_kind == Some(ErrorKind::NotRunning);
        if image.inspection_status != InspectionStatus::Ok && !over {
            let reason = image.error_message.as_deref().unwrap_or_default();
            reasons.entry(reason).or_default().push(image);
        }
    }
    let total: usize = reasons.values().map(Vec::len).sum();
    if total > 0 {
        writeln!(out, "not inspected: {total} images")?;
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, images)| std::cmp::Reverse(images.len()));
    for (reason, images) in reasons.iter().take(MAX_LINES) {
        writeln!(out, "  {:>7}  {reason}", images.len())?;
        let names = images.iter().take(MAX_EXAMPLES);
        let names = names.filter_map(|image| image.short_name());
        let mut names: Vec<_> = names.map(|name| plain(&name).into_owned()).collect();
        if !names.is_empty() && images.len() > names.len() {
            names.push("...".into());
        }
        if !names.is_empty() {
            writeln!(out, "           {}", names.join(", "))?;
        }
    }
    if reasons.len() > MAX_LINES {
        writeln!(
            out,
            "           and {} more reasons",
            reasons.len() - MAX_LINES
        )?;
    }
    Ok(())
}
