//! The operating system: readiness, sockets, wake-ups, what a guest must know of its process. Which system
//! serves is decided here; above this room nobody sees a descriptor's number or an error's.

mod linux;

pub use linux::*;
