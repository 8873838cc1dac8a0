//! How a thread goes to sleep without missing what others add: an eventcount with one waiter.
//!
//! The thread raises its flag, looks for work once more, and sleeps. The others add work, and then look at
//! the flag. Both sides have a fence between their two steps, so that at least one of them sees the other.

use crate::server::sync::atomic::{AtomicBool, Ordering, fence};

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
        let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
        self.0.load(Ordering::Relaxed)
            && self
                .0
                .compare_exchange(true, false, success, failure)
                .is_ok()
    }
}

#[cfg(test)]
#[cfg(loom)]
mod loom_tests {
    use std::sync::Arc;

    use super::*;
    use crate::server::sync::atomic::AtomicUsize;
    use crate::server::sync::{explore, thread};

    /// Does work until two pieces are done, and sleeps when there is none.
    fn do_two(flag: &WakeFlag, work: &AtomicUsize) {
        let mut done = 0;
        while done < 2 {
            flag.fall_asleep();
            let left = work.load(Ordering::Relaxed) - done;
            if left == 0 {
                thread::park();
            } else {
                flag.stay_awake();
                done += left;
            }
        }
    }

    #[test]
    fn work_of_two_threads_is_done_before_the_third_sleeps_for_good() {
        explore(3, || {
            let shared = Arc::new((WakeFlag::default(), AtomicUsize::new(0)));
            let sleeper = thread::current();
            let workers = [(); 2].map(|()| {
                let (shared, sleeper) = (Arc::clone(&shared), sleeper.clone());
                thread::spawn(move || {
                    let (flag, work) = &*shared;
                    work.fetch_add(1, Ordering::Relaxed);
                    if flag.must_wake(&WorkAdded::fence()) {
                        sleeper.unpark();
                    }
                })
            });
            let (flag, work) = &*shared;
            do_two(flag, work);
            for worker in workers {
                worker.join().expect("no panic");
            }
        });
    }

    #[test]
    fn of_two_that_add_work_at_most_one_wakes_the_sleeper() {
        explore(3, || {
            let flag = Arc::new(WakeFlag::default());
            flag.fall_asleep();
            let workers = [(); 2].map(|()| {
                let flag = Arc::clone(&flag);
                thread::spawn(move || flag.must_wake(&WorkAdded::fence()))
            });
            let wake = workers.map(|worker| worker.join().expect("no panic"));
            assert!(wake[0] != wake[1], "{wake:?}");
        });
    }
}
