//! The compressors of a loop.

use super::agreement::OUR_WINDOW_BITS;
use super::{Deflater, stage};
use crate::proto::memory::{self, Promise};

/// One for each window.
const WINDOWS: usize = (*OUR_WINDOW_BITS.end() - *OUR_WINDOW_BITS.start()) as usize + 1;

/// A buffer that grew larger goes back to the system.
const MAX_KEPT_CAPACITY: usize = 64 * 1024;

/// What a loop compresses messages with. Everything is made when it is first needed.
#[derive(Debug)]
pub struct Deflaters {
    level: u32,
    promise: Promise,
    /// For messages that refer to nothing before them.
    shared: [Option<Deflater>; WINDOWS],
    stage: Box<[u8]>,
    out: Vec<u8>,
}

impl Deflaters {
    /// Compressors of this level, from 1 to 9.
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

    /// The same, which are made with a promise.
    #[must_use]
    pub fn on_promise(self, promise: Promise) -> Self {
        Self { promise, ..self }
    }

    /// A compressor of a client's own, for a window that the client can read.
    #[must_use]
    pub fn own(&self, window_bits: u8) -> Deflater {
        Deflater::own(self.level, window_bits, self.promise)
    }

    /// The compressed form of `message` for all clients that share this window. None when it would
    /// not be shorter, or memory was refused.
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

    /// The compressed form of `message` for the client whose own compressor this is. Later ones
    /// refer to it: so it must be sent, or the compressor be reset. None when it would not be
    /// shorter, or memory was refused.
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

    /// Takes back the buffer of a compressed form.
    pub fn recycle(&mut self, mut deflated: Vec<u8>) {
        if deflated.capacity() <= MAX_KEPT_CAPACITY {
            deflated.clear();
            self.out = deflated;
        }
    }
}
