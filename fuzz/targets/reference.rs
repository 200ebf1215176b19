//! References and image ids of pods: what is accepted is safe in an argument list, and is its own
//! normal form.
#![no_main]
#![allow(
    dead_code,
    unused_imports,
    reason = "modules of the program, of which a part is used"
)]

#[path = "../../src/image/mod.rs"]
mod image;

use image::{Digest, ImageReference, RunningImage};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = RunningImage::parse(text);
    let Ok(reference) = text.parse::<ImageReference>() else {
        return;
    };
    let path = &reference.repository.path;
    assert!(
        path.split('/')
            .all(|part| !part.is_empty() && part != ".." && part != "."),
        "{path}"
    );
    let by_digest = reference.repository.at_digest(&Digest::of(b""));
    let tag = reference.tag.clone().unwrap_or_else(|| "latest".into());
    for argument in [by_digest, reference.repository.at_tag(&tag)] {
        let safe = |c: char| c.is_ascii_alphanumeric() || "./_-:@[]".contains(c);
        assert!(argument.chars().all(safe), "{argument:?}");
        assert!(!argument.starts_with('-'), "{argument:?}");
        let again = argument.parse::<ImageReference>();
        assert!(
            again
                .as_ref()
                .is_ok_and(|again| again.repository == reference.repository),
            "{argument:?}: {again:?}"
        );
    }
});
