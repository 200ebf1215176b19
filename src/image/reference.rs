//! Image references: an allow-list grammar, and one normal form.
//!
//! A reference in a pod is its author's text. What this grammar lets through is safe in an argument
//! list; what it refuses becomes an `invalid` row that says which rule was broken. The grammar is the
//! one of the OCI distribution specification 1.1 ("Pulling manifests") and of the reference grammar
//! that container runtimes use, narrowed to host names and *canonical* addresses: `127.1`, `0x7f.1`
//! and `017700000001` are other spellings of an address that a later check would not recognise.

use std::borrow::Cow;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use super::{Digest, DigestError};

/// The registry that a reference without a host means.
const DOCKER_HUB: &str = "docker.io";

/// Repository names longer than this are refused: runtimes refuse them too (255 in the grammar that
/// they share).
const MAX_REPOSITORY_CHARS: usize = 255;

/// A repository: the registry's host with its port, and the path below it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    /// Host and port in lower case, e.g. `docker.io`, `registry.example:5000`, `[2001:db8::1]:5000`.
    pub registry: Arc<str>,
    /// The path, e.g. `library/nginx`.
    pub path: Arc<str>,
}

/// A parsed reference: what a pod's `image` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageReference {
    /// Where the image lies.
    pub repository: Repository,
    /// The tag; `latest` where the reference has neither tag nor digest.
    pub tag: Option<Arc<str>>,
    /// The digest that the reference is pinned to.
    pub digest: Option<Digest>,
}

/// Which rule of the grammar a reference breaks. The text never repeats the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing there.
    #[error("the image reference is empty")]
    Empty,
    /// The registry is not a host name or canonical address with an optional port.
    #[error("the registry is not a host name or canonical address with an optional port")]
    Registry,
    /// The path breaks the grammar of repository names.
    #[error(
        "the repository is not lower-case letters, digits and single separators between slashes, \
         255 characters at most"
    )]
    Repository,
    /// The tag breaks the grammar of tags.
    #[error("the tag is not 1 to 128 letters, digits, dots, dashes and underscores")]
    Tag,
    /// The digest cannot be read.
    #[error("the digest cannot be used: {0}")]
    Digest(DigestError),
}

/// A reference for a report. One that is none may hold a password, as URLs do: `user:password@host/a`.
pub fn without_user_info(text: &str) -> Cow<'_, str> {
    const DIGESTS: [&str; 3] = ["sha256:", "sha512:", "md5:"];
    match text.rsplit_once('@') {
        Some((before, rest))
            if !DIGESTS.iter().any(|name| rest.starts_with(name))
                && (before.contains(':') || (!before.is_empty() && rest.contains('/'))) =>
        {
            format!("***@{rest}").into()
        }
        _ => text.into(),
    }
}

impl FromStr for ImageReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(ReferenceError::Digest)?)),
            None => (text, None),
        };
        let (registry, rest) = split_registry(rest)?;
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) => (path, Some(parse_tag(tag)?)),
            None => (rest, None),
        };
        let path = if &*registry == DOCKER_HUB && !path.contains('/') {
            format!("library/{path}")
        } else {
            path.to_owned()
        };
        if !is_repository_path(&path) || registry.len() + 1 + path.len() > MAX_REPOSITORY_CHARS {
            return Err(ReferenceError::Repository);
        }
        let tag = match (tag, digest) {
            (None, None) => Some(Arc::from("latest")),
            (tag, _) => tag,
        };
        Ok(Self {
            repository: Repository {
                registry,
                path: path.into(),
            },
            tag,
            digest,
        })
    }
}

impl Repository {
    /// `host/path@digest`, the only form in which content is asked for.
    pub fn at_digest(&self, digest: &Digest) -> String {
        format!("{self}@{digest}")
    }

    /// `host/path:tag`, for resolving a tag.
    pub fn at_tag(&self, tag: &str) -> String {
        format!("{self}:{tag}")
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

/// Splits off the registry by the rule that runtimes share: the first component is a host if it has a
/// dot or a colon or is `localhost`; otherwise all of it is a path on Docker Hub.
fn split_registry(text: &str) -> Result<(Arc<str>, &str), ReferenceError> {
    let host_and_rest = text
        .split_once('/')
        .filter(|(first, _)| first.contains(['.', ':']) || first.eq_ignore_ascii_case("localhost"));
    let Some((authority, rest)) = host_and_rest else {
        return Ok((DOCKER_HUB.into(), text));
    };
    let authority = authority.to_ascii_lowercase();
    if !is_authority(&authority) {
        return Err(ReferenceError::Registry);
    }
    // One name for each: settings, limits and refusals of a registry are by name.
    let authority = without_default_port(&authority);
    let registry = match authority {
        "index.docker.io" => DOCKER_HUB,
        // Nothing is added to its paths, and without a slash there is no repository.
        "registry-1.docker.io" if rest.contains('/') => DOCKER_HUB,
        other => other,
    };
    Ok((registry.into(), rest))
}

/// A host without the port that it has anyway, unless only the port makes it one.
pub(crate) fn without_default_port(authority: &str) -> &str {
    let is_host = |host: &&str| host.contains(['.', ':']) || *host == "localhost";
    let host = authority.strip_suffix(":443").filter(is_host);
    host.unwrap_or(authority)
}

fn is_authority(authority: &str) -> bool {
    if let Some(rest) = authority.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else {
            return false;
        };
        let canonical = address
            .parse::<Ipv6Addr>()
            .is_ok_and(|parsed| parsed.to_string() == address);
        return canonical && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    match authority.split_once(':') {
        Some((host, port)) => is_host(host) && is_port(port),
        None => is_host(authority),
    }
}

fn is_port(port: &str) -> bool {
    !port.starts_with(['0', '+']) && port.parse::<u16>().is_ok()
}

/// A DNS name (RFC 1123) or a canonical IPv4 address. A name whose last label is a number, also a
/// hexadecimal one, is an address to some resolvers (WHATWG URL, "ends in a number").
fn is_host(host: &str) -> bool {
    if host.parse::<Ipv4Addr>().is_ok() {
        return true;
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    let number = last.strip_prefix("0x").unwrap_or(last);
    let ends_in_number = !number.is_empty()
        && (number.bytes().all(|b| b.is_ascii_digit())
            || (number.len() < last.len() && number.bytes().all(|b| b.is_ascii_hexdigit())));
    host.len() <= 253 && !ends_in_number && last != "0x" && host.split('.').all(is_label)
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` between slashes.
fn is_repository_path(path: &str) -> bool {
    path.split('/').all(|component| {
        let mut separator = String::new();
        let mut after_word = false;
        for character in component.chars() {
            match character {
                'a'..='z' | '0'..='9' => {
                    let joined = separator.is_empty()
                        || matches!(separator.as_str(), "." | "_" | "__")
                        || separator.bytes().all(|b| b == b'-');
                    if !joined {
                        return false;
                    }
                    separator.clear();
                    after_word = true;
                }
                '.' | '_' | '-' if after_word => separator.push(character),
                _ => return false,
            }
        }
        after_word && separator.is_empty()
    })
}

fn parse_tag(tag: &str) -> Result<Arc<str>, ReferenceError> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let valid = (1..=128).contains(&tag.len())
        && tag
            .bytes()
            .enumerate()
            .all(|(at, b)| word(b) || (at > 0 && matches!(b, b'.' | b'-')));
    if valid {
        Ok(tag.into())
    } else {
        Err(ReferenceError::Tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(text: &str) -> String {
        match text.parse::<ImageReference>() {
            Ok(image) => {
                let tag = image.tag.map_or_else(String::new, |tag| format!(" :{tag}"));
                let digest = image
                    .digest
                    .map_or_else(String::new, |d| format!(" @{}", &d.hex()[..4]));
                format!(
                    "{} {}{tag}{digest}",
                    image.repository.registry, image.repository.path
                )
            }
            Err(error) => format!("{error:?}"),
        }
    }

    #[test]
    fn references_have_one_normal_form() {
        let digest = Digest::of(b"");
        for (text, expected) in [
            ("nginx", "docker.io library/nginx :latest"),
            ("nginx:1.27", "docker.io library/nginx :1.27"),
            ("grafana/grafana", "docker.io grafana/grafana :latest"),
            ("docker.io/nginx", "docker.io library/nginx :latest"),
            (
                "index.docker.io/library/nginx",
                "docker.io library/nginx :latest",
            ),
            (
                "registry-1.docker.io/nginx",
                "registry-1.docker.io nginx :latest",
            ),
            (
                "registry-1.docker.io/library/nginx",
                "docker.io library/nginx :latest",
            ),
            (
                "index.docker.io:443/nginx",
                "docker.io library/nginx :latest",
            ),
            ("a.example:443/b", "a.example b :latest"),
            ("[2001:db8::1]:443/b", "[2001:db8::1] b :latest"),
            // Without its port it would be a path on Docker Hub.
            ("registry:443/b", "registry:443 b :latest"),
            ("GHCR.io/a/b:V1", "ghcr.io a/b :V1"),
            ("localhost/a", "localhost a :latest"),
            ("localhost:5000/a:b", "localhost:5000 a :b"),
            ("registry:5000/team/app", "registry:5000 team/app :latest"),
            ("10.0.0.1:5000/a", "10.0.0.1:5000 a :latest"),
            ("[2001:db8::1]:5000/a:b", "[2001:db8::1]:5000 a :b"),
            ("[::1]/a", "[::1] a :latest"),
            (
                "a.example/b__c/d-----e.f_g",
                "a.example b__c/d-----e.f_g :latest",
            ),
            ("team/app", "docker.io team/app :latest"),
        ] {
            assert_eq!(normal(text), expected, "{text}");
        }
        assert_eq!(
            normal(&format!("nginx@{digest}")),
            "docker.io library/nginx @e3b0"
        );
        assert_eq!(
            normal(&format!("q.example/a:1@{digest}")),
            "q.example a :1 @e3b0"
        );
    }

    #[test]
    fn what_the_grammar_does_not_know_is_refused() {
        use ReferenceError::{Empty, Registry, Repository, Tag};
        for (text, expected) in [
            ("", Empty),
            ("--insecure", Repository),
            ("-v", Repository),
            ("@", ReferenceError::Digest(DigestError::Algorithm)),
            (
                "a@sha512:00",
                ReferenceError::Digest(DigestError::Algorithm),
            ),
            ("a@sha256:00", ReferenceError::Digest(DigestError::Hex)),
            ("host.example/../../a:b", Repository),
            ("host.example//a", Repository),
            ("host.example/a/", Repository),
            ("host.example/A", Repository),
            ("host.example/a..b", Repository),
            ("host.example/a___b", Repository),
            ("host.example/a_.b", Repository),
            ("host.example/-a", Repository),
            ("host.example/a b", Repository),
            ("host.example/a\n", Repository),
            ("host.example/a%2f", Repository),
            ("host.example/é", Repository),
            ("a:", Tag),
            ("a:-x", Tag),
            ("a:b:c", Tag),
            ("a:x y", Tag),
            (
                "user:pass@host.example/a",
                ReferenceError::Digest(DigestError::Algorithm),
            ),
            ("http://host.example/a", Registry),
            ("host.example:/a", Registry),
            ("host.example:0/a", Registry),
            ("host.example:+5/a", Registry),
            ("host.example:65536/a", Registry),
            ("host..example/a", Registry),
            (".example/a", Registry),
            ("-host.example/a", Registry),
            ("host_.example/a", Registry),
            ("127.1/a", Registry),
            ("0x7f.1/a", Registry),
            ("1.2.3.0x4/a", Registry),
            ("127.0.0.01/a", Registry),
            ("2130706433:80/a", Registry),
            ("[::ffff:7f00:1]/a", Registry),
            ("[0:0:0:0:0:0:0:1]/a", Registry),
            ("[fe80::1%25eth0]/a", Registry),
            ("[::1/a", Registry),
        ] {
            assert_eq!(text.parse::<ImageReference>(), Err(expected), "{text}");
        }
        let long = format!("host.example/{}", "a".repeat(250));
        assert_eq!(long.parse::<ImageReference>(), Err(Repository));
        let tag = format!("a:{}", "x".repeat(129));
        assert_eq!(tag.parse::<ImageReference>(), Err(Tag));
    }

    #[test]
    fn a_password_in_a_reference_is_not_shown() {
        for (text, expected) in [
            ("user:pass@host.example/a:1", "***@host.example/a:1"),
            (
                "https://user:pass@host.example:5000/a",
                "***@host.example:5000/a",
            ),
            ("user:p@ss@host.example", "***@host.example"),
            ("user:p/w@host.example/a", "***@host.example/a"),
            ("token@host.example/a", "***@host.example/a"),
            ("host.example/a:1@sha256:00", "host.example/a:1@sha256:00"),
            ("nginx@sha512:00", "nginx@sha512:00"),
            ("host.example/a@", "host.example/a@"),
            ("@SUM(A1)", "@SUM(A1)"),
            ("host.example:5000/a:1", "host.example:5000/a:1"),
        ] {
            assert_eq!(without_user_info(text), expected, "{text}");
        }
    }
}
