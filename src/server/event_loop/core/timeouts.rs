//! Timeouts: a coarse sweep over all connections.

use std::io;
use std::mem;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use super::Core;
use crate::net::Token;
use crate::proto;
use crate::server::event_loop::core::clock::{ROUND, Ticks};
use crate::server::websocket::connections::{Conn, Phase};

/// Who takes little by little what is left at the end has so many times CLOSE_TIMEOUT.
const MAX_CLOSE_TIMEOUTS: u32 = 12;

/// The payload of Portal's own pings; their answers are not the application's business.
const PING: &[u8] = b"\xf0\x9f\x9a\xaa\x00\x07\xe6\x0b";

/// So many waits that fail one after the other are the end of a loop.
const FAILED_WAITS: u32 = 10;

/// The pause after an error that the loop would meet again at once.
const PAUSE: Duration = Duration::from_millis(10);

impl Core {
    /// Whether a pong answers a ping of Portal's own.
    pub(crate) fn is_own_pong(payload: &[u8]) -> bool {
        payload == PING
    }

    /// Sees to it that the timer ends the coming wait when there is something to look after. False when
    /// it does not, so that there must be no wait.
    pub(crate) fn plan_wait(&mut self) -> bool {
        let after = self
            .ticks_to_wait()
            .and_then(|ticks| self.clock.plan(ticks));
        let Some(after) = after else { return true };
        match self.poller.set_timer(after) {
            Ok(()) => self.timer_failed = false,
            Err(error) => {
                self.clock.forget_alarm();
                if !mem::replace(&mut self.timer_failed, true) {
                    log::error!("cannot set the timer: {error}");
                }
                thread::sleep(PAUSE);
            }
        }
        !self.timer_failed
    }

    /// Looks at how a wait has ended. False when waits have failed so often that nothing more is to be
    /// hoped for.
    #[inline]
    pub(crate) fn has_waited(&mut self, waited: io::Result<()>) -> bool {
        match waited {
            Ok(()) => {
                self.failed_waits = 0;
                true
            }
            Err(error) => self.has_failed_to_wait(&error),
        }
    }

    #[cold]
    #[inline(never)]
    fn has_failed_to_wait(&mut self, error: &io::Error) -> bool {
        self.failed_waits += 1;
        if self.failed_waits == 1 {
            log::error!("waiting for events failed: {error}");
        }
        thread::sleep(PAUSE);
        self.failed_waits != FAILED_WAITS
    }

    /// How many ticks a wait may last; None is without limit.
    fn ticks_to_wait(&self) -> Option<u32> {
        if self.stalled || self.unaccepted.is_some() {
            return Some(1);
        }
        let groups = self.conns.groups() as u32;
        if self.conns.live() == 0 {
            return self.scratch.keeps_large().then_some(ROUND);
        }
        let next = self.clock.now().wrapping_add(1) % ROUND;
        // Groups come in the first ticks of a round.
        Some(if next < groups { 1 } else { 1 + ROUND - next })
    }

    /// Looks after the connections whose turn has come in these ticks.
    #[inline]
    pub(crate) fn sweep(&mut self, ticks: Ticks) {
        if ticks.count > 0 {
            self.sweep_groups(ticks);
        }
    }

    #[cold]
    #[inline(never)]
    fn sweep_groups(&mut self, ticks: Ticks) {
        self.accepting |= self.stalled && self.listener.is_some();
        self.look_after_accepting();
        if ticks.first / ROUND != ticks.first.wrapping_add(ticks.count) / ROUND {
            self.scratch.shed();
        }
        for passed in 0..ticks.count.min(ROUND) {
            let mut group = (ticks.first.wrapping_add(passed) % ROUND) as usize;
            while group < self.conns.groups() {
                let tokens: Vec<Token> = self.conns.group(group).collect();
                tokens
                    .into_iter()
                    .for_each(|token| self.check_timeouts(token));
                group += ROUND as usize;
            }
        }
    }

    fn check_timeouts(&mut self, token: Token) {
        let now = self.clock.now();
        let Self { conns, periods, .. } = self;
        let Some(conn) = conns.get(token) else { return };
        let age = now.wrapping_sub(conn.since);
        let silence = now.wrapping_sub(conn.heard);
        match conn.phase {
            Phase::Free | Phase::Deciding | Phase::Ended => (),
            Phase::Opening => {
                let opening = conn.extra.as_ref().and_then(|extra| extra.opening.as_ref());
                let kept = opening.is_some_and(|opening| opening.answered);
                let idle =
                    kept && !conn.blocked && opening.is_some_and(|opening| opening.head.is_empty());
                let limit = if idle {
                    periods.kept
                } else {
                    periods.handshake
                };
                if age < limit {
                    return;
                }
                if kept {
                    log::debug!("{}: next request timed out", self.name(token));
                } else {
                    log::info!("{}: handshake timed out", self.name(token));
                    self.server.metrics.rejected.fetch_add(1, Ordering::Relaxed);
                }
                self.end(token, None);
            }
            Phase::Closing | Phase::Finishing | Phase::Lingering => self.check_close_timeout(token),
            Phase::Open if conn.read_paused && !conn.blocked => {
                // It waits for us, and not we for it.
                conn.heard = now;
                self.reconsider_backlog(token);
            }
            Phase::Open if periods.idle > 0 && silence >= periods.idle && !conn.read_paused => {
                log::info!("{}: idle timed out", self.name(token));
                self.close_by_server(token);
            }
            Phase::Open if periods.ping > 0 && silence >= periods.ping => {
                if !conn.pinged {
                    self.ping(token);
                } else if age >= periods.ping && !self.peer_is_acknowledging(token) {
                    log::info!("{}: ping timed out", self.name(token));
                    self.end(token, None);
                }
            }
            _ => (),
        }
    }

    /// Asks a client that is silent for a sign of life.
    fn ping(&mut self, token: Token) {
        let now = self.clock.now();
        let Some((acknowledged, waits)) = self.acknowledged(token) else {
            return;
        };
        let Some(conn) = self.conns.get(token) else {
            return;
        };
        conn.pinged = true;
        conn.since = now;
        if waits {
            // The ping stands behind what the peer has not taken yet.
            conn.extra().acknowledged = Some(acknowledged);
        } else if let Some(extra) = conn.extra.as_mut() {
            extra.acknowledged = None;
        }
        self.say_control(token, |out| proto::write_ping(out, PING));
    }

    /// The end of a connection may take CLOSE_TIMEOUT; it begins again with bytes that the peer takes.
    fn check_close_timeout(&mut self, token: Token) {
        let now = self.clock.now();
        // Asked at each check, not only at the end: else bytes taken long ago would give it a whole
        // CLOSE_TIMEOUT more.
        self.peer_is_acknowledging(token);
        let Self { conns, periods, .. } = self;
        let Some(conn) = conns.get(token) else { return };
        let age = now.wrapping_sub(conn.since);
        let whole = now.wrapping_sub(conn.extra().ending_since);
        let is_bounded = conn.connected || self.closing;
        let over = is_bounded && whole >= periods.close.saturating_mul(MAX_CLOSE_TIMEOUTS);
        if over || age >= periods.close {
            log::debug!("{}: close timed out", self.name(token));
            return self.end(token, None);
        }
        let Some(conn) = self.conns.get(token) else {
            return;
        };
        if conn.phase == Phase::Closing {
            self.queue_close_frame(token);
        }
        let noted = |conn: &mut Conn| conn.extra().acknowledged.is_some();
        if !self.conns.get(token).is_none_or(noted) {
            self.note_acknowledged(token);
        }
    }

    /// Returns whether the peer's system has acknowledged bytes since this was last asked; then its time
    /// begins again.
    fn peer_is_acknowledging(&mut self, token: Token) -> bool {
        let now = self.clock.now();
        let Some((acknowledged, _)) = self.acknowledged(token) else {
            return false;
        };
        let Some(conn) = self.conns.get(token) else {
            return false;
        };
        let Some(before) = conn
            .extra
            .as_mut()
            .and_then(|extra| extra.acknowledged.as_mut())
        else {
            return false;
        };
        let more = acknowledged.wrapping_sub(*before).cast_signed() > 0;
        *before = acknowledged;
        if more {
            conn.since = now;
        }
        more
    }

    /// Notes what the peer's system has acknowledged, for the first time that it is asked.
    fn note_acknowledged(&mut self, token: Token) {
        let Some((acknowledged, _)) = self.acknowledged(token) else {
            return;
        };
        if let Some(conn) = self.conns.get(token) {
            conn.extra().acknowledged.get_or_insert(acknowledged);
        }
    }

    /// How many bytes the peer's system has acknowledged, wrapping, and whether others wait for that.
    fn acknowledged(&mut self, token: Token) -> Option<(u32, bool)> {
        let conn = self.conns.get(token)?;
        let unacknowledged = self.poller.unacknowledged(token).unwrap_or(0);
        let waits = unacknowledged > 0 || conn.outbox.is_some();
        // Of what is encrypted the same bytes are to be compared: the sealed ones.
        let taken = self.poller.accepted_ciphertext(token).unwrap_or(conn.sent);
        Some((taken.wrapping_sub(unacknowledged as u32), waits))
    }
}
