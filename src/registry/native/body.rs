//! From a response's body to a reader on a thread that may block, with its digest.
//!
//! What comes is hashed on this side of the reader: inflating takes a core of its own.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::failure::Failure;
use crate::image::{Digest, Sha256Writer};

/// Pieces that wait for the reader: each has the size of one read from the network, 64 KiB at the most.
const PIECES: usize = 8;

/// What a reader reads: pieces as they come.
pub(super) struct Body {
    pieces: Receiver<Bytes>,
    piece: Bytes,
}

/// Two ends: what is sent into one is read from the other.
pub(super) fn body() -> (Sender<Bytes>, Body) {
    let (sender, pieces) = channel(PIECES);
    let body = Body {
        pieces,
        piece: Bytes::new(),
    };
    (sender, body)
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.piece.len());
        buffer[..count].copy_from_slice(&self.piece[..count]);
        self.piece.advance(count);
        Ok(count)
    }
}

/// Passes on what comes, to its end; the digest of it. None if nobody reads it to the end.
pub(super) async fn pass_on(
    mut from: Incoming,
    to: Sender<Bytes>,
) -> Result<Option<Digest>, Failure> {
    let mut hash = Sha256Writer::new(io::sink());
    while let Some(frame) = from.frame().await {
        let frame = frame.map_err(|error| Failure::of(&error))?;
        if let Ok(piece) = frame.into_data() {
            hash.write_all(&piece).map_err(|_| Failure::Unknown)?;
            if to.send(piece).await.is_err() {
                return Ok(None);
            }
        }
    }
    let (_, digest, _) = hash.finish();
    Ok(Some(digest))
}

/// A body of so many bytes at the most; none if it is larger.
pub(super) async fn read_small(
    mut from: Incoming,
    most: usize,
) -> Result<Option<Vec<u8>>, Failure> {
    let mut bytes = Vec::new();
    while let Some(frame) = from.frame().await {
        let frame = frame.map_err(|error| Failure::of(&error))?;
        if let Ok(piece) = frame.into_data() {
            if bytes.len() + piece.len() > most {
                return Ok(None);
            }
            bytes.extend_from_slice(&piece);
        }
    }
    Ok(Some(bytes))
}
