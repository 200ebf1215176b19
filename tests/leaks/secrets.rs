//! Secrets that say whose they are, and all forms in which they may be found.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

/// Beginning of every secret, and of a user's `u:SECRET` in base64.
const RAW: &str = "hunter2";
const ENCODED: &str = "dTpodW50ZXIy";

/// The secret of a scenario.
pub(crate) fn secret(scenario: &str) -> String {
    format!("{RAW}-{scenario}")
}

/// The user `u` with the secret of a scenario, as a Docker configuration has it.
pub(crate) fn auth(scenario: &str) -> serde_json::Value {
    let text = format!("u:{}", secret(scenario));
    serde_json::json!({"auth": STANDARD.encode(text)})
}

/// The scenarios whose secrets a text holds.
pub(crate) fn secrets_in(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let raw = |text: &str| -> Vec<String> {
        let after = text.split(RAW).skip(1);
        let words = after.map(|rest| rest.split(|c| !is_name(c)).next().unwrap_or_default());
        words
            .map(|word| word[usize::from(word.starts_with('-'))..].to_owned())
            .collect()
    };
    let mut found: BTreeSet<_> = raw(text).into_iter().collect();
    for (start, _) in text.match_indices(ENCODED) {
        let is_base64 = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/');
        let encoded: String = text[start..].chars().take_while(is_base64).collect();
        let decoded = STANDARD_NO_PAD.decode(encoded).unwrap_or_default();
        let names = raw(&String::from_utf8_lossy(&decoded));
        // One that is cut off is one, too.
        found.extend(if names.is_empty() {
            vec!["?".to_owned()]
        } else {
            names
        });
    }
    found
}

#[test]
fn a_secret_is_found_in_every_form() {
    let found = |text: &str| secrets_in(text).into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(found("x hunter2-foreign-realm\""), "foreign-realm");
    let basic = STANDARD.encode(format!("u:{}", secret("ping")));
    assert_eq!(found(&format!("Authorization: Basic {basic}\r\n")), "ping");
    assert_eq!(found("hunter2"), "");
    assert_eq!(secrets_in("hunter2").len(), 1);
    assert!(secrets_in("nothing").is_empty());
}
