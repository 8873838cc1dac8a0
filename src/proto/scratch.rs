//! What the sessions of one loop share: memory for what the end of an input cuts, and what reads
//! compressed messages.

use super::deflate::{self, Inflater};
use super::partial::Partial;

/// Buffers and boxes that wait for their next use.
const MAX_KEPT: usize = 32;
/// As many clients may be in the middle of a compressed message without one being made anew.
const MAX_KEPT_INFLATERS: usize = 4;
/// A buffer that grew larger goes back to the system.
const MAX_KEPT_CAPACITY: usize = 64 * 1024;

/// Memory that sessions take while they hold a cut message, and give back after it.
#[derive(Debug, Default)]
pub struct Scratch {
    buffers: Vec<Vec<u8>>,
    /// Boxes, because this is how sessions hold them: so each is allocated once.
    #[allow(clippy::vec_box)]
    partials: Vec<Box<Partial>>,
    #[allow(clippy::vec_box)]
    inflaters: Vec<Box<Inflater>>,
    stage: Box<[u8]>,
}

impl Scratch {
    /// Takes back the buffer of a [`Payload::Whole`](super::Payload::Whole).
    pub fn recycle(&mut self, mut payload: Vec<u8>) {
        let is_worth_keeping = (1..=MAX_KEPT_CAPACITY).contains(&payload.capacity());
        if is_worth_keeping && self.buffers.len() < MAX_KEPT {
            payload.clear();
            self.buffers.push(payload);
        }
    }

    /// An empty buffer.
    pub(super) fn buffer(&mut self) -> Vec<u8> {
        self.buffers.pop().unwrap_or_default()
    }

    /// A partial that holds nothing.
    pub(super) fn partial(&mut self) -> Box<Partial> {
        self.partials.pop().unwrap_or_default()
    }

    /// Takes back a partial with all that it still holds.
    pub(super) fn recycle_partial(&mut self, mut partial: Box<Partial>) {
        let (buffers, inflater) = partial.clear();
        for buffer in buffers {
            self.recycle(buffer);
        }
        if let Some(inflater) = inflater {
            self.recycle_inflater(inflater);
        }
        if self.partials.len() < MAX_KEPT {
            self.partials.push(partial);
        }
    }

    /// An inflater that has read nothing.
    pub(super) fn inflater(&mut self) -> Box<Inflater> {
        self.inflaters.pop().unwrap_or_default()
    }

    /// Takes back an inflater, whatever it has read.
    pub(super) fn recycle_inflater(&mut self, mut inflater: Box<Inflater>) {
        if self.inflaters.len() < MAX_KEPT_INFLATERS {
            inflater.reset();
            self.inflaters.push(inflater);
        }
    }

    /// Where inflated bytes come out.
    pub(super) fn stage(&mut self) -> &mut [u8] {
        if self.stage.is_empty() {
            self.stage = deflate::stage();
        }
        &mut self.stage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bounded_number_of_small_buffers_is_kept() {
        let mut scratch = Scratch::default();
        scratch.recycle(Vec::new());
        scratch.recycle(Vec::with_capacity(MAX_KEPT_CAPACITY + 1));
        assert!(scratch.buffers.is_empty());

        for _ in 0..MAX_KEPT + 8 {
            scratch.recycle(b"used".to_vec());
            scratch.recycle_partial(Box::default());
        }
        assert_eq!(
            (scratch.buffers.len(), scratch.partials.len()),
            (MAX_KEPT, MAX_KEPT)
        );
        assert!(scratch.buffer().is_empty());
    }

    #[test]
    fn scratch_and_sessions_may_move_between_threads() {
        fn is_send<T: Send>() {}
        is_send::<Scratch>();
        is_send::<super::super::Session>();
    }
}
