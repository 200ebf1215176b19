//! The figures of the page: a chart, what it says in words, and its numbers as a table.

use chrono::NaiveDate;

use super::charts::{self, ChartError, Svg};
use super::facts::{Facts, Tally};
use super::support::Support;
use super::words;
use crate::report::Night;

/// Bars of a chart; the rest is one more.
const MAX_BARS: usize = 12;
/// Months that are looked ahead.
const MONTHS: u32 = 24;
/// Rows of a chart's table.
const MAX_FIGURES: usize = 500;

/// A chart with its title, text and numbers.
pub(super) struct Figure {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// What it shows, in a sentence or two.
    pub(super) summary: String,
    /// None where there is nothing to draw.
    pub(super) svg: Option<Svg>,
    /// Statuses that have a colour in it.
    pub(super) keys: Vec<Support>,
    pub(super) head: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
    /// Rows that are not on the page.
    pub(super) left: usize,
}

/// All figures of a report.
pub(super) fn of(
    facts: &Facts<'_>,
    nights: &[Night],
    today: NaiveDate,
) -> Result<Vec<Figure>, ChartError> {
    Ok(vec![
        systems(facts)?,
        ends(facts, today)?,
        namespaces(facts)?,
        trend(nights)?,
    ])
}

fn systems(facts: &Facts<'_>) -> Result<Figure, ChartError> {
    let rows = facts.systems.iter().map(|(name, tally)| {
        let name = match name.as_str() {
            "" => "no distribution known",
            name => name,
        };
        (name.to_owned(), *tally)
    });
    let summary = |rows: &[(String, Tally)]| match rows.first() {
        None => "No container was running.".into(),
        Some((name, tally)) => format!(
            "{}; most containers, {}, run {name}.",
            words::counted(rows.len(), "system"),
            words::number(tally.total()),
        ),
    };
    by_support(
        "systems",
        "Distributions and versions",
        "System",
        rows.collect(),
        summary,
        "other systems",
    )
}

fn namespaces(facts: &Facts<'_>) -> Result<Figure, ChartError> {
    let rows = facts.namespaces.iter();
    let rows = rows.map(|(name, tally)| (words::text(name), *tally));
    let summary = |rows: &[(String, Tally)]| {
        let worst = rows
            .iter()
            .max_by_key(|(_, tally)| tally.of(Support::Ended));
        match worst.filter(|(_, tally)| tally.of(Support::Ended) > 0) {
            None => format!(
                "{}; none runs a system whose support is known to have ended.",
                words::counted(rows.len(), "namespace")
            ),
            Some((name, tally)) => format!(
                "{}; most containers on ended systems, {} of {}, run in {name}.",
                words::counted(rows.len(), "namespace"),
                words::number(tally.of(Support::Ended)),
                words::number(tally.total()),
            ),
        }
    };
    by_support(
        "namespaces",
        "Containers per namespace",
        "Namespace",
        rows.collect(),
        summary,
        "other namespaces",
    )
}

/// Bars by support, the longest first.
fn by_support(
    id: &'static str,
    title: &'static str,
    name: &'static str,
    mut rows: Vec<(String, Tally)>,
    summary: impl Fn(&[(String, Tally)]) -> String,
    others: &str,
) -> Result<Figure, ChartError> {
    rows.sort_by(|(a, left), (b, right)| {
        let counts = right.total().cmp(&left.total());
        counts.then_with(|| a.cmp(b))
    });
    let mut bars: Vec<_> = rows.iter().take(MAX_BARS).cloned().collect();
    if rows.len() > MAX_BARS {
        let mut rest = Tally::default();
        for (_, tally) in &rows[MAX_BARS..] {
            rest.join(tally);
        }
        bars.push((format!("{} {others}", rows.len() - MAX_BARS), rest));
    }
    let keys = keys(rows.iter().map(|(_, tally)| tally));
    let mut head = vec![name];
    head.extend(keys.iter().map(|support| support.word()));
    head.push("containers");
    let figures = rows.iter().take(MAX_FIGURES).map(|(name, tally)| {
        let mut row = vec![name.clone()];
        row.extend(keys.iter().map(|support| words::number(tally.of(*support))));
        row.push(words::number(tally.total()));
        row
    });
    Ok(Figure {
        id,
        title,
        summary: summary(&rows),
        svg: (!rows.is_empty())
            .then(|| charts::bars(&bars))
            .transpose()?,
        head,
        rows: figures.collect(),
        left: rows.len().saturating_sub(MAX_FIGURES),
        keys,
    })
}

fn ends(facts: &Facts<'_>, today: NaiveDate) -> Result<Figure, ChartError> {
    let months: Vec<_> = charts::months_from(today, MONTHS)
        .map(|month| (month, facts.months.get(&month).copied().unwrap_or_default()))
        .collect();
    let total: usize = months.iter().map(|(_, containers)| containers).sum();
    let named = |(year, month): (i32, u32)| {
        let date = NaiveDate::from_ymd_opt(year, month, 1);
        date.map(|date| date.format("%B %Y").to_string())
            .unwrap_or_default()
    };
    let most = months
        .iter()
        .rev()
        .max_by_key(|(_, containers)| *containers);
    let summary = match most.filter(|(_, containers)| *containers > 0) {
        None => {
            "No container's system is known to lose its ordinary support in the coming two years."
                .into()
        }
        Some((month, containers)) => format!(
            "The ordinary support of {} systems ends in the coming two years; of most, {}, in {}.",
            match total {
                1 => "1 container's".into(),
                _ => format!("{} containers'", words::number(total)),
            },
            words::number(*containers),
            named(*month)
        ),
    };
    let rows = months.iter().filter(|(_, containers)| *containers > 0);
    let rows = rows.map(|(month, containers)| vec![named(*month), words::number(*containers)]);
    Ok(Figure {
        id: "ends",
        title: "Ends of support, the coming two years",
        summary,
        svg: (total > 0).then(|| charts::months(&months)).transpose()?,
        keys: Vec::new(),
        head: vec!["Month", "containers"],
        rows: rows.collect(),
        left: 0,
    })
}

fn trend(nights: &[Night]) -> Result<Figure, ChartError> {
    let tallies: Vec<_> = nights
        .iter()
        .map(|night| {
            let mut tally = Tally::default();
            for count in &night.counts.by_eol_status {
                tally.add(count.eol_status.into(), count.containers);
            }
            (night.date, tally)
        })
        .collect();
    let keys = keys(tallies.iter().map(|(_, tally)| tally));
    let summary = match (tallies.first(), tallies.last()) {
        (Some((first, then)), Some((last, now))) if first != last => {
            let ended = |tally: &Tally| words::number(tally.of(Support::Ended));
            format!(
                "{} from {} to {}: containers went from {} to {}, those on ended systems from {} to {}.",
                words::counted(tallies.len(), "night"),
                words::day(*first),
                words::day(*last),
                words::number(then.total()),
                words::number(now.total()),
                ended(then),
                ended(now),
            )
        }
        _ => "There is no earlier night to set this one beside.".into(),
    };
    let mut head = vec!["Night"];
    head.extend(keys.iter().map(|support| support.word()));
    head.push("containers");
    let rows = tallies.iter().rev().map(|(date, tally)| {
        let mut row = vec![date.to_string()];
        row.extend(keys.iter().map(|support| words::number(tally.of(*support))));
        row.push(words::number(tally.total()));
        row
    });
    let rows: Vec<_> = rows.collect();
    let draws = tallies.len() > 1 && !keys.is_empty();
    Ok(Figure {
        id: "trend",
        title: "The last 30 nights",
        summary,
        svg: draws.then(|| charts::nights(&tallies)).transpose()?,
        keys: if draws { keys } else { Vec::new() },
        head,
        rows: if draws { rows } else { Vec::new() },
        left: 0,
    })
}

/// Statuses that occur.
fn keys<'a>(tallies: impl Iterator<Item = &'a Tally> + Clone) -> Vec<Support> {
    let occurs = |support: &Support| tallies.clone().any(|tally| tally.of(*support) > 0);
    Support::ALL.into_iter().filter(occurs).collect()
}
