//! Where a request goes: a URL whose host the guard can judge. Pure.

use http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::registry::guard::HostPort;

/// A URL's bytes at the most; those of stores with a signature have 2 KiB.
const MAX_BYTES: usize = 16 << 10;

/// What a value in a query does not hold as it is.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A URL of http or https.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) uri: Uri,
    pub(super) host: HostPort,
    /// Whether it is spoken to without TLS.
    pub(super) plain: bool,
}

impl Target {
    /// Reads a whole URL; none if it is no such one, or has a user's name in it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_BYTES {
            return None;
        }
        let text = text.split('#').next().unwrap_or_default();
        Self::of(text.parse().ok()?)
    }

    /// The target of a URL.
    pub(super) fn of(uri: Uri) -> Option<Self> {
        let (plain, port) = match uri.scheme_str() {
            Some("https") => (false, 443),
            Some("http") => (true, 80),
            _ => return None,
        };
        let host = HostPort::parse(uri.authority()?.as_str(), Some(port)).ok()?;
        Some(Self { uri, host, plain })
    }

    /// Another path on the same server.
    pub(super) fn with_path(&self, path: &str) -> Option<Self> {
        let authority = self.uri.authority()?;
        let scheme = self.uri.scheme_str()?;
        Self::parse(&format!("{scheme}://{authority}{path}"))
    }

    /// Where a redirect leads.
    pub(super) fn follow(&self, location: &str) -> Option<Self> {
        let location = location.split('#').next().unwrap_or_default();
        let path = self.uri.path();
        let has_scheme = location
            .split(['/', '?'])
            .next()
            .is_some_and(|start| start.contains(':'));
        if has_scheme {
            Self::parse(location)
        } else if location.starts_with("//") {
            Self::parse(&format!("{}:{location}", self.uri.scheme_str()?))
        } else if location.starts_with('/') {
            self.with_path(location)
        } else if location.is_empty() || location.starts_with('?') {
            self.with_path(&format!("{path}{location}"))
        } else {
            let folder = path.rfind('/').map_or("/", |end| &path[..=end]);
            self.with_path(&format!("{folder}{location}"))
        }
    }

    /// With more in its query.
    pub(super) fn with_query(&self, more: &str) -> Option<Self> {
        let join = if self.uri.query().is_some() { '&' } else { '?' };
        let path = if self.uri.path().is_empty() { "/" } else { "" };
        Self::parse(&format!("{}{path}{join}{more}", self.uri))
    }

    /// Whether a credential for one is for the other.
    pub(super) fn is_same_server(&self, other: &Self) -> bool {
        self.host == other.host && self.plain == other.plain
    }
}

/// `name=value` for each, as a query or a form holds them.
pub(super) fn form<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let pairs = pairs.into_iter();
    let pairs = pairs.map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, QUERY)));
    pairs.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_where_they_say_and_to_nothing_that_is_no_host() {
        let base = Target::parse("https://r.example:5000/v2/a/blobs/x?q=1");
        let follow = |location: &str| {
            let target = base.as_ref()?.follow(location)?;
            Some(format!("{} {}", target.host, target.uri))
        };
        for (location, expected) in [
            (
                "https://cdn.example/b?sig=%2F",
                Some("cdn.example:443 https://cdn.example/b?sig=%2F"),
            ),
            (
                "HTTP://CDN.example:81/",
                Some("cdn.example:81 http://CDN.example:81/"),
            ),
            (
                "//cdn.example/b",
                Some("cdn.example:443 https://cdn.example/b"),
            ),
            ("/b#part", Some("r.example:5000 https://r.example:5000/b")),
            (
                "b/c",
                Some("r.example:5000 https://r.example:5000/v2/a/blobs/b/c"),
            ),
            (
                "?p=2",
                Some("r.example:5000 https://r.example:5000/v2/a/blobs/x?p=2"),
            ),
            (
                "b?u=http://x/",
                Some("r.example:5000 https://r.example:5000/v2/a/blobs/b?u=http://x/"),
            ),
            (
                "https://[::1]:5000/",
                Some("[::1]:5000 https://[::1]:5000/"),
            ),
            // Another spelling of an address, a user's name, another scheme, no host.
            ("https://2130706433/", None),
            ("https://127.1/", None),
            ("https://user:word@r.example/", None),
            ("https://r.example@evil.example/", None),
            ("ftp://r.example/", None),
            ("file:///etc/passwd", None),
            ("javascript:alert(1)", None),
            ("https:///x", None),
            ("https://a b/", None),
        ] {
            assert_eq!(follow(location).as_deref(), expected, "{location}");
        }
        assert_eq!(follow(&format!("/{}", "a".repeat(MAX_BYTES))), None);
    }

    #[test]
    fn queries_hold_any_value() {
        let with = |base: &str, more: &str| {
            let target = Target::parse(base)?.with_query(more)?;
            Some(target.uri.to_string())
        };
        let more = form([("service", "a&b=c d"), ("scope", "repository:a/b:pull")]);
        assert_eq!(
            more,
            "service=a%26b%3Dc%20d&scope=repository%3Aa%2Fb%3Apull"
        );
        assert_eq!(with("https://a", "x=1").as_deref(), Some("https://a/?x=1"));
        assert_eq!(
            with("https://a/t?y=2", "x=1").as_deref(),
            Some("https://a/t?y=2&x=1")
        );
    }

    #[test]
    fn a_server_is_its_host_port_and_whether_it_has_tls() {
        let is_same = |one: &str, other: &str| {
            let (one, other) = (Target::parse(one), Target::parse(other));
            one.zip(other)
                .is_some_and(|(one, other)| one.is_same_server(&other))
        };
        assert!(is_same("https://a/x", "https://A:443/y"));
        assert!(!is_same("https://a/", "http://a:443/"));
        assert!(!is_same("https://a/", "https://a:444/"));
        assert!(!is_same("https://a/", "https://b/"));
    }
}
