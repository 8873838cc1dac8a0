//! How a thread goes to sleep without missing what others add: an eventcount with one waiter.
//!
//! The thread raises its flag, looks for work once more, and sleeps. The others add work, and then look at
//! the flag. Both sides have a fence between their two steps, so that at least one of them sees the other.

use std::sync::atomic::{AtomicBool, Ordering, fence};

/// Raised while a thread sleeps, or is about to, and wants to be woken for work.
#[derive(Default)]
pub(crate) struct WakeFlag(AtomicBool);

/// What its thread added before this was made is seen by whoever falls asleep unseen by the thread.
pub(crate) struct WorkAdded(());

impl WorkAdded {
    #[inline]
    pub(crate) fn fence() -> Self {
        fence(Ordering::SeqCst);
        Self(())
    }
}

impl WakeFlag {
    /// From now on whoever adds work wakes the thread. It must look for work once more before it sleeps.
    #[inline]
    pub(crate) fn fall_asleep(&self) {
        self.0.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// From now on nobody needs to wake the thread.
    #[inline]
    pub(crate) fn stay_awake(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Whether the caller, who has added work, must wake the thread; true for one of many callers.
    #[inline]
    pub(crate) fn must_wake(&self, _: &WorkAdded) -> bool {
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::AcqRel)
    }
}
