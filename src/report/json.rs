//! The JSON report: one document, a line a row; images, then layers, then containers.
//!
//! Head, images and layers are its facts: the next night reads them, and nothing behind them.

use super::{Chunk, Report, chunked};

/// Encodes a report.
pub(super) fn json_chunks(report: &Report) -> impl Iterator<Item = Chunk> + '_ {
    let mut head = serde_json::to_vec(&report.header).unwrap_or_default();
    head.pop();
    head.extend_from_slice(b",\n\"images\":[");
    let images = chunked(
        head,
        report.images.iter().enumerate(),
        b"\n],\n\"layers\":[",
        encode,
    );
    let layers = chunked(Vec::new(), report.layers.iter().enumerate(), b"", encode);
    // The rows of a report are its containers.
    let before = images.chain(layers).map(|chunk| Chunk { rows: 0, ..chunk });
    let end_of_facts = Chunk {
        bytes: b"\n],\n\"containers\":[".to_vec(),
        rows: 0,
        ends_facts: true,
    };
    before.chain([end_of_facts]).chain(chunked(
        Vec::new(),
        report.containers.iter().enumerate(),
        b"\n]}\n",
        encode,
    ))
}

fn encode<T: serde::Serialize>((place, row): &(usize, &T), bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(if *place == 0 { b"\n" } else { b",\n" });
    // Writing to a Vec cannot fail, and the rows have no map keys but strings.
    let written = serde_json::to_writer(bytes, row);
    debug_assert!(written.is_ok());
}
