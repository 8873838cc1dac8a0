//! The bytes queued for a connection that the kernel has not accepted yet.

use std::collections::{TryReserveError, VecDeque};
use std::io::{self, IoSlice};

use crate::net::{Poller, Token, memory};
use crate::proto::{FrameHead, MAX_CONTROL_FRAME};
use crate::server::websocket::segment::{MAX_SEGMENT_BYTES, Segment};

/// Maximum number of segments that are sent by one system call.
const MAX_IOVECS: usize = 16;

/// The number of pings that are counted in the slot.
#[derive(Clone, Copy, Default)]
struct Pings {
    /// In `control`.
    queued: u32,
    /// In the segments, up to where the last control frame ends.
    inserted: u32,
    /// Accepted by the kernel, and not yet uncounted.
    sent: u32,
}

/// A queue of bytes. Control frames are sent at the next frame boundary.
#[derive(Default)]
pub(crate) struct Outbox {
    front: Segment,
    /// How many bytes of `front` have been sent.
    sent: usize,
    /// The segments after the first.
    rest: VecDeque<Segment>,
    /// The memory of large segments that have been sent.
    sent_buffers: Vec<Vec<u8>>,
    unsent: usize,
    /// How many of the unsent bytes are counted in the websocket's slot.
    counted: usize,
    /// Control frames that are not yet inserted in the segments.
    control: Vec<u8>,
    /// The application's pings.
    pings: Pings,
    /// Segments were added since [`Outbox::take_growth`] was last called.
    has_grown: bool,
    /// Where the last inserted control frame, or the last bytes that are no whole frames, end, counted from
    /// the beginning of `front`.
    control_end: usize,
}

impl Outbox {
    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.unsent == 0
    }

    /// Returns how many bytes of memory it holds.
    pub(crate) fn held_bytes(&self) -> usize {
        let front = self.front.bytes.capacity();
        let front_unsent = self.front.bytes.len() - self.sent;
        let rest = self.unsent.saturating_sub(front_unsent);
        let last = if self.rest.is_empty() {
            0
        } else {
            MAX_SEGMENT_BYTES
        };
        front + rest + last
    }

    /// Returns how many bytes have not been sent.
    pub(crate) fn unsent(&self) -> usize {
        self.unsent
    }

    /// Whether it holds much more memory than when this was last asked.
    #[inline]
    pub(crate) fn take_growth(&mut self) -> bool {
        std::mem::take(&mut self.has_grown)
    }

    /// Returns how many of the unsent bytes are counted in the slot.
    pub(crate) fn counted(&self) -> usize {
        self.counted
    }

    /// Queues a frame, counted in the slot, if that needs neither memory nor another segment.
    #[inline]
    pub(crate) fn append_short(&mut self, head: &FrameHead, body: &[u8]) -> bool {
        let len = head.as_slice().len() + body.len();
        let front = &mut self.front.bytes;
        if front.len() + len > front.capacity().min(MAX_SEGMENT_BYTES) || !self.rest.is_empty() {
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
        let segment = self.segment_for(len)?;
        segment.bytes.extend_from_slice(head);
        segment.bytes.extend_from_slice(body);
        self.unsent += len;
        self.counted += len;
        Ok(())
    }

    /// Queues a frame of `len` bytes, counted in the slot, which `write` appends.
    pub(crate) fn append_with(
        &mut self,
        len: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), TryReserveError> {
        let segment = self.segment_for(len)?;
        write(&mut segment.bytes);
        self.unsent += len;
        self.counted += len;
        Ok(())
    }

    /// Queues a whole frame, counted in the slot, without a copy if it is large.
    pub(crate) fn append_owned(&mut self, frame: Vec<u8>) -> Result<(), TryReserveError> {
        if frame.len() < MAX_SEGMENT_BYTES / 2 {
            return self.append(&frame, &[]);
        }
        let len = frame.len();
        self.has_grown = true;
        if self.front.bytes.is_empty() {
            self.front = Segment::new(frame);
        } else {
            self.rest.try_reserve(1)?;
            self.rest.push_back(Segment::new(frame));
        }
        self.unsent += len;
        self.counted += len;
        Ok(())
    }

    /// Declares that what was queued last is not a whole frame, or no frame at all: no control frame may be
    /// inserted in it, nor before it.
    pub(crate) fn mark_opaque(&mut self) {
        self.rest
            .back_mut()
            .unwrap_or(&mut self.front)
            .mark_opaque();
        let segments = std::iter::once(&self.front).chain(&self.rest);
        self.control_end = segments.map(|segment| segment.bytes.len()).sum();
    }

    /// Queues what is not counted: a close frame, a response. `write` appends at most `len` bytes.
    pub(crate) fn append_uncounted(
        &mut self,
        len: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), TryReserveError> {
        let segment = self.segment_for(len)?;
        let before = segment.bytes.len();
        write(&mut segment.bytes);
        let added = segment.bytes.len() - before;
        self.unsent += added;
        Ok(())
    }

    /// Queues a ping or a pong, of which `counted` bytes are counted in the slot, ahead of all frames that
    /// are wholly unsent (RFC 6455 5.5.3: as soon as is practical).
    pub(crate) fn append_control(
        &mut self,
        counted: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), TryReserveError> {
        if self.unsent == 0 {
            self.append_uncounted(MAX_CONTROL_FRAME, write)?;
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

    /// Notes that the control frame that was queued last is a ping of the application.
    pub(crate) fn count_ping(&mut self) {
        if self.control.is_empty() {
            self.pings.inserted += 1;
        } else {
            self.pings.queued += 1;
        }
    }

    /// Returns how many of the application's pings are still counted in the slot for this outbox.
    pub(crate) fn pings(&self) -> u32 {
        self.pings.queued + self.pings.inserted + self.pings.sent
    }

    /// Returns how many of them have been sent since the last call.
    pub(crate) fn take_sent_pings(&mut self) -> u32 {
        self.note_sent_pings();
        std::mem::take(&mut self.pings.sent)
    }

    fn note_sent_pings(&mut self) {
        if self.sent >= self.control_end {
            self.pings.sent += std::mem::take(&mut self.pings.inserted);
        }
    }

    /// Returns the segment to which the next `len` bytes are appended.
    fn segment_for(&mut self, len: usize) -> Result<&mut Segment, TryReserveError> {
        let last = self.rest.back_mut().unwrap_or(&mut self.front);
        let fits = last.bytes.is_empty() || last.bytes.len() + len <= MAX_SEGMENT_BYTES;
        if fits {
            // Borrowed again: the borrow of `last` would last to the end of the function.
            let last = self.rest.back_mut().unwrap_or(&mut self.front);
            memory::try_reserve(&mut last.bytes, len)?;
            return Ok(last);
        }
        let mut segment = Vec::new();
        memory::try_reserve_exact(&mut segment, len.max(MAX_SEGMENT_BYTES))?;
        self.rest.try_reserve(1)?;
        self.rest.push_back(Segment::new(segment));
        self.has_grown = true;
        Ok(self.rest.back_mut().unwrap_or(&mut self.front))
    }

    /// Drops everything behind the frame that is being sent; the first `committed` unsent bytes can no longer change.
    /// Returns how many of the dropped bytes, and of the dropped pings, are counted in the slot, and whether
    /// anything was dropped.
    pub(crate) fn drop_unstarted(&mut self, committed: usize) -> (usize, u32, bool) {
        self.note_sent_pings();
        let (unsent, counted) = (self.unsent, self.counted);
        let from = self.sent + committed;
        let (mut before, mut number) = (0, 0);
        let segments = 1 + self.rest.len();
        let end = loop {
            let segment = match number {
                0 => &mut self.front,
                _ => &mut self.rest[number - 1],
            };
            let len = segment.bytes.len();
            if from <= before + len || number + 1 == segments {
                let at = segment.boundary_from(from.saturating_sub(before));
                segment.bytes.truncate(at);
                if segment.bytes.capacity() > MAX_SEGMENT_BYTES {
                    segment.bytes.shrink_to(at);
                }
                break before + at;
            }
            before += len;
            number += 1;
        };
        self.rest.truncate(number);
        self.control = Vec::new();
        let mut dropped_pings = std::mem::take(&mut self.pings.queued);
        if self.control_end > end {
            self.control_end = end;
            dropped_pings += std::mem::take(&mut self.pings.inserted);
        }
        self.unsent = end - self.sent;
        self.counted = counted.min(self.unsent);
        (counted - self.counted, dropped_pings, self.unsent < unsent)
    }

    /// Returns the bytes that are sent next, unless control frames come before them.
    pub(crate) fn first_segment(&self) -> Option<&[u8]> {
        let first = &self.front.bytes[self.sent..];
        (self.control.is_empty() && !first.is_empty()).then_some(first)
    }

    /// Sends what the kernel accepts. `first` is the result for the first segment, if that was sent already.
    /// Returns how many bytes were accepted, and how many of these were counted in the slot. The error says
    /// why no more was.
    pub(crate) fn send(
        &mut self,
        poller: &mut Poller,
        token: Token,
        mut first: Option<io::Result<usize>>,
    ) -> (usize, usize, io::Result<()>) {
        let (before, counted_before) = (self.unsent, self.counted);
        let mut result = Ok(());
        while self.unsent > 0 {
            let sent = match first.take() {
                Some(result) => result,
                None => self.send_once(poller, token),
            };
            match sent {
                Ok(count) => self.advance(count),
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        (before - self.unsent, counted_before - self.counted, result)
    }

    #[inline]
    fn send_once(&mut self, poller: &mut Poller, token: Token) -> io::Result<usize> {
        if !self.control.is_empty() {
            self.insert_control(poller.committed(token))?;
        }
        if self.rest.is_empty() {
            return poller.send(token, &self.front.bytes[self.sent..]);
        }
        self.send_vectored_segments(poller, token)
    }

    fn send_vectored_segments(&self, poller: &mut Poller, token: Token) -> io::Result<usize> {
        let segments = std::iter::once(&self.front.bytes[self.sent..])
            .chain(self.rest.iter().map(|segment| segment.bytes.as_slice()));
        let mut gathered = [IoSlice::new(&[]); MAX_IOVECS];
        let mut count = 0;
        for (slice, segment) in gathered.iter_mut().zip(segments) {
            *slice = IoSlice::new(segment);
            count += 1;
        }
        poller.send_vectored(token, &gathered[..count])
    }

    /// Inserts the control frames at the first frame boundary behind the `committed` bytes, which can no
    /// longer change, and behind earlier control frames.
    #[cold]
    fn insert_control(&mut self, committed: usize) -> Result<(), TryReserveError> {
        self.rest.try_reserve(1)?;
        self.note_sent_pings();
        let mut from = self.control_end.max(self.sent + committed);
        let mut passed = 0;
        let mut number = 0;
        for segment in std::iter::once(&self.front).chain(&self.rest) {
            let len = segment.bytes.len();
            if from <= len || number == self.rest.len() {
                break;
            }
            from -= len;
            passed += len;
            number += 1;
        }
        let segment = match number.checked_sub(1) {
            None => &mut self.front,
            Some(at) => &mut self.rest[at],
        };
        let at = segment.boundary_from(from);
        let end = passed + at + self.control.len();
        if segment.has_room_for(&self.control, at) {
            segment.insert(&self.control, at)?;
            self.control.clear();
        } else {
            let control = Segment::new(std::mem::take(&mut self.control));
            let follows = usize::from(at > 0);
            if number + follows > 0 {
                self.rest.insert(number + follows - 1, control);
            } else {
                let front = std::mem::replace(&mut self.front, control);
                self.rest.push_front(front);
            }
        }
        self.control_end = end;
        self.pings.inserted += std::mem::take(&mut self.pings.queued);
        Ok(())
    }

    /// Drops `count` bytes that have been sent.
    fn advance(&mut self, count: usize) {
        let count = count.min(self.unsent);
        self.unsent -= count;
        // Which bytes are counted is not known; they are assumed to be the last ones.
        self.counted = self.counted.min(self.unsent);
        self.sent += count;
        while self.sent >= self.front.bytes.len() && self.sent > 0 {
            self.sent -= self.front.bytes.len();
            self.control_end = self.control_end.saturating_sub(self.front.bytes.len());
            let next = self.rest.pop_front();
            if self.front.bytes.capacity() > MAX_SEGMENT_BYTES {
                self.sent_buffers
                    .push(std::mem::take(&mut self.front.bytes));
            }
            match next {
                Some(next) => self.front = next,
                None => self.front.clear(),
            }
        }
    }

    /// Returns the memory of a large segment that has been sent.
    pub(crate) fn take_sent_buffer(&mut self) -> Option<Vec<u8>> {
        self.sent_buffers.pop()
    }

    /// Drops all bytes, and retains at most the memory of one segment for the next use.
    pub(crate) fn clear(&mut self) {
        if self.front.bytes.capacity() > MAX_SEGMENT_BYTES {
            self.front = Segment::default();
        }
        self.front.clear();
        if self.rest.capacity() > 0 {
            self.rest = VecDeque::new();
        }
        if self.sent_buffers.capacity() > 0 {
            self.sent_buffers = Vec::new();
        }
        if self.control.capacity() > 0 {
            self.control = Vec::new();
        }
        (self.sent, self.unsent, self.counted) = (0, 0, 0);
        (self.pings, self.control_end) = (Pings::default(), 0);
        self.has_grown = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{self, Kind};

    /// Sends everything, `step` bytes at a time. Returns the bytes. Each time, the next `committed` bytes can
    /// no longer change.
    fn drain(outbox: &mut Outbox, step: usize, committed: usize) -> Vec<u8> {
        let mut sent = Vec::new();
        while !outbox.is_empty() {
            sent.extend_from_slice(&take(outbox, step, committed));
        }
        sent
    }

    fn take(outbox: &mut Outbox, step: usize, committed: usize) -> Vec<u8> {
        if !outbox.control.is_empty() {
            outbox.insert_control(committed).unwrap();
        }
        let mut all = outbox.front.bytes[outbox.sent..].to_vec();
        outbox
            .rest
            .iter()
            .for_each(|segment| all.extend_from_slice(&segment.bytes));
        all.truncate(step);
        outbox.advance(all.len());
        all
    }

    /// Sends so many bytes of messages, before any control frame.
    fn take_messages(outbox: &mut Outbox, mut len: usize) -> Vec<u8> {
        let mut sent = Vec::new();
        while len > 0 {
            let front = &outbox.front.bytes[outbox.sent..];
            let count = len.min(front.len());
            sent.extend_from_slice(&front[..count]);
            outbox.advance(count);
            len -= count;
        }
        sent
    }

    fn queue_message(outbox: &mut Outbox, body: &[u8]) {
        let head = proto::data_head(Kind::Binary, body.len() as u64);
        outbox.append(head.as_slice(), body).unwrap();
    }

    fn queue_ping(outbox: &mut Outbox, payload: &[u8]) {
        outbox
            .append_control(0, |out| proto::write_ping(out, payload))
            .unwrap();
    }

    /// Returns the first byte of each frame, with the first of its payload.
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
    fn bytes_are_sent_in_order_however_they_are_cut() {
        let large: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
        for step in [1000, 65_536, 100_000, 1_000_000] {
            let mut outbox = Outbox::default();
            let mut expected = Vec::new();
            for n in 0..9000u32 {
                outbox.append(b"head", &n.to_be_bytes()).unwrap();
                expected.extend_from_slice(b"head");
                expected.extend_from_slice(&n.to_be_bytes());
            }
            outbox.append_owned(large.clone()).unwrap();
            expected.extend_from_slice(&large);
            outbox
                .append_uncounted(3, |out| out.extend_from_slice(b"end"))
                .unwrap();
            expected.extend_from_slice(b"end");

            assert_eq!(outbox.counted(), expected.len() - 3);
            assert_eq!(drain(&mut outbox, step, 0), expected);
            assert_eq!((outbox.counted(), outbox.is_empty()), (0, true));
        }
    }

    #[test]
    fn a_ping_is_sent_at_the_next_frame_boundary_wherever_the_kernel_stopped() {
        for sent_first in [0, 1, 2, 5, 7, 8, 20, 69_999, 70_000, 70_015, 70_020] {
            for large in [false, true] {
                let mut outbox = Outbox::default();
                let mut sizes = vec![5, 6];
                sizes.extend(if large { [70_000, 3] } else { [3, 4] });
                for &size in &sizes {
                    queue_message(&mut outbox, &vec![7; size]);
                }
                let all = outbox.unsent;
                let first = take(&mut outbox, sent_first, 0);
                queue_ping(&mut outbox, b"1");
                // The second is queued when the first has been inserted.
                let mut sent = [first, take(&mut outbox, 1, 0)].concat();
                queue_ping(&mut outbox, b"2");
                let close = |out: &mut Vec<u8>| proto::write_close(out, None, b"");
                outbox.append_uncounted(MAX_CONTROL_FRAME, close).unwrap();
                sent.extend(drain(&mut outbox, 3, 0));

                let mut expected = Vec::new();
                let mut begun = 0;
                for &size in &sizes {
                    if begun >= sent_first.min(all) && !expected.contains(&(0x89, Some(b'1'))) {
                        expected.extend([(0x89, Some(b'1')), (0x89, Some(b'2'))]);
                    }
                    expected.push((0x82, Some(7)));
                    begun += proto::data_head(Kind::Binary, size as u64).as_slice().len() + size;
                }
                if !expected.contains(&(0x89, Some(b'1'))) {
                    expected.extend([(0x89, Some(b'1')), (0x89, Some(b'2'))]);
                }
                expected.push((0x88, None));
                assert_eq!(frames(&sent), expected, "{sent_first} {large}");
            }
        }
    }

    #[test]
    fn pings_are_sent_in_order() {
        let mut outbox = Outbox::default();
        queue_ping(&mut outbox, b"1");
        queue_message(&mut outbox, b"m");
        queue_ping(&mut outbox, b"2");
        let mut sent = take(&mut outbox, 1, 0);
        queue_ping(&mut outbox, b"3");
        sent.extend(drain(&mut outbox, 1, 0));
        let ping = |payload| (0x89, Some(payload));
        let expected = [ping(b'1'), ping(b'2'), ping(b'3'), (0x82, Some(b'm'))];
        assert_eq!(frames(&sent), expected);
    }

    #[test]
    fn pings_that_have_been_sent_are_reported_while_messages_wait() {
        let mut outbox = Outbox::default();
        let ping = |outbox: &mut Outbox| {
            queue_ping(outbox, b"1");
            outbox.count_ping();
        };
        ping(&mut outbox);
        queue_message(&mut outbox, &[7; 100]);
        assert_eq!((outbox.pings(), outbox.take_sent_pings()), (1, 0));
        take(&mut outbox, 3, 0);
        assert_eq!((outbox.take_sent_pings(), outbox.pings()), (1, 0));
        queue_message(&mut outbox, &[7; 100]);
        for _ in 0..2 {
            take(&mut outbox, 10, 0);
            ping(&mut outbox);
        }
        take(&mut outbox, 100, 0);
        assert_eq!((outbox.take_sent_pings(), outbox.pings()), (2, 0));
        ping(&mut outbox);
        drain(&mut outbox, 1000, 0);
        assert_eq!((outbox.take_sent_pings(), outbox.pings()), (1, 0));
    }

    #[test]
    fn committed_bytes_do_not_change() {
        for committed in [0, 1, 7, 8, 14, 70_000, 70_024] {
            let mut outbox = Outbox::default();
            for size in [5, 5, 70_000, 5] {
                queue_message(&mut outbox, &vec![7; size]);
            }
            let mut before = outbox.front.bytes.clone();
            outbox
                .rest
                .iter()
                .for_each(|segment| before.extend_from_slice(&segment.bytes));
            queue_ping(&mut outbox, b"1");
            let sent = drain(&mut outbox, usize::MAX, committed);
            assert!(sent.starts_with(&before[..committed]));
            assert_eq!(frames(&sent).len(), 5);
        }
    }

    #[test]
    fn no_control_frame_stands_in_a_response_or_in_the_rest_of_a_frame() {
        let mut outbox = Outbox::default();
        let response = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";
        outbox
            .append_uncounted(response.len(), |out| out.extend_from_slice(response))
            .unwrap();
        outbox.mark_opaque();
        queue_message(&mut outbox, b"hello");
        queue_ping(&mut outbox, b"1");
        let sent = drain(&mut outbox, 1, 0);
        assert!(sent.starts_with(response));
        let expected = [(0x89, Some(b'1')), (0x82, Some(b'h'))];
        assert_eq!(frames(&sent[response.len()..]), expected);

        outbox.append(b"", b"rest").unwrap();
        outbox.mark_opaque();
        queue_ping(&mut outbox, b"2");
        assert_eq!(drain(&mut outbox, 1, 0), b"rest\x89\x012");
    }

    #[test]
    fn no_control_frame_stands_between_a_page_and_the_response_to_a_handshake() {
        for len in [10, MAX_SEGMENT_BYTES - 300, MAX_SEGMENT_BYTES + 1, 1 << 20] {
            let mut outbox = Outbox::default();
            let page = vec![b'p'; len];
            let response = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";
            for response in [&page[..], response] {
                outbox
                    .append_uncounted(response.len(), |out| out.extend_from_slice(response))
                    .unwrap();
                outbox.mark_opaque();
            }
            let mut sent = take(&mut outbox, 5, 0);
            queue_message(&mut outbox, b"hello");
            queue_ping(&mut outbox, b"1");
            sent.extend(drain(&mut outbox, 1000, 0));
            assert!(sent.starts_with(&[&page[..], response].concat()), "{len}");
            let expected = [(0x89, Some(b'1')), (0x82, Some(b'h'))];
            assert_eq!(frames(&sent[len + response.len()..]), expected);
        }
    }

    #[test]
    fn a_large_frame_is_not_moved_for_a_ping() {
        let mut outbox = Outbox::default();
        let mut frame = proto::data_head(Kind::Binary, 1 << 20).as_slice().to_vec();
        frame.resize(10 + (1 << 20), 7);
        let address = frame.as_ptr();
        outbox.append_owned(frame).unwrap();
        queue_ping(&mut outbox, b"1");
        outbox.insert_control(0).unwrap();
        assert_eq!(outbox.rest[0].bytes.as_ptr(), address);
        outbox.advance(100);
        queue_ping(&mut outbox, b"2");
        outbox.insert_control(0).unwrap();
        assert_eq!(outbox.front.bytes.as_ptr(), address);
        assert_eq!(outbox.rest[0].bytes, b"\x89\x012");
    }

    #[test]
    fn a_cleared_outbox_keeps_little_memory() {
        let mut outbox = Outbox::default();
        outbox.append_owned(vec![0; 1 << 20]).unwrap();
        outbox.clear();
        assert!(outbox.is_empty() && outbox.front.bytes.capacity() <= MAX_SEGMENT_BYTES);
    }

    #[test]
    fn only_the_frame_that_is_being_sent_survives_a_drop() {
        for messages in [1, 3, 400] {
            for sent in [0, 1, 500, 1004, 1005, 150_000] {
                for committed in [0, 700, 80_000] {
                    let mut outbox = Outbox::default();
                    for n in 0..messages {
                        queue_message(&mut outbox, &[n as u8; 1000]);
                    }
                    queue_ping(&mut outbox, b"p");
                    outbox.count_ping();
                    let total = messages * 1004;
                    if sent + committed > total {
                        continue;
                    }
                    let before = take_messages(&mut outbox, sent);
                    let counted = outbox.counted();
                    let (bytes, pings, dropped) = outbox.drop_unstarted(committed);
                    // Up to the end of the frame in which the last byte is that cannot change.
                    let kept = (sent + committed).next_multiple_of(1004);
                    assert_eq!(
                        outbox.unsent(),
                        kept - sent,
                        "{messages} {sent} {committed}"
                    );
                    assert_eq!(
                        (bytes + outbox.counted(), pings, dropped),
                        (counted, 1, true)
                    );
                    assert!(outbox.counted() <= outbox.unsent());
                    outbox
                        .append_uncounted(4, |out| proto::write_close(out, Some(1013), b""))
                        .unwrap();
                    let all = [before, drain(&mut outbox, 10_000, 0)].concat();
                    let frames = frames(&all);
                    assert_eq!(frames.len(), kept / 1004 + 1);
                    assert_eq!(frames.last(), Some(&(0x88, Some((1013 >> 8) as u8))));
                }
            }
        }
    }

    #[test]
    fn what_was_counted_for_a_dropped_queue_is_what_it_held() {
        let mut outbox = Outbox::default();
        for _ in 0..200 {
            queue_message(&mut outbox, &[0; 1000]);
        }
        assert!(outbox.take_growth() && !outbox.take_growth());
        assert!((200_000..400_000).contains(&outbox.held_bytes()));
        assert_eq!(outbox.drop_unstarted(0), (200 * 1004, 0, true));
        assert!(outbox.held_bytes() <= 2 * MAX_SEGMENT_BYTES);
        assert_eq!(outbox.drop_unstarted(0), (0, 0, false));
    }
}
