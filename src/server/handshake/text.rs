//! Strings that C reads, in one allocation.

use std::ffi::CStr;

use crate::net::memory;
use crate::server::ServerError;
use crate::server::error::ServerResult;

/// Bytes with strings, behind each of which stands a NUL.
#[derive(Debug)]
pub(crate) struct Text(pub Vec<u8>);

/// Where a string stands in the text; its NUL follows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    start: u32,
    len: u32,
}

impl Span {
    pub(crate) fn new(start: usize, len: usize) -> ServerResult<Self> {
        let number = |number| u32::try_from(number).map_err(|_| ServerError::Memory);
        Ok(Self {
            start: number(start)?,
            len: number(len)?,
        })
    }

    /// The last bytes of it, of which there are so many.
    pub(crate) fn last(self, len: usize) -> Self {
        let len = self.len.min(len as u32);
        Self {
            start: self.start + self.len - len,
            len,
        }
    }
}

impl Text {
    pub(crate) fn bytes_at(&self, span: Span) -> &[u8] {
        &self.0[span.start as usize..][..span.len as usize]
    }

    pub(crate) fn at(&self, span: Span) -> &CStr {
        // Each string has its NUL, so this one ends there at the latest.
        CStr::from_bytes_until_nul(&self.0[span.start as usize..]).unwrap_or_default()
    }
}

/// Allocates room for so many.
///
/// # Errors
///
/// Memory.
pub(crate) fn reserve<T>(count: usize) -> ServerResult<Vec<T>> {
    let mut room = Vec::new();
    memory::try_reserve_exact(&mut room, count).map_err(|_| ServerError::Memory)?;
    Ok(room)
}
