//! Linux: epoll and io_uring, eventfd and timerfd.

mod batch;
mod epoll;
mod inherited;
mod listener;
mod memory_limit;
mod outgoing;
pub(crate) mod random;
mod ring;
mod signal;
mod socket;
mod sockets;
mod sys;
mod waker;

pub(crate) use listener::{Listener, lacks_resources};
pub(crate) use memory_limit::memory_limit;
pub(crate) use outgoing::{Outgoing, wait_for_outgoing};
#[cfg(test)]
pub(crate) use ring::RingSockets;
pub(crate) use signal::Signal;
pub(crate) use socket::Socket;
pub(crate) use sockets::{Backend, SystemSockets};
#[cfg(feature = "tls")]
pub(crate) use sys::crypto_memory;
pub(crate) use sys::wait::{CombinedDescriptor, PollSet, Readiness, Wait, Waited};
pub(crate) use sys::{memory, process};
pub(crate) use waker::Waker;

/// A file descriptor.
pub(crate) type Descriptor = std::os::fd::RawFd;
