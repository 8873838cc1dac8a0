//! Callbacks that became pending while the loop's state was borrowed, and what follows the last one.

use std::ffi::CString;

use crate::net::Token;
use crate::proto::Role;
use crate::server::event::Event;
use crate::server::event_loop::core::Pending;
use crate::server::event_loop::{Loop, Turn};
use crate::server::handshake::paths;
use crate::server::log::report_collected;
use crate::server::slot::State;
use crate::server::websocket::connections::Phase;

impl Loop {
    /// Runs the callbacks that have become pending.
    #[inline]
    pub(super) fn run_pending(&self, turn: &mut Turn<'_, '_>) {
        report_collected();
        let count = self.core.borrow().pending.len();
        if count > 0 {
            self.run_all_pending(turn, count);
        }
    }

    #[inline(never)]
    fn run_all_pending(&self, turn: &mut Turn<'_, '_>, count: usize) {
        for _ in 0..count {
            if !turn.sink.has_room() {
                return;
            }
            let Some((token, pending)) = self.core.borrow_mut().pending.pop_front() else {
                return;
            };
            turn.paths.renew();
            self.run_one_pending(turn, token, pending);
        }
    }

    fn run_one_pending(&self, turn: &mut Turn<'_, '_>, token: Token, pending: Pending) {
        let Some(target) = self.target(token) else {
            return;
        };
        let event = match pending {
            Pending::Verdict(verdict, request) if target.role == Role::Client => {
                return self.send_request(token, verdict, &request);
            }
            Pending::Verdict(verdict, request) => {
                return self.apply_decision(turn, token, verdict, request);
            }
            Pending::Request(peer) => return self.prepare_request(turn, target, peer),
            Pending::ThreadEnded => return self.client_thread_ended(token),
            Pending::Drain if target.slot.word().state() != State::Open => return,
            Pending::Drain => Event::Drain,
            Pending::Failure(failure) => Event::Failure(failure),
            Pending::Disconnect if target.role == Role::Client => {
                return self.outgoing_ended(turn, target);
            }
            Pending::Disconnect if !self.core.borrow().is_connected(token) => {
                return self.release_connection(token);
            }
            Pending::Disconnect => {
                let (code, reason) = self.close_status(token);
                Event::Disconnect(code, reason)
            }
        };
        self.deliver_event(turn, target, event);
    }

    /// A client's own thread has ended: after `disconnect`, or by a panic.
    fn client_thread_ended(&self, token: Token) {
        let mut core = self.core.borrow_mut();
        let Some(conn) = core.conns.get_mut(token) else {
            return;
        };
        let in_order = conn.phase == Phase::Ended;
        let queue = conn.extra().client_queue.take();
        if in_order {
            core.free(token);
        } else {
            conn.connected = false;
            core.end(token, None);
        }
        drop(core);
        if let Some(queue) = queue {
            queue.join();
        }
    }

    /// Returns what `disconnect` receives.
    pub(super) fn close_status(&self, token: Token) -> (u16, CString) {
        let mut core = self.core.borrow_mut();
        let Some(conn) = core.conns.get_mut(token) else {
            return (1006, CString::default());
        };
        let close_status = std::mem::take(&mut conn.extra().close_status);
        let code = close_status.code();
        log::debug!("{}: disconnected with {code}", core.name(token));
        // A reason may contain U+0000; as a C string it ends there.
        let end = close_status.reason.iter().position(|&byte| byte == 0);
        let reason = &close_status.reason[..end.unwrap_or(close_status.reason.len())];
        (code, CString::new(reason).unwrap_or_default())
    }

    /// Releases what an ended connection had: its count for the path, its thread, its id.
    pub(super) fn release_connection(&self, token: Token) {
        let (path, queue) = {
            let mut core = self.core.borrow_mut();
            let Some(conn) = core.conns.get_mut(token) else {
                return;
            };
            let path = conn.counted.for_path.then_some(conn.path);
            let queue = conn
                .extra
                .as_mut()
                .and_then(|extra| extra.client_queue.take());
            core.free(token);
            (path, queue)
        };
        if let Some(queue) = queue {
            queue.stop();
        }
        if let Some(path) = path {
            paths::leave(path);
        }
    }
}
