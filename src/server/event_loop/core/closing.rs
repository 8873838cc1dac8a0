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
    /// The peer's close frame has been received.
    pub(crate) fn close_received(&mut self, token: Token, code: Option<u16>, reason: &[u8]) {
        let now = self.clock.now();
        let Some(conn) = self.conns.get_mut(token) else {
            return;
        };
        let peer_began = conn.phase == Phase::Open;
        if peer_began {
            conn.begin_ending(Phase::Closing, now);
        }
        let extra = conn.extra();
        extra.close_status.received = Some(code.unwrap_or(1005));
        extra.close_status.reason = reason.to_vec();
        if peer_began {
            extra.pending_close = Some((code, Vec::new()));
            // Fails if the application closes at the same time; its mail then comes too late.
            let _ = self.slot(token).advance(token.generation, State::Closing);
        }
        self.try_queue_close_frame(token);
        self.finish_closing(token);
    }

    /// Fails the connection: sends a close frame, and notifies the application.
    pub(crate) fn fail(&mut self, token: Token, error: ProtoError) {
        let now = self.clock.now();
        let Some(conn) = self.conns.get_mut(token) else {
            return;
        };
        let close_was_queued = conn.has_queued_close();
        conn.session.abandon(&mut self.input.scratch);
        conn.begin_ending(Phase::Finishing, now);
        let code = error.close_code();
        let extra = conn.extra();
        extra.pending_close = None;
        extra.close_status.failed = Some(code);
        extra.close_queued = true;
        // Fails if the application closes at the same time.
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
        if !close_was_queued {
            self.queue_frame(token, |out| proto::write_close(out, Some(code), b""));
        }
        self.schedule_write(token);
    }

    /// Fails the connection because memory for its input was refused; with a close frame where one is possible.
    pub(crate) fn fail_out_of_memory(&mut self, token: Token) {
        match self.conns.get_mut(token).map(|conn| conn.phase) {
            Some(Phase::Open | Phase::Closing) => self.fail(token, ProtoError::OutOfMemory),
            _ => self.end(token, Some(io::ErrorKind::OutOfMemory.into())),
        }
    }

    /// Closes a websocket from our side.
    pub(crate) fn close(&mut self, token: Token, code: u16, reason: Vec<u8>) {
        let now = self.clock.now();
        let Some(conn) = self.conns.get_mut(token) else {
            return;
        };
        if conn.is_unanswered() {
            return self.give_up(token);
        }
        if conn.phase != Phase::Open {
            return;
        }
        conn.begin_ending(Phase::Closing, now);
        conn.session.drop_messages();
        conn.extra().pending_close = Some((Some(code), reason));
        // The peer's close frame may be in the backlog.
        self.reconsider_backlog(token);
        self.try_queue_close_frame(token);
    }

    /// Closes a websocket because the server closes.
    pub(crate) fn close_with_server(&mut self, token: Token) {
        self.close_by_server(token, self.server.options.close_code);
    }

    /// Closes a websocket on the server's behalf.
    pub(super) fn close_by_server(&mut self, token: Token, code: u16) {
        // Fails if the application closes it at the same time.
        if self
            .slot(token)
            .advance(token.generation, State::Closing)
            .is_ok()
        {
            self.close(token, code, Vec::new());
        }
    }

    /// Queues the close frame of a closing connection, unless something that was sent before it is still on its
    /// way into the outbox.
    pub(super) fn try_queue_close_frame(&mut self, token: Token) {
        let queued = self.slot(token).word().queued();
        let Some(conn) = self.conns.get_mut(token) else {
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
        self.queue_frame(token, |out| proto::write_close(out, code, &reason));
        self.finish_closing(token);
    }

    /// Finishes the connection once both close frames are there.
    fn finish_closing(&mut self, token: Token) {
        let Some(conn) = self.conns.get_mut(token) else {
            return;
        };
        let extra = conn.extra();
        if extra.close_queued
            && extra.close_status.received.is_some()
            && conn.phase == Phase::Closing
        {
            conn.phase = Phase::Finishing;
            self.schedule_write(token);
        }
    }
}
