//! A proxy before the real S3 server does something wrong at each request of a run in turn: once, or from
//! there on. What it does once the night survives; what goes on ends it with an error that says what to do.

use std::io::Write as _;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::harness::http_proxy::{HttpProxy, Wrong as Fault};
use crate::harness::object_store::ObjectStore;
use crate::harness::random::Random;
use crate::harness::running::Running;
use crate::harness::runs::document;
use crate::harness::store::Store;
use crate::harness::{Result, succeed};
use crate::nights::{Before, NEXT, Nights, Rooms, TONIGHT, examine, is_complete, last_line};
use crate::tally::{Tally, Wrong, rounds};

/// Rows of a night whose files go up in one piece, and in parts of 8 MiB.
const FEW: usize = 50;
const MANY: usize = 12_000;
/// Five attempts of 60 s each are the longest that one request takes.
const LIMIT: Duration = Duration::from_secs(700);

/// What comes of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The program asks again, and the night is as if nothing had been.
    Nothing,
    /// The night is there; what could not be read of earlier ones is missed.
    Colder,
    /// The run ends with an error that says one of these, unless nothing hung on that request.
    Error(&'static [&'static str]),
}

/// A fault, and what comes of it.
pub(crate) struct Case {
    pub(crate) scenario: &'static str,
    pub(crate) fault: fn() -> Fault,
    /// Or else from its request on.
    pub(crate) once: bool,
    pub(crate) outcome: Outcome,
    pub(crate) arguments: &'static [&'static str],
    /// At how many requests at the most: in the short form, and in the whole.
    pub(crate) at_most: (usize, usize),
    /// Behind it, a server that knows no conditional writes.
    pub(crate) ignores_conditions: bool,
    /// Which requests of a night with parts it strikes; those of one without are all struck.
    pub(crate) parts: fn(&str) -> bool,
}

/// A reset at each request.
pub(crate) const CASE: Case = Case {
    scenario: "",
    fault: || Fault::Reset,
    once: true,
    outcome: Outcome::Nothing,
    arguments: &[],
    at_most: (1, usize::MAX),
    ignores_conditions: false,
    parts: is_of_parts,
};

/// The first and the last request of an upload in parts, for example.
const BEGINNING: &str = "POST /census/k/csv/k?uploads HTTP/1.1";
const COMPLETION: &str = "POST /census/k/csv/k?uploadId=1 HTTP/1.1";

/// Requests of an upload in parts.
fn is_of_parts(request: &str) -> bool {
    !request.contains("/manifest/")
        && (request.contains("?uploads") || request.contains("uploadId="))
}

/// The last of them.
fn completes(request: &str) -> bool {
    is_of_parts(request) && request.starts_with("POST ") && !request.contains("?uploads")
}

const ILL: &[&str] = &["the service is not well: try again later"];
const AWAY: &[&str] = &[
    "see whether the service is up and reachable from here",
    "check --s3-endpoint, the network",
];

#[test]
fn a_fault_that_passes_costs_nothing() -> Result {
    strike_all(
        &[
            Case {
                scenario: "S3 answers 500, once, at each request in turn",
                fault: || Fault::Answer(500, "InternalError"),
                ..CASE
            },
            Case {
                scenario: "S3 answers 503 SlowDown, once, at each request in turn",
                fault: || Fault::Answer(503, "SlowDown"),
                ..CASE
            },
            Case {
                scenario: "S3 resets the connection, once, at each request in turn",
                ..CASE
            },
            Case {
                scenario: "S3's answer is lost, once, at each request in turn",
                fault: || Fault::LoseAnswer,
                ..CASE
            },
            Case {
                scenario: "S3's answer is lost, once, with `--s3-conditional-put`",
                fault: || Fault::LoseAnswer,
                arguments: &["--s3-conditional-put"],
                ..CASE
            },
            Case {
                scenario: "S3's answer is lost, once, and the server ignores `If-None-Match`",
                fault: || Fault::LoseAnswer,
                arguments: &["--s3-conditional-put"],
                ignores_conditions: true,
                ..CASE
            },
            Case {
                scenario: "S3's answer is cut off, once, at each request in turn",
                fault: || Fault::CutAnswer,
                outcome: Outcome::Colder,
                ..CASE
            },
            Case {
                scenario: "S3 completes an upload with 200 and an error inside, once",
                fault: || Fault::Answer(200, "InternalError"),
                parts: completes,
                ..CASE
            },
        ],
        6,
    )
}

#[test]
fn a_fault_that_stays_ends_the_night_with_an_error_and_nothing_half() -> Result {
    let forever = Case {
        once: false,
        ..CASE
    };
    strike_all(
        &[
            Case {
                scenario: "S3 answers 500 from each request on",
                fault: || Fault::Answer(500, "InternalError"),
                outcome: Outcome::Error(ILL),
                ..forever
            },
            Case {
                scenario: "S3 answers 503 SlowDown from each request on",
                fault: || Fault::Answer(503, "SlowDown"),
                outcome: Outcome::Error(ILL),
                ..forever
            },
            Case {
                scenario: "S3 resets connections from each request on",
                outcome: Outcome::Error(AWAY),
                ..forever
            },
            Case {
                scenario: "S3's answers are lost from each request on",
                fault: || Fault::LoseAnswer,
                outcome: Outcome::Error(AWAY),
                ..forever
            },
            Case {
                scenario: "S3 answers 403 from each request on",
                fault: || Fault::Answer(403, "AccessDenied"),
                outcome: Outcome::Error(&["the credentials lack a right: s3:PutObject"]),
                ..forever
            },
            Case {
                scenario: "S3: the credentials expire at each request",
                fault: || Fault::Answer(400, "ExpiredToken"),
                outcome: Outcome::Error(&["the credentials have expired: renew them"]),
                ..forever
            },
            Case {
                scenario: "S3: the clock is 15 minutes off from each request on",
                fault: || Fault::Answer(403, "RequestTimeTooSkewed"),
                outcome: Outcome::Error(&["the clocks differ: set the time of this machine"]),
                ..forever
            },
        ],
        8,
    )
}

/// One of the pod lists, and the first lines of the requests that its run makes.
struct Kind {
    nights: Nights,
    requests: Vec<String>,
}

/// A part of the bucket where one round after the other is done.
struct Lane {
    store: Store,
    before: Before,
    rooms: Rooms,
}

impl Lane {
    fn new(server: &Arc<ObjectStore>, name: &str, nights: &Nights) -> Result<Self> {
        let store = Store::part_of(server, name);
        let before = Before::take(nights, &store)?;
        let rooms = Rooms::new()?;
        Ok(Self {
            store,
            before,
            rooms,
        })
    }
}

impl Kind {
    fn new(server: &Arc<ObjectStore>, rows: usize) -> Result<Self> {
        let nights = Nights::new(rows)?;
        let lane = Lane::new(server, &format!("counted-{rows}"), &nights)?;
        let proxy = HttpProxy::start(&server.address, Fault::Hang, 0..0)?;
        let store = lane.store.through(&proxy.address)?;
        succeed(&mut nights.snapshot(&store, "tonight", TONIGHT)?)?;
        let requests = proxy.requests();
        Ok(Self { nights, requests })
    }
}

/// Does each case at each request, or at as many of them as it says, on several lanes at once.
pub(crate) fn strike_all(cases: &[Case], lanes: usize) -> Result {
    let server = Arc::new(ObjectStore::start(&[])?);
    let (mut random, seed) = Random::seeded()?;
    writeln!(std::io::stderr(), "S3 faults: CHAOS_SEED={seed}")?;
    let few = Kind::new(&server, FEW)?;
    let is_whole = rounds(0, 1) == 1;
    // The short form has one case for which there is nothing else.
    let of_parts = |case: &Case| (case.parts)(COMPLETION) && (is_whole || !(case.parts)(BEGINNING));
    let many = match cases.iter().any(of_parts) {
        true => Some(Kind::new(&server, MANY)?),
        false => None,
    };
    let mut tallies = Vec::new();
    let mut jobs = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        tallies.push(Mutex::new(Tally::new(case.scenario)));
        let only_parts = (case.parts)(COMPLETION) && !(case.parts)(BEGINNING);
        let mut places = Vec::new();
        if !only_parts {
            places.extend((1..=few.requests.len()).map(|at| (&few, at)));
        }
        if let Some(many) = many.as_ref().filter(|_| of_parts(case)) {
            let struck = many.requests.iter().enumerate();
            let struck = struck.filter(|(_, request)| (case.parts)(request));
            places.extend(struck.map(|(at, _)| (many, at + 1)));
        }
        if places.is_empty() {
            return Err(format!("{}: no such request", case.scenario).into());
        }
        let (short, whole) = case.at_most;
        while places.len() > rounds(short, whole) {
            places.swap_remove(usize::try_from(random.below(u64::try_from(places.len())?))?);
        }
        jobs.extend(places.into_iter().map(|(kind, at)| (number, kind, at)));
    }

    let count = jobs.len();
    let jobs = Mutex::new(jobs);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for number in 0..lanes.min(count) {
            let (jobs, failed, tallies, server, few) = (&jobs, &failed, &tallies, &server, &few);
            scope.spawn(move || {
                let done = || -> Result {
                    // Both pod lists have an earlier night of their own.
                    let mut lanes = Vec::<(*const Kind, Lane)>::new();
                    loop {
                        // By itself: as a condition of the loop it would be locked during the round.
                        let Some((case, kind, at)) = lock(jobs).pop() else {
                            return Ok(());
                        };
                        let known = lanes.iter().position(|(of, _)| std::ptr::eq(*of, kind));
                        let known = match known {
                            Some(known) => known,
                            None => {
                                let name = if std::ptr::eq(kind, few) {
                                    "few"
                                } else {
                                    "many"
                                };
                                let name = format!("{name}-{number}");
                                lanes.push((kind, Lane::new(server, &name, &kind.nights)?));
                                lanes.len() - 1
                            }
                        };
                        let mut tally = Tally::new("");
                        let struck = strike(&cases[case], kind, at, &lanes[known].1, &mut tally);
                        lock(&tallies[case]).absorb(tally);
                        struck?;
                    }
                };
                if let Err(error) = done() {
                    lock(failed).push(error.to_string());
                }
            });
        }
    });
    let remark = |case: &Case| {
        let of_parts = many.as_ref().map_or(0, |many| {
            let struck = many.requests.iter().filter(|request| (case.parts)(request));
            struck.count()
        });
        format!(
            "a night has {} requests, one with parts {of_parts} more; seed {seed}",
            few.requests.len()
        )
    };
    let mut ended = Ok(());
    for (case, tally) in cases.iter().zip(tallies) {
        let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
        if rounds(case.at_most.0, case.at_most.1) == 0 {
            continue;
        }
        let finished = tally.finish(&remark(case));
        ended = ended.and(finished);
    }
    few.nights.expect_no_process(&mut Tally::new(""))?;
    let left = server.unfinished_uploads()?;
    // One that is begun while its answer is lost cannot be aborted by anybody; one that cannot be
    // reached neither.
    assert!(
        left <= count,
        "{left} unfinished uploads after {count} rounds"
    );
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    match failed.first() {
        Some(error) => Err(error.clone().into()),
        None => ended,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One round: the night with the fault, and the next one without.
fn strike(case: &Case, kind: &Kind, at: usize, lane: &Lane, tally: &mut Tally) -> Result {
    let Lane {
        store,
        before,
        rooms,
    } = lane;
    let server = store.server().ok_or("no server")?;
    let range: Range<usize> = at..if case.once { at + 1 } else { usize::MAX };
    let behind = match case.ignores_conditions {
        true => {
            let fault = Fault::IgnoreCondition(server.bucket());
            Some(HttpProxy::start(&server.address, fault, 1..usize::MAX)?)
        }
        false => None,
    };
    let next = behind
        .as_ref()
        .map_or(&server.address, |proxy| &proxy.address);
    let proxy = HttpProxy::start(next, (case.fault)(), range)?;
    let through = store.through(&proxy.address)?;
    let mut command = kind.nights.snapshot(&through, "tonight", TONIGHT)?;
    rooms.give_to(command.args(case.arguments));
    let ended = Running::start(&mut command)?.wait(LIMIT, || Ok(()))?;
    tally.round();
    let requests = proxy.requests();
    let what = requests.get(at - 1).ok_or("it was not struck")?;
    let what = format!("{}, at {at} ({what})", case.scenario);
    let said = last_line(&ended.stderr);

    let committed = examine(store, &before.runs, tally)?;
    let new = committed.len() - before.runs.len();
    let newest = committed.last().ok_or("no run")?;
    let is_there = new == 1 && ended.status.success() && is_complete(&store.root(), newest);
    match case.outcome {
        Outcome::Nothing => {
            if !is_there {
                tally.wrong(Wrong::Lost, format!("{what}: {}: {said}", ended.status));
            } else if !ended.stderr.contains("reusing what an earlier run knows")
                || document(&store.root(), newest, "manifest")?["changes"].is_null()
            {
                let what = format!("{what}: the earlier night was not read: {}", ended.stderr);
                tally.wrong(Wrong::Lost, what);
            }
        }
        Outcome::Colder if is_there => {}
        Outcome::Colder => tally.wrong(Wrong::Lost, format!("{what}: {}: {said}", ended.status)),
        // Nothing hangs on `latest`.
        Outcome::Error(_) if is_there && ended.stderr.contains("latest is not up to date") => {}
        Outcome::Error(says) => {
            // A manifest whose answer was lost each time is there, and so is the whole run.
            let may_be_there = matches!((case.fault)(), Fault::LoseAnswer);
            if new > 0 && !may_be_there {
                tally.wrong(Wrong::HalfVisible, format!("{what}: visible: {said}"));
            }
            let is_clear = said.contains("error: could not ")
                && said.contains(" s3://census/")
                && says.iter().any(|words| said.contains(words));
            if ended.status.code() != Some(1) || !is_clear {
                tally.wrong(Wrong::Lost, format!("{what}: {}: {said}", ended.status));
            }
        }
    }
    let left = rooms.left()?;
    if !left.is_empty() {
        tally.wrong(Wrong::Leaked, format!("{what}: {left:?}"));
    }
    succeed(&mut kind.nights.snapshot(store, "tonight", NEXT)?)?;
    let after = examine(store, &committed, tally)?;
    if after.len() != committed.len() + 1 {
        tally.wrong(Wrong::Lost, format!("{what}: the next night is missing"));
    }
    before.restore(store)
}
