//! os-release files: whatever they hold, reading ends, and a value is a part of the text at most.
#![no_main]
#![allow(
    dead_code,
    unused_imports,
    reason = "modules of the program, of which a part is used"
)]

#[path = "../../src/os/mod.rs"]
mod os;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let release = os::OsRelease::parse(text);
    for key in ["ID", "VERSION_ID", "NAME", "PRETTY_NAME", "VERSION"] {
        if let Some(value) = release.get(key) {
            assert!(value.len() <= text.len(), "{key}");
        }
    }
});
