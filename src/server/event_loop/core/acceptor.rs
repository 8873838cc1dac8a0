//! The listener of a loop, and whether accepting from it works.

use std::io;
use std::sync::Arc;

use crate::net::{Listener, Peer, Poller, Socket, memory};
use crate::server::event_loop::core::clock::Clock;
use crate::server::shared::{Shared, Stage};

/// Accepting works again when it has not failed for so many milliseconds.
const RECOVERY_MS: u32 = 1_000;

/// Maximum number of connections over a limit that are kept until their TLS handshake, to be refused then.
const MAX_LATE_REFUSALS: usize = 16;

/// Accepts a loop's connections. Another loop's server has no listener.
#[derive(Default)]
pub(super) struct Acceptor {
    listener: Option<Arc<Listener>>,
    /// Connections may be waiting to be accepted.
    ready: bool,
    /// Accepting has failed, and is to be tried again.
    stalled: bool,
    /// The tick in which accepting last failed; None when its recovery has been logged.
    last_failure: Option<u32>,
    /// Connections over a limit that are kept until their TLS handshake.
    late_refusals: usize,
}

impl Acceptor {
    pub(super) fn listen(
        &mut self,
        poller: &mut Poller,
        listener: Arc<Listener>,
    ) -> io::Result<()> {
        poller.listen(&listener)?;
        self.listener = Some(listener);
        Ok(())
    }

    /// Accepts no further connection.
    pub(super) fn stop(&mut self, poller: &mut Poller) {
        self.ready = false;
        self.stalled = false;
        self.last_failure = None;
        if let Some(listener) = self.listener.take() {
            // Fails only if it is not polled any more.
            let _ = poller.stop_listening(&listener);
        }
    }

    /// Whether connections may be waiting.
    pub(super) fn is_ready(&self) -> bool {
        self.ready
    }

    /// Learns from the poller whether connections may be waiting.
    #[inline]
    pub(super) fn poll(&mut self, poller: &mut Poller) -> bool {
        self.ready |= poller.take_acceptable();
        self.ready
    }

    /// Accepts one connection, if one is waiting and accepting works.
    pub(super) fn accept(&mut self, server: &Shared, now: u32) -> Option<(Socket, Peer)> {
        let Some(listener) = &self.listener else {
            self.ready = false;
            return None;
        };
        let accepted = if memory::is_short() {
            Err(io::ErrorKind::OutOfMemory.into())
        } else {
            listener.accept()
        };
        match accepted {
            Ok(accepted) => Some(accepted),
            // The listener has been stopped; this loop stops polling it in its next turn.
            Err(_) if server.stage() != Stage::Accepting => {
                self.ready = false;
                None
            }
            Err(error) => {
                self.ready = false;
                self.stalled = error.kind() != io::ErrorKind::WouldBlock;
                if self.stalled {
                    self.note_failure(&error, now);
                }
                None
            }
        }
    }

    fn note_failure(&mut self, error: &io::Error, now: u32) {
        if self.last_failure.replace(now).is_none() {
            log::warn!("cannot accept connections for now: {error}");
        }
    }

    /// Tries again what has failed: a socket was freed, or time has passed.
    pub(super) fn retry(&mut self) {
        self.ready |= self.stalled;
    }

    /// Whether accepting has just failed.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled
    }

    /// Whether accepting has failed, so that each tick must check it.
    pub(super) fn has_failed(&self) -> bool {
        self.stalled || self.last_failure.is_some()
    }

    /// Logs the end of a failure once that has lasted: otherwise the log would fill with beginnings and ends.
    pub(super) fn check_recovery(&mut self, clock: &Clock) {
        let Some(last) = self.last_failure.filter(|_| !self.stalled) else {
            return;
        };
        if clock.now().wrapping_sub(last) >= clock.ticks(RECOVERY_MS) {
            self.last_failure = None;
            log::warn!("accepting connections again");
        }
    }

    /// Whether one more connection over a limit may be kept until its TLS handshake.
    pub(super) fn may_refuse_late(&self) -> bool {
        self.late_refusals < MAX_LATE_REFUSALS
    }

    /// Counts a connection over a limit that is kept.
    pub(super) fn begin_late_refusal(&mut self) {
        self.late_refusals += 1;
    }

    /// Uncounts one that has ended.
    pub(super) fn end_late_refusal(&mut self) {
        self.late_refusals -= 1;
    }
}
