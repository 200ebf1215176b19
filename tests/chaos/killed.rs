//! A run that is killed as the kernel's OOM killer does it, or ended by SIGTERM as a node that drains does
//! it, at random moments of its whole length.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::random::Random;
use crate::harness::running::{Ended, Running};
use crate::harness::store::Store;
use crate::harness::{Result, succeed};
use crate::nights::{
    Before, NEXT, Nights, Rooms, TONIGHT, examine, is_complete, last_line, unfinished,
};
use crate::tally::{Tally, Wrong, rounds};

/// Containers that are over, so that files take their time to be written.
const IDLE: usize = 600;
/// After so many rounds it is measured anew how long a run takes.
const PACE: usize = 20;
/// From one part of a run to the next that is struck: the whole of it is spanned again and again. Prime to
/// all counts of rounds.
const STRIDE: usize = 7;
/// How long after SIGTERM a run may still take: it ends crane, writes and commits.
const END_TIME: Duration = Duration::from_secs(30);

#[test]
fn a_run_that_is_killed_on_a_folder_leaves_what_there_was() -> Result {
    let store = Store::folder()?;
    strike(
        &store,
        Signal::KILL,
        "`kill -9` on a folder",
        rounds(6, 200),
    )
}

#[test]
fn a_run_that_is_killed_on_s3_leaves_what_there_was() -> Result {
    let store = Store::bucket()?;
    strike(&store, Signal::KILL, "`kill -9` on S3", rounds(6, 200))
}

#[test]
fn a_run_that_is_terminated_on_a_folder_commits_what_it_knows() -> Result {
    let store = Store::folder()?;
    strike(&store, Signal::TERM, "SIGTERM on a folder", rounds(5, 50))
}

#[test]
fn a_run_that_is_terminated_on_s3_commits_what_it_knows() -> Result {
    let store = Store::bucket()?;
    strike(&store, Signal::TERM, "SIGTERM on S3", rounds(5, 50))
}

fn strike(store: &Store, signal: Signal, scenario: &str, count: usize) -> Result {
    let nights = Nights::new(IDLE)?;
    let rooms = Rooms::new()?;
    let (mut random, seed) = Random::seeded()?;
    writeln!(std::io::stderr(), "{scenario}: CHAOS_SEED={seed}")?;
    let before = Before::take(&nights, store)?;
    let mut tally = Tally::new(scenario);

    let mut lengths = Vec::new();
    let mut phases = BTreeMap::<_, usize>::new();
    let mut files = 0;
    for round in 0..count {
        tally.round();
        // The other scenarios beside this one change its pace.
        if round % PACE == 0 {
            lengths.push(length_of_a_run(&nights, store, &rooms, &before)?);
        }
        let length = lengths[lengths.len() - 1];
        // One from each part of the run, at a random moment of it; a little beyond its end, too.
        let parts = u64::try_from(count)?;
        let part = u64::try_from(round * STRIDE % count)?;
        let share = part * 1_000 + random.below(1_000);
        let moment = length.mul_f64(1.05) * u32::try_from(share / parts)? / 1_000;
        let mut command = nights.snapshot(store, "tonight", TONIGHT)?;
        rooms.give_to(&mut command);
        let running = Running::start(&mut command)?;
        std::thread::sleep(moment);
        let struck = running.signal(signal).is_ok();
        let ended = running.wait(moment + END_TIME, || Ok(()))?;
        assert!(struck, "it was not there any more");
        nights.expect_no_process(&mut tally)?;

        let left = rooms.left()?;
        // The folder of the run; nobody was there to remove it.
        let bound = usize::from(ended.status.code().is_none());
        if left.len() > bound {
            tally.wrong(Wrong::Leaked, format!("{scenario} at {moment:?}: {left:?}"));
        }
        let committed = examine(store, &before.runs, &mut tally)?;
        let new = committed.len() - before.runs.len();
        *phases.entry(phase(store, &ended, new)?).or_default() += 1;
        if signal == Signal::TERM {
            let cut_off = judge_end(store, &ended, &committed, new, &mut tally)?;
            if cut_off {
                *phases
                    .entry("of these cut off, and committed so")
                    .or_default() += 1;
            }
        }
        let unfinished_now = unfinished(store)?;
        // One file is under way at a time; an uncompleted upload of the bucket stays in its server.
        if unfinished_now > files + bound {
            let what = format!("{unfinished_now} unfinished files after {files}");
            tally.wrong(Wrong::Leaked, what);
        }
        files = unfinished_now;

        let lines = nights.registry.log()?.lines().count();
        let mut next = nights.snapshot(store, "tonight", NEXT)?;
        rooms.give_to(&mut next);
        succeed(&mut next)?;
        let after = examine(store, &committed, &mut tally)?;
        let newest = after.last().ok_or("no run")?;
        if after.len() != committed.len() + 1 || !is_complete(&store.root(), newest) {
            tally.wrong(Wrong::Lost, "the next night is missing or not complete");
        }
        let (known, all) = nights.asked_since(lines)?;
        let was_whole = new == 1 && is_complete(&store.root(), &committed[committed.len() - 1]);
        if !known.is_empty() || (was_whole && all > 0) {
            tally.wrong(
                Wrong::Lost,
                format!("inspected again: {known:?}, {all} in all"),
            );
        }
        nights.expect_no_process(&mut tally)?;
        let left = rooms.left()?;
        if !left.is_empty() {
            tally.wrong(Wrong::Leaked, format!("after the next night: {left:?}"));
        }
        before.restore(store)?;
        if store.server().is_none() {
            files = 0;
        }
    }
    let is_cut_off = phases.keys().any(|phase| phase.contains("cut off"));
    assert!(
        signal != Signal::TERM || is_cut_off,
        "SIGTERM ended no inspection: {phases:?}"
    );
    let phases: Vec<_> = phases
        .iter()
        .map(|(phase, count)| format!("{count} {phase}"))
        .collect();
    lengths.sort();
    let of = format!(
        "of runs of {} to {} ms: {}",
        lengths[0].as_millis(),
        lengths[lengths.len() - 1].as_millis(),
        phases.join(", ")
    );
    tally.finish(&format!("{of}; seed {seed}"))
}

/// How long a run takes to which nothing is done: of three, the one in the middle.
fn length_of_a_run(
    nights: &Nights,
    store: &Store,
    rooms: &Rooms,
    before: &Before,
) -> Result<Duration> {
    let mut lengths = Vec::new();
    for _ in 0..3 {
        let mut command = nights.snapshot(store, "tonight", TONIGHT)?;
        rooms.give_to(&mut command);
        let ended = Running::start(&mut command)?.wait(Duration::from_secs(60), || Ok(()))?;
        assert!(ended.status.success(), "{}", ended.stderr);
        lengths.push(ended.took);
        before.restore(store)?;
    }
    lengths.sort();
    Ok(lengths[1])
}

/// How far a run had come.
fn phase(store: &Store, ended: &Ended, new: usize) -> Result<&'static str> {
    let begun = files_of_tonight(store)?;
    Ok(match () {
        () if ended.stderr.contains("committed") => "at its end",
        () if new > 0 => "after the commit",
        () if begun => "while writing",
        () if ended.stderr.contains("listed") => "while inspecting",
        () => "before that",
    })
}

/// Whether a file of tonight's run is there or under way.
fn files_of_tonight(store: &Store) -> Result<bool> {
    let files = crate::harness::files_below(&store.root())?;
    Ok(files.iter().any(|file| file.contains("dt=2026-11-24")))
}

/// SIGTERM: from the listing on a report comes of it; before it, none. Whether it was cut off.
fn judge_end(
    store: &Store,
    ended: &Ended,
    committed: &[String],
    new: usize,
    tally: &mut Tally,
) -> Result<bool> {
    let said = last_line(&ended.stderr).to_owned();
    match ended.status.code() {
        Some(0) if new == 1 => {
            let run = committed.last().ok_or("no run")?;
            let manifest = crate::harness::runs::document(&store.root(), run, "manifest")?;
            let completeness = &manifest["completeness"];
            let is_cut_off = completeness["complete"] == false;
            if is_cut_off && completeness["reason"] != "signal" {
                tally.wrong(Wrong::HalfVisible, format!("{completeness}"));
            }
            return Ok(is_cut_off);
        }
        // Before the program could ask for the signal, the system ends it.
        None if new == 0 && ended.stderr.is_empty() => {}
        Some(1) if new == 0 && !ended.stderr.contains("listed") => {}
        _ => {
            let what = format!("{}, {new} committed: {said}", ended.status);
            tally.wrong(Wrong::Lost, what);
        }
    }
    Ok(false)
}
