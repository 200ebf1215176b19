//! Settings of registries, in which a secret may stand in a wrong place: reading ends, and an error
//! repeats no value. A key may be repeated if it is a word of small letters; so no word of the file
//! with a capital within it is in an error, and no sentence of the program has one.
#![no_main]
#![allow(
    dead_code,
    unused_imports,
    reason = "modules of the program, of which a part is used"
)]

#[path = "../../src/duration.rs"]
mod duration;
#[path = "../../src/image/mod.rs"]
mod image;
#[path = "../../src/intern.rs"]
mod intern;
#[path = "../../src/nearest.rs"]
mod nearest;
#[path = "../../src/os/mod.rs"]
mod os;
#[path = "parts/registry.rs"]
mod registry;
#[path = "parts/report.rs"]
mod report;
#[path = "../../src/storage/keys.rs"]
mod storage;

use std::path::Path;
use std::sync::Arc;

use image::ImageReference;
use libfuzzer_sys::fuzz_target;
use registry::settings::RegistrySettings;
use registry::source::Pull;

/// Shorter ones may be in any text by chance.
const WORD_BYTES: usize = 6;

/// What is asked for in the end, at one registry that the seeds name and at one that they do not.
const ASKED: [&str; 2] = ["registry.example:5000/team/app", "docker.io/library/debian"];

fn is_marked(word: &&[u8]) -> bool {
    word.len() >= WORD_BYTES && word[1..].iter().any(u8::is_ascii_uppercase)
}

fuzz_target!(|bytes: &[u8]| {
    // Settings are read from a file, here one in memory: a disk would take most of the time.
    let path = Path::new("/dev/shm").join(format!("registries-{}.yaml", std::process::id()));
    std::fs::write(&path, bytes).expect("a temporary file");
    let read = RegistrySettings::read(&path);
    std::fs::remove_file(&path).expect("the temporary file");
    match read {
        Ok(settings) => {
            for asked in ASKED {
                let asked: ImageReference = asked.parse().expect("a reference");
                let pull = Pull {
                    repository: asked.repository,
                    pullers: Arc::new([]),
                };
                for mirror in settings.mirrors_of(&pull) {
                    let text = format!("{}/{}", mirror.registry, mirror.path);
                    let again = text.parse::<ImageReference>();
                    assert!(
                        again.is_ok_and(|again| again.repository == mirror.repository),
                        "{text}"
                    );
                }
            }
        }
        Err(error) => {
            let said = error.to_string();
            let said = said.strip_prefix(&*path.to_string_lossy());
            let said = said.expect("an error names the file");
            assert!(said.len() < 400, "{said}");
            let words = bytes.split(|byte| !byte.is_ascii_alphanumeric());
            for word in words.filter(is_marked) {
                let word = String::from_utf8_lossy(word);
                assert!(!said.contains(&*word), "{word} is repeated: {said}");
            }
        }
    }
});
