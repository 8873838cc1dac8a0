//! Queueing and writing: what a turn queues for a connection is written with one system call.

use std::collections::TryReserveError;
use std::io::{self, IoSlice};

use super::input::Input;
use super::masking_keys::Mask;
use super::output::Output;
use super::{Core, Pending};
use crate::net::{Token, memory};
use crate::proto::{self, FrameHead, Kind, MAX_CONTROL_FRAME, Role};
use crate::server::ServerError;
use crate::server::error::ServerResult;
use crate::server::websocket::connections::{Conn, Extra, Phase};
use crate::server::websocket::mailbox::ping_cost;
use crate::server::websocket::outbox::Outbox;
use crate::server::websocket::reservation::Reservation;
use crate::server::websocket::segment::MAX_SEGMENT_BYTES;

/// A message of so many bytes is sent at once, without a copy, if nothing is queued before it.
const MIN_DIRECT_SEND_BYTES: usize = 16 * 1024;

impl Core {
    /// Queues what was reserved. Returns false when the client has gone.
    pub(super) fn queue<E>(
        &mut self,
        mut reservation: Reservation,
        put: impl FnOnce(&mut Outbox) -> Result<(), E>,
    ) -> bool {
        let token = reservation.token();
        if !self
            .conns
            .get_mut(token)
            .is_some_and(|conn| conn.accepts_frames())
        {
            self.release(token, reservation.all());
            return false;
        }
        if put(self.outbox(token)).is_err() {
            self.release(token, reservation.all());
            self.end(token, Some(io::ErrorKind::OutOfMemory.into()));
            return false;
        }
        reservation.commit();
        self.schedule_write(token);
        self.try_queue_close_frame(token);
        self.count_growth(token);
        true
    }

    /// Counts what a connection holds, if its outbox has grown by a segment, or if it got a compressor.
    fn count_growth(&mut self, token: Token) {
        let made_deflater = std::mem::take(&mut self.output.made_deflater);
        let conn = self.conns.get_mut(token);
        let outbox = conn.and_then(|conn| conn.outbox.as_mut());
        if outbox.is_some_and(|outbox| outbox.take_growth()) || made_deflater {
            self.count_all_held(token);
        }
    }

    /// Queues one message whose bytes are counted; a large one is sent at once if possible.
    ///
    /// Nothing can fail before a short one is queued, so its count needs no [`Reservation`].
    #[inline]
    pub(crate) fn send(
        &mut self,
        token: Token,
        kind: Kind,
        head: &FrameHead,
        body: &[u8],
        may_deflate: bool,
    ) -> ServerResult {
        let is_short = body.len() < MIN_DIRECT_SEND_BYTES;
        let stays_plain = !may_deflate || body.len() < self.output.deflate_min_bytes;
        let Self { conns, output, .. } = self;
        if let Some(conn) = conns.get_mut(token)
            && conn.phase == Phase::Open
            && is_short
            && (stays_plain || conn.session.agreement().is_none())
            && output.outbox(conn).append_short(head, body)
        {
            self.traffic.messages_out += 1;
            output.schedule(token, conn);
            return Ok(());
        }
        self.send_any(token, kind, head, body, stays_plain)
    }

    /// [`Core::send`] for everything but short, uncompressed messages.
    #[cold]
    #[inline(never)]
    fn send_any(
        &mut self,
        token: Token,
        kind: Kind,
        head: &FrameHead,
        body: &[u8],
        stays_plain: bool,
    ) -> ServerResult {
        let cost = head.as_slice().len() + body.len();
        let mut reservation = Reservation::from_counted(self.address(token), cost as u64, 0);
        // Mail that was handled after the bytes were counted may have ended it.
        let Some(conn) = self
            .conns
            .get_mut(token)
            .filter(|conn| conn.accepts_frames())
        else {
            self.release(token, reservation.all());
            return Err(ServerError::Gone);
        };
        let closing = conn.phase == Phase::Closing;
        let sent = if !stays_plain && conn.session.agreement().is_some() {
            self.send_deflated(reservation, kind, head, body)
        } else {
            self.send_frame(reservation, head, body)
        };
        self.traffic.messages_out += u64::from(sent.is_ok());
        if closing {
            self.try_queue_close_frame(token);
        }
        self.count_growth(token);
        sent
    }

    /// Queues one frame whose bytes are counted.
    pub(super) fn send_frame(
        &mut self,
        mut reservation: Reservation,
        head: &FrameHead,
        body: &[u8],
    ) -> ServerResult {
        let token = reservation.token();
        let head = head.as_slice();
        let is_free = |conn: &mut Conn| conn.outbox.is_none() && !conn.writing.blocked;
        if body.len() >= MIN_DIRECT_SEND_BYTES && self.conns.get_mut(token).is_some_and(is_free) {
            return self.send_now(reservation, head, body);
        }
        if self.put(token, head, body).is_err() {
            self.release(token, reservation.all());
            return Err(ServerError::Memory);
        }
        reservation.commit();
        self.schedule_write(token);
        Ok(())
    }

    /// Appends bytes to the connection's outbox; many bytes get a segment of their own.
    fn put(&mut self, token: Token, head: &[u8], body: &[u8]) -> Result<(), TryReserveError> {
        let len = head.len() + body.len();
        if len <= MAX_SEGMENT_BYTES {
            return self.outbox(token).append(head, body);
        }
        let mut segment = self.input.scratch.buffer(len as u64);
        memory::try_reserve_exact(&mut segment, len)?;
        segment.extend_from_slice(head);
        segment.extend_from_slice(body);
        self.outbox(token).append_owned(segment)
    }

    fn send_now(&mut self, mut reservation: Reservation, head: &[u8], body: &[u8]) -> ServerResult {
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
            // A part of the frame has been sent, and the rest cannot follow.
            self.release(token, reservation.all());
            self.end(token, Some(io::ErrorKind::OutOfMemory.into()));
            return Err(ServerError::Memory);
        }
        if sent > 0 {
            let now = self.clock.now();
            self.conns.entry_mut(token).note_sent(sent, now);
            let sent = reservation.part(sent as u64);
            self.release(token, sent);
        }
        reservation.commit();
        if sent < cost {
            if sent > 0 {
                self.outbox(token).mark_opaque();
            }
            self.request_writability(token);
        }
        Ok(())
    }

    /// Queues a ping of the application, which is counted.
    pub(crate) fn queue_ping(&mut self, mut reservation: Reservation, payload: &[u8]) {
        let token = reservation.token();
        let role = self.address(token).role();
        let Some(mask) = self.mask_of(token) else {
            return self.release(token, reservation.all());
        };
        self.queue(reservation, |outbox| {
            let write = |out: &mut Vec<u8>| mask.write(out, |out| proto::write_ping(out, payload));
            outbox.append_control(ping_cost(role, payload), write)?;
            outbox.count_ping();
            Ok::<(), TryReserveError>(())
        });
    }

    /// Replies to a ping: at once, or, while the kernel accepts nothing, later and only to the newest one.
    pub(crate) fn reply_to_ping(&mut self, token: Token, payload: &[u8]) {
        let Some(conn) = self.conns.get_mut(token) else {
            return;
        };
        if conn.phase != Phase::Open {
            return;
        }
        if conn.writing.blocked {
            conn.extra().pong = Some(payload.to_vec());
        } else {
            self.queue_control_frame(token, |out| proto::write_pong(out, payload));
        }
    }

    /// Whether the kernel has not accepted everything yet.
    pub(crate) fn has_unsent(&mut self, token: Token) -> bool {
        self.conns
            .get_mut(token)
            .is_some_and(|conn| conn.outbox.is_some())
    }

    /// Queues an uncounted frame behind all others.
    pub(crate) fn queue_frame(&mut self, token: Token, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(mask) = self.mask_of(token) else {
            return;
        };
        self.queue_uncounted(token, |outbox| {
            outbox.append_uncounted(MAX_CONTROL_FRAME, |out| mask.write(out, write))
        });
    }

    /// Queues an uncounted ping or pong ahead of messages.
    pub(super) fn queue_control_frame(&mut self, token: Token, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(mask) = self.mask_of(token) else {
            return;
        };
        self.queue_uncounted(token, |outbox| {
            outbox.append_control(0, |out| mask.write(out, write))
        });
    }

    /// Queues a response to a request, of at most `len` bytes.
    pub(crate) fn queue_response(
        &mut self,
        len: usize,
        token: Token,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        self.queue_uncounted(token, |outbox| {
            outbox.append_uncounted(len, write)?;
            outbox.mark_opaque();
            Ok(())
        });
    }

    fn queue_uncounted(
        &mut self,
        token: Token,
        put: impl FnOnce(&mut Outbox) -> Result<(), TryReserveError>,
    ) {
        if self.conns.get_mut(token).is_none() {
            return;
        }
        if put(self.outbox(token)).is_err() {
            self.end(token, Some(io::ErrorKind::OutOfMemory.into()));
        }
        self.schedule_write(token);
    }

    /// Returns the connection's outbox, from the pool if it has none.
    #[inline]
    fn outbox(&mut self, token: Token) -> &mut Outbox {
        self.output.outbox(self.conns.entry_mut(token))
    }

    #[inline]
    pub(super) fn schedule_write(&mut self, token: Token) {
        if let Some(conn) = self.conns.get_mut(token) {
            self.output.schedule(token, conn);
        }
    }

    /// Writes to the connections for which something was queued.
    #[inline]
    pub(crate) fn write_scheduled(&mut self) {
        if !self.output.scheduled.is_empty() {
            self.write_all_scheduled();
        }
    }

    fn write_all_scheduled(&mut self) {
        // Writing may end a connection, and so schedule others.
        let mut scheduled = std::mem::take(&mut self.output.scheduled);
        self.note_queues(&scheduled);
        if self.poller.sends_together(scheduled.len()) {
            self.write_batch(&scheduled);
        }
        for token in scheduled.drain(..) {
            if let Some(conn) = self
                .conns
                .get_mut(token)
                .filter(|conn| conn.writing.scheduled)
            {
                conn.writing.scheduled = false;
                self.write(token);
            }
        }
        if self.output.scheduled.is_empty() {
            self.output.scheduled = scheduled;
        }
    }

    /// Writes to many connections with few system calls, except those for which that is not possible.
    fn write_batch(&mut self, scheduled: &[Token]) {
        let Self { conns, poller, .. } = self;
        let mut batch: Vec<(Token, &[u8])> = Vec::new();
        let mut sent = Vec::new();
        let room = memory::try_reserve(&mut batch, scheduled.len())
            .and_then(|()| memory::try_reserve(&mut sent, scheduled.len()));
        if room.is_err() {
            // Each is written to by itself.
            return;
        }
        batch.extend(
            scheduled
                .iter()
                .filter(|token| !poller.is_encrypted(**token))
                .filter_map(|token| Some((*token, conns.get(*token)?.first_segment()?))),
        );
        poller.send_all(&batch, |token, result| sent.push((token, result)));
        for (token, result) in sent {
            if let Some(conn) = self.conns.get_mut(token) {
                conn.writing.scheduled = false;
                self.write_after(token, Some(result));
            }
        }
    }

    /// Writes to connections that can be written to again.
    pub(crate) fn write_unblocked(&mut self) {
        for token in self.poller.take_writable() {
            if let Some(conn) = self.conns.get_mut(token) {
                conn.writing.blocked = false;
                self.write(token);
            }
        }
    }

    /// Writes what the kernel accepts of a connection's outbox.
    pub(crate) fn write(&mut self, token: Token) {
        self.write_after(token, None);
    }

    /// [`Core::write`]; `first` is the result for the outbox's first segment, if that was sent already.
    fn write_after(&mut self, token: Token, first: Option<io::Result<usize>>) {
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
        let Some(conn) = conns.get_mut(token).filter(|conn| !conn.writing.blocked) else {
            return;
        };
        let Some(outbox) = conn.outbox.as_mut() else {
            return self.outbox_drained(token);
        };
        if let Some(extra) = conn.extra.as_mut()
            && extra.pong.is_some()
            && let Err(error) = queue_pong(outbox, extra, conn.session.role(), output)
        {
            return self.end(token, Some(error));
        }
        let (sent, counted, result) = outbox.send(poller, token, first);
        let pings = outbox.take_sent_pings();
        if pings > 0 {
            slot.uncount_pings(pings);
        }
        while let Some(buffer) = outbox.take_sent_buffer() {
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
                self.request_writability(token);
                return self.note_held(token);
            }
            Err(error) => self.end(token, Some(error)),
        }
        if !self.account.is_empty() {
            self.note_held(token);
        }
    }

    fn request_writability(&mut self, token: Token) {
        match self.poller.arm_writes(token) {
            Ok(()) => {
                _ = self
                    .conns
                    .get_mut(token)
                    .map(|conn| conn.writing.blocked = true)
            }
            Err(error) => self.end(token, Some(error)),
        }
    }

    /// Drops what is queued for a connection.
    pub(super) fn drop_outbox(&mut self, token: Token) {
        if let Some(outbox) = self
            .conns
            .get_mut(token)
            .and_then(|conn| conn.outbox.take())
        {
            self.output.give_back(outbox);
        }
    }

    /// The kernel has accepted everything.
    #[inline]
    fn outbox_drained(&mut self, token: Token) {
        let Some(conn) = self.conns.get_mut(token) else {
            return;
        };
        if conn.phase == Phase::Finishing {
            self.finish_writing(token);
        }
    }

    /// Shuts writing down, and waits for the end of the peer's stream.
    #[cold]
    #[inline(never)]
    fn finish_writing(&mut self, token: Token) {
        let now = self.clock.now();
        let conn = self.conns.entry_mut(token);
        conn.phase = Phase::Lingering;
        conn.phase_started_tick = now;
        if conn.reading.closed || self.poller.shutdown_write(token).is_err() {
            self.end(token, None);
        }
    }

    /// Uncounts bytes that have left the queue, and does what follows from that.
    pub(super) fn release(&mut self, token: Token, cost: u64) {
        let low = self.low_of(token);
        if self.slot(token).release(cost, low) {
            self.pending.push_back((token, Pending::Drain));
        }
        self.reconsider_backlog(token);
    }
}

/// Queues the reply to the newest ping, ahead of messages.
#[cold]
#[inline(never)]
fn queue_pong(
    outbox: &mut Outbox,
    extra: &mut Extra,
    role: Role,
    output: &mut Output,
) -> io::Result<()> {
    let payload = extra.pong.take().unwrap_or_default();
    let mask = Mask::draw(role, &mut output.masking_keys)?;
    let write = |out: &mut Vec<u8>| mask.write(out, |out| proto::write_pong(out, &payload));
    outbox
        .append_control(0, write)
        .map_err(|_| io::ErrorKind::OutOfMemory.into())
}
