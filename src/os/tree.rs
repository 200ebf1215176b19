//! One layer's own file tree, built entry by entry as an unpacker would.
//!
//! Entries come in archive order with their names as written; [`LayerFinding`] goes out. The tree
//! holds the known and requested paths only, and of all other paths only the symbolic links, because
//! a later entry of the same layer may be written through one. What the layers below hold is not
//! known here: overlayfs unpacks each layer into a directory of its own, and so does this.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use super::finding::{Entry, LayerFinding, ScanRequest};
use super::path::{ancestors, clean, join, link_target, split};

/// Links followed on the way to a parent directory: Linux's own limit (path_resolution(7)).
const MAX_LINKS_FOLLOWED: usize = 40;

/// Memory for links outside the tracked paths, in bytes: some 10,000 links.
const MAX_LINK_BYTES: usize = 2 * 1024 * 1024;

/// Links outside the tracked paths that lead to a tracked one are still remembered beyond that
/// memory, up to as much again: they are few in any real layer.
const MAX_LATE_LINK_BYTES: usize = 2 * 1024 * 1024;

/// What remembering a link costs beside its texts, in bytes: two strings in a map, two allocations.
const LINK_COST: usize = 96;

/// Prefix of a whiteout's base name (OCI image specification, "Whiteouts").
const WHITEOUT: &str = ".wh.";
/// The base name that makes its directory opaque.
const OPAQUE: &str = ".wh..wh..opq";
/// Other names of this prefix are aufs's own bookkeeping and hide nothing.
const WHITEOUT_META: &str = ".wh..wh.";

/// The tree of one layer while it is read.
pub(super) struct LayerTree<'a> {
    request: &'a ScanRequest,
    nodes: BTreeMap<String, Entry>,
    /// Tracked paths that this layer deletes from the layers below.
    hidden: BTreeSet<String>,
    /// Directories in which this layer hides everything below.
    opaque: BTreeSet<String>,
    /// Symbolic links at paths that are not tracked.
    links: BTreeMap<String, String>,
    link_bytes: usize,
    late_link_bytes: usize,
    captured_bytes: usize,
    /// Parts of paths and of link targets that were looked at.
    walked: Cell<u64>,
}

impl<'a> LayerTree<'a> {
    pub(super) fn new(request: &'a ScanRequest) -> Self {
        Self {
            request,
            nodes: BTreeMap::new(),
            hidden: BTreeSet::new(),
            opaque: BTreeSet::new(),
            links: BTreeMap::new(),
            link_bytes: 0,
            late_link_bytes: 0,
            captured_bytes: 0,
            walked: Cell::new(0),
        }
    }

    /// Where a member of this name ends up, in the one form of paths; nothing if it cannot be made:
    /// its parents loop, or one of them is no directory.
    pub(super) fn locate(&self, name: &str) -> Option<String> {
        let path = clean(name);
        let (parent, base) = split(&path);
        match self.resolve(parent)? {
            None => Some(path),
            Some(parent) => Some(join(&parent, base)),
        }
    }

    /// True if the content of a file at this (located) path is wanted.
    pub(super) fn wants(&self, path: &str) -> bool {
        !path.is_empty() && self.request.covers(path) && !split(path).1.starts_with(WHITEOUT)
    }

    /// Paths, text and targets held, in bytes.
    pub(super) fn captured_bytes(&self) -> usize {
        self.captured_bytes
    }

    /// Parts of paths and of link targets looked at so far: what the members' names cost in time.
    pub(super) fn walked(&self) -> u64 {
        self.walked.get()
    }

    fn insert_node(&mut self, path: &str, node: Entry) {
        self.captured_bytes += node_bytes(path, &node);
        self.nodes.insert(path.to_owned(), node);
    }

    fn remove_node(&mut self, path: &str) {
        if let Some(node) = self.nodes.remove(path) {
            self.captured_bytes = self.captured_bytes.saturating_sub(node_bytes(path, &node));
        }
    }

    /// Adds a directory, file, symbolic link or other node at a located path.
    pub(super) fn add(&mut self, path: &str, node: Entry) {
        let (parent, base) = split(path);
        if base.starts_with(WHITEOUT) {
            self.make_parents(path);
            self.add_whiteout(parent, base);
        } else if !path.is_empty() {
            self.make_parents(path);
            self.put(path, node);
        }
    }

    /// Adds a hard link. Its target is taken as it is now: what replaces it later changes nothing.
    pub(super) fn add_hardlink(&mut self, path: &str, target: &str) {
        if split(path).1.starts_with(WHITEOUT) {
            // aufs made its whiteouts hard links to one file.
            return self.add(path, Entry::Other);
        }
        let Some(target) = self.locate(target).filter(|target| target != path) else {
            return;
        };
        let node = match self.nodes.get(&target).cloned() {
            // No system links directories.
            Some(Entry::Directory | Entry::OpaqueDirectory) => return,
            Some(node) => node,
            None => match self.links.get(&target) {
                Some(link) => Entry::Symlink(link.clone()),
                None => Entry::Hardlink(target),
            },
        };
        self.add(path, node);
    }

    fn add_whiteout(&mut self, parent: &str, base: &str) {
        if base == OPAQUE {
            if self.request.covers(parent) && self.opaque.insert(parent.to_owned()) {
                self.captured_bytes += parent.len();
            }
            return;
        }
        let name = base.strip_prefix(WHITEOUT).unwrap_or_default();
        if base.starts_with(WHITEOUT_META) || matches!(name, "" | "." | "..") {
            return;
        }
        let path = join(parent, name);
        if self.request.covers(&path) {
            self.captured_bytes += path.len();
            self.hidden.insert(path);
        }
    }

    /// Parents that no entry made are directories.
    fn make_parents(&mut self, path: &str) {
        for parent in ancestors(path) {
            if self.request.covers(parent) && !self.nodes.contains_key(parent) {
                self.insert_node(parent, Entry::Directory);
            }
        }
    }

    /// Puts a node in its place: a directory joins a directory, anything else replaces what is there.
    fn put(&mut self, path: &str, node: Entry) {
        if self.request.covers(path) {
            if node == Entry::Directory && self.nodes.get(path) == Some(&Entry::Directory) {
                return;
            }
            self.remove(path);
            self.insert_node(path, node);
        } else {
            self.remove_links(path, node == Entry::Directory);
            if let Entry::Symlink(target) = node {
                self.remember_link(path, target);
            }
        }
    }

    fn remember_link(&mut self, path: &str, target: String) {
        let size = link_bytes(path, &target);
        let fits = self.link_bytes + size <= MAX_LINK_BYTES;
        let leads_to = link_target(path, &target);
        let matters = self.request.covers(&leads_to) || self.links.contains_key(&leads_to);
        if !fits && matters {
            self.late_link_bytes += size;
        }
        if fits || (matters && self.late_link_bytes <= MAX_LATE_LINK_BYTES) {
            self.link_bytes += size;
            self.links.insert(path.to_owned(), target);
        }
    }

    /// Removes a tracked path and all below it; marks on the layers below go with a directory.
    fn remove(&mut self, path: &str) {
        self.remove_node(path);
        let below: Vec<String> = range_below(&self.nodes, path).collect();
        below.iter().for_each(|path| self.remove_node(path));
        self.opaque.remove(path);
        for marks in [&mut self.hidden, &mut self.opaque] {
            let start = format!("{path}/");
            let below = marks
                .range(start.clone()..)
                .take_while(|mark| mark.starts_with(&start));
            for mark in below.cloned().collect::<Vec<_>>() {
                marks.remove(&mark);
            }
        }
        self.remove_links(path, false);
    }

    /// Removes the link at a path, and unless that is a directory, those below it.
    fn remove_links(&mut self, path: &str, is_directory: bool) {
        if self.links.is_empty() {
            return;
        }
        let mut gone = vec![path.to_owned()];
        if !is_directory {
            gone.extend(range_below(&self.links, path));
        }
        for path in gone {
            if let Some(target) = self.links.remove(&path) {
                self.link_bytes = self.link_bytes.saturating_sub(link_bytes(&path, &target));
            }
        }
    }

    /// A directory path with this layer's links followed. `Some(None)`: no link on the way; `None`:
    /// the links loop, or something on the way is no directory.
    fn resolve(&self, directory: &str) -> Option<Option<String>> {
        let plain = ancestors(directory).chain((!directory.is_empty()).then_some(directory));
        let mut has_link = false;
        for step in plain {
            self.walked.update(|parts| parts + 1);
            match self.nodes.get(step) {
                None if !self.links.contains_key(step) => {}
                Some(Entry::Directory | Entry::OpaqueDirectory) => {}
                None | Some(Entry::Symlink(_)) => {
                    has_link = true;
                    break;
                }
                Some(_) => return None,
            }
        }
        if !has_link {
            return Some(None);
        }
        self.follow(directory).map(Some)
    }

    fn follow(&self, directory: &str) -> Option<String> {
        let mut rest: Vec<String> = directory.rsplit('/').map(str::to_owned).collect();
        let mut path = String::new();
        let mut followed = 0;
        while let Some(part) = rest.pop() {
            self.walked.update(|parts| parts + 1);
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    path = split(&path).0.to_owned();
                    continue;
                }
                _ => {}
            }
            let next = join(&path, &part);
            let target = match self.nodes.get(&next) {
                Some(Entry::Symlink(target)) => Some(target),
                Some(Entry::Directory | Entry::OpaqueDirectory) => None,
                Some(_) => return None,
                None => self.links.get(&next),
            };
            let Some(target) = target else {
                path = next;
                continue;
            };
            followed += 1;
            if followed > MAX_LINKS_FOLLOWED {
                return None;
            }
            if target.starts_with('/') {
                path.clear();
            }
            rest.extend(target.rsplit('/').map(str::to_owned));
        }
        Some(path)
    }

    /// The finding: marks on lower layers joined with the layer's own nodes.
    pub(super) fn finish(mut self) -> LayerFinding {
        for path in self.hidden {
            match self.nodes.get_mut(&path) {
                None => drop(self.nodes.insert(path, Entry::Whiteout)),
                Some(node) if *node == Entry::Directory => *node = Entry::OpaqueDirectory,
                Some(_) => {}
            }
        }
        for path in self.opaque {
            if path.is_empty() {
                self.nodes.insert(path, Entry::OpaqueDirectory);
            } else if let Some(node) = self.nodes.get_mut(&path)
                && *node == Entry::Directory
            {
                *node = Entry::OpaqueDirectory;
            }
        }
        let implied: Vec<String> = self
            .nodes
            .iter()
            .filter(|(path, node)| {
                **node == Entry::Directory && range_below(&self.nodes, path).next().is_some()
            })
            .map(|(path, _)| path.clone())
            .collect();
        implied
            .iter()
            .for_each(|path| drop(self.nodes.remove(path)));
        LayerFinding {
            entries: self.nodes,
            requested: self.request.extra_paths.clone(),
        }
    }
}

/// What a remembered link costs, in bytes.
fn link_bytes(path: &str, target: &str) -> usize {
    LINK_COST + path.len() + target.len()
}

/// What a node costs, in bytes.
fn node_bytes(path: &str, node: &Entry) -> usize {
    path.len() + node.held_bytes()
}

/// The keys below a path other than the root.
fn range_below<V>(map: &BTreeMap<String, V>, path: &str) -> impl Iterator<Item = String> {
    let start = format!("{path}/");
    map.range(start.clone()..)
        .map(|(key, _)| key.clone())
        .take_while(move |key| key.starts_with(&start))
}
