//! What there is of each websocket: its slot, which every thread sees; what its loop keeps of it; the
//! queue of what is to be sent; the thread of its own that PER_CLIENT gives it.

pub mod client_thread;
pub mod connections;
pub mod mailbox;
pub mod outbox;
pub mod piece;
pub mod reservation;
pub mod slot_arena;
