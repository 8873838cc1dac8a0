//! Connections of ours to servers.

use std::sync::Arc;

use super::handshake::paths;
use super::lifecycle::refuse_in_child;
use super::registry::{Server, find};
use super::slot::{Freed, State};
use super::websocket::mailbox::Mail;
use super::websocket::outgoing::{Destination, NewConnection};
use super::{Application, Options, ServerError, own_loop};
use crate::net::{memory, process};

/// Begins to connect to a URL, on a loop of the server, or on the library's own for 0. `publish` is told the id of the
/// websocket before the first callback can run.
///
/// # Errors
///
/// As of [`Destination::new`]; Gone when the server is closing; Memory; Io.
pub(crate) fn connect(
    server: u64,
    url: &str,
    options: &Options,
    application: Arc<dyn Application>,
    publish: &mut dyn FnMut(u64),
) -> Result<(), ServerError> {
    refuse_in_child()?;
    if memory::is_short() {
        return Err(ServerError::Memory);
    }
    process::watch_forks().map_err(|_| ServerError::Io)?;
    let destination = Arc::new(Destination::new(url, options)?);
    if server != 0 {
        let server = find(server)?;
        return begin(&server, destination, application, publish);
    }
    let server = own_loop::enter()?;
    begin(&server, destination, application, publish).inspect_err(|_| own_loop::leave())
}

/// Returns what the log may say of a URL: neither user nor query.
pub(crate) fn public_part(url: &str) -> &str {
    let without_query = url.split('?').next().unwrap_or(url);
    match without_query.contains('@') {
        true => without_query.rsplit('@').next().unwrap_or_default(),
        false => without_query,
    }
}

fn begin(
    server: &Server,
    destination: Arc<Destination>,
    application: Arc<dyn Application>,
    publish: &mut dyn FnMut(u64),
) -> Result<(), ServerError> {
    if server.is_closing() {
        return Err(ServerError::Gone);
    }
    let number = server.least_loaded();
    let share = &server.loops[number];
    let (Some(mailbox), Some(slots)) = (share.mailbox.get(), share.slots.get()) else {
        return Err(ServerError::Gone);
    };
    let path = paths::hold(application)?;
    let Some((address, websocket)) = slots.take_outgoing() else {
        paths::leave(path);
        return Err(ServerError::Memory);
    };
    address.slot.set_max_queued(destination.max_queued);
    server.count_connection(number);
    publish(websocket);
    let token = address.token;
    let new = NewConnection {
        token,
        path,
        destination,
    };
    if mailbox.post_to(server.id(), Mail::Connect(Box::new(new))) {
        return Ok(());
    }
    server.leave(number, false, None);
    let _ = address.slot.advance(token.generation, State::Closed);
    if address.slot.free() == Freed::Free {
        slots.give_back_outgoing(token.index);
    }
    paths::leave(path);
    Err(ServerError::Gone)
}
