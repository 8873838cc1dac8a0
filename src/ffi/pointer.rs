// Arguments from C, checked as far as possible.

use std::ffi::{CStr, c_char, c_void};
use std::slice;

use super::status::Outcome;
use super::status::portal_status_value::{PORTAL_STATUS_ARGUMENT, PORTAL_STATUS_TOO_BIG};

/// `len` bytes at `data`; NULL will do for none.
///
/// # Safety
///
/// `data` is NULL, or readable for `len` bytes that nobody writes to as long as the slice is used.
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
    // SAFETY: not NULL, of a length that a slice can have, and the caller vouches for the bytes.
    Ok(unsafe { slice::from_raw_parts(data.cast(), len) })
}

/// A string that ends in NUL.
///
/// # Safety
///
/// `string` is NULL, or readable up to a NUL, and nobody writes to it as long as it is used.
pub(super) unsafe fn string<'a>(string: *const c_char) -> Outcome<&'a CStr> {
    if string.is_null() {
        return Err(PORTAL_STATUS_ARGUMENT);
    }
    // SAFETY: not NULL, and the caller vouches for the bytes and the NUL.
    Ok(unsafe { CStr::from_ptr(string) })
}

/// A string that ends in NUL and is UTF-8.
///
/// # Safety
///
/// As for [`string`].
pub(super) unsafe fn text<'a>(text: *const c_char) -> Outcome<&'a str> {
    // SAFETY: what is asked of the caller is what `string` asks.
    let text = unsafe { string(text) }?;
    text.to_str().map_err(|_| PORTAL_STATUS_ARGUMENT)
}

/// A value that only we can have made.
///
/// # Safety
///
/// `pointer` is NULL, or one that we gave out for a `T` that still lives and that nobody changes.
pub(super) unsafe fn borrow<'a, T>(pointer: *const T) -> Outcome<&'a T> {
    let pointer = place(pointer.cast_mut())?;
    // SAFETY: not NULL, aligned, and the caller vouches for what stands there.
    Ok(unsafe { &*pointer })
}

/// The same, to be changed.
///
/// # Safety
///
/// As for [`borrow`], and nobody else uses it meanwhile.
pub(super) unsafe fn borrow_mut<'a, T>(pointer: *mut T) -> Outcome<&'a mut T> {
    let pointer = place(pointer)?;
    // SAFETY: not NULL, aligned, and the caller vouches for what stands there.
    Ok(unsafe { &mut *pointer })
}

/// Where a `T` may stand: not NULL, and aligned.
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
