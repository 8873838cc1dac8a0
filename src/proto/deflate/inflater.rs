//! Decompression of messages, piece by piece.

use std::fmt;

use zlib_rs::{Inflate, InflateError, InflateFlush, Status};

use super::TAIL;
use crate::proto::ProtoError;
use crate::proto::memory::{self, Promise, Refused};

/// The maximum window, which suits every sender. With a smaller one, the detection of references beyond the
/// window would depend on how the input is fragmented.
const WINDOW_BITS: u8 = 15;

/// Maximum memory that the library allocates for one: its window and its tables.
const MAX_MEMORY_BYTES: usize = 64 * 1024;

/// The state of decompression, within a message or across several.
pub(in crate::proto) struct Inflater {
    zlib: Inflate,
    /// At the beginning of a message, or after a final block.
    at_border: bool,
}

impl Inflater {
    /// Creates one without context.
    pub(crate) fn new(promise: Promise) -> Result<Self, Refused> {
        Ok(Self {
            zlib: memory::make(promise, MAX_MEMORY_BYTES, || {
                Inflate::new(false, WINDOW_BITS)
            })?,
            at_border: true,
        })
    }

    /// The bytes of memory that one needs.
    pub(in crate::proto) const HELD_BYTES: usize = MAX_MEMORY_BYTES;

    /// Discards the context.
    pub(crate) fn reset(&mut self) {
        self.zlib.reset(false);
        self.at_border = true;
    }

    /// Decompresses a piece of a message. The output is passed to `take`, at most one `stage` at a time.
    ///
    /// A final block (BFINAL = 1) ends the context; others may follow it, in the same message too (RFC 7692
    /// section 7.2.3.4).
    pub(crate) fn push(
        &mut self,
        mut piece: &[u8],
        stage: &mut [u8],
        mut take: impl FnMut(&[u8]) -> Result<(), ProtoError>,
    ) -> Result<(), ProtoError> {
        while !piece.is_empty() {
            self.at_border = false;
            let step = self.step(piece, stage, InflateFlush::SyncFlush);
            take(&stage[..step.produced])?;
            piece = &piece[step.consumed..];
            match step.result? {
                Status::StreamEnd => self.reset(),
                // When the stage is full, there may be further output without further input.
                _ if step.produced == stage.len() => self.drain(stage, &mut take)?,
                _ if step.consumed == 0 => return Err(ProtoError::NotDeflate),
                _ => {}
            }
        }
        Ok(())
    }

    /// Passes on the remaining output for input that was consumed.
    fn drain(
        &mut self,
        stage: &mut [u8],
        take: &mut impl FnMut(&[u8]) -> Result<(), ProtoError>,
    ) -> Result<(), ProtoError> {
        loop {
            let step = self.step(&[], stage, InflateFlush::SyncFlush);
            take(&stage[..step.produced])?;
            match step.result? {
                Status::StreamEnd => {
                    self.reset();
                    return Ok(());
                }
                _ if step.produced < stage.len() => return Ok(()),
                _ => {}
            }
        }
    }

    /// Ends a message: reads the tail that the sender has left out, which must end a block. A message that
    /// ends with a final block has no tail, and neither has an empty one.
    pub(crate) fn finish(&mut self, stage: &mut [u8]) -> Result<(), ProtoError> {
        // The tail and one more byte, which must remain unread: then the tail ended a block.
        const BEYOND: [u8; TAIL.len() + 1] = [TAIL[0], TAIL[1], TAIL[2], TAIL[3], 0x00];

        if !self.at_border {
            let step = self.step(&BEYOND, stage, InflateFlush::Block);
            step.result?;
            if (step.consumed, step.produced) != (TAIL.len(), 0) {
                return Err(ProtoError::NotDeflate);
            }
            self.at_border = true;
        }
        Ok(())
    }

    fn step(&mut self, input: &[u8], stage: &mut [u8], until: InflateFlush) -> Step {
        let (taken, made) = (self.zlib.total_in(), self.zlib.total_out());
        let result = self.zlib.decompress(input, stage, until);
        Step {
            consumed: (self.zlib.total_in() - taken) as usize,
            produced: (self.zlib.total_out() - made) as usize,
            result: result.map_err(|error| match error {
                InflateError::MemError => ProtoError::OutOfMemory,
                _ => ProtoError::NotDeflate,
            }),
        }
    }
}

/// The result of one call of the library. Its output counts even if it failed.
struct Step {
    consumed: usize,
    produced: usize,
    result: Result<Status, ProtoError>,
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater")
            .field("at_border", &self.at_border)
            .finish_non_exhaustive()
    }
}
