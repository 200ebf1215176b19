//! Night after night on one store, with `prune` as the documentation has it: what a night costs must not
//! grow. The registry has a new image each night, and one that nobody runs any more.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use clap::Parser as _;
use image_census::cli::{Cli, Command as Subcommand};
use image_census::commands;
use tokio_util::sync::CancellationToken;

use crate::fixtures::pods::Pod;
use crate::harness::http_proxy::{HttpProxy, Wrong as Fault};
use crate::harness::running::Running;
use crate::harness::runs::run_ids;
use crate::harness::store::Store;
use crate::harness::{Result, crane, files_below, succeed};
use crate::nights::{Nights, Rooms, examine, is_complete, unfinished};
use crate::tally::{Tally, Wrong, rounds};

const LIMIT: Duration = Duration::from_secs(120);
/// As README.md has it.
const PRUNE: [&str; 5] = ["prune", "--keep-daily", "30", "--keep-monthly", "12"];
/// Of those rules together.
const MOST_RUNS: usize = 42;

/// The pods of each night: the same four, and one that changes.
struct Pods {
    nights: Nights,
    same: Vec<Pod>,
}

impl Pods {
    fn new() -> Result<Self> {
        let nights = Nights::new(200)?;
        let same = (0..4).map(|number| nights.pod(&format!("same/app-{number}"), number));
        let same = same.collect::<Result<_>>()?;
        Ok(Self { nights, same })
    }

    /// Writes tonight's list; where it is.
    fn write(&self, night: usize) -> Result<PathBuf> {
        let mut pods = self.same.clone();
        pods.push(self.nights.pod(&format!("night/app-{night}"), night)?);
        self.nights.write("soak", &pods)?;
        Ok(self.nights.path("soak"))
    }
}

/// The time of a night, of so many of which the last is yesterday's.
fn time_of(night: usize, count: usize) -> Result<String> {
    let time = Utc::now() - TimeDelta::days(i64::try_from(count - night)?);
    Ok(time.format("%Y-%m-%dT02:00:00Z").to_string())
}

/// What a night costs, night by night.
struct Costs {
    name: &'static str,
    unit: &'static str,
    each: Vec<u64>,
    /// How much more it may be at the end: what chance alone adds.
    slack: u64,
}

impl Costs {
    fn new(name: &'static str, unit: &'static str, slack: u64) -> Self {
        Self {
            name,
            unit,
            each: Vec::new(),
            slack,
        }
    }

    /// The mean of the first and of the last quarter. The first night has nothing before it.
    fn ends(&self) -> (u64, u64) {
        let each = &self.each[1..];
        let some = (each.len() / 4).max(2);
        let mean = |part: &[u64]| part.iter().sum::<u64>() / part.len().max(1) as u64;
        (mean(&each[..some]), mean(&each[each.len() - some..]))
    }

    /// What it was at the beginning and at the end; wrong if it has grown.
    fn judge(&self, tally: &mut Tally) -> String {
        let (first, last) = self.ends();
        let text = format!("{} {first} → {last}{}", self.name, self.unit);
        if last > first + self.slack {
            tally.wrong(Wrong::Leaked, &text);
        }
        text
    }
}

#[test]
fn a_hundred_nights_on_a_folder_cost_the_same_each() -> Result {
    soak(&Store::folder()?, "a folder", None)
}

#[test]
fn a_hundred_nights_on_s3_cost_the_same_each() -> Result {
    let store = Store::bucket()?;
    let server = store.server().ok_or("no server")?;
    let proxy = HttpProxy::start(&server.address, Fault::Hang, 0..0)?;
    soak(&store.through(&proxy.address)?, "S3", Some(&proxy))
}

fn soak(store: &Store, kind: &str, proxy: Option<&HttpProxy>) -> Result {
    let pods = Pods::new()?;
    let rooms = Rooms::new()?;
    let count = rounds(8, 100);
    let mut tally = Tally::new(&format!("nights in a row on {kind}, pruned"));
    let mut memory = Costs::new("memory", " KiB", 16_384);
    let mut children = Costs::new("with crane", " KiB", 65_536);
    let mut time = Costs::new("time", " ms", u64::MAX / 2);
    let mut asked = Costs::new("registry requests", "", 6);
    let mut stored = Costs::new("S3 requests", "", 4);
    for night in 0..count {
        tally.round();
        let list = pods.write(night)?;
        let lines = pods.nights.registry.log()?.lines().count();
        let requests = proxy.map_or(0, |proxy| proxy.requests().len());
        let mut command = store.snapshot(&list, &time_of(night, count)?)?;
        rooms.give_to(&mut command);
        let (ended, most) = Running::start(&mut command)?.wait_and_measure_all(LIMIT)?;
        assert!(ended.status.success(), "{}", ended.stderr);
        memory.each.push(most.program);
        children.each.push(most.all);
        time.each.push(u64::try_from(ended.took.as_millis())?);
        asked
            .each
            .push(u64::try_from(pods.nights.asked_since(lines)?.1)?);
        let requests = proxy.map_or(0, |proxy| proxy.requests().len()) - requests;
        stored.each.push(u64::try_from(requests)?);

        let mut prune = store.command(&PRUNE);
        rooms.give_to(&mut prune);
        succeed(&mut prune)?;
        let runs = run_ids(&store.root())?;
        let newest = runs.last().ok_or("no run")?;
        if !is_complete(&store.root(), newest) || runs.len() != (night + 1).min(runs.len().max(30))
        {
            tally.wrong(
                Wrong::Lost,
                format!("{} runs after night {night}", runs.len()),
            );
        }
        if runs.len() > MOST_RUNS || files_below(&store.root())?.len() > runs.len() * 5 + 1 {
            let what = format!("{} runs, {:?}", runs.len(), files_below(&store.root())?);
            tally.wrong(Wrong::Leaked, what);
        }
        pods.nights.expect_no_process(&mut tally)?;
        let left = (unfinished(store)?, rooms.left()?);
        if left != (0, Vec::new()) {
            tally.wrong(Wrong::Leaked, format!("night {night}: {left:?}"));
        }
    }
    let runs = run_ids(&store.root())?;
    examine(store, &runs, &mut tally)?;
    let mut costs = vec![memory, children, time, asked];
    if proxy.is_some() {
        costs.push(stored);
    }
    let costs: Vec<_> = costs.iter().map(|cost| cost.judge(&mut tally)).collect();
    tally.finish(&format!(
        "a night: {}; {} runs stay",
        costs.join(", "),
        runs.len()
    ))
}

/// The variable by which the test knows itself in a process of its own, where nobody else opens files.
const ALONE: &str = "CHAOS_ALONE";

#[test]
fn a_hundred_nights_in_one_process_leave_nothing_open() -> Result {
    if let Some(store) = std::env::var_os(ALONE) {
        return nights_in_this_process(&PathBuf::from(store));
    }
    let rooms = Rooms::new()?;
    let folder = tempfile::tempdir()?;
    let mut itself = Command::new(std::env::current_exe()?);
    itself.args([
        "--exact",
        "soak::a_hundred_nights_in_one_process_leave_nothing_open",
    ]);
    itself.env(ALONE, folder.path().join("store"));
    for (name, _) in std::env::vars() {
        if name.starts_with("IMAGE_CENSUS_") {
            itself.env_remove(name);
        }
    }
    rooms.give_to(&mut itself);
    let said = succeed(&mut itself)?;
    assert!(said.contains("1 passed"), "{said}");
    assert_eq!(rooms.left()?, Vec::<String>::new());
    Ok(())
}

fn nights_in_this_process(store: &std::path::Path) -> Result {
    let pods = Pods::new()?;
    // Idle threads end at once: how many there are of them says how busy the machine is.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_keep_alive(Duration::from_millis(1))
        .build()?;
    let count = rounds(8, 100);
    let mut tally = Tally::new("nights in a row in one process");
    let mut memory = Costs::new("memory", " KiB", 32_768);
    let mut open = Costs::new("open files", "", 2);
    let mut threads = Costs::new("threads", "", 16);
    for night in 0..count {
        tally.round();
        let list = pods.write(night)?.display().to_string();
        let (store, crane) = (store.display().to_string(), crane()?.display().to_string());
        let time = time_of(night, count)?;
        let snapshot = ["image-census", "snapshot", "--cluster-name", "test"];
        let settings = ["--pods", &list, "--store", &store, "--crane", &crane];
        let arguments = [&snapshot[..], &settings, &["--snapshot-time", &time]].concat();
        let Subcommand::Snapshot(arguments) = Cli::try_parse_from(arguments)?.command else {
            return Err("this is snapshot".into());
        };
        let mut out = Vec::new();
        let run = commands::snapshot(&arguments, CancellationToken::new(), &mut out);
        runtime.block_on(run)?;
        let arguments = [&["image-census"][..], &PRUNE, &["--store", &store]].concat();
        let Subcommand::Prune(arguments) = Cli::try_parse_from(arguments)?.command else {
            return Err("this is prune".into());
        };
        runtime.block_on(commands::prune(&arguments, &mut out))?;
        pods.nights.expect_no_process(&mut tally)?;
        open.each.push(count_of("/proc/self/fd")?);
        threads.each.push(count_of("/proc/self/task")?);
        let status = fs::read_to_string("/proc/self/status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        memory.each.push(kib.ok_or("no VmRSS")?.trim().parse()?);
    }
    let runs = run_ids(store)?;
    if runs.len() < count.min(30) {
        tally.wrong(Wrong::Lost, format!("{} runs of {count}", runs.len()));
    }
    let costs = [memory, open, threads];
    let costs: Vec<_> = costs.iter().map(|cost| cost.judge(&mut tally)).collect();
    tally.finish(&costs.join(", "))
}

fn count_of(folder: &str) -> Result<u64> {
    Ok(u64::try_from(fs::read_dir(folder)?.count())?)
}
