//! Assembly of a message from pieces and fragments, within its limits (RFC 6455 section 5.4).

use super::utf8::Checker;
use super::{Kind, Limits, ProtoError};

/// An incomplete message.
#[derive(Debug)]
pub(super) struct Assembly {
    kind: Kind,
    bytes: Vec<u8>,
    text: Checker,
    frames: u32,
    is_compressed: bool,
    /// Length of the message, with its NUL, at the end of the current frame; unlimited for a compressed
    /// message, whose length is unknown.
    announced: usize,
}

impl Assembly {
    /// Returns how many bytes of memory it holds.
    pub(crate) fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Begins a message in an empty buffer.
    pub(crate) fn new(kind: Kind, is_compressed: bool, buffer: Vec<u8>) -> Self {
        Self {
            kind,
            bytes: buffer,
            text: Checker::default(),
            frames: 0,
            is_compressed,
            announced: usize::MAX,
        }
    }

    /// Whether its pieces must be decompressed first.
    pub(crate) fn is_compressed(&self) -> bool {
        self.is_compressed
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Checks by its header alone whether one more frame may be added. The size of a compressed one is
    /// checked when it is decompressed.
    pub(crate) fn admit(&mut self, payload_len: u64, limits: &Limits) -> Result<(), ProtoError> {
        self.frames = self.frames.saturating_add(1);
        if self.frames > limits.max_fragments.max(1) {
            return Err(ProtoError::TooManyFragments);
        }
        if !self.is_compressed {
            let room = self.room(limits);
            let payload_len = usize::try_from(payload_len).map_err(|_| ProtoError::TooBig)?;
            if payload_len > room {
                return Err(ProtoError::TooBig);
            }
            self.announced = self
                .bytes
                .len()
                .saturating_add(payload_len)
                .saturating_add(1);
        }
        Ok(())
    }

    /// Appends decompressed bytes, within the limit.
    pub(crate) fn append_inflated(
        &mut self,
        piece: &[u8],
        limits: &Limits,
    ) -> Result<(), ProtoError> {
        let allowed = piece.len().min(self.room(limits));
        self.append(&piece[..allowed])?;
        if allowed < piece.len() {
            return Err(ProtoError::TooBig);
        }
        Ok(())
    }

    /// Returns how many more bytes the message may have.
    fn room(&self, limits: &Limits) -> usize {
        limits.max_message_size.saturating_sub(self.bytes.len())
    }

    /// Appends an unmasked piece. Memory grows with what has arrived, not with what was announced.
    pub(crate) fn append(&mut self, piece: &[u8]) -> Result<(), ProtoError> {
        if self.kind == Kind::Text && !self.text.push(piece) {
            return Err(ProtoError::NotUtf8);
        }
        self.make_room(piece.len())?;
        append(&mut self.bytes, piece)
    }

    /// Reserves room for a piece: as much again as has arrived, but not more than was announced.
    fn make_room(&mut self, piece_len: usize) -> Result<(), ProtoError> {
        let (len, capacity) = (self.bytes.len(), self.bytes.capacity());
        if piece_len <= capacity - len {
            return Ok(());
        }
        let doubled = capacity.saturating_mul(2);
        let needed = len.saturating_add(piece_len);
        let new = doubled.min(self.announced).max(needed);
        self.bytes
            .try_reserve_exact(new - len)
            .map_err(|_| ProtoError::OutOfMemory)
    }

    /// Completes the message. Returns its bytes and a NUL behind them.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>, ProtoError> {
        if !self.text.is_complete() {
            return Err(ProtoError::NotUtf8);
        }
        append(&mut self.bytes, &[0])?;
        Ok(self.bytes)
    }

    /// Returns the buffer of a message that will not be completed.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }

    /// Discards the payload, but not that the message has begun.
    pub(crate) fn discard(&mut self) {
        self.bytes = Vec::new();
        self.text = Checker::default();
    }
}

/// Appends `piece`, or fails when memory is refused.
pub(super) fn append(bytes: &mut Vec<u8>, piece: &[u8]) -> Result<(), ProtoError> {
    bytes
        .try_reserve(piece.len())
        .map_err(|_| ProtoError::OutOfMemory)?;
    bytes.extend_from_slice(piece);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        max_message_size: 10,
        max_fragments: 3,
    };

    #[test]
    fn a_frame_that_would_pass_the_size_limit_is_refused_by_its_header() {
        let mut message = Assembly::new(Kind::Binary, false, Vec::new());
        assert_eq!(message.admit(11, &LIMITS), Err(ProtoError::TooBig));
        assert_eq!(
            message.admit(u64::MAX >> 1, &LIMITS),
            Err(ProtoError::TooBig)
        );

        let mut message = Assembly::new(Kind::Binary, false, Vec::new());
        assert_eq!(message.admit(10, &LIMITS), Ok(()));
        message.append(&[1; 10]).unwrap();
        assert_eq!(message.admit(0, &LIMITS), Ok(()));
        assert_eq!(message.admit(1, &LIMITS), Err(ProtoError::TooBig));
    }

    #[test]
    fn an_announced_length_reserves_nothing() {
        let limits = Limits {
            max_message_size: usize::MAX,
            max_fragments: 1,
        };
        let mut message = Assembly::new(Kind::Binary, false, Vec::new());
        message.admit(1 << 40, &limits).unwrap();
        assert_eq!(message.bytes.capacity(), 0);
        message.append(b"little").unwrap();
        assert!(message.bytes.capacity() < 64);
    }

    #[test]
    fn a_whole_frame_takes_no_more_than_it_announced() {
        let limits = Limits {
            max_message_size: usize::MAX,
            max_fragments: 1,
        };
        let mut message = Assembly::new(Kind::Binary, false, Vec::new());
        message.admit(1000, &limits).unwrap();
        for _ in 0..10 {
            message.append(&[7; 100]).unwrap();
        }
        let bytes = message.finish().unwrap();
        assert_eq!((bytes.len(), bytes.capacity()), (1001, 1001));
    }

    #[test]
    fn every_fragment_counts_also_an_empty_one() {
        let mut message = Assembly::new(Kind::Binary, false, Vec::new());
        for _ in 0..3 {
            assert_eq!(message.admit(0, &LIMITS), Ok(()));
        }
        assert_eq!(message.admit(0, &LIMITS), Err(ProtoError::TooManyFragments));
    }

    #[test]
    fn a_text_ends_between_characters_8_1() {
        let mut message = Assembly::new(Kind::Text, false, Vec::new());
        message.append(b"\xe2\x82").unwrap();
        assert_eq!(message.finish(), Err(ProtoError::NotUtf8));

        let mut message = Assembly::new(Kind::Text, false, Vec::new());
        message.append(b"\xe2\x82").unwrap();
        message.append(b"\xac").unwrap();
        assert_eq!(message.finish().as_deref(), Ok("€\0".as_bytes()));
    }
}
