//! Sockets, their encryption, readiness and wake-ups. Knows nothing of WebSocket.

mod epoll;
mod listener;
mod poller;
mod signal;
mod socket;
mod sys;
mod tls;

pub use epoll::Waker;
pub use listener::{Address, Listener, Peer};
pub use poller::{Happening, Poller, Token};
pub use signal::Signal;
pub use socket::Socket;
pub use sys::process;
pub use sys::wait::{Readiness, Union, wait_readable};
pub use tls::{Identity, IdentityFiles};
