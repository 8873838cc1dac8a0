//! Sockets, their encryption, readiness and wake-ups. Knows nothing of WebSocket.

mod address;
mod event;
mod os;
mod poller;
mod sockets;
mod tls;

pub use address::{Address, Peer};
pub use event::{IoEvent, Token};
pub use os::{
    Backend, Descriptor, Listener, PollSet, Readiness, Signal, Socket, Union, Wait, Waited, Waker,
    lacks_resources, memory, process,
};
#[cfg(test)]
pub use os::{Network, RemoteEnd, Write};
pub use poller::Poller;
pub use tls::{Identity, IdentityFiles};
