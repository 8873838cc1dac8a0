//! Sockets, their encryption, readiness and wake-ups. Knows nothing of WebSocket.

mod batch;
mod epoll;
mod listener;
mod poller;
mod ring;
mod signal;
mod socket;
mod sockets;
mod sys;
mod tls;
mod waker;

pub use listener::{Address, Listener, Peer};
pub use poller::{Happening, Poller, Token};
pub use signal::Signal;
pub use socket::Socket;
pub use sockets::Backend;
pub use sys::wait::{PollSet, Readiness, Union, Wait, Waited};
pub use sys::{memory, process};
pub use tls::{Identity, IdentityFiles};
pub use waker::Waker;
