//! Readers that count: one around the blob, one around its decompressed bytes.
//!
//! They sit below the tar crate, because that crate holds PAX records and GNU long names in memory
//! whole and its callers see a member only afterwards. Why a read was refused is noted in the
//! [`Gauge`], so that no meaning has to be read out of another crate's error texts.

use std::cell::{Cell, RefCell};
use std::io::{self, Read};

use super::limits::{Limit, MalformedLayer, ScanLimits};

/// The counters of one scan and the first thing that went wrong.
pub(super) struct Gauge<'a> {
    limits: &'a ScanLimits,
    compressed: Cell<u64>,
    decompressed: Cell<u64>,
    /// Bytes that may still be read before the next member is known; none: any number.
    allowance: Cell<Option<u64>>,
    fault: RefCell<Option<Fault>>,
}

/// The first thing that went wrong.
pub(super) enum Fault {
    /// A bound was met.
    Limit(Limit),
    /// The caller's reader failed.
    Source(io::Error),
    /// The decompressor refused.
    Decoder(MalformedLayer),
}

impl<'a> Gauge<'a> {
    pub(super) fn new(limits: &'a ScanLimits) -> Self {
        Self {
            limits,
            compressed: Cell::new(0),
            decompressed: Cell::new(0),
            allowance: Cell::new(None),
            fault: RefCell::new(None),
        }
    }

    /// From here on so many decompressed bytes may be read; `None` lifts that bound.
    pub(super) fn allow(&self, bytes: Option<u64>) {
        self.allowance.set(bytes);
    }

    /// Notes that a bound was met, and gives the error that ends the reading.
    pub(super) fn trip(&self, limit: Limit) -> io::Error {
        self.note(Fault::Limit(limit));
        io::Error::other(limit)
    }

    /// The first fault; reading cannot go on after it.
    pub(super) fn take_fault(&self) -> Option<Fault> {
        self.fault.borrow_mut().take()
    }

    fn note(&self, fault: Fault) {
        self.fault.borrow_mut().get_or_insert(fault);
    }

    fn note_decoder(&self, error: &io::Error) {
        if self.fault.borrow().is_some() {
            return;
        }
        // The zstd crate has only the library's text for this; a test holds it to that.
        if error.to_string().contains("too much memory") {
            self.note(Fault::Limit(Limit::Window));
        } else if error.kind() == io::ErrorKind::UnexpectedEof
            || error.to_string().contains("incomplete frame")
        {
            self.note(Fault::Decoder(MalformedLayer::Truncated));
        } else {
            self.note(Fault::Decoder(MalformedLayer::Compression));
        }
    }
}

/// Counts the blob's own bytes.
pub(super) struct Compressed<'g, R> {
    pub(super) inner: R,
    pub(super) gauge: &'g Gauge<'g>,
}

impl<R: Read> Read for Compressed<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = loop {
            match self.inner.read(buffer) {
                Ok(read) => break read,
                // The tar crate takes an interrupted read for a failed one.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let kind = error.kind();
                    self.gauge.note(Fault::Source(error));
                    return Err(kind.into());
                }
            }
        };
        let total = self.gauge.compressed.get().saturating_add(read as u64);
        self.gauge.compressed.set(total);
        if total > self.gauge.limits.max_compressed_bytes {
            return Err(self.gauge.trip(Limit::Compressed));
        }
        Ok(read)
    }
}

/// Counts decompressed bytes, and grants no more of them than allowed.
pub(super) struct Decompressed<'g, R> {
    pub(super) inner: R,
    pub(super) gauge: &'g Gauge<'g>,
}

impl<R: Read> Read for Decompressed<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let gauge = self.gauge;
        let granted = match gauge.allowance.get() {
            Some(0) if !buffer.is_empty() => return Err(gauge.trip(Limit::Extension)),
            Some(bytes) => {
                usize::try_from(bytes).map_or(buffer.len(), |bytes| bytes.min(buffer.len()))
            }
            None => buffer.len(),
        };
        let buffer = buffer.get_mut(..granted).unwrap_or_default();
        let read = self
            .inner
            .read(buffer)
            .inspect_err(|error| gauge.note_decoder(error))?;
        gauge.allowance.set(
            gauge
                .allowance
                .get()
                .map(|bytes| bytes.saturating_sub(read as u64)),
        );

        let total = gauge.decompressed.get().saturating_add(read as u64);
        gauge.decompressed.set(total);
        let limits = gauge.limits;
        if total > limits.max_decompressed_bytes {
            return Err(gauge.trip(Limit::Decompressed));
        }
        if total > limits.ratio_slack_bytes
            && total / gauge.compressed.get().max(1) > limits.max_ratio
        {
            return Err(gauge.trip(Limit::Ratio));
        }
        Ok(read)
    }
}
