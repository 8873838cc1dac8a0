//! Memory shared by the sessions of one loop.

use super::memory::{self, Promise, Refused};
use super::partial::Partial;
use super::pool::{self, Pool};

/// Memory that sessions use while they hold an incomplete frame or message.
#[derive(Debug, Default)]
pub struct Scratch {
    /// For payloads, and for decompression.
    pub(super) pool: Pool,
    #[expect(
        clippy::vec_box,
        reason = "sessions hold them so: each is allocated once"
    )]
    partials: Vec<Box<[Partial; 1]>>,
}

impl Scratch {
    /// Creates an empty one. Decompressors are allocated under the promise.
    #[must_use]
    pub fn on_promise(promise: Promise) -> Self {
        Self {
            pool: Pool::new(promise),
            partials: Vec::new(),
        }
    }

    /// Takes back the buffer of a [`Payload::Whole`](super::Payload::Whole), or of
    /// [`Scratch::buffer`].
    pub fn recycle(&mut self, buffer: Vec<u8>) {
        self.pool.recycle(buffer);
    }

    /// Returns an empty buffer, to which `len` bytes will be appended; its capacity may be smaller.
    pub fn buffer(&mut self, len: u64) -> Vec<u8> {
        self.pool.buffer(len)
    }

    /// Whether [`Scratch::shed`] will have something to free.
    #[must_use]
    pub fn keeps_large(&self) -> bool {
        self.pool.keeps_large()
    }

    /// Frees large buffers, if none was used since the last call.
    pub fn shed(&mut self) {
        self.pool.shed();
    }

    /// Returns an empty partial.
    pub(super) fn partial(&mut self) -> Result<Box<[Partial; 1]>, Refused> {
        match self.partials.pop() {
            Some(partial) => Ok(partial),
            None => memory::one(Partial::default()),
        }
    }

    /// Takes back a partial and everything that it holds.
    pub(super) fn recycle_partial(&mut self, mut partial: Box<[Partial; 1]>) {
        let (buffers, inflater) = partial[0].clear();
        for buffer in buffers {
            self.pool.recycle(buffer);
        }
        if let Some(inflater) = inflater {
            self.pool.recycle_inflater(inflater);
        }
        if self.partials.len() < pool::MAX_KEPT {
            pool::keep(&mut self.partials, partial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bounded_number_of_partials_is_kept() {
        let mut scratch = Scratch::default();
        for _ in 0..pool::MAX_KEPT + 8 {
            scratch.recycle_partial(Box::new([Partial::default()]));
        }
        assert_eq!(scratch.partials.len(), pool::MAX_KEPT);
    }

    #[test]
    fn scratch_and_sessions_may_move_between_threads() {
        fn is_send<T: Send>() {}
        is_send::<Scratch>();
        is_send::<super::super::Session>();
    }
}
