//! Encoded reports come in pieces, so that none is ever held whole.

/// Chunks are handed over at about this size: large enough for few writes, small enough for memory.
pub(super) const CHUNK_BYTES: usize = 64 * 1024;

/// A piece of an encoded report, and how many rows end in it.
#[derive(Debug)]
pub struct Chunk {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Rows whose last byte is in this chunk.
    pub rows: u64,
    /// Whether the facts of a JSON report (head, images, layers) end with this chunk.
    pub ends_facts: bool,
}

impl Chunk {
    /// A piece within the report, or a whole file.
    pub fn new(bytes: Vec<u8>, rows: u64) -> Self {
        Self {
            bytes,
            rows,
            ends_facts: false,
        }
    }
}

/// Gathers encoded rows into chunks.
pub(super) fn chunked<'a, T>(
    header: Vec<u8>,
    rows: impl Iterator<Item = T> + 'a,
    footer: &'a [u8],
    encode: impl Fn(&T, &mut Vec<u8>) + 'a,
) -> impl Iterator<Item = Chunk> + 'a {
    let mut rows = rows;
    let mut buffer = Some(header);
    std::iter::from_fn(move || {
        let mut bytes = buffer.take()?;
        let mut count = 0;
        while bytes.len() < CHUNK_BYTES {
            let Some(row) = rows.next() else {
                bytes.extend_from_slice(footer);
                return Some(Chunk::new(bytes, count));
            };
            encode(&row, &mut bytes);
            count += 1;
        }
        buffer = Some(Vec::with_capacity(CHUNK_BYTES + 4_096));
        Some(Chunk::new(bytes, count))
    })
}
