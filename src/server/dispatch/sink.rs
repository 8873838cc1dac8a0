//! The destination of a turn's events.

use crate::server::dispatch::pull::{Batch, Puller};

/// The destination of the events of a turn.
pub(crate) enum Sink<'a> {
    /// Callbacks run on this thread, at once.
    Call,
    /// Callbacks run on each client's own thread.
    ClientThread,
    /// Events are recorded for a host that pulls.
    Pull(Puller<'a>),
    /// Events stay pending for a host that does not pull at the moment.
    Nowhere,
}

impl Sink<'_> {
    /// Whether one more event can be delivered.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        match self {
            Self::Call | Self::ClientThread => true,
            Self::Pull(puller) => puller.has_room(),
            Self::Nowhere => false,
        }
    }

    /// Returns the batch that retains what the events lend, if they are recorded.
    pub(crate) fn batch(&mut self) -> Option<&mut Batch> {
        match self {
            Self::Pull(puller) => Some(&mut puller.batch),
            _ => None,
        }
    }

    /// Declares the buffer from which payloads are lent from now on. The batch must retain it.
    #[inline]
    pub(crate) fn lend_from(&mut self, source: &mut Vec<u8>) {
        if let Self::Pull(puller) = self {
            puller.lend_from(source);
        }
    }
}
