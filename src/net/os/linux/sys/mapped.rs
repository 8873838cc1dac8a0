//! Large blocks of memory, each mapped apart from the C library's heap.
//!
//! A large block in the middle of a heap stays resident after it was freed. A mapped one goes back to the system.
//! Because mapping costs a page fault for each page, freed blocks are kept for a while, and are unmapped when
//! nobody has needed them for a second or two.

use std::alloc::Layout;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use once_cell::sync::Lazy;

/// Blocks of at least this size are mapped. It is the smallest size class.
pub(super) const MIN_BYTES: usize = 32 << 10;

/// Larger blocks are not kept.
const MAX_KEPT_BYTES: usize = 32 << 20;

/// Maximum size of all blocks that are kept.
const MAX_ALL_KEPT_BYTES: usize = 64 << 20;

/// So much may be kept beyond what was in use lately.
const MIN_ALL_KEPT_BYTES: usize = 1 << 20;

/// Sizes from one power of two to the next.
const STEPS: usize = 4;

/// Size classes, from [`MIN_BYTES`] to [`MAX_KEPT_BYTES`].
const CLASSES: usize = (MAX_KEPT_BYTES / MIN_BYTES).ilog2() as usize * STEPS + 1;

/// How often unused blocks are looked for.
const TRIM_INTERVAL_MS: u64 = 1_000;

/// Every mapping begins at a multiple of this.
const PAGE_BYTES: usize = 4096;

/// A block begins so far behind the beginning of its mapping. AMD's Zen processors copy by `rep movsb`, as the
/// kernel does between sockets and us, up to 15 times slower to an address that is 1 to 15 bytes further in its
/// page than the source is in its own: a payload at the beginning of a page would be that source, because its
/// frame's header comes before it in the kernel's pages. It is also the largest alignment that is asked for.
const OFFSET_BYTES: usize = 128;

static KEPT: Mutex<Kept> = Mutex::new(Kept::new());

/// The size of all blocks, in use and kept.
static MAPPED_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Locks the blocks that are kept. None while another thread has them: then a block is mapped or unmapped. So
/// nobody waits in an allocator, also not the child of a fork at which another thread had them.
fn kept() -> Option<MutexGuard<'static, Kept>> {
    KEPT.try_lock().ok()
}

/// Whether blocks of this layout are mapped.
#[inline]
pub(super) fn takes(layout: Layout) -> bool {
    layout.size() >= MIN_BYTES && layout.align() <= OFFSET_BYTES
}

/// Allocates a block; null when the system refuses it.
#[cold]
#[inline(never)]
pub(super) fn alloc(size: usize) -> *mut u8 {
    let Some(size) = Size::of(size) else {
        return ptr::null_mut();
    };
    let block = size.class.and_then(|class| kept()?.take(class));
    let mapping = block.map_or_else(
        || map_within_peak(size.bytes),
        |block| block.as_ptr().cast(),
    );
    block_in(mapping)
}

/// Returns the block in a mapping; null for null.
fn block_in(mapping: *mut u8) -> *mut u8 {
    if mapping.is_null() {
        mapping
    } else {
        mapping.wrapping_add(OFFSET_BYTES)
    }
}

/// Returns the mapping of a block.
fn mapping_of(block: *mut u8) -> *mut u8 {
    block.wrapping_sub(OFFSET_BYTES)
}

/// Maps a block, and unmaps kept ones of other sizes if otherwise more would be held than was in use lately.
fn map_within_peak(bytes: usize) -> *mut u8 {
    let block = map(bytes);
    if let Some(mut kept) = kept() {
        kept.note_use();
        while let Some((excess, class)) = kept.take_excess() {
            let size = Size::of_class(class);
            // SAFETY: a block that was kept, and which nobody else has now.
            if !unsafe { unmap_now(excess.as_ptr().cast(), size) } {
                // SAFETY: as above; what it held is not needed.
                unsafe { libc::madvise(excess.as_ptr().cast(), size.bytes, libc::MADV_DONTNEED) };
                // SAFETY: as above.
                unsafe { kept.keep(class, excess) };
                break;
            }
        }
    }
    block
}

/// Allocates a block of zeros; null when the system refuses it.
#[cold]
#[inline(never)]
pub(super) fn alloc_zeroed(size: usize) -> *mut u8 {
    Size::of(size).map_or(ptr::null_mut(), |size| block_in(map(size.bytes)))
}

/// Frees a block.
///
/// # Safety
///
/// The block was allocated here for this size, and is not used any more.
#[cold]
#[inline(never)]
pub(super) unsafe fn free(block: *mut u8, size: usize) {
    let Some(size) = Size::of(size) else { return };
    let mapping = mapping_of(block);
    if let Some(class) = size.class
        && let Some(free) = NonNull::new(mapping.cast::<Free>())
        && let Some(mut kept) = kept()
        && kept.has_room(class)
    {
        // SAFETY: nobody uses the block.
        return unsafe { kept.keep(class, free) };
    }
    // SAFETY: as above.
    unsafe { unmap(mapping, size) };
}

/// Resizes a block. Null when the system refuses it; then the old one is as it was.
///
/// # Safety
///
/// The block was allocated here for the old size. Both sizes are at least [`MIN_BYTES`].
#[cold]
#[inline(never)]
pub(super) unsafe fn resize(block: *mut u8, old: usize, new: usize) -> *mut u8 {
    let (Some(old_size), Some(new_size)) = (Size::of(old), Size::of(new)) else {
        return ptr::null_mut();
    };
    if old_size.bytes == new_size.bytes {
        return block;
    }
    let kept = new_size.class.and_then(|class| kept()?.take(class));
    if let Some(kept) = kept {
        let moved = block_in(kept.as_ptr().cast());
        // SAFETY: both blocks have so many bytes, and do not overlap.
        unsafe { moved.copy_from_nonoverlapping(block, old.min(new)) };
        // SAFETY: the caller guarantees the block.
        unsafe { free(block, old) };
        return moved;
    }
    // SAFETY: a mapping of this size, which is the caller's.
    let moved = unsafe {
        libc::mremap(
            mapping_of(block).cast(),
            old_size.bytes,
            new_size.bytes,
            libc::MREMAP_MAYMOVE,
        )
    };
    if moved != libc::MAP_FAILED {
        MAPPED_BYTES.fetch_add(new_size.bytes, Ordering::Relaxed);
        MAPPED_BYTES.fetch_sub(old_size.bytes, Ordering::Relaxed);
    }
    block_in(mapped(moved))
}

/// Cuts a block to a smaller size.
///
/// # Safety
///
/// The block was allocated here for the old size.
pub(super) unsafe fn cut(block: *mut u8, old: usize, new: usize) {
    let (Some(old), Some(new)) = (Size::of(old), Size::of(new)) else {
        return;
    };
    // SAFETY: the caller guarantees the block. A mapping is never too large to be made smaller.
    unsafe { libc::mremap(mapping_of(block).cast(), old.bytes, new.bytes, 0) };
    MAPPED_BYTES.fetch_sub(old.bytes - new.bytes, Ordering::Relaxed);
}

fn map(bytes: usize) -> *mut u8 {
    // SAFETY: a new mapping, of which nobody has the address.
    let block = unsafe {
        libc::mmap(
            ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if block != libc::MAP_FAILED {
        MAPPED_BYTES.fetch_add(bytes, Ordering::Relaxed);
    }
    mapped(block)
}

fn mapped(block: *mut libc::c_void) -> *mut u8 {
    if block == libc::MAP_FAILED {
        ptr::null_mut()
    } else {
        block.cast()
    }
}

/// Returns false when the block is kept instead.
///
/// # Safety
///
/// The block is a mapping of this size that nobody uses.
unsafe fn unmap(block: *mut u8, size: Size) -> bool {
    // SAFETY: the caller guarantees it.
    if unsafe { unmap_now(block, size) } {
        return true;
    }
    // The process has its maximum number of mappings, and a hole in one would make two.
    // SAFETY: as above; what it held is not needed.
    unsafe { libc::madvise(block.cast(), size.bytes, libc::MADV_DONTNEED) };
    if let Some(class) = size.class
        && let Some(free) = NonNull::new(block.cast::<Free>())
        && let Some(mut kept) = kept()
    {
        // SAFETY: as above.
        unsafe { kept.keep(class, free) };
    }
    false
}

/// Returns false when the system refuses it.
///
/// # Safety
///
/// As of [`unmap`].
unsafe fn unmap_now(block: *mut u8, size: Size) -> bool {
    // SAFETY: the caller guarantees it.
    let is_unmapped = unsafe { libc::munmap(block.cast(), size.bytes) } == 0;
    if is_unmapped {
        MAPPED_BYTES.fetch_sub(size.bytes, Ordering::Relaxed);
    }
    is_unmapped
}

/// The size of a mapping: of its block, rounded up, and of a page for what is before and behind the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    bytes: usize,
    /// None: too large to be kept.
    class: Option<usize>,
}

impl Size {
    /// Returns the size of the mapping for a block of so many bytes; None when there is none so large.
    fn of(bytes: usize) -> Option<Self> {
        if bytes > MAX_KEPT_BYTES {
            let bytes = bytes.checked_next_multiple_of(PAGE_BYTES)?;
            let bytes = bytes.checked_add(PAGE_BYTES)?;
            return Some(Self { bytes, class: None });
        }
        // From a power of two to the next there are STEPS equal steps.
        let power = (bytes.max(MIN_BYTES) - 1).ilog2().max(MIN_BYTES.ilog2());
        let step = (1 << power) / STEPS;
        let bytes = bytes.max(MIN_BYTES).next_multiple_of(step);
        let steps = (bytes - (1 << power)) / step;
        let class = (power - MIN_BYTES.ilog2()) as usize * STEPS + steps;
        Some(Self {
            bytes: bytes + PAGE_BYTES,
            class: Some(class),
        })
    }

    fn of_class(class: usize) -> Self {
        let power = MIN_BYTES << (class / STEPS);
        Self {
            bytes: power + power / STEPS * (class % STEPS) + PAGE_BYTES,
            class: Some(class),
        }
    }
}

/// What a block holds while it is kept.
struct Free {
    next: Option<NonNull<Self>>,
}

/// Freed blocks, by class.
struct Kept {
    classes: [Class; CLASSES],
    bytes: usize,
    /// The most bytes that were in use at once, in this interval and in the last one.
    peaks: [usize; 2],
}

#[derive(Clone, Copy)]
struct Class {
    first: Option<NonNull<Free>>,
    count: usize,
    /// The fewest that there were since the last trim.
    unused: usize,
}

// SAFETY: a block that is kept belongs to whoever has the list.
unsafe impl Send for Kept {}

impl Kept {
    const fn new() -> Self {
        let empty = Class {
            first: None,
            count: 0,
            unused: 0,
        };
        Self {
            classes: [empty; CLASSES],
            bytes: 0,
            peaks: [0; 2],
        }
    }

    fn take(&mut self, class: usize) -> Option<NonNull<Free>> {
        let list = &mut self.classes[class];
        let block = list.first?;
        // SAFETY: a block that is kept begins with this.
        list.first = unsafe { block.read() }.next;
        list.count -= 1;
        list.unused = list.unused.min(list.count);
        self.bytes -= Size::of_class(class).bytes;
        Some(block)
    }

    /// Whether a block that is in use may be kept: never is more held than was in use lately.
    fn has_room(&mut self, class: usize) -> bool {
        self.note_use();
        !self.exceeds_peak() && self.bytes + Size::of_class(class).bytes <= MAX_ALL_KEPT_BYTES
    }

    /// Notes how much is in use.
    fn note_use(&mut self) {
        let used = MAPPED_BYTES
            .load(Ordering::Relaxed)
            .saturating_sub(self.bytes);
        self.peaks[0] = self.peaks[0].max(used);
    }

    fn exceeds_peak(&self) -> bool {
        let peak = self.peaks[0].max(self.peaks[1]);
        MAPPED_BYTES.load(Ordering::Relaxed) > peak + MIN_ALL_KEPT_BYTES
    }

    /// Takes a block that is too much.
    fn take_excess(&mut self) -> Option<(NonNull<Free>, usize)> {
        if self.exceeds_peak() {
            self.take_any()
        } else {
            None
        }
    }

    /// # Safety
    ///
    /// The block is a mapping of this class that nobody uses.
    unsafe fn keep(&mut self, class: usize, block: NonNull<Free>) {
        let list = &mut self.classes[class];
        // SAFETY: the block is ours from here on, and large and aligned enough.
        unsafe { block.write(Free { next: list.first }) };
        list.first = Some(block);
        list.count += 1;
        self.bytes += Size::of_class(class).bytes;
    }

    fn take_any(&mut self) -> Option<(NonNull<Free>, usize)> {
        let class = self.classes.iter().position(|list| list.count > 0)?;
        Some((self.take(class)?, class))
    }

    /// Takes a block that nobody has needed since the last trim.
    fn take_unused(&mut self) -> Option<(NonNull<Free>, usize)> {
        let class = self.classes.iter().position(|list| list.unused > 0)?;
        let unused = self.classes[class].unused;
        let block = self.take(class)?;
        self.classes[class].unused = unused - 1;
        Some((block, class))
    }

    fn begin_interval(&mut self) {
        self.peaks = [0, self.peaks[0]];
        self.note_use();
        for list in &mut self.classes {
            list.unused = list.count;
        }
    }
}

/// Whether freed blocks are kept, so that [`trim`] must be called again.
pub(crate) fn has_kept_blocks() -> bool {
    kept().is_none_or(|kept| kept.bytes > 0)
}

/// Unmaps all blocks that are kept, when the system has no memory left. Returns whether there were any.
#[cold]
pub(super) fn release_kept() -> bool {
    let mut were_any = false;
    loop {
        let block = kept().and_then(|mut kept| kept.take_any());
        let Some((block, class)) = block else {
            return were_any;
        };
        // SAFETY: a block that was kept, and which nobody else has now.
        if !unsafe { unmap(block.as_ptr().cast(), Size::of_class(class)) } {
            return were_any;
        }
        were_any = true;
    }
}

/// Unmaps the blocks that nobody has needed for a second or two. To be called about once a second as long as
/// [`has_kept_blocks`].
#[cold]
#[inline(never)]
pub(crate) fn trim() {
    static FIRST: Lazy<Instant> = Lazy::new(Instant::now);
    static NEXT_MS: AtomicU64 = AtomicU64::new(0);

    let now_ms = FIRST.elapsed().as_millis() as u64;
    let is_time = |next: u64| (next <= now_ms).then_some(now_ms + TRIM_INTERVAL_MS);
    if NEXT_MS
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_time)
        .is_err()
    {
        return;
    }
    loop {
        let unused = kept().and_then(|mut kept| kept.take_unused());
        let Some((block, class)) = unused else { break };
        // SAFETY: a block that was kept, and which nobody else has now.
        unsafe { unmap(block.as_ptr().cast(), Size::of_class(class)) };
    }
    if let Some(mut kept) = kept() {
        kept.begin_interval();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 1).expect("a good layout")
    }

    #[test]
    fn a_size_class_is_at_most_a_quarter_too_large() {
        let mut last = 0;
        for class in 0..CLASSES {
            let bytes = Size::of_class(class).bytes - PAGE_BYTES;
            assert!(bytes > last && bytes.is_multiple_of(PAGE_BYTES), "{bytes}");
            for size in [last + 1, (last + bytes).div_ceil(2), bytes] {
                assert_eq!(
                    Size::of(size.max(MIN_BYTES)).unwrap().bytes,
                    bytes.max(MIN_BYTES) + PAGE_BYTES
                );
                assert!(
                    size < MIN_BYTES || Size::of(size) == Some(Size::of_class(class)),
                    "{size}"
                );
            }
            assert!(last == 0 || bytes <= last + last / 4, "{bytes}");
            last = bytes;
        }
        assert_eq!(last, MAX_KEPT_BYTES);
        let larger = Size::of(MAX_KEPT_BYTES + 1).unwrap();
        assert_eq!(
            (larger.bytes, larger.class),
            (MAX_KEPT_BYTES + 2 * PAGE_BYTES, None)
        );
        assert_eq!(Size::of(usize::MAX), None);
    }

    #[test]
    fn large_blocks_begin_behind_the_beginning_of_a_page_and_others_are_not_mapped() {
        assert!(takes(layout(MIN_BYTES)) && !takes(layout(MIN_BYTES - 1)));
        let block = alloc(MIN_BYTES + 1);
        assert!(!block.is_null() && mapping_of(block).addr().is_multiple_of(PAGE_BYTES));
        // SAFETY: a block of this size.
        unsafe { free(block, MIN_BYTES + 1) };
        assert!(alloc(isize::MAX as usize).is_null());
    }

    #[test]
    fn what_a_block_holds_is_there_after_it_was_resized() {
        let sizes = [
            MIN_BYTES,
            3 * MIN_BYTES,
            3 * MIN_BYTES + 1,
            40 << 20,
            1 << 20,
            MIN_BYTES,
        ];
        let mut block = alloc(sizes[0]);
        // SAFETY: a block of that size.
        unsafe { block.write_bytes(7, sizes[0]) };
        for pair in sizes.windows(2) {
            // SAFETY: a block of the first size.
            block = unsafe { resize(block, pair[0], pair[1]) };
            assert!(!block.is_null());
            // SAFETY: its first bytes were written.
            let bytes = unsafe { std::slice::from_raw_parts(block, sizes[0]) };
            assert!(bytes.iter().all(|&byte| byte == 7), "{pair:?}");
        }
        // SAFETY: a block of the last size.
        unsafe { free(block, sizes[5]) };
    }

    #[test]
    fn kept_blocks_are_taken_again_and_unused_ones_are_found() {
        let mut kept = Kept::new();
        let class = 3;
        let blocks =
            [(); 3].map(|()| NonNull::new(map(Size::of_class(class).bytes).cast()).unwrap());
        for block in blocks {
            // SAFETY: a mapping of this class that is this test's.
            unsafe { kept.keep(class, block) };
        }
        assert_eq!(kept.bytes, 3 * Size::of_class(class).bytes);
        assert_eq!(kept.take_unused(), None);
        kept.begin_interval();
        // Two of three are needed in this interval, one after the other.
        let first = kept.take(class).unwrap();
        let second = kept.take(class).unwrap();
        assert_eq!((first, second), (blocks[2], blocks[1]));
        // SAFETY: as above.
        unsafe { kept.keep(class, second) };
        assert_eq!(kept.take_unused(), Some((second, class)));
        assert_eq!(kept.take_unused(), None);
        assert_eq!(
            (kept.take(class), kept.take(class)),
            (Some(blocks[0]), None)
        );
        assert_eq!(kept.bytes, 0);
        for block in blocks {
            // SAFETY: as above.
            unsafe { unmap(block.as_ptr().cast(), Size::of_class(class)) };
        }
    }
}
