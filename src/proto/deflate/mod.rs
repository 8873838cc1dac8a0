//! Compressed messages: permessage-deflate (RFC 7692).
//!
//! - [`agree`] chooses among a client's offers, [`DeflateOffer`] is our own; [`Agreement`] is the result.
//! - [`Inflater`] decompresses what a session receives.
//! - [`Deflaters`] and [`Deflater`] compress what is sent.
//!
//! Only `inflater` and `deflater` use the library, zlib-rs. A build without it has `left_out` instead.

mod agreement;

#[cfg(feature = "deflate")]
mod deflater;
#[cfg(feature = "deflate")]
mod inflater;
#[cfg(not(feature = "deflate"))]
mod left_out;

mod deflaters;
mod offer;

use super::memory::{self, Refused};

pub use agreement::{Agreement, agree};
pub use deflaters::Deflaters;
pub use offer::DeflateOffer;

#[cfg(feature = "deflate")]
pub use deflater::Deflater;
#[cfg(feature = "deflate")]
pub(super) use inflater::Inflater;
#[cfg(not(feature = "deflate"))]
pub use left_out::Deflater;
#[cfg(not(feature = "deflate"))]
pub(super) use left_out::Inflater;

/// The end of each message, which is omitted on the wire (RFC 7692 section 7.2.1): the lengths of an empty
/// stored block.
#[cfg(feature = "deflate")]
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// Size of the buffer for the library's output, which the connections of a loop share.
const STAGE_BYTES: usize = 16 * 1024;

/// Returns the buffer, which is allocated at its first use.
pub(super) fn stage(buffer: &mut Box<[u8]>) -> Result<&mut [u8], Refused> {
    if buffer.is_empty() {
        *buffer = memory::zeros(STAGE_BYTES)?;
    }
    Ok(buffer)
}
