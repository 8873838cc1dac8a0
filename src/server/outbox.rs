//! What is queued for a client and not yet taken by the kernel.

use std::collections::{TryReserveError, VecDeque};
use std::io::{self, IoSlice};

use crate::net::{Poller, Token};
use crate::proto::FrameHead;

/// Frames are gathered into pieces of up to this many bytes; a larger frame has its own.
pub const PIECE: usize = 64 * 1024;

/// At most so many pieces leave in one system call.
const GATHERED: usize = 16;

/// A queue of bytes, written from its front.
#[derive(Default)]
pub struct Outbox {
    front: Vec<u8>,
    /// How much of `front` has left.
    sent: usize,
    /// The pieces after the first.
    rest: VecDeque<Vec<u8>>,
    /// Large pieces that have left.
    spent: Vec<Vec<u8>>,
    unsent: usize,
    /// How many of the unsent bytes are counted in the websocket's slot.
    counted: usize,
    /// How many pings of the application are in here.
    pub pings: u32,
}

impl Outbox {
    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.unsent == 0
    }

    /// Bytes that are counted in the slot and have not left.
    pub fn counted(&self) -> usize {
        self.counted
    }

    /// Queues a frame, counted in the slot, if there is room for it where the last one was put.
    #[inline]
    pub fn append_short(&mut self, head: &FrameHead, body: &[u8]) -> bool {
        let len = head.as_slice().len() + body.len();
        let filled = self.front.len() + len;
        if filled > self.front.capacity().min(PIECE) || !self.rest.is_empty() {
            return false;
        }
        head.write(&mut self.front);
        self.front.extend_from_slice(body);
        self.unsent += len;
        self.counted += len;
        true
    }

    /// Queues a frame in two parts, counted in the slot.
    pub fn append(&mut self, head: &[u8], body: &[u8]) -> Result<(), TryReserveError> {
        let len = head.len() + body.len();
        let piece = self.room_for(len)?;
        piece.extend_from_slice(head);
        piece.extend_from_slice(body);
        self.unsent += len;
        self.counted += len;
        Ok(())
    }

    /// Queues a whole frame, counted in the slot, without a copy if it is large.
    pub fn adopt(&mut self, frame: Vec<u8>) -> Result<(), TryReserveError> {
        if frame.len() < PIECE / 4 {
            return self.append(&frame, &[]);
        }
        self.unsent += frame.len();
        self.counted += frame.len();
        if self.front.is_empty() {
            self.front = frame;
        } else {
            self.rest.try_reserve(1)?;
            self.rest.push_back(frame);
        }
        Ok(())
    }

    /// Queues what is not counted: control frames, a response. `write` adds to the end of a piece.
    pub fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), TryReserveError> {
        let piece = self.room_for(256)?;
        let before = piece.len();
        write(piece);
        let added = piece.len() - before;
        self.unsent += added;
        Ok(())
    }

    /// The piece in which the next `len` bytes belong.
    fn room_for(&mut self, len: usize) -> Result<&mut Vec<u8>, TryReserveError> {
        let last = self.rest.back_mut().unwrap_or(&mut self.front);
        let fits = last.is_empty() || last.len() + len <= PIECE;
        if fits {
            // Looked up anew: the borrow of `last` would last to the end of the function.
            let last = self.rest.back_mut().unwrap_or(&mut self.front);
            last.try_reserve(len)?;
            return Ok(last);
        }
        let mut piece = Vec::new();
        piece.try_reserve(len.max(4096))?;
        self.rest.try_reserve(1)?;
        self.rest.push_back(piece);
        Ok(self.rest.back_mut().unwrap_or(&mut self.front))
    }

    /// The bytes that leave first.
    pub fn first_piece(&self) -> &[u8] {
        &self.front[self.sent..]
    }

    /// Hands to the kernel what it takes; `first` is its answer to the first piece, if that was
    /// offered already. Answers how many bytes it took, and how many of these were counted in the
    /// slot; an error says that it takes no more.
    pub fn send(
        &mut self,
        poller: &mut Poller,
        token: Token,
        mut first: Option<io::Result<usize>>,
    ) -> (usize, usize, io::Result<()>) {
        let (before, counted_before) = (self.unsent, self.counted);
        let mut answer = Ok(());
        while self.unsent > 0 {
            let sent = if let Some(answer) = first.take() {
                answer
            } else if self.rest.is_empty() {
                poller.send(token, &self.front[self.sent..])
            } else {
                let pieces = std::iter::once(&self.front[self.sent..])
                    .chain(self.rest.iter().map(Vec::as_slice));
                let mut gathered = [IoSlice::new(&[]); GATHERED];
                let mut count = 0;
                for (slice, piece) in gathered.iter_mut().zip(pieces) {
                    *slice = IoSlice::new(piece);
                    count += 1;
                }
                poller.send_vectored(token, &gathered[..count])
            };
            match sent {
                Ok(count) => self.advance(count),
                Err(error) => {
                    answer = Err(error);
                    break;
                }
            }
        }
        (before - self.unsent, counted_before - self.counted, answer)
    }

    /// Drops `count` bytes that have left.
    fn advance(&mut self, count: usize) {
        self.unsent -= count;
        // Which of the bytes are counted is not noted; the last counted one leaves with the rest.
        self.counted = self.counted.min(self.unsent);
        self.sent += count;
        while self.sent >= self.front.len() && self.sent > 0 {
            self.sent -= self.front.len();
            let next = self.rest.pop_front();
            if self.front.capacity() > PIECE {
                self.spent.push(std::mem::take(&mut self.front));
            }
            match next {
                Some(next) => self.front = next,
                None => self.front.clear(),
            }
        }
    }

    /// The memory of a large piece that has left.
    pub fn take_spent(&mut self) -> Option<Vec<u8>> {
        self.spent.pop()
    }

    /// Forgets everything, and keeps at most one piece's memory for the next use.
    pub fn clear(&mut self) {
        if self.front.capacity() > PIECE {
            self.front = Vec::new();
        }
        self.front.clear();
        if self.rest.capacity() > 0 {
            self.rest = VecDeque::new();
        }
        self.spent = Vec::new();
        (self.sent, self.unsent, self.counted, self.pings) = (0, 0, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(outbox: &mut Outbox, step: usize) -> Vec<u8> {
        let mut left = Vec::new();
        while !outbox.is_empty() {
            let mut all = outbox.front[outbox.sent..].to_vec();
            outbox
                .rest
                .iter()
                .for_each(|piece| all.extend_from_slice(piece));
            let count = step.min(all.len());
            left.extend_from_slice(&all[..count]);
            outbox.advance(count);
        }
        left
    }

    #[test]
    fn bytes_leave_in_the_order_in_which_they_came_however_they_are_cut() {
        let large: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
        for step in [1000, 65_536, 100_000, 1_000_000] {
            let mut outbox = Outbox::default();
            let mut expected = Vec::new();
            for n in 0..9000u32 {
                outbox.append(b"head", &n.to_be_bytes()).unwrap();
                expected.extend_from_slice(b"head");
                expected.extend_from_slice(&n.to_be_bytes());
            }
            outbox.adopt(large.clone()).unwrap();
            expected.extend_from_slice(&large);
            outbox.write(|out| out.extend_from_slice(b"end")).unwrap();
            expected.extend_from_slice(b"end");

            assert_eq!(outbox.counted(), expected.len() - 3);
            assert_eq!(drain(&mut outbox, step), expected);
            assert_eq!((outbox.counted(), outbox.is_empty()), (0, true));
        }
    }

    #[test]
    fn a_cleared_outbox_keeps_little_memory() {
        let mut outbox = Outbox::default();
        outbox.adopt(vec![0; 1 << 20]).unwrap();
        outbox.clear();
        assert!(outbox.is_empty() && outbox.front.capacity() <= PIECE);
    }
}
