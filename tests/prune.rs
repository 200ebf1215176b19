//! Retention: against a naive computation of the rules on random histories, and broken off at random
//! moments. What is not ours is never touched.

mod harness;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use harness::random::Random;
use harness::running::Running;
use harness::runs::{self, CLUSTER, Tiny, run_ids};
use harness::store::Store;
use harness::{Result, files_below, stderr};
use rustix::process::Signal;
use serde_json::Value;

/// `--keep-last` … `--keep-yearly`.
const RULES: [&str; 5] = ["last", "daily", "weekly", "monthly", "yearly"];
const NAMESPACES: [Option<&str>; 2] = [None, Some("shop")];

/// A history of up to 40 runs over days, months or years, some cut off, some of one namespace.
fn history(random: &mut Random) -> Vec<Tiny> {
    let count = random.below(40);
    let step_hours = [7, 30, 200, 1_500][usize::try_from(random.below(4)).unwrap_or_default()];
    let mut time = DateTime::UNIX_EPOCH + TimeDelta::days(365 * 50 + 200);
    let mut runs = Vec::new();
    for number in 0..count {
        time += TimeDelta::minutes(
            1 + i64::try_from(random.below(step_hours * 120)).unwrap_or_default(),
        );
        let run = format!("{}-{number:04x}", time.format("%Y%m%dT%H%M%SZ"));
        runs.push(Tiny {
            complete: !random.chance(15),
            namespace: random.chance(20).then(|| "shop".to_owned()),
            ..Tiny::new(&run)
        });
    }
    // A clock that was wrong for a night or two.
    if random.chance(25) {
        for number in 0..=random.below(2) {
            let hours = i64::try_from(26 + random.below(20_000)).unwrap_or_default();
            let time = Utc::now() + TimeDelta::hours(hours);
            let run = format!("{}-{number:04x}", time.format("%Y%m%dT%H%M%SZ"));
            runs.push(Tiny::new(&run));
        }
    }
    runs
}

/// How many each rule keeps: at least one of them some.
fn rules(random: &mut Random) -> [u64; 5] {
    let mut keep = [0; 5];
    for number in &mut keep {
        if random.chance(45) {
            *number = random.below(9);
        }
    }
    if keep == [0; 5] {
        keep[1] = 1;
    }
    keep
}

/// What the rules keep, computed as they are told and not as the program does it: by sorting the
/// periods that there are.
fn naive(runs: &[Tiny], keep: [u64; 5]) -> BTreeSet<String> {
    // Those of the future stay, and count for nothing.
    let future = runs.iter().filter(|run| is_future(run));
    let mut kept: BTreeSet<_> = future.map(|run| run.run.clone()).collect();
    for namespace in NAMESPACES {
        let of_scope: Vec<&Tiny> = runs
            .iter()
            .filter(|run| run.namespace.as_deref() == namespace && !is_future(run))
            .collect();
        let complete: Vec<&&Tiny> = of_scope.iter().filter(|run| run.complete).collect();
        // The newest run and the newest complete one, always.
        kept.extend(of_scope.last().map(|run| run.run.clone()));
        kept.extend(complete.last().map(|run| run.run.clone()));
        for (rule, number) in RULES.iter().zip(keep) {
            let number = usize::try_from(number).unwrap_or_default();
            let format = match *rule {
                "last" => {
                    let first = of_scope.len().saturating_sub(number);
                    kept.extend(of_scope[first..].iter().map(|run| run.run.clone()));
                    continue;
                }
                "daily" => "%Y-%m-%d",
                "weekly" => "%G week %V",
                "monthly" => "%Y-%m",
                _ => "%Y",
            };
            // Later ones replace earlier ones of the same period.
            let periods: BTreeMap<String, &str> = complete
                .iter()
                .map(|run| (time_of(&run.run).format(format).to_string(), &*run.run))
                .collect();
            let newest = periods.values().rev().take(number);
            kept.extend(newest.map(|run| (*run).to_owned()));
            if number > periods.len() {
                kept.extend(complete.first().map(|run| run.run.clone()));
            }
        }
    }
    kept
}

/// Over a day ahead.
fn is_future(run: &Tiny) -> bool {
    time_of(&run.run) > Utc::now() + TimeDelta::days(1)
}

fn time_of(run: &str) -> DateTime<Utc> {
    let time = NaiveDateTime::parse_from_str(&run[..16], "%Y%m%dT%H%M%SZ");
    time.unwrap_or_default().and_utc()
}

fn flags(keep: [u64; 5]) -> Vec<String> {
    let rules = RULES.iter().zip(keep).filter(|(_, number)| *number > 0);
    rules
        .map(|(rule, number)| format!("--keep-{rule}={number}"))
        .collect()
}

fn prune<'a>(flags: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["prune", "--format", "json"];
    arguments.extend(flags.iter().map(String::as_str));
    arguments.extend(more);
    arguments
}

#[test]
fn what_stays_of_500_random_histories_is_what_a_naive_computation_keeps() -> Result {
    let mut random = Random(0x5eed_1234_5678_9abc);
    let mut removed = 0;
    let bucket = Store::bucket()?;
    for number in 0..500 {
        let runs = history(&mut random);
        let keep = rules(&mut random);
        // Requests take their time: every twentieth in the bucket, which is emptied after each.
        let folder = Store::folder()?;
        let store = if number % 20 == 19 { &bucket } else { &folder };
        for run in &runs {
            run.write(&store.root())?;
        }
        let flags = flags(keep);
        let expected = naive(&runs, keep);
        let all: BTreeSet<_> = runs.iter().map(|run| run.run.clone()).collect();
        let printed = store.json(&prune(&flags, &[]))?;
        let left: BTreeSet<_> = run_ids(&store.root())?.into_iter().collect();
        assert_eq!(left, expected, "history {number}: {flags:?} of {all:?}");
        let said = printed["runs"].as_array().ok_or("no runs")?;
        let said: BTreeSet<_> = said
            .iter()
            .filter(|run| run["keep"] == true)
            .filter_map(|run| run["run_id"].as_str().map(str::to_owned))
            .collect();
        assert_eq!(said, expected, "history {number}");
        removed += all.len() - left.len();
        for file in files_below(&store.root()).unwrap_or_default() {
            fs::remove_file(store.root().join(file))?;
        }
    }
    assert!(removed > 2_000, "{removed} runs removed");
    Ok(())
}

/// Every run that a list shows has all its files, as its manifest says; how many there are.
fn expect_whole_runs(root: &Path) -> Result<usize> {
    let runs = run_ids(root)?;
    for run in &runs {
        assert_eq!(runs::damage(root, run)?, None);
    }
    Ok(runs.len())
}

#[test]
fn a_prune_that_is_killed_at_any_moment_leaves_no_broken_run() -> Result {
    let mut random = Random(0x0bad_cafe_dead_beef);
    for store in Store::both()? {
        let root = store.root();
        let (mut survivors, mut broken_off) = (BTreeSet::new(), 0);
        let mut longest = Duration::from_millis(50);
        for round in 0..50 {
            for number in 0..40 {
                let run = format!(
                    "2024{:02}{:02}T020000Z-{number:04x}",
                    1 + number / 28,
                    1 + number % 28
                );
                Tiny::new(&run).write_with_files(&root)?;
            }
            let mut command = store.command(&["prune", "--keep-last", "1"]);
            let running = Running::start(&mut command)?;
            // Up to the time that it takes to its end.
            let share = u32::try_from(random.below(1_000))?;
            std::thread::sleep(longest * share / 1_000);
            let alive = running.signal(Signal::KILL).is_ok();
            let ended = running.wait(Duration::from_secs(60), || Ok(()))?;
            if ended.status.code().is_some() {
                assert!(ended.status.success(), "{}", ended.stderr);
            } else {
                assert!(alive);
                longest = longest.max(ended.took * 3 / 2);
            }
            let left = expect_whole_runs(&root)?;
            assert!(left >= 1, "the newest run is never removed");
            broken_off += usize::from(left > 1);
            survivors.insert(left);
            // The next one finishes: what was left behind is old, and belongs to no run.
            if round % 10 == 9 {
                store.print(&["prune", "--keep-last", "1"])?;
                assert_eq!(expect_whole_runs(&root)?, 1);
                let files = files_below(&root)?;
                assert_eq!(files.len(), 4, "{files:?}");
            }
        }
        assert!(
            survivors.len() > 5,
            "{survivors:?}: always at the same moment"
        );
        assert!(broken_off > 5, "{broken_off} of 50 were broken off");
    }
    Ok(())
}

#[test]
fn files_of_no_run_go_when_they_are_old_and_unknown_ones_stay() -> Result {
    for store in Store::both()? {
        let root = store.root();
        let days_ago = |days| {
            (Utc::now() - TimeDelta::days(days))
                .format("%Y%m%dT%H%M%SZ")
                .to_string()
        };
        let [kept, goes, orphan, young] = [
            format!("{}-0001", days_ago(20)),
            format!("{}-0002", days_ago(30)),
            format!("{}-0003", days_ago(8)),
            format!("{}-0004", days_ago(6)),
        ];
        for run in [&kept, &goes, &orphan, &young] {
            Tiny::new(run).write_with_files(&root)?;
        }
        for run in [&orphan, &young] {
            fs::remove_file(runs::path(&root, run, "manifest"))?;
        }
        // A diff alone is an orphan, too.
        let diff = runs::path(&root, &orphan, "diff");
        fs::create_dir_all(diff.parent().ok_or("no folder")?)?;
        fs::write(&diff, "{}")?;
        // Not of our grammar, and a manifest that cannot be read with its files.
        let damaged = format!("{}-0005", days_ago(40));
        Tiny::new(&damaged).write_with_files(&root)?;
        fs::write(runs::path(&root, &damaged, "manifest"), "{")?;
        let csv = runs::key(&goes, "csv");
        let unknown = [
            "notes.txt".to_owned(),
            "csv/notes.txt".to_owned(),
            format!("{csv}.bak"),
            csv.replace("-0002", "-ABCD"),
            csv.replace("image-census_", "other_"),
            csv.replace("csv/", "parquet/"),
            format!(
                "csv/cluster={CLUSTER}/dt=2024-01-01/image-census_{CLUSTER}_20240102T000000Z-0001.csv"
            ),
        ];
        for file in &unknown {
            let path = root.join(file);
            fs::create_dir_all(path.parent().ok_or("no folder")?)?;
            fs::write(path, "somebody's")?;
        }

        let before = files_below(&root)?;
        let arguments = ["prune", "--keep-daily", "1", "--format", "json"];
        let shown = store.json(&[&arguments[..], &["--dry-run"]].concat())?;
        assert_eq!(files_below(&root)?, before, "a dry run removes nothing");
        assert_eq!(shown["dry_run"], true);
        let done = store.json(&arguments)?;
        assert_eq!(shown["runs"], done["runs"]);
        assert_eq!(shown["orphans"], done["orphans"]);
        let listed = done["orphans"].as_array().ok_or("none")?;
        let listed: BTreeSet<_> = listed.iter().filter_map(Value::as_str).collect();
        let of_orphan =
            ["csv", "workloads", "json", "diff"].map(|format| runs::key(&orphan, format));
        assert_eq!(listed, of_orphan.iter().map(String::as_str).collect());

        let left = files_below(&root)?;
        let gone: BTreeSet<_> = before.difference(&left).cloned().collect();
        let mut expected = BTreeSet::new();
        for format in ["csv", "workloads", "json", "manifest"] {
            expected.insert(runs::key(&goes, format));
        }
        expected.extend(of_orphan);
        assert_eq!(gone, expected);
        // Once more: nothing is left to do.
        store.print(&arguments)?;
        assert_eq!(files_below(&root)?, left);
    }
    Ok(())
}

#[test]
fn what_a_killed_run_had_begun_to_write_goes_when_it_is_old() -> Result {
    let store = Store::folder()?;
    let root = store.root();
    let run = "20240101T020000Z-0001";
    Tiny::new(run).write_with_files(&root)?;
    let old = SystemTime::now() - Duration::from_secs(8 * 24 * 3_600);
    let write = |key: String, is_old: bool| -> Result<String> {
        let path = root.join(&key);
        fs::create_dir_all(path.parent().ok_or("no folder")?)?;
        let file = fs::File::create(&path)?;
        if is_old {
            file.set_modified(old)?;
        }
        Ok(key)
    };
    let folder = runs::key(run, "csv");
    let (folder, _) = folder.rsplit_once('/').ok_or("no folder")?;
    let other = folder.replace("test", "other");
    let goes = [
        write(format!("{folder}/.image-census-aB3.part"), true)?,
        write(
            format!(
                "{}/.image-census-aB4.part",
                folder.replace("csv", "manifest")
            ),
            true,
        )?,
        write("latest/.image-census-aB5.part".into(), true)?,
    ];
    let stays = [
        write(format!("{folder}/.image-census-aB6.part"), false)?,
        write(format!("{folder}/.hidden.part"), true)?,
        write(format!("{folder}/.image-census-notes"), true)?,
        write(format!("{other}/.image-census-aB7.part"), true)?,
        write(".image-census-aB8.part".into(), true)?,
    ];
    let before = files_below(&root)?;
    let arguments = [
        "prune",
        "--keep-last",
        "1",
        "--cluster",
        "test",
        "--format",
        "json",
    ];
    let shown = store.json(&[&arguments[..], &["--dry-run"]].concat())?;
    assert_eq!(files_below(&root)?, before, "a dry run removes nothing");
    let done = store.json(&arguments)?;
    assert_eq!(shown["orphans"], done["orphans"]);
    assert_eq!(done["orphans"], serde_json::json!(goes));
    let left = files_below(&root)?;
    assert!(stays.iter().all(|key| left.contains(key)), "{left:?}");
    assert_eq!(left.len(), before.len() - goes.len());
    // Without a cluster, of all of them.
    store.print(&["prune", "--keep-last", "1"])?;
    assert!(!files_below(&root)?.contains(&stays[3]));
    Ok(())
}

#[test]
fn a_run_of_a_wrong_clock_stays_and_displaces_none() -> Result {
    for store in Store::both()? {
        let at = |hours| {
            let time = Utc::now() + TimeDelta::hours(hours);
            format!("{}-0001", time.format("%Y%m%dT%H%M%SZ"))
        };
        let [goes, kept, ahead, future] = [at(-49), at(-25), at(12), at(24 * 400)];
        for run in [&goes, &kept, &ahead, &future] {
            Tiny::new(run).write_with_files(&store.root())?;
        }
        let mut command = store.command(&["prune", "--keep-last", "2"]);
        let output = command.output()?;
        let (said, shown) = (stderr(&output), String::from_utf8(output.stdout)?);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("a clock wrong?"), "{said}");
        assert!(said.contains(&future) && !said.contains(&ahead), "{said}");
        assert!(shown.contains("dated in the future"), "{shown}");
        assert!(shown.contains("3 runs kept, 1 removed"), "{shown}");
        assert_eq!(run_ids(&store.root())?, [kept, ahead, future]);
        expect_whole_runs(&store.root())?;
    }
    Ok(())
}

#[test]
fn prune_wants_a_rule_and_one_cluster() -> Result {
    let store = Store::folder()?;
    Tiny::new("20240101T020000Z-0001").write(&store.root())?;
    for arguments in [
        &["prune"][..],
        &["prune", "--keep-daily", "0"],
        &["prune", "--keep-daily=-1"],
    ] {
        let output = store.command(arguments).output()?;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
    // A run of another cluster's, which has the right of its own.
    let key = runs::key("20240101T020000Z-0001", "manifest");
    let text = fs::read_to_string(store.root().join(&key))?;
    let other = store.root().join(key.replace("test", "other"));
    fs::create_dir_all(other.parent().ok_or("no folder")?)?;
    fs::write(&other, text.replace("\"test\"", "\"other\""))?;
    Tiny::new("20240102T020000Z-0001").write(&store.root())?;
    let output = store.command(&["prune", "--keep-last", "1"]).output()?;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("other, test"),
        "{}",
        stderr(&output)
    );
    assert_eq!(files_below(&store.root())?.len(), 3);
    let table = store.print(&["prune", "--keep-last", "1", "--cluster", "test"])?;
    assert!(table.contains("1 runs kept, 1 removed"), "{table}");
    assert!(other.exists());
    Ok(())
}
