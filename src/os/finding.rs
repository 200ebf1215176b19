//! What one layer says, as far as identification can need it.
//!
//! A finding is made by the scan, stored in reports, and merged with others by the root view. It is
//! a small tree that already has the layer's own order applied (the last entry of a path wins), with
//! marks for what it hides of the layers below. It does not know its digest or its place in an image.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::known::{is_known, is_release_name};
use super::path::{clean, is_below, split};

/// The entries of a layer that can matter, by path, and what was asked for besides the usual.
///
/// Usually under 1 KiB as JSON. Paths are relative, without `.` or `..`; the root is the empty
/// string. A directory that holds a listed entry is not itself listed, unless it is opaque.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LayerFinding {
    /// What the layer has at each path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub entries: BTreeMap<String, Entry>,
    /// Paths beyond the usual ones that this finding also tells about, with all their parents and the
    /// release files beside them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub requested: BTreeSet<String>,
}

/// What a layer has at one path. In JSON: `"directory"`, `{"file": "ID=debian\n…"}` …
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// A directory, which joins a directory below and replaces anything else.
    Directory,
    /// A directory that hides all that lower layers have in it.
    OpaqueDirectory,
    /// Nothing; and what lower layers have here is deleted.
    Whiteout,
    /// Something that is neither file, directory nor link: a device, a pipe.
    Other,
    /// A regular file with its text: whole up to 4 KiB, beyond that the lines that matter. Bytes that
    /// are not UTF-8 are replaced. Of busybox only the name and version it was built with.
    File(String),
    /// A regular file over the limit for release files; its size in bytes.
    TooLarge(u64),
    /// A symbolic link and its target as written.
    Symlink(String),
    /// A hard link to a path (in its one form) whose content this finding does not hold.
    Hardlink(String),
}

impl Entry {
    /// Text held, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        match self {
            Self::File(text) | Self::Symlink(text) | Self::Hardlink(text) => text.len(),
            _ => 0,
        }
    }
}

impl LayerFinding {
    /// True if the layer has nothing that could matter.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Paths, text and targets held, in bytes.
    pub fn held_bytes(&self) -> usize {
        let entries = self.entries.iter();
        entries
            .map(|(path, entry)| path.len() + entry.held_bytes())
            .sum()
    }

    /// True if this finding tells what the layer has at `path`, be it nothing.
    pub fn covers(&self, path: &str) -> bool {
        is_known(path) || covered_by(&self.requested, path)
    }

    /// This finding as if nothing but `request`, which it serves, had been asked for: what other
    /// images of the layer asked for is no matter of this one's.
    pub fn narrowed(&self, request: &ScanRequest) -> Self {
        Self {
            entries: self.entries.clone(),
            requested: request.extra_paths.clone(),
        }
    }

    /// True if this finding can be used where `request` was going to be asked for.
    pub fn serves(&self, request: &ScanRequest) -> bool {
        request.extra_paths.iter().all(|path| self.covers(path))
    }
}

/// Paths that a scan shall tell about beyond the usual ones. The default asks for none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ScanRequest {
    /// Paths in the one form of [`LayerFinding`]; their parents are told about too.
    pub extra_paths: BTreeSet<String>,
}

impl ScanRequest {
    /// A request for these paths, which are brought into their one form.
    pub fn for_paths<'a>(paths: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            extra_paths: paths.into_iter().map(clean).collect(),
        }
    }

    /// True if a scan with this request tells what is at `path`.
    pub(super) fn covers(&self, path: &str) -> bool {
        is_known(path) || covered_by(&self.extra_paths, path)
    }
}

/// True if `path` is one of the requested ones, a parent of one, or a release file beside one: where
/// links led to one of them, its relatives are near.
pub(super) fn covered_by(requested: &BTreeSet<String>, path: &str) -> bool {
    let beside = |wanted: &str| is_release_name(path) && split(wanted).0 == split(path).0;
    requested.contains(path)
        || requested
            .iter()
            .any(|wanted| is_below(wanted, path) || beside(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_finding_is_two_bytes_of_json() {
        assert_eq!(
            serde_json::to_string(&LayerFinding::default()).unwrap_or_default(),
            "{}"
        );
        assert!(LayerFinding::default().is_empty());
    }

    #[test]
    fn a_finding_has_a_schema() {
        let schema =
            serde_json::to_string(&schemars::schema_for!(LayerFinding)).unwrap_or_default();
        assert!(
            schema.contains("opaque_directory") && schema.contains("too_large"),
            "{schema}"
        );
    }

    #[test]
    fn a_finding_survives_json() {
        let finding = LayerFinding {
            entries: [
                ("etc".to_owned(), Entry::OpaqueDirectory),
                (
                    "etc/os-release".to_owned(),
                    Entry::File("ID=\"x\"\n".to_owned()),
                ),
                ("usr/lib".to_owned(), Entry::Symlink("lib64".to_owned())),
                ("usr/lib/os-release".to_owned(), Entry::TooLarge(5_242_880)),
            ]
            .into(),
            requested: ["opt/x".to_owned()].into(),
        };
        let json = serde_json::to_string(&finding).unwrap_or_default();
        assert!(json.contains(r#""etc":"opaque_directory""#), "{json}");
        assert_eq!(
            serde_json::from_str::<LayerFinding>(&json).ok(),
            Some(finding)
        );
    }

    #[test]
    fn a_requested_path_covers_its_parents_and_its_relatives() {
        let request = ScanRequest::for_paths(["/opt/vendor/os-release"]);
        let finding = LayerFinding {
            requested: request.extra_paths.clone(),
            ..Default::default()
        };
        assert!(finding.covers("opt") && finding.covers("opt/vendor"));
        assert!(finding.covers("opt/vendor/os-release") && finding.serves(&request));
        assert!(finding.covers("opt/vendor/debian_version"));
        assert!(!finding.covers("opt/other") && !LayerFinding::default().serves(&request));
    }
}
