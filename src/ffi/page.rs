//! # Plain HTTP, log, version

use std::ffi::{c_char, c_void};

use super::entry::guard;
use super::pointer::{borrow_mut, bytes, text};
use super::status::portal_status;
use super::types::portal_options;
use crate::server;

/// Defines the response to GET and HEAD requests for a path, or replaces it: for a health check or
/// a demo page.
///
/// Pages are process-wide, as paths are. A page and a path may have the same string: a request with
/// "Upgrade: websocket" goes to the path, a plain GET or HEAD to the page. A plain GET for a path
/// without a page is answered with 426.
///
/// The response has an ETag; a request whose If-None-Match has that tag is answered with 304 (RFC
/// 9110 section 13.1.2). The connection stays open for further requests as long as PAGE_KEEP_ALIVE
/// says. With HTTP/1.0 it is closed at once.
///
/// @param path          As for portal_define_path. Borrowed until the call returns.
/// @param content_type  The value of the "Content-Type" header, NUL-terminated. Copied.
/// @param body          `len` bytes. Copied. May be NULL when `len` is 0.
/// @param len           Bytes in `body`.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_ARGUMENT     NULL, an invalid path or one that conflicts, or an invalid
///                                    content type.
/// @return PORTAL_STATUS_TOO_BIG      `len` is over PTRDIFF_MAX.
/// @return PORTAL_STATUS_MEMORY       An allocation failed.
/// @return PORTAL_STATUS_UNSUPPORTED  The process is a child forked after a start.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portal_define_page(
    path: *const c_char,
    content_type: *const c_char,
    body: *const c_void,
    len: usize,
) -> portal_status {
    guard(|| {
        // SAFETY: a string that ends in NUL, or NULL, as the comment requires.
        let path = unsafe { text(path) }?;
        // SAFETY: a string that ends in NUL, or NULL, as the comment requires.
        let content_type = unsafe { text(content_type) }?;
        // SAFETY: the comment requires of `body` and `len` what `bytes` requires.
        let body = unsafe { bytes(body, len) }?;
        Ok(server::define_page(path, content_type, body)?)
    })
}

/// Defines the response to GET and HEAD requests for a path, or replaces it, for the servers that are
/// started with these options from then on, and for no other.
///
/// @param options       Borrowed until the call returns.
/// @param path          As for portal_define_path. Borrowed until the call returns.
/// @param content_type  The value of the "Content-Type" header, NUL-terminated. Copied.
/// @param body          `len` bytes. Copied. May be NULL when `len` is 0.
/// @param len           Bytes in `body`.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_ARGUMENT     NULL, an invalid path or one that conflicts, or an invalid
///                                    content type.
/// @return PORTAL_STATUS_TOO_BIG      `len` is over PTRDIFF_MAX.
/// @return PORTAL_STATUS_MEMORY       An allocation failed.
/// @return PORTAL_STATUS_UNSUPPORTED  The process is a child forked after a start.
///
/// @threads  Any thread, one at a time for the same options, and inside any callback.
/// @since    0.2
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portal_options_define_page(
    options: *mut portal_options,
    path: *const c_char,
    content_type: *const c_char,
    body: *const c_void,
    len: usize,
) -> portal_status {
    guard(|| {
        // SAFETY: the caller's options, or NULL, and no other thread uses them.
        let options = unsafe { borrow_mut(options) }?;
        // SAFETY: a string that ends in NUL, or NULL, as the comment asks.
        let path = unsafe { text(path) }?;
        // SAFETY: a string that ends in NUL, or NULL, as the comment asks.
        let content_type = unsafe { text(content_type) }?;
        // SAFETY: what the comment asks of `body` and `len` is what `bytes` asks.
        let body = unsafe { bytes(body, len) }?;
        Ok(server::define_own_page(
            &mut options.paths,
            path,
            content_type,
            body,
        )?)
    })
}

/// Removes a page.
///
/// @param path  The string that was defined. Borrowed until the call returns.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_ARGUMENT     NULL, or no such page is defined.
/// @return PORTAL_STATUS_UNSUPPORTED  The process is a child forked after a start.
/// @return PORTAL_STATUS_MEMORY       An allocation failed.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portal_undefine_page(path: *const c_char) -> portal_status {
    guard(|| {
        // SAFETY: a string that ends in NUL, or NULL, as the comment requires.
        let path = unsafe { text(path) }?;
        Ok(server::undefine_page(path)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr;

    #[test]
    fn a_page_without_path_type_or_body_is_an_argument() {
        let text = c"text/plain".as_ptr();
        // SAFETY: literals, and what is refused before it is read.
        unsafe {
            assert_eq!(portal_define_page(ptr::null(), text, text.cast(), 4), -1);
            assert_eq!(
                portal_define_page(c"/".as_ptr(), ptr::null(), text.cast(), 4),
                -1
            );
            assert_eq!(portal_define_page(c"/".as_ptr(), text, ptr::null(), 4), -1);
            assert_eq!(
                portal_define_page(c"/".as_ptr(), text, text.cast(), usize::MAX),
                -4
            );
            assert_eq!(
                portal_define_page(c"/\xff".as_ptr(), text, text.cast(), 4),
                -1
            );
            assert_eq!(portal_undefine_page(ptr::null()), -1);
        }
    }
}
