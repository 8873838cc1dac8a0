//! A channel for loom, which cannot see into crossbeam's: the same interface, and the least that a channel
//! must promise. Whoever receives sees what the sender did before; how many wait may be an old number.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

pub(crate) use crossbeam_channel::{SendError, TryRecvError};
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::locks;

struct Channel<T> {
    queue: Mutex<VecDeque<T>>,
    /// How many of the queue have been sent.
    sent: AtomicUsize,
    disconnected: AtomicBool,
}

pub(crate) struct Sender<T>(Arc<Channel<T>>);

pub(crate) struct Receiver<T>(Arc<Channel<T>>);

pub(crate) fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    let channel = Arc::new(Channel {
        queue: Mutex::default(),
        sent: AtomicUsize::new(0),
        disconnected: AtomicBool::new(false),
    });
    (Sender(Arc::clone(&channel)), Receiver(channel))
}

impl<T> Sender<T> {
    pub(crate) fn send(&self, value: T) -> Result<(), SendError<T>> {
        locks::lock(&self.0.queue).push_back(value);
        self.0.sent.fetch_add(1, Ordering::Release);
        Ok(())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.disconnected.store(true, Ordering::Release);
    }
}

impl<T> Receiver<T> {
    pub(crate) fn len(&self) -> usize {
        self.0.sent.load(Ordering::Relaxed)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn try_recv(&self) -> Result<T, TryRecvError> {
        let is_last = self.0.disconnected.load(Ordering::Acquire);
        if self.0.sent.load(Ordering::Acquire) == 0 {
            return Err(match is_last {
                true => TryRecvError::Disconnected,
                false => TryRecvError::Empty,
            });
        }
        self.0.sent.fetch_sub(1, Ordering::Relaxed);
        locks::lock(&self.0.queue)
            .pop_front()
            .ok_or(TryRecvError::Empty)
    }

    pub(crate) fn try_iter(&self) -> impl Iterator<Item = T> {
        std::iter::from_fn(|| self.try_recv().ok())
    }
}
