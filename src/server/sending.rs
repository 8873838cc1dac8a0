//! What any thread may ask of a websocket by its id.
//!
//! On the thread that runs the turn of the websocket's loop it is done at once; from elsewhere it
//! is mailed to that loop.

use std::ffi::c_void;

use super::core::ping_cost;
use super::mailbox::{Mail, Mailbox};
use super::slots::{self, State};
use super::worker::Loop;
use super::{ServerError, host};
use crate::net::Token;
use crate::proto::{self, Kind};

/// Queues one message.
#[inline]
pub fn send(websocket: u64, kind: Kind, data: &[u8]) -> Result<(), ServerError> {
    let (slot, mailbox, generation) = slots::find(websocket)?;
    slot.live(generation)?;
    if kind == Kind::Text && !proto::is_utf8(data) {
        return Err(ServerError::Utf8);
    }
    let head = proto::data_head(kind, data.len() as u64);
    let cost = (head.as_slice().len() + data.len()) as u64;
    let limit = mailbox
        .max_queued
        .load(std::sync::atomic::Ordering::Acquire);
    let here = Loop::current(mailbox, |current| {
        slot.reserve(generation, cost, limit)?;
        let mut core = current.core.borrow_mut();
        if !mailbox.is_empty() {
            core.take_mail();
        }
        let token = core.conns.token(websocket);
        core.send(token, kind, &head, data)
    });
    here.unwrap_or_else(|| {
        let mut frame = Vec::new();
        frame.try_reserve_exact(head.as_slice().len() + data.len())?;
        slot.reserve(generation, cost + Mail::COST, limit)?;
        frame.extend_from_slice(head.as_slice());
        frame.extend_from_slice(data);
        mailbox.post(Mail::Message(websocket, frame));
        Ok(())
    })
}

/// Queues one ping.
pub fn ping(websocket: u64, payload: &[u8]) -> Result<(), ServerError> {
    let (slot, mailbox, generation) = slots::find(websocket)?;
    let word = slot.live(generation)?;
    match word.state() {
        State::Open => (),
        State::Connecting => return Err(ServerError::Busy),
        _ => return Err(ServerError::Gone),
    }
    if payload.len() > proto::MAX_CONTROL_PAYLOAD {
        return Err(ServerError::TooBig);
    }
    slot.count_ping()?;
    let cost = ping_cost(payload) as u64;
    let here = Loop::current(mailbox, |current| {
        slot.reserve(generation, cost, u64::MAX)?;
        let mut core = current.core.borrow_mut();
        core.take_mail();
        let token = core.conns.token(websocket);
        core.queue_ping(token, payload);
        Ok(())
    });
    let queued = here.unwrap_or_else(|| {
        slot.reserve(generation, cost + Mail::COST, u64::MAX)?;
        mailbox.post(Mail::Ping(websocket, payload.to_vec()));
        Ok(())
    });
    if queued.is_err() {
        slot.uncount_pings(1);
    }
    queued
}

/// Begins the closing handshake. Code 0 is 1000.
pub fn close(websocket: u64, code: u32, reason: &[u8]) -> Result<(), ServerError> {
    let (slot, mailbox, generation) = slots::find(websocket)?;
    let word = slot.live(generation)?;
    let code = if code == 0 { 1000 } else { code };
    let code = u16::try_from(code).map_err(|_| ServerError::Argument)?;
    if !proto::may_application_send(code) {
        return Err(ServerError::Argument);
    }
    if reason.len() > proto::MAX_CONTROL_PAYLOAD - 2 {
        return Err(ServerError::TooBig);
    }
    if !proto::is_utf8(reason) {
        return Err(ServerError::Utf8);
    }
    if word.state() == State::Connecting {
        return Err(ServerError::Busy);
    }
    slot.advance(generation, State::Closing)?;
    slot.mute();
    let here = on_loop(mailbox, websocket, |core, token| {
        core.take_mail();
        core.close(token, code, reason.to_vec());
    });
    if !here {
        mailbox.post(Mail::Close(websocket, code, reason.to_vec()));
    }
    Ok(())
}

/// Ends the connection now.
pub fn abort(websocket: u64) -> Result<(), ServerError> {
    let (slot, mailbox, generation) = slots::find(websocket)?;
    if slot.live(generation)?.state() == State::Closed {
        return Err(ServerError::Gone);
    }
    slot.mute();
    // Fails if it is closing already, which is no reason not to end it.
    let _ = slot.advance(generation, State::Closing);
    if !on_loop(mailbox, websocket, |core, token| core.end(token, None)) {
        mailbox.post(Mail::Abort(websocket));
    }
    Ok(())
}

/// Hands what is queued to the system now.
pub fn flush(websocket: u64) -> Result<(), ServerError> {
    let (slot, mailbox, generation) = slots::find(websocket)?;
    match slot.live(generation)?.state() {
        State::Connecting => return Err(ServerError::Busy),
        State::Closed => return Err(ServerError::Gone),
        _ => (),
    }
    let here = on_loop(mailbox, websocket, |core, token| {
        core.take_mail();
        core.write(token);
    });
    if !here {
        mailbox.post(Mail::Flush(websocket));
        host::flush(mailbox);
    }
    Ok(())
}

/// The number of `enum portal_state`.
pub fn state_of(websocket: u64) -> u32 {
    let word = slots::find(websocket).and_then(|(slot, _, generation)| slot.live(generation));
    word.map_or(State::Closed, |word| word.state()) as u32
}

/// Bytes that the system has not taken yet.
pub fn queued(websocket: u64) -> usize {
    let word = slots::find(websocket).and_then(|(slot, _, generation)| slot.live(generation));
    word.map_or(0, |word| word.queued() as usize)
}

/// Sets the application's own pointer.
pub fn set_data(websocket: u64, data: *mut c_void) -> Result<(), ServerError> {
    let (slot, mailbox, generation) = slots::find(websocket)?;
    if slot.set_data(generation, data, mailbox.low())? {
        mailbox.post(Mail::Drain(websocket));
    }
    Ok(())
}

/// The application's own pointer; NULL when the websocket is gone.
pub fn data(websocket: u64) -> *mut c_void {
    slots::find(websocket).map_or(std::ptr::null_mut(), |(slot, _, generation)| {
        slot.data(generation)
    })
}

/// Does it here, if this is the websocket's loop.
fn on_loop(
    mailbox: &'static Mailbox,
    websocket: u64,
    work: impl FnOnce(&mut super::core::Core, Token),
) -> bool {
    Loop::current(mailbox, |current| {
        let mut core = current.core.borrow_mut();
        let token = core.conns.token(websocket);
        work(&mut core, token);
    })
    .is_some()
}
