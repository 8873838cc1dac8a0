//! Events that are recorded for a host that pulls.
//!
//! What records point to is in a `Vec`, from before the first pointer into it exists until the batch is
//! returned, and each pointer is the `Vec`'s own. So it stays valid when the `Vec` is moved, and while its
//! elements are borrowed: a `Vec`, unlike a `Box`, does not claim to be the only pointer when it is moved, and
//! all borrows of its elements derive from that one pointer.

use std::any::Any;
use std::collections::TryReserveError;
use std::ptr;
use std::sync::Arc;

use crate::net::{Token, memory};
use crate::proto::{Payload, Role};
use crate::server::event::{Event, Target};
use crate::server::handshake::paths::Paths;
use crate::server::{Record, RecordBytes, RecordEvent, Records, Request};

/// A batch that holds so many bytes has no room for further records. The receive buffer, which is half of this,
/// is not part of them. The last message may exceed the bound, so that a message of any size can be pulled.
const MAX_BATCH_BYTES: usize = 1 << 20;

/// What the records of one pull from one loop point to. It belongs to the pulling thread until that returns it,
/// and outlives the server if necessary.
#[derive(Default)]
pub(crate) struct Batch {
    pub arena: Option<Vec<u8>>,
    /// How many bytes of the arena are in use by records.
    pub filled: usize,
    messages: Vec<Vec<u8>>,
    /// Each holds one.
    requests: Vec<Vec<Request>>,
    others: Vec<Box<dyn Any + Send>>,
    /// Websockets whose DISCONNECT is in the batch: their ids are freed with it.
    pub ended: Vec<Token>,
    /// The definitions whose `user_data` is in the records.
    paths: Vec<Arc<Paths>>,
    /// Bytes of the messages and requests.
    held: usize,
    /// How many of them MAX_MEMORY counts until the batch is returned.
    pub counted: u64,
}

impl Batch {
    /// Retains bytes that records point into.
    pub(crate) fn retain(&mut self, bytes: Vec<u8>) {
        self.held += bytes.capacity();
        self.messages.push(bytes);
    }

    /// Retains bytes that end in NUL. Returns where they are.
    fn retain_terminated(&mut self, bytes: Vec<u8>) -> RecordBytes {
        let record = RecordBytes {
            start: bytes.as_ptr(),
            len: bytes.len().saturating_sub(1),
        };
        self.retain(bytes);
        record
    }

    /// Retains a request. Returns where it is.
    fn retain_request(&mut self, request: Request) -> *const Request {
        self.held += request.held_bytes();
        let request = vec![request];
        let pointer = request.as_ptr();
        self.requests.push(request);
        pointer
    }

    /// Returns how many bytes the batch holds, without the receive buffer.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held
    }

    /// Releases the definitions, which may call `release`.
    pub(crate) fn release_paths(&mut self) {
        self.paths = Vec::new();
    }
}

/// Records the events of one turn of a loop.
pub(crate) struct Puller<'a> {
    pub records: &'a mut dyn Records,
    pub batch: Batch,
    pub count: u32,
    /// The start of the `Vec` from which payloads are lent now, and which the batch will retain.
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

    /// Declares that payloads are lent from `source` from now on. The batch must retain it.
    pub(crate) fn lend_from(&mut self, source: &mut Vec<u8>) {
        self.source = source.as_mut_ptr();
    }

    /// Whether one more event may be recorded, of any size.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.records.room() > 0 && self.batch.held < MAX_BATCH_BYTES
    }

    /// Records one event.
    ///
    /// # Errors
    ///
    /// Memory is refused; nothing was recorded.
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
        let recorded = match event {
            Event::Connect(request) => RecordEvent::Connect(self.batch.retain_request(*request)),
            Event::Message(kind, payload) => RecordEvent::Message(kind, self.retain(payload)?),
            Event::Pong(payload) => RecordEvent::Pong(self.retain(payload)?),
            Event::Drain => RecordEvent::Drain,
            Event::Failure(mut it) => {
                let request = it.request.take();
                let request = request.map_or(ptr::null(), |it| self.batch.retain_request(*it));
                failure = it;
                RecordEvent::Error(&failure, request)
            }
            Event::Disconnect(code, reason) => {
                target.close();
                if target.role == Role::Server {
                    self.batch.ended.push(target.token);
                }
                let reason = reason.into_bytes_with_nul();
                RecordEvent::Disconnect(code, self.batch.retain_terminated(reason))
            }
        };
        let kept = self.batch.paths.last();
        if !kept.is_some_and(|kept| Arc::ptr_eq(kept, paths)) {
            self.batch.paths.push(Arc::clone(paths));
        }
        let other = self.records.push(Record {
            websocket: target.websocket,
            user_data: application.user_data(),
            event: recorded,
        });
        self.batch.others.extend(other);
        self.count += 1;
        Ok(())
    }

    fn retain(&mut self, payload: Payload<'_>) -> Result<RecordBytes, TryReserveError> {
        memory::try_reserve(&mut self.batch.messages, 1)?;
        Ok(match payload {
            Payload::Whole(bytes) => self.batch.retain_terminated(bytes),
            Payload::Lent(bytes) => RecordBytes {
                start: self.source.with_addr(bytes.as_ptr().addr()),
                len: bytes.len().saturating_sub(1),
            },
        })
    }
}
