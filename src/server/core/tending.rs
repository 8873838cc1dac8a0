//! Timeouts: a coarse sweep over all connections.

use std::sync::atomic::Ordering;

use super::Core;
use crate::net::Token;
use crate::proto;
use crate::server::clock::{ROUND, Ticks};
use crate::server::conns::Phase;

/// The payload of Portal's own pings; their answers are not the application's business.
const PING: &[u8] = b"\xf0\x9f\x9a\xaa\x00\x07\xe6\x0b";

impl Core {
    /// Whether a pong answers a ping of Portal's own.
    pub fn is_own_pong(payload: &[u8]) -> bool {
        payload == PING
    }

    /// Sees to it that the timer ends the coming wait when there is something to look after.
    pub fn plan_wait(&mut self) {
        let after = self
            .ticks_to_wait()
            .and_then(|ticks| self.clock.plan(ticks));
        let set = after.map_or(Ok(()), |after| self.poller.set_timer(after));
        if let Err(error) = set {
            log::error!("the timer cannot be set: {error}");
        }
    }

    /// How many ticks a wait may last; None is without limit.
    fn ticks_to_wait(&self) -> Option<u32> {
        if self.stalled {
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
    pub fn sweep(&mut self, ticks: Ticks) {
        if ticks.count == 0 {
            return;
        }
        self.accepting |= self.stalled && self.listener.is_some();
        if ticks.first / ROUND != ticks.first.wrapping_add(ticks.count) / ROUND {
            self.scratch.shed();
        }
        for passed in 0..ticks.count.min(ROUND) {
            let mut group = (ticks.first.wrapping_add(passed) % ROUND) as usize;
            while group < self.conns.groups() {
                let tokens: Vec<Token> = self.conns.group(group).collect();
                tokens.into_iter().for_each(|token| self.look_after(token));
                group += ROUND as usize;
            }
        }
    }

    fn look_after(&mut self, token: Token) {
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
                if !kept {
                    log::info!("a client has not finished its handshake in time");
                    self.server.stats.rejected.fetch_add(1, Ordering::Relaxed);
                }
                self.end(token, None);
            }
            Phase::Closing | Phase::Finishing | Phase::Lingering if age >= periods.close => {
                self.end(token, None);
            }
            Phase::Closing => self.say_goodbye(token),
            Phase::Open if conn.keeping => self.look_after_keeping(token, silence),
            Phase::Open if periods.idle > 0 && silence >= periods.idle => {
                self.close_by_server(token);
            }
            Phase::Open if periods.ping > 0 && silence >= periods.ping => {
                if !conn.pinged {
                    conn.pinged = true;
                    conn.since = now;
                    self.say(token, |out| proto::write_ping(out, PING));
                } else if age >= periods.ping {
                    log::info!("a client has not answered a ping in time");
                    self.end(token, None);
                }
            }
            _ => (),
        }
    }

    /// A client that is not read from: its taking bytes is its sign of life.
    fn look_after_keeping(&mut self, token: Token, silence: u32) {
        let now = self.clock.now();
        let ping = self.periods.ping;
        let Some(conn) = self.conns.get(token) else {
            return;
        };
        if !conn.blocked {
            // It waits for us, and not we for it.
            conn.heard = now;
            self.reconsider(token);
        } else if ping > 0 && silence >= ping.saturating_mul(2) {
            log::info!("a client has taken no bytes in time");
            self.end(token, None);
        }
    }
}
