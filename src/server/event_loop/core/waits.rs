//! How a loop's waits for events end: by its timer, and after errors.

use std::io;
use std::mem;
use std::thread;
use std::time::Duration;

use super::clock::Clock;
use crate::net::Poller;

/// So many waits that fail one after the other are the end of a loop.
const MAX_FAILED_WAITS: u32 = 10;

/// The pause after an error that the loop would meet again at once.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

#[derive(Default)]
pub(super) struct Waits {
    /// How many have failed one after the other.
    failed: u32,
    /// The timer could not be set when that was last tried.
    timer_failed: bool,
}

impl Waits {
    /// Sets the timer so that the next wait lasts `ticks` at most, unless it goes off before that anyway.
    /// Returns false when that fails, so that there must be no wait.
    pub(super) fn limit(&mut self, ticks: u32, clock: &mut Clock, poller: &Poller) -> bool {
        let Some(end) = clock.plan(ticks) else {
            return true;
        };
        let after = end.saturating_duration_since(poller.now());
        match poller.set_timer(after) {
            Ok(()) => self.timer_failed = false,
            Err(error) => {
                clock.forget_alarm();
                if !mem::replace(&mut self.timer_failed, true) {
                    log::error!("cannot set the timer: {error}");
                }
                thread::sleep(ERROR_PAUSE);
            }
        }
        !self.timer_failed
    }

    /// Sets the timer so that the next wait lasts no longer than this. Returns false when that fails, so that there
    /// must be no wait.
    pub(super) fn limit_to(&mut self, time: Duration, clock: &mut Clock, poller: &Poller) -> bool {
        clock.forget_alarm();
        let set = poller.set_timer(time);
        if set.is_err() {
            thread::sleep(ERROR_PAUSE);
        }
        set.is_ok()
    }

    /// Notes the result of a wait. Returns false when so many have failed that no further one is likely to
    /// succeed.
    #[inline]
    pub(super) fn note(&mut self, result: io::Result<()>) -> bool {
        match result {
            Ok(()) => {
                self.failed = 0;
                true
            }
            Err(error) => self.note_failure(&error),
        }
    }

    #[cold]
    #[inline(never)]
    fn note_failure(&mut self, error: &io::Error) -> bool {
        self.failed += 1;
        if self.failed == 1 {
            log::error!("waiting for events failed: {error}");
        }
        thread::sleep(ERROR_PAUSE);
        self.failed != MAX_FAILED_WAITS
    }
}
