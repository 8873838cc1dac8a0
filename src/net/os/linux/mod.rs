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

pub use listener::{Address, Listener, Peer};
pub use signal::Signal;
pub use socket::Socket;
pub use sockets::{Backend, Sockets};
pub use sys::wait::{PollSet, Readiness, Union, Wait, Waited};
pub use sys::{memory, process};
pub use waker::Waker;
