//! What a diff says, as rows of a page.

use super::table::{Cell, Column, Look, MAX_ROWS, Table};
use super::words;
use crate::diff::{Change, ChangeKind, Diff, formats};

/// All kinds, as badges: the weightiest first.
const KINDS: [ChangeKind; 11] = [
    ChangeKind::EnteredEol,
    ChangeKind::EnteredExtended,
    ChangeKind::MovedTag,
    ChangeKind::DistributionChanged,
    ChangeKind::RegistryChanged,
    ChangeKind::ReferenceChanged,
    ChangeKind::Added,
    ChangeKind::Removed,
    ChangeKind::NotRunning,
    ChangeKind::NoLongerInspectable,
    ChangeKind::AgainInspectable,
];

/// How many changes show a kind.
pub(super) struct KindCount {
    pub(super) word: String,
    pub(super) class: &'static str,
    pub(super) count: String,
}

/// A change as a list shows it.
pub(super) struct Changed {
    pub(super) kinds: Vec<(String, &'static str)>,
    pub(super) namespace: String,
    pub(super) workload: String,
    pub(super) container: String,
    pub(super) then: Vec<String>,
    pub(super) now: Vec<String>,
}

impl From<&Change> for Changed {
    fn from(change: &Change) -> Self {
        let (then, now) = formats::sides(change);
        let lines = |lines: Vec<String>| lines.iter().map(|line| words::text(line)).collect();
        let kinds = change.kinds.iter();
        Self {
            kinds: kinds
                .map(|kind| (formats::words(*kind), class(*kind)))
                .collect(),
            namespace: words::text(&change.namespace),
            workload: words::text(&formats::workload(change)),
            container: words::text(&change.container),
            then: lines(then),
            now: lines(now),
        }
    }
}

/// The kinds that there are, the weightiest first.
pub(super) fn kind_counts(diff: &Diff) -> Vec<KindCount> {
    let counts = diff.counts.iter().filter(|(_, count)| **count > 0);
    counts
        .map(|(kind, count)| KindCount {
            word: formats::words(*kind),
            class: class(*kind),
            count: words::number(usize::try_from(*count).unwrap_or(usize::MAX)),
        })
        .collect()
}

/// Changes that show a kind, with how many there are in all.
pub(super) fn of_kind(diff: &Diff, kind: ChangeKind, most: usize) -> (Vec<Changed>, usize) {
    let of_kind = || {
        diff.changes
            .iter()
            .filter(|change| change.kinds.contains(&kind))
    };
    let first = of_kind().take(most).map(Changed::from).collect();
    (first, of_kind().count())
}

/// The weightiest changes that do not show `kind`, with how many there are in all.
pub(super) fn but(diff: &Diff, kind: ChangeKind, most: usize) -> (Vec<Changed>, usize) {
    let others = diff.changes.iter();
    let mut others: Vec<_> = others
        .filter(|change| !change.kinds.contains(&kind))
        .collect();
    others.sort_by_key(|change| weight(change));
    let first = others.iter().take(most).map(|change| (*change).into());
    (first.collect(), others.len())
}

/// What comes and goes by its nature, in words.
pub(super) fn transient(diff: &Diff) -> Option<String> {
    let counts = diff.transient;
    (counts.added + counts.removed > 0).then(|| {
        format!(
            "Of Jobs and debug containers, which come and go, {} came and {} went.",
            counts.added, counts.removed
        )
    })
}

/// The table of all changes, or of the weightiest.
pub(super) fn table(diff: &Diff) -> Table {
    let kinds = KINDS.map(|kind| (formats::words(kind), class(kind)));
    let mut table = Table::new(
        "change",
        vec![
            Column::new("Change", Look::Badge)
                .filtered()
                .words(kinds.into()),
            Column::new("Namespace", Look::Text).filtered(),
            Column::new("Workload", Look::Text),
            Column::new("Container", Look::Text),
            Column::new("Then", Look::Code),
            Column::new("Now", Look::Code),
        ],
    );
    let mut changes: Vec<_> = diff.changes.iter().collect();
    if changes.len() > MAX_ROWS {
        changes.sort_by_key(|change| weight(change));
        changes.truncate(MAX_ROWS);
    }
    for change in changes {
        let changed = Changed::from(change);
        let kinds = changed.kinds.into_iter().map(|(word, _)| word);
        let lines = |lines: Vec<String>| match lines.is_empty() {
            true => Cell::Unknown,
            false => Cell::Lines(lines),
        };
        table.push(vec![
            Cell::Lines(kinds.collect()),
            Cell::Text(changed.namespace),
            Cell::Text(changed.workload),
            Cell::Text(changed.container),
            lines(changed.then),
            lines(changed.now),
        ]);
    }
    table
}

fn weight(change: &Change) -> Option<ChangeKind> {
    change.kinds.iter().min().copied()
}

/// The class of its badge.
fn class(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::EnteredEol => "ended",
        ChangeKind::EnteredExtended => "extended",
        ChangeKind::MovedTag | ChangeKind::NoLongerInspectable => "ending",
        ChangeKind::Added | ChangeKind::AgainInspectable => "supported",
        ChangeKind::DistributionChanged
        | ChangeKind::RegistryChanged
        | ChangeKind::ReferenceChanged => "rolling",
        ChangeKind::Removed | ChangeKind::NotRunning => "unknown",
    }
}
