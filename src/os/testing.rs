//! Small archives for the tests of this module, written header by header so that odd ones are
//! possible too. Knows the ustar layout (POSIX.1-1988) and GNU's extensions, and no rules.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::io::Write;

use super::{
    Identification, LayerError, LayerFinding, RootView, ScanLimits, ScanRequest, identify,
    scan_layer,
};

/// Builds a tar archive member by member.
#[derive(Default, Clone)]
pub(super) struct TarBuilder {
    bytes: Vec<u8>,
}

impl TarBuilder {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// A member of any kind. Names longer than the header's field are cut.
    pub(super) fn member(mut self, kind: u8, name: &[u8], link: &[u8], data: &[u8]) -> Self {
        self.bytes
            .extend_from_slice(&header(kind, name, link, data.len() as u64));
        self.bytes.extend_from_slice(data);
        let padded = self.bytes.len().next_multiple_of(512);
        self.bytes.resize(padded, 0);
        self
    }

    pub(super) fn file(self, name: &str, data: &[u8]) -> Self {
        self.member(b'0', name.as_bytes(), b"", data)
    }

    pub(super) fn directory(self, name: &str) -> Self {
        self.member(b'5', name.as_bytes(), b"", b"")
    }

    pub(super) fn symlink(self, name: &str, target: &str) -> Self {
        self.member(b'2', name.as_bytes(), target.as_bytes(), b"")
    }

    pub(super) fn hardlink(self, name: &str, target: &str) -> Self {
        self.member(b'1', name.as_bytes(), target.as_bytes(), b"")
    }

    pub(super) fn gnu_long_name(self, name: &str) -> Self {
        self.member(b'L', b"././@LongLink", b"", format!("{name}\0").as_bytes())
    }

    pub(super) fn gnu_long_link(self, target: &str) -> Self {
        self.member(
            b'K',
            b"././@LongLink",
            b"",
            format!("{target}\0").as_bytes(),
        )
    }

    /// PAX records for the next member.
    pub(super) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while rest + length.to_string().len() != length {
                length = rest + length.to_string().len();
            }
            data.extend_from_slice(format!("{length} {key}=").as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.member(b'x', b"PaxHeaders/x", b"", &data)
    }

    /// A GNU sparse file whose one piece of data stands at `offset`.
    pub(super) fn gnu_sparse(mut self, name: &str, offset: u64, data: &[u8]) -> Self {
        let mut block = header(b'S', name.as_bytes(), b"", data.len() as u64);
        let mut field = |at: usize, value: u64| block[at..at + 12].copy_from_slice(&octal12(value));
        field(386, offset);
        field(398, data.len() as u64);
        field(483, offset + data.len() as u64);
        block[257..265].copy_from_slice(b"ustar  \0");
        checksum(&mut block);
        self.bytes.extend_from_slice(&block);
        self.bytes.extend_from_slice(data);
        let padded = self.bytes.len().next_multiple_of(512);
        self.bytes.resize(padded, 0);
        self
    }

    /// The members without the two empty blocks that end an archive.
    pub(super) fn unfinished(self) -> Vec<u8> {
        self.bytes
    }

    pub(super) fn build(mut self) -> Vec<u8> {
        self.bytes.extend([0; 1024]);
        self.bytes
    }
}

/// A ustar header with a valid checksum.
pub(super) fn header(kind: u8, name: &[u8], link: &[u8], size: u64) -> [u8; 512] {
    let mut block = [0_u8; 512];
    let name = &name[..name.len().min(100)];
    block[..name.len()].copy_from_slice(name);
    block[100..108].copy_from_slice(b"0000644\0");
    block[108..116].copy_from_slice(b"0000000\0");
    block[116..124].copy_from_slice(b"0000000\0");
    block[124..136].copy_from_slice(&octal12(size));
    block[136..148].copy_from_slice(&octal12(0));
    block[156] = kind;
    let link = &link[..link.len().min(100)];
    block[157..157 + link.len()].copy_from_slice(link);
    block[257..265].copy_from_slice(b"ustar\x0000");
    checksum(&mut block);
    block
}

/// Octal where it fits into eleven digits, else GNU's base-256.
fn octal12(value: u64) -> [u8; 12] {
    let mut field = [0; 12];
    if value < 1 << 33 {
        field.copy_from_slice(format!("{value:011o}\0").as_bytes());
    } else {
        field[4..].copy_from_slice(&value.to_be_bytes());
        field[0] = 0x80;
    }
    field
}

/// Makes the checksum right of the block around `at`, if that can be a header.
pub(super) fn repair_checksum(archive: &mut [u8], at: usize) {
    let start = at / 512 * 512;
    if let Some(block) = archive
        .get_mut(start..start + 512)
        .and_then(|block| <&mut [u8; 512]>::try_from(block).ok())
        && block.get(257..262) == Some(b"ustar")
    {
        checksum(block);
    }
}

fn checksum(block: &mut [u8; 512]) {
    block[148..156].copy_from_slice(b"        ");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// Compresses with gzip, as one member.
pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Scans with the default limits.
pub(super) fn scan(blob: &[u8]) -> Result<LayerFinding, LayerError> {
    scan_layer(blob, &ScanRequest::default(), &ScanLimits::default())
}

/// A root file system for the tables of cases: paths with their text; `-> x` makes a symbolic link to
/// x, `=> x` a hard link.
pub(super) type Files = &'static [(&'static str, &'static str)];

/// One case of a table: what it is, its files, and the cells that are expected: ID, version, name,
/// release, source. Empty is none.
pub(super) type Case = (&'static str, Files, [&'static str; 5]);

/// The files as an archive, in the given order.
pub(super) fn archive(files: &[(&str, &str)]) -> TarBuilder {
    files.iter().fold(TarBuilder::new(), |tar, (path, text)| {
        if let Some(target) = text.strip_prefix("-> ") {
            tar.symlink(path, target)
        } else if let Some(target) = text.strip_prefix("=> ") {
            tar.hardlink(path, target)
        } else {
            tar.file(path, text.as_bytes())
        }
    })
}

/// Checks every case of a table, each as one layer.
pub(super) fn check(cases: &[Case]) {
    for (what, files, expected) in cases {
        let finding = scan(&archive(files).build()).unwrap();
        let cells = match identify(&RootView::apply([(0, &finding)])) {
            Identification::Found(found) => [
                found.id,
                found.version,
                found.name,
                found.release,
                Some(found.source),
            ],
            Identification::None => [None, None, None, None, Some("none".to_owned())],
            other => [None, None, None, None, Some(format!("{other:?}"))],
        };
        assert_eq!(cells.map(Option::unwrap_or_default), *expected, "{what}");
    }
}

/// A generator of pseudo-random numbers (SplitMix64, Steele et al. 2014): the same in every run.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound as u64)).unwrap()
    }

    pub(super) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}
