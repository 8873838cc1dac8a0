//! What is counted in a send queue and not yet queued.

use crate::net::Token;
use crate::server::error::ServerResult;
use crate::server::slot::Released;
use crate::server::websocket::mailbox::Mail;
use crate::server::websocket::slot_arena::Address;

/// Bytes, and possibly a ping, that are counted in a websocket's slot and not yet queued.
///
/// When it is dropped, also by a panic, it uncounts what it holds.
#[must_use]
pub(crate) struct Reservation {
    address: Address,
    bytes: u64,
    pings: u32,
}

impl Reservation {
    /// Counts a message's bytes, if the queue is under `limit`.
    #[inline]
    pub(crate) fn of_message(address: Address, bytes: u64, limit: u64) -> ServerResult<Self> {
        let Address { slot, token, .. } = address;
        slot.reserve(token.generation, bytes, limit)?;
        Ok(Self::from_counted(address, bytes, 0))
    }

    /// Counts a ping of the application and its bytes.
    pub(crate) fn of_ping(address: Address, bytes: u64) -> ServerResult<Self> {
        let Address { slot, token, .. } = address;
        slot.reserve(token.generation, bytes, u64::MAX)?;
        let mut reservation = Self::from_counted(address, bytes, 0);
        slot.count_ping()?;
        reservation.pings = 1;
        Ok(reservation)
    }

    /// Takes over what has been counted elsewhere.
    #[inline]
    pub(crate) fn from_counted(address: Address, bytes: u64, pings: u32) -> Self {
        Self {
            address,
            bytes,
            pings,
        }
    }

    #[inline]
    pub(crate) fn token(&self) -> Token {
        self.address.token
    }

    /// Passes some of the bytes to the caller, who has queued them or uncounts them.
    pub(crate) fn part(&mut self, bytes: u64) -> u64 {
        debug_assert!(bytes <= self.bytes, "more than was counted");
        self.bytes -= bytes;
        bytes
    }

    /// Passes all bytes to the caller, who uncounts them.
    pub(crate) fn all(&mut self) -> u64 {
        std::mem::take(&mut self.bytes)
    }

    /// Passes the count to the queue, which now holds the bytes.
    #[inline]
    pub(crate) fn commit(self) {
        std::mem::forget(self);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let slot = self.address.slot;
        // Before the bytes: as long as these are counted, the slot is not given to the next client.
        if self.pings > 0 {
            slot.uncount_pings(self.pings);
        }
        if self.bytes > 0 {
            let released = slot.release_elsewhere(self.bytes, self.address.low());
            self.address.report(released);
        }
    }
}

impl Address {
    /// Notifies the loop of a release that it must act upon.
    pub(crate) fn report(&self, released: Option<Released>) {
        if let Some(released) = released {
            self.mailbox.post(Mail::Released(self.token, released));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::server::ServerError;
    use crate::server::slot::{Slot, State};
    use crate::server::websocket::mailbox::Mailbox;

    const LIMIT: u64 = 100;

    /// Returns the address of an open websocket.
    fn address() -> Address {
        let slot: &'static Slot = Box::leak(Box::default());
        let mailbox: &'static Mailbox = Box::leak(Box::default());
        let generation = slot.allocate();
        slot.advance(generation, State::Open)
            .expect("it was connecting");
        Address {
            slot,
            mailbox,
            token: Token {
                index: 0,
                generation,
            },
        }
    }

    #[test]
    fn what_a_panic_keeps_from_the_queue_is_uncounted() {
        let address = address();
        let sent = catch_unwind(AssertUnwindSafe(|| {
            let _reservation = Reservation::of_message(address, 60, LIMIT);
            panic!("on the way");
        }));
        assert!(sent.is_err());
        assert_eq!(address.slot.word().queued(), 0);

        for _ in 0..200 {
            let pinged = catch_unwind(AssertUnwindSafe(|| {
                let _reservation = Reservation::of_ping(address, 9).expect("room for a ping");
                panic!("on the way");
            }));
            assert!(pinged.is_err());
        }
        assert_eq!(address.slot.word().queued(), 0);
    }

    #[test]
    fn a_ping_for_whom_nobody_is_left_is_not_counted() {
        let address = address();
        let Address { slot, token, .. } = address;
        slot.advance(token.generation, State::Closing)
            .expect("it was open");
        for _ in 0..200 {
            let refused = Reservation::of_ping(address, 9).err();
            assert_eq!(refused, Some(ServerError::Gone));
        }
    }

    #[test]
    fn what_is_queued_stays_counted_and_what_was_taken_out_is_the_callers() {
        let address = address();
        let mut reservation = Reservation::of_message(address, 60, LIMIT).expect("room");
        assert_eq!(reservation.part(20), 20);
        drop(reservation);
        assert_eq!(address.slot.word().queued(), 20);

        let reservation = Reservation::of_message(address, 30, LIMIT).expect("room");
        reservation.commit();
        assert_eq!(address.slot.word().queued(), 50);
    }

    #[test]
    fn a_drain_that_falls_due_by_it_is_told() {
        let address = address();
        let reservation = Reservation::of_message(address, LIMIT, LIMIT).expect("room");
        let full = Reservation::of_message(address, 1, LIMIT).err();
        assert_eq!(full, Some(ServerError::Full));
        drop(reservation);
        assert_eq!(address.mailbox.begin_taking(), 1);
        let mail = address.mailbox.take();
        assert!(matches!(
            mail,
            Some(Mail::Released(_, Released { drain: true }))
        ));
    }
}
