//! How often a registry is asked: pauses after it complained, and rest for one that is dead.
//!
//! In: how each process ended, and when. Out: when the next may start, and whether at all. A registry that
//! limits requests or is overloaded gets pauses, which grow, and starts that are spread; all that ask it
//! wait together. One that was silent, unreachable or limiting five times in a row, for twenty seconds and
//! without any sign of life between, is not asked any more in this run: two hundred images there cost a
//! few time limits, not two hundred, and are asked again the next night.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::InspectError;
use crate::report::ErrorKind;
use crate::sync::lock;

/// So many failures in a row, without a sign of life.
const REST_AFTER_FAILURES: u32 = 5;
/// And so long: a short outage of our own network fails often in a moment.
const REST_AFTER_TIME: Duration = Duration::from_secs(20);
/// The first pause; each further one in a row is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Least time between two starts after a first complaint.
const FIRST_GAP: Duration = Duration::from_millis(50);
/// The most that it grows to.
const MAX_GAP: Duration = Duration::from_secs(2);
/// What is left of it after an answer.
const GAP_DECAY: f64 = 0.99;
/// Attempts at a request that the registry was too busy for; an engine makes three of its own each time.
const MAX_ATTEMPTS: u32 = 4;
/// Attempts at one that it failed at, with a 5xx.
const MAX_ATTEMPTS_AT_FAILURES: u32 = 2;
/// Further attempts that a registry gets in all, besides one for each answer.
const PATIENCE: u64 = 20;

/// How a process ended, as far as its registry is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// It answered, be it with a refusal.
    Alive,
    /// It answered that it has too much to do: 429.
    Limited,
    /// It answered that it failed: 5xx.
    Overloaded,
    /// It did not answer, or not to the end.
    Silent,
    /// Nothing can be said.
    Unknown,
}

impl Sign {
    /// What an error says.
    pub(super) fn of(error: &InspectError, is_overload: bool) -> Self {
        match error.kind {
            _ if is_overload => Self::Overloaded,
            ErrorKind::RateLimited => Self::Limited,
            ErrorKind::Timeout | ErrorKind::Network => Self::Silent,
            ErrorKind::Unauthorized
            | ErrorKind::Denied
            | ErrorKind::NotFound
            | ErrorKind::Unsupported
            | ErrorKind::Invalid => Self::Alive,
            _ => Self::Unknown,
        }
    }
}

/// Whether and when a process may start.
#[derive(Debug)]
pub(super) enum Reply {
    Now(Leave),
    /// Not before; then it is to be asked again.
    At(Instant),
    /// The registry is at rest.
    Never(InspectError),
}

/// Leave to start a process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leave {
    started: Instant,
    attempt: u32,
}

/// What is remembered of all registries.
#[derive(Default)]
pub(super) struct Manners {
    registries: Mutex<HashMap<Arc<str>, State>>,
}

#[derive(Default)]
struct State {
    answers: u64,
    retries: u64,
    last_answer: Option<Instant>,
    /// In a row, with the start of the first.
    failures: u32,
    failing_since: Option<Instant>,
    rest: Option<InspectError>,
    /// Pauses in a row.
    level: u32,
    paused_until: Option<Instant>,
    last_pause: Option<Instant>,
    gap: Duration,
    next_start: Option<Instant>,
}

impl Manners {
    /// Whether a registry may be asked now; between two starts there is a `gap` at least.
    pub(super) fn ask(
        &self,
        registry: &Arc<str>,
        before: Option<Leave>,
        gap: Duration,
        now: Instant,
    ) -> Reply {
        let mut registries = self.lock();
        let state = registries.entry(Arc::clone(registry)).or_default();
        if let Some(error) = &state.rest {
            return Reply::Never(error.clone());
        }
        let at = state.paused_until.max(state.next_start);
        if let Some(at) = at.filter(|at| *at > now) {
            return Reply::At(at);
        }
        let gap = state.gap.max(gap);
        state.next_start = (!gap.is_zero()).then(|| now + gap);
        Reply::Now(Leave {
            started: now,
            attempt: before.map_or(1, |leave| leave.attempt + 1),
        })
    }

    /// Learns how a process ended; whether the same may be tried once more.
    pub(super) fn note(
        &self,
        registry: &Arc<str>,
        leave: Leave,
        sign: Sign,
        error: Option<&InspectError>,
        now: Instant,
    ) -> bool {
        let mut registries = self.lock();
        let state = registries.entry(Arc::clone(registry)).or_default();
        let attempts = match sign {
            Sign::Unknown => return false,
            Sign::Alive => {
                state.answered(leave, now);
                return false;
            }
            Sign::Limited => MAX_ATTEMPTS,
            Sign::Overloaded => MAX_ATTEMPTS_AT_FAILURES,
            Sign::Silent => 1,
        };
        if let Some(error) = error
            && state.rest.is_none()
            && state.is_dead_after(leave, now)
        {
            let kind = error.kind.name();
            tracing::warn!(registry = &**registry, kind, "not asked any more");
            state.rest = Some(at_rest(state.failures, error));
        }
        if state.rest.is_some() || attempts == 1 {
            return false;
        }
        state.pause(leave, now);
        let again = leave.attempt < attempts && state.retries < PATIENCE + state.answers;
        state.retries += u64::from(again);
        again
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, State>> {
        lock(&self.registries)
    }
}

impl State {
    fn answered(&mut self, leave: Leave, now: Instant) {
        self.answers += 1;
        self.last_answer = Some(now);
        self.failures = 0;
        self.failing_since = None;
        if self.is_after_pause(leave) {
            self.level = 0;
            self.gap = self.gap.mul_f64(GAP_DECAY);
            if self.gap < FIRST_GAP / 10 {
                self.gap = Duration::ZERO;
            }
        }
    }

    /// Counts a failure; whether the registry is given up with it.
    fn is_dead_after(&mut self, leave: Leave, now: Instant) -> bool {
        // Others were answered meanwhile: it lives.
        if self
            .last_answer
            .is_some_and(|answer| answer >= leave.started)
        {
            return false;
        }
        self.failures += 1;
        let since = *self.failing_since.get_or_insert(leave.started);
        self.failures >= REST_AFTER_FAILURES && now.duration_since(since) >= REST_AFTER_TIME
    }

    /// Pauses, unless what complains began before the last pause: that says nothing about whether that
    /// was long enough.
    fn pause(&mut self, leave: Leave, now: Instant) {
        if !self.is_after_pause(leave) {
            return;
        }
        let factor = 1_u32 << self.level.min(8);
        let pause = FIRST_PAUSE.saturating_mul(factor).min(MAX_PAUSE);
        self.level += 1;
        self.last_pause = Some(now);
        self.paused_until = Some(now + jittered(pause));
        self.gap = (self.gap * 2).clamp(FIRST_GAP, MAX_GAP);
    }

    fn is_after_pause(&self, leave: Leave) -> bool {
        self.last_pause.is_none_or(|pause| leave.started > pause)
    }
}

fn at_rest(failures: u32, error: &InspectError) -> InspectError {
    let message = format!(
        "not asked any more in this run, after {failures} failures in a row: {}",
        error.message
    );
    InspectError::new(error.kind, message)
}

/// Between half and one and a half of a time, so that many clients of a registry do not come back as one.
fn jittered(time: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness, the time itself.
    let share = match getrandom::fill(&mut byte) {
        Ok(()) => f64::from(byte[0]) / 255.0 + 0.5,
        Err(_) => 1.0,
    };
    time.mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// One registry and a clock.
    struct Site {
        manners: Manners,
        registry: Arc<str>,
        now: Instant,
    }

    impl Site {
        fn new() -> Self {
            Self {
                manners: Manners::default(),
                registry: "r".into(),
                now: Instant::now(),
            }
        }

        /// Waits as long as it has to; none if the registry is at rest.
        fn turn(&mut self, before: Option<Leave>) -> Option<Leave> {
            loop {
                match self
                    .manners
                    .ask(&self.registry, before, Duration::ZERO, self.now)
                {
                    Reply::Now(turn) => return Some(turn),
                    Reply::At(at) => self.now = at,
                    Reply::Never(_) => return None,
                }
            }
        }

        fn note(&self, turn: Option<Leave>, sign: Sign) -> bool {
            let error = InspectError::new(ErrorKind::Timeout, "r did not answer in time");
            let (manners, registry) = (&self.manners, &self.registry);
            turn.is_some_and(|turn| manners.note(registry, turn, sign, Some(&error), self.now))
        }

        fn rest(&self) -> Option<InspectError> {
            self.manners.lock().get("r")?.rest.clone()
        }
    }

    #[test]
    fn a_registry_that_is_silent_five_times_in_a_row_rests() {
        let mut site = Site::new();
        for _ in 0..5 {
            assert_eq!(site.rest(), None);
            let turn = site.turn(None);
            site.now += 10 * SECOND;
            assert!(!site.note(turn, Sign::Silent));
        }
        assert!(site.turn(None).is_none());
        let message =
            "not asked any more in this run, after 5 failures in a row: r did not answer in time";
        let expected = InspectError::new(ErrorKind::Timeout, message);
        assert_eq!(site.rest(), Some(expected));
    }

    #[test]
    fn a_moment_without_a_network_is_no_reason_to_rest() {
        let mut site = Site::new();
        for _ in 0..50 {
            let turn = site.turn(None);
            site.now += SECOND / 10;
            site.note(turn, Sign::Silent);
        }
        assert!(site.turn(None).is_some());
    }

    #[test]
    fn a_registry_that_answers_others_meanwhile_does_not_rest() {
        let mut site = Site::new();
        for _ in 0..20 {
            let silent = site.turn(None);
            site.now += 5 * SECOND;
            let good = site.turn(None);
            site.note(good, Sign::Alive);
            site.now += 5 * SECOND;
            site.note(silent, Sign::Silent);
        }
        assert!(site.turn(None).is_some());
    }

    #[test]
    fn pauses_grow_and_end_with_an_answer() {
        let mut site = Site::new();
        let mut turn = site.turn(None);
        let mut pauses = Vec::new();
        while site.note(turn, Sign::Limited) {
            let before = site.now;
            turn = site.turn(turn);
            pauses.push((site.now - before).as_secs_f64());
        }
        assert_eq!(pauses.len(), 3, "four attempts");
        for (pause, expected) in pauses.iter().zip([1.0, 2.0, 4.0]) {
            let range = expected * 0.5..=expected * 1.5;
            assert!(range.contains(pause), "{pauses:?}");
        }
        site.turn(None);
        let before = site.now;
        let second = site.turn(None);
        assert!(site.now - before >= FIRST_GAP, "starts are spread");
        site.note(second, Sign::Alive);
        assert_eq!(site.manners.lock()["r"].level, 0);
    }

    #[test]
    fn those_that_complain_together_make_one_pause() {
        let mut site = Site::new();
        let turns = [site.turn(None), site.turn(None), site.turn(None)];
        site.now += SECOND / 100;
        for turn in turns {
            assert!(site.note(turn, Sign::Limited));
        }
        assert_eq!(site.manners.lock()["r"].level, 1);
    }

    #[test]
    fn patience_is_bounded_for_all_images_together() {
        let mut site = Site::new();
        let mut again = 0;
        for _ in 0..100 {
            let turn = site.turn(None);
            again += u32::from(site.note(turn, Sign::Limited));
            // So that it does not rest; but this answer buys no patience.
            let turn = site.turn(None);
            site.note(turn, Sign::Alive);
            let mut registries = site.manners.lock();
            registries.values_mut().for_each(|state| state.answers = 0);
        }
        assert_eq!(again, 20);
    }
}
