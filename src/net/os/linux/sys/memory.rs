//! Allocation when the system has no memory left.
//!
//! Allocations that may be large are fallible (`try_reserve`). Small ones inside libraries that have no
//! fallible allocation come from a reserve, which exists from the start. Without it Rust would abort the
//! process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};
use std::collections::{TryReserveError, VecDeque};
use std::io;
use std::ptr::{self, NonNull};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::mapped;
pub(crate) use super::mapped::{has_kept_blocks, trim};
use crate::locks;

/// Size of the reserve. Pages that were never used cost nothing.
const RESERVE_BYTES: usize = 4 << 20;

/// Maximum size of a block from the reserve: lists of many thousand clients, records of TLS.
const MAX_BLOCK_BYTES: usize = 256 << 10;

/// Size and alignment of the reserve's units: the alignment that channels need.
const UNIT_BYTES: usize = 128;

const UNITS: usize = RESERVE_BYTES / UNIT_BYTES;

/// While more of the reserve is in use, nothing new is begun.
const SHORT_BYTES: usize = RESERVE_BYTES / 4;

/// The system has memory if its heap has so much.
const PROBE_BYTES: usize = mapped::MIN_BYTES / 2;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// The system's allocator, with the reserve as its fallback.
struct Allocator;

static BLOCKS: Reserve = Reserve::new();

thread_local! {
    /// Allocations do not fall back on the reserve.
    static FRUGAL: Cell<bool> = const { Cell::new(false) };
    /// Blocks that [`promise`] has allocated in advance.
    static PROMISED: Cell<Option<NonNull<Block>>> = const { Cell::new(None) };
}

// SAFETY: each block comes from the system's allocator or from the reserve, which never allocates a byte
// twice, and is freed where it was allocated, which its address shows.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller guarantees what this requires.
        let block = unsafe { alloc_from_system(layout) };
        if block.is_null() {
            return refused(layout);
        }
        block
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let block = if mapped::takes(layout) {
            mapped::alloc_zeroed(layout.size())
        } else {
            // SAFETY: the caller guarantees what `System` requires.
            unsafe { System.alloc_zeroed(layout) }
        };
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
        if mapped::takes(layout) {
            // SAFETY: a block of this size that is not the reserve's.
            return unsafe { mapped::free(block, layout.size()) };
        }
        // SAFETY: it is not the reserve's, so it is `System`'s.
        unsafe { System.dealloc(block, layout) };
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !BLOCKS.holds(block) {
            let was_mapped = mapped::takes(layout);
            let resized = match (was_mapped, size >= mapped::MIN_BYTES) {
                // SAFETY: it is not the reserve's, so it is `System`'s.
                (false, false) => unsafe { System.realloc(block, layout, size) },
                // SAFETY: it is not the reserve's, so it is mapped.
                (true, true) => unsafe { mapped::resize(block, layout.size(), size) },
                _ => ptr::null_mut(),
            };
            if !resized.is_null() {
                return resized;
            }
        }
        // SAFETY: the caller guarantees the block.
        unsafe { move_block(block, layout, size) }
    }
}

/// Allocates a block without the reserve. Large ones are mapped.
///
/// # Safety
///
/// As of [`GlobalAlloc::alloc`].
#[inline]
unsafe fn alloc_from_system(layout: Layout) -> *mut u8 {
    if mapped::takes(layout) {
        return mapped::alloc(layout.size());
    }
    // SAFETY: the caller guarantees what `System` requires.
    unsafe { System.alloc(layout) }
}

/// Moves a block that cannot be resized where it is.
///
/// # Safety
///
/// As of [`GlobalAlloc::realloc`].
#[cold]
unsafe fn move_block(block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
    if size <= layout.size() && BLOCKS.holds(block) {
        BLOCKS.shrink(block, layout.size(), size);
        return block;
    }
    if size <= layout.size() && !mapped::takes(layout) {
        // A larger block does.
        return block;
    }
    let Ok(new_layout) = Layout::from_size_align(size, layout.align()) else {
        return ptr::null_mut();
    };
    // SAFETY: the size is not 0, as the caller of `realloc` guarantees.
    let moved = unsafe { ALLOCATOR.alloc(new_layout) };
    if !moved.is_null() {
        // SAFETY: both blocks have so many bytes, and do not overlap.
        unsafe { moved.copy_from_nonoverlapping(block, layout.size().min(size)) };
        // SAFETY: the block and its layout are the caller's.
        unsafe { ALLOCATOR.dealloc(block, layout) };
    }
    moved
}

/// Allocates what the system has just refused; null if that is not possible.
#[cold]
fn refused(layout: Layout) -> *mut u8 {
    if mapped::release_kept() {
        // SAFETY: the caller of the allocator guarantees what this requires.
        let block = unsafe { alloc_from_system(layout) };
        if !block.is_null() {
            return block;
        }
    }
    fallback(layout)
}

/// Allocates what the system cannot: a promised block, or one from the reserve; null if there is neither.
fn fallback(layout: Layout) -> *mut u8 {
    if let Some(block) = take_promised(layout) {
        return block;
    }
    if layout.size() > MAX_BLOCK_BYTES || layout.align() > UNIT_BYTES || FRUGAL.get() {
        return ptr::null_mut();
    }
    BLOCKS.take(layout.size())
}

// ---- for libraries with an allocator of their own ----

/// Allocates a block from the reserve, aligned to 128 bytes; null if there is none.
#[cfg(feature = "tls")]
pub(super) fn take_from_reserve(size: usize) -> *mut u8 {
    match size {
        1..=MAX_BLOCK_BYTES => BLOCKS.take(size),
        _ => ptr::null_mut(),
    }
}

/// Whether a block, or a part of one, is from the reserve.
#[cfg(feature = "tls")]
pub(super) fn is_from_reserve(block: *mut u8) -> bool {
    BLOCKS.holds(block)
}

#[cfg(feature = "tls")]
pub(super) fn give_back_to_reserve(block: *mut u8, size: usize) {
    BLOCKS.give_back(block, size);
}

// ---- the reserve ----

/// The library's own memory, and which parts of it are in use.
struct Reserve {
    bytes: Bytes,
    /// One bit for each unit: whether it is in use.
    used: Mutex<[u64; UNITS / 64]>,
    in_use: AtomicUsize,
}

#[repr(align(128))]
struct Bytes(UnsafeCell<[u8; RESERVE_BYTES]>);

// SAFETY: no byte is read or written here; each block has one owner.
unsafe impl Sync for Bytes {}

impl Reserve {
    const fn new() -> Self {
        Self {
            bytes: Bytes(UnsafeCell::new([0; RESERVE_BYTES])),
            used: Mutex::new([0; UNITS / 64]),
            in_use: AtomicUsize::new(0),
        }
    }

    fn start(&self) -> *mut u8 {
        self.bytes.0.get().cast()
    }

    #[inline]
    fn holds(&self, block: *mut u8) -> bool {
        block.addr().wrapping_sub(self.start().addr()) < RESERVE_BYTES
    }

    fn take(&self, size: usize) -> *mut u8 {
        let count = size.div_ceil(UNIT_BYTES);
        let mut used = locks::lock(&self.used);
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
                self.in_use.fetch_add(count * UNIT_BYTES, Ordering::Relaxed);
                return self.start().wrapping_add(first * UNIT_BYTES);
            }
        }
        ptr::null_mut()
    }

    /// Frees the end of a block that shrinks.
    fn shrink(&self, block: *mut u8, old: usize, new: usize) {
        let (old, new) = (
            old.div_ceil(UNIT_BYTES) * UNIT_BYTES,
            new.div_ceil(UNIT_BYTES) * UNIT_BYTES,
        );
        if new < old {
            self.give_back(block.wrapping_add(new), old - new);
        }
    }

    #[cold]
    fn give_back(&self, block: *mut u8, size: usize) {
        let count = size.div_ceil(UNIT_BYTES);
        let first = (block.addr() - self.start().addr()) / UNIT_BYTES;
        let mut used = locks::lock(&self.used);
        (first..first + count).for_each(|unit| used[unit / 64] &= !(1 << (unit % 64)));
        self.in_use.fetch_sub(count * UNIT_BYTES, Ordering::Relaxed);
    }
}

/// Whether nothing new should be begun: much of the reserve is in use, and the system has no memory.
#[inline]
pub(crate) fn is_short() -> bool {
    BLOCKS.in_use.load(Ordering::Relaxed) > SHORT_BYTES && !has_more()
}

/// Whether the system has memory again.
#[cold]
fn has_more() -> bool {
    probe().is_ok()
}

/// Checks whether the system has memory left, before something that allocates a little without the reserve:
/// the start of a thread.
///
/// # Errors
///
/// It has none.
pub(crate) fn probe() -> Result<(), Refused> {
    let mut probe = Vec::<u8>::new();
    try_reserve_exact(&mut probe, PROBE_BYTES).map_err(|_| Refused)
}

/// Runs `work`, whose allocations may fail, without the reserve.
#[inline]
pub(crate) fn frugal<T>(work: impl FnOnce() -> T) -> T {
    let _restored = Restored(FRUGAL.replace(true));
    work()
}

/// Reserves room for `more` items at the end of a list.
#[inline]
pub(crate) fn try_reserve<T>(list: &mut Vec<T>, more: usize) -> Result<(), TryReserveError> {
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

/// Reserves room for exactly `more` items at the end of a list.
#[inline]
pub(crate) fn try_reserve_exact<T>(list: &mut Vec<T>, more: usize) -> Result<(), TryReserveError> {
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

/// A list of this size has a mapping of its own.
const LONG_BYTES: usize = 256 << 10;

/// Creates an empty queue that may have to hold an entry for each client.
///
/// Its initial capacity is so large that it has a mapping of its own: pages that were never used cost
/// nothing, and it grows without a copy. A queue that grows from a small one leaves used pages behind,
/// several bytes for each client.
pub(crate) fn long_queue<T>() -> Result<VecDeque<T>, TryReserveError> {
    let mut queue = VecDeque::new();
    frugal(|| queue.try_reserve_exact(LONG_BYTES / size_of::<T>()))?;
    Ok(queue)
}

/// Creates such a list.
pub(crate) fn long_list<T>() -> Result<Vec<T>, TryReserveError> {
    let mut list = Vec::new();
    try_reserve_exact(&mut list, LONG_BYTES / size_of::<T>())?;
    Ok(list)
}

/// Copies bytes.
#[inline(never)]
pub(crate) fn copy(bytes: &[u8]) -> Result<Vec<u8>, TryReserveError> {
    let mut copy = Vec::new();
    try_reserve_exact(&mut copy, bytes.len())?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}

/// Allocates zeroed bytes, without touching their pages.
#[inline(never)]
pub(crate) fn zeros(len: usize) -> Result<Vec<u8>, Refused> {
    let layout = Layout::array::<u8>(len).map_err(|_| Refused)?;
    if len == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the size is not 0.
    let zeros = frugal(|| unsafe { std::alloc::alloc_zeroed(layout) });
    if zeros.is_null() {
        return Err(Refused);
    }
    // SAFETY: the block is from the global allocator, with `len` initialised bytes and that capacity.
    Ok(unsafe { Vec::from_raw_parts(zeros, len, len) })
}

/// Restores a thread's [`FRUGAL`] when it is dropped, also by a panic.
struct Restored(bool);

impl Drop for Restored {
    fn drop(&mut self) {
        FRUGAL.set(self.0);
    }
}

// ---- promises ----

/// There is no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

impl From<Refused> for io::Error {
    fn from(_: Refused) -> Self {
        io::ErrorKind::OutOfMemory.into()
    }
}

/// The header of a promised block.
struct Block {
    size: usize,
    next: Option<NonNull<Self>>,
}

/// Runs `work`, in which one allocation for each of `sizes`, of at most that size, is guaranteed to succeed.
/// So it can call a library without fallible allocation.
///
/// # Errors
///
/// The memory cannot be guaranteed; `work` has not run.
pub(crate) fn promise<T>(
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

/// [`promise`] for one allocation and `work` without a result. Returns whether `work` has run.
pub(crate) fn promise_one(size: usize, work: &mut dyn FnMut()) -> bool {
    promise([size], work).is_ok()
}

/// The promised blocks; those of an outer promise are restored when it is dropped.
struct Blocks {
    before: Option<NonNull<Block>>,
}

impl Blocks {
    fn layout(size: usize) -> Option<Layout> {
        Layout::from_size_align(size.max(size_of::<Block>()), UNIT_BYTES).ok()
    }

    fn add(&mut self, size: usize) -> Result<(), Refused> {
        let layout = Self::layout(size).ok_or(Refused)?;
        // SAFETY: the size is not 0.
        let block = unsafe { alloc_from_system(layout) };
        let block = NonNull::new(block.cast::<Block>()).ok_or(Refused)?;
        let next = PROMISED.get();
        let size = layout.size();
        // SAFETY: the block was just allocated, with room and alignment for this.
        unsafe { block.write(Block { size, next }) };
        PROMISED.set(Some(block));
        Ok(())
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        let mut next = PROMISED.replace(self.before);
        while let Some(block) = next {
            // SAFETY: a block in the list was initialised with this header.
            let Block { size, next: rest } = unsafe { block.read() };
            if let Some(layout) = Self::layout(size) {
                // SAFETY: `add` has allocated it with this layout.
                unsafe { ALLOCATOR.dealloc(block.as_ptr().cast(), layout) };
            }
            next = rest;
        }
    }
}

/// Takes a promised block for this layout. One of the system's heap may be larger than the layout, because it is
/// freed by its address alone; a mapped one is cut to size.
fn take_promised(layout: Layout) -> Option<*mut u8> {
    let block = PROMISED.get()?;
    // SAFETY: a block in the list was initialised with this header.
    let Block { size, next } = unsafe { block.read() };
    // Much smaller allocations use the reserve.
    let fits = layout.size() <= size && layout.size() > size / 8 && layout.align() <= UNIT_BYTES;
    let is_mapped = size >= mapped::MIN_BYTES;
    if !fits || is_mapped != mapped::takes(layout) {
        return None;
    }
    PROMISED.set(next);
    let block = block.as_ptr().cast();
    if is_mapped {
        // SAFETY: a mapped block of this size, which is ours.
        unsafe { mapped::cut(block, size, layout.size()) };
    }
    Some(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than any system has.
    const TOO_MUCH: usize = isize::MAX as usize - 4096;

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 8).expect("a good layout")
    }

    #[test]
    fn the_reserve_hands_no_byte_out_twice_and_takes_all_back() {
        static OTHER: Reserve = Reserve::new();
        let reserve = &OTHER;
        let mut taken = Vec::new();
        for size in [1, UNIT_BYTES, UNIT_BYTES + 1, 1000, MAX_BLOCK_BYTES]
            .into_iter()
            .cycle()
        {
            let block = reserve.take(size);
            if block.is_null() {
                break;
            }
            assert!(reserve.holds(block) && block.addr().is_multiple_of(UNIT_BYTES));
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
        let all = reserve.take(RESERVE_BYTES);
        assert_eq!(all, reserve.start());
        assert!(!reserve.holds(all.wrapping_add(RESERVE_BYTES)));
        assert!(!reserve.holds(all.wrapping_sub(1)));
    }

    #[test]
    fn what_is_refused_comes_from_the_reserve_unless_it_is_large_or_not_wanted() {
        let block = fallback(layout(100));
        assert!(BLOCKS.holds(block));
        // SAFETY: the block was allocated for this layout.
        let grown = unsafe { ALLOCATOR.realloc(block, layout(100), 5000) };
        assert!(!grown.is_null() && grown != block);
        // SAFETY: so was this one.
        unsafe { ALLOCATOR.dealloc(grown, layout(5000)) };

        let block = fallback(layout(5000));
        // SAFETY: the block was handed out for this layout.
        let shrunk = unsafe { ALLOCATOR.realloc(block, layout(5000), 100) };
        assert_eq!(shrunk, block);
        // SAFETY: and is now one for this.
        unsafe { ALLOCATOR.dealloc(shrunk, layout(100)) };

        assert!(fallback(layout(MAX_BLOCK_BYTES + 1)).is_null());
        assert!(frugal(|| fallback(layout(100))).is_null());
        assert!(!FRUGAL.get());
        assert!(!is_short());
    }

    #[test]
    fn what_was_promised_is_kept_once_each_and_the_rest_goes_back() {
        let used = promise([1 << 20, 1 << 20, 1 << 20], || {
            let blocks = [fallback(layout(1 << 20)), fallback(layout(900_000))];
            assert!(blocks.iter().all(|block| !block.is_null()));
            assert!(fallback(layout(1 << 21)).is_null());
            blocks
        });
        let used = used.expect("three megabytes");
        assert!(PROMISED.get().is_none());
        // SAFETY: the blocks were allocated for these layouts.
        unsafe { ALLOCATOR.dealloc(used[0], layout(1 << 20)) };
        // SAFETY: as above.
        unsafe { ALLOCATOR.dealloc(used[1], layout(900_000)) };

        assert_eq!(promise([1 << 20, TOO_MUCH], || ()), Err(Refused));
        assert!(PROMISED.get().is_none());
    }
}
