//! Platforms, and which manifest of an index a node of a platform runs.

use std::cmp::Reverse;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Operating system and architecture in Go's names, as OCI and Kubernetes use them.
///
/// Written as `os/architecture[/variant][:os.version]`, e.g. `linux/arm64`, `windows/amd64:10.0.20348.2700`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    /// `linux`, `windows`, …
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// The CPU variant (`v8`), which nodes do not report.
    pub variant: Option<String>,
    /// The Windows build of a node's kernel, `10.0.20348.2700`.
    pub os_version: Option<String>,
}

/// A text that names no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a platform: write it as os/architecture[/variant], e.g. linux/arm64")]
pub struct PlatformError;

impl Platform {
    /// A platform without variant and version.
    pub fn new(os: &str, architecture: &str) -> Self {
        Self {
            os: os.into(),
            architecture: architecture.into(),
            variant: None,
            os_version: None,
        }
    }

    /// How well a node of this platform is served by `offered`: smaller is better, `None` not at all.
    ///
    /// Nodes do not report a variant, so the one that every node of the architecture can run comes
    /// first: none or `v8` for arm64, none or `v1` for amd64; for arm the newest, as containerd
    /// prefers on the ARMv7 machines that Kubernetes supports. Windows nodes run the image of their
    /// own build, else the newest older one; of one build the newest revision, as containerd does.
    /// Last comes an image that names no build.
    pub fn rank(&self, offered: &Self) -> Option<Rank> {
        if self.os != offered.os || self.architecture != offered.architecture {
            return None;
        }
        let variant = offered.variant.as_deref().map_or(0, variant_number);
        let variant_rank = match (&self.variant, &offered.variant) {
            (Some(wanted), Some(offered)) if wanted == offered => 0,
            (Some(_), Some(_)) => return None,
            (Some(_), None) => 1,
            (None, _) if self.architecture == "arm" => 100_u64.saturating_sub(variant),
            (None, _) if self.architecture == "arm64" && variant == 8 => 0,
            (None, _) if self.architecture == "amd64" && variant == 1 => 0,
            (None, _) => variant,
        };
        let builds_behind = match (version_field(self, 2), version_field(offered, 2)) {
            (Some(node), Some(image)) => node.checked_sub(image)?,
            (Some(_), None) => u64::MAX,
            (None, _) => 0,
        };
        Some(Rank {
            builds_behind,
            // Of nodes whose build is not known, the first that is offered runs.
            revision: version_field(self, 2).map(|_| Reverse(version_field(offered, 3))),
            variant: variant_rank,
        })
    }
}

/// How well a node is served: smaller is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    builds_behind: u64,
    revision: Option<Reverse<Option<u64>>>,
    variant: u64,
}

/// `v8` → 8; a variant of another form ranks behind all numbered ones.
fn variant_number(variant: &str) -> u64 {
    variant
        .strip_prefix('v')
        .and_then(|number| number.parse().ok())
        .unwrap_or(99)
}

/// A number of a Windows version `10.0.<build>.<revision>`, by its place.
fn version_field(platform: &Platform, place: usize) -> Option<u64> {
    platform
        .os_version
        .as_deref()?
        .split('.')
        .nth(place)?
        .parse::<u32>()
        .ok()
        .map(u64::from)
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if let Some(variant) = &self.variant {
            write!(f, "/{variant}")?;
        }
        if let Some(version) = &self.os_version {
            write!(f, ":{version}")?;
        }
        Ok(())
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let (platform, os_version) = match text.split_once(':') {
            Some((platform, version)) => (platform, Some(version)),
            None => (text, None),
        };
        let words: Vec<_> = platform.split('/').collect();
        let is_word = |word: &str| {
            (1..=64).contains(&word.len())
                && word
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        };
        let all_words = words.iter().copied().chain(os_version).all(is_word);
        match words[..] {
            [os, architecture] if all_words => Ok(Self {
                os_version: os_version.map(Into::into),
                ..Self::new(os, architecture)
            }),
            [os, architecture, variant] if all_words => Ok(Self {
                variant: Some(variant.into()),
                os_version: os_version.map(Into::into),
                ..Self::new(os, architecture)
            }),
            _ => Err(PlatformError),
        }
    }
}

impl Serialize for Platform {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Platform {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Platform {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Platform".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "os/architecture[/variant][:os.version]",
            "pattern": "^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+){1,2}(:[A-Za-z0-9._-]+)?$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best<'a>(node: &str, offered: &[&'a str]) -> Option<&'a str> {
        let node: Platform = node.parse().ok()?;
        let rank = |text: &&str| text.parse().ok().and_then(|offered| node.rank(&offered));
        offered
            .iter()
            .copied()
            .filter(|text| rank(text).is_some())
            .min_by_key(rank)
    }

    #[test]
    fn a_node_runs_the_manifest_of_its_platform() {
        for (node, offered, expected) in [
            (
                "linux/amd64",
                &["linux/arm64", "linux/amd64"][..],
                Some("linux/amd64"),
            ),
            (
                "linux/amd64",
                &["linux/amd64/v3", "linux/amd64"],
                Some("linux/amd64"),
            ),
            (
                "linux/amd64",
                &["linux/amd64/v3", "linux/amd64/v2"],
                Some("linux/amd64/v2"),
            ),
            (
                "linux/arm64",
                &["linux/arm/v7", "linux/arm64/v8"],
                Some("linux/arm64/v8"),
            ),
            (
                "linux/arm64",
                &["linux/arm64/v9", "linux/arm64"],
                Some("linux/arm64"),
            ),
            (
                "linux/arm",
                &["linux/arm/v5", "linux/arm/v7", "linux/arm/v6"],
                Some("linux/arm/v7"),
            ),
            ("linux/s390x", &["unknown/unknown", "linux/amd64"], None),
            (
                "linux/arm/v6",
                &["linux/arm/v7", "linux/arm/v6"],
                Some("linux/arm/v6"),
            ),
        ] {
            assert_eq!(best(node, offered), expected, "{node} of {offered:?}");
        }
    }

    #[test]
    fn a_windows_node_runs_its_own_build_or_the_newest_older_one() {
        let offered = [
            "windows/amd64:10.0.17763.1",
            "windows/amd64:10.0.20348.9",
            "windows/amd64:10.0.26100.1",
        ];
        let node = |build| format!("windows/amd64:10.0.{build}.2700");
        assert_eq!(best(&node(20348), &offered), Some(offered[1]));
        assert_eq!(best(&node(25398), &offered), Some(offered[1]));
        assert_eq!(best(&node(14393), &offered), None);
        assert_eq!(best("windows/amd64", &offered), Some(offered[0]));
        let revisions = [
            "windows/amd64",
            "windows/amd64:10.0.20348.9",
            "windows/amd64:10.0.20348.11",
            "windows/amd64:10.0.20348.10",
        ];
        assert_eq!(best(&node(20348), &revisions), Some(revisions[2]));
        assert_eq!(best(&node(14393), &revisions), Some(revisions[0]));
    }

    #[test]
    fn texts_that_are_no_platform_are_refused() {
        for text in [
            "",
            "linux",
            "linux/",
            "linux/amd64/v1/x",
            "linux/amd 64",
            "linux/amd64:",
            "a/b:c:d",
        ] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }
}
