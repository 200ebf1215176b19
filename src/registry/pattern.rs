//! Patterns of registries: the keys of a Docker configuration as the kubelet reads them.
//!
//! Pure. The rules are those of `pkg/credentialprovider/keyring.go` in Kubernetes 1.36: a glob for each
//! label of the host, the same number of labels, the same port, and a path that is a prefix *of the
//! text*, so that `host/team` is also for `host/team-a`. A scheme and `/v1/` or `/v2/` say nothing. Two
//! things differ, both so that nothing is offered by accident: what is no host with a path (a user, a
//! query, an escape) is refused, not cut off; and an IPv6 address is compared as it stands.

use super::InspectError;
use crate::image::Repository;
use crate::report::ErrorKind;

/// Docker Hub's hosts: `docker.io` in references, `index.docker.io` in configurations,
/// `registry-1.docker.io` on the wire.
const DOCKER_HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// Longer patterns are refused: host names end at 253, repository paths at 255.
const MAX_PATTERN_BYTES: usize = 1_024;

/// Which registries, and which repositories of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryPattern {
    host: Host,
    port: Option<String>,
    /// Empty, or begins with a slash.
    path: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    /// Globs, label by label.
    Labels(Vec<String>),
    /// An IPv6 address without its brackets.
    Address(String),
}

/// A text that is no pattern. It is not repeated: in a wrong place it may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not a host with an optional port and path, such as *.example.com:5000/team")]
pub struct PatternError;

impl std::str::FromStr for RegistryPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        Self::parse(text)
    }
}

impl RegistryPattern {
    /// Reads a key of a Docker configuration: `https://index.docker.io/v1/`, `*.example.com/team`.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let text = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"))
            .unwrap_or(text);
        let is_plain = |b: u8| b.is_ascii_graphic() && !b"?#@%\\\"<>^`{|}".contains(&b);
        if text.len() > MAX_PATTERN_BYTES || !text.bytes().all(is_plain) {
            return Err(PatternError);
        }
        let (authority, path) = text.split_at(text.find('/').unwrap_or(text.len()));
        let path = match path {
            "/" => "",
            path if path.starts_with("/v1/") || path.starts_with("/v2/") => &path[3..],
            path => path,
        };
        let path = if path == "/" { "" } else { path };
        // As references have it.
        let authority = crate::image::without_default_port(authority);
        let (host, port) = split_port(authority).ok_or(PatternError)?;
        let is_port = |port: &str| {
            !port.starts_with(['0', '+']) && port.parse::<u16>().is_ok_and(|port| port > 0)
        };
        if !port.is_none_or(is_port) {
            return Err(PatternError);
        }
        let host = host.to_ascii_lowercase();
        let host = match host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            Some(address) if address.parse::<std::net::Ipv6Addr>().is_ok() => {
                Host::Address(address.into())
            }
            Some(_) => return Err(PatternError),
            None => {
                let labels: Vec<String> = host.split('.').map(Into::into).collect();
                let is_character =
                    |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'*');
                let is_label =
                    |label: &String| !label.is_empty() && label.bytes().all(is_character);
                if !labels.iter().all(is_label) {
                    return Err(PatternError);
                }
                Host::Labels(labels)
            }
        };
        Ok(Self {
            host,
            port: port.map(Into::into),
            path: path.into(),
        })
    }

    /// Whether it is for a repository.
    pub fn matches(&self, repository: &Repository) -> bool {
        let path = &self.path;
        let is_below = match path.strip_prefix('/') {
            Some(path) => repository.path.starts_with(path),
            None => true,
        };
        is_below && self.matches_host(&repository.registry)
    }

    /// Whether it is for a repository, its path being one of whole components.
    fn matches_below(&self, repository: &Repository) -> bool {
        let is_below = match self.path.trim_end_matches('/').strip_prefix('/') {
            Some(path) => repository
                .path
                .strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            None => true,
        };
        is_below && self.matches_host(&repository.registry)
    }

    /// Whether it is for a host with its port, whatever the path.
    pub fn matches_host(&self, registry: &str) -> bool {
        let Some((host, port)) = split_port(registry) else {
            return false;
        };
        if self.port.as_deref() != port {
            return false;
        }
        match &self.host {
            Host::Address(address) => host
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'))
                .is_some_and(|host| host == address),
            Host::Labels(globs) => {
                let labels: Vec<_> = host.split('.').collect();
                !host.starts_with('[')
                    && labels.len() == globs.len()
                    && globs
                        .iter()
                        .zip(labels)
                        .all(|(glob, label)| matches_label(glob, label))
            }
        }
    }

    /// Whether it is for all of Docker Hub, by one of its names.
    pub fn is_docker_hub(&self) -> bool {
        let is_name = |name: &str| match &self.host {
            Host::Labels(labels) => labels.iter().map(String::as_str).eq(name.split('.')),
            Host::Address(_) => false,
        };
        self.port.is_none() && self.path.is_empty() && DOCKER_HUB.iter().any(|name| is_name(name))
    }

    /// Whether it has a path.
    pub fn has_path(&self) -> bool {
        !self.path.is_empty()
    }

    /// What the kubelet sorts by, backwards: of two for one host, the longer path comes first.
    pub(super) fn rank(&self) -> String {
        let host = match &self.host {
            Host::Labels(labels) => labels.join("."),
            Host::Address(address) => format!("[{address}]"),
        };
        let port = self
            .port
            .as_ref()
            .map_or_else(String::new, |port| format!(":{port}"));
        format!("{host}{port}{}", self.path)
    }
}

/// Which registries a run may ask: `--allow-registry` and `--deny-registry`.
#[derive(Debug, Clone, Default)]
pub struct AllowedRegistries {
    /// Nothing but these; all if there are none.
    pub allow: Vec<RegistryPattern>,
    /// None of these, whatever else is said.
    pub deny: Vec<RegistryPattern>,
}

impl AllowedRegistries {
    /// Whether a repository may be asked for; if not, what its row says.
    pub fn check(&self, repository: &Repository) -> Result<(), InspectError> {
        let is_for = |pattern: &RegistryPattern| {
            let is_hub = pattern.is_docker_hub() && is_docker_hub(&repository.registry);
            is_hub || pattern.matches_below(repository)
        };
        let by = if self.deny.iter().any(is_for) {
            "is refused by --deny-registry"
        } else if self.allow.is_empty() || self.allow.iter().any(is_for) {
            return Ok(());
        } else {
            "is none that --allow-registry names"
        };
        let message = format!("{} {by}: it was not asked", repository.registry);
        Err(InspectError::new(ErrorKind::Policy, message))
    }
}

/// Whether a registry is Docker Hub.
pub fn is_docker_hub(registry: &str) -> bool {
    DOCKER_HUB.contains(&registry)
}

/// Splits `host:port`; the host of an IPv6 address keeps its brackets.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if authority.starts_with('[') {
        let end = authority.find(']')? + 1;
        let (host, rest) = authority.split_at(end);
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    match authority.split_once(':') {
        Some((host, port)) => Some((host, Some(port))),
        None => Some((authority, None)),
    }
}

/// `*` stands for any text within a label, also for none.
pub(super) fn matches_label(glob: &str, label: &str) -> bool {
    let mut pieces = glob.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = label.strip_prefix(first) else {
        return false;
    };
    let mut pieces: Vec<_> = pieces.collect();
    let Some(last) = pieces.pop() else {
        return rest.is_empty();
    };
    for piece in pieces {
        let Some(at) = rest.find(piece) else {
            return false;
        };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(text: &str) -> Repository {
        let (registry, path) = text.split_once('/').unwrap_or((text, ""));
        Repository {
            registry: registry.into(),
            path: path.into(),
        }
    }

    fn matches(pattern: &str, target: &str) -> bool {
        RegistryPattern::parse(pattern).is_ok_and(|pattern| pattern.matches(&repository(target)))
    }

    /// `TestURLsMatch`, `TestDockerKeyringForGlob`, `TestKeyringMiss`, `TestDockerKeyringLookup` and
    /// `TestIssue3797` in Kubernetes 1.36, `pkg/credentialprovider/keyring_test.go`; the last seven are
    /// of the documentation, "Images", "Interpretation of config.json".
    #[test]
    fn the_kubelets_own_examples_come_out_as_they_do_there() {
        for (pattern, target, expected) in [
            ("*.kubernetes.io", "prefix.kubernetes.io", true),
            ("prefix.*.io", "prefix.kubernetes.io", true),
            ("prefix.kubernetes.*", "prefix.kubernetes.io", true),
            ("*-good.kubernetes.io", "prefix-good.kubernetes.io", true),
            ("*.kubernetes.io/blah", "prefix.kubernetes.io/blah", true),
            ("prefix.*.io/foo", "prefix.kubernetes.io/foo/bar", true),
            (
                "*.kubernetes.io:1111/blah",
                "prefix.kubernetes.io:1111/blah",
                true,
            ),
            (
                "prefix.*.io:1111/foo",
                "prefix.kubernetes.io:1111/foo/bar",
                true,
            ),
            ("*.kubernetes.io", "kubernetes.io", false),
            ("*.*.kubernetes.io", "prefix.kubernetes.io", false),
            ("*.*.kubernetes.io", "kubernetes.io", false),
            ("*kubernetes.io", "a.kubernetes.io", false),
            ("*kubernetes.io", "kubernetes.io", true),
            ("*.*.*.kubernetes.io", "a.b.c.kubernetes.io", true),
            ("kubernetes.io", "kubernetes.com", false),
            ("k*.io", "quay.io", false),
            (
                "*.kubernetes.io:1234/blah",
                "prefix.kubernetes.io:1111/blah",
                false,
            ),
            (
                "prefix.*.io/foo",
                "prefix.kubernetes.io:1111/foo/bar",
                false,
            ),
            (
                "https://hello.kubernetes.io",
                "hello.kubernetes.io/foo/bar",
                true,
            ),
            ("https://*.docker.io", "prefix.docker.io/foo/bar", true),
            ("https://prefix.docker.*", "prefix.docker.io/foo/bar", true),
            (
                "https://*.docker.io/path",
                "prefix.docker.io/path/foo/bar",
                true,
            ),
            (
                "https://prefix.*.io/path",
                "prefix.docker.io/path/subpath/foo/bar",
                true,
            ),
            (
                "https://*.docker.io:8888",
                "prefix.docker.io:8888/foo/bar",
                true,
            ),
            (
                "https://prefix.docker.*:8888",
                "prefix.docker.io:8888/foo/bar",
                true,
            ),
            (
                "https://*.docker.io/path:1111",
                "prefix.docker.io/path:1111/foo/bar",
                true,
            ),
            (
                "https://*.docker.io/v1/",
                "prefix.docker.io/path:1111/foo/bar",
                true,
            ),
            (
                "https://*.docker.io/v2/",
                "prefix.docker.io/path:1111/foo/bar",
                true,
            ),
            (
                "prefix.docker.io:1111",
                "prefix.docker.io:1111/path/foo/bar",
                true,
            ),
            (
                "https://hello.kubernetes.io",
                "world.mesos.org/foo/bar",
                false,
            ),
            ("https://*.docker.com", "prefix.docker.io/foo/bar", false),
            ("https://suffix.*.io", "prefix.docker.io/foo/bar", false),
            (
                "https://prefix.docker.c*",
                "prefix.docker.io/foo/bar",
                false,
            ),
            (
                "https://prefix.*.io/path:1111",
                "prefix.docker.io/path/subpath:1111/foo/bar",
                false,
            ),
            ("bar.example.com/pong", "bar.example.com/pongz", true),
            ("bar.example.com/pong", "bar.example.com/ping", false),
            ("bar.example.com", "example.com", false),
            ("https://quay.io/v1/", "quay.io/foo/bar", true),
            (
                "my-registry.example/images",
                "my-registry.example/images",
                true,
            ),
            (
                "my-registry.example/images",
                "my-registry.example/images/my-image",
                true,
            ),
            (
                "my-registry.example/images",
                "my-registry.example/images/another-image",
                true,
            ),
            (
                "*.my-registry.example/images",
                "sub.my-registry.example/images/my-image",
                true,
            ),
            (
                "*.my-registry.example/images",
                "a.sub.my-registry.example/images/my-image",
                false,
            ),
            (
                "*.my-registry.example/images",
                "a.b.sub.my-registry.example/images/my-image",
                false,
            ),
            (
                "my-registry.example/images",
                "sub.my-registry.example/images/my-image",
                false,
            ),
        ] {
            assert_eq!(matches(pattern, target), expected, "{pattern} for {target}");
        }
    }

    #[test]
    fn addresses_ports_and_letters_are_compared_as_they_stand() {
        for (pattern, target, expected) in [
            ("10.0.0.1:5000", "10.0.0.1:5000/a", true),
            ("10.0.0.1", "10.0.0.1:5000/a", false),
            ("host.example:443", "host.example/a", true),
            ("host:443", "host/a", false),
            ("[2001:db8::1]:5000", "[2001:db8::1]:5000/a", true),
            ("[2001:db8::1]", "[2001:db8::1]/a", true),
            ("[2001:db8::1]", "[2001:db8::1]:5000/a", false),
            ("*", "[2001:db8::1]/a", false),
            ("HOST.example", "host.example/a", true),
            ("a*b*c.example", "abbc.example/x", true),
            ("a*b*b*c.example", "abc.example/x", false),
            ("ab*ba.example", "aba.example/x", false),
            ("*", "host/a", true),
            ("*", "host.example/a", false),
        ] {
            assert_eq!(matches(pattern, target), expected, "{pattern} for {target}");
        }
    }

    #[test]
    fn what_is_no_host_with_a_path_is_no_pattern() {
        let long = format!("host.example/{}", "a".repeat(MAX_PATTERN_BYTES));
        for text in [
            "",
            "/",
            "https://",
            "https:///path",
            "http://https://host.example",
            "user@host.example",
            "https://user:hunter2@host.example/",
            "host.example?x",
            "host.example#x",
            "host.example/%2e",
            "host.example\\x",
            "host .example",
            "host.example\n",
            "host..example",
            ".example",
            "host.example.",
            "host.example:",
            "host.example:0",
            "host.example:x",
            "host.example:99999",
            "host.example:*",
            "[::1",
            "[x]",
            "[::1]x",
            "[a-z].example",
            "höst.example",
            &long,
        ] {
            assert_eq!(RegistryPattern::parse(text), Err(PatternError), "{text}");
        }
    }

    #[test]
    fn docker_hub_is_known_by_its_names_only() {
        for (text, expected) in [
            ("https://index.docker.io/v1/", true),
            ("docker.io", true),
            ("registry-1.docker.io", true),
            ("index.docker.io/library", false),
            ("docker.io:5000", false),
            ("*.docker.io", false),
            ("docker.io.example", false),
        ] {
            let pattern = RegistryPattern::parse(text);
            assert_eq!(
                pattern.map(|pattern| pattern.is_docker_hub()),
                Ok(expected),
                "{text}"
            );
        }
    }
}
