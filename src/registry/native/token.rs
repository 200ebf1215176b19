//! What a token service answers. Pure.

use std::time::Duration;

use http::HeaderValue;
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

/// Bytes of the answer: those of large groups have a few KiB.
pub(super) const MAX_TOKEN_BYTES: usize = 256 << 10;
/// How long a token holds where nothing is said, by the specification of Docker's tokens.
const DEFAULT_TIME: Duration = Duration::from_secs(60);
/// None is kept longer, whatever is said: a run is no longer.
const MAX_TIME: Duration = Duration::from_secs(60 * 60);
/// So long before its end it is not used any more: a request takes a moment.
const MARGIN: Duration = Duration::from_secs(5);

/// A token for a while.
#[derive(Debug)]
pub(super) struct Token {
    /// For `Authorization`.
    pub(super) header: HeaderValue,
    /// How long it may be used.
    pub(super) time: Duration,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default, deserialize_with = "secret")]
    token: Zeroizing<String>,
    #[serde(default, deserialize_with = "secret")]
    access_token: Zeroizing<String>,
    #[serde(default)]
    expires_in: Option<f64>,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(Zeroizing::new(text.unwrap_or_default()))
}

/// Reads an answer; none if there is no token in it.
pub(super) fn parse(bytes: &[u8]) -> Option<Token> {
    let document: Document = serde_json::from_slice(bytes).ok()?;
    let Document {
        token,
        access_token,
        expires_in,
    } = document;
    let token = if access_token.is_empty() {
        token
    } else {
        access_token
    };
    if token.is_empty() {
        return None;
    }
    let time = match expires_in {
        Some(seconds) if seconds.is_finite() && seconds > 0.0 => {
            Duration::from_secs_f64(seconds.min(MAX_TIME.as_secs_f64()))
        }
        _ => DEFAULT_TIME,
    };
    Some(Token {
        header: bearer(&token)?,
        time: time.saturating_sub(MARGIN),
    })
}

/// `Bearer …`; none if that is no value of a header.
pub(super) fn bearer(token: &str) -> Option<HeaderValue> {
    secret_value(&Zeroizing::new(format!("Bearer {token}")))
}

/// A header's value that no log shows.
pub(super) fn secret_value(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_and_its_time_are_read_and_nothing_else_counts() {
        let seconds = Duration::from_secs;
        for (text, expected) in [
            (r#"{"token":"a"}"#, Some(("Bearer a", seconds(55)))),
            (
                r#"{"token":"a","access_token":"b","expires_in":300}"#,
                Some(("Bearer b", seconds(295))),
            ),
            (
                r#"{"access_token":"b","token":null,"expires_in":null}"#,
                Some(("Bearer b", seconds(55))),
            ),
            (
                r#"{"token":"a","expires_in":1e300,"x":{"y":[]}}"#,
                Some(("Bearer a", seconds(3595))),
            ),
            (
                r#"{"token":"a","expires_in":-5}"#,
                Some(("Bearer a", seconds(55))),
            ),
            (
                r#"{"token":"a","expires_in":3}"#,
                Some(("Bearer a", seconds(0))),
            ),
            // Nothing that could begin another header.
            ("{\"token\":\"a\\r\\nHost: b\"}", None),
            (r#"{"token":""}"#, None),
            (r#"{"token":["a"]}"#, None),
            ("{}", None),
            ("null", None),
            ("<html>", None),
            ("", None),
        ] {
            let found = parse(text.as_bytes());
            let found = found
                .as_ref()
                .map(|token| (token.header.to_str().unwrap_or_default(), token.time));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn a_token_is_not_shown() {
        let token = parse(br#"{"token":"hunter2"}"#);
        assert!(!format!("{token:?}").contains("hunter2"));
    }
}
