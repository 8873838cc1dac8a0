//! io_uring: requests to the kernel, their completions, and the buffers that it fills.
//!
//! What is unsafe about it is memory that the kernel uses while we run. There are two kinds: buffers
//! that this ring owns until nothing is in flight any more, and bytes that are lent to
//! [`Ring::send_all`], which does not return before the kernel has let go of them.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use io_uring::types::{BufRingEntry, CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode, squeue};

/// Requests that go to the kernel in one system call.
const REQUESTS: u32 = 256;

/// Completions that wait for us in the ring; more of them the kernel keeps elsewhere.
const COMPLETIONS: u32 = 4096;

/// The only group of buffers.
const GROUP: u16 = 0;

/// `IOU_PBUF_RING_INC`: a buffer is filled by one request after the other.
const PIECE_BY_PIECE: u16 = 2;

/// The mark of a request whose completion says nothing.
pub const SILENT: u64 = u64::MAX;

/// In the mark of a request that was lent bytes; the rest is its place in the batch.
const LENT: u64 = 1 << 63;

const PAGE: usize = 4096;

/// For so many microseconds a wait for one completion goes on for more of them.
const MOMENT: u32 = 20;

/// How often requests are offered again to a kernel that has no room for them.
const TRIES: u32 = 1000;

/// How long a ring that is dropped waits for the kernel to let go of it.
const PATIENCE: Duration = Duration::from_secs(5);

/// What has become of a request.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    /// The mark that the request was given.
    pub mark: u64,
    /// A count, or an error number below 0.
    pub result: i32,
    /// What was received; its bytes are ours until [`Ring::give_back`].
    pub piece: Option<u32>,
    /// More will come of this request.
    pub more: bool,
    /// The socket holds more than was received.
    pub leaves_some: bool,
}

pub struct Ring {
    ring: IoUring,
    buffers: Buffers,
    /// Completions that came while others were waited for.
    set_aside: VecDeque<Completion>,
    /// Requests that have not come to their end.
    in_flight: usize,
    /// Those of them that were lent bytes, and what became of the others of the batch.
    lent: usize,
    sent: Vec<i32>,
    /// The kernel does not take requests any more.
    broken: bool,
}

impl Ring {
    /// A ring that may fill so many buffers, a power of two, of so many bytes each. The thread that makes it
    /// is the only one that may use it and drop it: when a ring ends, the kernel interrupts whatever its
    /// maker waits in.
    ///
    /// # Errors
    ///
    /// The kernel is older than 6.1, or does not let this thread have a ring or enter it.
    pub fn new(count: u16, size: u32) -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_cqsize(COMPLETIONS)
            .setup_submit_all()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .build(REQUESTS)?;
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
        // A ring may be had and not be entered, where system calls are filtered.
        ring.push(&opcode::Nop::new().build().user_data(SILENT))?;
        ring.enter(1, None)?;
        ring.set_completions_aside();
        Ok(ring)
    }

    // ---- requests, which the next `enter` hands over ----

    /// Asks to receive again and again.
    pub fn receive(&mut self, socket: BorrowedFd<'_>, mark: u64) -> io::Result<()> {
        let entry = opcode::RecvMulti::new(Fd(socket.as_raw_fd()), GROUP).build();
        self.push(&entry.user_data(mark))
    }

    /// Asks to receive one piece.
    pub fn receive_once(&mut self, socket: BorrowedFd<'_>, mark: u64) -> io::Result<()> {
        let nowhere = std::ptr::null_mut();
        let entry = opcode::Recv::new(Fd(socket.as_raw_fd()), nowhere, 0)
            .buf_group(GROUP)
            .build()
            .flags(squeue::Flags::BUFFER_SELECT);
        self.push(&entry.user_data(mark))
    }

    /// Asks to be told once when a socket takes bytes.
    pub fn watch_writability(&mut self, socket: BorrowedFd<'_>, mark: u64) -> io::Result<()> {
        let entry = opcode::PollAdd::new(Fd(socket.as_raw_fd()), libc::POLLOUT as u32).build();
        self.push(&entry.user_data(mark))
    }

    /// Asks to be told each time when a descriptor becomes readable.
    pub fn watch(&mut self, descriptor: RawFd, mark: u64) -> io::Result<()> {
        let entry = opcode::PollAdd::new(Fd(descriptor), libc::POLLIN as u32)
            .multi(true)
            .build();
        self.push(&entry.user_data(mark))
    }

    /// Asks to end the request with the mark `other`.
    pub fn cancel(&mut self, other: u64, mark: u64) -> io::Result<()> {
        self.push(&opcode::AsyncCancel::new(other).build().user_data(mark))
    }

    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        if self.ring.submission().is_full() {
            self.enter(0, Some(Duration::ZERO))?;
        }
        // SAFETY: the entry points to no memory, or to some that is lent until it has completed.
        let pushed = unsafe { self.ring.submission().push(entry) };
        pushed.map_err(|_| io::Error::from(io::ErrorKind::ResourceBusy))?;
        self.in_flight += 1;
        Ok(())
    }

    // ---- handing over, and waiting ----

    /// Hands all requests over, and learns what has come to an end, without waiting.
    pub fn look(&mut self) -> io::Result<()> {
        let queue = self.ring.submission();
        if queue.is_empty() && !queue.taskrun() && !queue.cq_overflow() {
            return Ok(());
        }
        drop(queue);
        self.enter(0, None)
    }

    /// Hands all requests over, and waits for a completion, if none lies there. A signal handler ends
    /// it, too. For `expected` of them it waits a moment longer.
    pub fn wait(&mut self, expected: usize) -> io::Result<()> {
        if !self.set_aside.is_empty() {
            return self.look();
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
            args = args.min_wait_usec(MOMENT);
        }
        let mut tries = 0;
        loop {
            let entered = self.hand_over(wanted, EnterFlags::GETEVENTS, &args);
            let done = self.ring.submission().is_empty();
            match entered {
                Ok(_) if done => return Ok(()),
                Ok(_) => (),
                Err(error) if is_passing(&error) && done => return Ok(()),
                Err(error) if is_passing(&error) && tries < TRIES => {
                    // The kernel has no room for more before it is relieved of completions.
                    self.set_completions_aside();
                    tries += 1;
                }
                Err(error) => {
                    // What it has not taken may point to descriptors that others have later.
                    self.broken = true;
                    return Err(error);
                }
            }
        }
    }

    fn hand_over(
        &mut self,
        wanted: usize,
        flags: EnterFlags,
        args: &SubmitArgs<'_, '_>,
    ) -> io::Result<usize> {
        let count = self.ring.submission().len() as u32;
        let flags = (flags | EnterFlags::EXT_ARG).bits();
        let submitter = self.ring.submitter();
        // SAFETY: EXT_ARG says what `args` is; it and what it points to outlive the call. Entries
        // point to no memory, or to some that was lent until they have completed.
        unsafe { submitter.enter(count, wanted as u32, flags, Some(args)) }
    }

    fn set_completions_aside(&mut self) {
        while let Some(completion) = self.take() {
            self.set_aside.push_back(completion);
        }
    }

    /// The next completion.
    #[inline]
    pub fn next(&mut self) -> Option<Completion> {
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
                mark: entry.user_data(),
                result: entry.result(),
                piece: self.buffers.take(&entry),
                more: cqueue::more(entry.flags()),
                leaves_some: cqueue::sock_nonempty(entry.flags()),
            };
            self.in_flight -= usize::from(!completion.more);
            if completion.mark == SILENT {
                continue;
            }
            if completion.mark & LENT == 0 {
                return Some(completion);
            }
            self.lent -= 1;
            self.sent[(completion.mark & !LENT) as usize] = completion.result;
        }
    }

    /// Makes no more requests: what is in flight ends with the ring, and brings nothing any more.
    pub fn give_up(&mut self) {
        self.broken = true;
    }

    /// Whether the kernel takes no requests any more.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Sends each socket its bytes, many in one system call. Answers for each how many bytes were
    /// taken, or an error number below 0. Nothing is waited for: what a socket does not take at once
    /// is not sent.
    pub fn send_all(&mut self, batch: &[(BorrowedFd<'_>, &[u8])]) -> &[i32] {
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
        self.sent.clear();
        // What a ring that breaks has not handed over was not sent.
        self.sent.resize(batch.len(), -libc::EAGAIN);
        let mut mark = LENT;
        for chunk in batch.chunks(REQUESTS as usize) {
            for (socket, bytes) in chunk {
                let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                let entry = opcode::Send::new(Fd(socket.as_raw_fd()), bytes.as_ptr(), length)
                    .flags(flags)
                    .build()
                    .user_data(mark);
                self.lent += usize::from(self.push(&entry).is_ok());
                mark += 1;
            }
            self.wait_for_lent();
        }
        &self.sent
    }

    /// Hands over all requests, and waits until the kernel has let go of all that it was lent.
    fn wait_for_lent(&mut self) {
        if !self.broken {
            // Sending ends in here; what is received meanwhile is better told later, all at once.
            // Who is refused here is refused again below.
            let _ = self.hand_over(0, EnterFlags::empty(), &SubmitArgs::new());
        }
        loop {
            self.set_completions_aside();
            if self.lent == 0 {
                return;
            }
            let entered = self.enter(1, None);
            // What a broken ring has not handed over, nobody will read.
            if entered.is_err() && self.lent <= self.ring.submission().len() {
                self.lent = 0;
            }
        }
    }

    // ---- what was received ----

    #[inline]
    pub fn received(&self, piece: u32) -> &[u8] {
        self.buffers.received(piece)
    }

    /// Gives a piece back to the kernel.
    #[inline]
    pub fn give_back(&mut self, piece: u32) {
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
            self.end_all();
        }
        if self.in_flight > 0 {
            // The kernel may still write into them.
            self.buffers.leak();
        }
    }
}

impl Ring {
    /// Ends all requests, and waits for their ends.
    fn end_all(&mut self) {
        let began = Instant::now();
        let all = opcode::AsyncCancel2::new(CancelBuilder::any()).build();
        let mut asked = self.push(&all.user_data(SILENT));
        while asked.is_ok() && self.in_flight > 0 && began.elapsed() < PATIENCE {
            asked = self.enter(1, Some(PATIENCE));
            while self.take().is_some() {}
        }
    }
}

/// Whether the same may succeed a moment later.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINTR | libc::ETIME | libc::EBUSY | libc::EAGAIN)
    )
}

/// Buffers that the kernel takes from a ring and fills, piece by piece, and gets back when all of
/// their pieces were read.
///
/// No more of them take part than were needed at once until now, so that little memory is touched.
struct Buffers {
    /// The ring of those that the kernel may fill, and behind it the buffers themselves.
    memory: Memory,
    size: usize,
    states: Vec<Buffer>,
    /// How many buffers take part.
    used: u16,
    /// How many were ever put into the ring.
    published: u16,
    pieces: Vec<Piece>,
    /// Places in `pieces` that are free.
    free: Vec<u32>,
}

#[derive(Clone, Copy, Default)]
struct Buffer {
    /// How far the kernel has filled it.
    filled: u32,
    /// Pieces that were not given back.
    pieces: u32,
    /// The kernel fills it no further.
    complete: bool,
}

/// A part of a buffer; one without a length is nobody's.
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
            // SAFETY: the memory lives until nothing is in flight any more, or is leaked.
            unsafe { submitter.register_buf_ring_with_flags(address, count, GROUP, flags) }
        };
        // Before 6.12 each piece takes a whole buffer.
        register(PIECE_BY_PIECE).or_else(|_| register(0))?;
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

    /// The room for the ring: whole pages.
    fn entries_size(count: usize) -> usize {
        (count * size_of::<BufRingEntry>()).next_multiple_of(PAGE)
    }

    /// Twice as many buffers take part.
    fn use_more(&mut self) {
        let used = (self.used * 2).clamp(2, self.states.len() as u16);
        (self.used..used).for_each(|buffer| self.publish(buffer));
        self.used = used;
    }

    /// Notes what a completion says of buffers.
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
        // SAFETY: the start lies in a buffer.
        let start = unsafe { self.start(piece.buffer).add(piece.start as usize) };
        // SAFETY: a piece with a length is ours; the kernel has filled it, and only goes on behind.
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
        // SAFETY: the tail lies in the ring's first entry, where no setter above reaches it.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(entries).cast_mut()) };
        tail.store(self.published, Ordering::Release);
    }

    fn leak(&mut self) {
        self.memory.leaked = true;
    }
}

/// Pages that only we know of.
struct Memory {
    start: NonNull<u8>,
    length: usize,
    leaked: bool,
}

// SAFETY: nobody else points to the pages.
unsafe impl Send for Memory {}

impl Memory {
    fn new(length: usize) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let anywhere = std::ptr::null_mut();
        // SAFETY: new pages, wherever there is room.
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
            // SAFETY: these pages were mapped by `new`, and nobody uses them any more.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
        }
    }
}
