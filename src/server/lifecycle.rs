//! Servers: from start to end.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::dispatch::sink::Sink;
use super::event_loop::Loop;
use super::handshake::own_paths::OwnPaths;
use super::registry::{Server, find_or_join, join_ending, register};
use super::shared::{Shared, refused};
use super::{Dispatch, Options, ServerError, handler_calls, host, scrape};
use crate::net::{self, Address, Listener, memory, process};

/// Refuses what would take a lock in a forked child: it may have been held at the fork, by a thread that
/// the child does not have.
pub(crate) fn refuse_in_child() -> Result<(), ServerError> {
    match process::is_forked_child() {
        true => Err(ServerError::Unsupported),
        false => Ok(()),
    }
}

/// Starts a server. `publish` is told its id before the first callback can run.
pub(crate) fn start(
    port: u16,
    options: &Options,
    paths: &OwnPaths,
    publish: &mut dyn FnMut(u64),
) -> Result<u64, ServerError> {
    refuse_in_child()?;
    if memory::is_short() {
        return Err(ServerError::Memory);
    }
    memory::promise(options.long_texts(), || {
        start_now(port, options, paths, publish)
    })?
}

fn start_now(
    port: u16,
    options: &Options,
    paths: &OwnPaths,
    publish: &mut dyn FnMut(u64),
) -> Result<u64, ServerError> {
    process::watch_forks().map_err(refused)?;
    join_ending();
    let listener = listen(port, options)?.map(Arc::new);
    let count = match options.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        count => count as usize,
    };
    let shared = Shared::new(options, paths, listener.clone(), count)?;
    let server = Arc::new(Server::new(Arc::new(shared)));
    let hosted = options.dispatch == Dispatch::Host;
    let mut loops = Vec::new();
    for (number, (place, parked)) in server.loops.iter().zip(&server.parked).enumerate() {
        let one = Loop::new(Arc::clone(&server.shared), number).map_err(refused)?;
        // Where loops have threads, one accepts and deals out.
        if let Some(listener) = listener.as_ref().filter(|_| hosted || number == 0) {
            one.core
                .borrow_mut()
                .listen(Arc::clone(listener))
                .map_err(refused)?;
        }
        let _ = place.mailbox.set(one.mailbox);
        let _ = place.slots.set(one.core.borrow().conns.slot_arena().shared);
        let _ = parked.descriptor.set(one.core.borrow().poller.descriptor());
        loops.push(Box::new(one));
    }
    let id = register(&server)?;
    scrape::add(&server.shared);
    if let Some(listener) = listener {
        listener.take_over();
    }
    match options.listens() {
        true => log::info!("listening on {} port {}", options.host, server.port()),
        false => log::info!("serving without a listener"),
    }
    publish(id);
    if hosted {
        for (parked, one) in server.parked.iter().zip(loops) {
            *parked.event_loop() = Some(one);
        }
        host::park_all(&server);
        return Ok(id);
    }
    for (number, one) in loops.into_iter().enumerate() {
        if let Err(error) = start_thread(&server, number, one) {
            server.give_listener_back();
            server.begin_close();
            // The loops without a thread hold no connection yet.
            (number..count).for_each(|_| server.loop_ended());
            publish(0);
            return Err(refused(error));
        }
    }
    Ok(id)
}

/// The listener that the options ask for; None with HOST `none`.
fn listen(port: u16, options: &Options) -> Result<Option<Listener>, ServerError> {
    if !options.listens() {
        return match port == 0 && options.metrics_path.is_empty() {
            true => Ok(None),
            false => Err(ServerError::Argument),
        };
    }
    if Address::unix_path(&options.host).is_some() && port != 0 {
        return Err(ServerError::Argument);
    }
    let backlog = i32::try_from(options.backlog).unwrap_or(i32::MAX);
    let listener = Address::resolve(&options.host, port)
        .and_then(|address| Listener::bind(&address, backlog, options.unix_mode));
    let listener = listener.map_err(|error| {
        log::error!("cannot listen on {} port {port}: {error}", options.host);
        match net::lacks_resources(&error) {
            true => ServerError::Io,
            false => ServerError::Address,
        }
    })?;
    // Only an inherited socket has a port of its own.
    let own = listener.port();
    if port != 0 && port != own {
        log::error!(
            "cannot listen on {} port {port}: its port is {own}",
            options.host
        );
        return Err(ServerError::Argument);
    }
    Ok(Some(listener))
}

/// Closes a server and waits until it has closed; inside a callback it only begins.
pub(crate) fn close(server: u64) -> Result<(), ServerError> {
    let server = find_or_join(server)?;
    server.begin_close();
    if !handler_calls::is_inside() {
        wait_until_ended(&server);
    }
    Ok(())
}

/// Waits until a server has closed.
pub(crate) fn wait(server: u64) -> Result<(), ServerError> {
    let server = find_or_join(server)?;
    if handler_calls::is_inside() {
        return Err(ServerError::Busy);
    }
    wait_until_ended(&server);
    Ok(())
}

/// Waits until nothing of a server runs any more.
fn wait_until_ended(server: &Arc<Server>) {
    if server.options.dispatch == Dispatch::Host {
        // Until then the host serves; who only waits does not.
        server.wait_for_closing();
        return host::drive_to_end(server);
    }
    server.wait_for_end();
    join_ending();
}

fn start_thread(server: &Arc<Server>, number: usize, one: Box<Loop>) -> io::Result<()> {
    let kept = server;
    let server = Arc::clone(server);
    let builder = std::thread::Builder::new().name(format!("portal-loop-{number}"));
    let serve = move || {
        let _ours = process::Uncancelled::begin();
        let served = catch_unwind(AssertUnwindSafe(|| {
            one.serve(&mut match server.options.dispatch {
                Dispatch::PerClient => Sink::ClientThread,
                _ => Sink::Call,
            });
        }));
        if served.is_err() {
            log::error!("a loop panicked; closing its server");
            server.begin_close();
        }
        drop(one);
        server.loop_ended();
    };
    memory::probe()?;
    let thread = process::with_signals_blocked(|| builder.spawn(serve))?;
    kept.keep_thread(thread);
    Ok(())
}
