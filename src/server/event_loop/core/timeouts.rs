//! Timeouts: a coarse sweep over all connections.

use std::io;
use std::sync::atomic::Ordering;

use super::Core;
use crate::net::{Preamble, Token, memory};
use crate::proto;
use crate::server::event_loop::core::clock::{ROUND_TICKS, Ticks};
use crate::server::shared::Stage;
use crate::server::websocket::connections::{Conn, Phase};

/// A peer that receives the last bytes slowly has at most so many times CLOSE_TIMEOUT.
const MAX_CLOSE_TIMEOUTS: u32 = 12;

/// The payload of Portal's own pings. The application does not see the pongs.
const PING_PAYLOAD: &[u8] = b"\xf0\x9f\x9a\xaa\x00\x07\xe6\x0b";

impl Core {
    /// Whether a pong replies to one of Portal's own pings.
    pub(crate) fn is_own_pong(payload: &[u8]) -> bool {
        payload == PING_PAYLOAD
    }

    /// Limits the next wait so that timeouts are checked in time. Returns false when there must be no wait.
    pub(crate) fn limit_wait(&mut self) -> bool {
        let ticks = self.ticks_to_wait();
        ticks.is_none_or(|ticks| self.waits.limit(ticks, &mut self.clock, &self.poller))
    }

    /// Notes the result of a wait. Returns false when no further one is likely to succeed.
    #[inline]
    pub(crate) fn note_wait(&mut self, result: io::Result<()>) -> bool {
        self.waits.note(result)
    }

    /// Returns how many ticks the next wait may last; None: no limit.
    fn ticks_to_wait(&self) -> Option<u32> {
        if self.acceptor.has_failed() {
            return Some(1);
        }
        let groups = self.conns.groups() as u32;
        if self.conns.live() == 0 {
            if self.input.scratch.keeps_large() || self.poller.keeps_memory() {
                return Some(ROUND_TICKS);
            }
            return self.certificate_check.remaining(self.clock.now());
        }
        let next = self.clock.now().wrapping_add(1) % ROUND_TICKS;
        // Groups are checked in the first ticks of a round.
        let round = match next < groups {
            true => 1,
            false => 1 + ROUND_TICKS - next,
        };
        let attempt = self.outgoings.ticks_left(self.clock.now());
        Some(attempt.map_or(round, |attempt| attempt.clamp(1, round)))
    }

    /// Checks the timeouts of the connections whose groups belong to these ticks.
    #[inline]
    pub(crate) fn sweep(&mut self, ticks: Ticks) {
        if ticks.count > 0 {
            self.sweep_groups(ticks);
        }
    }

    #[cold]
    #[inline(never)]
    fn sweep_groups(&mut self, ticks: Ticks) {
        self.check_attempts();
        self.acceptor.retry();
        self.acceptor.check_recovery(&self.clock);
        if self.certificate_check.is_due(self.clock.now()) {
            self.server.warn_of_certificates();
        }
        if ticks.first / ROUND_TICKS != ticks.first.wrapping_add(ticks.count) / ROUND_TICKS {
            self.input.scratch.shed();
            memory::trim();
        }
        for passed in 0..ticks.count.min(ROUND_TICKS) {
            let mut group = (ticks.first.wrapping_add(passed) % ROUND_TICKS) as usize;
            while group < self.conns.groups() {
                let tokens: Vec<Token> = self.conns.group(group).collect();
                tokens
                    .into_iter()
                    .for_each(|token| self.check_timeouts(token));
                group += ROUND_TICKS as usize;
            }
        }
    }

    fn check_timeouts(&mut self, token: Token) {
        let now = self.clock.now();
        let periods = self.periods_of(token);
        let Some(conn) = self.conns.get_mut(token) else {
            return;
        };
        let age = now.wrapping_sub(conn.phase_started_tick);
        let silence = now.wrapping_sub(conn.last_received_tick);
        match conn.phase {
            Phase::Free | Phase::Deciding | Phase::Ended => (),
            // Their attempt has a timer.
            Phase::Waiting | Phase::Connecting | Phase::Answering => (),
            Phase::Opening => {
                let request = conn
                    .extra
                    .as_ref()
                    .and_then(|extra| extra.incoming_request.as_ref());
                let has_served_page = request.is_some_and(|request| request.has_served_page);
                let received = request.map_or(0, |request| request.head.len());
                let limit = if conn.is_idle_page() {
                    periods.page_keep_alive
                } else {
                    periods.handshake
                };
                if age < limit {
                    return;
                }
                if has_served_page {
                    log::debug!("{}: next request timed out", self.name(token));
                } else {
                    let part = self.poller.pending_preamble(token);
                    let waited_for = match part {
                        Some(Preamble::ProxyHeader) => "its PROXY header is incomplete",
                        Some(Preamble::TlsHandshake) => "its TLS handshake is incomplete",
                        None if received == 0 => "it sent no request",
                        None => "its request is incomplete",
                    };
                    log::info!("{}: handshake timed out: {waited_for}", self.name(token));
                    let metrics = &self.server.metrics;
                    metrics.rejected.fetch_add(1, Ordering::Relaxed);
                    metrics.handshake_timeouts.fetch_add(1, Ordering::Relaxed);
                }
                self.end(token, None);
            }
            Phase::Closing | Phase::Finishing | Phase::Lingering => self.check_close_timeout(token),
            Phase::Open if conn.reading.paused && !conn.writing.blocked => {
                // The connection waits for the application, not for the peer.
                conn.last_received_tick = now;
                self.reconsider_backlog(token);
            }
            Phase::Open if periods.idle > 0 && silence >= periods.idle && !conn.reading.paused => {
                log::info!("{}: idle timed out", self.name(token));
                self.close_by_server(token, 1001);
            }
            Phase::Open if periods.ping > 0 && silence >= periods.ping => {
                if !conn.awaits_pong {
                    self.ping(token);
                } else if age >= periods.ping && !self.peer_is_acknowledging(token) {
                    log::info!("{}: ping timed out", self.name(token));
                    let timeouts = &self.server.metrics.ping_timeouts;
                    timeouts.fetch_add(1, Ordering::Relaxed);
                    self.end(token, None);
                }
            }
            _ => (),
        }
    }

    /// Pings a silent peer.
    fn ping(&mut self, token: Token) {
        let now = self.clock.now();
        let Some((acknowledged, waits)) = self.acknowledged(token) else {
            return;
        };
        let Some(conn) = self.conns.get_mut(token) else {
            return;
        };
        conn.awaits_pong = true;
        conn.phase_started_tick = now;
        if waits {
            // The ping is queued behind what the peer has not received yet.
            conn.extra().acknowledged = Some(acknowledged);
        } else if let Some(extra) = conn.extra.as_mut() {
            extra.acknowledged = None;
        }
        self.queue_control_frame(token, |out| proto::write_ping(out, PING_PAYLOAD));
    }

    /// Ends a connection whose closing takes longer than CLOSE_TIMEOUT, which starts again when the peer
    /// receives bytes.
    fn check_close_timeout(&mut self, token: Token) {
        let now = self.clock.now();
        // Queried at each check, not only at the end: otherwise bytes that were received long ago would add a
        // whole CLOSE_TIMEOUT.
        self.peer_is_acknowledging(token);
        let periods = self.periods_of(token);
        let Some(conn) = self.conns.get_mut(token) else {
            return;
        };
        let age = now.wrapping_sub(conn.phase_started_tick);
        let whole = now.wrapping_sub(conn.extra().closing_started_tick);
        let is_bounded = conn.connected || self.stage == Stage::Closing;
        let over = is_bounded && whole >= periods.close.saturating_mul(MAX_CLOSE_TIMEOUTS);
        if over || age >= periods.close {
            log::debug!("{}: close timed out", self.name(token));
            return self.end(token, None);
        }
        let Some(conn) = self.conns.get_mut(token) else {
            return;
        };
        if conn.phase == Phase::Closing {
            self.try_queue_close_frame(token);
        }
        let noted = |conn: &mut Conn| conn.extra().acknowledged.is_some();
        if !self.conns.get_mut(token).is_none_or(noted) {
            self.note_acknowledged(token);
        }
    }

    /// Returns whether the peer's system has acknowledged bytes since the last call; then the timeout starts
    /// again.
    fn peer_is_acknowledging(&mut self, token: Token) -> bool {
        let now = self.clock.now();
        let Some((acknowledged, _)) = self.acknowledged(token) else {
            return false;
        };
        let Some(conn) = self.conns.get_mut(token) else {
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
            conn.phase_started_tick = now;
        }
        more
    }

    /// Notes what the peer's system has acknowledged, if it is queried for the first time.
    fn note_acknowledged(&mut self, token: Token) {
        let Some((acknowledged, _)) = self.acknowledged(token) else {
            return;
        };
        if let Some(conn) = self.conns.get_mut(token) {
            conn.extra().acknowledged.get_or_insert(acknowledged);
        }
    }

    /// Returns how many bytes the peer's system has acknowledged, wrapping, and whether it has others to
    /// acknowledge.
    fn acknowledged(&mut self, token: Token) -> Option<(u32, bool)> {
        let conn = self.conns.get_mut(token)?;
        let unacknowledged = self.poller.unacknowledged(token).unwrap_or(0);
        let waits = unacknowledged > 0 || conn.outbox.is_some();
        // With TLS both numbers must be of ciphertext.
        let accepted = self
            .poller
            .accepted_ciphertext(token)
            .unwrap_or(conn.sent_bytes);
        Some((accepted.wrapping_sub(unacknowledged as u32), waits))
    }
}
