//! How much of a layer is read, and what it means when that is not enough.
//!
//! Limits flow in from the caller's settings; errors flow out. Every error text is our own: nothing
//! that an archive or a registry wrote is repeated.

use std::io;

use super::finding::LayerFinding;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// Bounds of one scan. Bytes unless the name says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanLimits {
    /// Blob bytes read before the layer is left: 512 MiB, the default of `--max-layer`.
    pub max_compressed_bytes: u64,
    /// Bytes after decompression: 8 GiB, sixteen times the largest blob; ordinary root file systems
    /// and program trees pack two to five times.
    pub max_decompressed_bytes: u64,
    /// Decompressed bytes for each compressed byte, once `ratio_slack_bytes` are decompressed: 200.
    /// Text packs 5 to 20 times; only runs of zeros get near gzip's own bound of about 1030.
    pub max_ratio: u64,
    /// Decompressed bytes before the ratio counts: 256 MiB, because a small layer may well hold one
    /// file of zeros (`/var/log/lastlog`), and this much costs a second at most.
    pub ratio_slack_bytes: u64,
    /// Archive members: 2 million. Large real layers have some 300,000.
    pub max_entries: u64,
    /// A release file: 1 MiB. Real ones are under 2 KiB.
    pub max_file_bytes: u64,
    /// What precedes one member's own header (PAX records, GNU long names): 1 MiB, because the tar
    /// crate holds it in memory whole. PATH_MAX is 4 KiB and Linux bounds xattrs of a file at 64 KiB.
    pub max_extension_bytes: u64,
    /// A path: 4096, Linux's PATH_MAX; no longer one can be unpacked. Such members are passed over.
    pub max_path_bytes: usize,
    /// Parts of paths and of links on the way, of all members together: 32 million, 16 for each of
    /// the most members. One name can have 2,000 parts, and lead through 40 links as long.
    pub max_path_parts: u64,
    /// Text and link targets kept of one layer: 256 KiB. Real findings are under 4 KiB.
    pub max_captured_bytes: usize,
    /// Extra paths of one request: 64. A chain of links has at most 40.
    pub max_extra_paths: usize,
    /// Base-2 logarithm of the window that a zstd frame may ask for: 25 (32 MiB), what the zstd tool
    /// uses up to level 20 and klauspost/compress at its best level. It is memory of each scan.
    pub max_zstd_window_log: u32,
}

impl Default for ScanLimits {
    fn default() -> Self {
        Self {
            max_compressed_bytes: 512 * MIB,
            max_decompressed_bytes: 8 * GIB,
            max_ratio: 200,
            ratio_slack_bytes: 256 * MIB,
            max_entries: 2_000_000,
            max_file_bytes: MIB,
            max_extension_bytes: MIB,
            max_path_bytes: 4096,
            max_path_parts: 32_000_000,
            max_captured_bytes: 256 * 1024,
            max_extra_paths: 64,
            max_zstd_window_log: 25,
        }
    }
}

/// The bound that ended a scan early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    /// `max_compressed_bytes`.
    #[error("the layer is larger than the limit for layers")]
    Compressed,
    /// `max_decompressed_bytes`.
    #[error("the layer unpacks to more than the limit")]
    Decompressed,
    /// `max_ratio`.
    #[error("the layer unpacks to implausibly many times its size")]
    Ratio,
    /// `max_entries`.
    #[error("the layer has too many files")]
    Entries,
    /// `max_extension_bytes`.
    #[error("the layer has a file whose extended header is too large")]
    Extension,
    /// `max_path_parts`.
    #[error("the layer's files are too deep, or behind too many links")]
    Paths,
    /// `max_captured_bytes`.
    #[error("the layer has too much text in release files")]
    Captured,
    /// `max_extra_paths`.
    #[error("too many paths were asked for")]
    Request,
    /// `max_zstd_window_log`.
    #[error("the layer's zstd window is larger than the limit")]
    Window,
}

/// What is wrong with a layer's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedLayer {
    /// The decompressor refused the data.
    #[error("its compressed data is damaged")]
    Compression,
    /// The data ends in the middle.
    #[error("it ends in the middle")]
    Truncated,
    /// It is not a tar archive, or a damaged one.
    #[error("it is not a valid tar archive")]
    Archive,
}

/// Why a layer was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// A bound was met. `found` is what was seen until then: unverified, and later members of the
    /// layer could have replaced it.
    #[error("stopped reading a layer: {limit}")]
    Limit {
        /// The bound.
        limit: Limit,
        /// What was found before.
        found: Box<LayerFinding>,
    },
    /// The reader failed: a transfer that broke, a process that ended.
    #[error("could not read a layer")]
    Read(#[source] io::Error),
    /// The bytes are no layer. A transfer that was cut off looks the same: where the sender reports
    /// a failure of its own, that is the cause.
    #[error("a layer is malformed: {0}")]
    Malformed(MalformedLayer),
    /// A compression that the OCI image specification does not know for layers.
    #[error("a layer is compressed with {0}, which is not supported: use gzip or zstd")]
    Unsupported(&'static str),
}
