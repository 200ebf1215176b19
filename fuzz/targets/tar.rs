//! The tar reader behind the scan: archives whose headers have right checksums, so that a fuzzer gets
//! past them to types, sizes, PAX records and long names.
#![no_main]
#![allow(
    dead_code,
    unused_imports,
    reason = "modules of the program, of which a part is used"
)]

#[path = "../../src/os/mod.rs"]
mod os;

use libfuzzer_sys::fuzz_target;
use os::{RootView, ScanLimits, ScanRequest, identify, scan_layer};

const BLOCK: usize = 512;
/// Bytes of a header that hold its checksum (POSIX ustar).
const CHECKSUM: std::ops::Range<usize> = 148..156;

fuzz_target!(|bytes: &[u8]| {
    let mut archive = Vec::with_capacity(bytes.len() + 2 * BLOCK);
    for block in bytes.chunks(BLOCK) {
        let mut header = [0; BLOCK];
        header[..block.len()].copy_from_slice(block);
        // Blocks that begin with a control character stay as they are: they are content.
        if header[0] >= b' ' {
            header[CHECKSUM].fill(b' ');
            let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
            header[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            header[257..265].copy_from_slice(b"ustar\x0000");
        }
        archive.extend_from_slice(&header);
    }
    archive.extend_from_slice(&[0; 2 * BLOCK]);
    let request = ScanRequest::default();
    let limits = ScanLimits {
        max_entries: 10_000,
        ..ScanLimits::default()
    };
    if let Ok(finding) = scan_layer(&archive[..], &request, &limits) {
        let _ = identify(&RootView::apply([(0, &finding)]));
    }
});
