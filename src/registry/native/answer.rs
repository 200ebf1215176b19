//! From an answer that is no success to its kind: the error code of the distribution specification, or
//! the status. Pure; nothing of the body is repeated.

use serde::Deserialize;

use crate::report::ErrorKind;

/// Bytes of an error's body that are read, as crane reads them.
pub(super) const MAX_ERROR_BYTES: usize = 64 << 10;

#[derive(Deserialize)]
struct Document {
    errors: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    code: String,
}

/// The kind, and whether the registry has failed in a way that may be over in a moment. `body` is none
/// where it is larger than [`MAX_ERROR_BYTES`]: nobody who means well sends that.
pub(super) fn kind_of(status: u16, body: Option<&[u8]>) -> (ErrorKind, bool) {
    let Some(body) = body else {
        return (ErrorKind::Network, false);
    };
    let codes = serde_json::from_slice::<Document>(body).map(|document| document.errors);
    let of_code = codes
        .unwrap_or_default()
        .iter()
        .find_map(|entry| of_code(&entry.code));
    of_code.unwrap_or_else(|| of_status(status))
}

fn of_code(code: &str) -> Option<(ErrorKind, bool)> {
    let kind = match code {
        "TOOMANYREQUESTS" => ErrorKind::RateLimited,
        "MANIFEST_UNKNOWN" | "NAME_UNKNOWN" | "BLOB_UNKNOWN" | "MANIFEST_BLOB_UNKNOWN" => {
            ErrorKind::NotFound
        }
        "UNAUTHORIZED" => ErrorKind::Unauthorized,
        "DENIED" => ErrorKind::Denied,
        "MANIFEST_INVALID" => ErrorKind::Invalid,
        // What registries answer with a 500 or 503.
        "UNKNOWN" | "UNAVAILABLE" => return Some((ErrorKind::Network, true)),
        _ => return None,
    };
    Some((kind, false))
}

fn of_status(status: u16) -> (ErrorKind, bool) {
    let kind = match status {
        401 => ErrorKind::Unauthorized,
        403 => ErrorKind::Denied,
        404 => ErrorKind::NotFound,
        429 => ErrorKind::RateLimited,
        500..=599 => return (ErrorKind::Network, true),
        _ => ErrorKind::Internal,
    };
    (kind, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_decides_and_where_there_is_none_the_status() {
        let document = |code: &str| {
            format!("{{\"errors\":[{{\"code\":\"{code}\",\"message\":\"DENIED: x\"}}]}}")
        };
        let plain = |kind| (kind, false);
        for (status, body, expected) in [
            (
                404,
                document("MANIFEST_UNKNOWN"),
                plain(ErrorKind::NotFound),
            ),
            (
                403,
                document("UNAUTHORIZED"),
                plain(ErrorKind::Unauthorized),
            ),
            (401, document("DENIED"), plain(ErrorKind::Denied)),
            (
                503,
                document("TOOMANYREQUESTS"),
                plain(ErrorKind::RateLimited),
            ),
            (400, document("MANIFEST_INVALID"), plain(ErrorKind::Invalid)),
            (500, document("UNKNOWN"), (ErrorKind::Network, true)),
            // Not in a message, and not by another name.
            (404, document("OTHER"), plain(ErrorKind::NotFound)),
            (
                401,
                "<html>DENIED: no</html>".into(),
                plain(ErrorKind::Unauthorized),
            ),
            (403, String::new(), plain(ErrorKind::Denied)),
            (429, "{\"errors\":{}}".into(), plain(ErrorKind::RateLimited)),
            (
                429,
                "{\"errors\":[1]}".into(),
                plain(ErrorKind::RateLimited),
            ),
            (502, "[".repeat(60_000), (ErrorKind::Network, true)),
            (418, "{}".into(), plain(ErrorKind::Internal)),
            (302, String::new(), plain(ErrorKind::Internal)),
            // The first that is known.
            (
                500,
                "{\"errors\":[{\"code\":\"X\"},{},{\"code\":\"DENIED\"}]}".into(),
                plain(ErrorKind::Denied),
            ),
        ] {
            assert_eq!(
                kind_of(status, Some(body.as_bytes())),
                expected,
                "{status} {body:.60}"
            );
        }
        assert_eq!(kind_of(401, None), plain(ErrorKind::Network));
    }
}
