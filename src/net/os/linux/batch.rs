//! Sending to many connections with few system calls, by io_uring, also for loops that receive by epoll.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::socket::Socket;
use super::sys::ring::Ring;
use crate::net::event::Token;

/// Minimum number of sends that cost less in a batch than one by one.
const MIN_BATCH: usize = 8;

/// Number and size of the buffers of a ring that never receives: the minimum.
const MIN_BUFFERS: (u16, u32) = (2, 4096);

/// The ring of a loop that receives by epoll. It is bound to the thread that first sends with it, so a loop
/// that moves between threads has none.
pub(crate) enum Batches {
    /// There is none, and none will be created.
    Never,
    /// It will be created at the first turn with enough sends.
    Untried,
    Ready(Box<Ring>),
}

impl Batches {
    /// Whether so many sends are cheaper with [`Batches::ring`] than one by one.
    #[inline]
    pub(crate) fn pay_for(&self, sends: usize) -> bool {
        sends >= MIN_BATCH && !matches!(self, Self::Never)
    }

    /// Returns the ring; None when the system does not permit one, or no longer does. It is not tried again.
    pub(crate) fn ring(&mut self) -> Option<&mut Ring> {
        if matches!(self, Self::Ready(ring) if ring.is_broken()) {
            log::warn!("io_uring accepts no requests any more; messages are sent one by one");
            *self = Self::Never;
        }
        if matches!(self, Self::Untried) {
            let (count, size) = MIN_BUFFERS;
            *self = match Ring::new(count, size) {
                Ok(ring) => Self::Ready(Box::new(ring)),
                Err(error) => {
                    log::debug!("io_uring is unavailable, messages are sent one by one: {error}");
                    Self::Never
                }
            };
        }
        match self {
            Self::Ready(ring) => Some(ring),
            Self::Never | Self::Untried => None,
        }
    }
}

/// Sends to several connections with a ring, and reports for each what `send` would return.
pub(crate) fn send_all<'s>(
    ring: &mut Ring,
    batch: &[(Token, &[u8])],
    socket: impl Fn(Token) -> Option<&'s Socket>,
    mut report: impl FnMut(Token, io::Result<usize>),
) {
    let sends: Vec<(BorrowedFd<'_>, &[u8])> = batch
        .iter()
        .filter_map(|(token, bytes)| Some((socket(*token)?.as_fd(), *bytes)))
        .collect();
    let mut sent = ring.send_all(&sends).iter();
    for (token, _) in batch {
        let result = match (socket(*token), sent.as_slice()) {
            (Some(_), [result, ..]) => {
                sent.next();
                counted(*result)
            }
            _ => Err(io::ErrorKind::NotConnected.into()),
        };
        report(*token, result);
    }
}

/// Converts the result of a request to that of a system call.
fn counted(result: i32) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}
