//! The memory of the cryptography, which is written in C: from C's allocator, and when that has none from the
//! library's reserve. A refused block would end a whole loop, and at worst the process.

use std::ffi::{c_char, c_int, c_void};
use std::hint::black_box;
use std::ptr;
use std::sync::Once;

use aws_lc_sys::CRYPTO_set_mem_functions;

use super::memory;

/// The size of a block from the reserve is kept before it. So the block is aligned as those of C's allocator.
const HEADER_BYTES: usize = 16;

/// Gives the cryptography its memory. Called before anything else of it is used.
pub(crate) fn lend() {
    static LENT: Once = Once::new();

    LENT.call_once(|| {
        // SAFETY: the functions do what the library asks of them, and no block of other memory is in use.
        let result =
            unsafe { CRYPTO_set_mem_functions(Some(allocate), Some(reallocate), Some(release)) };
        debug_assert_eq!(result, 1, "blocks were allocated before");
    });
}

unsafe extern "C" fn allocate(size: usize, _file: *const c_char, _line: c_int) -> *mut c_void {
    // For 0 bytes an allocator may return NULL, which would look refused, or a block whose length it does not
    // know: ThreadSanitizer tells of 1 byte, and takes it for one that was freed before.
    //
    // SAFETY: nothing is asked of the caller.
    let block = unsafe { libc::malloc(size.max(1)) };
    if block.is_null() {
        return allocate_from_reserve(size);
    }
    block
}

#[cold]
fn allocate_from_reserve(size: usize) -> *mut c_void {
    let Some(whole) = size.checked_add(HEADER_BYTES) else {
        return ptr::null_mut();
    };
    let start = memory::take_from_reserve(whole);
    if start.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: the block is as long as a header at least, and aligned for a number.
    unsafe { start.cast::<usize>().write(size) };
    start.wrapping_add(HEADER_BYTES).cast()
}

/// Returns how many bytes a block holds.
///
/// # Safety
///
/// [`allocate`] has returned the block.
unsafe fn size_of_block(block: *mut c_void) -> usize {
    if memory::is_from_reserve(block.cast()) {
        let start = block.cast::<u8>().wrapping_sub(HEADER_BYTES);
        // SAFETY: there `allocate_from_reserve` has written the size.
        return unsafe { start.cast::<usize>().read() };
    }
    // SAFETY: the block is of C's allocator.
    unsafe { libc::malloc_usable_size(block) }
}

unsafe extern "C" fn reallocate(
    block: *mut c_void,
    size: usize,
    file: *const c_char,
    line: c_int,
) -> *mut c_void {
    // SAFETY: nothing is asked of the caller.
    let new = unsafe { allocate(size, file, line) };
    if !new.is_null() {
        // SAFETY: the caller has `block` from `allocate`.
        let count = size.min(unsafe { size_of_block(block) });
        // SAFETY: both blocks hold as many bytes, and are not the same.
        unsafe { new.copy_from_nonoverlapping(block, count) };
        // SAFETY: the caller gives the block back.
        unsafe { release(block, file, line) };
    }
    new
}

/// Frees a block that is not NULL, after its content is cleared, which may be a key.
unsafe extern "C" fn release(block: *mut c_void, _file: *const c_char, _line: c_int) {
    // SAFETY: the caller has `block` from `allocate`.
    let size = unsafe { size_of_block(block) };
    // SAFETY: the block is that long, and the caller gives it back.
    unsafe { block.write_bytes(0, size) };
    // Else the compiler might leave out what nobody reads.
    let block = black_box(block);
    if memory::is_from_reserve(block.cast()) {
        let start = block.cast::<u8>().wrapping_sub(HEADER_BYTES);
        return memory::give_back_to_reserve(start, size + HEADER_BYTES);
    }
    // SAFETY: the block is of C's allocator.
    unsafe { libc::free(block) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_keeps_its_content_when_it_grows_and_shrinks() {
        // SAFETY: blocks of this test, within their sizes.
        unsafe {
            let block = allocate(3, ptr::null(), 0).cast::<[u8; 3]>();
            block.write(*b"abc");
            let grown = reallocate(block.cast(), 100_000, ptr::null(), 0).cast::<[u8; 3]>();
            assert_eq!(grown.read(), *b"abc");
            let shrunk = reallocate(grown.cast(), 2, ptr::null(), 0).cast::<[u8; 2]>();
            assert_eq!(shrunk.read(), *b"ab");
            release(shrunk.cast(), ptr::null(), 0);
            let empty = allocate(0, ptr::null(), 0);
            assert!(!empty.is_null());
            release(empty, ptr::null(), 0);
        }
    }

    #[test]
    fn the_reserve_has_blocks_that_are_given_back() {
        let block = allocate_from_reserve(100).cast::<[u8; 3]>();
        assert!(memory::is_from_reserve(block.cast()));
        // SAFETY: a block of this test, within its size.
        unsafe {
            assert_eq!(size_of_block(block.cast()), 100);
            block.write(*b"abc");
            let moved = reallocate(block.cast(), 200, ptr::null(), 0).cast::<[u8; 3]>();
            assert!(!memory::is_from_reserve(moved.cast()));
            assert_eq!(moved.read(), *b"abc");
            release(moved.cast(), ptr::null(), 0);
        }
        assert!(allocate_from_reserve(1 << 20).is_null());
    }

    #[test]
    fn what_is_too_large_is_refused() {
        // SAFETY: nothing is asked of the caller.
        unsafe {
            for size in [usize::MAX, usize::MAX - HEADER_BYTES, isize::MAX as usize] {
                assert!(allocate(size, ptr::null(), 0).is_null());
            }
        }
    }
}
