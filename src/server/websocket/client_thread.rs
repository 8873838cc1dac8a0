//! PER_CLIENT: a thread of its own for each client's callbacks.
//!
//! The loop keeps the socket and hands events over; the thread runs the callbacks. So pings are
//! answered and what others send leaves while a handler blocks. What the handlers of a batch send is
//! announced to the loop as one, after the last of them or when they take long.

use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use scoped_tls::scoped_thread_local;

use crate::net::process;
use crate::proto::{Payload, Role};
use crate::server::event::{Event, Target};
use crate::server::handshake::paths::{self, Paths};
use crate::server::log::ConnectionName;
use crate::server::metrics::Metrics;
use crate::server::sync::channel::TryRecvError;
use crate::server::websocket::client_queue::{
    Batch, ClientEvent, ClientQueue, Events, Load, Weight,
};
use crate::server::websocket::mailbox::{Mail, Mailbox};
use crate::server::{Request, handler_calls};

/// Whose callbacks a thread runs.
pub(crate) struct Client {
    pub target: Target,
    pub mailbox: &'static Mailbox,
    pub metrics: Arc<Metrics>,
    pub name: ConnectionName,
}

impl Client {
    /// Starts the client's thread. Returns the queue to it.
    pub(crate) fn start(self) -> io::Result<ClientQueue> {
        let max = Weight::max_waiting(self.mailbox.max_queued());
        ClientQueue::spawn(self.name, max, move |events| {
            let _ours = process::Uncancelled::begin();
            let served = catch_unwind(AssertUnwindSafe(|| self.serve(&events)));
            // The thread of a client that was not let in is stopped by the loop, which knows.
            if served.unwrap_or(true) {
                self.mailbox.post(Mail::ThreadEnded(self.target.token));
            }
        })
    }

    /// Runs callbacks until the last one; false when there was none.
    fn serve(&self, events: &Events) -> bool {
        let mut paths = None;
        loop {
            let event = match events.try_next() {
                Ok(event) => event,
                Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => {
                    // Nothing of a definition is kept while nothing of it runs.
                    paths = None;
                    match events.wait() {
                        Some(event) => event,
                        None => return false,
                    }
                }
            };
            let weight = event.weight();
            let paths = paths.get_or_insert_with(Paths::current);
            let last = match event {
                ClientEvent::Batch(batch) => {
                    self.run_batch(&batch, &events.load, paths);
                    false
                }
                ClientEvent::Upgrade(request) => {
                    self.decide(request, paths);
                    false
                }
                ClientEvent::Event(event) => self.run(event, paths),
                ClientEvent::End => true,
            };
            if weight.is_some_and(|weight| events.uncount(weight)) {
                self.mailbox.post(Mail::ClientQueueLow(self.target.token));
            }
            if last {
                break;
            }
        }
        drop(paths);
        paths::leave(self.target.path);
        true
    }

    /// Lets `upgrade` decide.
    fn decide(&self, request: Box<Request>, paths: &mut Arc<Paths>) {
        let Target {
            websocket,
            token,
            path,
            ..
        } = self.target;
        paths.renew();
        if let Some(application) = paths.application(path) {
            let verdict = match self.target.role {
                Role::Server => handler_calls::upgrade(&**application, websocket, &request),
                Role::Client => handler_calls::upgrade_only(&**application, websocket, &request),
            };
            self.mailbox.post(Mail::Verdict(token, verdict, request));
        }
    }

    /// Runs the callbacks of messages that arrived together.
    fn run_batch(&self, batch: &Batch, load: &Arc<Load>, paths: &mut Arc<Paths>) {
        let mut run_all = || {
            for (kind, place) in &batch.messages {
                let payload = Payload::Lent(&batch.bytes[place.clone()]);
                self.run(Event::Message(*kind, payload), paths);
            }
        };
        match batch.messages.len() {
            1 => run_all(),
            _ => CurrentBatch {
                number: batch.number,
                mailbox: self.mailbox,
                load: Arc::clone(load),
                has_posted: Cell::new(false),
            }
            .run(run_all),
        }
    }

    /// Runs one callback; true when it was the last.
    fn run(&self, event: Event<'_>, paths: &mut Arc<Paths>) -> bool {
        let Target {
            token, slot, path, ..
        } = self.target;
        paths.renew();
        let Some(application) = paths.application(path) else {
            return true;
        };
        let is_dropped = match event {
            Event::Message(..) | Event::Pong(_) | Event::Drain => {
                slot.is_closing_locally(token.generation)
            }
            Event::Connect(_) | Event::Failure(_) | Event::Disconnect(..) => false,
        };
        if !is_dropped {
            event.call(&**application, &self.target, &self.metrics, || self.name);
        }
        self.target.ends_with(&event)
    }
}

scoped_thread_local!(static CURRENT_BATCH: CurrentBatch);

/// The batch whose handlers the current thread runs.
struct CurrentBatch {
    number: u64,
    mailbox: &'static Mailbox,
    load: Arc<Load>,
    /// Mail was posted that the loop was not woken for.
    has_posted: Cell<bool>,
}

impl CurrentBatch {
    /// Runs the handlers of a batch, and announces what they have posted.
    fn run(self, handlers: impl FnOnce()) {
        CURRENT_BATCH.set(&self, handlers);
        self.load.end_batch(self.number);
        if self.has_posted.get() {
            self.mailbox.announce();
        }
    }

    fn post(&self, mail: Mail) {
        self.mailbox.post_unannounced(mail);
        match self.load.announces(self.number) {
            true => self.mailbox.announce(),
            false => self.has_posted.set(true),
        }
    }
}

/// Posts a message. If a handler of a batch sends it, the loop is woken after the last one.
#[inline]
pub(crate) fn post_message(mailbox: &'static Mailbox, mail: Mail) {
    if !CURRENT_BATCH.is_set() {
        return mailbox.post(mail);
    }
    CURRENT_BATCH.with(|current| match std::ptr::eq(current.mailbox, mailbox) {
        true => current.post(mail),
        false => mailbox.post(mail),
    });
}

#[cfg(test)]
#[cfg(loom)]
mod loom_tests {
    use loom::sync::Notify;

    use super::*;
    use crate::server::sync::atomic::{AtomicBool, Ordering};
    use crate::server::sync::{explore, thread};
    use crate::server::websocket::client_queue::MAX_WAITING;
    use crate::server::websocket::mailbox::loom_tests::{FLUSH, attached, sleep, take_mail};

    #[test]
    fn what_a_handler_has_sent_is_found_while_a_later_one_of_its_batch_blocks() {
        explore(3, || {
            let mailbox = &**Box::leak(Box::new(attached()));
            let load = Arc::new(Load::new(MAX_WAITING));
            let is_taken = Arc::new((AtomicBool::new(false), Notify::new()));
            let handlers = {
                let (load, is_taken) = (Arc::clone(&load), Arc::clone(&is_taken));
                thread::spawn(move || {
                    let batch = CurrentBatch {
                        number: 1,
                        mailbox,
                        load,
                        has_posted: Cell::new(false),
                    };
                    batch.post(FLUSH);
                    while !is_taken.0.load(Ordering::Acquire) {
                        is_taken.1.wait();
                    }
                })
            };
            load.announce_up_to(1);
            while take_mail(mailbox) == 0 {
                sleep(mailbox);
            }
            is_taken.0.store(true, Ordering::Release);
            is_taken.1.notify();
            handlers.join().expect("no panic");
        });
    }
}
