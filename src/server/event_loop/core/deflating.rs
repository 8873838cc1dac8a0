//! Compressing messages, where that was negotiated and makes them shorter.

use super::Core;
use super::output::Output;
use crate::net::Token;
use crate::proto::{self, FrameHead, Kind, Role};
use crate::server::ServerError;
use crate::server::websocket::mailbox::MailedMessage;
use crate::server::websocket::reservation::Reservation;

impl Core {
    /// Queues one message, compressed if that is shorter. The uncompressed frame's bytes are counted.
    #[cold]
    #[inline(never)]
    pub(super) fn send_deflated(
        &mut self,
        mut reservation: Reservation,
        kind: Kind,
        head: &FrameHead,
        body: &[u8],
    ) -> Result<(), ServerError> {
        let token = reservation.token();
        let Some((deflated_head, deflated)) = self.deflate(token, kind, body) else {
            return self.send_frame(reservation, head, body);
        };
        let cost = head.as_slice().len() + body.len();
        let deflated_cost = deflated_head.as_slice().len() + deflated.len();
        let saved = reservation.part((cost - deflated_cost) as u64);
        self.release(token, saved);
        let sent = self.send_frame(reservation, &deflated_head, &deflated);
        if sent.is_err() {
            self.forget_deflated(token);
        }
        self.output.deflaters.recycle(deflated);
        sent
    }

    /// Queues a message that another thread has mailed, compressed if that is shorter. The uncompressed frame's
    /// bytes are counted. Returns false when the client has gone.
    pub(super) fn queue_mailed_message(
        &mut self,
        mut reservation: Reservation,
        message: MailedMessage,
    ) -> bool {
        let token = reservation.token();
        if self.address(token).role() == Role::Client {
            return self.queue_prepared(reservation, message);
        }
        let MailedMessage {
            frame,
            head_len,
            kind,
            may_deflate,
        } = message;
        let (cost, body) = (frame.len(), &frame[head_len..]);
        let is_worth_it = may_deflate && body.len() >= self.output.deflate_min_bytes;
        let deflated = is_worth_it.then(|| self.deflate(token, kind, body));
        let deflated = deflated.flatten();
        let Some((head, deflated)) = deflated else {
            return self.queue(reservation, |outbox| outbox.append_owned(frame));
        };
        let deflated_cost = head.as_slice().len() + deflated.len();
        let saved = reservation.part((cost - deflated_cost) as u64);
        self.release(token, saved);
        let queued = self.queue(reservation, |outbox| {
            outbox.append(head.as_slice(), &deflated)
        });
        self.output.deflaters.recycle(deflated);
        queued
    }

    /// Returns the frame of the compressed message; None if no compression was negotiated, and if it would not
    /// be shorter.
    pub(super) fn deflate(
        &mut self,
        token: Token,
        kind: Kind,
        body: &[u8],
    ) -> Option<(FrameHead, Vec<u8>)> {
        let Self {
            conns,
            output:
                Output {
                    deflaters,
                    made_deflater,
                    ..
                },
            ..
        } = self;
        let conn = conns.get_mut(token)?;
        let agreement = conn
            .session
            .agreement()
            .filter(|agreement| agreement.lets_us_compress())?;
        let deflated = match agreement.shared_window_bits() {
            Some(window_bits) => deflaters.deflate(window_bits, body),
            None => {
                let own = conn.extra().deflater.get_or_insert_with(|| {
                    *made_deflater = true;
                    Box::new(deflaters.own(agreement.our_window_bits))
                });
                deflaters.deflate_by(own, body)
            }
        }?;
        let head = proto::compressed_head(kind, deflated.len() as u64);
        Some((head, deflated))
    }

    /// Resets the compressor, because its last message is not sent: later ones must not refer to it.
    pub(super) fn forget_deflated(&mut self, token: Token) {
        let extra = self
            .conns
            .get_mut(token)
            .and_then(|conn| conn.extra.as_mut());
        if let Some(own) = extra.and_then(|extra| extra.deflater.as_mut()) {
            own.reset();
        }
    }
}
