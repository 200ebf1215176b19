//! A cluster whose images a registry holds, some of them known from an earlier night; the places where its
//! runs leave temporary files; and what is looked at after each round.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fixtures::images::{Built, ImageSpec, Platform};
use crate::fixtures::layers::Layer;
use crate::fixtures::pods::{Container, Pod, Workload};
use crate::fixtures::{self, distributions as distro, manifests};
use crate::harness::registry::Registry;
use crate::harness::running::processes_with;
use crate::harness::runs::{damage, document, run_ids};
use crate::harness::store::Store;
use crate::harness::{Result, crane, files_below, stderr, succeed};
use crate::night::idle_pods;
use crate::tally::{Tally, Wrong};

/// The committed night before each round.
pub(crate) const EARLIER: &str = "2026-11-23T02:00:00Z";
/// The night to which something is done.
pub(crate) const TONIGHT: &str = "2026-11-24T02:00:00Z";
/// The one after it, to which nothing is done.
pub(crate) const NEXT: &str = "2026-11-25T02:00:00Z";
/// Images that the earlier night knows, and as many that it does not.
const IMAGES: usize = 4;
/// Containers of a pod that is over.
const IDLE_CONTAINERS: usize = 50;
/// How long what has lost its parent may take to end: crane asks a lost connection again after 1 s and 3 s.
const END_TIME: Duration = Duration::from_secs(15);

/// Pod lists over a registry.
pub(crate) struct Nights {
    pub(crate) registry: Registry,
    folder: tempfile::TempDir,
    /// So many containers that are over, so that files take their time to be written.
    idle: usize,
}

/// An application on a base: two layers or three.
pub(crate) fn application(name: &str, number: usize) -> Built {
    let bases: [fn() -> Layer; 4] = [
        distro::debian_12,
        distro::ubuntu_24_04,
        distro::ubi_9,
        distro::distroless_debian_12,
    ];
    let mut image = ImageSpec::new(Platform::linux("amd64")).layer(bases[number % bases.len()]());
    if number % 2 == 1 {
        image = image.layer(distro::application("runtime", "21"));
    }
    image.layer(distro::application(name, "1")).build()
}

impl Nights {
    /// Starts the registry and pushes the images.
    pub(crate) fn new(idle: usize) -> Result<Self> {
        let nights = Self {
            registry: Registry::start()?,
            folder: tempfile::tempdir()?,
            idle,
        };
        let mut pods = Vec::new();
        for number in 0..IMAGES {
            pods.push(nights.pod(&format!("known/app-{number}"), number)?);
        }
        nights.write("earlier", &pods)?;
        for number in 0..IMAGES {
            pods.push(nights.pod(&format!("new/app-{number}"), number)?);
        }
        nights.write("tonight", &pods)?;
        Ok(nights)
    }

    /// A pod that runs an image of this name, which is pushed.
    pub(crate) fn pod(&self, name: &str, number: usize) -> Result<Pod> {
        let image = application(name, number);
        let reference = format!("{}/{name}:1", self.registry.address);
        fixtures::registry::push(&image, &crane()?, &reference)?;
        let workload = Workload::deployment(&name.replace('/', "-"), 1);
        let container = Container::new("app", &reference).running(image.digest());
        Ok(Pod::new("shop", workload, 0).container(container))
    }

    /// Writes a pod list, with pods that are over.
    pub(crate) fn write(&self, name: &str, pods: &[Pod]) -> Result {
        let mut all = pods.to_vec();
        // Rows are what takes time, not pods.
        for mut pod in idle_pods(self.idle.div_ceil(IDLE_CONTAINERS)) {
            let container = pod.containers[0].clone();
            pod.containers = (0..IDLE_CONTAINERS)
                .map(|number| Container {
                    name: format!("step-{number}-{}", "n".repeat(200)),
                    image: format!("registry.example/{}job:1", "some-team/".repeat(20)),
                    ..container.clone()
                })
                .collect();
            all.push(pod);
        }
        Ok(fs::write(self.path(name), manifests::pod_list(&all)?)?)
    }

    /// Where a pod list is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `snapshot` of a pod list as of a time.
    pub(crate) fn snapshot(&self, store: &Store, name: &str, time: &str) -> Result<Command> {
        store.snapshot(&self.path(name), time)
    }

    /// Which of the images that the earlier night knew were asked for since the registry's log had so many
    /// lines, and how much was asked for in all.
    pub(crate) fn asked_since(&self, lines: usize) -> Result<(Vec<String>, usize)> {
        let asked = self.registry.requests_since(lines)?;
        let known = asked.iter().filter(|request| request.contains("/known/"));
        Ok((known.cloned().collect(), asked.len()))
    }

    /// Waits for the end of all processes that speak with the registry, and counts those that do not end.
    pub(crate) fn expect_no_process(&self, tally: &mut Tally) -> Result {
        let started = Instant::now();
        loop {
            let left = processes_with(&self.registry.address)?;
            if left.is_empty() {
                return Ok(());
            }
            if started.elapsed() > END_TIME {
                tally.wrong(Wrong::Leaked, format!("processes {left:?} stay"));
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The places of temporary files: a run's own.
pub(crate) struct Rooms {
    /// In memory, where the run's folder of credentials is.
    runtime: tempfile::TempDir,
    temporary: tempfile::TempDir,
}

impl Rooms {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            runtime: tempfile::tempdir_in("/dev/shm")?,
            temporary: tempfile::tempdir()?,
        })
    }

    /// Makes a command use them.
    pub(crate) fn give_to(&self, command: &mut Command) {
        command.env("XDG_RUNTIME_DIR", self.runtime.path());
        command.env("TMPDIR", self.temporary.path());
    }

    /// What is in them.
    pub(crate) fn left(&self) -> Result<Vec<String>> {
        let mut left = Vec::new();
        for room in [&self.runtime, &self.temporary] {
            for entry in fs::read_dir(room.path())? {
                left.push(entry?.file_name().to_string_lossy().into_owned());
            }
        }
        Ok(left)
    }
}

/// A store with its earlier night, which each round finds as it was.
pub(crate) struct Before {
    /// The earlier runs.
    pub(crate) runs: Vec<String>,
    files: Vec<(String, Option<Vec<u8>>)>,
}

impl Before {
    /// Takes the earlier night.
    pub(crate) fn take(nights: &Nights, store: &Store) -> Result<Self> {
        succeed(&mut nights.snapshot(store, "earlier", EARLIER)?)?;
        Self::of(store)
    }

    /// What there is now.
    pub(crate) fn of(store: &Store) -> Result<Self> {
        let root = store.root();
        let mut files = Vec::new();
        for name in files_below(&root)? {
            // The one file that is ever rewritten.
            let content = name
                .starts_with("latest/")
                .then(|| fs::read(root.join(&name)));
            files.push((name, content.transpose()?));
        }
        let runs = run_ids(&root)?;
        Ok(Self { runs, files })
    }

    /// Removes what has come since, in silence: it is over and done with.
    pub(crate) fn restore(&self, store: &Store) -> Result {
        let root = store.root();
        for name in files_below(&root)? {
            match self.files.iter().find(|(known, _)| *known == name) {
                None => fs::remove_file(root.join(name))?,
                Some((name, Some(content))) => fs::write(root.join(name), content)?,
                Some((_, None)) => {}
            }
        }
        Ok(())
    }
}

/// Looks at a store: `list` shows the committed runs and no other, the earlier ones are among them, each
/// is whole byte by byte, and `get` reads it. The committed ones.
pub(crate) fn examine(store: &Store, earlier: &[String], tally: &mut Tally) -> Result<Vec<String>> {
    let root = store.root();
    let committed = run_ids(&root)?;
    let listed = store.json(&["list", "--format", "json"])?;
    let listed = &listed["runs"];
    let listed: Vec<_> = listed
        .as_array()
        .ok_or("no list")?
        .iter()
        .filter_map(|run| run["run_id"].as_str())
        .collect();
    let mut sorted = listed.clone();
    sorted.sort_unstable();
    if sorted != committed {
        let what = format!("{sorted:?} are listed, {committed:?} committed");
        tally.wrong(Wrong::HalfVisible, what);
    }
    for run in earlier {
        if !committed.contains(run) {
            tally.wrong(Wrong::Lost, format!("{run} is gone"));
        }
    }
    if let Ok(latest) = fs::read(root.join("latest/cluster=test.json")) {
        let latest: Option<Value> = serde_json::from_slice(&latest).ok();
        let run = latest.and_then(|latest| Some(latest["run_id"].as_str()?.to_owned()));
        if run.is_none_or(|run| !committed.contains(&run)) {
            tally.wrong(Wrong::HalfVisible, "latest names no committed run");
        }
    }
    for run in &committed {
        let wrong = if earlier.contains(run) {
            Wrong::Lost
        } else {
            Wrong::HalfVisible
        };
        if let Some(damage) = damage(&root, run)? {
            tally.wrong(wrong, damage);
        }
        let mut get = store.command(&["get", run, "--cluster", "test", "--format", "json"]);
        let output = get.output()?;
        let report: Option<Value> = serde_json::from_slice(&output.stdout).ok();
        if !output.status.success() || report.is_none_or(|report| report["run_id"] != **run) {
            tally.wrong(wrong, format!("get {run}: {}", stderr(&output)));
        }
    }
    Ok(committed)
}

/// Unfinished files in a store: dot files of a folder, uploads of a bucket that were never completed.
pub(crate) fn unfinished(store: &Store) -> Result<usize> {
    match store.server() {
        Some(server) => server.unfinished_uploads(),
        None => {
            let files = files_below(&store.root())?;
            Ok(files.iter().filter(|file| file.ends_with(".part")).count())
        }
    }
}

/// The last line of an error, where it says what to do.
pub(crate) fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or_default()
}

/// Whether a run is complete, as its manifest says; not if it cannot be read.
pub(crate) fn is_complete(root: &Path, run: &str) -> bool {
    document(root, run, "manifest").is_ok_and(|found| found["completeness"]["complete"] == true)
}
