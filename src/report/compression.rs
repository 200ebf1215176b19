//! Compressed files: gzip and zstd, written in chunks and told by their first bytes when they are read.

use std::io::{self, BufRead, BufReader, Read, Write};

use flate2::GzBuilder;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Chunk;

/// What is written takes 2 MiB; a file that asks for more than this is none of ours.
const MAX_WINDOW_LOG: u32 = 23;

/// How a file is compressed.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// For every reader
    Gzip,
    /// Smaller and faster
    Zstd,
}

impl Compression {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Gzip, Self::Zstd];

    /// What the file's name ends in.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Gzip => "gz",
            Self::Zstd => "zst",
        }
    }
}

/// Compresses chunks as they come. The facts of a JSON report are a member (gzip) or frame (zstd) of
/// their own, so that their bytes alone can be read.
pub fn compressed<'a>(
    chunks: impl Iterator<Item = io::Result<Chunk>> + 'a,
    compression: Option<Compression>,
) -> Box<dyn Iterator<Item = io::Result<Chunk>> + 'a> {
    let Some(compression) = compression else {
        return Box::new(chunks);
    };
    let mut encoder = None;
    let mut encode = move |chunk: Option<Chunk>| -> io::Result<Chunk> {
        let mut active = match encoder.take() {
            Some(active) => active,
            None => Encoder::new(compression)?,
        };
        let Some(mut chunk) = chunk else {
            return Ok(Chunk::new(active.finish()?, 0));
        };
        chunk.bytes = active.encode(&chunk.bytes)?;
        if chunk.ends_facts {
            chunk.bytes.extend(active.finish()?);
        } else {
            encoder = Some(active);
        }
        Ok(chunk)
    };
    let pieces = chunks.map(|chunk| chunk.map(Some)).chain([Ok(None)]);
    Box::new(pieces.map(move |chunk| encode(chunk?)))
}

enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(zstd::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    fn new(compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            // No time and no name: equal reports are equal files.
            Compression::Gzip => {
                Self::Gzip(GzBuilder::new().write(Vec::new(), flate2::Compression::default()))
            }
            Compression::Zstd => Self::Zstd(zstd::Encoder::new(
                Vec::new(),
                zstd::DEFAULT_COMPRESSION_LEVEL,
            )?),
        })
    }

    /// Takes bytes, and gives what is ready.
    fn encode(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        Ok(match self {
            Self::Gzip(encoder) => {
                encoder.write_all(bytes)?;
                std::mem::take(encoder.get_mut())
            }
            Self::Zstd(encoder) => {
                encoder.write_all(bytes)?;
                std::mem::take(encoder.get_mut())
            }
        })
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

/// What a file holds, compressed or not.
pub fn decompressed<'a>(reader: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut reader = BufReader::new(reader);
    let start = reader.fill_buf()?;
    Ok(if start.starts_with(&[0x1f, 0x8b]) {
        Box::new(MultiGzDecoder::new(reader))
    } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let mut decoder = zstd::Decoder::with_buffer(reader)?;
        decoder.window_log_max(MAX_WINDOW_LOG)?;
        Box::new(decoder)
    } else {
        Box::new(reader)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compressed_reads_the_same_and_its_facts_alone_do_too() -> io::Result<()> {
        let pieces = [("head ", false), ("facts;", true), ("rows", false)];
        for compression in [None, Some(Compression::Gzip), Some(Compression::Zstd)] {
            let chunks = pieces.map(|(text, ends_facts)| {
                Ok(Chunk {
                    bytes: text.into(),
                    rows: 1,
                    ends_facts,
                })
            });
            let (mut all, mut facts, mut rows) = (Vec::new(), 0, 0);
            for chunk in compressed(chunks.into_iter(), compression) {
                let chunk = chunk?;
                all.extend(&chunk.bytes);
                rows += chunk.rows;
                if chunk.ends_facts {
                    facts = all.len();
                }
            }
            assert_eq!(rows, 3);
            let (mut whole, mut beginning) = (String::new(), String::new());
            decompressed(&all[..])?.read_to_string(&mut whole)?;
            decompressed(&all[..facts])?.read_to_string(&mut beginning)?;
            assert_eq!(
                (whole.as_str(), beginning.as_str()),
                ("head facts;rows", "head facts;")
            );
        }
        Ok(())
    }

    #[test]
    fn a_window_that_no_file_of_ours_needs_is_refused() -> io::Result<()> {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1)?;
        encoder.window_log(27)?;
        encoder.write_all(&[7; 1 << 20])?;
        let bytes = encoder.finish()?;
        let read = io::copy(&mut decompressed(&bytes[..])?, &mut io::sink());
        assert!(read.is_err());
        Ok(())
    }
}
