//! The end of a server: accepting stops, and its connections are closed.

use super::Core;
use crate::net::Token;
use crate::server::shared::Stage;
use crate::server::websocket::connections::Phase;

impl Core {
    /// Enters a later stage: stops accepting, and when the server closes, closes its connections.
    #[cold]
    #[inline(never)]
    pub(crate) fn enter_stage(&mut self, stage: Stage) {
        self.stage = stage;
        self.acceptor.stop(&mut self.poller);
        if stage == Stage::Closing {
            self.close_all();
        } else {
            self.end_idle_pages("the server accepts no more connections");
        }
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.stage == Stage::Closing
    }

    /// Closes every websocket with CLOSE_CODE, and ends every request that is not complete.
    fn close_all(&mut self) {
        let now = self.clock.now();
        for group in 0..self.conns.groups() {
            let tokens: Vec<Token> = self.conns.group(group).collect();
            for token in tokens {
                let Some(conn) = self.conns.get_mut(token) else {
                    continue;
                };
                match conn.phase {
                    Phase::Opening => self.end(token, None),
                    _ if conn.is_unanswered() => self.give_up(token),
                    Phase::Open => self.close_with_server(token),
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
        self.is_closing() && self.conns.live() == 0
    }

    /// Whether a closing server has nothing left but events that the host has not pulled.
    pub(crate) fn is_quiet(&mut self) -> bool {
        let groups = self.conns.groups();
        self.is_closing()
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
