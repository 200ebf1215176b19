//! What a scenario counts, and where it goes: into the file that `scripts/chaos` names, a line each.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write;

use crate::harness::Result;

/// How often a scenario is done over: `whole` for `scripts/chaos`, `short` for everyone else.
pub(crate) fn rounds(short: usize, whole: usize) -> usize {
    if std::env::var_os("CHAOS").is_some_and(|form| form == "whole") {
        whole
    } else {
        short
    }
}

/// The counts of one scenario.
#[derive(Debug)]
pub(crate) struct Tally {
    /// What is done to the program, for the table.
    scenario: String,
    times: usize,
    lost: usize,
    half_visible: usize,
    leaked: usize,
    /// What came of it, a sentence each: the first few are shown.
    wrongs: Vec<String>,
}

/// What may go wrong in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// A committed night, or facts that were already collected, are gone; or a night that the promise says
    /// would come of it is missing.
    Lost,
    /// A reading command shows a run that is not committed, or a committed one is not whole or not true.
    HalfVisible,
    /// A secret or a raw hostile text got out; a process, descriptor or temporary file stayed.
    Leaked,
}

impl Tally {
    pub(crate) fn new(scenario: &str) -> Self {
        Self {
            scenario: scenario.into(),
            times: 0,
            lost: 0,
            half_visible: 0,
            leaked: 0,
            wrongs: Vec::new(),
        }
    }

    /// Counts one more round.
    pub(crate) fn round(&mut self) {
        self.times += 1;
    }

    /// Counts what went wrong in it.
    pub(crate) fn wrong(&mut self, wrong: Wrong, what: impl Display) {
        *match wrong {
            Wrong::Lost => &mut self.lost,
            Wrong::HalfVisible => &mut self.half_visible,
            Wrong::Leaked => &mut self.leaked,
        } += 1;
        self.wrongs.push(format!("{wrong:?}: {what}"));
    }

    /// Counts what another has counted of the same scenario.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.times += other.times;
        self.lost += other.lost;
        self.half_visible += other.half_visible;
        self.leaked += other.leaked;
        self.wrongs.extend(other.wrongs);
    }

    /// The end of the scenario: its line for the table, with a remark such as a figure; an error if anything
    /// went wrong, or if nothing was done.
    pub(crate) fn finish(self, remark: &str) -> Result {
        if let Some(path) = std::env::var_os("CHAOS_TABLE") {
            let line = serde_json::json!({
                "scenario": self.scenario,
                "times": self.times,
                "lost": self.lost,
                "half_visible": self.half_visible,
                "leaked": self.leaked,
                "remark": remark,
            });
            // One write, so that lines of tests side by side do not mix.
            let mut file = OpenOptions::new().append(true).create(true).open(path)?;
            file.write_all(format!("{line}\n").as_bytes())?;
        }
        if self.times == 0 {
            return Err(format!("{}: not done once", self.scenario).into());
        }
        if self.wrongs.is_empty() {
            return Ok(());
        }
        let first: Vec<_> = self.wrongs.iter().take(5).map(String::as_str).collect();
        let (scenario, count) = (self.scenario, self.wrongs.len());
        Err(format!("{scenario}: {count} wrong, such as\n{}", first.join("\n")).into())
    }
}
