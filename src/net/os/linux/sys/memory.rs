//! What happens when the system refuses memory.
//!
//! What may be large is asked for in a way that takes a no (`try_reserve`). What is small and cannot be
//! refused politely, because it is made inside a library that knows no refusal, comes from a reserve
//! then, which the library has had from the beginning: without it Rust would end the process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};
use std::collections::{TryReserveError, VecDeque};
use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// The size of the reserve. Pages of it that were never needed cost nothing.
const RESERVE: usize = 4 << 20;

/// Nothing larger comes from the reserve: lists of many thousand clients, records of TLS.
const LARGEST: usize = 256 << 10;

/// What the reserve is divided into, and how it is aligned: as channels ask.
const UNIT: usize = 128;

const UNITS: usize = RESERVE / UNIT;

/// With more than this in use, nothing is begun that can be refused.
const SHORT: usize = RESERVE / 4;

/// So much the system must have for it to be said that it has memory.
const PROBE: usize = 64 << 10;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// The system's allocator, behind which the reserve stands.
struct Allocator;

static BLOCKS: Reserve = Reserve::new();

thread_local! {
    /// Nothing is to come from the reserve.
    static FRUGAL: Cell<bool> = const { Cell::new(false) };
    /// Blocks that [`promise`] has got for what is made now.
    static PROMISED: Cell<Option<NonNull<Block>>> = const { Cell::new(None) };
}

// SAFETY: each block comes from the system's allocator or from the reserve, which hands no byte out
// twice, and goes back to where it came from, which its address tells.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: what the caller promises is what `System` asks.
        let block = unsafe { System.alloc(layout) };
        if block.is_null() {
            return refused(layout);
        }
        block
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: what the caller promises is what `System` asks.
        let block = unsafe { System.alloc_zeroed(layout) };
        if !block.is_null() {
            return block;
        }
        let block = refused(layout);
        if !block.is_null() {
            // SAFETY: a block for this layout has that many bytes.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if BLOCKS.holds(block) {
            return BLOCKS.give_back(block, layout.size());
        }
        // SAFETY: it is not the reserve's, so it is `System`'s.
        unsafe { System.dealloc(block, layout) };
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !BLOCKS.holds(block) {
            // SAFETY: it is not the reserve's, so it is `System`'s.
            let grown = unsafe { System.realloc(block, layout, size) };
            if !grown.is_null() {
                return grown;
            }
        }
        // SAFETY: the caller vouches for the block.
        unsafe { move_refused(block, layout, size) }
    }
}

/// Moves a block that the system does not resize, if it must grow.
///
/// # Safety
///
/// As of [`GlobalAlloc::realloc`].
#[cold]
unsafe fn move_refused(block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
    if size <= layout.size() {
        if BLOCKS.holds(block) {
            BLOCKS.shrink(block, layout.size(), size);
        }
        // It is as good as a smaller one.
        return block;
    }
    let Ok(new_layout) = Layout::from_size_align(size, layout.align()) else {
        return ptr::null_mut();
    };
    // SAFETY: the size is not 0, as the caller of `realloc` promises.
    let moved = unsafe { ALLOCATOR.alloc(new_layout) };
    if !moved.is_null() {
        // SAFETY: both blocks hold as many bytes, and are not the same.
        unsafe { moved.copy_from_nonoverlapping(block, layout.size()) };
        // SAFETY: the block and its layout are the caller's.
        unsafe { ALLOCATOR.dealloc(block, layout) };
    }
    moved
}

/// What the system has refused: promised before, from the reserve, or not to be had.
#[cold]
fn refused(layout: Layout) -> *mut u8 {
    if let Some(block) = take_promised(layout) {
        return block;
    }
    if layout.size() > LARGEST || layout.align() > UNIT || FRUGAL.get() {
        return ptr::null_mut();
    }
    BLOCKS.take(layout.size())
}

// ---- the reserve ----

/// Memory of the library's own, of which blocks are handed out.
struct Reserve {
    bytes: Bytes,
    /// Which units are in use: a bit for each.
    used: Mutex<[u64; UNITS / 64]>,
    in_use: AtomicUsize,
}

#[repr(align(128))]
struct Bytes(UnsafeCell<[u8; RESERVE]>);

// SAFETY: no byte is read or written here; who has been handed a block has it alone.
unsafe impl Sync for Bytes {}

impl Reserve {
    const fn new() -> Self {
        Self {
            bytes: Bytes(UnsafeCell::new([0; RESERVE])),
            used: Mutex::new([0; UNITS / 64]),
            in_use: AtomicUsize::new(0),
        }
    }

    fn start(&self) -> *mut u8 {
        self.bytes.0.get().cast()
    }

    #[inline]
    fn holds(&self, block: *mut u8) -> bool {
        block.addr().wrapping_sub(self.start().addr()) < RESERVE
    }

    fn take(&self, size: usize) -> *mut u8 {
        let count = size.div_ceil(UNIT);
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = 0;
        for unit in 0..UNITS {
            free = if used[unit / 64] >> (unit % 64) & 1 == 0 {
                free + 1
            } else {
                0
            };
            if free == count {
                let first = unit + 1 - count;
                (first..=unit).for_each(|unit| used[unit / 64] |= 1 << (unit % 64));
                self.in_use.fetch_add(count * UNIT, Ordering::Relaxed);
                return self.start().wrapping_add(first * UNIT);
            }
        }
        ptr::null_mut()
    }

    /// Takes back what a smaller block does not need.
    fn shrink(&self, block: *mut u8, old: usize, new: usize) {
        let (old, new) = (old.div_ceil(UNIT) * UNIT, new.div_ceil(UNIT) * UNIT);
        if new < old {
            self.give_back(block.wrapping_add(new), old - new);
        }
    }

    #[cold]
    fn give_back(&self, block: *mut u8, size: usize) {
        let count = size.div_ceil(UNIT);
        let first = (block.addr() - self.start().addr()) / UNIT;
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        (first..first + count).for_each(|unit| used[unit / 64] &= !(1 << (unit % 64)));
        self.in_use.fetch_sub(count * UNIT, Ordering::Relaxed);
    }
}

/// Whether so much of the reserve is in use, and nothing else to be had, that nothing new should be
/// begun.
#[inline]
pub fn is_short() -> bool {
    BLOCKS.in_use.load(Ordering::Relaxed) > SHORT && !has_more()
}

/// Whether the system has memory again.
#[cold]
fn has_more() -> bool {
    probe().is_ok()
}

/// Asks whether the system has memory left, before something is begun that asks for a little of it past
/// the reserve: the start of a thread.
///
/// # Errors
///
/// It has not.
pub fn probe() -> Result<(), Refused> {
    let mut probe = Vec::<u8>::new();
    try_reserve_exact(&mut probe, PROBE).map_err(|_| Refused)
}

/// Runs `work`, for which nothing comes from the reserve: it takes a no.
#[inline]
pub fn frugal<T>(work: impl FnOnce() -> T) -> T {
    let _restored = Restored(FRUGAL.replace(true));
    work()
}

/// Makes room for so many more at the end of a list, or takes a no.
#[inline]
pub fn try_reserve<T>(list: &mut Vec<T>, more: usize) -> Result<(), TryReserveError> {
    if more <= list.capacity() - list.len() {
        return Ok(());
    }
    grow(list, more)
}

#[cold]
#[inline(never)]
fn grow<T>(list: &mut Vec<T>, more: usize) -> Result<(), TryReserveError> {
    frugal(|| list.try_reserve(more))
}

/// The same, and for no more than that.
#[inline]
pub fn try_reserve_exact<T>(list: &mut Vec<T>, more: usize) -> Result<(), TryReserveError> {
    if more <= list.capacity() - list.len() {
        return Ok(());
    }
    grow_exactly(list, more)
}

#[cold]
#[inline(never)]
fn grow_exactly<T>(list: &mut Vec<T>, more: usize) -> Result<(), TryReserveError> {
    frugal(|| list.try_reserve_exact(more))
}

/// A block of this size is mapped apart from all others: the C library does so from 128 KiB on, unless it has
/// that much left over.
const MAPPED: usize = 256 << 10;

/// An empty queue that may come to hold something for each client.
///
/// It begins so large that it is mapped apart: there, pages that were never used cost nothing, and it grows
/// without a copy. One that grows from little leaves used pages behind, several bytes for each client.
pub fn long_queue<T>() -> Result<VecDeque<T>, TryReserveError> {
    let mut queue = VecDeque::new();
    frugal(|| queue.try_reserve_exact(MAPPED / size_of::<T>()))?;
    Ok(queue)
}

/// The same as a list.
pub fn long_list<T>() -> Result<Vec<T>, TryReserveError> {
    let mut list = Vec::new();
    try_reserve_exact(&mut list, MAPPED / size_of::<T>())?;
    Ok(list)
}

/// A copy, or a no.
#[inline(never)]
pub fn copy(bytes: &[u8]) -> Result<Vec<u8>, TryReserveError> {
    let mut copy = Vec::new();
    try_reserve_exact(&mut copy, bytes.len())?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}

/// So many zeros, of which no page is touched before it is used; or a no.
#[inline(never)]
pub fn zeros(len: usize) -> Result<Vec<u8>, Refused> {
    let layout = Layout::array::<u8>(len).map_err(|_| Refused)?;
    if len == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the size is not 0.
    let zeros = frugal(|| unsafe { std::alloc::alloc_zeroed(layout) });
    if zeros.is_null() {
        return Err(Refused);
    }
    // SAFETY: these are `len` bytes of the global allocator's, as a list of them has, and all are set.
    Ok(unsafe { Vec::from_raw_parts(zeros, len, len) })
}

/// Puts a thread's manner back, also after a panic.
struct Restored(bool);

impl Drop for Restored {
    fn drop(&mut self) {
        FRUGAL.set(self.0);
    }
}

// ---- promises ----

/// The system has refused memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

impl From<Refused> for io::Error {
    fn from(_: Refused) -> Self {
        io::ErrorKind::OutOfMemory.into()
    }
}

/// The beginning of a block that waits.
struct Block {
    size: usize,
    next: Option<NonNull<Block>>,
}

/// Runs `work` with the promise that as many allocations of these sizes as there are in `sizes`, or of
/// smaller ones, are not refused to it. So something can be made by a library that knows no refusal.
///
/// # Errors
///
/// Nothing was run when the system refuses them before.
pub fn promise<T>(
    sizes: impl IntoIterator<Item = usize>,
    work: impl FnOnce() -> T,
) -> Result<T, Refused> {
    let mut blocks = Blocks {
        before: PROMISED.take(),
    };
    for size in sizes {
        blocks.add(size)?;
    }
    Ok(work())
}

/// [`promise`] of one allocation, for work without an answer; answers whether it was done.
pub fn promise_one(size: usize, work: &mut dyn FnMut()) -> bool {
    promise([size], work).is_ok()
}

/// The blocks that wait while a promise holds; those from before are put back after it.
struct Blocks {
    before: Option<NonNull<Block>>,
}

impl Blocks {
    fn layout(size: usize) -> Option<Layout> {
        Layout::from_size_align(size.max(size_of::<Block>()), UNIT).ok()
    }

    fn add(&mut self, size: usize) -> Result<(), Refused> {
        let layout = Self::layout(size).ok_or(Refused)?;
        // SAFETY: the size is not 0.
        let block = unsafe { System.alloc(layout) };
        let block = NonNull::new(block.cast::<Block>()).ok_or(Refused)?;
        let next = PROMISED.get();
        let size = layout.size();
        // SAFETY: the block is ours, and has room and alignment for this.
        unsafe { block.write(Block { size, next }) };
        PROMISED.set(Some(block));
        Ok(())
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        let mut next = PROMISED.replace(self.before);
        while let Some(block) = next {
            // SAFETY: a block that waits is ours and begins with this.
            let Block { size, next: rest } = unsafe { block.read() };
            if let Some(layout) = Self::layout(size) {
                // SAFETY: `add` has allocated it with this layout.
                unsafe { System.dealloc(block.as_ptr().cast(), layout) };
            }
            next = rest;
        }
    }
}

/// A promised block for this layout. It is a block of the system's like all others: it may be larger
/// than the layout says, since that frees it by its address alone.
fn take_promised(layout: Layout) -> Option<*mut u8> {
    let block = PROMISED.get()?;
    // SAFETY: a block that waits is ours and begins with this.
    let Block { size, next } = unsafe { block.read() };
    // What is small by far is left to the reserve.
    let fits = layout.size() <= size && layout.size() > size / 8 && layout.align() <= UNIT;
    fits.then(|| {
        PROMISED.set(next);
        block.as_ptr().cast()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What no system has.
    const TOO_MUCH: usize = isize::MAX as usize - 4096;

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 8).expect("a good layout")
    }

    #[test]
    fn the_reserve_hands_no_byte_out_twice_and_takes_all_back() {
        static OTHER: Reserve = Reserve::new();
        let reserve = &OTHER;
        let mut taken = Vec::new();
        for size in [1, UNIT, UNIT + 1, 1000, LARGEST].into_iter().cycle() {
            let block = reserve.take(size);
            if block.is_null() {
                break;
            }
            assert!(reserve.holds(block) && block.addr().is_multiple_of(UNIT));
            taken.push((block.addr(), size, block));
        }
        assert!(taken.len() > 50, "{} blocks", taken.len());
        taken.sort_unstable();
        for pair in taken.windows(2) {
            assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{pair:?}");
        }
        for (_, size, block) in taken {
            reserve.give_back(block, size);
        }
        assert_eq!(reserve.in_use.load(Ordering::Relaxed), 0);
        let all = reserve.take(RESERVE);
        assert_eq!(all, reserve.start());
        assert!(!reserve.holds(all.wrapping_add(RESERVE)));
        assert!(!reserve.holds(all.wrapping_sub(1)));
    }

    #[test]
    fn what_is_refused_comes_from_the_reserve_unless_it_is_large_or_not_wanted() {
        let block = refused(layout(100));
        assert!(BLOCKS.holds(block));
        // SAFETY: the block was handed out for this layout.
        let grown = unsafe { ALLOCATOR.realloc(block, layout(100), 5000) };
        assert!(!grown.is_null() && grown != block);
        // SAFETY: so was this one.
        unsafe { ALLOCATOR.dealloc(grown, layout(5000)) };

        let block = refused(layout(5000));
        // SAFETY: the block was handed out for this layout.
        let shrunk = unsafe { ALLOCATOR.realloc(block, layout(5000), 100) };
        assert_eq!(shrunk, block);
        // SAFETY: and is now one for this.
        unsafe { ALLOCATOR.dealloc(shrunk, layout(100)) };

        assert!(refused(layout(LARGEST + 1)).is_null());
        assert!(frugal(|| refused(layout(100))).is_null());
        assert!(!FRUGAL.get());
        assert!(!is_short());
    }

    #[test]
    fn what_was_promised_is_kept_once_each_and_the_rest_goes_back() {
        let used = promise([1 << 20, 1 << 20, 1 << 20], || {
            let blocks = [refused(layout(1 << 20)), refused(layout(900_000))];
            assert!(blocks.iter().all(|block| !block.is_null()));
            assert!(refused(layout(1 << 21)).is_null());
            blocks
        });
        let used = used.expect("three megabytes");
        assert!(PROMISED.get().is_none());
        // SAFETY: the blocks were handed out for these layouts.
        unsafe { ALLOCATOR.dealloc(used[0], layout(1 << 20)) };
        // SAFETY: as above.
        unsafe { ALLOCATOR.dealloc(used[1], layout(900_000)) };

        assert_eq!(promise([1 << 20, TOO_MUCH], || ()), Err(Refused));
        assert!(PROMISED.get().is_none());
    }
}
