//! The end of a server: its connections are closed.

use super::Core;
use crate::net::Token;
use crate::server::websocket::connections::Phase;

impl Core {
    /// Stops accepting, and closes every websocket with 1001.
    #[cold]
    #[inline(never)]
    pub(crate) fn begin_closing(&mut self) {
        self.closing = true;
        self.acceptor.stop(&mut self.poller);
        let now = self.clock.now();
        for group in 0..self.conns.groups() {
            let tokens: Vec<Token> = self.conns.group(group).collect();
            for token in tokens {
                let Some(conn) = self.conns.get_mut(token) else {
                    continue;
                };
                match conn.phase {
                    Phase::Opening => self.end(token, None),
                    Phase::Open => self.close_by_server(token),
                    // A page that is received slowly has as much time as a websocket from now on.
                    Phase::Finishing | Phase::Lingering if !conn.connected => {
                        conn.extra().closing_started_tick = now;
                    }
                    _ => (),
                }
            }
        }
    }

    /// Whether a closing server has no connection left.
    pub(crate) fn is_finished(&self) -> bool {
        self.closing && self.conns.live() == 0
    }

    /// Whether a closing server has nothing left but events that the host has not pulled.
    pub(crate) fn is_quiet(&mut self) -> bool {
        let groups = self.conns.groups();
        self.closing
            && (0..groups).all(|group| {
                let tokens: Vec<Token> = self.conns.group(group).collect();
                tokens.into_iter().all(|token| {
                    self.conns
                        .get_mut(token)
                        .is_none_or(|conn| conn.phase == Phase::Ended)
                })
            })
    }
}
