//! Where a turn's events go.

use crate::server::dispatch::pull::{Batch, Puller};

/// Where the events of a turn go.
pub(crate) enum Sink<'a> {
    /// Callbacks run here and now.
    Call,
    /// Callbacks run on a thread of each client's own.
    ClientThread,
    /// Events are written down for a host that pulls.
    Pull(Puller<'a>),
    /// Events wait for a host that pulls and is not here.
    Nowhere,
}

impl Sink<'_> {
    /// Whether one more event can be told.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        match self {
            Self::Call | Self::ClientThread => true,
            Self::Pull(puller) => puller.has_room(),
            Self::Nowhere => false,
        }
    }

    /// The batch that keeps what the events lend, if that is to last.
    pub(crate) fn batch(&mut self) -> Option<&mut Batch> {
        match self {
            Self::Pull(puller) => Some(&mut puller.batch),
            _ => None,
        }
    }

    /// Names the bytes from which payloads are lent from now on; a batch must get them to keep.
    #[inline]
    pub(crate) fn lend_from(&mut self, source: &mut Vec<u8>) {
        if let Self::Pull(puller) = self {
            puller.lend_from(source);
        }
    }
}
