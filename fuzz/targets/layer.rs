//! Layer blobs, packed or not: the scan ends within its limits, keeps little, and what it found can be
//! identified and carried to later nights.
#![no_main]
#![allow(
    dead_code,
    unused_imports,
    reason = "modules of the program, of which a part is used"
)]

#[path = "../../src/os/mod.rs"]
mod os;

use libfuzzer_sys::fuzz_target;
use os::{LayerError, LayerFinding, RootView, ScanLimits, ScanRequest, identify, scan_layer};

fuzz_target!(|blob: &[u8]| {
    let limits = ScanLimits {
        max_decompressed_bytes: 4 << 20,
        ratio_slack_bytes: 1 << 20,
        max_entries: 10_000,
        max_zstd_window_log: 20,
        ..ScanLimits::default()
    };
    let request = ScanRequest::for_paths(["/opt/vendor/os-release"]);
    let finding = match scan_layer(blob, &request, &limits) {
        Ok(finding) => finding,
        Err(LayerError::Limit { found, .. }) => *found,
        Err(_) => return,
    };
    let json = serde_json::to_string(&finding).expect("a finding is JSON");
    assert!(json.len() < 4 << 20, "{} bytes kept", json.len());
    let again: LayerFinding = serde_json::from_str(&json).expect("its own JSON");
    assert_eq!(again, finding);
    let _ = identify(&RootView::apply([(0, &finding), (1, &again)]));
});
