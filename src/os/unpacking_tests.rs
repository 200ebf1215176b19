//! The answer from findings equals that of unpacking all layers.
//!
//! The reference here is a straightforward unpacker: it builds each layer's whole tree, lays the trees
//! over each other, and walks them. It shares no code with the scan. Random small images, with links,
//! hard links, whiteouts and replaced directories wherever they can hurt, go through both.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::collections::{BTreeMap, BTreeSet};

use super::testing::{Dice, TarBuilder};
use super::{LayerFinding, Lookup, RootView, ScanLimits, ScanRequest, scan_layer};

/// A member of a layer.
#[derive(Debug, Clone)]
enum Member {
    Directory(String),
    File(String, String),
    Symlink(String, String),
    Hardlink(String, String),
}

#[derive(Debug, Clone)]
enum Node {
    Directory(Directory),
    File(String),
    Symlink(String),
    /// A hard link to a path that its own layer does not have.
    LinkBelow(Vec<String>),
}

#[derive(Debug, Clone, Default)]
struct Directory {
    children: BTreeMap<String, Node>,
    opaque: bool,
    hidden: BTreeSet<String>,
}

fn parts(path: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part.to_owned()),
        }
    }
    parts
}

impl Directory {
    fn get(&self, path: &[String]) -> Option<&Node> {
        let (first, rest) = path.split_first()?;
        let node = self.children.get(first)?;
        match (rest, node) {
            ([], node) => Some(node),
            (rest, Node::Directory(directory)) => directory.get(rest),
            _ => None,
        }
    }

    /// The directory at a path, made where it is missing; nothing if something else is in the way.
    fn make(&mut self, path: &[String]) -> Option<&mut Self> {
        let Some((first, rest)) = path.split_first() else {
            return Some(self);
        };
        let node = self
            .children
            .entry(first.clone())
            .or_insert_with(|| Node::Directory(Self::default()));
        match node {
            Node::Directory(directory) => directory.make(rest),
            _ => None,
        }
    }

    /// A directory path with links followed; what is missing is taken as it stands.
    fn follow(&self, path: &[String], links: &mut usize) -> Option<Vec<String>> {
        let mut at: Vec<String> = Vec::new();
        for (index, part) in path.iter().enumerate() {
            if part == "." || part.is_empty() {
                continue;
            }
            if part == ".." {
                at.pop();
                continue;
            }
            at.push(part.clone());
            match self.get(&at) {
                None | Some(Node::Directory(_)) => {}
                Some(Node::Symlink(target)) => {
                    *links += 1;
                    if *links > 40 {
                        return None;
                    }
                    at.pop();
                    let start = if target.starts_with('/') {
                        Vec::new()
                    } else {
                        at
                    };
                    let target = target.split('/').map(str::to_owned);
                    let rest = path.get(index + 1..).unwrap().iter().cloned();
                    let whole: Vec<String> = start.into_iter().chain(target).chain(rest).collect();
                    return self.follow(&whole, links);
                }
                Some(_) => return None,
            }
        }
        Some(at)
    }

    fn locate(&self, name: &str) -> Option<(Vec<String>, String)> {
        let mut path = parts(name);
        let base = path.pop()?;
        Some((self.follow(&path, &mut 0)?, base))
    }

    fn unpack(&mut self, member: &Member) -> Option<()> {
        let name = match member {
            Member::Directory(name)
            | Member::File(name, _)
            | Member::Symlink(name, _)
            | Member::Hardlink(name, _) => name,
        };
        let (parent, base) = self.locate(name)?;
        let node = match member {
            Member::Directory(_) => Node::Directory(Self::default()),
            Member::File(_, text) => Node::File(text.clone()),
            Member::Symlink(_, target) => Node::Symlink(target.clone()),
            Member::Hardlink(_, target) => {
                let (mut target, last) = self.locate(target)?;
                target.push(last);
                if target.split_last() == Some((&base, parent.as_slice())) {
                    return None;
                }
                match self.get(&target) {
                    Some(node) => node.clone(),
                    None => Node::LinkBelow(target),
                }
            }
        };
        let directory = self.make(&parent)?;
        if base == ".wh..wh..opq" {
            directory.opaque = true;
        } else if let Some(hidden) = base.strip_prefix(".wh.") {
            directory.hidden.insert(hidden.to_owned());
        } else if !matches!(
            (&node, directory.children.get(&base)),
            (Node::Directory(_), Some(Node::Directory(_)))
        ) {
            directory.children.insert(base, node);
        }
        Some(())
    }

    /// True for a hard link to a directory: no unpacker gets past one, so no such image runs.
    fn is_impossible(&self, member: &Member) -> bool {
        let Member::Hardlink(_, target) = member else {
            return false;
        };
        let Some((mut path, base)) = self.locate(target) else {
            return false;
        };
        path.push(base);
        matches!(self.get(&path), Some(Node::Directory(_)))
    }

    /// Lays a layer over this file system.
    fn lay(&mut self, upper: &Self, whole: &Self) {
        if upper.opaque {
            self.children.clear();
        }
        for hidden in &upper.hidden {
            self.children.remove(hidden);
        }
        for (name, node) in &upper.children {
            match (node, self.children.get_mut(name)) {
                (Node::Directory(upper), Some(Node::Directory(lower))) => lower.lay(upper, whole),
                (Node::Directory(upper), _) => {
                    let mut fresh = Self::default();
                    fresh.lay(upper, whole);
                    self.children.insert(name.clone(), Node::Directory(fresh));
                }
                (Node::LinkBelow(target), _) => {
                    let node = match whole.get(target) {
                        None | Some(Node::Directory(_)) => Node::LinkBelow(Vec::new()),
                        Some(node) => node.clone(),
                    };
                    self.children.insert(name.clone(), node);
                }
                (node, _) => drop(self.children.insert(name.clone(), node.clone())),
            }
        }
    }

    fn read(&self, path: &str) -> Option<String> {
        let mut path: Vec<String> = path.split('/').map(str::to_owned).collect();
        let mut links = 0;
        loop {
            let base = path.pop()?;
            let mut at = self.follow(&path, &mut links)?;
            if base == ".." || base == "." || base.is_empty() {
                return None;
            }
            at.push(base);
            match self.get(&at)? {
                Node::File(text) => return Some(text.clone()),
                Node::Symlink(target) => {
                    links += 1;
                    if links > 40 {
                        return None;
                    }
                    at.pop();
                    let start = if target.starts_with('/') {
                        Vec::new()
                    } else {
                        at
                    };
                    path = start
                        .into_iter()
                        .chain(target.split('/').map(str::to_owned))
                        .collect();
                }
                Node::Directory(_) | Node::LinkBelow(_) => return None,
            }
        }
    }
}

const DIRECTORIES: [&str; 9] = [
    "etc",
    "usr",
    "usr/lib",
    "usr/etc",
    "usr/lib64",
    "opt",
    "opt/x",
    "lib",
    "usr/lib/os.release.d",
];
const ALIASES: [&str; 2] = ["opt", "opt/x"];
const NAMES: [&str; 5] = [
    "os-release",
    "debian_version",
    "lsb-release",
    "vendor",
    "etc",
];
const PREFIXES: [&str; 5] = ["", "./", "/", "x/../", "../"];
const UPS: [&str; 6] = ["", "/", "../", "../../", "./", "../../../"];

fn path(dice: &mut Dice) -> String {
    match dice.below(4) {
        0 => (*dice.pick(&DIRECTORIES)).to_owned(),
        _ => format!("{}/{}", dice.pick(&DIRECTORIES), dice.pick(&NAMES)),
    }
}

fn member(dice: &mut Dice, number: usize) -> Member {
    let name = format!("{}{}", dice.pick(&PREFIXES), path(dice));
    match dice.below(30) {
        0 => Member::Directory(name),
        // What one layer makes, replaces and makes again.
        12 => Member::Directory((*dice.pick(&DIRECTORIES)).to_owned()),
        13 => Member::File(
            (*dice.pick(&DIRECTORIES)).to_owned(),
            "in place of a directory".to_owned(),
        ),
        // A link, outside of the usual paths, to a directory; later members may be written through it.
        14 => Member::Symlink(
            (*dice.pick(&ALIASES)).to_owned(),
            format!("/{}", dice.pick(&DIRECTORIES)),
        ),
        15 => Member::Hardlink(name, (*dice.pick(&ALIASES)).to_owned()),
        1..=4 => Member::File(name, format!("text {number}")),
        5..=7 => Member::Symlink(name, format!("{}{}", dice.pick(&UPS), path(dice))),
        8 => Member::Hardlink(name, path(dice)),
        9 => {
            let (parent, base) = name.rsplit_once('/').unwrap_or(("", &name));
            Member::File(format!("{parent}/.wh.{base}"), String::new())
        }
        10 => Member::File(
            format!("{}/.wh..wh..opq", dice.pick(&DIRECTORIES)),
            String::new(),
        ),
        _ => Member::File(
            format!("{}/os-release", dice.pick(&DIRECTORIES)),
            format!("text {number}"),
        ),
    }
}

fn pack(members: &[Member]) -> Vec<u8> {
    let tar = members
        .iter()
        .fold(TarBuilder::new(), |tar, member| match member {
            Member::Directory(name) => tar.directory(name),
            Member::File(name, text) => tar.file(name, text.as_bytes()),
            Member::Symlink(name, target) => tar.symlink(name, target),
            Member::Hardlink(name, target) => tar.hardlink(name, target),
        });
    tar.build()
}

/// Reads a path from findings, asking for more paths as long as the view wants them.
fn read_from_findings(blobs: &[Vec<u8>], path: &str) -> Option<String> {
    let mut request = ScanRequest::default();
    for _ in 0..60 {
        let scan =
            |blob: &Vec<u8>| scan_layer(blob.as_slice(), &request, &ScanLimits::default()).unwrap();
        let findings: Vec<LayerFinding> = blobs.iter().map(scan).collect();
        match RootView::apply(findings.iter().enumerate()).read(path) {
            Lookup::Found { content, .. } => return Some(content),
            Lookup::NotFound => return None,
            Lookup::NeedsFile(path) => assert!(request.extra_paths.insert(path), "asked for twice"),
            Lookup::TooLarge { .. } => unreachable!(),
        }
    }
    unreachable!("asked for too many paths");
}

#[test]
fn findings_answer_as_unpacking_all_layers_does() {
    let (mut found, mut missing) = (0, 0);
    'image: for seed in 0..6_000 {
        let mut dice = Dice(seed);
        let mut root = Directory::default();
        let mut layers = Vec::new();
        for index in 0..=dice.below(2) {
            let count = 1 + dice.below(12);
            let members: Vec<Member> = (0..count)
                .map(|number| member(&mut dice, 100 * index + number))
                .collect();
            let mut layer = Directory::default();
            for member in &members {
                if layer.is_impossible(member) {
                    continue 'image;
                }
                // What else cannot be unpacked is passed over.
                let _ = layer.unpack(member);
            }
            let below = root.clone();
            root.lay(&layer, &below);
            layers.push(members);
        }
        let blobs: Vec<Vec<u8>> = layers.iter().map(|members| pack(members)).collect();
        for path in ["etc/os-release", "usr/lib/os-release", "etc/debian_version"] {
            let expected = root.read(path);
            *(if expected.is_some() {
                &mut found
            } else {
                &mut missing
            }) += 1;
            assert_eq!(
                read_from_findings(&blobs, path),
                expected,
                "seed {seed}, {path}: {layers:#?}"
            );
        }
    }
    assert!(
        found > 2000 && missing > 2000,
        "the cases are one-sided: {found} found, {missing} not"
    );
}
