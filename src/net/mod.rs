//! Sockets, their encryption, readiness and wake-ups. Knows nothing of WebSocket.

mod event;
mod os;
mod poller;
mod tls;

pub use event::{Happening, Token};
pub use os::{
    Address, Backend, Listener, Peer, PollSet, Readiness, Signal, Socket, Union, Wait, Waited,
    Waker, memory, process,
};
pub use poller::Poller;
pub use tls::{Identity, IdentityFiles};
