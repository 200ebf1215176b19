//! The report, and a diff, as a page for a browser: one file that asks for nothing.
//!
//! Pure: a [`Report`] and its [`Surroundings`] flow in, a page flows out. The page can be read without
//! JavaScript; `page.js` adds search, order and filters. A Content-Security-Policy allows the one style
//! and the one script of the page by their hashes and nothing else.
//!
//! Texts of others go through [`super::plain`] here and are escaped by the templates; in charts by
//! plotters; in the embedded data by `table::json`. `page.js` shows them as text only.

mod changes;
mod charts;
mod containers;
mod facts;
mod figures;
mod support;
mod table;
mod words;

use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::NaiveDate;
use sha2::{Digest as _, Sha256};

use self::changes::{Changed, KindCount};
use self::charts::ChartError;
use self::containers::Rows;
use self::facts::{Facts, Finding, Reason};
use self::figures::Figure;
use self::support::Support;
use self::table::{MAX_ROWS, Shown, Table};
use super::{EngineName, Header, InspectionStatus, Report, Surroundings, format_time};
use crate::diff::{ChangeKind, Diff, DiffRun};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Entries of a list that are seen at once, and those behind "more".
const SEEN: usize = 6;
const MORE: usize = 200;
/// Changes and moved tags that the report's page names; the diff's page has all.
const CHANGES_SEEN: usize = 2;
const CHANGES_MORE: usize = 60;
/// Images and namespaces that are named for each reason.
const EXAMPLES: usize = 3;

/// A page that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum HtmlError {
    /// The template failed.
    #[error("could not make the page: {0}")]
    Template(#[from] askama::Error),
    /// A chart failed.
    #[error(transparent)]
    Chart(#[from] ChartError),
}

/// The page of a report.
///
/// # Errors
/// [`HtmlError`]; no report that can be read leads to one.
pub fn report_page(report: &Report, surroundings: &Surroundings<'_>) -> Result<String, HtmlError> {
    let facts = Facts::of(report);
    let (table, rows) = containers::table(report);
    let header = &report.header;
    let title = format!(
        "{} · {} · image-census",
        words::text(&header.cluster_name),
        words::day(header.snapshot_time.date_naive())
    );
    let today = header.snapshot_time.date_naive();
    let page = ReportPage {
        frame: Frame::new(title),
        cluster: words::text(&header.cluster_name),
        moment: words::moment(header.snapshot_time),
        is_complete: header.completeness.complete,
        sentences: sentences(header, &facts),
        tiles: tiles(&facts, surroundings.changes),
        findings: Listed::of(
            facts.findings.iter().map(|finding| found(finding, today)),
            (SEEN, MORE),
        ),
        findings_total: found_in_all(&facts),
        changes: surroundings.changes.map(since),
        reasons: Listed::of(facts.reasons.iter().map(reason), (SEEN, MORE)),
        not_inspected: facts.counts.not_inspected,
        figures: figures::of(&facts, surroundings.nights, today)?,
        table: TableView::of(&table, table_note(rows, report, &table)),
        rows_title: match rows {
            Rows::Containers => "All containers",
            Rows::Workloads => "All workloads",
            Rows::WorstWorkloads => "Workloads on the oldest systems",
        },
        about: about(header),
    };
    Ok(page.render()?)
}

/// The page of a diff.
///
/// # Errors
/// [`HtmlError`]; no diff that can be read leads to one.
pub fn diff_page(diff: &Diff) -> Result<String, HtmlError> {
    let table = changes::table(diff);
    let clusters = words::text(&diff.clusters());
    let left = diff.changes.len() - table.count;
    let note = (left > 0).then(|| {
        format!(
            "The table holds the {} weightiest changes; image-census diff --format csv has all {}.",
            words::number(table.count),
            words::number(diff.changes.len())
        )
    });
    let page = DiffPage {
        frame: Frame::new(format!(
            "{clusters} · changes until {} · image-census",
            words::day(diff.new.snapshot_time.date_naive())
        )),
        clusters,
        runs: [("Then", &diff.old), ("Now", &diff.new)].map(|(name, run)| RunView::of(name, run)),
        total: words::counted(diff.changes.len(), "changed container"),
        kinds: changes::kind_counts(diff),
        transient: changes::transient(diff),
        table: TableView::of(&table, note),
    };
    Ok(page.render()?)
}

/// What every page has.
struct Frame {
    title: String,
    policy: String,
    style: &'static str,
    script: &'static str,
}

impl Frame {
    fn new(title: String) -> Self {
        let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
        // data: is the page's own icon, so that browsers ask no server for one.
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; img-src data:; \
             base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; \
             trusted-types 'none'",
            hash(STYLE),
            hash(SCRIPT)
        );
        Self {
            title,
            policy,
            style: STYLE,
            script: SCRIPT,
        }
    }
}

#[derive(Template)]
#[template(path = "report.html", config = "src/report/html/askama.toml")]
struct ReportPage<'a> {
    frame: Frame,
    cluster: String,
    moment: String,
    is_complete: bool,
    sentences: Vec<String>,
    tiles: Vec<Tile>,
    findings: Listed<FindingView>,
    findings_total: String,
    changes: Option<Since>,
    reasons: Listed<ReasonView>,
    not_inspected: usize,
    figures: Vec<Figure>,
    table: TableView<'a>,
    rows_title: &'static str,
    about: Vec<(&'static str, String)>,
}

#[derive(Template)]
#[template(path = "diff.html", config = "src/report/html/askama.toml")]
struct DiffPage<'a> {
    frame: Frame,
    clusters: String,
    runs: [RunView; 2],
    total: String,
    kinds: Vec<KindCount>,
    transient: Option<String>,
    table: TableView<'a>,
}

/// A figure at the top, that leads to what it counts.
struct Tile {
    label: &'static str,
    value: String,
    note: String,
    class: &'static str,
    /// An anchor of the page.
    target: &'static str,
    /// The column and word that the table is filtered by.
    filter: Option<(&'static str, &'static str)>,
}

/// A list whose beginning is seen at once.
struct Listed<T> {
    seen: Vec<T>,
    more: Vec<T>,
    /// How many are not on the page.
    left: usize,
}

impl<T> Listed<T> {
    fn of(items: impl ExactSizeIterator<Item = T>, (seen, more): (usize, usize)) -> Self {
        let total = items.len();
        let mut items = items.take(seen + more);
        let seen: Vec<_> = items.by_ref().take(seen).collect();
        let more: Vec<_> = items.collect();
        let left = total - seen.len() - more.len();
        Self { seen, more, left }
    }

    fn total(&self) -> usize {
        self.seen.len() + self.more.len() + self.left
    }
}

struct FindingView {
    support: Support,
    namespace: String,
    workload: String,
    owner: Option<String>,
    system: String,
    when: String,
    containers: String,
}

/// What changed since an earlier run.
struct Since {
    run: String,
    moment: String,
    is_complete: bool,
    kinds: Vec<KindCount>,
    moved: Vec<Changed>,
    moved_more: Vec<Changed>,
    moved_left: usize,
    others: Vec<Changed>,
    others_more: Vec<Changed>,
    others_left: usize,
    transient: Option<String>,
}

struct ReasonView {
    class: &'static str,
    kind: String,
    images: String,
    message: String,
    where_: String,
    examples: Vec<String>,
    left: usize,
}

struct TableView<'a> {
    table: &'a Table,
    note: Option<String>,
    json: String,
    /// Rows that are seen with JavaScript only.
    left: usize,
}

impl<'a> TableView<'a> {
    fn of(table: &'a Table, note: Option<String>) -> Self {
        Self {
            table,
            note,
            json: table.json(),
            left: table.count - table.first.len(),
        }
    }

    fn rows(&self) -> &[Vec<Shown>] {
        &self.table.first
    }
}

struct RunView {
    name: &'static str,
    cluster: String,
    run: String,
    moment: String,
    completeness: String,
    scope: String,
}

impl RunView {
    fn of(name: &'static str, run: &DiffRun) -> Self {
        let completeness = &run.completeness;
        Self {
            name,
            cluster: words::text(&run.cluster_name),
            run: words::text(&run.run_id),
            moment: words::moment(run.snapshot_time),
            completeness: match (&completeness.reason, completeness.complete) {
                (_, true) => "Complete".into(),
                (Some(reason), _) => format!("Incomplete: cut off by a {}", words::text(reason)),
                (None, _) => "Incomplete".into(),
            },
            scope: words::text(&run.scope.to_string()),
        }
    }
}

/// Completeness, scope and what could not be inspected, in words.
fn sentences(header: &Header, facts: &Facts<'_>) -> Vec<String> {
    let counts = &facts.counts;
    let pods = words::counted(counts.pods, "pod");
    let mut sentences = vec![match (&header.completeness.reason, counts.pods) {
        _ if header.completeness.complete && counts.pods == 1 => {
            "Complete: the only pod was listed.".into()
        }
        _ if header.completeness.complete => format!("Complete: all {pods} were listed."),
        (Some(reason), _) => format!(
            "Incomplete: cut off by a {}. {pods} were listed; the page holds what was known by then.",
            words::text(reason)
        ),
        (None, _) => {
            format!("Incomplete. {pods} were listed; the page holds what was known by then.")
        }
    }];
    let reasons = counts.reasons();
    let reasons: Vec<_> = reasons
        .iter()
        .filter(|(kind, _)| *kind != "not_running")
        .map(|(kind, images)| format!("{} {}", words::number(*images), kind.replace('_', " ")))
        .collect();
    sentences.push(match (counts.images, counts.not_inspected) {
        (0, _) => "No container was running.".into(),
        (1, 0) => "The only image was inspected.".into(),
        (images, 0) => format!("All {} images were inspected.", words::number(images)),
        (images, missing) => format!(
            "{} of {} could not be inspected{}.",
            words::number(missing),
            words::counted(images, "image"),
            match reasons.is_empty() {
                true => String::new(),
                false => format!(" ({})", reasons.join(", ")),
            }
        ),
    });
    if header.scope != super::Scope::default() {
        let scope = words::text(&header.scope.to_string());
        sentences.push(format!(
            "Only a part of the cluster was asked for: {scope}."
        ));
    }
    if counts.not_running > 0 {
        sentences.push(format!(
            "{} of pods that are over stand in the table and count nowhere else.",
            words::counted(counts.not_running, "container")
        ));
    }
    sentences
}

fn tiles(facts: &Facts<'_>, changes: Option<&Diff>) -> Vec<Tile> {
    let counts = &facts.counts;
    let support = |support: Support, label| {
        let containers = facts.support.of(support);
        let share = words::share(containers, counts.containers);
        Tile {
            label,
            value: words::number(containers),
            note: match containers {
                0 => "no container".into(),
                1 => format!("container, {share}"),
                _ => format!("containers, {share}"),
            },
            class: if containers > 0 {
                support.class()
            } else {
                "none"
            },
            target: "table",
            filter: (containers > 0).then_some(("Support", support.word())),
        }
    };
    let not_inspected = counts.not_inspected;
    let mut tiles = vec![
        Tile {
            label: "Containers",
            value: words::number(counts.containers),
            note: format!("of {}", words::counted(counts.images, "image")),
            class: "none",
            target: "table",
            filter: None,
        },
        support(Support::Ended, "Support ended"),
        support(Support::Extended, "Extended support only"),
        support(Support::Ending, "Support ends soon"),
    ];
    if let Some(diff) = changes {
        let moved = diff.counts.get(&ChangeKind::MovedTag).copied();
        let moved = usize::try_from(moved.unwrap_or_default()).unwrap_or(usize::MAX);
        tiles.push(Tile {
            label: "Changes",
            value: words::number(diff.changes.len()),
            note: match moved {
                0 => "no moved tag".into(),
                _ => words::counted(moved, "moved tag"),
            },
            class: if moved > 0 { "rolling" } else { "none" },
            target: "changes",
            filter: None,
        });
    }
    tiles.push(Tile {
        label: "Not inspected",
        value: words::number(not_inspected),
        note: format!("of {}", words::counted(counts.images, "image")),
        class: if not_inspected > 0 { "unknown" } else { "none" },
        target: "not-inspected",
        filter: None,
    });
    tiles
}

/// How many containers the findings are of, in words.
fn found_in_all(facts: &Facts<'_>) -> String {
    let parts = [
        (Support::Ended, "on ended systems"),
        (Support::Extended, "with extended support only"),
        (Support::Ending, "on systems that end soon"),
    ];
    let parts: Vec<_> = parts
        .into_iter()
        .filter(|(support, _)| facts.support.of(*support) > 0)
        .map(|(support, about)| format!("{} {about}", words::number(facts.support.of(support))))
        .collect();
    format!("Containers: {}.", words::listed(&parts))
}

fn found(finding: &Finding<'_>, today: NaiveDate) -> FindingView {
    let workload = containers::workload(finding.workload_kind, finding.workload_name);
    FindingView {
        support: finding.support,
        namespace: words::text(finding.namespace),
        workload: words::text(&workload),
        owner: finding.owner.map(words::text),
        system: finding.system.as_deref().unwrap_or_default().to_owned(),
        when: when(finding, today),
        containers: words::number(finding.containers.0),
    }
}

/// Since when, or until when.
fn when(finding: &Finding<'_>, today: NaiveDate) -> String {
    let last = finding.extended_date.or(finding.eol_date);
    match (finding.support, finding.eol_date) {
        (Support::Extended, _) => match finding.extended_date {
            Some(date) => format!("extended until {}", words::short_day(date)),
            None => "the end of extended support is not known".into(),
        },
        (Support::Ending, Some(date)) => match date.signed_duration_since(today).num_days() {
            0 => "ends today".into(),
            1 => format!("ends tomorrow, {}", words::short_day(date)),
            days => format!("ends in {days} days, {}", words::short_day(date)),
        },
        (Support::Ending, None) => "ends soon".into(),
        _ => last.map_or("the day is not known".into(), |date| {
            format!("ended {}", words::short_day(date))
        }),
    }
}

fn since(diff: &Diff) -> Since {
    let most = CHANGES_SEEN + CHANGES_MORE;
    let split = |(mut changes, total): (Vec<Changed>, usize)| {
        let left = total - changes.len();
        let more = changes.split_off(changes.len().min(CHANGES_SEEN));
        (changes, more, left)
    };
    let (moved, moved_more, moved_left) = split(changes::of_kind(diff, ChangeKind::MovedTag, most));
    let (others, others_more, others_left) = split(changes::but(diff, ChangeKind::MovedTag, most));
    Since {
        run: words::text(&diff.old.run_id),
        moment: words::moment(diff.old.snapshot_time),
        is_complete: diff.old.completeness.complete,
        kinds: changes::kind_counts(diff),
        moved,
        moved_more,
        moved_left,
        others,
        others_more,
        others_left,
        transient: changes::transient(diff),
    }
}

fn reason(reason: &Reason<'_>) -> ReasonView {
    let namespaces = reason.namespaces.iter().take(EXAMPLES);
    let mut namespaces: Vec<_> = namespaces.map(|name| words::text(name)).collect();
    if let Some(others @ 1..) = reason.namespaces.len().checked_sub(namespaces.len()) {
        namespaces.push(words::counted(others, "other namespace"));
    }
    let examples = reason.images.iter().take(EXAMPLES);
    let examples: Vec<_> = examples
        .filter_map(|image| Some(words::text(&image.short_name()?)))
        .collect();
    ReasonView {
        class: match reason.status {
            InspectionStatus::Ok => "supported",
            InspectionStatus::Partial => "ending",
            InspectionStatus::Failed => "ended",
            InspectionStatus::Skipped => "unknown",
        },
        kind: words::inspection(reason.status, reason.kind),
        images: words::counted(reason.images.len(), "image"),
        message: words::text(reason.message),
        where_: format!(
            "{} in {}",
            words::counted(reason.containers, "container"),
            words::listed(&namespaces)
        ),
        left: reason.images.len() - examples.len(),
        examples,
    }
}

fn table_note(rows: Rows, report: &Report, table: &Table) -> Option<String> {
    let containers = words::number(report.containers.len());
    match rows {
        Rows::Containers => None,
        Rows::Workloads => Some(format!(
            "There are {containers} containers, too many for a page: a row is a container and image of a \
             workload. The CSV has a row for each container."
        )),
        Rows::WorstWorkloads => Some(format!(
            "There are {containers} containers of more than {} workloads, too many for a page: these are \
             the first {}, those on the oldest systems first. The CSV has all.",
            words::number(MAX_ROWS),
            words::number(table.count),
        )),
    }
}

fn about(header: &Header) -> Vec<(&'static str, String)> {
    let versions = &header.versions;
    let not_known = || "not known".to_owned();
    vec![
        ("Run", words::text(&header.run_id)),
        ("Cluster", words::text(&header.cluster_name)),
        (
            "Cluster id",
            header
                .cluster_id
                .as_deref()
                .map_or_else(not_known, words::text),
        ),
        ("Start of the listing", format_time(&header.snapshot_time)),
        ("Scope", words::text(&header.scope.to_string())),
        ("image-census", words::text(&versions.program)),
        match versions.engine {
            EngineName::Native => ("Engine", "native".to_owned()),
            EngineName::Crane => (
                "crane",
                versions
                    .crane
                    .as_deref()
                    .map_or_else(not_known, words::text),
            ),
        },
        ("Detection rules", versions.detection_rules.to_string()),
        ("End-of-life data of", versions.eol_data.to_string()),
    ]
}
