//! Which layer of an image to read next, and when the answer stands.
//!
//! In: what is known of the layers, and what has been read. Out: one [`Step`]; the caller performs it
//! and asks again. The base comes first: it usually has the release file, and other images share it.
//! This does not know where findings come from (a registry, an earlier report, another image of the
//! same run), nor what a step costs.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::distro::{Distribution, Identification, Rule, identify};
use super::finding::{LayerFinding, ScanRequest};
use super::history::{LayerInfo, may_change};
use super::rootfs::RootView;

/// Paths asked for beyond the usual ones before giving up: each costs another reading of the layers,
/// and an image's author can make a chain of any length. NixOS's, the longest real one, has three.
const MAX_EXTRA_PATHS: usize = 8;

/// How many layers to read, `--layers`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LayerPolicy {
    /// From the base until os-release is found, then all that may have changed it.
    #[default]
    Auto,
    /// From the base until os-release is found.
    Base,
    /// Every layer.
    All,
}

impl LayerPolicy {
    /// Whether an image's answer by this policy is as good as `wanted` asks for.
    pub fn satisfies(self, wanted: Self) -> bool {
        let strictness = |policy| match policy {
            Self::Base => 0,
            Self::Auto => 1,
            Self::All => 2,
        };
        strictness(self) >= strictness(wanted)
    }

    /// What is assumed of a run that does not say: the least.
    pub(crate) fn weakest() -> Self {
        Self::Base
    }
}

/// A text that is no policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a choice of layers: write auto, base or all")]
pub struct LayerPolicyError;

impl FromStr for LayerPolicy {
    type Err = LayerPolicyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "base" => Ok(Self::Base),
            "all" => Ok(Self::All),
            _ => Err(LayerPolicyError),
        }
    }
}

impl fmt::Display for LayerPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Auto => "auto",
            Self::Base => "base",
            Self::All => "all",
        })
    }
}

/// What has become of a layer.
#[derive(Debug, Clone, Copy)]
pub enum LayerState<'a> {
    /// It was not asked for.
    Unread,
    /// Read to its end.
    Read(&'a LayerFinding),
    /// Left early at a limit; what was found until then.
    Partial(&'a LayerFinding),
    /// It could not be read, and is not to be asked for again.
    Unreadable,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Read this layer, or read it again, with these paths requested. A finding that
    /// [serves](LayerFinding::serves) the request does as well.
    Read {
        /// Its index, counted from the base.
        layer: usize,
        /// What to ask for.
        request: ScanRequest,
    },
    /// The answer.
    Done {
        /// From all layers that were read. [`Identification::NeedsFile`] remains where a layer could
        /// not be read again, or links led on and on.
        identification: Identification,
        /// How far it can be trusted to be that of all layers.
        certainty: Certainty,
    },
}

/// How far the answer from the layers that were read is the answer from all.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Certainty {
    /// A layer that may change it was not read, or not to its end.
    Doubtful,
    /// The history of each layer that was not read says that it changes nothing there.
    History,
    /// No layer that was not read can change it.
    Proved,
}

/// Decides on the next step. `layers` and `states` are in the image's order, base first; layers
/// without a state count as unread.
///
/// Each step reads one layer, or reads it for more paths, so that the loop ends; a layer that fails
/// must become [`LayerState::Unreadable`] or [`LayerState::Partial`].
pub fn next_step(policy: LayerPolicy, layers: &[LayerInfo], states: &[LayerState<'_>]) -> Step {
    let state = |index: usize| states.get(index).copied().unwrap_or(LayerState::Unread);
    let read = |index: usize| match state(index) {
        LayerState::Read(finding) | LayerState::Partial(finding) => Some((index, finding)),
        LayerState::Unread | LayerState::Unreadable => None,
    };
    let view = RootView::apply((0..layers.len()).filter_map(read));
    let mut extra_paths: BTreeSet<String> = (0..layers.len())
        .filter_map(read)
        .flat_map(|(_, finding)| finding.requested.clone())
        .collect();
    let identification = identify(&view);

    if let Identification::NeedsFile(path) = &identification
        && extra_paths.len() < MAX_EXTRA_PATHS
    {
        let lacks = |index: &usize| matches!(state(*index), LayerState::Read(f) if !f.covers(path));
        if let Some(layer) = (0..layers.len()).find(lacks) {
            extra_paths.insert(path.clone());
            return Step::Read {
                layer,
                request: ScanRequest { extra_paths },
            };
        }
    }

    let mut unread = (0..layers.len()).filter(|index| matches!(state(*index), LayerState::Unread));
    let next = match (policy, settled(&identification)) {
        (LayerPolicy::All, _) | (_, None) => unread.next(),
        (LayerPolicy::Base, Some(_)) => None,
        (LayerPolicy::Auto, Some(found)) => {
            unread.find(|index| concerns(found, *index) && doubted(layers, *index, found))
        }
    };
    if let Some(layer) = next {
        return Step::Read {
            layer,
            request: ScanRequest { extra_paths },
        };
    }
    if matches!(identification, Identification::NeedsFile(_)) {
        return Step::Done {
            identification,
            certainty: Certainty::Doubtful,
        };
    }
    let certainty = (0..layers.len())
        .map(|index| match (state(index), settled(&identification)) {
            (LayerState::Read(_), _) => Certainty::Proved,
            (_, None) => Certainty::Doubtful,
            (_, Some(found)) if !concerns(found, index) => Certainty::Proved,
            (LayerState::Unread, Some(found)) if !doubted(layers, index, found) => {
                Certainty::History
            }
            _ => Certainty::Doubtful,
        })
        .min()
        .unwrap_or(Certainty::Proved);
    Step::Done {
        identification,
        certainty,
    }
}

/// A distribution that only a change of its release file can change: one from os-release.
fn settled(identification: &Identification) -> Option<&Distribution> {
    match identification {
        Identification::Found(found) if found.rule == Rule::OsRelease && found.id.is_some() => {
            Some(found)
        }
        _ => None,
    }
}

/// False for layers below one that has the file of first rank itself: nothing in them is seen.
fn concerns(found: &Distribution, layer: usize) -> bool {
    layer > found.layer || found.resolved.is_some() || found.source != "etc/os-release"
}

fn doubted(layers: &[LayerInfo], layer: usize, found: &Distribution) -> bool {
    let resolved = found.resolved.as_deref().unwrap_or(&found.source);
    layers
        .get(layer)
        .is_none_or(|info| may_change(info, resolved))
}
