//! What the sessions of one loop share: memory for what the end of an input cuts, and what reads
//! compressed messages.

use super::deflate::{self, Inflater};
use super::partial::Partial;

/// Buffers and boxes that wait for their next use.
const MAX_KEPT: usize = 32;
/// As many clients may be in the middle of a compressed message without one being made anew.
const MAX_KEPT_INFLATERS: usize = 4;
/// A buffer that grew larger is kept apart, and goes back to the system when it has not been used
/// for a while: the system asks a page fault for each page of a new one.
const LARGE: usize = 64 * 1024;
/// Large buffers of so many bytes together are kept: two messages of 16 MiB, and a little.
const MAX_KEPT_LARGE: usize = 33 << 20;

/// Memory that sessions take while they hold a cut message, and give back after it.
#[derive(Debug, Default)]
pub struct Scratch {
    buffers: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
    /// The capacities of `large` together.
    large_kept: usize,
    /// A large buffer was taken or came back since [`Scratch::shed`] was last called.
    large_used: bool,
    /// Boxes, because this is how sessions hold them: so each is allocated once.
    #[allow(clippy::vec_box)]
    partials: Vec<Box<Partial>>,
    #[allow(clippy::vec_box)]
    inflaters: Vec<Box<Inflater>>,
    stage: Box<[u8]>,
}

impl Scratch {
    /// Takes back the buffer of a [`Payload::Whole`](super::Payload::Whole), or of
    /// [`Scratch::buffer`].
    pub fn recycle(&mut self, mut buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        buffer.clear();
        if capacity > LARGE {
            self.large_used = true;
            if capacity <= MAX_KEPT_LARGE - self.large_kept {
                self.large_kept += capacity;
                self.large.push(buffer);
            }
        } else if capacity > 0 && self.buffers.len() < MAX_KEPT {
            self.buffers.push(buffer);
        }
    }

    /// An empty buffer, for so many bytes at the end; it may have to grow.
    pub fn buffer(&mut self, len: u64) -> Vec<u8> {
        if len <= LARGE as u64 {
            return self.buffers.pop().unwrap_or_default();
        }
        self.large_used = true;
        let fits = |buffer: &Vec<u8>| buffer.capacity() as u64 >= len;
        let Some(found) = self.large.iter().position(fits) else {
            return Vec::new();
        };
        let buffer = self.large.swap_remove(found);
        self.large_kept -= buffer.capacity();
        buffer
    }

    /// Whether [`Scratch::shed`] will have something to give back.
    #[must_use]
    pub fn keeps_large(&self) -> bool {
        !self.large.is_empty()
    }

    /// Gives large buffers back to the system, if none was used since this was last called.
    pub fn shed(&mut self) {
        if !std::mem::take(&mut self.large_used) {
            self.large = Vec::new();
            self.large_kept = 0;
        }
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
        assert!(scratch.buffers.is_empty());

        for _ in 0..MAX_KEPT + 8 {
            scratch.recycle(b"used".to_vec());
            scratch.recycle_partial(Box::default());
        }
        assert_eq!(
            (scratch.buffers.len(), scratch.partials.len()),
            (MAX_KEPT, MAX_KEPT)
        );
        assert!(scratch.buffer(1).is_empty());
    }

    #[test]
    fn large_buffers_are_kept_up_to_a_bound_while_they_are_used() {
        const SIZE: usize = 1 << 20;
        let mut scratch = Scratch::default();
        for _ in 0..40 {
            scratch.recycle(Vec::with_capacity(SIZE));
        }
        assert!(scratch.large_kept <= MAX_KEPT_LARGE && scratch.large.len() == 33);
        assert!(scratch.buffer(SIZE as u64).capacity() >= SIZE);
        assert_eq!(scratch.buffer(2 * SIZE as u64).capacity(), 0);
        assert_eq!(scratch.large.len(), 32);

        scratch.shed();
        assert_eq!(scratch.large.len(), 32);
        scratch.shed();
        assert_eq!((scratch.large.len(), scratch.large_kept), (0, 0));
    }

    #[test]
    fn scratch_and_sessions_may_move_between_threads() {
        fn is_send<T: Send>() {}
        is_send::<Scratch>();
        is_send::<super::super::Session>();
    }
}
