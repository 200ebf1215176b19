//! A run for each day: what is shown of a period.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};

use super::{HistoryError, manifests, runs};
use crate::report::{Counts, Manifest, Night, Scope};
use crate::storage::{RunKey, Store};

/// Days that a page or workbook shows.
const DAYS: u64 = 30;

/// The last complete run of each day, of a scope if one is given (runs oldest first).
pub fn last_of_each_day(
    manifests: Vec<(RunKey, Manifest)>,
    scope: Option<&Scope>,
) -> BTreeMap<NaiveDate, Manifest> {
    let wanted = |manifest: &Manifest| {
        let header = &manifest.header;
        header.completeness.complete && scope.is_none_or(|scope| header.scope == *scope)
    };
    manifests
        .into_iter()
        .filter(|(_, manifest)| wanted(manifest))
        .map(|(run, manifest)| (run.run.date(), manifest))
        .collect()
}

/// What was counted in the 30 days that end with a run, of its scope, oldest first. Its own day is its
/// own, whatever other runs it has: `counts`.
pub async fn nights(
    store: &dyn Store,
    key: &RunKey,
    scope: &Scope,
    counts: Counts,
) -> Result<Vec<Night>, HistoryError> {
    let day = key.run.date();
    let since = day.checked_sub_days(Days::new(DAYS - 1)).unwrap_or(day);
    let mut runs = runs(store, Some(&key.cluster)).await?;
    runs.retain(|run| (since..day).contains(&run.run.date()));
    let days = last_of_each_day(manifests(store, runs).await?, Some(scope));
    let nights = days.into_iter().map(|(date, manifest)| Night {
        date,
        counts: manifest.counts,
    });
    let own = Night { date: day, counts };
    Ok(nights.chain([own]).collect())
}
