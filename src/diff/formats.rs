//! A [`Diff`] as a table for a terminal, CSV, JSON or Markdown.
//!
//! Texts of pod and image authors are made safe for each of them here.

use std::borrow::Cow;
use std::io::{self, Write};

use comfy_table::Cell;

use super::{Change, ChangeKind, Diff, DiffImage};
use crate::os::system_name;
use crate::report::schema::names;
use crate::report::{Column, ContainerType, cell, plain};
use crate::terminal::{Meaning, Terminal, keep_whole};

/// Columns of the CSV: a row for each change and kind.
pub const DIFF_COLUMNS: &[Column] = &[
    column("old_run_id", "The earlier run").required(),
    column("new_run_id", "The later run").required(),
    column("cluster_name", "The later run's cluster").required(),
    column("kind", "The kind of change")
        .one_of(names::<ChangeKind>)
        .required(),
    column("namespace", "The pods' namespace"),
    column("workload_kind", "What the pods belong to"),
    column("workload_name", "Its name, or the pods' generateName"),
    column("container_type", "container, init or ephemeral")
        .one_of(names::<ContainerType>)
        .required(),
    column("container", "The container's name"),
    column(
        "old_images",
        "References that it ran then, separated by spaces",
    ),
    column(
        "new_images",
        "References that it runs now, separated by spaces",
    ),
    column(
        "old_manifest_digests",
        "Their manifests, separated by spaces",
    ),
    column(
        "new_manifest_digests",
        "Their manifests, separated by spaces",
    ),
    column(
        "old_distributions",
        "Their distributions, separated by semicolons",
    ),
    column(
        "new_distributions",
        "Their distributions, separated by semicolons",
    ),
    column(
        "old_eol_statuses",
        "Their end-of-life statuses, separated by spaces",
    ),
    column(
        "new_eol_statuses",
        "Their end-of-life statuses, separated by spaces",
    ),
];

const fn column(name: &'static str, description: &'static str) -> Column {
    Column::text(name, description)
}

/// The table for a terminal, under a line that names the runs.
pub fn table(diff: &Diff, terminal: Terminal, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", plain(&heading(diff)))?;
    if diff.changes.is_empty() {
        return writeln!(out, "no changes{}", transient(diff));
    }
    let mut table = terminal.table([
        "CHANGE",
        "NAMESPACE",
        "WORKLOAD",
        "CONTAINER",
        "THEN",
        "NOW",
    ]);
    for change in &diff.changes {
        let meaning = change.kinds.iter().find_map(|kind| meaning(*kind));
        let kinds = terminal.cell(kind_words(change, "\n"), meaning);
        let (then, now) = sides(change);
        table.add_row([
            kinds,
            Cell::new(plain(&change.namespace)),
            Cell::new(plain(&workload(change))),
            Cell::new(plain(&change.container)),
            Cell::new(plain_lines(&then)),
            Cell::new(plain_lines(&now)),
        ]);
    }
    keep_whole(&mut table, [0]);
    writeln!(out, "{}", table.trim_fmt())?;
    writeln!(out, "{}{}", counted(diff), transient(diff))
}

/// One line: how much changed since which run.
pub fn summary(diff: &Diff) -> String {
    let changes = match diff.changes.len() {
        0 => "nothing changed".into(),
        _ => counted(diff),
    };
    format!("since {}: {changes}{}", diff.old.run_id, transient(diff))
}

/// Markdown for a pull request or a chat.
pub fn markdown(diff: &Diff, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "**{}**\n", escaped(&heading(diff)))?;
    if diff.changes.is_empty() {
        return writeln!(out, "No changes{}.", transient(diff));
    }
    writeln!(out, "{}{}.\n", counted(diff), transient(diff))?;
    writeln!(
        out,
        "| change | namespace | workload | container | then | now |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|")?;
    for change in &diff.changes {
        let (then, now) = sides(change);
        let lines = |lines: &[String]| {
            let lines: Vec<_> = lines.iter().map(|line| escaped(line)).collect();
            lines.join("<br>")
        };
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} |",
            kind_words(change, "<br>"),
            escaped(&change.namespace),
            escaped(&workload(change)),
            escaped(&change.container),
            lines(&then),
            lines(&now),
        )?;
    }
    Ok(())
}

/// The document of `diff.schema.json`, on one line.
pub fn json(diff: &Diff, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, diff)?;
    writeln!(out)
}

/// [`DIFF_COLUMNS`], a row for each change and kind.
pub fn csv(diff: &Diff, out: &mut dyn Write) -> io::Result<()> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(out);
    writer.write_record(DIFF_COLUMNS.iter().map(|column| column.name))?;
    for row in rows(diff) {
        writer.write_record(row.iter().map(|text| cell(text)).map(Cow::into_owned))?;
    }
    writer.flush()
}

/// The texts of [`DIFF_COLUMNS`], as they are, a row for each change and kind.
pub(crate) fn rows(diff: &Diff) -> impl Iterator<Item = [String; DIFF_COLUMNS.len()]> + '_ {
    let images = |images: &[DiffImage]| joined(images, " ", |image| Some(image.image.clone()));
    let digests = |images: &[DiffImage]| {
        joined(images, " ", |image| {
            Some(image.manifest_digest?.to_string())
        })
    };
    let distributions = |images: &[DiffImage]| joined(images, "; ", distribution);
    let statuses =
        |images: &[DiffImage]| joined(images, " ", |image| Some(image.eol_status?.to_string()));
    let row = move |change: &Change, kind: ChangeKind| {
        [
            diff.old.run_id.clone(),
            diff.new.run_id.clone(),
            diff.new.cluster_name.clone(),
            kind.name().into(),
            change.namespace.clone(),
            change.workload_kind.clone(),
            change.workload_name.clone(),
            change.container_type.name(),
            change.container.clone(),
            images(&change.old),
            images(&change.new),
            digests(&change.old),
            digests(&change.new),
            distributions(&change.old),
            distributions(&change.new),
            statuses(&change.old),
            statuses(&change.new),
        ]
    };
    let changes = diff.changes.iter();
    changes.flat_map(move |change| change.kinds.iter().map(move |kind| row(change, *kind)))
}

fn heading(diff: &Diff) -> String {
    let side = |run: &super::DiffRun| {
        // The id begins with the time.
        let cut = if run.completeness.complete {
            ""
        } else {
            " (incomplete)"
        };
        format!("{}{cut}", run.run_id)
    };
    let clusters = diff.clusters();
    format!("{clusters}: {} → {}", side(&diff.old), side(&diff.new))
}

/// `3 moved tag, 1 added`
fn counted(diff: &Diff) -> String {
    let counts = diff.counts.iter();
    let counts: Vec<_> = counts
        .map(|(kind, count)| format!("{count} {}", words(*kind)))
        .collect();
    counts.join(", ")
}

pub(crate) fn transient(diff: &Diff) -> String {
    let counts = diff.transient;
    match counts.added + counts.removed {
        0 => String::new(),
        _ => format!(
            " (and of Jobs and debug containers {} came, {} went)",
            counts.added, counts.removed
        ),
    }
}

/// The kind, in words.
pub(crate) fn words(kind: ChangeKind) -> String {
    kind.name().replace('_', " ")
}

fn kind_words(change: &Change, separator: &str) -> String {
    let kinds: Vec<_> = change.kinds.iter().map(|kind| words(*kind)).collect();
    kinds.join(separator)
}

/// `Deployment/cart`
pub(crate) fn workload(change: &Change) -> String {
    format!("{}/{}", change.workload_kind, change.workload_name)
}

fn meaning(kind: ChangeKind) -> Option<Meaning> {
    match kind {
        ChangeKind::EnteredEol => Some(Meaning::Bad),
        ChangeKind::EnteredExtended | ChangeKind::MovedTag | ChangeKind::NoLongerInspectable => {
            Some(Meaning::Warning)
        }
        ChangeKind::Added | ChangeKind::AgainInspectable => Some(Meaning::Good),
        _ => None,
    }
}

/// A line for each image: the reference, what it is, and the digest where the reference alone does
/// not tell the sides apart.
pub(crate) fn sides(change: &Change) -> (Vec<String>, Vec<String>) {
    let with_digest = change.kinds.contains(&ChangeKind::MovedTag);
    let line = |image: &DiffImage| {
        let mut line = image.image.clone();
        if let Some(digest) = image.manifest_digest.filter(|_| with_digest) {
            line.push('@');
            line.push_str(&digest.short());
        }
        let status = image.eol_status.map(|status| status.to_string());
        let status = status.filter(|status| status != "supported" && status != "unknown");
        let about: Vec<_> = [distribution(image), status, not_known(image)]
            .into_iter()
            .flatten()
            .collect();
        if !about.is_empty() {
            line.push_str(&format!(" ({})", about.join(", ")));
        }
        line
    };
    let lines = |images: &[DiffImage]| {
        let mut lines: Vec<_> = images.iter().map(line).collect();
        lines.dedup();
        lines
    };
    (lines(&change.old), lines(&change.new))
}

fn distribution(image: &DiffImage) -> Option<String> {
    let [id, version, name] = [&image.distro_id, &image.distro_version, &image.distro_name];
    system_name(id.as_deref(), version.as_deref(), name.as_deref())
}

fn not_known(image: &DiffImage) -> Option<String> {
    let kind = image.error_kind?;
    Some(format!("not known: {}", kind.name()))
}

fn joined(
    images: &[DiffImage],
    separator: &str,
    text: impl Fn(&DiffImage) -> Option<String>,
) -> String {
    let mut texts: Vec<_> = images.iter().filter_map(text).collect();
    texts.dedup();
    texts.join(separator)
}

fn plain_lines(lines: &[String]) -> String {
    let lines: Vec<_> = lines.iter().map(|line| plain(line)).collect();
    lines.join("\n")
}

/// A text as a part of a Markdown table: no markup, no line end, no HTML, no mention, no link.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in plain(text).chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            // A zero-width space behind it: chats and forges take @name for a mention and #1 for an
            // issue, escaped or not.
            '@' | '#' => {
                escaped.push(character);
                escaped.push('\u{200b}');
            }
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '!' | '|' | '~' => {
                escaped.push('\\');
                escaped.push(character);
            }
            _ => escaped.push(character),
        }
    }
    // A scheme makes a link by itself, and so does www. in whatever case.
    let mut text = escaped.replace("://", ":\u{200b}//");
    let starts: Vec<_> = text
        .to_ascii_lowercase()
        .match_indices("www.")
        .map(|(at, _)| at)
        .collect();
    for at in starts.into_iter().rev() {
        text.insert(at + 3, '\u{200b}');
    }
    text
}
