//! The closing handshake: from either side, and after a failure.

use std::io;
use std::sync::atomic::Ordering;

use super::{Core, Pending};
use crate::net::Token;
use crate::proto::{self, ProtoError};
use crate::server::FailureKind;
use crate::server::slot::State;
use crate::server::websocket::connections::Phase;

impl Core {
    /// The client's close frame has come.
    pub(crate) fn client_closed(&mut self, token: Token, code: Option<u16>, reason: &[u8]) {
        let now = self.clock.now();
        let Some(conn) = self.conns.get(token) else {
            return;
        };
        let ours = conn.phase == Phase::Open;
        if ours {
            conn.begin_ending(Phase::Closing, now);
        }
        let extra = conn.extra();
        extra.close_status.received = Some(code.unwrap_or(1005));
        extra.close_status.reason = reason.to_vec();
        if ours {
            extra.pending_close = Some((code, Vec::new()));
            // It fails if the application has closed at the same time; then its mail comes late.
            let _ = self.slot(token).advance(token.generation, State::Closing);
        }
        self.queue_close_frame(token);
        self.finish_closing(token);
    }

    /// The client broke a rule: tells it by a close frame, and the application.
    pub(crate) fn fail(&mut self, token: Token, error: ProtoError) {
        let now = self.clock.now();
        let Some(conn) = self.conns.get(token) else {
            return;
        };
        let said = conn.has_queued_close();
        conn.session.abandon(&mut self.input.scratch);
        conn.begin_ending(Phase::Finishing, now);
        let code = error.close_code();
        let extra = conn.extra();
        extra.pending_close = None;
        extra.close_status.failed = Some(code);
        extra.close_queued = true;
        // Fails if the application has closed at the same time.
        let _ = self.slot(token).advance(token.generation, State::Closing);
        log::info!("{}: failing connection: {code}, {error}", self.name(token));
        self.server
            .metrics
            .protocol_errors
            .fetch_add(1, Ordering::Relaxed);
        let kind = match error {
            _ if error.is_too_big() => FailureKind::TooBig,
            _ if error.is_utf8() => FailureKind::Utf8,
            _ if error.is_memory() => FailureKind::Memory,
            _ => FailureKind::Protocol,
        };
        self.pending
            .push_back((token, Pending::failure(kind, code, error.to_string())));
        if !said {
            self.say(token, |out| proto::write_close(out, Some(code), b""));
        }
        self.mark_dirty(token);
    }

    /// Memory for what the client has sent was refused: ends with it, politely where that is possible.
    pub(crate) fn fail_for_memory(&mut self, token: Token) {
        match self.conns.get(token).map(|conn| conn.phase) {
            Some(Phase::Open | Phase::Closing) => self.fail(token, ProtoError::OutOfMemory),
            _ => self.end(token, Some(io::ErrorKind::OutOfMemory.into())),
        }
    }

    /// Closes a websocket from our side.
    pub(crate) fn close(&mut self, token: Token, code: u16, reason: Vec<u8>) {
        let now = self.clock.now();
        let Some(conn) = self
            .conns
            .get(token)
            .filter(|conn| conn.phase == Phase::Open)
        else {
            return;
        };
        conn.begin_ending(Phase::Closing, now);
        conn.session.drop_messages();
        conn.extra().pending_close = Some((Some(code), reason));
        // The client's close frame may be among what was kept.
        self.reconsider_backlog(token);
        self.queue_close_frame(token);
    }

    /// Closes a websocket with 1001: not the application wants it, but the server.
    pub(crate) fn close_by_server(&mut self, token: Token) {
        // Fails if the application closes it at the same time.
        if self
            .slot(token)
            .advance(token.generation, State::Closing)
            .is_ok()
        {
            self.close(token, 1001, Vec::new());
        }
    }

    /// Queues our close frame, once all that was sent before it is in the outbox.
    pub(super) fn queue_close_frame(&mut self, token: Token) {
        let queued = self.slot(token).word().queued();
        let Some(conn) = self.conns.get(token) else {
            return;
        };
        let held = conn.outbox.as_ref().map_or(0, |outbox| outbox.counted());
        if queued != held as u64 || conn.phase != Phase::Closing {
            return;
        }
        let Some(extra) = conn.extra.as_mut() else {
            return;
        };
        let Some((code, reason)) = extra.pending_close.take() else {
            return;
        };
        extra.close_queued = true;
        self.say(token, |out| proto::write_close(out, code, &reason));
        self.finish_closing(token);
    }

    /// After both close frames nothing more is said.
    fn finish_closing(&mut self, token: Token) {
        let Some(conn) = self.conns.get(token) else {
            return;
        };
        let extra = conn.extra();
        if extra.close_queued
            && extra.close_status.received.is_some()
            && conn.phase == Phase::Closing
        {
            conn.phase = Phase::Finishing;
            self.mark_dirty(token);
        }
    }
}
