//! Replaces compression in builds without it, where it is never negotiated.

use crate::proto::ProtoError;
use crate::proto::memory::{Promise, Refused};

/// Never used.
#[derive(Debug)]
pub(in crate::proto) struct Inflater;

impl Inflater {
    pub(crate) fn new(_promise: Promise) -> Result<Self, Refused> {
        Ok(Self)
    }

    pub(in crate::proto) const HELD_BYTES: usize = 0;

    pub(crate) fn reset(&mut self) {}

    pub(crate) fn push(
        &mut self,
        _piece: &[u8],
        _stage: &mut [u8],
        _take: impl FnMut(&[u8]) -> Result<(), ProtoError>,
    ) -> Result<(), ProtoError> {
        Err(ProtoError::NotDeflate)
    }

    pub(crate) fn finish(&mut self, _stage: &mut [u8]) -> Result<(), ProtoError> {
        Err(ProtoError::NotDeflate)
    }
}

/// Compresses nothing.
#[derive(Debug)]
pub struct Deflater;

impl Deflater {
    pub(super) fn shared(_level: u32, _window_bits: u8, _promise: Promise) -> Self {
        Self
    }

    pub(super) fn own(_level: u32, _window_bits: u8, _promise: Promise) -> Self {
        Self
    }

    /// Returns how many bytes of memory it needs.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        0
    }

    /// Does nothing.
    pub fn reset(&mut self) {}

    pub(super) fn deflate(
        &mut self,
        _message: &[u8],
        _stage: &mut [u8],
        _out: &mut Vec<u8>,
    ) -> Result<bool, Refused> {
        Ok(false)
    }
}
