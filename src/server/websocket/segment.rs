//! Frames in one buffer, and the boundaries between them.

use std::collections::TryReserveError;

use crate::net::memory;
use crate::proto;

/// Frames are gathered in segments of up to this many bytes; a larger frame has its own.
pub(crate) const MAX_SEGMENT_BYTES: usize = 64 * 1024;

/// Whole frames, one after the other.
#[derive(Default)]
pub(crate) struct Segment {
    pub bytes: Vec<u8>,
    /// A frame begins here, or `bytes` ends here. No control frame may be inserted before it.
    boundary: usize,
}

impl Segment {
    /// Returns a segment that begins with a frame.
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, boundary: 0 }
    }

    /// Declares that the present bytes have no frame boundary but at their end.
    pub(crate) fn mark_opaque(&mut self) {
        self.boundary = self.bytes.len();
    }

    /// Returns the first frame boundary at or behind `from`.
    pub(crate) fn boundary_from(&mut self, from: usize) -> usize {
        while self.boundary < from {
            let frame = proto::frame_len(&self.bytes[self.boundary..]);
            let end = frame.and_then(|len| self.boundary.checked_add(len));
            self.boundary = end.map_or(self.bytes.len(), |end| end.min(self.bytes.len()));
        }
        self.boundary
    }

    /// Whether control frames should be inserted at a boundary of this segment. If not, they become a segment
    /// of their own, before or behind this one, so that no large frame is moved.
    pub(crate) fn has_room_for(&self, control: &[u8], at: usize) -> bool {
        let is_inside = 0 < at && at < self.bytes.len();
        let has_room = self.bytes.capacity() - self.bytes.len() >= control.len();
        is_inside || has_room && self.bytes.len() <= MAX_SEGMENT_BYTES
    }

    /// Inserts control frames at a boundary.
    pub(crate) fn insert(&mut self, control: &[u8], at: usize) -> Result<(), TryReserveError> {
        let len = self.bytes.len();
        memory::try_reserve(&mut self.bytes, control.len())?;
        self.bytes.extend_from_slice(control);
        let behind = at + control.len();
        self.bytes.copy_within(at..len, behind);
        self.bytes[at..behind].copy_from_slice(control);
        Ok(())
    }

    /// Drops the bytes and retains the memory.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.boundary = 0;
    }
}
