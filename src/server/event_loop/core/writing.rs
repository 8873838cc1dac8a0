//! What is queued for clients, and how it leaves: all of one turn in one system call each.

use std::collections::TryReserveError;
use std::io::{self, IoSlice};

use super::input::Input;
use super::{Core, Pending};
use crate::net::{Token, memory};
use crate::proto::{self, FrameHead, Kind, MAX_CONTROL_FRAME};
use crate::server::ServerError;
use crate::server::error::Answer;
use crate::server::websocket::connections::{Conn, Extra, Phase};
use crate::server::websocket::mailbox::ping_cost;
use crate::server::websocket::outbox::Outbox;
use crate::server::websocket::piece::PIECE;
use crate::server::websocket::reservation::Reservation;

/// A message of so many bytes is written at once, without a copy, if nothing is queued before it.
const DIRECT: usize = 16 * 1024;

impl Core {
    /// Queues what was reserved; false when the client has gone.
    pub(super) fn queue<E>(
        &mut self,
        mut reservation: Reservation,
        put: impl FnOnce(&mut Outbox) -> Result<(), E>,
    ) -> bool {
        let token = reservation.token();
        if !self
            .conns
            .get(token)
            .is_some_and(|conn| conn.takes_frames())
        {
            self.release(token, reservation.all());
            return false;
        }
        if put(self.outbox(token)).is_err() {
            self.release(token, reservation.all());
            self.end(token, Some(io::ErrorKind::OutOfMemory.into()));
            return false;
        }
        reservation.queued();
        self.mark_dirty(token);
        self.queue_close_frame(token);
        true
    }

    /// Queues one message whose bytes are counted; large ones leave at once where they can.
    ///
    /// Until a short one is queued nothing can fail, so no [`Reservation`] is made of what is counted.
    #[inline]
    pub(crate) fn send(
        &mut self,
        token: Token,
        kind: Kind,
        head: &FrameHead,
        body: &[u8],
    ) -> Answer {
        let is_short = body.len() < DIRECT;
        let stays_plain = body.len() < self.output.deflate_min_bytes;
        let Self { conns, output, .. } = self;
        if let Some(conn) = conns.get(token)
            && conn.phase == Phase::Open
            && is_short
            && (stays_plain || conn.session.agreement().is_none())
            && output.outbox(conn).append_short(head, body)
        {
            self.traffic.messages_out += 1;
            output.schedule(token, conn);
            return Ok(());
        }
        self.send_any(token, kind, head, body)
    }

    /// [`Core::send`] for all that is not a short message to be sent as it is.
    #[cold]
    #[inline(never)]
    fn send_any(&mut self, token: Token, kind: Kind, head: &FrameHead, body: &[u8]) -> Answer {
        let cost = head.as_slice().len() + body.len();
        let mut reservation = Reservation::counted(self.address(token), cost as u64, 0);
        // The mail that was taken since the bytes were counted may have ended it.
        let Some(conn) = self.conns.get(token).filter(|conn| conn.takes_frames()) else {
            self.release(token, reservation.all());
            return Err(ServerError::Gone);
        };
        let closing = conn.phase == Phase::Closing;
        let sent =
            if body.len() >= self.output.deflate_min_bytes && conn.session.agreement().is_some() {
                self.send_deflated(reservation, kind, head, body)
            } else {
                self.send_frame(reservation, head, body)
            };
        self.traffic.messages_out += u64::from(sent.is_ok());
        if closing {
            self.queue_close_frame(token);
        }
        sent
    }

    /// Queues one frame whose bytes are counted.
    pub(super) fn send_frame(
        &mut self,
        mut reservation: Reservation,
        head: &FrameHead,
        body: &[u8],
    ) -> Answer {
        let token = reservation.token();
        let head = head.as_slice();
        let is_free = |conn: &mut Conn| conn.outbox.is_none() && !conn.writing.blocked;
        if body.len() >= DIRECT && self.conns.get(token).is_some_and(is_free) {
            return self.send_directly(reservation, head, body);
        }
        if self.put(token, head, body).is_err() {
            self.release(token, reservation.all());
            return Err(ServerError::Memory);
        }
        reservation.queued();
        self.mark_dirty(token);
        Ok(())
    }

    /// Puts bytes into the client's outbox: many of them in a buffer of their own.
    fn put(&mut self, token: Token, head: &[u8], body: &[u8]) -> Result<(), TryReserveError> {
        let len = head.len() + body.len();
        if len <= PIECE {
            return self.outbox(token).append(head, body);
        }
        let mut piece = self.input.scratch.buffer(len as u64);
        memory::try_reserve_exact(&mut piece, len)?;
        piece.extend_from_slice(head);
        piece.extend_from_slice(body);
        self.outbox(token).adopt(piece)
    }

    fn send_directly(&mut self, mut reservation: Reservation, head: &[u8], body: &[u8]) -> Answer {
        let token = reservation.token();
        let cost = head.len() + body.len();
        let sent = match self
            .poller
            .send_vectored(token, &[IoSlice::new(head), IoSlice::new(body)])
        {
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => {
                self.release(token, reservation.all());
                self.end(token, Some(error));
                return Err(ServerError::Gone);
            }
        };
        self.traffic.bytes_out += sent as u64;
        let head_left = &head[sent.min(head.len())..];
        let body_left = &body[sent.saturating_sub(head.len())..];
        if sent < cost && self.put(token, head_left, body_left).is_err() {
            // A frame was begun and cannot be ended: nothing that makes sense can follow.
            self.release(token, reservation.all());
            self.end(token, Some(io::ErrorKind::OutOfMemory.into()));
            return Err(ServerError::Memory);
        }
        if sent > 0 {
            let now = self.clock.now();
            self.conns.place(token).note_sent(sent, now);
            let left = reservation.part(sent as u64);
            self.release(token, left);
        }
        reservation.queued();
        if sent < cost {
            if sent > 0 {
                self.outbox(token).end_at_border();
            }
            self.await_writability(token);
        }
        Ok(())
    }

    /// Queues a ping of the application's, which is counted.
    pub(crate) fn queue_ping(&mut self, reservation: Reservation, payload: &[u8]) {
        self.queue(reservation, |outbox| {
            let write = |out: &mut Vec<u8>| proto::write_ping(out, payload);
            outbox.write_control(ping_cost(payload), write)?;
            outbox.count_ping();
            Ok::<(), TryReserveError>(())
        });
    }

    /// Returns a ping: at once, or with the newest payload when the client takes bytes again.
    pub(crate) fn answer_ping(&mut self, token: Token, payload: &[u8]) {
        let Some(conn) = self.conns.get(token) else {
            return;
        };
        if conn.phase != Phase::Open {
            return;
        }
        if conn.writing.blocked {
            conn.extra().pong = Some(payload.to_vec());
        } else {
            self.say_control(token, |out| proto::write_pong(out, payload));
        }
    }

    /// Whether anything that was said has not been taken by the kernel.
    pub(crate) fn has_unsent(&mut self, token: Token) -> bool {
        self.conns
            .get(token)
            .is_some_and(|conn| conn.outbox.is_some())
    }

    /// Queues a frame that is not counted, behind all others.
    pub(crate) fn say(&mut self, token: Token, write: impl FnOnce(&mut Vec<u8>)) {
        self.say_by(token, |outbox| outbox.write(MAX_CONTROL_FRAME, write));
    }

    /// Queues a ping or a pong that is not counted, ahead of messages.
    pub(super) fn say_control(&mut self, token: Token, write: impl FnOnce(&mut Vec<u8>)) {
        self.say_by(token, |outbox| outbox.write_control(0, write));
    }

    /// Queues a response to a request, of at most `len` bytes.
    pub(crate) fn say_response(
        &mut self,
        len: usize,
        token: Token,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        self.say_by(token, |outbox| {
            outbox.write(len, write)?;
            outbox.end_at_border();
            Ok(())
        });
    }

    fn say_by(
        &mut self,
        token: Token,
        put: impl FnOnce(&mut Outbox) -> Result<(), TryReserveError>,
    ) {
        if self.conns.get(token).is_none() {
            return;
        }
        if put(self.outbox(token)).is_err() {
            self.end(token, Some(io::ErrorKind::OutOfMemory.into()));
        }
        self.mark_dirty(token);
    }

    /// The client's outbox, from the pool if it has none.
    #[inline]
    fn outbox(&mut self, token: Token) -> &mut Outbox {
        self.output.outbox(self.conns.place(token))
    }

    #[inline]
    pub(super) fn mark_dirty(&mut self, token: Token) {
        if let Some(conn) = self.conns.get(token) {
            self.output.schedule(token, conn);
        }
    }

    /// Writes what was queued in this turn.
    #[inline]
    pub(crate) fn write_dirty(&mut self) {
        if !self.output.scheduled.is_empty() {
            self.write_all_dirty();
        }
    }

    fn write_all_dirty(&mut self) {
        // Writing can end a connection, and so make another entry; the list is taken whole.
        let mut dirty = std::mem::take(&mut self.output.scheduled);
        if self.poller.sends_together(dirty.len()) {
            self.write_together(&dirty);
        }
        for token in dirty.drain(..) {
            if let Some(conn) = self.conns.get(token).filter(|conn| conn.writing.scheduled) {
                conn.writing.scheduled = false;
                self.write(token);
            }
        }
        if self.output.scheduled.is_empty() {
            self.output.scheduled = dirty;
        }
    }

    /// Writes to many clients with few system calls; those for whom that is not fit are left.
    fn write_together(&mut self, dirty: &[Token]) {
        let Self { conns, poller, .. } = self;
        let mut batch: Vec<(Token, &[u8])> = Vec::new();
        let mut sent = Vec::new();
        let room = memory::try_reserve(&mut batch, dirty.len())
            .and_then(|()| memory::try_reserve(&mut sent, dirty.len()));
        if room.is_err() {
            // Then to each by itself.
            return;
        }
        batch.extend(
            dirty
                .iter()
                .filter(|token| !poller.is_encrypted(**token))
                .filter_map(|token| Some((*token, conns.look(*token)?.first_piece()?))),
        );
        poller.send_all(&batch, |token, answer| sent.push((token, answer)));
        for (token, answer) in sent {
            if let Some(conn) = self.conns.get(token) {
                conn.writing.scheduled = false;
                self.write_on(token, Some(answer));
            }
        }
    }

    /// Writes again to clients that had taken no more.
    pub(crate) fn write_unblocked(&mut self) {
        for token in self.poller.take_writable() {
            if let Some(conn) = self.conns.get(token) {
                conn.writing.blocked = false;
                self.write(token);
            }
        }
    }

    /// Hands to the kernel what it takes of a client's outbox.
    pub(crate) fn write(&mut self, token: Token) {
        self.write_on(token, None);
    }

    /// The same, when the kernel has answered already to the outbox's first piece.
    fn write_on(&mut self, token: Token, first: Option<io::Result<usize>>) {
        let Self {
            conns,
            poller,
            traffic,
            clock,
            input: Input { scratch, .. },
            output,
            ..
        } = self;
        let slot = conns.slot(token.index);
        let Some(conn) = conns.get(token).filter(|conn| !conn.writing.blocked) else {
            return;
        };
        let Some(outbox) = conn.outbox.as_mut() else {
            return self.outbox_drained(token);
        };
        if let Some(extra) = conn.extra.as_mut()
            && extra.pong.is_some()
            && put_pong(outbox, extra).is_err()
        {
            return self.end(token, Some(io::ErrorKind::OutOfMemory.into()));
        }
        let (sent, counted, result) = outbox.send(poller, token, first);
        let pings = outbox.take_left_pings();
        if pings > 0 {
            slot.uncount_pings(pings);
        }
        while let Some(buffer) = outbox.take_spent() {
            scratch.recycle(buffer);
        }
        traffic.bytes_out += sent as u64;
        conn.note_sent(sent, clock.now());
        if result.is_ok()
            && let Some(outbox) = conn.outbox.take()
        {
            output.give_back(outbox);
        }
        if counted > 0 {
            self.release(token, counted as u64);
        }
        match result {
            Ok(()) => self.outbox_drained(token),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.await_writability(token)
            }
            Err(error) => self.end(token, Some(error)),
        }
    }

    fn await_writability(&mut self, token: Token) {
        match self.poller.arm_writes(token) {
            Ok(()) => {
                _ = self
                    .conns
                    .get(token)
                    .map(|conn| conn.writing.blocked = true)
            }
            Err(error) => self.end(token, Some(error)),
        }
    }

    /// Forgets what is queued for a client.
    pub(super) fn drop_outbox(&mut self, token: Token) {
        if let Some(outbox) = self.conns.get(token).and_then(|conn| conn.outbox.take()) {
            self.output.give_back(outbox);
        }
    }

    /// Goes on after the kernel has taken everything.
    #[inline]
    fn outbox_drained(&mut self, token: Token) {
        let Some(conn) = self.conns.get(token) else {
            return;
        };
        if conn.phase == Phase::Finishing {
            self.finish_writing(token);
        }
    }

    /// Says that nothing more will be written, and waits for the client's end.
    fn finish_writing(&mut self, token: Token) {
        let now = self.clock.now();
        let conn = self.conns.place(token);
        conn.phase = Phase::Lingering;
        conn.phase_started_tick = now;
        if conn.reading.closed || self.poller.shutdown_write(token).is_err() {
            self.end(token, None);
        }
    }

    /// Uncounts bytes that have left the queue, and does what hangs on it.
    pub(super) fn release(&mut self, token: Token, cost: u64) {
        let low = self.mailbox.low();
        if self.slot(token).release(cost, low) {
            self.pending.push_back((token, Pending::Drain));
        }
        self.reconsider_backlog(token);
    }
}

/// Returns the newest ping, ahead of what is queued.
#[cold]
fn put_pong(outbox: &mut Outbox, extra: &mut Extra) -> Result<(), TryReserveError> {
    let Some(pong) = extra.pong.take() else {
        return Ok(());
    };
    outbox.write_control(0, |out| proto::write_pong(out, &pong))
}
