//! Delivering events, as the server's dispatch requires.

use std::sync::Arc;

use super::{Loop, Turn};
use crate::server::dispatch::sink::Sink;
use crate::server::event::{Event, Target};
use crate::server::handshake::paths;

impl Loop {
    /// Delivers one event. After `disconnect` the connection is released.
    pub(crate) fn deliver_event(&self, turn: &mut Turn<'_, '_>, target: Target, event: Event<'_>) {
        let is_last = target.ends_with(&event);
        let Target { token, path, .. } = target;
        turn.paths.renew();
        match &mut *turn.sink {
            Sink::Call => {
                let Some(application) = turn.paths.application(path).map(Arc::clone) else {
                    return;
                };
                let name = || self.core.borrow().name(token);
                event.call(&*application, &target, &self.server.metrics, name);
                if let Some(buffer) = event.into_buffer() {
                    self.core.borrow_mut().input.scratch.recycle(buffer);
                }
                if is_last {
                    self.release_connection(token);
                }
            }
            Sink::ClientThread => {
                let mut core = self.core.borrow_mut();
                if core.queue_client_event(token, event).is_err() {
                    core.fail_out_of_memory(token);
                }
            }
            Sink::Pull(puller) => {
                if puller.record(&turn.paths, &target, event).is_err() {
                    self.core.borrow_mut().fail_out_of_memory(token);
                }
                if is_last {
                    paths::leave(path);
                }
            }
            Sink::Nowhere => (),
        }
    }
}
