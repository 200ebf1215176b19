//! Reports and manifests, which anybody may have put into a store: reading ends, an error repeats
//! nothing, and what was read and written again reads as the same.
#![no_main]
#![allow(
    dead_code,
    unused_imports,
    reason = "modules of the program, of which a part is used"
)]

#[path = "../../src/image/mod.rs"]
mod image;
#[path = "../../src/intern.rs"]
mod intern;
#[path = "../../src/os/mod.rs"]
mod os;
#[path = "parts/report.rs"]
mod report;
#[path = "../../src/storage/keys.rs"]
mod storage;

use std::ops::ControlFlow;

use libfuzzer_sys::fuzz_target;
use report::{Manifest, ReadError, Report, ReportBuilder, read_report, written};

/// All that is said of a report that cannot be read, but for the number of a line.
const SENTENCES: [&str; 4] = [
    "the report breaks off or cannot be read",
    "this is no report of image-census, or a damaged one (line )",
    "a part of the report is larger than any that image-census writes",
    "the report has a newer major schema version than .: use a newer image-census",
];

fn read(bytes: &[u8]) -> Result<Option<Report>, ReadError> {
    let mut builder = ReportBuilder::default();
    read_report(bytes, |part| {
        builder.take(part);
        ControlFlow::Continue(())
    })?;
    Ok(builder.finish())
}

fuzz_target!(|bytes: &[u8]| {
    match read(bytes) {
        Ok(report) => {
            // Without images there is no end of a head, and such a document is refused.
            let report = report.expect("a report that was read has a head");
            let once = written(&report);
            let again = read(&once);
            let Ok(Some(again)) = again else {
                panic!("its own report cannot be read: {again:?}");
            };
            let twice = written(&again);
            assert_eq!(
                String::from_utf8_lossy(&once),
                String::from_utf8_lossy(&twice)
            );
        }
        Err(error) => {
            let said: String = error
                .to_string()
                .split(|c: char| c.is_ascii_digit())
                .collect();
            assert!(SENTENCES.contains(&&*said), "{said}");
        }
    }
    if let Ok(manifest) = serde_json::from_slice::<Manifest>(bytes) {
        let once = serde_json::to_string(&manifest).expect("a manifest is JSON");
        let again: Manifest = serde_json::from_str(&once).expect("its own JSON");
        let twice = serde_json::to_string(&again).expect("a manifest is JSON");
        assert_eq!(once, twice);
    }
});
