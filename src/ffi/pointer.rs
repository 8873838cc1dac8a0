// Conversion of arguments from C, checked as far as possible.

use std::ffi::{CStr, c_char, c_void};
use std::slice;

use super::status::Outcome;
use super::status::portal_status_value::{PORTAL_STATUS_ARGUMENT, PORTAL_STATUS_TOO_BIG};

/// Returns the `len` bytes at `data`, which may be NULL when `len` is 0.
///
/// # Safety
///
/// `data` is NULL, or readable for `len` bytes that are not written to while the slice is used.
pub(super) unsafe fn bytes<'a>(data: *const c_void, len: usize) -> Outcome<&'a [u8]> {
    if isize::try_from(len).is_err() {
        return Err(PORTAL_STATUS_TOO_BIG);
    }
    if len == 0 {
        return Ok(&[]);
    }
    if data.is_null() {
        return Err(PORTAL_STATUS_ARGUMENT);
    }
    // SAFETY: not NULL, of a length that a slice can have, and the caller guarantees the bytes.
    Ok(unsafe { slice::from_raw_parts(data.cast(), len) })
}

/// Returns a NUL-terminated string.
///
/// # Safety
///
/// `string` is NULL, or readable up to a NUL, and not written to while it is used.
pub(super) unsafe fn string<'a>(string: *const c_char) -> Outcome<&'a CStr> {
    if string.is_null() {
        return Err(PORTAL_STATUS_ARGUMENT);
    }
    // SAFETY: not NULL, and the caller guarantees the bytes and the NUL.
    Ok(unsafe { CStr::from_ptr(string) })
}

/// Returns a NUL-terminated string that is UTF-8.
///
/// # Safety
///
/// As for [`string`].
pub(super) unsafe fn text<'a>(text: *const c_char) -> Outcome<&'a str> {
    // SAFETY: the caller guarantees what `string` requires.
    let text = unsafe { string(text) }?;
    text.to_str().map_err(|_| PORTAL_STATUS_ARGUMENT)
}

/// Borrows a value that the library has created.
///
/// # Safety
///
/// `pointer` is NULL, or the library returned it for a `T` that still exists and is not changed
/// meanwhile.
pub(super) unsafe fn borrow<'a, T>(pointer: *const T) -> Outcome<&'a T> {
    let pointer = place(pointer.cast_mut())?;
    // SAFETY: not NULL, aligned, and the caller guarantees the value.
    Ok(unsafe { &*pointer })
}

/// Borrows such a value mutably.
///
/// # Safety
///
/// As for [`borrow`], and the value is not used otherwise meanwhile.
pub(super) unsafe fn borrow_mut<'a, T>(pointer: *mut T) -> Outcome<&'a mut T> {
    let pointer = place(pointer)?;
    // SAFETY: not NULL, aligned, and the caller guarantees the value.
    Ok(unsafe { &mut *pointer })
}

/// Checks that a pointer to a `T` is not NULL, and aligned.
pub(super) fn place<T>(pointer: *mut T) -> Outcome<*mut T> {
    if pointer.is_null() || !pointer.is_aligned() {
        return Err(PORTAL_STATUS_ARGUMENT);
    }
    Ok(pointer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr;

    #[test]
    fn null_is_no_bytes_and_not_more() {
        // SAFETY: NULL may be passed.
        let (none, one) = unsafe { (bytes(ptr::null(), 0), bytes(ptr::null(), 1)) };
        assert_eq!(none, Ok(&[][..]));
        assert_eq!(one, Err(PORTAL_STATUS_ARGUMENT));
    }

    #[test]
    fn a_length_that_no_object_has_is_too_big() {
        let byte = 0_u8;
        for len in [usize::MAX, isize::MAX as usize + 1] {
            // SAFETY: the length is refused before a byte is read.
            let refused = unsafe { bytes((&raw const byte).cast(), len) };
            assert_eq!(refused, Err(PORTAL_STATUS_TOO_BIG), "{len}");
        }
    }

    #[test]
    fn text_is_checked_and_null_is_none() {
        // SAFETY: each is NULL or a literal that ends in NUL.
        let read = |value: *const c_char| unsafe { text(value) };
        assert_eq!(read(c"/caf\u{e9}".as_ptr()), Ok("/caf\u{e9}"));
        assert_eq!(read(c"/\xff".as_ptr()), Err(PORTAL_STATUS_ARGUMENT));
        assert_eq!(read(ptr::null()), Err(PORTAL_STATUS_ARGUMENT));
    }

    #[test]
    fn a_place_is_aligned() {
        let mut value = 0_u64;
        let pointer = &raw mut value;
        assert_eq!(place(pointer), Ok(pointer));
        assert_eq!(
            place(pointer.wrapping_byte_add(1)),
            Err(PORTAL_STATUS_ARGUMENT)
        );
        assert_eq!(place(ptr::null_mut::<u64>()), Err(PORTAL_STATUS_ARGUMENT));
    }
}
