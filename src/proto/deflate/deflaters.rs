//! The compressors of a loop.

use super::agreement::OUR_WINDOW_BITS;
use super::{Deflater, stage};
use crate::proto::memory::{self, Promise};

/// Number of window sizes.
const WINDOWS: usize = (*OUR_WINDOW_BITS.end() - *OUR_WINDOW_BITS.start()) as usize + 1;

/// A buffer with more capacity is freed after use.
const MAX_KEPT_BYTES: usize = 64 * 1024;

/// The compressors of one loop, which are created at their first use.
#[derive(Debug)]
pub struct Deflaters {
    level: u32,
    promise: Promise,
    /// For messages without context takeover, by window size.
    shared: [Option<Deflater>; WINDOWS],
    stage: Box<[u8]>,
    out: Vec<u8>,
}

impl Deflaters {
    /// Creates them with a level from 1 to 9.
    #[must_use]
    pub fn new(level: u32) -> Self {
        Self {
            level,
            promise: memory::trust,
            shared: [const { None }; WINDOWS],
            stage: Box::default(),
            out: Vec::new(),
        }
    }

    /// Creates them; their memory is allocated under the promise.
    #[must_use]
    pub fn on_promise(self, promise: Promise) -> Self {
        Self { promise, ..self }
    }

    /// Creates the compressor of a single connection, for its window size.
    #[must_use]
    pub fn own(&self, window_bits: u8) -> Deflater {
        Deflater::own(self.level, window_bits, self.promise)
    }

    /// Returns the compressed form of `message` for all peers with this window size; None when it would not
    /// be shorter, or memory is refused.
    pub fn deflate(&mut self, window_bits: u8, message: &[u8]) -> Option<Vec<u8>> {
        let index = window_bits.checked_sub(*OUR_WINDOW_BITS.start())?;
        let place = self.shared.get_mut(usize::from(index))?;
        let mut deflater = place
            .take()
            .unwrap_or_else(|| Deflater::shared(self.level, window_bits, self.promise));
        deflater.reset();
        let deflated = self.deflate_by(&mut deflater, message);
        self.shared[usize::from(index)] = Some(deflater);
        deflated
    }

    /// Returns the compressed form of `message` by a connection's own compressor; None when it would not be
    /// shorter, or memory is refused. It must be sent, because later messages may refer to it; otherwise the
    /// compressor must be reset.
    pub fn deflate_by(&mut self, deflater: &mut Deflater, message: &[u8]) -> Option<Vec<u8>> {
        let stage = stage(&mut self.stage).ok()?;
        let mut out = std::mem::take(&mut self.out);
        match deflater.deflate(message, stage, &mut out) {
            Ok(true) => Some(out),
            _ => {
                self.recycle(out);
                None
            }
        }
    }

    /// Takes back the buffer of a compressed message.
    pub fn recycle(&mut self, mut deflated: Vec<u8>) {
        if deflated.capacity() <= MAX_KEPT_BYTES {
            deflated.clear();
            self.out = deflated;
        }
    }
}
