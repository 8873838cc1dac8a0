//! # Requests
//!
//! A request is valid inside `upgrade` and `connect`, or as long as the pulled record that holds
//! it. The strings that these functions return belong to the request and are valid as long as it.

use std::ffi::{CStr, c_char};
use std::ptr;

use super::entry::guard;
use super::guard::guard_or;
use super::pointer::{borrow, string};
use super::status::portal_status;
use super::types::portal_request;
use crate::proto;
use crate::server::{Request, TlsFact};

/// The maximum number of headers in a request; a request with more is refused with 431.
pub const PORTAL_MAX_HEADERS: u32 = 100;

const _: () = assert!(PORTAL_MAX_HEADERS as usize == proto::MAX_HEADERS);

/// Returns the path and query as the client sent them.
///
/// @param request  May be NULL.
///
/// @return The target; "" for NULL.
///
/// @threads  Inside `upgrade` and `connect`, or the thread that pulled.
/// @since    0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portal_request_target(request: *const portal_request) -> *const c_char {
    // SAFETY: the caller's request, or NULL.
    unsafe { read_or_empty(request, Request::target) }
}

/// Returns the path, percent-decoded, without the query.
///
/// @param request  May be NULL.
///
/// @return The path, which is UTF-8; "" for NULL.
///
/// @threads  Inside `upgrade` and `connect`, or the thread that pulled.
/// @since    0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portal_request_path(request: *const portal_request) -> *const c_char {
    // SAFETY: the caller's request, or NULL.
    unsafe { read_or_empty(request, Request::path) }
}

/// Returns the query, which follows the "?", as the client sent it.
///
/// @param request  May be NULL.
///
/// @return The query; "" when there is none, and for NULL.
///
/// @threads  Inside `upgrade` and `connect`, or the thread that pulled.
/// @since    0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portal_request_query(request: *const portal_request) -> *const c_char {
    // SAFETY: the caller's request, or NULL.
    unsafe { read_or_empty(request, Request::query) }
}

/// Returns a header by its name. Repeated headers are joined with ", ", cookies with "; ".
///
/// @param request  May be NULL.
/// @param name     The name, in upper or lower case, NUL-terminated. Borrowed until the call
///                 returns. May be NULL.
///
/// @return The value, which need not be UTF-8; NULL when absent.
///
/// @threads  Inside `upgrade` and `connect`, or the thread that pulled.
/// @since    0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portal_request_header(
    request: *const portal_request,
    name: *const c_char,
) -> *const c_char {
    // SAFETY: the caller's request and string, or NULL.
    unsafe { find(request, name, Request::header) }
}

/// Returns the number of headers. Repeated headers count separately.
///
/// @param request  May be NULL.
///
/// @return The number; 0 for NULL.
///
/// @threads  Inside `upgrade` and `connect`, or the thread that pulled.
/// @since    0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portal_request_header_count(request: *const portal_request) -> usize {
    guard_or(0, || {
        // SAFETY: the caller's request, or NULL.
        let request = unsafe { borrow(request.cast::<Request>()) };
        request.map_or(0, Request::header_count)
    })
}

/// Returns the name of a header as the client sent it.
///
/// @param request  May be NULL.
/// @param index    From 0, in the order received.
///
/// @return The name; NULL when `index` is out of range.
///
/// @threads  Inside `upgrade` and `connect`, or the thread that pulled.
/// @since    0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portal_request_header_name(
    request: *const portal_request,
    index: usize,
) -> *const c_char {
    // SAFETY: the caller's request, or NULL.
    unsafe { read(request, |request| request.header_name(index)) }
}

/// Returns the value of a header as the client sent it.
///
/// @param request  May be NULL.
/// @param index    From 0, in the order received.
///
/// @return The value, which need not be UTF-8; NULL when `index` is out of range.
///
/// @threads  Inside `upgrade` and `connect`, or the thread that pulled.
/// @since    0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portal_request_header_value(
    request: *const portal_request,
    index: usize,
) -> *const c_char {
    // SAFETY: the caller's request, or NULL.
    unsafe { read(request, |request| request.header_value(index)) }
}

/// Returns a parameter of the path, percent-decoded.
///
/// @param request  May be NULL.
/// @param name     The name in the path's definition, without braces and star, NUL-terminated.
///                 Borrowed until the call returns. May be NULL.
///
/// @return The value, which is UTF-8; NULL when absent.
///
/// @threads  Inside `upgrade` and `connect`, or the thread that pulled.
/// @since    0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portal_request_param(
    request: *const portal_request,
    name: *const c_char,
) -> *const c_char {
    // SAFETY: the caller's request and string, or NULL.
    unsafe { find(request, name, Request::param) }
}

/// Returns a parameter of the query, decoded: percent-encoding, and "+" for a space.
///
/// @param request  May be NULL.
/// @param name     The name, decoded, NUL-terminated. Borrowed until the call returns. May be NULL.
///
/// @return The value of the first parameter of that name, which is UTF-8; NULL when absent, and when
///         the decoded value is not UTF-8 or contains U+0000.
///
/// @threads  Inside `upgrade` and `connect`, or the thread that pulled.
/// @since    0.2
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portal_request_query_param(
    request: *const portal_request,
    name: *const c_char,
) -> *const c_char {
    // SAFETY: the caller's request and string, or NULL.
    unsafe { find(request, name, Request::query_param) }
}

/// Returns a cookie (RFC 6265 section 4.2.1). Double quotes around the value are removed; nothing else is
/// decoded.
///
/// @param request  May be NULL.
/// @param name     The name, NUL-terminated. Borrowed until the call returns. May be NULL.
///
/// @return The value of the first cookie of that name, which is UTF-8; NULL when absent, and when the
///         value is not UTF-8.
///
/// @threads  Inside `upgrade` and `connect`, or the thread that pulled.
/// @since    0.2
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portal_request_cookie(
    request: *const portal_request,
    name: *const c_char,
) -> *const c_char {
    // SAFETY: the caller's request and string, or NULL.
    unsafe { find(request, name, Request::cookie) }
}

/// Returns the address of the peer: "192.0.2.1:5000", "[2001:db8::1]:5000", "[fe80::1%2]:5000" with the number
/// of its interface, or "unix".
///
/// Behind a proxy, with PORTAL_OPTION_PROXY_PROTOCOL or PORTAL_OPTION_TRUSTED_PROXIES, it is the client's, as
/// the proxy has named it; without a port if that is not known: "192.0.2.1", "2001:db8::1".
///
/// @param request  May be NULL.
///
/// @return The address; "" for NULL.
///
/// @threads  Inside `upgrade` and `connect`, or the thread that pulled.
/// @since    0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portal_request_peer(request: *const portal_request) -> *const c_char {
    // SAFETY: the caller's request, or NULL.
    unsafe { read_or_empty(request, Request::peer) }
}

/// What portal_request_tls returns.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "C programs use these names")]
pub enum portal_tls {
    /// "TLSv1.2" or "TLSv1.3".
    PORTAL_TLS_VERSION = 1,
    /// The cipher suite by its registered name, for example "TLS_AES_128_GCM_SHA256".
    PORTAL_TLS_CIPHER = 2,
    /// The name of the server that the client asked for (SNI, RFC 6066 section 3), in lower case.
    PORTAL_TLS_SERVER_NAME = 3,
    /// The certificate that the client presented, in PEM. It was verified: see TLS_CLIENT_CA.
    PORTAL_TLS_CLIENT_CERTIFICATE = 4,
    /// The subject of that certificate (RFC 4514), for example "CN=alice,O=Example,C=DE".
    PORTAL_TLS_CLIENT_SUBJECT = 5,
}

/// Returns what is known of the connection's encryption.
///
/// @param request  May be NULL.
/// @param what     A number of enum portal_tls.
///
/// @return The text, which is UTF-8; "" when there is none: without TLS, or without a certificate of
///         the client. "" for NULL, for an unknown number, and when an allocation failed.
///
/// @threads  Inside `upgrade` and `connect`, or the thread that pulled.
/// @since    0.2
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portal_request_tls(
    request: *const portal_request,
    what: u32,
) -> *const c_char {
    let fact = match what {
        1 => TlsFact::Version,
        2 => TlsFact::Cipher,
        3 => TlsFact::ServerName,
        4 => TlsFact::ClientCertificate,
        5 => TlsFact::ClientSubject,
        _ => return c"".as_ptr(),
    };
    // SAFETY: the caller's request, or NULL.
    unsafe { read_or_empty(request, |request| request.tls(fact)) }
}

/// Returns the selected subprotocol.
///
/// @param request  May be NULL.
///
/// @return Its name; "" when there is none, and for NULL.
///
/// @threads  Inside `upgrade` and `connect`, or the thread that pulled.
/// @since    0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portal_request_subprotocol(
    request: *const portal_request,
) -> *const c_char {
    // SAFETY: the caller's request, or NULL.
    unsafe { read_or_empty(request, Request::subprotocol) }
}

/// Sets a header of the response, which is the 101 or the rejection.
///
/// It replaces a header of the same name that was set before; "Set-Cookie" is added instead.
///
/// @param request  The request passed to `upgrade`.
/// @param name     A token, NUL-terminated. Copied. Not Connection, Upgrade, Sec-WebSocket-*,
///                 Content-Length or Transfer-Encoding.
/// @param value    NUL-terminated, without CR and LF. Copied.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_ARGUMENT  NULL, or a name or value that may not be set.
/// @return PORTAL_STATUS_BUSY      Outside `upgrade`.
/// @return PORTAL_STATUS_MEMORY    An allocation failed.
///
/// @threads  Inside `upgrade`.
/// @since    0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portal_request_set_header(
    request: *mut portal_request,
    name: *const c_char,
    value: *const c_char,
) -> portal_status {
    guard(|| {
        // SAFETY: the caller's request, or NULL.
        let request = unsafe { borrow(request.cast::<Request>()) }?;
        // SAFETY: a string that ends in NUL, or NULL, as the comment requires.
        let name = unsafe { string(name) }?;
        // SAFETY: a string that ends in NUL, or NULL, as the comment requires.
        let value = unsafe { string(value) }?;
        Ok(request.set_header(name.to_bytes(), value.to_bytes())?)
    })
}

/// Selects the subprotocol, in place of the one selected by SUBPROTOCOLS (RFC 6455 section 4.2.2).
///
/// @param request  The request passed to `upgrade`.
/// @param name     A subprotocol that the client offered, NUL-terminated. Copied.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_ARGUMENT  NULL, or a subprotocol that was not offered.
/// @return PORTAL_STATUS_BUSY      Outside `upgrade`.
///
/// @threads  Inside `upgrade`.
/// @since    0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portal_request_select_subprotocol(
    request: *mut portal_request,
    name: *const c_char,
) -> portal_status {
    guard(|| {
        // SAFETY: the caller's request, or NULL.
        let request = unsafe { borrow(request.cast::<Request>()) }?;
        // SAFETY: a string that ends in NUL, or NULL, as the comment requires.
        let name = unsafe { string(name) }?;
        Ok(request.select_subprotocol(name.to_bytes())?)
    })
}

/// Returns the result of `read` for C; NULL for NULL.
///
/// # Safety
///
/// `request` is NULL or was passed to the caller, and is still valid.
unsafe fn read(
    request: *const portal_request,
    read: impl for<'a> FnOnce(&'a Request) -> Option<&'a CStr>,
) -> *const c_char {
    guard_or(ptr::null(), || {
        // SAFETY: NULL, or from `as_opaque`.
        let request = unsafe { borrow(request.cast::<Request>()) };
        request
            .ok()
            .and_then(read)
            .map_or(ptr::null(), CStr::as_ptr)
    })
}

/// [`read`] for a part that every request has; "" for NULL.
///
/// # Safety
///
/// As for [`read`].
unsafe fn read_or_empty(
    request: *const portal_request,
    part: impl for<'a> FnOnce(&'a Request) -> &'a CStr,
) -> *const c_char {
    // SAFETY: the caller guarantees what `read` requires.
    let found = unsafe { read(request, |request| Some(part(request))) };
    if found.is_null() { c"".as_ptr() } else { found }
}

/// [`read`] for a part that has a name.
///
/// # Safety
///
/// As for [`read`]; `name` is NULL or ends in NUL.
unsafe fn find(
    request: *const portal_request,
    name: *const c_char,
    find: impl for<'a> FnOnce(&'a Request, &[u8]) -> Option<&'a CStr>,
) -> *const c_char {
    // SAFETY: the caller guarantees what `string` requires.
    let Ok(name) = (unsafe { string(name) }) else {
        return ptr::null();
    };
    // SAFETY: the caller guarantees what `read` requires.
    unsafe { read(request, |request| find(request, name.to_bytes())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffi::callback::as_opaque;

    /// Reads a string as C would; None for NULL.
    fn seen<'a>(text: *const c_char) -> Option<&'a CStr> {
        // SAFETY: the tests' requests are still valid.
        (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) })
    }

    #[test]
    fn a_null_request_has_no_parts() {
        let none = ptr::null_mut();
        // SAFETY: NULL may be passed, and the strings are literals.
        unsafe {
            for text in [
                portal_request_target(none),
                portal_request_path(none),
                portal_request_query(none),
                portal_request_peer(none),
                portal_request_subprotocol(none),
                portal_request_tls(none, 1),
            ] {
                assert_eq!(seen(text), Some(c""));
            }
            for text in [
                portal_request_header(none, c"Host".as_ptr()),
                portal_request_header_name(none, 0),
                portal_request_header_value(none, 0),
                portal_request_param(none, c"name".as_ptr()),
                portal_request_query_param(none, c"q".as_ptr()),
                portal_request_cookie(none, c"sid".as_ptr()),
            ] {
                assert_eq!(seen(text), None);
            }
            assert_eq!(portal_request_header_count(none), 0);
            assert_eq!(
                portal_request_set_header(none, c"X".as_ptr(), c"1".as_ptr()),
                -1
            );
            assert_eq!(
                portal_request_select_subprotocol(none, c"chat".as_ptr()),
                -1
            );
        }
    }

    #[test]
    fn each_part_is_read_from_c() {
        let request = Request::example();
        let c = as_opaque(&request);
        // SAFETY: the request of this test, literals and NULL.
        unsafe {
            assert_eq!(seen(portal_request_target(c)), Some(c"/a%20b?q"));
            assert_eq!(seen(portal_request_path(c)), Some(c"/a b"));
            assert_eq!(seen(portal_request_query(c)), Some(c"q"));
            assert_eq!(seen(portal_request_header(c, c"HOST".as_ptr())), Some(c"h"));
            assert_eq!(seen(portal_request_header(c, ptr::null())), None);
            assert_eq!(portal_request_header_count(c), 1);
            assert_eq!(seen(portal_request_header_name(c, 0)), Some(c"Host"));
            assert_eq!(seen(portal_request_header_value(c, 0)), Some(c"h"));
            assert_eq!(seen(portal_request_header_name(c, usize::MAX)), None);
            assert_eq!(
                seen(portal_request_param(c, c"name".as_ptr())),
                Some(c"a b")
            );
            assert_eq!(seen(portal_request_param(c, ptr::null())), None);
            assert_eq!(
                seen(portal_request_query_param(c, c"q".as_ptr())),
                Some(c"")
            );
            assert_eq!(seen(portal_request_query_param(c, ptr::null())), None);
            assert_eq!(seen(portal_request_cookie(c, c"sid".as_ptr())), None);
            assert_eq!(seen(portal_request_peer(c)), Some(c"unix"));
            for what in (0..=6).chain([u32::MAX]) {
                assert_eq!(seen(portal_request_tls(c, what)), Some(c""));
            }

            let c = c.cast_mut();
            assert_eq!(portal_request_select_subprotocol(c, c"other".as_ptr()), -1);
            assert_eq!(portal_request_select_subprotocol(c, ptr::null()), -1);
            assert_eq!(portal_request_select_subprotocol(c, c"chat".as_ptr()), 0);
            assert_eq!(seen(portal_request_subprotocol(c)), Some(c"chat"));
            assert_eq!(
                portal_request_set_header(c, c"X-One".as_ptr(), c"1".as_ptr()),
                0
            );
            assert_eq!(
                portal_request_set_header(c, c"X-One".as_ptr(), ptr::null()),
                -1
            );
            request.seal();
            assert_eq!(
                portal_request_set_header(c, c"X-One".as_ptr(), c"2".as_ptr()),
                -9
            );
            assert_eq!(portal_request_select_subprotocol(c, c"chat".as_ptr()), -9);
        }
    }
}
