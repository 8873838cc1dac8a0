//! Pooled buffers and decompressors.

use super::deflate::{self, Inflater};
use super::memory::{self, Promise, Refused};

/// Maximum number of idle items of one kind.
pub(super) const MAX_KEPT: usize = 32;
/// Maximum number of idle decompressors: so many peers may be in the middle of a compressed message
/// before another is allocated.
const MAX_KEPT_INFLATERS: usize = 4;
/// A buffer with more capacity is pooled separately, and freed when none was used for a while. Pooling saves
/// a page fault for each page of a new one.
const LARGE_BYTES: usize = 64 * 1024;
/// Maximum capacity of all idle large buffers together: two messages of 16 MiB, and a little.
const MAX_KEPT_LARGE_BYTES: usize = 33 << 20;

#[derive(Debug)]
pub(super) struct Pool {
    promise: Promise,
    buffers: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
    /// The capacities of `large` together.
    large_kept: usize,
    /// A large buffer was taken or returned since the last call of [`Pool::shed`].
    large_used: bool,
    inflaters: Vec<Inflater>,
    stage: Box<[u8]>,
}

impl Default for Pool {
    fn default() -> Self {
        Self::new(memory::trust)
    }
}

impl Pool {
    /// Creates an empty pool. Decompressors are allocated under the promise.
    pub(crate) fn new(promise: Promise) -> Self {
        Self {
            promise,
            buffers: Vec::new(),
            large: Vec::new(),
            large_kept: 0,
            large_used: false,
            inflaters: Vec::new(),
            stage: Box::default(),
        }
    }

    /// Takes back a buffer.
    pub(crate) fn recycle(&mut self, mut buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        buffer.clear();
        if capacity > LARGE_BYTES {
            self.large_used = true;
            if capacity <= MAX_KEPT_LARGE_BYTES - self.large_kept && keep(&mut self.large, buffer) {
                self.large_kept += capacity;
            }
        } else if capacity > 0 && self.buffers.len() < MAX_KEPT {
            keep(&mut self.buffers, buffer);
        }
    }

    /// Returns an empty buffer, to which `len` bytes will be appended; its capacity may be smaller.
    pub(crate) fn buffer(&mut self, len: u64) -> Vec<u8> {
        if len <= LARGE_BYTES as u64 {
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

    /// Whether [`Pool::shed`] will have something to free.
    pub(crate) fn keeps_large(&self) -> bool {
        !self.large.is_empty()
    }

    /// Frees large buffers, if none was used since the last call.
    pub(crate) fn shed(&mut self) {
        if !std::mem::take(&mut self.large_used) {
            self.large = Vec::new();
            self.large_kept = 0;
        }
    }

    /// Returns a decompressor without context.
    pub(crate) fn inflater(&mut self) -> Result<Inflater, Refused> {
        match self.inflaters.pop() {
            Some(inflater) => Ok(inflater),
            None => Inflater::new(self.promise),
        }
    }

    /// Takes back a decompressor.
    pub(crate) fn recycle_inflater(&mut self, mut inflater: Inflater) {
        if self.inflaters.len() < MAX_KEPT_INFLATERS {
            inflater.reset();
            keep(&mut self.inflaters, inflater);
        }
    }

    /// Returns the buffer for decompressed bytes.
    pub(crate) fn stage(&mut self) -> Result<&mut [u8], Refused> {
        deflate::stage(&mut self.stage)
    }
}

/// Keeps an item for its next use if memory for the list is there. Returns whether it is.
pub(super) fn keep<T>(kept: &mut Vec<T>, item: T) -> bool {
    memory::push(kept, item).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bounded_number_of_small_buffers_is_kept() {
        let mut pool = Pool::default();
        pool.recycle(Vec::new());
        assert!(pool.buffers.is_empty());

        for _ in 0..MAX_KEPT + 8 {
            pool.recycle(b"used".to_vec());
        }
        assert_eq!(pool.buffers.len(), MAX_KEPT);
        assert!(pool.buffer(1).is_empty());
    }

    #[test]
    fn large_buffers_are_kept_up_to_a_bound_while_they_are_used() {
        const SIZE: usize = 1 << 20;
        let mut pool = Pool::default();
        for _ in 0..40 {
            pool.recycle(Vec::with_capacity(SIZE));
        }
        assert!(pool.large_kept <= MAX_KEPT_LARGE_BYTES && pool.large.len() == 33);
        assert!(pool.buffer(SIZE as u64).capacity() >= SIZE);
        assert_eq!(pool.buffer(2 * SIZE as u64).capacity(), 0);
        assert_eq!(pool.large.len(), 32);

        pool.shed();
        assert_eq!(pool.large.len(), 32);
        pool.shed();
        assert_eq!((pool.large.len(), pool.large_kept), (0, 0));
    }
}
