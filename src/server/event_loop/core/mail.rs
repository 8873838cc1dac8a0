//! Requests of other threads.

use std::sync::atomic::Ordering;

use super::accepting::SHORTAGE;
use super::{Core, Pending};
use crate::net::Token;
use crate::server::websocket::mailbox::{Mail, ping_cost};
use crate::server::websocket::reservation::Reservation;
use crate::server::websocket::slot_arena::Address;

impl Core {
    /// Handles the mail that has arrived.
    #[inline]
    pub(crate) fn take_mail(&mut self) {
        if self.mailbox.has_mail() {
            self.handle_all_mail();
        }
        if !self.pending_frees.is_empty() {
            self.retry_pending_frees();
        }
    }

    fn handle_all_mail(&mut self) {
        for _ in 0..self.mailbox.begin_taking() {
            let Some(mail) = self.mailbox.take() else {
                break;
            };
            self.handle_mail(mail);
        }
    }

    fn handle_mail(&mut self, mail: Mail) {
        match mail {
            Mail::Message(token, message) => {
                let reservation = self.reservation_of_mail(token, message.frame.len(), 0);
                let queued = self.queue_mailed_message(reservation, message);
                self.traffic.messages_out += u64::from(queued);
            }
            Mail::Ping(token, role, payload) => {
                let reservation = self.reservation_of_mail(token, ping_cost(role, &payload), 1);
                self.queue_ping(reservation, &payload);
            }
            Mail::Close(token, code, reason) => self.close(token, code, reason),
            Mail::Abort(token) => self.abort(token),
            Mail::Flush(token) => self.schedule_write(token),
            Mail::Released(token, released) => {
                if released.drain {
                    self.pending.push_back((token, Pending::Drain));
                }
                self.reconsider_backlog(token);
                self.try_queue_close_frame(token);
            }
            Mail::EndIdlePages => {
                let requested = &self.server.loops[self.number].ends_idle_pages;
                requested.store(false, Ordering::Release);
                self.end_idle_pages(SHORTAGE);
            }
            Mail::ClientQueueLow(token) => self.reconsider_backlog(token),
            Mail::Verdict(token, verdict, request) => {
                self.pending
                    .push_back((token, Pending::Verdict(verdict, request)));
            }
            Mail::ThreadEnded(token) => self.pending.push_back((token, Pending::ThreadEnded)),
            Mail::Connection(socket, peer) => self.register(socket, peer),
            Mail::Connect(new) => self.connect(*new),
            Mail::Connected(token, attempt, result) => self.connected(token, attempt, *result),
            Mail::BatchReturned(batch) => self.take_back(*batch),
        }
    }

    /// Handles the mail that was sent before a message whose bytes are counted.
    #[cold]
    #[inline(never)]
    pub(crate) fn take_mail_before(&mut self, token: Token, counted: u64) {
        let reservation = Reservation::from_counted(self.address(token), counted, 0);
        self.take_mail();
        reservation.commit();
    }

    pub(super) fn address(&self, token: Token) -> Address {
        self.conns.address(token)
    }

    /// Returns the reservation of what has arrived by mail. The mail's own cost is uncounted.
    fn reservation_of_mail(&mut self, token: Token, bytes: usize, pings: u32) -> Reservation {
        let counted = bytes as u64 + Mail::COST_BYTES;
        let mut reservation = Reservation::from_counted(self.address(token), counted, pings);
        let cost = reservation.part(Mail::COST_BYTES);
        self.release(token, cost);
        reservation
    }
}
