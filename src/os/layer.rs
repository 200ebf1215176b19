//! Reads one layer blob as a stream and keeps what identification can need of it.
//!
//! In: the blob's bytes as a registry serves them, what is asked for, and limits. Out: a
//! [`LayerFinding`]. It is told neither media type nor digest: compression is known by its first
//! bytes, and whether the bytes are the right ones is for the caller to verify. Nothing is unpacked.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use tar::{Archive, EntryType};

use super::content::{BusyboxSearch, condense};
use super::finding::{Entry, LayerFinding, ScanRequest};
use super::known::is_busybox_name;
use super::limits::{LayerError, Limit, MalformedLayer, ScanLimits};
use super::meter::{Compressed, Decompressed, Fault, Gauge};
use super::names::{Names, names};
use super::path::text;
use super::sparse::expand;
use super::tree::LayerTree;

/// Read from the blob and from each member at once, in bytes.
const BUFFER: usize = 64 * 1024;

/// Decompressed at once, in bytes: the tar crate asks for headers one by one, and small pieces are slow.
const DECOMPRESSED_BUFFER: usize = 256 * 1024;

/// The archive's unit, in bytes: a header, and what members are padded to.
const BLOCK: u64 = 512;

/// How many bytes of a blob tell its compression.
const MAGIC: usize = 6;

/// Reads a whole layer blob (plain tar, gzip with any number of members, or zstd; an empty blob is
/// an empty layer) and returns what it says about the usual and the requested paths.
///
/// Memory is bounded by the limits, not by the layer: some 500 KiB, the extended header of one
/// member, the captured text, and the window of a zstd frame. After `Ok` the reader has been read to
/// its end, so that who feeds it can finish and verify; after an error it has not.
///
/// # Errors
/// [`LayerError`]; where a limit ended the scan it carries what was found before.
pub fn scan_layer(
    reader: impl Read,
    request: &ScanRequest,
    limits: &ScanLimits,
) -> Result<LayerFinding, LayerError> {
    let mut tree = LayerTree::new(request);
    let gauge = Gauge::new(limits);
    if request.extra_paths.len() > limits.max_extra_paths {
        return Err(LayerError::Limit {
            limit: Limit::Request,
            found: Box::default(),
        });
    }
    let blob = BufReader::with_capacity(
        BUFFER,
        Compressed {
            inner: reader,
            gauge: &gauge,
        },
    );
    match read_blob(blob, &gauge, limits, &mut tree) {
        Ok(None) => Ok(tree.finish()),
        Ok(Some(compression)) => Err(LayerError::Unsupported(compression)),
        Err(error) => Err(match gauge.take_fault() {
            Some(Fault::Limit(limit)) => LayerError::Limit {
                limit,
                found: Box::new(tree.finish()),
            },
            Some(Fault::Source(error)) => LayerError::Read(error),
            Some(Fault::Decoder(reason)) => LayerError::Malformed(reason),
            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                LayerError::Malformed(MalformedLayer::Truncated)
            }
            None => LayerError::Malformed(MalformedLayer::Archive),
        }),
    }
}

/// Finds out the compression and reads the archive. `Some`: a compression that is not supported.
fn read_blob(
    mut blob: impl BufRead,
    gauge: &Gauge<'_>,
    limits: &ScanLimits,
    tree: &mut LayerTree<'_>,
) -> io::Result<Option<&'static str>> {
    let mut head = Vec::with_capacity(MAGIC);
    blob.by_ref().take(MAGIC as u64).read_to_end(&mut head)?;
    let mut blob = Cursor::new(head.clone()).chain(blob);
    match head.as_slice() {
        [] => {}
        [0x1f, 0x8b, ..] => {
            read_archive(MultiGzDecoder::new(&mut blob), gauge, limits, tree)?;
        }
        // A zstd frame, or one that decoders skip, as pzstd writes first (RFC 8878, section 3.1).
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            let mut decoder = zstd::Decoder::with_buffer(&mut blob)?;
            decoder.window_log_max(limits.max_zstd_window_log)?;
            read_archive(decoder, gauge, limits, tree)?;
        }
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, ..] => return Ok(Some("bzip2")),
        [0xfd, b'7', b'z', b'X', b'Z', 0x00] => return Ok(Some("xz")),
        [0x04, 0x22, 0x4d, 0x18, ..] => return Ok(Some("lz4")),
        _ => read_archive(&mut blob, gauge, limits, tree)?,
    }
    // What follows the archive's end is not decoded, but its sender wants to get rid of it.
    io::copy(&mut blob, &mut io::sink())?;
    Ok(None)
}

fn read_archive(
    decompressed: impl Read,
    gauge: &Gauge<'_>,
    limits: &ScanLimits,
    tree: &mut LayerTree<'_>,
) -> io::Result<()> {
    let mut archive = Archive::new(Decompressed {
        inner: BufReader::with_capacity(DECOMPRESSED_BUFFER, decompressed),
        gauge,
    });
    let mut entries = archive.entries()?;
    let mut buffer = vec![0; BUFFER];
    let mut count = 0_u64;
    let mut unread = 0;
    loop {
        // What lies between two members' data: padding, headers, and the extended headers, which the
        // tar crate holds whole.
        let headers = limits.max_extension_bytes.saturating_add(8 * BLOCK);
        gauge.allow(Some(headers.saturating_add(unread)));
        let Some(entry) = entries.next() else {
            return Ok(());
        };
        let mut entry = entry?;
        gauge.allow(None);
        count += 1;
        if count > limits.max_entries {
            return Err(gauge.trip(Limit::Entries));
        }
        unread = take_member(&mut entry, limits, tree, &mut buffer)?;
        if tree.captured_bytes() > limits.max_captured_bytes {
            return Err(gauge.trip(Limit::Captured));
        }
        if tree.walked() > limits.max_path_parts {
            return Err(gauge.trip(Limit::Paths));
        }
    }
}

/// Puts one member into the tree and reads its data to the end. Gives the bytes that it left.
fn take_member<R: Read>(
    entry: &mut tar::Entry<'_, R>,
    limits: &ScanLimits,
    tree: &mut LayerTree<'_>,
    buffer: &mut [u8],
) -> io::Result<u64> {
    let kind = entry.header().entry_type();
    let names = names(entry)?;
    let located = if names.path.len() > limits.max_path_bytes {
        None
    } else {
        tree.locate(&text(&names.path))
    };
    let Some(path) = located else {
        return pass_over(entry, buffer);
    };
    let link = names.link.as_deref().map(text).unwrap_or_default();
    let link_fits = link.len() <= limits.max_path_bytes;
    match kind {
        EntryType::Directory => tree.add(&path, Entry::Directory),
        // Before POSIX.1-1988 a directory was a file whose name ends in a slash.
        EntryType::Regular if names.path.ends_with(b"/") => tree.add(&path, Entry::Directory),
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            if tree.wants(&path) {
                let content = capture(entry, &path, &names, limits, buffer)?;
                tree.add(&path, content);
            } else {
                tree.add(&path, Entry::Other);
            }
        }
        EntryType::Symlink if link_fits => tree.add(&path, Entry::Symlink(link.into_owned())),
        EntryType::Link if link_fits => tree.add_hardlink(&path, &link),
        EntryType::Char | EntryType::Block | EntryType::Fifo => tree.add(&path, Entry::Other),
        // Global headers and kinds that no unpacker knows.
        _ => {}
    }
    pass_over(entry, buffer)
}

/// Reads the rest of a member's data. Gives the bytes that it left to the tar crate to skip.
///
/// The holes of a sparse member are not data: reading them could take for ever, so its data is left
/// to be skipped in the archive.
fn pass_over<R: Read>(entry: &mut tar::Entry<'_, R>, buffer: &mut [u8]) -> io::Result<u64> {
    if entry.header().entry_type().is_gnu_sparse() {
        let in_header = entry.header().entry_size().unwrap_or(0);
        let in_pax = entry.pax_extensions()?.and_then(|records| {
            records
                .flatten()
                .find(|record| record.key_bytes() == b"size")
                .and_then(|record| {
                    record
                        .value()
                        .ok()
                        .and_then(|value| value.parse::<u64>().ok())
                })
        });
        return Ok(in_pax.unwrap_or(in_header));
    }
    while entry.read(buffer)? > 0 {}
    Ok(0)
}

/// The content of a file that is wanted.
fn capture<R: Read>(
    entry: &mut tar::Entry<'_, R>,
    path: &str,
    names: &Names,
    limits: &ScanLimits,
    buffer: &mut [u8],
) -> io::Result<Entry> {
    if is_busybox_name(path) {
        let mut search = BusyboxSearch::default();
        // A program of many megabytes is no busybox, and a sparse one may be endless.
        let mut rest = limits.max_file_bytes.saturating_mul(16);
        while rest > 0 {
            let read = entry.read(buffer)?;
            if read == 0 {
                break;
            }
            search.feed(buffer.get(..read).unwrap_or_default());
            rest = rest.saturating_sub(read as u64);
        }
        return Ok(Entry::File(search.finish()));
    }
    let size = names.sparse.real_size.unwrap_or_else(|| entry.size());
    if size > limits.max_file_bytes || entry.size() > limits.max_file_bytes {
        return Ok(Entry::TooLarge(size));
    }
    let mut content = Vec::new();
    entry.read_to_end(&mut content)?;
    if !names.sparse.is_sparse() {
        return Ok(Entry::File(condense(&content)));
    }
    // A map that is damaged makes a file that no unpacker can write.
    Ok(expand(&content, &names.sparse, limits.max_file_bytes)
        .map_or(Entry::Other, |content| Entry::File(condense(&content))))
}
