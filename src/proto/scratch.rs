//! What the sessions of one loop share: memory for what the end of an input cuts, and what reads
//! compressed messages.

use super::deflate::{self, Inflater};
use super::memory::{self, Promise, Refused};
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
#[derive(Debug)]
pub struct Scratch {
    promise: Promise,
    buffers: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
    /// The capacities of `large` together.
    large_kept: usize,
    /// A large buffer was taken or came back since [`Scratch::shed`] was last called.
    large_used: bool,
    #[expect(
        clippy::vec_box,
        reason = "sessions hold them so: each is allocated once"
    )]
    partials: Vec<Box<[Partial; 1]>>,
    inflaters: Vec<Inflater>,
    stage: Box<[u8]>,
}

impl Default for Scratch {
    fn default() -> Self {
        Self::on_promise(memory::trust)
    }
}

impl Scratch {
    /// Nothing is kept yet. What reads compressed messages is made with a promise.
    #[must_use]
    pub fn on_promise(promise: Promise) -> Self {
        Self {
            promise,
            buffers: Vec::new(),
            large: Vec::new(),
            large_kept: 0,
            large_used: false,
            partials: Vec::new(),
            inflaters: Vec::new(),
            stage: Box::default(),
        }
    }

    /// Takes back the buffer of a [`Payload::Whole`](super::Payload::Whole), or of
    /// [`Scratch::buffer`].
    pub fn recycle(&mut self, mut buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        buffer.clear();
        if capacity > LARGE {
            self.large_used = true;
            if capacity <= MAX_KEPT_LARGE - self.large_kept && keep(&mut self.large, buffer) {
                self.large_kept += capacity;
            }
        } else if capacity > 0 && self.buffers.len() < MAX_KEPT {
            keep(&mut self.buffers, buffer);
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
    pub(super) fn partial(&mut self) -> Result<Box<[Partial; 1]>, Refused> {
        match self.partials.pop() {
            Some(partial) => Ok(partial),
            None => memory::one(Partial::default()),
        }
    }

    /// Takes back a partial with all that it still holds.
    pub(super) fn recycle_partial(&mut self, mut partial: Box<[Partial; 1]>) {
        let (buffers, inflater) = partial[0].clear();
        for buffer in buffers {
            self.recycle(buffer);
        }
        if let Some(inflater) = inflater {
            self.recycle_inflater(inflater);
        }
        if self.partials.len() < MAX_KEPT {
            keep(&mut self.partials, partial);
        }
    }

    /// An inflater that has read nothing.
    pub(super) fn inflater(&mut self) -> Result<Inflater, Refused> {
        match self.inflaters.pop() {
            Some(inflater) => Ok(inflater),
            None => Inflater::new(self.promise),
        }
    }

    /// Takes back an inflater, whatever it has read.
    pub(super) fn recycle_inflater(&mut self, mut inflater: Inflater) {
        if self.inflaters.len() < MAX_KEPT_INFLATERS {
            inflater.reset();
            keep(&mut self.inflaters, inflater);
        }
    }

    /// Where inflated bytes come out.
    pub(super) fn stage(&mut self) -> Result<&mut [u8], Refused> {
        deflate::stage(&mut self.stage)
    }
}

/// Keeps something for its next use, if there is room for it; answers whether.
fn keep<T>(kept: &mut Vec<T>, item: T) -> bool {
    memory::push(kept, item).is_ok()
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
            scratch.recycle_partial(Box::new([Partial::default()]));
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
