//! Compression of messages.

use std::fmt;

use zlib_rs::{Deflate, DeflateConfig, DeflateFlush};

use super::TAIL;
use crate::proto::memory::{self, Promise, Refused};

/// The parameters of a connection's own compressor: a window of 4 KiB and a buffer of 2,048 symbols find most
/// of what messages have in common, with half the memory.
const OWN_WINDOW_BITS: u8 = 12;
const OWN_MEM_LEVEL: i32 = 5;

/// Shared compressors have a buffer of 8,192 symbols. The library zeroes it twice for each message, so a
/// larger one would slow down small messages, and help large ones only.
const SHARED_MEM_LEVEL: i32 = 7;

/// Maximum input that the library reads ahead of its output.
const READ_AHEAD_BYTES: usize = 64 * 1024;

/// The state of compression, within a message or across several.
pub struct Deflater {
    /// Created at its first use, and again after an abandoned message: the library's reset is valid only
    /// between two messages.
    zlib: Option<Deflate>,
    config: DeflateConfig,
    promise: Promise,
    /// Something was compressed since the last reset.
    is_used: bool,
}

/// The result of compressing a message.
enum Attempt {
    Shorter,
    NotShorter,
    /// Abandoned: the beginning did not become shorter.
    GivenUp,
}

impl Deflater {
    /// Creates a compressor for messages without context takeover.
    pub(super) fn shared(level: u32, window_bits: u8, promise: Promise) -> Self {
        Self::new(level, window_bits, SHARED_MEM_LEVEL, promise)
    }

    /// Creates the compressor of a single connection, with context takeover.
    pub(super) fn own(level: u32, window_bits: u8, promise: Promise) -> Self {
        let window_bits = window_bits.min(OWN_WINDOW_BITS);
        Self::new(level, window_bits, OWN_MEM_LEVEL, promise)
    }

    fn new(level: u32, window_bits: u8, mem_level: i32, promise: Promise) -> Self {
        let config = DeflateConfig {
            level: level as i32,
            // Negative: without the header of zlib's own format.
            window_bits: -i32::from(window_bits),
            mem_level,
            ..DeflateConfig::default()
        };
        Self {
            zlib: None,
            config,
            promise,
            is_used: false,
        }
    }

    /// Discards the context.
    pub fn reset(&mut self) {
        if self.is_used {
            if let Some(zlib) = &mut self.zlib {
                zlib.reset();
            }
            self.is_used = false;
        }
    }

    /// Appends the compressed form of `message` to `out`. Returns false, with nothing appended, when it is
    /// not shorter; later messages refer neither to it nor to earlier ones then.
    pub(super) fn deflate(
        &mut self,
        message: &[u8],
        stage: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<bool, Refused> {
        let start = out.len();
        let attempt = self.attempt(message, stage, out);
        match attempt {
            Ok(Attempt::Shorter) => return Ok(true),
            Ok(Attempt::NotShorter) => self.reset(),
            Ok(Attempt::GivenUp) | Err(_) => {
                self.zlib = None;
                self.is_used = false;
            }
        }
        out.truncate(start);
        attempt.map(|_| false)
    }

    /// Returns how many bytes of memory it needs.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.zlib.as_ref().map_or(0, |_| size(&self.config))
    }

    fn attempt(
        &mut self,
        message: &[u8],
        stage: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<Attempt, Refused> {
        let zlib = match &mut self.zlib {
            Some(zlib) => zlib,
            none => {
                let (config, size) = (self.config, size(&self.config));
                let made = memory::make(self.promise, size, || Deflate::new_with_config(config))?;
                none.insert(made)
            }
        };
        self.is_used = true;
        let start = out.len();
        let mut rest = message;
        loop {
            let (taken, made) = (zlib.total_in(), zlib.total_out());
            let result = zlib.compress(rest, stage, DeflateFlush::SyncFlush);
            rest = &rest[(zlib.total_in() - taken) as usize..];
            let produced = (zlib.total_out() - made) as usize;
            if result.is_err() {
                return Ok(Attempt::GivenUp);
            }
            out.try_reserve(produced)?;
            out.extend_from_slice(&stage[..produced]);
            if rest.is_empty() && produced < stage.len() {
                break;
            }
            let read = message.len() - rest.len();
            let written = out.len() - start;
            if written >= READ_AHEAD_BYTES && written + READ_AHEAD_BYTES >= read {
                return Ok(Attempt::GivenUp);
            }
        }
        // A flush ends with an empty block, and so with the tail that is left out; but there is none when
        // there was nothing to flush.
        let written = out.len() - start;
        if !out.ends_with(&TAIL) || written >= message.len() + TAIL.len() {
            return Ok(Attempt::NotShorter);
        }
        out.truncate(out.len() - TAIL.len());
        Ok(Attempt::Shorter)
    }
}

/// Returns the maximum memory that the library allocates for one: two windows, the tables of its hash chains,
/// seven bytes for each symbol, and its state.
fn size(config: &DeflateConfig) -> usize {
    let window = 1 << config.window_bits.abs();
    let symbols = 1 << (config.mem_level + 6);
    4 * window + 128 * 1024 + 7 * symbols + 16 * 1024
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater").finish_non_exhaustive()
    }
}
