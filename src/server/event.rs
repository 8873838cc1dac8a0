//! The events of a websocket, on their way to the application.
//!
//! There are six events and three ways: a loop calls the application itself, passes the event to the client's
//! own thread, or records it for a host that pulls. Each way accepts each event.

use std::collections::TryReserveError;
use std::ffi::CString;
use std::sync::atomic::Ordering;

use super::log::ConnectionName;
use super::metrics::Metrics;
use super::slot::{Slot, State};
use super::{Application, EventKind, Failure, Request, handler_calls};
use crate::net::{Token, memory};
use crate::proto::{Kind, Payload, Role};

/// The websocket to which an event belongs.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub websocket: u64,
    pub token: Token,
    /// What we are to its peer.
    pub role: Role,
    pub slot: &'static Slot,
    /// The number of its path.
    pub path: u32,
}

impl Target {
    /// `disconnect` is about to run: sets the state to CLOSED, unless the loop has decided on it.
    pub(crate) fn close(&self) {
        if self.role == Role::Server {
            // Fails only if it is CLOSED already.
            let _ = self.slot.advance(self.token.generation, State::Closed);
        }
    }

    /// Whether an event is the last one of this websocket.
    pub(crate) fn ends_with(&self, event: &Event<'_>) -> bool {
        self.role == Role::Server && matches!(event, Event::Disconnect(..))
    }
}

/// An event of a websocket.
pub(crate) enum Event<'a> {
    Connect(Box<Request>),
    Message(Kind, Payload<'a>),
    Pong(Payload<'a>),
    Drain,
    Failure(Box<Failure>),
    /// The close code and the reason. Nothing follows, except for a connection of ours.
    Disconnect(u16, CString),
}

impl<'a> Event<'a> {
    /// Calls the application; a handler that fails is counted. `name` is for the log.
    #[inline]
    pub(crate) fn call(
        &self,
        application: &dyn Application,
        target: &Target,
        metrics: &Metrics,
        name: impl FnOnce() -> ConnectionName,
    ) {
        let websocket = target.websocket;
        let failed = match self {
            Self::Connect(request) => {
                let connect = || application.connect(websocket, request);
                handler_calls::handle(application, websocket, EventKind::Connect, name, connect)
            }
            Self::Message(kind, payload) => {
                let message = || application.message(websocket, *kind, payload.terminated());
                handler_calls::handle(application, websocket, EventKind::Message, name, message)
            }
            Self::Pong(payload) => {
                application.pong(websocket, payload.terminated());
                false
            }
            Self::Drain => {
                application.drain(websocket);
                false
            }
            Self::Failure(failure) => {
                application.error(websocket, failure);
                false
            }
            Self::Disconnect(code, reason) => {
                target.close();
                let disconnect = || application.disconnect(websocket, *code, reason);
                handler_calls::handle(
                    application,
                    websocket,
                    EventKind::Disconnect,
                    name,
                    disconnect,
                )
            }
        };
        if failed {
            metrics.handler_errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the same event with bytes of its own.
    ///
    /// # Errors
    ///
    /// Memory for a copy is refused.
    pub(crate) fn into_owned(self) -> Result<Event<'static>, TryReserveError> {
        Ok(match self {
            Self::Connect(request) => Event::Connect(request),
            Self::Message(kind, payload) => Event::Message(kind, own(payload)?),
            Self::Pong(payload) => Event::Pong(own(payload)?),
            Self::Drain => Event::Drain,
            Self::Failure(failure) => Event::Failure(failure),
            Self::Disconnect(code, reason) => Event::Disconnect(code, reason),
        })
    }

    /// Returns the payload of an event that the peer can cause any number of.
    pub(crate) fn payload(&self) -> Option<&Payload<'a>> {
        match self {
            Self::Message(_, payload) | Self::Pong(payload) => Some(payload),
            Self::Connect(_) | Self::Drain | Self::Failure(_) | Self::Disconnect(..) => None,
        }
    }

    /// Returns the buffer that the event owned.
    pub(crate) fn into_buffer(self) -> Option<Vec<u8>> {
        match self {
            Self::Message(_, Payload::Whole(bytes)) | Self::Pong(Payload::Whole(bytes)) => {
                Some(bytes)
            }
            _ => None,
        }
    }
}

fn own(payload: Payload<'_>) -> Result<Payload<'static>, TryReserveError> {
    Ok(Payload::Whole(match payload {
        Payload::Lent(bytes) => memory::copy(bytes)?,
        Payload::Whole(bytes) => bytes,
    }))
}

#[cfg(test)]
impl Target {
    /// Returns an open websocket of a path.
    pub(crate) fn example(path: u32) -> Self {
        let slot: &'static Slot = Box::leak(Box::default());
        let token = Token {
            index: 0,
            generation: slot.allocate(),
        };
        let _ = slot.advance(token.generation, State::Open);
        Self {
            websocket: 1,
            token,
            role: Role::Server,
            slot,
            path,
        }
    }
}
