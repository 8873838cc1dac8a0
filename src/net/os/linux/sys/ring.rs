//! io_uring: requests to the kernel, their completions, and the buffers that it fills.
//!
//! What is unsafe is memory that the kernel uses asynchronously. There are two kinds: buffers, which the ring
//! owns until no request is in flight, and bytes borrowed by [`Ring::send_all`], which does not return before
//! the kernel has finished with them.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use io_uring::types::{BufRingEntry, CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode, squeue};

/// Maximum number of requests that one system call submits.
const SUBMISSION_ENTRIES: u32 = 256;

/// Size of the completion queue; the kernel stores further completions elsewhere.
const COMPLETION_ENTRIES: u32 = 4096;

/// The id of the only buffer group.
const BUFFER_GROUP: u16 = 0;

/// `IOU_PBUF_RING_INC`: several requests fill one buffer, one after the other.
const INCREMENTAL: u16 = 2;

/// The user data of a request whose completion is ignored.
pub(crate) const IGNORED: u64 = u64::MAX;

/// A bit in the user data of a request that borrows bytes; the other bits are its index in the batch.
const BORROWS: u64 = 1 << 63;

const PAGE_BYTES: usize = 4096;

/// How long a wait gathers more completions after the first.
const GATHER_WAIT_US: u32 = 20;

/// Maximum number of times that requests are submitted again to a kernel that has no room for them.
const MAX_RETRIES: u32 = 1000;

/// Maximum number of waits for requests to complete when a ring is dropped, and the timeout of each.
const MAX_DROP_WAITS: u32 = 50;
const DROP_WAIT_TIMEOUT: Duration = Duration::from_millis(100);

/// The result of a request, or one of its results.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Completion {
    /// The user data of the request.
    pub user_data: u64,
    /// A count, or a negative error number.
    pub result: i32,
    /// Received bytes, which are valid until [`Ring::give_back`].
    pub piece: Option<u32>,
    /// Further completions of the request will follow.
    pub more: bool,
    /// The socket holds more data than was received.
    pub leaves_some: bool,
}

pub(crate) struct Ring {
    ring: IoUring,
    buffers: Buffers,
    /// Completions that arrived while others were waited for.
    set_aside: VecDeque<Completion>,
    /// Requests that are not finished.
    in_flight: usize,
    /// Those of them that borrow bytes.
    lent: usize,
    /// The results of the batch.
    sent: Vec<i32>,
    /// The kernel no longer accepts requests.
    broken: bool,
}

impl Ring {
    /// Creates a ring with `count` buffers, a power of two, of `size` bytes each. Only the
    /// calling thread may use and drop it: when a ring ends, the kernel interrupts a wait of its creator.
    ///
    /// # Errors
    ///
    /// The kernel is older than 6.1, or does not permit this thread to create a ring or to enter it.
    pub(crate) fn new(count: u16, size: u32) -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_cqsize(COMPLETION_ENTRIES)
            .setup_submit_all()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .build(SUBMISSION_ENTRIES)?;
        let buffers = Buffers::new(&ring, count, size)?;
        let mut ring = Self {
            ring,
            buffers,
            set_aside: VecDeque::new(),
            in_flight: 0,
            lent: 0,
            sent: Vec::new(),
            broken: false,
        };
        // A filter of system calls may permit one and not the other.
        ring.push(&opcode::Nop::new().build().user_data(IGNORED))?;
        ring.enter(1, None)?;
        ring.set_completions_aside();
        Ok(ring)
    }

    // ---- requests, which the next `enter` submits ----

    /// Receives until it is cancelled, fails, or no buffer is left.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>, user_data: u64) -> io::Result<()> {
        let entry = opcode::RecvMulti::new(Fd(socket.as_raw_fd()), BUFFER_GROUP).build();
        self.push(&entry.user_data(user_data))
    }

    /// Receives once.
    pub(crate) fn receive_once(
        &mut self,
        socket: BorrowedFd<'_>,
        user_data: u64,
    ) -> io::Result<()> {
        let nowhere = std::ptr::null_mut();
        let entry = opcode::Recv::new(Fd(socket.as_raw_fd()), nowhere, 0)
            .buf_group(BUFFER_GROUP)
            .build()
            .flags(squeue::Flags::BUFFER_SELECT);
        self.push(&entry.user_data(user_data))
    }

    /// Completes once, when a socket can be written to.
    pub(crate) fn watch_writability(
        &mut self,
        socket: BorrowedFd<'_>,
        user_data: u64,
    ) -> io::Result<()> {
        let entry = opcode::PollAdd::new(Fd(socket.as_raw_fd()), libc::POLLOUT as u32).build();
        self.push(&entry.user_data(user_data))
    }

    /// Completes each time that a descriptor becomes readable.
    pub(crate) fn watch(&mut self, descriptor: RawFd, user_data: u64) -> io::Result<()> {
        let entry = opcode::PollAdd::new(Fd(descriptor), libc::POLLIN as u32)
            .multi(true)
            .build();
        self.push(&entry.user_data(user_data))
    }

    /// Cancels the request with the user data `other`.
    pub(crate) fn cancel(&mut self, other: u64, user_data: u64) -> io::Result<()> {
        self.push(&opcode::AsyncCancel::new(other).build().user_data(user_data))
    }

    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        if self.ring.submission().is_full() {
            self.enter(0, Some(Duration::ZERO))?;
        }
        // SAFETY: the entry points to no memory, or to memory that is borrowed until it has completed.
        let pushed = unsafe { self.ring.submission().push(entry) };
        pushed.map_err(|_| io::Error::from(io::ErrorKind::ResourceBusy))?;
        self.in_flight += 1;
        Ok(())
    }

    // ---- submitting and waiting ----

    /// Submits all requests and collects completions, without waiting.
    pub(crate) fn poll(&mut self) -> io::Result<()> {
        let queue = self.ring.submission();
        if queue.is_empty() && !queue.taskrun() && !queue.cq_overflow() {
            return Ok(());
        }
        drop(queue);
        self.enter(0, None)
    }

    /// Submits all requests and waits for a completion, unless there is one, or for a signal handler. Then
    /// waits up to [`GATHER_WAIT_US`] for `expected` completions.
    pub(crate) fn wait(&mut self, expected: usize) -> io::Result<()> {
        if !self.set_aside.is_empty() {
            return self.poll();
        }
        let gathers = self.ring.params().is_feature_min_timeout();
        self.enter(if gathers { expected.max(1) } else { 1 }, None)
    }

    fn enter(&mut self, wanted: usize, timeout: Option<Duration>) -> io::Result<()> {
        if self.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let time = timeout.map(Timespec::from);
        let mut args = time.iter().fold(SubmitArgs::new(), SubmitArgs::timespec);
        if wanted > 1 {
            args = args.min_wait_usec(GATHER_WAIT_US);
        }
        let mut retries = 0;
        loop {
            let entered = self.submit(wanted, EnterFlags::GETEVENTS, &args);
            let done = self.ring.submission().is_empty();
            match entered {
                Ok(_) if done => return Ok(()),
                Ok(_) => (),
                Err(error) if is_transient(&error) && done => return Ok(()),
                Err(error) if is_transient(&error) && retries < MAX_RETRIES => {
                    // The kernel has no room for more while its completion queue is full.
                    self.set_completions_aside();
                    retries += 1;
                }
                Err(error) => {
                    // The requests left may name descriptors that will be reused.
                    self.broken = true;
                    return Err(error);
                }
            }
        }
    }

    fn submit(
        &mut self,
        wanted: usize,
        flags: EnterFlags,
        args: &SubmitArgs<'_, '_>,
    ) -> io::Result<usize> {
        let count = self.ring.submission().len() as u32;
        let flags = (flags | EnterFlags::EXT_ARG).bits();
        let submitter = self.ring.submitter();
        // SAFETY: EXT_ARG gives the type of `args`, which outlives the call, as does what it points to.
        // Entries point to no memory, or to memory that is borrowed until they have completed.
        unsafe { submitter.enter(count, wanted as u32, flags, Some(args)) }
    }

    fn set_completions_aside(&mut self) {
        while let Some(completion) = self.take() {
            self.set_aside.push_back(completion);
        }
    }

    /// Returns the next completion.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<Completion> {
        match self.set_aside.pop_front() {
            None => self.take(),
            set_aside => set_aside,
        }
    }

    #[inline]
    fn take(&mut self) -> Option<Completion> {
        loop {
            let entry = self.ring.completion().next()?;
            let completion = Completion {
                user_data: entry.user_data(),
                result: entry.result(),
                piece: self.buffers.take(&entry),
                more: cqueue::more(entry.flags()),
                leaves_some: cqueue::sock_nonempty(entry.flags()),
            };
            self.in_flight -= usize::from(!completion.more);
            if completion.user_data == IGNORED {
                continue;
            }
            if completion.user_data & BORROWS == 0 {
                return Some(completion);
            }
            self.lent -= 1;
            self.sent[(completion.user_data & !BORROWS) as usize] = completion.result;
        }
    }

    /// Stops submitting. Requests in flight end with the ring, unreported.
    pub(crate) fn give_up(&mut self) {
        self.broken = true;
    }

    /// Whether the kernel no longer accepts requests.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Sends each socket its bytes, many in one system call. Returns for each how many bytes were accepted,
    /// or a negative error number. It does not wait for room: what a socket does not accept at once is not
    /// sent.
    pub(crate) fn send_all(&mut self, batch: &[(BorrowedFd<'_>, &[u8])]) -> &[i32] {
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
        self.sent.clear();
        // A failing ring has not sent what it has not submitted.
        self.sent.resize(batch.len(), -libc::EAGAIN);
        let mut user_data = BORROWS;
        for chunk in batch.chunks(SUBMISSION_ENTRIES as usize) {
            for (socket, bytes) in chunk {
                let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                let entry = opcode::Send::new(Fd(socket.as_raw_fd()), bytes.as_ptr(), length)
                    .flags(flags)
                    .build()
                    .user_data(user_data);
                self.lent += usize::from(self.push(&entry).is_ok());
                user_data += 1;
            }
            self.wait_for_lent();
        }
        &self.sent
    }

    /// Submits all requests, and waits until the kernel has finished with all borrowed bytes.
    fn wait_for_lent(&mut self) {
        if !self.broken {
            // This completes the sends. Received data is better collected later, all at once. An error here
            // occurs again below.
            let _ = self.submit(0, EnterFlags::empty(), &SubmitArgs::new());
        }
        loop {
            self.set_completions_aside();
            if self.lent == 0 {
                return;
            }
            let entered = self.enter(1, None);
            // The kernel does not read memory of requests that were not submitted.
            if entered.is_err() && self.lent <= self.ring.submission().len() {
                self.lent = 0;
            }
        }
    }

    // ---- received bytes ----

    #[inline]
    pub(crate) fn received(&self, piece: u32) -> &[u8] {
        self.buffers.received(piece)
    }

    /// Returns a piece to the kernel.
    #[inline]
    pub(crate) fn give_back(&mut self, piece: u32) {
        self.buffers.give(piece);
    }
}

impl AsRawFd for Ring {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if !self.broken {
            self.cancel_all();
        }
        if self.in_flight > 0 {
            // The kernel may still write into them.
            self.buffers.leak();
        }
    }
}

impl Ring {
    /// Cancels all requests, and waits until they are finished.
    fn cancel_all(&mut self) {
        let mut waits = 0;
        let all = opcode::AsyncCancel2::new(CancelBuilder::any()).build();
        let mut result = self.push(&all.user_data(IGNORED));
        while result.is_ok() && self.in_flight > 0 && waits < MAX_DROP_WAITS {
            let before = self.in_flight;
            result = self.enter(1, Some(DROP_WAIT_TIMEOUT));
            while self.take().is_some() {}
            waits += u32::from(self.in_flight == before);
        }
    }
}

/// Whether the same call may succeed when it is repeated.
fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINTR | libc::ETIME | libc::EBUSY | libc::EAGAIN)
    )
}

/// Buffers that the kernel takes from a ring and fills, piece by piece, and which are returned to it when all
/// of their pieces were read.
///
/// Only as many are in use as were ever needed at once, so that little memory is touched.
struct Buffers {
    /// The ring of buffers that the kernel may fill, and behind it the buffers themselves.
    memory: Memory,
    size: usize,
    states: Vec<Buffer>,
    /// Number of buffers in use.
    used: u16,
    /// Number of buffers ever put into the ring: its tail.
    published: u16,
    pieces: Vec<Piece>,
    /// Free indices of `pieces`.
    free: Vec<u32>,
}

#[derive(Clone, Copy, Default)]
struct Buffer {
    /// How many bytes the kernel has filled.
    filled: u32,
    /// Pieces that were not returned.
    pieces: u32,
    /// The kernel does not fill it further.
    complete: bool,
}

/// A part of a buffer; one without a length is free.
#[derive(Clone, Copy, Default)]
struct Piece {
    buffer: u16,
    start: u32,
    length: u32,
}

impl Buffers {
    fn new(ring: &IoUring, count: u16, size: u32) -> io::Result<Self> {
        let size = size as usize;
        let memory = Memory::new(Self::entries_size(count.into()) + usize::from(count) * size)?;
        let address = memory.start.as_ptr() as u64;
        let submitter = ring.submitter();
        let register = |flags| {
            // SAFETY: the memory exists until no request is in flight, or is leaked.
            unsafe { submitter.register_buf_ring_with_flags(address, count, BUFFER_GROUP, flags) }
        };
        // Before Linux 6.12 each piece takes a whole buffer.
        register(INCREMENTAL).or_else(|_| register(0))?;
        let mut buffers = Self {
            memory,
            size,
            states: vec![Buffer::default(); count.into()],
            used: 0,
            published: 0,
            pieces: Vec::new(),
            free: Vec::new(),
        };
        buffers.use_more();
        Ok(buffers)
    }

    /// Returns the bytes of the ring: whole pages.
    fn entries_size(count: usize) -> usize {
        (count * size_of::<BufRingEntry>()).next_multiple_of(PAGE_BYTES)
    }

    /// Doubles the number of buffers in use.
    fn use_more(&mut self) {
        let used = (self.used * 2).clamp(2, self.states.len() as u16);
        (self.used..used).for_each(|buffer| self.publish(buffer));
        self.used = used;
    }

    /// Records a completion's use of buffers. Returns the piece that was filled.
    fn take(&mut self, entry: &cqueue::Entry) -> Option<u32> {
        if entry.result() == -libc::ENOBUFS {
            self.use_more();
        }
        let id = cqueue::buffer_select(entry.flags())?;
        let length = u32::try_from(entry.result()).unwrap_or(0);
        let buffer = &mut self.states[usize::from(id)];
        let start = buffer.filled;
        buffer.filled += length;
        buffer.complete = !cqueue::buffer_more(entry.flags());
        if length == 0 {
            self.publish_if_done(id);
            return None;
        }
        buffer.pieces += 1;
        let piece = Piece {
            buffer: id,
            start,
            length,
        };
        match self.free.pop() {
            Some(place) => {
                self.pieces[place as usize] = piece;
                Some(place)
            }
            None => {
                self.pieces.push(piece);
                Some(self.pieces.len() as u32 - 1)
            }
        }
    }

    fn received(&self, piece: u32) -> &[u8] {
        let piece = self.pieces[piece as usize];
        // SAFETY: the start is in a buffer.
        let start = unsafe { self.start(piece.buffer).add(piece.start as usize) };
        // SAFETY: the kernel has filled a piece with a length, and writes only behind it.
        unsafe { std::slice::from_raw_parts(start, piece.length as usize) }
    }

    fn give(&mut self, place: u32) {
        let piece = std::mem::take(&mut self.pieces[place as usize]);
        if piece.length > 0 {
            self.free.push(place);
            self.states[usize::from(piece.buffer)].pieces -= 1;
            self.publish_if_done(piece.buffer);
        }
    }

    fn publish_if_done(&mut self, id: u16) {
        let buffer = self.states[usize::from(id)];
        if buffer.complete && buffer.pieces == 0 {
            self.publish(id);
        }
    }

    fn start(&self, id: u16) -> *mut u8 {
        let count = self.states.len();
        let offset = Self::entries_size(count) + usize::from(id) % count * self.size;
        // SAFETY: the memory holds `size` bytes for each of the buffers.
        unsafe { self.memory.start.as_ptr().add(offset) }
    }

    /// Puts a buffer into the ring.
    fn publish(&mut self, id: u16) {
        self.states[usize::from(id)] = Buffer::default();
        let entries: *mut BufRingEntry = self.memory.start.as_ptr().cast();
        let place = usize::from(self.published) & (self.states.len() - 1);
        let (start, size) = (self.start(id) as u64, self.size as u32);
        // SAFETY: the ring has as many entries as there are buffers; the kernel does not read this
        // one before the tail has passed it.
        let entry = unsafe { &mut *entries.add(place) };
        entry.set_addr(start);
        entry.set_len(size);
        entry.set_bid(id);
        self.published = self.published.wrapping_add(1);
        // SAFETY: the tail is in the ring's first entry, in a field that the setters above do not write.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(entries).cast_mut()) };
        tail.store(self.published, Ordering::Release);
    }

    fn leak(&mut self) {
        self.memory.leaked = true;
    }
}

/// Anonymous pages.
struct Memory {
    start: NonNull<u8>,
    length: usize,
    leaked: bool,
}

// SAFETY: no other pointer to the pages exists.
unsafe impl Send for Memory {}

impl Memory {
    fn new(length: usize) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let anywhere = std::ptr::null_mut();
        // SAFETY: new pages, at an address that the kernel chooses.
        let start = unsafe { libc::mmap(anywhere, length, protection, kind, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self {
            start,
            length,
            leaked: false,
        })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if !self.leaked {
            // SAFETY: these pages were mapped by `new`, and are no longer in use.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
        }
    }
}
