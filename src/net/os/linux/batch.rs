//! Sending to many connections with few system calls: by io_uring, also beside epoll.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::Socket;
use super::sys::ring::Ring;
use crate::net::event::Token;

/// So many sends cost less together than one by one.
const FEWEST: usize = 8;

/// What a ring has buffers for that never receives: as little as there can be.
const NO_BUFFERS: (u16, u32) = (2, 4096);

/// A ring of its own for a loop that receives by epoll. It belongs to the thread that first sends by
/// it, so a loop that moves between threads has none.
pub enum Batches {
    /// There shall be none.
    Never,
    /// It is made when there are so many sends that it pays.
    Untried,
    Ready(Box<Ring>),
}

impl Batches {
    /// Whether so many sends are better given to [`Batches::ring`] than sent one by one.
    #[inline]
    pub fn pay_for(&self, sends: usize) -> bool {
        sends >= FEWEST && !matches!(self, Self::Never)
    }

    /// The ring. None where the system does not let us have one, or not any more; it is not asked again
    /// then.
    pub fn ring(&mut self) -> Option<&mut Ring> {
        if matches!(self, Self::Ready(ring) if ring.is_broken()) {
            log::warn!("io_uring accepts no more requests; messages are sent one by one");
            *self = Self::Never;
        }
        if matches!(self, Self::Untried) {
            let (count, size) = NO_BUFFERS;
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

/// Sends several connections something by a ring, and tells of each what `send` would answer.
pub fn send_all<'s>(
    ring: &mut Ring,
    batch: &[(Token, &[u8])],
    socket: impl Fn(Token) -> Option<&'s Socket>,
    mut tell: impl FnMut(Token, io::Result<usize>),
) {
    let sends: Vec<(BorrowedFd<'_>, &[u8])> = batch
        .iter()
        .filter_map(|(token, bytes)| Some((socket(*token)?.as_fd(), *bytes)))
        .collect();
    let mut sent = ring.send_all(&sends).iter();
    for (token, _) in batch {
        let answer = match (socket(*token), sent.as_slice()) {
            (Some(_), [result, ..]) => {
                sent.next();
                counted(*result)
            }
            _ => Err(io::ErrorKind::NotConnected.into()),
        };
        tell(*token, answer);
    }
}

/// What a request answers as a system call would.
fn counted(result: i32) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}
