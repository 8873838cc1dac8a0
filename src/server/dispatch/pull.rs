//! Events that are written down instead of called.
//!
//! What records point to lies in a `Vec`, from before its first pointer is handed out until the
//! batch is given back, and each pointer is the `Vec`'s own. So it stays valid whatever is moved
//! meanwhile, and whoever borrows the same bytes: unlike a `Box`, a `Vec` does not claim when it is
//! moved that nobody else has a pointer into it, and all borrows of its elements derive from that
//! one pointer.

use std::any::Any;
use std::collections::TryReserveError;
use std::ptr;
use std::sync::Arc;

use crate::net::{Token, memory};
use crate::proto::Payload;
use crate::server::event::{Event, Target};
use crate::server::handshake::paths::Paths;
use crate::server::{Happened, Kept, Pulled, Records, Request};

/// What the records of one pull point to, from one loop. It belongs to the pulling thread until
/// that comes back, and so outlives the server if it must.
#[derive(Default)]
pub(crate) struct Batch {
    pub arena: Option<Vec<u8>>,
    /// How much of the arena lent records point into.
    pub filled: usize,
    messages: Vec<Vec<u8>>,
    /// One in each.
    requests: Vec<Vec<Request>>,
    others: Vec<Box<dyn Any + Send>>,
    /// Websockets whose DISCONNECT is in the batch: their ids live as long.
    pub ended: Vec<Token>,
    /// The definitions whose `user_data` was handed out.
    paths: Option<Arc<Paths>>,
}

impl Batch {
    /// Keeps bytes that records point into.
    pub(crate) fn keep(&mut self, bytes: Vec<u8>) {
        self.messages.push(bytes);
    }

    /// Keeps bytes that end in NUL; returns where.
    fn keep_terminated(&mut self, bytes: Vec<u8>) -> Kept {
        let kept = Kept {
            start: bytes.as_ptr(),
            len: bytes.len().saturating_sub(1),
        };
        self.keep(bytes);
        kept
    }

    /// Keeps a request; returns where.
    fn keep_request(&mut self, request: Request) -> *const Request {
        let request = vec![request];
        let place = request.as_ptr();
        self.requests.push(request);
        place
    }

    /// Lets go of the definitions, which may run `release`.
    pub(crate) fn let_go(&mut self) {
        self.paths = None;
    }
}

/// Writes the events of one loop's turn down.
pub(crate) struct Puller<'a> {
    pub records: &'a mut dyn Records,
    pub batch: Batch,
    pub count: u32,
    /// The start of the `Vec` from which payloads are lent now, and which the batch will keep.
    source: *const u8,
}

impl<'a> Puller<'a> {
    pub(crate) fn new(records: &'a mut dyn Records) -> Self {
        Self {
            records,
            batch: Batch::default(),
            count: 0,
            source: ptr::null(),
        }
    }

    /// Payloads are lent from `source` until it is followed by another one; the batch must get it.
    pub(crate) fn lend_from(&mut self, source: &mut Vec<u8>) {
        self.source = source.as_mut_ptr();
    }

    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.records.room() > 0
    }

    /// Writes one event down.
    ///
    /// # Errors
    ///
    /// Memory for what it lends is refused; nothing is written.
    pub(crate) fn record(
        &mut self,
        paths: &Arc<Paths>,
        target: &Target,
        event: Event<'_>,
    ) -> Result<(), TryReserveError> {
        let Some(application) = paths.application(target.path) else {
            return Ok(());
        };
        let failure;
        let happened = match event {
            Event::Connect(request) => Happened::Connect(self.batch.keep_request(*request)),
            Event::Message(kind, payload) => Happened::Message(kind, self.keep(payload)?),
            Event::Pong(payload) => Happened::Pong(self.keep(payload)?),
            Event::Drain => Happened::Drain,
            Event::Failure(it) => {
                failure = it;
                Happened::Error(&failure)
            }
            Event::Disconnect(code, reason) => {
                target.close();
                self.batch.ended.push(target.token);
                let reason = reason.into_bytes_with_nul();
                Happened::Disconnect(code, self.batch.keep_terminated(reason))
            }
        };
        if self.batch.paths.is_none() {
            self.batch.paths = Some(Arc::clone(paths));
        }
        let other = self.records.push(Pulled {
            websocket: target.websocket,
            user_data: application.user_data(),
            happened,
        });
        self.batch.others.extend(other);
        self.count += 1;
        Ok(())
    }

    fn keep(&mut self, payload: Payload<'_>) -> Result<Kept, TryReserveError> {
        memory::try_reserve(&mut self.batch.messages, 1)?;
        Ok(match payload {
            Payload::Whole(bytes) => self.batch.keep_terminated(bytes),
            Payload::Lent(bytes) => Kept {
                start: self.source.with_addr(bytes.as_ptr().addr()),
                len: bytes.len().saturating_sub(1),
            },
        })
    }
}
