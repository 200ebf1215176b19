//! The API server fails while it lists: at each request in turn it answers 410, 429 or 500, refuses the
//! token, breaks off, or hangs.
//!
//! *Promised*: a report holds the whole list, or there is no report, an exit code of 1 and a sentence that
//! names the cause, within minutes; earlier nights stay as they are, and no difference comes of it.
//! *Tested* on the real API server behind a proxy: rows, `diff`, `list` and every file of the store are
//! compared with those of a night without a fault.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::fixtures::api::Api;
use crate::fixtures::images::{Built, ImageSpec, Platform};
use crate::fixtures::nodes::Node;
use crate::fixtures::pods::{Container, Pod, Workload};
use crate::fixtures::{self, distributions};
use crate::harness::api_proxy::{ApiProxy, Fault, When};
use crate::harness::certificate::Certificate;
use crate::harness::control_plane::ControlPlane;
use crate::harness::registry::Registry;
use crate::harness::running::{Ended, Running};
use crate::harness::runs::run_ids;
use crate::harness::{Result, Row, crane, files_below, program, rows, succeed};
use crate::tally::{Tally, Wrong, rounds};

/// No run may take longer: seven attempts of a minute each, and the pauses between them.
const BOUND: Duration = Duration::from_secs(700);

/// Items in a page of the program's.
const PAGE: usize = 500;

/// Runs at once: most of the time of each is a pause.
const AT_ONCE: usize = 4;

/// A cluster of plain pods, and a store with one night of it.
pub(crate) struct Crowd {
    pub(crate) plane: ControlPlane,
    certificate: Certificate,
    folder: tempfile::TempDir,
    /// The rows of that night, but for what tells nights apart.
    healthy: Vec<BTreeMap<String, String>>,
    files: BTreeMap<String, Vec<u8>>,
    /// How many requests a list of it takes.
    pub(crate) requests: usize,
    _registry: Registry,
}

impl Crowd {
    pub(crate) fn start(pods: usize) -> Result<Self> {
        let (registry, plane) = (Registry::start()?, ControlPlane::start()?);
        let image = ImageSpec::new(Platform::linux("amd64"))
            .layer(distributions::debian_12())
            .build();
        let reference = format!("{}/shop/catalog:1.0.0", registry.address);
        fixtures::registry::push(&image, &crane()?, &reference)?;
        let api = Api::connect(&plane.kubeconfig())?;
        api.add_nodes(&[Node::new("node-a", "linux", "amd64")])?;
        let namespaces = ["shop-a", "shop-b", "shop-c"];
        api.add_namespaces(namespaces)?;
        let pod = |number: usize| {
            let namespace = namespaces[number % namespaces.len()];
            pod(namespace, number, &reference, &image)
        };
        api.add_pods((0..pods).map(pod))?;
        let mut crowd = Self {
            plane,
            certificate: Certificate::new()?,
            folder: tempfile::tempdir()?,
            healthy: Vec::new(),
            files: BTreeMap::new(),
            requests: 0,
            _registry: registry,
        };
        let (ended, proxy) = crowd.run("healthy", &crowd.store(), None)?;
        if !ended.status.success() {
            return Err(format!("without a fault: {}", ended.stderr).into());
        }
        crowd.healthy = comparable(rows(&crowd.store())?);
        crowd.files = contents(&crowd.store())?;
        crowd.requests = proxy.requests();
        if crowd.healthy.len() != pods || crowd.requests <= pods / PAGE {
            return Err(format!("{} rows in {} requests", pods, crowd.requests).into());
        }
        Ok(crowd)
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("healthy")
    }

    /// A run of the program through a proxy.
    fn run(
        &self,
        name: &str,
        store: &Path,
        fault: Option<(When, Fault)>,
    ) -> Result<(Ended, ApiProxy)> {
        let proxy = ApiProxy::start(&self.plane, name, &self.certificate, fault)?;
        let mut command = program();
        command.env("KUBECONFIG", proxy.kubeconfig());
        command.arg("snapshot").arg("--store").arg(store);
        command.arg("--crane").arg(crane()?);
        let ended = Running::start(&mut command)?.wait(BOUND, || Ok(()))?;
        Ok((ended, proxy))
    }

    /// A round: a run with a fault into a copy of the store, and what is wrong with what came of it.
    pub(crate) fn round(&self, name: &str, when: When, fault: Fault, must: Must) -> Result<Round> {
        let store = self.folder.path().join(name);
        for (file, bytes) in &self.files {
            let path = store.join(file);
            fs::create_dir_all(path.parent().ok_or("no folder")?)?;
            fs::write(path, bytes)?;
        }
        let (ended, proxy) = match self.run(name, &store, Some((when, fault))) {
            Ok(done) => done,
            Err(error) => return Ok(Round::wrong(Wrong::Lost, format!("{name}: {error}"))),
        };
        if proxy.faults() == 0 {
            return Err(format!("{name}: the fault did not happen").into());
        }
        let mut round = Round {
            took: ended.took,
            whole: ended.status.success(),
            wrongs: Vec::new(),
        };
        let mut wrong = |what, words: &str| {
            round
                .wrongs
                .push((what, format!("{name}: {words}: {}", ended.stderr)));
        };
        let now = contents(&store)?;
        let is_latest = |file: &&String| file.starts_with("latest/");
        let stayed = |file: &&String| now.get(*file) == self.files.get(*file);
        if !self
            .files
            .keys()
            .filter(|file| !is_latest(file))
            .all(|file| stayed(&file))
        {
            wrong(Wrong::Lost, "the earlier night is not as it was");
        }
        let runs = run_ids(&store)?.len();
        match ended.status.code() {
            Some(0) => {
                if runs != 2 {
                    wrong(Wrong::Lost, "it ended with 0 and left no run");
                } else {
                    if comparable(rows(&store)?) != self.healthy {
                        wrong(
                            Wrong::HalfVisible,
                            "the rows are others than without a fault",
                        );
                    }
                    if differences(&store)? != 0 {
                        wrong(Wrong::HalfVisible, "a difference came of it");
                    }
                }
            }
            Some(1) => {
                let names: BTreeSet<_> = now.keys().collect();
                if names != self.files.keys().collect()
                    || !self.files.keys().all(|file| stayed(&file))
                {
                    wrong(
                        Wrong::HalfVisible,
                        "there is no report, and yet something of it",
                    );
                }
                if !ended.stderr.contains("could not list") {
                    wrong(Wrong::Lost, "no sentence says why");
                }
            }
            code => wrong(Wrong::Lost, &format!("it ended with {code:?}")),
        }
        match must {
            Must::BeWhole if !ended.status.success() => {
                wrong(Wrong::Lost, "this passes, and the night is lost");
            }
            Must::Fail(words) if !ended.stderr.contains(words) => {
                wrong(Wrong::Lost, &format!("it does not say {words:?}"));
            }
            Must::Fail(_) if ended.status.success() => {
                wrong(
                    Wrong::HalfVisible,
                    "a list that cannot be whole has a report",
                );
            }
            _ => {}
        }
        Ok(round)
    }
}

/// What must come of a fault.
#[derive(Clone, Copy)]
pub(crate) enum Must {
    /// A whole report.
    BeWhole,
    /// No report, and these words.
    Fail(&'static str),
}

/// What came of a round.
pub(crate) struct Round {
    pub(crate) took: Duration,
    pub(crate) whole: bool,
    pub(crate) wrongs: Vec<(Wrong, String)>,
}

impl Round {
    fn wrong(wrong: Wrong, what: String) -> Self {
        Self {
            took: BOUND,
            whole: false,
            wrongs: vec![(wrong, what)],
        }
    }

    pub(crate) fn count(self, tally: &mut Tally) {
        tally.round();
        for (wrong, what) in self.wrongs {
            tally.wrong(wrong, what);
        }
    }
}

fn pod(namespace: &str, number: usize, reference: &str, image: &Built) -> Pod {
    let container = Container::new("app", reference).running(image.digest());
    let workload = Workload::stateful_set(&format!("set-{number:05}"));
    Pod::new(namespace, workload, 0)
        .node("node-a")
        .container(container)
}

fn comparable(rows: Vec<Row>) -> Vec<BTreeMap<String, String>> {
    let own = |name: &String| !matches!(name.as_str(), "run_id" | "snapshot_time");
    let row = |row: Row| row.into_iter().filter(|(name, _)| own(name)).collect();
    rows.into_iter().map(row).collect()
}

fn contents(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let read = |file: String| Ok((file.clone(), fs::read(folder.join(file))?));
    files_below(folder)?.into_iter().map(read).collect()
}

/// Changes between the two nights of a store.
fn differences(store: &Path) -> Result<usize> {
    let mut diff = program();
    diff.args(["diff", "latest~1", "latest", "--format", "json", "--store"]);
    let diff: Value = serde_json::from_str(&succeed(diff.arg(store))?)?;
    Ok(diff["changes"].as_array().ok_or("no changes")?.len())
}

/// One of each kind of fault: its name, itself, and what must come of it where it happens once, and
/// where it goes on.
fn faults() -> Vec<(&'static str, Fault, Must, Must)> {
    let status = |status, header, body| Fault::Status {
        status,
        header,
        body,
    };
    let gone = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","reason":"Expired","code":410}"#;
    let unreachable = Must::Fail("cannot be reached or broke off");
    vec![
        (
            "410",
            status(410, None, gone),
            Must::BeWhole,
            Must::Fail("expired"),
        ),
        (
            "429",
            status(429, Some(("retry-after", "1")), "slow down"),
            Must::BeWhole,
            Must::Fail("429"),
        ),
        (
            "500",
            status(500, None, "no"),
            Must::BeWhole,
            Must::Fail("500"),
        ),
        ("reset", Fault::Reset, Must::BeWhole, unreachable),
        (
            "reset in mid-body",
            Fault::ResetInBody,
            Must::BeWhole,
            unreachable,
        ),
        (
            "hang",
            Fault::Hang,
            Must::BeWhole,
            Must::Fail("did not answer"),
        ),
        (
            "hang in mid-body",
            Fault::HangInBody,
            Must::BeWhole,
            Must::Fail("did not answer"),
        ),
        // A token that is refused once is refused: nobody guesses.
        (
            "token",
            Fault::WrongToken,
            Must::Fail("401"),
            Must::Fail("401"),
        ),
    ]
}

#[test]
fn a_fault_at_any_request_of_a_list_leaves_a_whole_report_or_none() -> Result {
    let is_whole = rounds(0, 1) == 1;
    let crowd = Crowd::start(rounds(1_100, 2_000))?;
    let mut cases = Vec::new();
    for (name, fault, once, always) in faults() {
        // A hanging request takes a minute of patience, one that fails for ever as long in all.
        let hangs = matches!(fault, Fault::Hang | Fault::HangInBody);
        let ends_at_once = matches!(name, "410" | "token");
        for number in 0..crowd.requests {
            if is_whole || !hangs {
                cases.push((
                    format!("{name} at {number}"),
                    When::Once(number),
                    fault.clone(),
                    once,
                ));
            }
            if is_whole || ends_at_once {
                let when = When::From(number);
                cases.push((format!("{name} from {number}"), when, fault.clone(), always));
            }
        }
    }
    // Those that wait for minutes come first, and at once.
    cases.sort_by_key(|(name, ..)| !name.starts_with("hang"));
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let at_once = if is_whole { 6 * AT_ONCE } else { AT_ONCE };
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some((name, when, fault, must)) =
                    cases.get(next.fetch_add(1, Ordering::SeqCst))
                {
                    let round = crowd.round(name, *when, fault.clone(), *must);
                    let round = round.map_err(|error| format!("{name}: {error}"));
                    done.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(round);
                }
            });
        }
    });
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut tally =
        Tally::new("API server: 410, 429, 500, reset, hang, token, at each request of a list");
    let (mut whole, mut longest) = (0, Duration::ZERO);
    for round in done {
        let round = round?;
        whole += usize::from(round.whole);
        longest = longest.max(round.took);
        round.count(&mut tally);
    }
    tally.finish(&format!(
        "{whole} whole, {} without a report; the longest took {:.0} s",
        cases.len() - whole,
        longest.as_secs_f64()
    ))
}
