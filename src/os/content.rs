//! What is kept of a captured file: enough to identify by, little enough for a report.
//!
//! In: bytes. Out: text. A release file of ordinary size is kept whole; of a longer one the lines of
//! the keys that the rules read; of busybox its name and version. It judges nothing.

/// Files up to this many bytes are kept whole: twice the longest os-release that a distribution
/// ships.
const WHOLE: usize = 4096;

/// Longest line kept of a longer file, in bytes: values are cut at 256 characters anyway, which with
/// escapes and four-byte characters stays below this.
const LONGEST_LINE: usize = 2048;

/// Keys of os-release and lsb-release that the rules read.
const KEYS: [&str; 12] = [
    "ID",
    "NAME",
    "VERSION_ID",
    "VERSION",
    "PRETTY_NAME",
    "DEBIAN_VERSION_FULL",
    "DISTRIB_ID",
    "DISTRIB_RELEASE",
    "DISTRIB_CODENAME",
    "DISTRIB_DESCRIPTION",
    "PATCHLEVEL",
    "CODENAME",
];

/// Binaries compiled from busybox carry this text once, followed by a version and a date.
const BUSYBOX: &[u8] = b"BusyBox v";

/// Longest version of busybox that is kept, in bytes (`1.36.1`, `1.37.0.git`).
const LONGEST_VERSION: usize = 24;

/// The text of a release file, shortened to what the rules read if it is long.
pub(super) fn condense(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if text.len() <= WHOLE {
        return text.into_owned();
    }
    let mut lines: Vec<(&str, &str)> = Vec::new();
    for line in text.trim_start_matches('\u{FEFF}').lines() {
        let line = line.trim();
        let Some((key, _)) = line.split_once('=') else {
            continue;
        };
        let Some(key) = KEYS.into_iter().find(|known| *known == key.trim_end()) else {
            continue;
        };
        lines.retain(|(earlier, _)| *earlier != key);
        lines.push((key, cut(line, LONGEST_LINE)));
    }
    if lines.is_empty() {
        return cut(&text, WHOLE).to_owned();
    }
    lines.iter().map(|(_, line)| format!("{line}\n")).collect()
}

/// The text up to `limit` bytes, not ending within a character.
pub(super) fn cut(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// Looks for busybox's version in a program that passes by in pieces.
#[derive(Debug, Default)]
pub(super) struct BusyboxSearch {
    /// The end of what passed, in which the text may have begun.
    tail: Vec<u8>,
    found: Option<String>,
}

impl BusyboxSearch {
    /// Takes the next piece.
    pub(super) fn feed(&mut self, piece: &[u8]) {
        if self.found.is_some() {
            return;
        }
        let keep = BUSYBOX.len() + LONGEST_VERSION;
        let head = piece.get(..keep.min(piece.len())).unwrap_or_default();
        self.tail.extend_from_slice(head);
        self.found = search(&self.tail).or_else(|| search(piece));
        if piece.len() >= keep {
            self.tail.clear();
            self.tail
                .extend_from_slice(piece.get(piece.len() - keep..).unwrap_or_default());
        } else {
            let excess = self.tail.len().saturating_sub(keep);
            self.tail.drain(..excess);
        }
    }

    /// `BusyBox v1.36.1`, or nothing if the program does not say so.
    pub(super) fn finish(self) -> String {
        self.found.unwrap_or_default()
    }
}

/// The name and version in `bytes`, if they hold both, and something after the version.
fn search(bytes: &[u8]) -> Option<String> {
    let mut at = 0;
    while let Some(start) = find(bytes.get(at..)?, BUSYBOX) {
        let begin = at + start + BUSYBOX.len();
        let rest = bytes.get(begin..)?;
        let length = rest
            .iter()
            .position(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'.'))?;
        let version = rest.get(..length)?;
        if length <= LONGEST_VERSION && version.first().is_some_and(u8::is_ascii_digit) {
            return Some(format!("BusyBox v{}", String::from_utf8_lossy(version)));
        }
        at = begin;
    }
    None
}

/// The place of `needle` in `bytes`.
fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut at = 0;
    while let Some(next) = bytes.get(at..)?.iter().position(|byte| *byte == first) {
        if bytes.get(at + next..)?.starts_with(needle) {
            return Some(at + next);
        }
        at += next + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::OsRelease;

    #[test]
    fn a_long_file_keeps_what_the_rules_read() {
        let mut long = "# padding\n".repeat(10_000) + "UNREAD=\n";
        long.push_str("ID=first\r\nNAME='A  b'\nID=\"last\"\nVERSION_ID=\n");
        long.push_str(&"# more\n".repeat(10_000));
        let short = condense(long.as_bytes());
        assert!(short.len() < 100, "{short}");
        assert_eq!(OsRelease::parse(&short), OsRelease::parse(&long));
    }

    #[test]
    fn a_long_file_of_another_kind_keeps_its_beginning() {
        let short = condense("CentOS release 6.10 (Final)\n".repeat(1000).as_bytes());
        assert!(short.starts_with("CentOS release 6.10 (Final)\n") && short.len() == WHOLE);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced() {
        assert_eq!(condense(b"NAME=\"caf\xe9\"\n"), "NAME=\"caf\u{FFFD}\"\n");
    }

    #[test]
    fn busybox_tells_its_version_wherever_the_pieces_end() {
        let mut program = vec![b'B'; 1000];
        program.extend_from_slice(b"\0BusyBox vapour\0BusyBox v1.36.1 (2024-01-01)\0");
        program.extend(vec![0; 1000]);
        for size in [1, 2, 7, 33, 34, 64, 1000, 5000] {
            let mut search = BusyboxSearch::default();
            program.chunks(size).for_each(|piece| search.feed(piece));
            assert_eq!(search.finish(), "BusyBox v1.36.1", "pieces of {size}");
        }
        let mut search = BusyboxSearch::default();
        search.feed(b"toybox 0.8");
        assert_eq!(search.finish(), "");
    }
}
