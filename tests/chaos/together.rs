//! Runs that could get into each other's way: two at once on one store, two clusters of one name, and a
//! clock that was set back.

use serde_json::{Value, json};

use crate::harness::control_plane::ControlPlane;
use crate::harness::random::Random;
use crate::harness::running::Running;
use crate::harness::runs::{document, newest, reseal, run_ids};
use crate::harness::store::Store;
use crate::harness::{Result, crane, succeed};
use crate::nights::{Before, EARLIER, Nights, Rooms, TONIGHT, examine, is_complete, last_line};
use crate::tally::{Tally, Wrong, rounds};
use std::io::Write as _;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn two_runs_at_once_are_both_committed_and_whole() -> Result {
    for (store, kind) in Store::both()?.into_iter().zip(["a folder", "S3"]) {
        let nights = Nights::new(600)?;
        let before = Before::take(&nights, &store)?;
        let rooms = Rooms::new()?;
        let mut tally = Tally::new(&format!("two runs of one second at once on {kind}"));
        for round in 0..rounds(2, 20) {
            tally.round();
            let start = || -> Result<Running> {
                let mut command = nights.snapshot(&store, "tonight", TONIGHT)?;
                if store.server().is_some() && round % 2 == 1 {
                    command.arg("--s3-conditional-put");
                }
                rooms.give_to(&mut command);
                Running::start(&mut command)
            };
            let pair = [start()?, start()?];
            for running in pair {
                let ended = running.wait(LIMIT, || Ok(()))?;
                if !ended.status.success() {
                    tally.wrong(Wrong::Lost, last_line(&ended.stderr));
                }
            }
            let committed = examine(&store, &before.runs, &mut tally)?;
            let new = &committed[before.runs.len()..];
            if new.len() != 2 {
                tally.wrong(Wrong::Lost, format!("{new:?} of two runs"));
            }
            for run in new {
                if !is_complete(&store.root(), run) {
                    tally.wrong(Wrong::Lost, format!("{run} is not complete"));
                }
            }
            let latest = std::fs::read(store.root().join("latest/cluster=test.json"))?;
            let latest: Value = serde_json::from_slice(&latest)?;
            if !new.iter().any(|run| latest["run_id"] == **run) {
                tally.wrong(Wrong::HalfVisible, format!("latest is {latest}"));
            }
            nights.expect_no_process(&mut tally)?;
            if !rooms.left()?.is_empty() {
                tally.wrong(Wrong::Leaked, format!("{:?}", rooms.left()?));
            }
            before.restore(&store)?;
        }
        tally.finish("")?;
    }
    Ok(())
}

#[test]
fn two_clusters_of_one_name_share_nothing() -> Result {
    let planes: Vec<_> = (0..rounds(1, 2))
        .map(|_| ControlPlane::start())
        .collect::<Result<_>>()?;
    let nights = Nights::new(50)?;
    let mut tally = Tally::new("two clusters of one name, on a folder and S3");
    for round in 0..rounds(2, 20) {
        let store = if round % 2 == 0 {
            Store::folder()?
        } else {
            Store::bucket()?
        };
        tally.round();
        // A third cluster's, with four images.
        succeed(&mut nights.snapshot(&store, "earlier", "2024-01-02T02:00:00Z")?)?;
        let foreign = newest(&store.root())?;
        reseal(&store.root(), &foreign, |report| {
            report["cluster_id"] = json!("0".repeat(64));
        })?;
        for plane in &planes {
            let committed = run_ids(&store.root())?;
            let mut live = store.command(&["snapshot", "--cluster-name", "test"]);
            live.arg("--crane").arg(crane()?);
            live.args(["--reuse-max-age", "3660d"]);
            live.env("KUBECONFIG", plane.kubeconfig());
            let ended = Running::start(&mut live)?.wait(LIMIT, || Ok(()))?;
            let after = examine(&store, &committed, &mut tally)?;
            if !ended.status.success() || after.len() != committed.len() + 1 {
                tally.wrong(Wrong::Lost, last_line(&ended.stderr));
                continue;
            }
            let run = newest(&store.root())?;
            // A cluster without pods: what it knows is what it carries.
            let report = document(&store.root(), &run, "json")?;
            if report["images"] != json!([]) {
                tally.wrong(Wrong::HalfVisible, "facts of another cluster");
            }
            if !document(&store.root(), &run, "manifest")?["changes"].is_null() {
                tally.wrong(Wrong::HalfVisible, "a diff with another cluster");
            }
            let warned = ["another certificate authority", "no diff"];
            if !warned.iter().all(|words| ended.stderr.contains(words)) {
                tally.wrong(Wrong::HalfVisible, format!("no warning: {}", ended.stderr));
            }
        }
    }
    tally.finish("real API servers with a CA each")
}

#[test]
fn a_clock_that_was_set_back_leaves_the_store_readable() -> Result {
    let (mut random, seed) = Random::seeded()?;
    writeln!(std::io::stderr(), "clock: CHAOS_SEED={seed}")?;
    let nights = Nights::new(50)?;
    let mut tally = Tally::new("the clock is set back by hours to years, on a folder and S3");
    for store in Store::both()? {
        Before::take(&nights, &store)?;
        succeed(&mut nights.snapshot(&store, "tonight", TONIGHT)?)?;
        let before = Before::of(&store)?;
        for _ in 0..rounds(1, 10) {
            tally.round();
            let earlier: chrono::DateTime<chrono::Utc> = EARLIER.parse()?;
            let hours = i64::try_from(1 + random.below(24 * 1_200))?;
            let time = earlier - chrono::TimeDelta::hours(hours);
            let lines = nights.registry.log()?.lines().count();
            let time = time.format("%Y-%m-%dT%H:%M:%SZ").to_string();
            let mut back = nights.snapshot(&store, "tonight", &time)?;
            let ended = Running::start(&mut back)?.wait(LIMIT, || Ok(()))?;
            let committed = examine(&store, &before.runs, &mut tally)?;
            if !ended.status.success() || committed.len() != before.runs.len() + 1 {
                tally.wrong(Wrong::Lost, last_line(&ended.stderr));
            }
            if !ended.stderr.contains("is a clock wrong?") {
                tally.wrong(Wrong::HalfVisible, format!("no warning: {}", ended.stderr));
            }
            // Runs are ordered by their time: of a later one nothing is known.
            if nights.asked_since(lines)?.1 == 0 {
                tally.wrong(Wrong::HalfVisible, "facts of the future were reused");
            }
            for (name, run) in [("latest", &before.runs[1]), ("yesterday", &before.runs[0])] {
                let manifest = store.json(&["get", name, "--format", "manifest"])?;
                if manifest["run_id"] != **run {
                    tally.wrong(Wrong::HalfVisible, format!("{name} is {manifest}"));
                }
            }
            before.restore(&store)?;
        }
    }
    tally.finish(&format!(
        "`latest` and `yesterday` go by the runs' times; seed {seed}"
    ))
}
