//! An S3 server that takes a request and never answers. It takes a minute, in which others may work: the
//! tests are started by their names, and this is the first.

use crate::harness::Result;
use crate::harness::http_proxy::Wrong as Fault;
use crate::s3_faults::{CASE, Case, Outcome, strike_all};

#[test]
fn a_server_that_does_not_answer_is_asked_again_and_given_up_in_the_end() -> Result {
    let once = Case {
        scenario: "S3 does not answer, once, at each request in turn (60 s each)",
        fault: || Fault::Hang,
        parts: |_| false,
        ..CASE
    };
    let forever = Case {
        scenario: "S3 does not answer any more (5 minutes each)",
        fault: || Fault::Hang,
        once: false,
        outcome: Outcome::Error(&["no answer in time"]),
        parts: |_| false,
        at_most: (0, 4),
        ..CASE
    };
    strike_all(&[once, forever], 18)
}
