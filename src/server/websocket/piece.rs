//! A run of frames in one buffer, and the borders between them.

use std::collections::TryReserveError;

use crate::net::memory;
use crate::proto;

/// Frames are gathered into pieces of up to this many bytes; a larger frame has its own.
pub(crate) const PIECE: usize = 64 * 1024;

/// Bytes that leave together, frame after frame.
#[derive(Default)]
pub(crate) struct Piece {
    pub bytes: Vec<u8>,
    /// A frame begins here, or `bytes` ends here. No control frame may stand before it.
    border: usize,
}

impl Piece {
    /// A piece that begins with a frame.
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        Self { bytes, border: 0 }
    }

    /// What it holds by now has no frame border, but for its end.
    pub(crate) fn skip_all(&mut self) {
        self.border = self.bytes.len();
    }

    /// The first frame border at or behind `from`.
    pub(crate) fn border_from(&mut self, from: usize) -> usize {
        while self.border < from {
            let frame = proto::frame_len(&self.bytes[self.border..]);
            let end = frame.and_then(|len| self.border.checked_add(len));
            self.border = end.map_or(self.bytes.len(), |end| end.min(self.bytes.len()));
        }
        self.border
    }

    /// Whether control frames are to be put into it at a border. If not, they are a piece of their
    /// own, before or behind this one: a large frame is not moved.
    pub(crate) fn takes(&self, control: &[u8], at: usize) -> bool {
        let is_inside = 0 < at && at < self.bytes.len();
        let has_room = self.bytes.capacity() - self.bytes.len() >= control.len();
        is_inside || has_room && self.bytes.len() <= PIECE
    }

    /// Puts control frames in at a border.
    pub(crate) fn insert(&mut self, control: &[u8], at: usize) -> Result<(), TryReserveError> {
        let len = self.bytes.len();
        memory::try_reserve(&mut self.bytes, control.len())?;
        self.bytes.extend_from_slice(control);
        let behind = at + control.len();
        self.bytes.copy_within(at..len, behind);
        self.bytes[at..behind].copy_from_slice(control);
        Ok(())
    }

    /// Empties it; its memory stays.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.border = 0;
    }
}
