//! Which runs to keep: keep-last, -daily, -weekly, -monthly and -yearly as restic defines them
//! ("Removing snapshots according to a policy").
//!
//! Pure. The runs of one cluster and one scope flow in, newest first; what is kept and why flows out.

use std::collections::BTreeSet;

use chrono::{Datelike, NaiveDate};

use crate::storage::RunId;

/// How many runs each rule keeps; zero keeps none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keep {
    /// The newest ones.
    pub last: u32,
    /// The newest of each of the newest days that have one.
    pub daily: u32,
    /// The newest of each ISO week.
    pub weekly: u32,
    /// The newest of each month.
    pub monthly: u32,
    /// The newest of each year.
    pub yearly: u32,
}

/// Why a run is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Kept {
    Last,
    Daily,
    Weekly,
    Monthly,
    Yearly,
    /// It is the oldest complete run, and a rule for periods has not kept as many as it may.
    Oldest,
    /// It is the newest run: `latest` names it.
    Newest,
    /// It is the newest complete run, which is never removed.
    NewestComplete,
    /// It is dated in the future, as by a clock that was wrong: nobody knows what it stands for.
    Future,
}

impl Keep {
    /// Whether no rule keeps anything.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The period that a day belongs to: its year, and its number in it.
type Period = fn(NaiveDate) -> (i32, u32);

/// For each run (newest first, with whether it is complete) the reasons to keep it; none means that it
/// goes. A run that was cut off counts for keep-last only: it must not push out a complete one of its
/// day.
pub fn retained(runs: &[(RunId, bool)], keep: Keep) -> Vec<BTreeSet<Kept>> {
    let mut reasons = vec![BTreeSet::new(); runs.len()];
    for reasons in reasons.iter_mut().take(keep.last as usize) {
        reasons.insert(Kept::Last);
    }
    let rules: [(Kept, u32, Period); 4] = [
        (Kept::Daily, keep.daily, |day| (day.year(), day.ordinal())),
        (Kept::Weekly, keep.weekly, |day| {
            (day.iso_week().year(), day.iso_week().week())
        }),
        (Kept::Monthly, keep.monthly, |day| (day.year(), day.month())),
        (Kept::Yearly, keep.yearly, |day| (day.year(), 0)),
    ];
    for (rule, mut left, period) in rules {
        let mut last = None;
        for ((run, complete), reasons) in runs.iter().zip(&mut reasons) {
            let of = Some(period(run.date()));
            if *complete && left > 0 && last != of {
                last = of;
                left -= 1;
                reasons.insert(rule);
            }
        }
        // "If there are not enough snapshots to keep one for each duration related option, the oldest
        // snapshot is kept additionally": the longest history while there is little.
        let oldest = runs.iter().rposition(|(_, complete)| *complete);
        if left > 0
            && let Some(reasons) = oldest.and_then(|place| reasons.get_mut(place))
            && !reasons.contains(&rule)
        {
            reasons.insert(Kept::Oldest);
        }
    }
    if let Some(newest) = reasons.first_mut() {
        newest.insert(Kept::Newest);
    }
    let complete = runs.iter().position(|(_, complete)| *complete);
    if let Some(newest) = complete.and_then(|place| reasons.get_mut(place)) {
        newest.insert(Kept::NewestComplete);
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(ids: &[(&str, bool)], keep: Keep) -> Vec<String> {
        let runs: Vec<(RunId, bool)> = ids
            .iter()
            .filter_map(|(id, complete)| Some((id.parse().ok()?, *complete)))
            .collect();
        assert_eq!(runs.len(), ids.len());
        let reasons = retained(&runs, keep);
        let kept = runs
            .iter()
            .zip(reasons)
            .filter(|(_, reasons)| !reasons.is_empty());
        kept.map(|((run, _), _)| run.to_string()[..8].to_owned())
            .collect()
    }

    #[test]
    fn each_rule_keeps_the_newest_run_of_each_period_that_has_one() {
        let runs = [
            ("20261123T120000Z-0002", true),
            ("20261123T020000Z-0001", true),
            ("20261122T020000Z-0001", true),
            ("20261115T020000Z-0001", true),
            ("20261031T020000Z-0001", true),
            ("20251231T020000Z-0001", true),
            ("20241231T020000Z-0001", true),
        ];
        let keep = |keep| kept(&runs, keep);
        let none = Keep::default();
        assert_eq!(keep(Keep { last: 2, ..none }), ["20261123", "20261123"]);
        assert_eq!(keep(Keep { daily: 2, ..none }), ["20261123", "20261122"]);
        assert_eq!(
            keep(Keep { weekly: 3, ..none }),
            ["20261123", "20261122", "20261115"]
        );
        assert_eq!(keep(Keep { monthly: 2, ..none }), ["20261123", "20261031"]);
        assert_eq!(
            keep(Keep { yearly: 9, ..none }),
            ["20261123", "20251231", "20241231"]
        );
    }

    #[test]
    fn the_oldest_run_stays_while_a_rule_has_some_left() {
        let runs = [
            ("20261123T120000Z-0002", true),
            ("20261122T020000Z-0001", true),
            ("20261122T010000Z-0001", true),
            ("20261122T000000Z-0001", false),
        ];
        let retained = |daily| {
            let keep = Keep {
                daily,
                ..Keep::default()
            };
            kept(&runs, keep).len()
        };
        assert_eq!([retained(1), retained(2), retained(3)], [1, 2, 3]);
    }

    #[test]
    fn a_run_that_was_cut_off_pushes_no_complete_one_out() {
        let runs = [
            ("20261123T120000Z-0002", false),
            ("20261123T020000Z-0001", true),
            ("20261122T020000Z-0001", false),
            ("20261121T020000Z-0001", true),
        ];
        let keep = Keep {
            daily: 1,
            ..Keep::default()
        };
        assert_eq!(kept(&runs, keep), ["20261123", "20261123"]);
        assert_eq!(kept(&runs[2..], keep), ["20261122", "20261121"]);
    }
}
