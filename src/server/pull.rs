//! Events that are written down instead of called.

use std::any::Any;
use std::ffi::CStr;
use std::sync::Arc;

use super::paths::Paths;
use super::{Failure, Happened, Pulled, Records, Request};
use crate::net::Token;
use crate::proto::{Kind, Payload};

/// What the records of one pull point to, from one loop. It belongs to the pulling thread until
/// that comes back, and so outlives the server if it must.
#[derive(Default)]
pub struct Batch {
    pub arena: Option<Box<[u8]>>,
    /// How much of the arena lent records point into.
    pub filled: usize,
    messages: Vec<Vec<u8>>,
    /// Boxed: records point to them.
    #[expect(clippy::vec_box, reason = "their addresses are handed out")]
    requests: Vec<Box<Request>>,
    others: Vec<Box<dyn Any + Send>>,
    /// Websockets whose DISCONNECT is in the batch: their ids live as long.
    pub ended: Vec<Token>,
    /// The definitions whose `user_data` was handed out.
    paths: Option<Arc<Paths>>,
}

impl Batch {
    /// Keeps bytes that records point into.
    pub fn keep(&mut self, bytes: Vec<u8>) {
        self.messages.push(bytes);
    }

    /// Lets go of the definitions, which may run `release`.
    pub fn let_go(&mut self) {
        self.paths = None;
    }
}

/// Writes the events of one loop's turn down.
pub struct Puller<'a> {
    pub records: &'a mut dyn Records,
    pub batch: Batch,
    pub count: u32,
}

impl Puller<'_> {
    #[inline]
    pub fn has_room(&self) -> bool {
        self.records.room() > 0
    }

    /// Writes one event of a websocket of path `number`.
    pub fn push(
        &mut self,
        paths: &Arc<Paths>,
        number: u32,
        websocket: u64,
        happened: Happened<'_>,
    ) {
        let Some(application) = paths.application(number) else {
            return;
        };
        let user_data = application.user_data();
        if self.batch.paths.is_none() {
            self.batch.paths = Some(Arc::clone(paths));
        }
        let other = self.records.push(Pulled {
            websocket,
            user_data,
            happened,
        });
        self.batch.others.extend(other);
        self.count += 1;
    }

    pub fn message(
        &mut self,
        paths: &Arc<Paths>,
        number: u32,
        websocket: u64,
        kind: Option<Kind>,
        payload: Payload<'_>,
    ) {
        let happened = match kind {
            Some(kind) => Happened::Message(kind, payload.terminated()),
            None => Happened::Pong(payload.terminated()),
        };
        self.push(paths, number, websocket, happened);
        if let Payload::Whole(bytes) = payload {
            self.batch.keep(bytes);
        }
    }

    pub fn connect(
        &mut self,
        paths: &Arc<Paths>,
        number: u32,
        websocket: u64,
        request: Box<Request>,
    ) {
        self.push(paths, number, websocket, Happened::Connect(&request));
        self.batch.requests.push(request);
    }

    pub fn failure(
        &mut self,
        paths: &Arc<Paths>,
        number: u32,
        websocket: u64,
        failure: Box<Failure>,
    ) {
        self.push(paths, number, websocket, Happened::Error(&failure));
        self.batch.others.push(failure);
    }

    pub fn disconnect(
        &mut self,
        paths: &Arc<Paths>,
        number: u32,
        websocket: u64,
        code: u16,
        reason: &CStr,
    ) {
        let reason = Box::new(reason.to_owned());
        self.push(
            paths,
            number,
            websocket,
            Happened::Disconnect(code, &reason),
        );
        self.batch.others.push(reason);
    }
}
