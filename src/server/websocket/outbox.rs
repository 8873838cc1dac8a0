//! What is queued for a client and not yet taken by the kernel.

use std::collections::{TryReserveError, VecDeque};
use std::io::{self, IoSlice};

use crate::net::{Poller, Token, memory};
use crate::proto::{FrameHead, MAX_CONTROL_FRAME};
use crate::server::websocket::piece::{PIECE, Piece};

/// At most so many pieces leave in one system call.
const GATHERED: usize = 16;

/// How many pings there are that are counted in the slot.
#[derive(Clone, Copy, Default)]
struct Pings {
    /// Without a place among the pieces.
    waiting: u32,
    /// Up to where the last control frame ends.
    placed: u32,
    /// Taken by the kernel, and not yet uncounted.
    left: u32,
}

/// A queue of bytes, written from its front. Control frames leave at the next frame border.
#[derive(Default)]
pub(crate) struct Outbox {
    front: Piece,
    /// How much of `front` has left.
    sent: usize,
    /// The pieces after the first.
    rest: VecDeque<Piece>,
    /// Large pieces that have left.
    spent: Vec<Vec<u8>>,
    unsent: usize,
    /// How many of the unsent bytes are counted in the websocket's slot.
    counted: usize,
    /// Control frames that have no place among the pieces yet.
    control: Vec<u8>,
    /// The application's pings.
    pings: Pings,
    /// Where the last control frame ends that was placed, or what is none of our frames, from the
    /// beginning of `front`.
    control_end: usize,
}

impl Outbox {
    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.unsent == 0
    }

    /// Bytes that are counted in the slot and have not left.
    pub(crate) fn counted(&self) -> usize {
        self.counted
    }

    /// Queues a frame, counted in the slot, if there is room for it where the last one was put.
    #[inline]
    pub(crate) fn append_short(&mut self, head: &FrameHead, body: &[u8]) -> bool {
        let len = head.as_slice().len() + body.len();
        let front = &mut self.front.bytes;
        if front.len() + len > front.capacity().min(PIECE) || !self.rest.is_empty() {
            return false;
        }
        head.write(front);
        front.extend_from_slice(body);
        self.unsent += len;
        self.counted += len;
        true
    }

    /// Queues a frame in two parts, counted in the slot.
    pub(crate) fn append(&mut self, head: &[u8], body: &[u8]) -> Result<(), TryReserveError> {
        let len = head.len() + body.len();
        let piece = self.room_for(len)?;
        piece.bytes.extend_from_slice(head);
        piece.bytes.extend_from_slice(body);
        self.unsent += len;
        self.counted += len;
        Ok(())
    }

    /// Queues a whole frame, counted in the slot, without a copy if it is large.
    pub(crate) fn adopt(&mut self, frame: Vec<u8>) -> Result<(), TryReserveError> {
        if frame.len() < PIECE / 4 {
            return self.append(&frame, &[]);
        }
        let len = frame.len();
        if self.front.bytes.is_empty() {
            self.front = Piece::of(frame);
        } else {
            self.rest.try_reserve(1)?;
            self.rest.push_back(Piece::of(frame));
        }
        self.unsent += len;
        self.counted += len;
        Ok(())
    }

    /// What was queued last is no whole frame, or none at all: no control frame may stand in it, nor
    /// before it.
    pub(crate) fn end_at_border(&mut self) {
        self.rest.back_mut().unwrap_or(&mut self.front).skip_all();
        let pieces = std::iter::once(&self.front).chain(&self.rest);
        self.control_end = pieces.map(|piece| piece.bytes.len()).sum();
    }

    /// Queues what is not counted: a close frame, a response. `write` adds at most `len` bytes to the end
    /// of a piece.
    pub(crate) fn write(
        &mut self,
        len: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), TryReserveError> {
        let piece = self.room_for(len)?;
        let before = piece.bytes.len();
        write(&mut piece.bytes);
        let added = piece.bytes.len() - before;
        self.unsent += added;
        Ok(())
    }

    /// Queues a ping or a pong, of which `counted` bytes are counted in the slot, ahead of all frames
    /// that have not been begun (RFC 6455 5.5.3: as soon as is practical).
    pub(crate) fn write_control(
        &mut self,
        counted: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), TryReserveError> {
        if self.unsent == 0 {
            self.write(MAX_CONTROL_FRAME, write)?;
            self.control_end = self.front.bytes.len();
        } else {
            memory::try_reserve(&mut self.control, MAX_CONTROL_FRAME)?;
            let before = self.control.len();
            write(&mut self.control);
            self.unsent += self.control.len() - before;
        }
        self.counted += counted;
        Ok(())
    }

    /// The control frame that was queued last is a ping of the application's.
    pub(crate) fn count_ping(&mut self) {
        if self.control.is_empty() {
            self.pings.placed += 1;
        } else {
            self.pings.waiting += 1;
        }
    }

    /// How many of them are counted in the slot for what is, or was, in here.
    pub(crate) fn pings(&self) -> u32 {
        self.pings.waiting + self.pings.placed + self.pings.left
    }

    /// How many of them have left since this was last asked.
    pub(crate) fn take_left_pings(&mut self) -> u32 {
        self.note_left_pings();
        std::mem::take(&mut self.pings.left)
    }

    fn note_left_pings(&mut self) {
        if self.sent >= self.control_end {
            self.pings.left += std::mem::take(&mut self.pings.placed);
        }
    }

    /// The piece in which the next `len` bytes belong.
    fn room_for(&mut self, len: usize) -> Result<&mut Piece, TryReserveError> {
        let last = self.rest.back_mut().unwrap_or(&mut self.front);
        let fits = last.bytes.is_empty() || last.bytes.len() + len <= PIECE;
        if fits {
            // Looked up anew: the borrow of `last` would last to the end of the function.
            let last = self.rest.back_mut().unwrap_or(&mut self.front);
            memory::try_reserve(&mut last.bytes, len)?;
            return Ok(last);
        }
        let mut piece = Vec::new();
        memory::try_reserve(&mut piece, len.max(4096))?;
        self.rest.try_reserve(1)?;
        self.rest.push_back(Piece::of(piece));
        Ok(self.rest.back_mut().unwrap_or(&mut self.front))
    }

    /// The bytes that leave first, if that is certain by now.
    pub(crate) fn first_piece(&self) -> Option<&[u8]> {
        let first = &self.front.bytes[self.sent..];
        (self.control.is_empty() && !first.is_empty()).then_some(first)
    }

    /// Hands to the kernel what it takes; `first` is its answer to the first piece, if that was
    /// offered already. Returns how many bytes it took, and how many of these were counted in the
    /// slot; an error says that it takes no more.
    pub(crate) fn send(
        &mut self,
        poller: &mut Poller,
        token: Token,
        mut first: Option<io::Result<usize>>,
    ) -> (usize, usize, io::Result<()>) {
        let (before, counted_before) = (self.unsent, self.counted);
        let mut answer = Ok(());
        while self.unsent > 0 {
            let sent = match first.take() {
                Some(answer) => answer,
                None => self.send_once(poller, token),
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

    #[inline]
    fn send_once(&mut self, poller: &mut Poller, token: Token) -> io::Result<usize> {
        if !self.control.is_empty() {
            self.place_control(poller.committed(token))?;
        }
        if self.rest.is_empty() {
            return poller.send(token, &self.front.bytes[self.sent..]);
        }
        self.send_gathered(poller, token)
    }

    fn send_gathered(&self, poller: &mut Poller, token: Token) -> io::Result<usize> {
        let pieces = std::iter::once(&self.front.bytes[self.sent..])
            .chain(self.rest.iter().map(|piece| piece.bytes.as_slice()));
        let mut gathered = [IoSlice::new(&[]); GATHERED];
        let mut count = 0;
        for (slice, piece) in gathered.iter_mut().zip(pieces) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        poller.send_vectored(token, &gathered[..count])
    }

    /// Puts the control frames at the first frame border behind the `committed` bytes that leave next
    /// as they are, and behind earlier control frames.
    #[cold]
    fn place_control(&mut self, committed: usize) -> Result<(), TryReserveError> {
        self.rest.try_reserve(1)?;
        self.note_left_pings();
        let mut from = self.control_end.max(self.sent + committed);
        let mut passed = 0;
        let mut number = 0;
        for piece in std::iter::once(&self.front).chain(&self.rest) {
            let len = piece.bytes.len();
            if from <= len || number == self.rest.len() {
                break;
            }
            from -= len;
            passed += len;
            number += 1;
        }
        let piece = match number.checked_sub(1) {
            None => &mut self.front,
            Some(at) => &mut self.rest[at],
        };
        let at = piece.border_from(from);
        let end = passed + at + self.control.len();
        if piece.takes(&self.control, at) {
            piece.insert(&self.control, at)?;
            self.control.clear();
        } else {
            let control = Piece::of(std::mem::take(&mut self.control));
            let follows = usize::from(at > 0);
            if number + follows > 0 {
                self.rest.insert(number + follows - 1, control);
            } else {
                let front = std::mem::replace(&mut self.front, control);
                self.rest.push_front(front);
            }
        }
        self.control_end = end;
        self.pings.placed += std::mem::take(&mut self.pings.waiting);
        Ok(())
    }

    /// Drops `count` bytes that have left.
    fn advance(&mut self, count: usize) {
        self.unsent -= count;
        // Which of the bytes are counted is not noted; the last counted one leaves with the rest.
        self.counted = self.counted.min(self.unsent);
        self.sent += count;
        while self.sent >= self.front.bytes.len() && self.sent > 0 {
            self.sent -= self.front.bytes.len();
            self.control_end = self.control_end.saturating_sub(self.front.bytes.len());
            let next = self.rest.pop_front();
            if self.front.bytes.capacity() > PIECE {
                self.spent.push(std::mem::take(&mut self.front.bytes));
            }
            match next {
                Some(next) => self.front = next,
                None => self.front.clear(),
            }
        }
    }

    /// The memory of a large piece that has left.
    pub(crate) fn take_spent(&mut self) -> Option<Vec<u8>> {
        self.spent.pop()
    }

    /// Forgets everything, and keeps at most one piece's memory for the next use.
    pub(crate) fn clear(&mut self) {
        if self.front.bytes.capacity() > PIECE {
            self.front = Piece::default();
        }
        self.front.clear();
        if self.rest.capacity() > 0 {
            self.rest = VecDeque::new();
        }
        if self.spent.capacity() > 0 {
            self.spent = Vec::new();
        }
        if self.control.capacity() > 0 {
            self.control = Vec::new();
        }
        (self.sent, self.unsent, self.counted) = (0, 0, 0);
        (self.pings, self.control_end) = (Pings::default(), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{self, Kind};

    /// What leaves when the kernel takes `step` bytes at a time, of which the next `committed` are
    /// settled each time.
    fn drain(outbox: &mut Outbox, step: usize, committed: usize) -> Vec<u8> {
        let mut left = Vec::new();
        while !outbox.is_empty() {
            left.extend_from_slice(&take(outbox, step, committed));
        }
        left
    }

    fn take(outbox: &mut Outbox, step: usize, committed: usize) -> Vec<u8> {
        if !outbox.control.is_empty() {
            outbox.place_control(committed).unwrap();
        }
        let mut all = outbox.front.bytes[outbox.sent..].to_vec();
        outbox
            .rest
            .iter()
            .for_each(|piece| all.extend_from_slice(&piece.bytes));
        all.truncate(step);
        outbox.advance(all.len());
        all
    }

    fn queue_message(outbox: &mut Outbox, body: &[u8]) {
        let head = proto::data_head(Kind::Binary, body.len() as u64);
        outbox.append(head.as_slice(), body).unwrap();
    }

    fn queue_ping(outbox: &mut Outbox, payload: &[u8]) {
        outbox
            .write_control(0, |out| proto::write_ping(out, payload))
            .unwrap();
    }

    /// The first byte of each frame, with the first of its payload.
    fn frames(mut bytes: &[u8]) -> Vec<(u8, Option<u8>)> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            let len = proto::frame_len(bytes).unwrap();
            let head = match bytes[1] {
                126 => 4,
                127 => 10,
                _ => 2,
            };
            frames.push((bytes[0], bytes[..len].get(head).copied()));
            bytes = &bytes[len..];
        }
        frames
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
            outbox
                .write(3, |out| out.extend_from_slice(b"end"))
                .unwrap();
            expected.extend_from_slice(b"end");

            assert_eq!(outbox.counted(), expected.len() - 3);
            assert_eq!(drain(&mut outbox, step, 0), expected);
            assert_eq!((outbox.counted(), outbox.is_empty()), (0, true));
        }
    }

    #[test]
    fn a_ping_leaves_at_the_next_frame_border_wherever_the_kernel_stopped() {
        for taken in [0, 1, 2, 5, 7, 8, 20, 69_999, 70_000, 70_015, 70_020] {
            for large in [false, true] {
                let mut outbox = Outbox::default();
                let mut sizes = vec![5, 6];
                sizes.extend(if large { [70_000, 3] } else { [3, 4] });
                for &size in &sizes {
                    queue_message(&mut outbox, &vec![7; size]);
                }
                let all = outbox.unsent;
                let first = take(&mut outbox, taken, 0);
                queue_ping(&mut outbox, b"1");
                // The second is queued when the first has its place.
                let mut left = [first, take(&mut outbox, 1, 0)].concat();
                queue_ping(&mut outbox, b"2");
                let close = |out: &mut Vec<u8>| proto::write_close(out, None, b"");
                outbox.write(MAX_CONTROL_FRAME, close).unwrap();
                left.extend(drain(&mut outbox, 3, 0));

                let mut expected = Vec::new();
                let mut begun = 0;
                for &size in &sizes {
                    if begun >= taken.min(all) && !expected.contains(&(0x89, Some(b'1'))) {
                        expected.extend([(0x89, Some(b'1')), (0x89, Some(b'2'))]);
                    }
                    expected.push((0x82, Some(7)));
                    begun += proto::data_head(Kind::Binary, size as u64).as_slice().len() + size;
                }
                if !expected.contains(&(0x89, Some(b'1'))) {
                    expected.extend([(0x89, Some(b'1')), (0x89, Some(b'2'))]);
                }
                expected.push((0x88, None));
                assert_eq!(frames(&left), expected, "{taken} {large}");
            }
        }
    }

    #[test]
    fn pings_leave_in_the_order_in_which_they_came() {
        let mut outbox = Outbox::default();
        queue_ping(&mut outbox, b"1");
        queue_message(&mut outbox, b"m");
        queue_ping(&mut outbox, b"2");
        let mut left = take(&mut outbox, 1, 0);
        queue_ping(&mut outbox, b"3");
        left.extend(drain(&mut outbox, 1, 0));
        let ping = |payload| (0x89, Some(payload));
        let expected = [ping(b'1'), ping(b'2'), ping(b'3'), (0x82, Some(b'm'))];
        assert_eq!(frames(&left), expected);
    }

    #[test]
    fn pings_that_have_left_are_told_while_messages_wait() {
        let mut outbox = Outbox::default();
        let ping = |outbox: &mut Outbox| {
            queue_ping(outbox, b"1");
            outbox.count_ping();
        };
        ping(&mut outbox);
        queue_message(&mut outbox, &[7; 100]);
        assert_eq!((outbox.pings(), outbox.take_left_pings()), (1, 0));
        take(&mut outbox, 3, 0);
        assert_eq!((outbox.take_left_pings(), outbox.pings()), (1, 0));
        queue_message(&mut outbox, &[7; 100]);
        for _ in 0..2 {
            take(&mut outbox, 10, 0);
            ping(&mut outbox);
        }
        take(&mut outbox, 100, 0);
        assert_eq!((outbox.take_left_pings(), outbox.pings()), (2, 0));
        ping(&mut outbox);
        drain(&mut outbox, 1000, 0);
        assert_eq!((outbox.take_left_pings(), outbox.pings()), (1, 0));
    }

    #[test]
    fn what_is_committed_leaves_as_it_is() {
        for committed in [0, 1, 7, 8, 14, 70_000, 70_024] {
            let mut outbox = Outbox::default();
            for size in [5, 5, 70_000, 5] {
                queue_message(&mut outbox, &vec![7; size]);
            }
            let mut before = outbox.front.bytes.clone();
            outbox
                .rest
                .iter()
                .for_each(|piece| before.extend_from_slice(&piece.bytes));
            queue_ping(&mut outbox, b"1");
            let left = drain(&mut outbox, usize::MAX, committed);
            assert!(left.starts_with(&before[..committed]));
            assert_eq!(frames(&left).len(), 5);
        }
    }

    #[test]
    fn no_control_frame_stands_in_a_response_or_in_the_rest_of_a_frame() {
        let mut outbox = Outbox::default();
        let response = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";
        outbox
            .write(response.len(), |out| out.extend_from_slice(response))
            .unwrap();
        outbox.end_at_border();
        queue_message(&mut outbox, b"hello");
        queue_ping(&mut outbox, b"1");
        let left = drain(&mut outbox, 1, 0);
        assert!(left.starts_with(response));
        let expected = [(0x89, Some(b'1')), (0x82, Some(b'h'))];
        assert_eq!(frames(&left[response.len()..]), expected);

        outbox.append(b"", b"rest").unwrap();
        outbox.end_at_border();
        queue_ping(&mut outbox, b"2");
        assert_eq!(drain(&mut outbox, 1, 0), b"rest\x89\x012");
    }

    #[test]
    fn no_control_frame_stands_between_a_page_and_the_response_to_a_handshake() {
        for len in [10, PIECE - 300, PIECE + 1, 1 << 20] {
            let mut outbox = Outbox::default();
            let page = vec![b'p'; len];
            let response = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";
            for answer in [&page[..], response] {
                outbox
                    .write(answer.len(), |out| out.extend_from_slice(answer))
                    .unwrap();
                outbox.end_at_border();
            }
            let mut left = take(&mut outbox, 5, 0);
            queue_message(&mut outbox, b"hello");
            queue_ping(&mut outbox, b"1");
            left.extend(drain(&mut outbox, 1000, 0));
            assert!(left.starts_with(&[&page[..], response].concat()), "{len}");
            let expected = [(0x89, Some(b'1')), (0x82, Some(b'h'))];
            assert_eq!(frames(&left[len + response.len()..]), expected);
        }
    }

    #[test]
    fn a_large_frame_is_not_moved_for_a_ping() {
        let mut outbox = Outbox::default();
        let mut frame = proto::data_head(Kind::Binary, 1 << 20).as_slice().to_vec();
        frame.resize(10 + (1 << 20), 7);
        let address = frame.as_ptr();
        outbox.adopt(frame).unwrap();
        queue_ping(&mut outbox, b"1");
        outbox.place_control(0).unwrap();
        assert_eq!(outbox.rest[0].bytes.as_ptr(), address);
        outbox.advance(100);
        queue_ping(&mut outbox, b"2");
        outbox.place_control(0).unwrap();
        assert_eq!(outbox.front.bytes.as_ptr(), address);
        assert_eq!(outbox.rest[0].bytes, b"\x89\x012");
    }

    #[test]
    fn a_cleared_outbox_keeps_little_memory() {
        let mut outbox = Outbox::default();
        outbox.adopt(vec![0; 1 << 20]).unwrap();
        outbox.clear();
        assert!(outbox.is_empty() && outbox.front.bytes.capacity() <= PIECE);
    }
}
