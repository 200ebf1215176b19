//! What a registry wants of who asks: `WWW-Authenticate`. Pure.
//!
//! One challenge a header line, as registries send them. The text is an attacker's: what is too long or
//! broken ends it, and what stood before counts.

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// Lines that are looked at.
const MAX_LINES: usize = 8;
/// Bytes of a line that are looked at: a realm is a URL, a scope a few names.
const MAX_LINE_BYTES: usize = 8 << 10;
/// Parameters of a challenge.
const MAX_PARAMETERS: usize = 16;

/// A way to prove who one is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A user name and a password.
    Basic,
    /// A token from elsewhere.
    Bearer(Bearer),
}

/// Where a token is to be had, and for what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bearer {
    /// The token service's URL.
    pub(super) realm: Option<String>,
    /// How the registry calls itself.
    pub(super) service: Option<String>,
    /// What is to be permitted.
    pub(super) scope: Option<String>,
}

/// The first challenge that can be met.
pub(super) fn challenge(headers: &HeaderMap) -> Option<Challenge> {
    let lines = headers.get_all(WWW_AUTHENTICATE).iter().take(MAX_LINES);
    lines
        .filter_map(|line| line.to_str().ok())
        .filter(|line| line.len() <= MAX_LINE_BYTES)
        .find_map(parse)
}

fn parse(line: &str) -> Option<Challenge> {
    let line = line.trim_start();
    let (scheme, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let mut bearer = Bearer::default();
    for (name, value) in parameters(rest) {
        let place = match &*name {
            "realm" => &mut bearer.realm,
            "service" => &mut bearer.service,
            "scope" => &mut bearer.scope,
            _ => continue,
        };
        place.get_or_insert(value);
    }
    Some(Challenge::Bearer(bearer))
}

/// `name=value` and `name="value"`, between commas, up to the first that is none.
fn parameters(mut rest: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    while found.len() < MAX_PARAMETERS {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let Some((name, after)) = rest.split_once('=') else {
            break;
        };
        let name = name.trim_end();
        if name.is_empty() || !name.bytes().all(is_token) {
            break;
        }
        let after = after.trim_start();
        let Some((value, after)) = value(after) else {
            break;
        };
        found.push((name.to_ascii_lowercase(), value));
        rest = after;
    }
    found
}

/// A value, and what follows it.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return Some((value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut is_escaped = false;
    for (at, character) in quoted.char_indices() {
        match character {
            _ if is_escaped => {
                value.push(character);
                is_escaped = false;
            }
            '\\' => is_escaped = true,
            '"' => return Some((value, &quoted[at + 1..])),
            _ => value.push(character),
        }
    }
    None
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for line in lines {
            if let Ok(line) = line.parse() {
                headers.append(WWW_AUTHENTICATE, line);
            }
        }
        challenge(&headers)
    }

    fn bearer(realm: &str, service: &str, scope: &str) -> Option<Challenge> {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Some(Challenge::Bearer(Bearer {
            realm: some(realm),
            service: some(service),
            scope: some(scope),
        }))
    }

    #[test]
    fn the_challenges_of_registries_are_read() {
        let basic = Some(Challenge::Basic);
        for (lines, expected) in [
            (&["Basic realm=\"x\""][..], basic.clone()),
            (&["basic"], basic.clone()),
            (
                &[
                    "Bearer realm=\"https://a.example/token\",service=\"r\",scope=\"repository:a:pull\"",
                ],
                bearer("https://a.example/token", "r", "repository:a:pull"),
            ),
            // Without quotes, with blanks, other names, another order and case.
            (
                &["bEARER  error=\"no, really\" , Service=r,\tREALM = \"https://a/\""],
                bearer("https://a/", "r", ""),
            ),
            (&["Bearer realm=\"a\\\"b\\\\c\""], bearer("a\"b\\c", "", "")),
            // The first of those that can be met.
            (
                &["Negotiate", "Basic realm=\"x\"", "Bearer realm=\"y\""],
                basic,
            ),
            (&["Bearer"], bearer("", "", "")),
            // The first value counts.
            (&["Bearer realm=\"a\",realm=\"b\""], bearer("a", "", "")),
            (&["Negotiate abc=="], None),
            (&[""], None),
            (&[], None),
        ] {
            assert_eq!(of(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn what_is_broken_or_too_long_ends_it() {
        for (line, expected) in [
            (
                "Bearer realm=\"a\",service=\"never ends",
                bearer("a", "", ""),
            ),
            ("Bearer realm=\"a\" b c=d", bearer("a", "", "")),
            ("Bearer =\"a\",realm=\"b\"", bearer("", "", "")),
            ("Bearer realm", bearer("", "", "")),
            ("Bearer ,,, ,realm=\"a\"", bearer("a", "", "")),
        ] {
            assert_eq!(of(&[line]), expected, "{line}");
        }
        let long = format!("Bearer realm=\"{}\"", "a".repeat(MAX_LINE_BYTES));
        assert_eq!(of(&[&long, "Basic"]), Some(Challenge::Basic));
        let many = format!("Bearer {}realm=\"a\"", "x=y,".repeat(MAX_PARAMETERS));
        assert_eq!(of(&[&many]), bearer("", "", ""));
        let many = ["Negotiate"; MAX_LINES];
        assert_eq!(of(&[&many[..], &["Basic"]].concat()), None);
    }
}
