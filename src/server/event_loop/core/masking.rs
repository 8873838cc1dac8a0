//! Frames of our connections to servers: each is masked with a fresh key (RFC 6455 section 5.3).

use super::Core;
use super::masking_keys::Mask;
use crate::net::{Token, memory};
use crate::proto::{self, FrameHead, Kind, Role};
use crate::server::ServerError;
use crate::server::error::ServerResult;
use crate::server::websocket::mailbox::MailedMessage;
use crate::server::websocket::reservation::Reservation;
use crate::server::websocket::segment::MAX_SEGMENT_BYTES;

impl Core {
    /// Returns how the next control frame of a connection is masked. Without a key the connection ends.
    pub(super) fn mask_of(&mut self, token: Token) -> Option<Mask> {
        let role = self.conns.get(token)?.session.role();
        match Mask::draw(role, &mut self.output.masking_keys) {
            Ok(mask) => Some(mask),
            Err(error) => {
                self.end(token, Some(error));
                None
            }
        }
    }

    /// Queues one message to a server. Its frame's bytes, with the key, are counted.
    pub(crate) fn send_masked(
        &mut self,
        token: Token,
        kind: Kind,
        head: &FrameHead,
        body: &[u8],
        may_deflate: bool,
    ) -> ServerResult {
        let cost = head.as_slice().len() + Role::Client.key_len() + body.len();
        let mut reservation = Reservation::from_counted(self.address(token), cost as u64, 0);
        let is_there = self
            .conns
            .get(token)
            .is_some_and(|conn| conn.accepts_frames());
        if !is_there {
            self.release(token, reservation.all());
            return Err(ServerError::Gone);
        }
        let is_worth_it = may_deflate && body.len() >= self.output.deflate_min_bytes;
        let deflated = is_worth_it
            .then(|| self.deflate(token, kind, body))
            .flatten();
        let queued = match &deflated {
            None => self.queue_masked(reservation, head, body),
            Some((deflated_head, deflated)) => {
                let shorter =
                    deflated_head.as_slice().len() + Role::Client.key_len() + deflated.len();
                let saved = reservation.part((cost - shorter) as u64);
                self.release(token, saved);
                self.queue_masked(reservation, deflated_head, deflated)
            }
        };
        if let Some((_, deflated)) = deflated {
            if queued.is_err() {
                self.forget_deflated(token);
            }
            self.output.deflaters.recycle(deflated);
        }
        self.traffic.messages_out += u64::from(queued.is_ok());
        queued
    }

    /// Queues a frame whose bytes are counted.
    fn queue_masked(
        &mut self,
        reservation: Reservation,
        head: &FrameHead,
        body: &[u8],
    ) -> ServerResult {
        let key = self.output.masking_keys.next();
        let key = key.map_err(|_| ServerError::Memory)?;
        let len = head.as_slice().len() + Role::Client.key_len() + body.len();
        let queued = if len <= MAX_SEGMENT_BYTES {
            self.queue(reservation, |outbox| {
                outbox.append_with(len, |out| proto::append_masked(out, head, body, key))
            })
        } else {
            let mut segment = self.input.scratch.buffer(len as u64);
            memory::try_reserve_exact(&mut segment, len).map_err(|_| ServerError::Memory)?;
            proto::append_masked(&mut segment, head, body, key);
            self.queue(reservation, |outbox| outbox.append_owned(segment))
        };
        match queued {
            true => Ok(()),
            false => Err(ServerError::Gone),
        }
    }

    /// Queues a message to a server that another thread has mailed, with a key of zeros. Returns false when the
    /// connection has ended.
    pub(super) fn queue_prepared(
        &mut self,
        mut reservation: Reservation,
        message: MailedMessage,
    ) -> bool {
        let token = reservation.token();
        let MailedMessage {
            mut frame,
            head_len,
            kind,
            may_deflate,
        } = message;
        let is_worth_it = may_deflate && frame.len() - head_len >= self.output.deflate_min_bytes;
        let deflated = is_worth_it.then(|| self.deflate(token, kind, &frame[head_len..]));
        if let Some((head, deflated)) = deflated.flatten() {
            let shorter = head.as_slice().len() + Role::Client.key_len() + deflated.len();
            let saved = reservation.part((frame.len() - shorter) as u64);
            self.release(token, saved);
            let queued = self.queue_masked(reservation, &head, &deflated).is_ok();
            self.output.deflaters.recycle(deflated);
            return queued;
        }
        let Ok(key) = self.output.masking_keys.next() else {
            return false;
        };
        proto::mask_prepared(&mut frame, head_len, key);
        self.queue(reservation, |outbox| outbox.append_owned(frame))
    }
}
