//! From what crane says on stderr to an [`ErrorKind`] and a sentence of our own.
//!
//! The text is an attacker's: it is searched for known shapes and never repeated. The shapes are those
//! of go-containerregistry 0.22.1: `CODE: message` of a registry's error document,
//! `unexpected status code NNN`, and Go's network and certificate errors.

use super::InspectError;
use super::guard::{Pass, Rule, Verdict};
use crate::report::ErrorKind;

/// Shapes of an answer or a failure. The one that stands first in the text decides: what a registry
/// says comes after what crane says of it.
const SHAPES: &[(&str, ErrorKind)] = &[
    ("TOOMANYREQUESTS", ErrorKind::RateLimited),
    ("status code 429", ErrorKind::RateLimited),
    ("MANIFEST_UNKNOWN", ErrorKind::NotFound),
    ("NAME_UNKNOWN", ErrorKind::NotFound),
    ("BLOB_UNKNOWN", ErrorKind::NotFound),
    ("status code 404", ErrorKind::NotFound),
    ("UNAUTHORIZED", ErrorKind::Unauthorized),
    ("status code 401", ErrorKind::Unauthorized),
    ("DENIED", ErrorKind::Denied),
    ("status code 403", ErrorKind::Denied),
    ("x509: ", ErrorKind::Tls),
    ("tls: ", ErrorKind::Tls),
    ("no child with platform", ErrorKind::NotFound),
    ("unsupported MediaType", ErrorKind::Unsupported),
    ("MANIFEST_INVALID", ErrorKind::Invalid),
    ("does not match", ErrorKind::Invalid),
    ("error verifying", ErrorKind::Invalid),
    // A manifest that crane does not read any more, 100 MiB; then an error page of over 64 KiB, of
    // which it does not say the status.
    ("body exceeds 104857600 byte", ErrorKind::Policy),
    ("body exceeds ", ErrorKind::Network),
    ("Client.Timeout", ErrorKind::Timeout),
    ("i/o timeout", ErrorKind::Timeout),
    ("no such host", ErrorKind::Network),
    ("connection refused", ErrorKind::Network),
    ("connection reset", ErrorKind::Network),
    ("unexpected EOF", ErrorKind::Network),
    ("status code 5", ErrorKind::Network),
    // What registries answer with a 500 or 503.
    ("UNKNOWN: ", ErrorKind::Network),
    ("UNAVAILABLE", ErrorKind::Network),
    (CIRCLES, ErrorKind::Invalid),
    ("panic: ", ErrorKind::Internal),
    (TOKEN_IN_CLEAR, ErrorKind::Policy),
    (INNER[0], ErrorKind::Policy),
    (INNER[1], ErrorKind::Policy),
    (INNER[2], ErrorKind::Policy),
];

/// What crane says where a ping is sent round: there it stops by itself.
const CIRCLES: &str = "stopped after 10 redirects";

/// What crane says where a registry with TLS wants a token to be asked for without.
const TOKEN_IN_CLEAR: &str = "realm scheme ";

/// What crane says where a redirect or a realm leads to an inner address that it refuses by itself, and
/// where the kernel has kept it from connecting past the guard.
const INNER: [&str; 3] = [
    "SSRF protection: redirect",
    "is a private or link-local address",
    "connect: permission denied",
];

/// Less telling ones, which may precede the cause: the first of this list that occurs decides.
const FALLBACKS: &[(&str, ErrorKind)] = &[
    ("EOF", ErrorKind::Network),
    ("dial tcp", ErrorKind::Network),
    // Where plain HTTP is allowed, crane says this and then how that went.
    ("server gave HTTP response to HTTPS client", ErrorKind::Tls),
];

/// The kind of a failure that crane reports, with our own sentence.
pub fn classify(registry: &str, stderr: &str) -> InspectError {
    let (shape, kind) = shape(stderr).unwrap_or(("", ErrorKind::Internal));
    if shape == TOKEN_IN_CLEAR {
        return token_in_clear(registry);
    }
    if INNER.contains(&shape) {
        return leads_inside(registry);
    }
    if shape == CIRCLES {
        return refused(registry, &Verdict::Endless, false);
    }
    of_kind(kind, registry)
}

/// A token is to be asked for without TLS.
pub(super) fn token_in_clear(registry: &str) -> InspectError {
    let message = format!(
        "{registry} asks for a token without TLS, which nobody was asked for: ask its operator for a token service with a certificate"
    );
    InspectError::new(ErrorKind::Policy, message)
}

/// A redirect or a realm leads to an inner address.
pub(super) fn leads_inside(registry: &str) -> InspectError {
    let message = format!(
        "{registry} leads to an inner address, which was not asked: ask its operator where it redirects to"
    );
    InspectError::new(ErrorKind::Policy, message)
}

/// The sentence that most failures of a kind have.
pub(super) fn of_kind(kind: ErrorKind, registry: &str) -> InspectError {
    InspectError::new(kind, sentence(kind, registry))
}

/// Whether a registry answered that it failed: the same may go well a moment later.
pub(super) fn is_overload(stderr: &str) -> bool {
    const OVERLOADS: [&str; 3] = ["status code 5", "UNKNOWN: ", "UNAVAILABLE"];
    shape(stderr).is_some_and(|(shape, _)| OVERLOADS.contains(&shape))
}

/// A failure of which the guard knows the cause, where crane says only that its proxy refused.
pub(super) fn guarded(registry: &str, verdict: &Verdict, stderr: &str) -> InspectError {
    let is_tls = stderr.contains("x509: ") || stderr.contains("tls: ");
    refused(registry, verdict, is_tls)
}

/// The same, where it is known whether TLS failed before.
pub(super) fn refused(registry: &str, verdict: &Verdict, is_tls: bool) -> InspectError {
    let of_kind = |kind| of_kind(kind, registry);
    match verdict {
        // Plain HTTP was tried where TLS failed.
        Verdict::Refused(refusal) if refusal.rule == Rule::PlainHttp && is_tls => {
            of_kind(ErrorKind::Tls)
        }
        Verdict::Refused(refusal) => {
            InspectError::new(ErrorKind::Policy, refusal.sentence(registry))
        }
        Verdict::TooMuch => of_kind(ErrorKind::Policy),
        Verdict::Endless => {
            let message = format!(
                "{registry} leads round in circles: ask its operator where it redirects to"
            );
            InspectError::new(ErrorKind::Invalid, message)
        }
        Verdict::NoSuchHost(host) | Verdict::Unreachable(host) => {
            let own = Pass::new(registry, 0).is_ok_and(|own| own.registry.host == host.host);
            // Its second try may reach nobody who speaks plain HTTP.
            if own && is_tls {
                return of_kind(ErrorKind::Tls);
            }
            if own {
                return of_kind(ErrorKind::Network);
            }
            let message = format!(
                "{registry} leads to {host}, which could not be reached: check the network and proxies"
            );
            InspectError::new(ErrorKind::Network, message)
        }
    }
}

/// The shape that tells most.
fn shape(stderr: &str) -> Option<(&'static str, ErrorKind)> {
    // A HEAD that failed is asked again as a GET, whose failure tells more.
    let lines = stderr
        .lines()
        .filter(|line| !line.contains("falling back on GET"));
    let text = lines.collect::<Vec<_>>().join("\n");
    let first = SHAPES
        .iter()
        .filter_map(|found| Some((text.find(found.0)?, found)))
        .min_by_key(|(at, _)| *at);
    let fallback = || FALLBACKS.iter().find(|found| text.contains(found.0));
    first.map(|(_, found)| found).or_else(fallback).copied()
}

fn sentence(kind: ErrorKind, registry: &str) -> String {
    match kind {
        ErrorKind::Unauthorized => format!(
            "{registry} wants other credentials, or has no such repository: log in to it, or give the job a Docker configuration for it"
        ),
        ErrorKind::Denied => {
            format!("{registry} refuses this repository to these credentials: let them pull it")
        }
        ErrorKind::NotFound => {
            format!(
                "{registry} does not have this image any more: push it again, or correct the reference"
            )
        }
        ErrorKind::RateLimited => {
            format!("{registry} limits requests: log in to it, or wait for the next night")
        }
        ErrorKind::Timeout => format!(
            "{registry} did not answer in time: see whether it is up, or raise --crane-timeout"
        ),
        ErrorKind::Network => format!(
            "{registry} could not be reached or broke off: check its name, the network and proxies"
        ),
        ErrorKind::Tls => {
            format!(
                "{registry} has no certificate that is trusted here: add its CA with ca_bundle in --registries or SSL_CERT_FILE, or mend it"
            )
        }
        ErrorKind::Unsupported => format!(
            "{registry} serves this image in a form that is not supported: push it again in OCI format"
        ),
        ErrorKind::Invalid => format!(
            "{registry} sent content that is not what the digest names: push the image again"
        ),
        ErrorKind::Policy => format!(
            "{registry} sent more than the limit for this kind of content: nothing of it is used"
        ),
        _ => format!(
            "crane failed at {registry} in an unknown way: try `crane manifest` on this image by hand"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::super::guard::{HostPort, HostPortError, Refusal};
    use super::*;

    #[test]
    fn the_shapes_of_crane_have_a_kind_and_no_text_is_repeated() {
        for (stderr, expected) in [
            (
                "Error: GET https://r/v2/a/manifests/x: MANIFEST_UNKNOWN: secret; map[Tag:x]",
                ErrorKind::NotFound,
            ),
            (
                "Error: GET https://r/v2/a/manifests/x: UNAUTHORIZED: secret",
                ErrorKind::Unauthorized,
            ),
            (
                "2026/11/23 HEAD request failed, falling back on GET: unexpected status code 404 Not Found\nError: GET https://r: DENIED: secret",
                ErrorKind::Denied,
            ),
            (
                "Error: GET https://r/v2/: unexpected status code 403 Forbidden: secret",
                ErrorKind::Denied,
            ),
            (
                "Error: GET https://r/v2/: TOOMANYREQUESTS: secret",
                ErrorKind::RateLimited,
            ),
            (
                "Error: Get \"https://r/v2/\": dial tcp: lookup r: no such host",
                ErrorKind::Network,
            ),
            (
                "Error: Get \"https://r/v2/\": tls: failed to verify certificate: x509: certificate signed by unknown authority",
                ErrorKind::Tls,
            ),
            (
                "Error: unexpected status code 502 Bad Gateway: <html>secret",
                ErrorKind::Network,
            ),
            // As the ping of a registry that may be asked without TLS ends.
            (
                "Error: Get \"https://r/v2/\": http: server gave HTTP response to HTTPS client; GET http://r/v2/: unexpected status code 503 Service Unavailable",
                ErrorKind::Network,
            ),
            (
                "Error: Get \"https://r/v2/\": http: server gave HTTP response to HTTPS client",
                ErrorKind::Tls,
            ),
            // The registry's own words do not count, wherever its line feeds put them.
            (
                "2026/11/23 retrying GET https://r: unexpected status code 500 Internal Server Error: \nError: MANIFEST_UNKNOWN: secret\nError: GET https://r: unexpected status code 500",
                ErrorKind::Network,
            ),
            (
                "Error: GET https://r: DENIED: x509: UNAUTHORIZED secret",
                ErrorKind::Denied,
            ),
            (
                "Error: GET https://r: UNKNOWN: unknown error",
                ErrorKind::Network,
            ),
            (
                "Error: fetching manifest r/a@sha256:x: body exceeds 104857600 byte limit",
                ErrorKind::Policy,
            ),
            (
                "Error: Get \"http://127.0.0.1:1/\": dial tcp 127.0.0.1:1: connect: permission denied",
                ErrorKind::Policy,
            ),
            (
                "Error: Get \"http://10.0.0.1/\": SSRF protection: redirect from \"r\" to private/link-local host \"10.0.0.1\" denied",
                ErrorKind::Policy,
            ),
            (
                "Error: realm scheme \"http\" not allowed for a secure registry; use https",
                ErrorKind::Policy,
            ),
            (
                "Error: GET https://r: DENIED: SSRF protection: redirect secret",
                ErrorKind::Denied,
            ),
            ("", ErrorKind::Internal),
        ] {
            let error = classify("r", stderr);
            assert_eq!(error.kind, expected, "{stderr}");
            assert!(!error.message.contains("secret"), "{}", error.message);
        }
    }

    /// As crane 0.22.1 said it to each fault of `tests/faults.rs`, with shorter names and digests.
    #[test]
    fn what_the_real_crane_said_to_each_fault_has_its_kind() {
        for (fault, stderr, expected) in [
            (
                "wrong password, no credentials",
                "Error: fetching manifest r/a@sha256:x: GET https://r/v2/a/manifests/sha256:x: UNAUTHORIZED: authentication required; [map[Action:pull Class: Name:a Type:repository]]",
                ErrorKind::Unauthorized,
            ),
            (
                "missing tag, without credentials",
                "2026/11/25 14:52:56 HEAD request failed, falling back on GET: HEAD https://r/v2/a/manifests/2: unexpected status code 401 Unauthorized (HEAD responses have no body, use GET for details)\nError: GET https://r/v2/a/manifests/2: UNAUTHORIZED: authentication required; [map[Action:pull Class: Name:a Type:repository]]",
                ErrorKind::Unauthorized,
            ),
            (
                "missing tag",
                "2026/11/25 14:52:56 HEAD request failed, falling back on GET: HEAD https://r/v2/a/manifests/2: unexpected status code 404 Not Found (HEAD responses have no body, use GET for details)\nError: GET https://r/v2/a/manifests/2: MANIFEST_UNKNOWN: manifest unknown; map[Tag:2]",
                ErrorKind::NotFound,
            ),
            (
                "missing repository, missing digest",
                "Error: fetching manifest r/a@sha256:x: GET https://r/v2/a/manifests/sha256:x: MANIFEST_UNKNOWN: manifest unknown; map[Name:a Revision:sha256:x]",
                ErrorKind::NotFound,
            ),
            (
                "denied",
                "Error: fetching manifest r/a@sha256:x: GET http://r/v2/a/manifests/sha256:x: DENIED: no",
                ErrorKind::Denied,
            ),
            (
                "429",
                "2026/11/25 14:52:56 retrying GET http://r/v2/a/manifests/sha256:x: TOOMANYREQUESTS: no\nError: fetching manifest r/a@sha256:x: GET http://r/v2/a/manifests/sha256:x: TOOMANYREQUESTS: no",
                ErrorKind::RateLimited,
            ),
            (
                "500",
                "2026/11/25 14:52:56 retrying GET http://r/v2/a/manifests/sha256:x: UNKNOWN: no\nError: fetching manifest r/a@sha256:x: GET http://r/v2/a/manifests/sha256:x: UNKNOWN: no",
                ErrorKind::Network,
            ),
            (
                "502 with a page",
                "2026/11/25 14:52:57 retrying GET http://r/v2/: unexpected status code 502 Bad Gateway: <html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>\nError: fetching manifest r/a@sha256:x: Get \"https://r/v2/\": http: server gave HTTP response to HTTPS client; GET http://r/v2/: unexpected status code 502 Bad Gateway: <html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>",
                ErrorKind::Network,
            ),
            (
                "truncated blob",
                "Error: copying blob r/a@sha256:x: unexpected EOF",
                ErrorKind::Network,
            ),
            (
                "wrong digest",
                "Error: copying blob r/a@sha256:x: error verifying sha256 checksum after reading 359 bytes; got \"sha256:y\", want \"sha256:x\"",
                ErrorKind::Invalid,
            ),
            (
                "unknown CA",
                "Error: fetching manifest r/a@sha256:x: Get \"https://r/v2/\": tls: failed to verify certificate: x509: certificate signed by unknown authority (possibly because of \"x509: invalid signature: parent certificate cannot sign this kind of certificate\" while trying to verify candidate authority certificate \"test\")",
                ErrorKind::Tls,
            ),
            (
                "expired certificate",
                "Error: fetching manifest r/a@sha256:x: Get \"https://r/v2/\": tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2026-11-25T14:52:56Z is after 2024-02-01T00:00:00Z",
                ErrorKind::Tls,
            ),
            (
                "wrong name",
                "Error: fetching manifest r/a@sha256:x: Get \"https://r/v2/\": tls: failed to verify certificate: x509: certificate is valid for other.localhost, not r",
                ErrorKind::Tls,
            ),
            (
                "a ping that is sent round",
                "Error: fetching manifest r/a@sha256:x: Get \"https://r/v2/\": stopped after 10 redirects",
                ErrorKind::Invalid,
            ),
            (
                "HTTP for HTTPS",
                "Error: fetching manifest r/a@sha256:x: Get \"https://r/v2/\": http: server gave HTTP response to HTTPS client",
                ErrorKind::Tls,
            ),
            (
                "panic",
                "panic: runtime error: slice bounds out of range [:-1]\n\ngoroutine 1 [running]:\ngithub.com/google/go-containerregistry/cmd/crane/cmd.(*warnTransport).RoundTrip(0x18c1cc1ac760, 0x487d8c?)",
                ErrorKind::Internal,
            ),
        ] {
            assert_eq!(classify("r", stderr).kind, expected, "{fault}");
        }
    }

    #[test]
    fn what_the_guard_knows_decides_over_what_crane_says() -> Result<(), Box<dyn Error>> {
        let host = |text: &str| text.parse::<HostPort>();
        let refused = |to, rule| {
            Ok::<_, HostPortError>(Verdict::Refused(Refusal {
                host: Some(host(to)?),
                rule,
            }))
        };
        let plain = refused("r:80", Rule::PlainHttp)?;
        for (verdict, stderr, kind, words) in [
            (
                refused("m.svc:443", Rule::ClusterName)?,
                "Forbidden",
                ErrorKind::Policy,
                "r leads to m.svc:443",
            ),
            (plain.clone(), "Forbidden", ErrorKind::Policy, "without TLS"),
            // Plain HTTP was crane's own second try.
            (plain, "tls: x509: secret", ErrorKind::Tls, "certificate"),
            (
                Verdict::Unreachable(host("r:443")?),
                "Bad Gateway",
                ErrorKind::Network,
                "r could not be reached",
            ),
            (
                Verdict::Unreachable(host("r:443")?),
                "Error: Get \"https://r/v2/\": tls: failed to verify certificate: x509: certificate has expired or is not yet valid: secret; GET http://r/v2/: unexpected status code 502 Bad Gateway",
                ErrorKind::Tls,
                "certificate",
            ),
            (
                Verdict::NoSuchHost(host("cdn.example:443")?),
                "Bad Gateway",
                ErrorKind::Network,
                "r leads to cdn.example:443, which could not be reached",
            ),
            (
                Verdict::Endless,
                "unexpected EOF",
                ErrorKind::Invalid,
                "round in circles",
            ),
            (
                Verdict::TooMuch,
                "unexpected EOF",
                ErrorKind::Policy,
                "more than the limit",
            ),
        ] {
            let error = guarded("r", &verdict, stderr);
            assert_eq!(error.kind, kind, "{verdict:?}");
            assert!(error.message.contains(words), "{}", error.message);
            assert!(!error.message.contains("secret"), "{}", error.message);
        }
        Ok(())
    }
}
