//! Pod lists: whatever they hold, reading ends, and an error repeats nothing of it but a kind, which
//! is one word of letters and digits. What must not appear is therefore no such word.
#![no_main]
#![allow(
    dead_code,
    unused_imports,
    reason = "modules of the program, of which a part is used"
)]

#[path = "../../src/pod.rs"]
mod pod;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut pods = 0_usize;
    if let Err(error) = pod::read_list(bytes, |_: pod::Pod| pods += 1) {
        let text = error.to_string();
        assert!(text.len() < 400 && !text.contains("PASS-WORD"), "{text}");
    }
});
