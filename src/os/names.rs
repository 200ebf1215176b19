//! The names of one archive member: its path, its link target, and whether its data is sparse.
//!
//! Where names are given more than once the choice is that of Go's `archive/tar`, which containerd
//! and Docker unpack with: a GNU long name before a PAX record before the header; of equal PAX
//! records the last; a GNU.sparse.name before all. Knows nothing of what the names mean.

use std::io::{self, Read};

use tar::Entry;

/// What a member is called.
pub(super) struct Names {
    /// Its path as written.
    pub(super) path: Vec<u8>,
    /// The target of a link as written.
    pub(super) link: Option<Vec<u8>>,
    /// PAX records that describe holes; empty for ordinary members.
    pub(super) sparse: SparseRecords,
}

/// GNU's PAX records of a sparse file (GNU tar manual, "Storing Sparse Files").
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SparseRecords {
    /// Version 1.0: the map stands before the data.
    pub(super) map_in_data: bool,
    /// Versions 0.0 and 0.1: offset and length of each piece, alternating.
    pub(super) map: Vec<u64>,
    /// The size of the file with its holes, in bytes.
    pub(super) real_size: Option<u64>,
}

impl SparseRecords {
    /// True if the member's data is not simply its content.
    pub(super) fn is_sparse(&self) -> bool {
        self.map_in_data || !self.map.is_empty()
    }
}

/// The first and the last value of a PAX record: the tar crate answers with the first.
#[derive(Default)]
struct Seen {
    first: Option<Vec<u8>>,
    last: Option<Vec<u8>>,
}

impl Seen {
    fn note(&mut self, value: &[u8]) {
        if self.first.is_none() {
            self.first = Some(value.to_vec());
        }
        self.last = Some(value.to_vec());
    }

    /// `from_crate` unless it came from a PAX record, of which then the last counts; an empty last
    /// record means that the header's own name stands.
    fn choose(self, from_crate: Option<Vec<u8>>, header: Option<Vec<u8>>) -> Option<Vec<u8>> {
        match (self.first, self.last) {
            (Some(first), Some(last)) if Some(&first) == from_crate.as_ref() => {
                if last.is_empty() {
                    header
                } else {
                    Some(last)
                }
            }
            _ => from_crate,
        }
    }
}

/// Reads the names of a member.
pub(super) fn names<R: Read>(entry: &mut Entry<'_, R>) -> io::Result<Names> {
    let crate_path = entry.path_bytes().into_owned();
    let crate_link = entry.link_name_bytes().map(std::borrow::Cow::into_owned);
    let (mut path, mut link) = (Seen::default(), Seen::default());
    let mut records = Records::default();
    if let Some(extensions) = entry.pax_extensions()? {
        // A record that is malformed, or that has a line feed in its value, is passed over.
        for record in extensions.flatten() {
            match record.key_bytes() {
                b"path" => path.note(record.value_bytes()),
                b"linkpath" => link.note(record.value_bytes()),
                key => records.note(key, record.value_bytes()),
            }
        }
    }
    let header = entry.header();
    let path = path.choose(Some(crate_path), Some(header.path_bytes().into_owned()));
    let link = link.choose(
        crate_link,
        header.link_name_bytes().map(std::borrow::Cow::into_owned),
    );
    let (sparse, sparse_name) = records.finish();
    Ok(Names {
        path: sparse_name.or(path).unwrap_or_default(),
        link,
        sparse,
    })
}

/// The GNU.sparse records as they come.
#[derive(Default)]
struct Records {
    name: Option<Vec<u8>>,
    major: Option<u64>,
    minor: Option<u64>,
    size: Option<u64>,
    /// Version 0.1 (comma separated) or 0.0 (one record each).
    map: Vec<u64>,
}

impl Records {
    fn note(&mut self, key: &[u8], value: &[u8]) {
        let Some(key) = key.strip_prefix(b"GNU.sparse.") else {
            return;
        };
        match key {
            b"name" => self.name = Some(value.to_vec()),
            b"major" => self.major = number(value),
            b"minor" => self.minor = number(value),
            b"size" | b"realsize" => self.size = number(value),
            b"offset" | b"numbytes" => self.map.extend(number(value)),
            b"map" => {
                self.map = value
                    .split(|byte| *byte == b',')
                    .filter_map(number)
                    .collect();
            }
            _ => {}
        }
    }

    /// A version that nobody defined makes neither holes nor a name.
    fn finish(self) -> (SparseRecords, Option<Vec<u8>>) {
        let map_in_data = match (self.major, self.minor) {
            (Some(1), Some(0)) => true,
            (Some(0), Some(0 | 1)) => false,
            (None, None) if !self.map.is_empty() => false,
            _ => return (SparseRecords::default(), None),
        };
        let name = self.name.filter(|name| !name.is_empty());
        (
            SparseRecords {
                map_in_data,
                map: self.map,
                real_size: self.size,
            },
            name,
        )
    }
}

/// A decimal number as the tar formats write it.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]
mod tests {
    use super::*;
    use crate::os::testing::TarBuilder;

    fn first_names(archive: Vec<u8>) -> (String, Option<String>) {
        let mut archive = tar::Archive::new(archive.as_slice());
        let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
        let names = names(&mut entry).unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&names.path), names.link.as_deref().map(text))
    }

    #[test]
    fn of_equal_pax_records_the_last_counts() {
        let archive = TarBuilder::new()
            .pax(&[("path", b"etc/first"), ("path", b"etc/last")])
            .file("etc/header", b"x")
            .build();
        assert_eq!(first_names(archive).0, "etc/last");
    }

    #[test]
    fn an_empty_pax_record_leaves_the_headers_name() {
        let archive = TarBuilder::new()
            .pax(&[("path", b"etc/first"), ("path", b"")])
            .file("etc/header", b"x")
            .build();
        assert_eq!(first_names(archive).0, "etc/header");
    }

    #[test]
    fn a_gnu_long_name_comes_before_a_pax_record() {
        let archive = TarBuilder::new()
            .gnu_long_name("etc/gnu")
            .pax(&[("path", b"etc/pax")])
            .file("h", b"x")
            .build();
        assert_eq!(first_names(archive).0, "etc/gnu");
    }

    #[test]
    fn link_targets_follow_the_same_rules() {
        let archive = TarBuilder::new()
            .pax(&[("linkpath", b"a"), ("linkpath", b"b")])
            .symlink("l", "header")
            .build();
        assert_eq!(first_names(archive), ("l".to_owned(), Some("b".to_owned())));
    }

    #[test]
    fn a_sparse_member_has_its_own_name() {
        let archive = TarBuilder::new()
            .pax(&[
                ("GNU.sparse.major", b"1"),
                ("GNU.sparse.minor", b"0"),
                ("GNU.sparse.name", b"etc/os-release"),
                ("GNU.sparse.realsize", b"9"),
            ])
            .file("GNUSparseFile.0/os-release", b"0\n")
            .build();
        assert_eq!(first_names(archive).0, "etc/os-release");
    }
}
