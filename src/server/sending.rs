//! Operations on a websocket by its id, from any thread.
//!
//! On the thread that runs the turn of the websocket's loop they are done at once; from elsewhere they are
//! mailed to that loop.

use std::ffi::c_void;

use super::event_loop::Loop;
use super::event_loop::core::Core;
use super::slot::State;
use super::websocket::client_thread;
use super::websocket::mailbox::{Mail, Mailbox, MailedMessage, ping_cost};
use super::websocket::reservation::Reservation;
use super::websocket::slot_arena::{self, Address};

use super::error::ServerResult;
use super::{ServerError, host};
use crate::net::memory;
use crate::proto::{self, FrameHead, Kind, Role};

/// Queues one message, which is compressed only if it may be.
#[inline]
pub(crate) fn send(websocket: u64, kind: Kind, data: &[u8], may_deflate: bool) -> ServerResult {
    let address = slot_arena::find(websocket)?;
    if address.role() == Role::Client {
        return send_to_server(websocket, kind, data, may_deflate);
    }
    if kind == Kind::Text && !proto::is_utf8(data) {
        return address.live().and(Err(ServerError::Utf8));
    }
    let head = proto::data_head(kind, data.len() as u64);
    let cost = (head.as_slice().len() + data.len()) as u64;
    let Address {
        slot,
        mailbox,
        token,
    } = address;
    let limit = mailbox.max_queued();
    let here = Loop::current(mailbox, |current| {
        slot.reserve(token.generation, cost, limit)?;
        let mut core = current.core.borrow_mut();
        if mailbox.has_mail() {
            core.take_mail_before(token, cost);
        }
        core.send(token, kind, &head, data, may_deflate)
    });
    here.unwrap_or_else(|| post_message(address, kind, &head, data, limit, may_deflate))
}

/// [`send`] on a connection of ours.
#[inline(never)]
fn send_to_server(websocket: u64, kind: Kind, data: &[u8], may_deflate: bool) -> ServerResult {
    let address = slot_arena::find(websocket)?;
    if kind == Kind::Text && !proto::is_utf8(data) {
        return address.live().and(Err(ServerError::Utf8));
    }
    let head = proto::data_head(kind, data.len() as u64);
    let Address {
        slot,
        mailbox,
        token,
    } = address;
    let cost = (head.as_slice().len() + Role::Client.key_len() + data.len()) as u64;
    let limit = address.max_queued();
    let here = Loop::current(mailbox, |current| {
        slot.reserve(token.generation, cost, limit)?;
        let mut core = current.core.borrow_mut();
        if mailbox.has_mail() {
            core.take_mail_before(token, cost);
        }
        core.send_masked(token, kind, &head, data, may_deflate)
    });
    here.unwrap_or_else(|| post_message(address, kind, &head, data, limit, may_deflate))
}

/// Mails one message to the websocket's loop, which queues it.
#[inline(never)]
fn post_message(
    address: Address,
    kind: Kind,
    head: &FrameHead,
    data: &[u8],
    limit: u64,
    may_deflate: bool,
) -> ServerResult {
    address.live()?;
    let head_len = head.as_slice().len() + address.role().key_len();
    if memory::is_short() {
        return Err(ServerError::Memory);
    }
    let mut frame = Vec::new();
    memory::try_reserve_exact(&mut frame, head_len + data.len())?;
    let cost = (head_len + data.len()) as u64 + Mail::COST_BYTES;
    let reservation = Reservation::of_message(address, cost, limit)?;
    match address.role() {
        Role::Server => {
            head.write(&mut frame);
            frame.extend_from_slice(data);
        }
        // The loop has the keys.
        Role::Client => proto::append_masked(&mut frame, head, data, [0; 4]),
    }
    let message = MailedMessage {
        frame,
        head_len,
        kind,
        may_deflate,
    };
    let mail = Mail::Message(address.token, message);
    client_thread::post_message(address.mailbox, mail);
    reservation.commit();
    Ok(())
}

/// Queues one ping.
pub(crate) fn ping(websocket: u64, payload: &[u8]) -> ServerResult {
    let address = slot_arena::find(websocket)?;
    match address.live()?.state() {
        State::Open => (),
        State::Connecting => return Err(ServerError::Busy),
        _ => return Err(ServerError::Gone),
    }
    if payload.len() > proto::MAX_CONTROL_PAYLOAD {
        return Err(ServerError::TooBig);
    }
    let payload = memory::copy(payload)?;
    let role = address.role();
    let Address { mailbox, token, .. } = address;
    let cost = ping_cost(role, &payload) as u64;
    let here = Loop::current(mailbox, |current| {
        let reservation = Reservation::of_ping(address, cost)?;
        let mut core = current.core.borrow_mut();
        core.take_mail();
        core.queue_ping(reservation, &payload);
        Ok(())
    });
    here.unwrap_or_else(|| {
        let reservation = Reservation::of_ping(address, cost + Mail::COST_BYTES)?;
        mailbox.post(Mail::Ping(token, role, payload));
        reservation.commit();
        Ok(())
    })
}

/// Begins the closing handshake. Code 0 is 1000.
pub(crate) fn close(websocket: u64, code: u32, reason: &[u8]) -> ServerResult {
    let address = slot_arena::find(websocket)?;
    address.live()?;
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
    let reason = memory::copy(reason)?;
    let Address {
        slot,
        mailbox,
        token,
    } = address;
    match address.role() {
        Role::Server => slot.close(token.generation)?,
        Role::Client => slot.close_outgoing(token.generation)?,
    }
    let mut reason = Some(reason);
    on_loop(mailbox, |core| {
        core.take_mail();
        core.close(token, code, reason.take().unwrap_or_default());
    });
    if let Some(reason) = reason {
        mailbox.post(Mail::Close(token, code, reason));
    }
    Ok(())
}

/// Ends the connection now.
pub(crate) fn abort(websocket: u64) -> ServerResult {
    let Address {
        slot,
        mailbox,
        token,
    } = slot_arena::find(websocket)?;
    slot.abort(token.generation)?;
    if !on_loop(mailbox, |core| core.abort(token)) {
        mailbox.post(Mail::Abort(token));
    }
    Ok(())
}

/// Writes what is queued now.
pub(crate) fn flush(websocket: u64) -> ServerResult {
    let address = slot_arena::find(websocket)?;
    match address.live()?.state() {
        State::Connecting => return Err(ServerError::Busy),
        State::Closed => return Err(ServerError::Gone),
        _ => (),
    }
    let Address { mailbox, token, .. } = address;
    let here = on_loop(mailbox, |core| {
        core.take_mail();
        core.write(token);
    });
    if !here {
        mailbox.post(Mail::Flush(token));
        host::flush(mailbox);
    }
    Ok(())
}

/// Returns the state of a websocket; Closed, too, when there is none with this id.
pub(crate) fn state_of(websocket: u64) -> State {
    let word = slot_arena::find(websocket).and_then(|address| address.live());
    word.map_or(State::Closed, |word| word.state())
}

/// Returns how many bytes the kernel has not accepted yet.
pub(crate) fn queued(websocket: u64) -> usize {
    let word = slot_arena::find(websocket).and_then(|address| address.live());
    word.map_or(0, |word| word.queued() as usize)
}

/// Sets the application's pointer.
pub(crate) fn set_data(websocket: u64, data: *mut c_void) -> ServerResult {
    let address = slot_arena::find(websocket)?;
    let released = address
        .slot
        .set_data(address.token.generation, data, address.low())?;
    address.report(released);
    Ok(())
}

/// Returns the application's pointer; NULL when the websocket is gone.
pub(crate) fn data(websocket: u64) -> *mut c_void {
    slot_arena::find(websocket).map_or(std::ptr::null_mut(), |address| {
        address.slot.data(address.token.generation)
    })
}

/// Runs `work` and returns true, if this is the thread that runs the loop's turn.
fn on_loop(mailbox: &'static Mailbox, work: impl FnOnce(&mut Core)) -> bool {
    Loop::current(mailbox, |current| work(&mut current.core.borrow_mut())).is_some()
}
