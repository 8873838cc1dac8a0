//! What there is of each websocket: its slot, which every thread sees; what its loop keeps of it; the
//! queue of what is to be sent; the thread of its own that PER_CLIENT gives it.

pub(crate) mod client_queue;
pub(crate) mod client_thread;
pub(crate) mod connections;
pub(crate) mod mailbox;
pub(crate) mod outbox;
pub(crate) mod outgoing;
pub(crate) mod reservation;
pub(crate) mod segment;
pub(crate) mod slot_arena;
pub(crate) mod wake_flag;
