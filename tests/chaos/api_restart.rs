//! The API server is killed while it lists, and comes back or does not.
//!
//! *Promised*: what was asked for is asked for again until it is back, for about a minute; then the report
//! is whole. If it does not come back, there is no report, an exit code of 1 and a sentence that says so.
//! *Tested* by a SIGKILL of the real API server before it answers each request in turn, started again after
//! 1 to 3 s, on its port and with its objects.

use std::sync::Arc;
use std::time::Duration;

use crate::api_server::{Crowd, Must};
use crate::harness::Result;
use crate::harness::api_proxy::{Fault, When};
use crate::tally::{Tally, rounds};

#[test]
fn a_killed_api_server_costs_a_pause_or_the_night_and_never_a_part_of_it() -> Result {
    let crowd = Arc::new(Crowd::start(rounds(600, 1_100))?);
    let mut tally = Tally::new("API server: killed in mid-list, back after 1 to 3 s, or not");
    let mut longest = Duration::ZERO;
    for number in 0..rounds(1, 12) {
        let (away, at) = (
            1 + number as u64 % 3,
            (crowd.requests - 1 + number) % crowd.requests,
        );
        let (sender, back) = std::sync::mpsc::channel();
        let own = Arc::clone(&crowd);
        let restart = move || {
            let crowd = Arc::clone(&own);
            let crashed = crowd.plane.crash().map_err(|error| error.to_string());
            let sender = sender.clone();
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_secs(away));
                let restarted = crowd.plane.restart().map_err(|error| error.to_string());
                let _ = sender.send(crashed.and(restarted));
            });
        };
        let name = format!("round {number}, back after {away} s");
        let fault = Fault::After(Arc::new(restart));
        let round = crowd.round(&name, When::Once(at), fault, Must::BeWhole)?;
        longest = longest.max(round.took);
        round.count(&mut tally);
        back.recv_timeout(Duration::from_secs(120))??;
    }
    // The last, since nothing is there after it. Its patience takes a minute.
    for _ in 0..rounds(0, 1) {
        let own = Arc::clone(&crowd);
        let crash = move || {
            // That it is gone is what the round sees.
            let _ = own.plane.crash();
        };
        let fault = Fault::After(Arc::new(crash));
        let must = Must::Fail("cannot be reached or broke off");
        let round = crowd.round("not back", When::Once(crowd.requests - 1), fault, must)?;
        longest = longest.max(round.took);
        round.count(&mut tally);
    }
    tally.finish(&format!("the longest took {:.0} s", longest.as_secs_f64()))
}
