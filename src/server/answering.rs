//! What an application sets of the answer to a handshake, by the id of its websocket.

use super::error::ServerResult;
use super::handshake::deciding;
use super::handshake::request::Request;
use super::options::Deflate;
use super::websocket::slot_arena;
use super::{ServerError, slot};

/// Sets a header of the answer.
pub(crate) fn set_header(websocket: u64, name: &[u8], value: &[u8]) -> ServerResult {
    with_request(websocket, |request| request.set_header(name, value))
}

/// Sets the body of a rejection.
pub(crate) fn set_body(websocket: u64, content_type: &str, body: &[u8]) -> ServerResult {
    with_request(websocket, |request| request.set_body(content_type, body))
}

/// Sets how messages are compressed: 0, 1 or 2, as DEFLATE, and at most that.
pub(crate) fn set_deflate(websocket: u64, mode: u32) -> ServerResult {
    let mode = Deflate::try_from(mode);
    with_request(websocket, |request| request.set_deflate(mode?))
}

fn with_request(websocket: u64, set: impl FnOnce(&Request) -> ServerResult) -> ServerResult {
    deciding::current(websocket, set).unwrap_or_else(|| {
        let word = slot_arena::find(websocket)?.live()?;
        match word.state() {
            slot::State::Closed => Err(ServerError::Gone),
            _ => Err(ServerError::Busy),
        }
    })
}
