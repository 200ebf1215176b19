//! The file system that the layers make together, as far as their findings tell.
//!
//! In: findings, bottom first. Out: the content of a file by its path, with links followed inside
//! the root. The rules are those of overlayfs, with which nodes run images. It knows no distribution.
//! Where a path lies outside of what the findings tell, it says so instead of "not there".

use std::collections::{BTreeMap, BTreeSet};

use super::finding::{Entry, LayerFinding, covered_by};
use super::known::is_known;
use super::path::{ancestors, clean, is_below, join, split};

/// Symbolic links followed in one look-up: Linux's own limit (path_resolution(7)).
const MAX_LINKS_FOLLOWED: usize = 40;

/// Merged layers.
#[derive(Debug, Clone, Default)]
pub struct RootView {
    nodes: BTreeMap<String, Node>,
    /// What each layer tells beyond the usual.
    requested: Vec<BTreeSet<String>>,
}

/// What is visible at a path, and the index of the layer that it is from.
#[derive(Debug, Clone)]
struct Node {
    entry: Entry,
    layer: usize,
}

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// A regular file.
    Found {
        /// Its text as the finding holds it.
        content: String,
        /// Where it is, after all links.
        path: String,
        /// The index of the layer that it is from.
        layer: usize,
    },
    /// A regular file over the limit for release files.
    TooLarge {
        /// Where it is, after all links.
        path: String,
        /// The index of the layer that it is from.
        layer: usize,
    },
    /// No regular file: nothing there, a directory, a device, links that loop or lead nowhere.
    NotFound,
    /// The answer depends on this path, which not all findings tell about: scan the layers again
    /// with it requested.
    NeedsFile(String),
}

impl RootView {
    /// Merges layers, bottom first, each with its index in the image. Layers that were not read are
    /// left out; the view then is of an image without them.
    pub fn apply<'a>(layers: impl IntoIterator<Item = (usize, &'a LayerFinding)>) -> Self {
        let mut view = Self::default();
        for (index, finding) in layers {
            view.add(index, finding);
        }
        view
    }

    fn add(&mut self, layer: usize, finding: &LayerFinding) {
        // A hard link to nothing in its own layer can only mean a file below, as it was before.
        let below: Vec<Option<Entry>> = finding
            .entries
            .values()
            .map(|entry| match entry {
                Entry::Hardlink(target) if finding.covers(target) => {
                    Some(self.entry_for_link(target))
                }
                _ => None,
            })
            .collect();
        for ((path, entry), resolved) in finding.entries.iter().zip(below) {
            for parent in ancestors(path) {
                if !matches!(
                    self.nodes.get(parent),
                    Some(Node {
                        entry: Entry::Directory,
                        ..
                    })
                ) {
                    self.replace(parent, Entry::Directory, layer);
                }
            }
            match resolved.as_ref().unwrap_or(entry) {
                Entry::Whiteout => self.remove(path),
                Entry::OpaqueDirectory => self.replace(path, Entry::Directory, layer),
                Entry::Directory => {
                    if !matches!(
                        self.nodes.get(path),
                        Some(Node {
                            entry: Entry::Directory,
                            ..
                        })
                    ) {
                        self.replace(path, Entry::Directory, layer);
                    }
                }
                entry => self.replace(path, entry.clone(), layer),
            }
        }
        self.requested.push(finding.requested.clone());
    }

    fn entry_for_link(&self, target: &str) -> Entry {
        match self.nodes.get(target).map(|node| &node.entry) {
            None | Some(Entry::Directory | Entry::OpaqueDirectory | Entry::Whiteout) => {
                Entry::Other
            }
            Some(entry) => entry.clone(),
        }
    }

    fn replace(&mut self, path: &str, entry: Entry, layer: usize) {
        self.remove(path);
        if !path.is_empty() {
            self.nodes.insert(path.to_owned(), Node { entry, layer });
        }
    }

    fn remove(&mut self, path: &str) {
        if path.is_empty() {
            return self.nodes.clear();
        }
        self.nodes.remove(path);
        let start = format!("{path}/");
        let below = self.nodes.range(start.clone()..).map(|(key, _)| key);
        let below: Vec<String> = below
            .take_while(|key| key.starts_with(&start))
            .cloned()
            .collect();
        below.iter().for_each(|key| drop(self.nodes.remove(key)));
    }

    /// True if every layer tells about this path.
    fn covers(&self, path: &str) -> bool {
        is_known(path)
            || self
                .requested
                .iter()
                .all(|requested| covered_by(requested, path))
    }

    /// Reads a file, following links in its directories and at its end. A link never leads out of
    /// the root: `..` stops there, and an absolute target begins there.
    pub fn read(&self, path: &str) -> Lookup {
        let mut rest: Vec<String> = path.rsplit('/').map(str::to_owned).collect();
        let mut at = String::new();
        let mut followed = 0;
        while let Some(part) = rest.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    at = split(&at).0.to_owned();
                    continue;
                }
                _ => {}
            }
            let next = join(&at, &part);
            if !self.covers(&next) {
                let wanted = clean(
                    &rest
                        .iter()
                        .rev()
                        .fold(next.clone(), |path, part| join(&path, part)),
                );
                // A `..` further on may lead away from what must be known first.
                return Lookup::NeedsFile(if is_below(&wanted, &next) {
                    wanted
                } else {
                    next
                });
            }
            let Some(node) = self.nodes.get(&next) else {
                return Lookup::NotFound;
            };
            let is_last = rest.is_empty();
            match &node.entry {
                Entry::Directory | Entry::OpaqueDirectory => at = next,
                Entry::Symlink(target) => {
                    followed += 1;
                    if followed > MAX_LINKS_FOLLOWED {
                        return Lookup::NotFound;
                    }
                    if target.starts_with('/') {
                        at.clear();
                    }
                    rest.extend(target.rsplit('/').map(str::to_owned));
                }
                Entry::Hardlink(target) => return Lookup::NeedsFile(target.clone()),
                Entry::File(content) if is_last => {
                    return Lookup::Found {
                        content: content.clone(),
                        path: next,
                        layer: node.layer,
                    };
                }
                Entry::TooLarge(_) if is_last => {
                    return Lookup::TooLarge {
                        path: next,
                        layer: node.layer,
                    };
                }
                Entry::File(_) | Entry::TooLarge(_) | Entry::Other | Entry::Whiteout => {
                    return Lookup::NotFound;
                }
            }
        }
        Lookup::NotFound
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]
mod tests {
    use super::*;
    use crate::os::testing::{TarBuilder, scan};

    fn view(layers: &[TarBuilder]) -> RootView {
        let findings: Vec<LayerFinding> = layers
            .iter()
            .map(|layer| scan(&layer.clone().build()).unwrap())
            .collect();
        RootView::apply(findings.iter().enumerate())
    }

    fn tar() -> TarBuilder {
        TarBuilder::new()
    }

    fn found(content: &str, path: &str, layer: usize) -> Lookup {
        Lookup::Found {
            content: content.to_owned(),
            path: path.to_owned(),
            layer,
        }
    }

    #[test]
    fn an_upper_layer_replaces_a_file() {
        let view = view(&[
            tar().file("etc/os-release", b"a"),
            tar().file("./etc/os-release", b"b"),
        ]);
        assert_eq!(view.read("etc/os-release"), found("b", "etc/os-release", 1));
        assert_eq!(
            view.read("/etc/./os-release"),
            found("b", "etc/os-release", 1)
        );
        assert_eq!(view.read("etc/os-release/x"), Lookup::NotFound);
    }

    #[test]
    fn whiteouts_and_opaque_directories_hide_what_is_below() {
        let base = || {
            tar()
                .file("etc/os-release", b"a")
                .file("usr/lib/os-release", b"b")
        };
        for (upper, gone) in [
            (tar().file("etc/.wh.os-release", b""), "etc/os-release"),
            (tar().file(".wh.etc", b""), "etc/os-release"),
            (
                tar().directory("etc/").file("etc/.wh..wh..opq", b""),
                "etc/os-release",
            ),
            (tar().file("usr/.wh.lib", b""), "usr/lib/os-release"),
            (tar().file(".wh..wh..opq", b""), "usr/lib/os-release"),
            (tar().file("etc", b"now a file"), "etc/os-release"),
            (tar().symlink("etc", "nowhere/etc"), "usr/lib64/os-release"),
        ] {
            let view = view(&[base(), upper]);
            assert_eq!(view.read(gone), Lookup::NotFound, "{gone}");
        }
    }

    #[test]
    fn a_file_deleted_and_restored_is_there() {
        let view = view(&[
            tar().file("etc/os-release", b"a"),
            tar().file("etc/.wh.os-release", b""),
            tar().file("etc/os-release", b"c"),
        ]);
        assert_eq!(view.read("etc/os-release"), found("c", "etc/os-release", 2));
    }

    #[test]
    fn links_are_followed_inside_the_root() {
        let file = || tar().file("usr/lib/os-release", b"x");
        for (name, layer) in [
            (
                "relative",
                file().symlink("etc/os-release", "../usr/lib/os-release"),
            ),
            (
                "absolute",
                file().symlink("etc/os-release", "/usr/lib/os-release"),
            ),
            (
                "above the root",
                file().symlink("etc/os-release", "../../../../usr/lib/os-release"),
            ),
            ("directory", file().symlink("etc", "usr/lib")),
            (
                "directory and dots",
                file().symlink("etc", "./usr/../usr//lib/."),
            ),
            (
                "chain",
                file()
                    .symlink("etc", "/usr/etc")
                    .symlink("usr/etc", "lib64")
                    .symlink("usr/lib64", "./lib"),
            ),
            (
                "hard link",
                file().hardlink("etc/os-release", "usr/lib/os-release"),
            ),
            (
                "hard link with a dot",
                file().hardlink("./etc/os-release", "./usr/lib/os-release"),
            ),
        ] {
            let Lookup::Found { content, .. } = view(&[layer]).read("etc/os-release") else {
                unreachable!("{name}")
            };
            assert_eq!(content, "x", "{name}");
        }
    }

    #[test]
    fn links_that_loop_or_lead_nowhere_find_nothing() {
        for layer in [
            tar().symlink("etc/os-release", "os-release"),
            tar().symlink("etc", "usr/etc").symlink("usr/etc", "../etc"),
            tar().symlink("etc/os-release", "../usr/lib/os-release"),
            tar().symlink("etc/os-release", "/"),
            tar().directory("etc/os-release"),
            tar().member(b'3', b"etc/os-release", b"", b""),
        ] {
            assert_eq!(view(&[layer]).read("etc/os-release"), Lookup::NotFound);
        }
    }

    #[test]
    fn forty_links_are_followed_and_no_more() {
        for (links, expected) in [(40, true), (41, false)] {
            let name = |link: usize| format!("usr/lib/os.release.d/os-release-{link}");
            let mut layer = tar().file(&name(0), b"x");
            for link in 1..=links {
                layer = layer.symlink(&name(link), &format!("/{}", name(link - 1)));
            }
            let lookup = view(&[layer]).read(&name(links));
            assert_eq!(
                matches!(lookup, Lookup::Found { .. }),
                expected,
                "{links} links"
            );
        }
    }

    #[test]
    fn a_path_that_no_finding_tells_of_is_asked_for() {
        let layer = tar()
            .symlink("etc/os-release", "../opt/vendor/release")
            .file("opt/vendor/release", b"x");
        let view = view(&[layer]);
        assert_eq!(
            view.read("etc/os-release"),
            Lookup::NeedsFile("opt/vendor/release".to_owned())
        );
    }

    #[test]
    fn a_hard_link_to_the_layers_below_takes_what_was_there() {
        let view = view(&[
            tar().file("usr/lib/os-release", b"old"),
            tar()
                .hardlink("etc/os-release", "usr/lib/os-release")
                .file("usr/lib/.wh.os-release", b""),
        ]);
        assert_eq!(
            view.read("etc/os-release"),
            found("old", "etc/os-release", 1)
        );
    }

    #[test]
    fn a_directory_of_an_upper_layer_replaces_a_link() {
        let view = view(&[
            tar()
                .symlink("etc", "usr/etc")
                .file("usr/etc/os-release", b"below"),
            tar().file("etc/hostname", b""),
        ]);
        assert_eq!(view.read("etc/os-release"), Lookup::NotFound);
    }
}
