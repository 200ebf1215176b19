//! Names inside an image, brought into one form.
//!
//! In: the bytes of a tar header or of a link's target. Out: a relative path without `.`, `..`,
//! doubled or leading slashes; the root is the empty string. Knows nothing of what lies at a path.

use std::borrow::Cow;

/// First code point of the 256 that stand for single bytes that are not UTF-8.
///
/// Plane 16 is for private use (Unicode 17, section 23.5): no release file's path uses it, so names
/// that are not UTF-8 stay distinct and links to them still work.
const RAW_BYTE_BASE: u32 = 0x10_FE00;

/// A name as text: UTF-8 as it is, every other byte as one private code point.
pub(super) fn text(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        for byte in chunk.invalid() {
            out.push(char::from_u32(RAW_BYTE_BASE + u32::from(*byte)).unwrap_or('\u{FFFD}'));
        }
    }
    Cow::Owned(out)
}

/// The path in its one form. `..` is taken lexically and stops at the root.
///
/// containerd unpacks such names the same way (it cleans the name, then resolves the parent inside
/// the root); Docker refuses them. Where an image with one runs at all, this is where the file is.
pub(super) fn clean(name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Everything before the last component, and the last component. The root has neither.
pub(super) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// The proper ancestors of a path below the root, outermost first: `a/b/c` → `a`, `a/b`.
pub(super) fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/')
        .filter_map(move |(at, _)| path.get(..at))
}

/// `directory/name`, where the root is the empty string.
pub(super) fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() {
        name.to_owned()
    } else {
        format!("{directory}/{name}")
    }
}

/// True if `path` lies below `directory`; everything but the root itself lies below the root.
pub(super) fn is_below(path: &str, directory: &str) -> bool {
    if directory.is_empty() {
        return !path.is_empty();
    }
    path.strip_prefix(directory)
        .is_some_and(|rest| rest.starts_with('/'))
}

/// Where a link at `path` points to, taken lexically (links on the way are not followed).
pub(super) fn link_target(path: &str, target: &str) -> String {
    if target.starts_with('/') {
        return clean(target);
    }
    let (parent, _) = split(path);
    clean(&join(parent, target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_brought_into_one_form() {
        for (name, cleaned) in [
            ("./etc/os-release", "etc/os-release"),
            ("/etc//os-release", "etc/os-release"),
            ("//etc/./os-release/", "etc/os-release"),
            ("./", ""),
            ("", ""),
            ("a/../etc/x", "etc/x"),
            ("../../etc/x", "etc/x"),
            ("etc/..", ""),
        ] {
            assert_eq!(clean(name), cleaned, "{name}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_stay_distinct() {
        assert_eq!(text(b"etc/os-release"), "etc/os-release");
        assert_ne!(text(b"caf\xe9"), text(b"caf\xe8"));
        assert!(text(b"a\xffb").starts_with('a') && text(b"a\xffb").ends_with('b'));
    }

    #[test]
    fn ancestors_and_links_are_lexical() {
        assert_eq!(ancestors("a/b/c").collect::<Vec<_>>(), ["a", "a/b"]);
        assert_eq!(ancestors("a").count(), 0);
        assert_eq!(
            link_target("etc/os-release", "../usr/lib/os-release"),
            "usr/lib/os-release"
        );
        assert_eq!(link_target("etc/os-release", "/x/y"), "x/y");
        assert!(is_below("etc/x", "etc") && !is_below("etcetera", "etc") && is_below("etc", ""));
    }
}
