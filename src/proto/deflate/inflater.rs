//! From compressed pieces to bytes.

use std::fmt;

use zlib_rs::{Inflate, InflateError, InflateFlush, Status};

use super::TAIL;
use crate::proto::ProtoError;
use crate::proto::memory::{self, Promise, Refused};

/// It reads what was compressed with any window: a smaller one would make it depend on where input
/// is cut whether a reference beyond the window is seen.
const WINDOW_BITS: u8 = 15;

/// At most so much the library allocates for one: its window, and tables beside it.
const SIZE: usize = 64 * 1024;

/// The state of decompression, within a message or across several.
pub(in crate::proto) struct Inflater {
    zlib: Inflate,
    /// Nothing was read since the last message, or since a final block.
    at_border: bool,
}

impl Inflater {
    /// One that has read nothing.
    pub fn new(promise: Promise) -> Result<Self, Refused> {
        Ok(Self {
            zlib: memory::make(promise, SIZE, || Inflate::new(false, WINDOW_BITS))?,
            at_border: true,
        })
    }

    /// Forgets everything that came.
    pub fn reset(&mut self) {
        self.zlib.reset(false);
        self.at_border = true;
    }

    /// Reads a piece of a message. What comes of it goes to `take`, a `stage` at a time.
    ///
    /// A final block (BFINAL = 1) ends what later ones may refer to; others may follow it, in the
    /// same message too (RFC 7692 section 7.2.3.4).
    pub fn push(
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
                // What fills the stage exactly may have left more behind than input.
                _ if step.produced == stage.len() => self.drain(stage, &mut take)?,
                _ if step.consumed == 0 => return Err(ProtoError::NotDeflate),
                _ => {}
            }
        }
        Ok(())
    }

    /// Hands on what is known of the bytes that were read already.
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

    /// Ends a message: reads the tail that the sender has left out, which must be the end of a
    /// block. A message that ends with a final block has none, and neither has one of no bytes.
    pub fn finish(&mut self, stage: &mut [u8]) -> Result<(), ProtoError> {
        // One byte more than the tail. Reading ends with the block, so it is left if all is well.
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

/// What one call of the library did. What was produced counts even if it failed.
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
