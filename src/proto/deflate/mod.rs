//! Compressed messages: permessage-deflate (RFC 7692).
//!
//! - [`agree`] chooses among a client's offers, and [`Agreement`] is what came of it.
//! - [`Inflater`] is what a session reads compressed messages with.
//! - [`Deflaters`] and [`Deflater`] compress what is sent.
//!
//! The library that does the work is met in `inflater` and `deflater` alone. A build without it has
//! `left_out` in their place.

mod agreement;

#[cfg(feature = "deflate")]
mod deflater;
#[cfg(feature = "deflate")]
mod inflater;
#[cfg(not(feature = "deflate"))]
mod left_out;

mod deflaters;

use super::memory::{self, Refused};

pub use agreement::{Agreement, agree};
pub use deflaters::Deflaters;

#[cfg(feature = "deflate")]
pub use deflater::Deflater;
#[cfg(feature = "deflate")]
pub(super) use inflater::Inflater;
#[cfg(not(feature = "deflate"))]
pub use left_out::Deflater;
#[cfg(not(feature = "deflate"))]
pub(super) use left_out::Inflater;

/// What ends each message, and is left out on the wire (RFC 7692 section 7.2.1): the length of an
/// empty block without compression.
#[cfg(feature = "deflate")]
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// Bytes come out of the library through a buffer of this size, which a loop's clients share.
const STAGE: usize = 16 * 1024;

/// The buffer, made when it is first needed.
pub(super) fn stage(buffer: &mut Box<[u8]>) -> Result<&mut [u8], Refused> {
    if buffer.is_empty() {
        *buffer = memory::zeros(STAGE)?;
    }
    Ok(buffer)
}
