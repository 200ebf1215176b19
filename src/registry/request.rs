//! What is asked of a registry, and what it may take.

use std::time::Duration;

use super::limits::{Limits, small};
use crate::image::{Digest, Repository};

/// A manifest's limit, the one that the OCI distribution specification asks registries for.
pub(super) const MAX_MANIFEST_BYTES: u64 = 4 << 20;
/// A configuration's limit; real ones stay below 100 KiB.
const MAX_CONFIGURATION_BYTES: u64 = 8 << 20;
/// What `crane digest` prints has 72.
const MAX_DIGEST_BYTES: u64 = 4 << 10;
/// A layer may take this long in all; 512 MiB at the slowest allowed pace would take longer.
const MAX_LAYER_TIME: Duration = Duration::from_secs(30 * 60);
/// A layer's least pace: slower than this a second, it would not end in a night.
const MIN_LAYER_BYTES_PER_SECOND: u64 = 4 * 1024;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Request<'a> {
    /// The digest that a tag names, as text.
    Tag(&'a str),
    /// A manifest or index.
    Manifest {
        /// Its digest.
        digest: &'a Digest,
        /// Whether it finishes what an index began.
        child: bool,
    },
    /// A configuration.
    Configuration(&'a Digest),
    /// A layer.
    Layer(&'a Digest),
}

impl Request<'_> {
    /// crane's subcommand for it.
    pub(super) fn verb(self) -> &'static str {
        match self {
            Self::Tag(_) => "digest",
            Self::Manifest { .. } => "manifest",
            Self::Configuration(_) | Self::Layer(_) => "blob",
        }
    }

    /// How crane calls it.
    pub(super) fn reference(self, repository: &Repository) -> String {
        match self {
            Self::Tag(tag) => repository.at_tag(tag),
            Self::Manifest { digest, .. } | Self::Configuration(digest) | Self::Layer(digest) => {
                repository.at_digest(digest)
            }
        }
    }

    /// Where a registry has it: the path of the distribution specification.
    pub(super) fn path(self, repository: &Repository) -> String {
        let path = &repository.path;
        match self {
            Self::Tag(tag) => format!("/v2/{path}/manifests/{tag}"),
            Self::Manifest { digest, .. } => format!("/v2/{path}/manifests/{digest}"),
            Self::Configuration(digest) | Self::Layer(digest) => {
                format!("/v2/{path}/blobs/{digest}")
            }
        }
    }

    /// What it may take.
    pub(super) fn limits(self, time: Duration, max_layer_bytes: u64) -> Limits {
        match self {
            Self::Tag(_) => small(time, MAX_DIGEST_BYTES),
            Self::Manifest { .. } => small(time, MAX_MANIFEST_BYTES),
            Self::Configuration(_) => small(time, MAX_CONFIGURATION_BYTES),
            Self::Layer(_) => Limits {
                time: MAX_LAYER_TIME.max(time),
                pace_window: Some(time),
                min_bytes: MIN_LAYER_BYTES_PER_SECOND * time.as_secs().max(1),
                // The scan ends at its own limit, which is this one; some room is left for it to notice.
                max_bytes: max_layer_bytes + (1 << 20),
            },
        }
    }
}
