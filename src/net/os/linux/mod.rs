//! Linux: epoll and io_uring, eventfd and timerfd.

mod batch;
mod epoll;
mod listener;
mod ring;
mod signal;
mod socket;
mod sockets;
mod sys;
mod waker;

pub use listener::{Listener, lacks_resources};
#[cfg(test)]
pub use ring::RingSockets;
pub use signal::Signal;
pub use socket::Socket;
pub use sockets::{Backend, SystemSockets};
pub use sys::wait::{PollSet, Readiness, Union, Wait, Waited};
pub use sys::{memory, process};
pub use waker::Waker;

/// What the system waits for.
pub type Descriptor = std::os::fd::RawFd;
