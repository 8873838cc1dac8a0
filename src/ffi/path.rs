//! # Paths and handlers
//!
//! Paths are process-wide: every server serves them. They may be defined, redefined and undefined
//! at any time, also while clients are connected. The next event of a connected websocket goes to
//! the newest definition; websockets of an undefined path keep its last definition until they end.
//!
//! A path is exact ("/echo"), may contain parameters ("/room/{name}") and may end in a catch-all
//! ("/files/{*rest}"). An exact match takes precedence over a parameter, and a parameter over a
//! catch-all. "{{" is a literal brace. Case and trailing slashes are significant, and nothing is
//! normalised. The query string is not part of a path: a path with "?" or "#" gives
//! PORTAL_STATUS_ARGUMENT. ":id" and "*" are literal; the log warns about them, at level 2. The
//! path of a request is split at "/" before it is decoded, so "%2F" stays inside a parameter.
//! Malformed escapes, "%00" and escapes that decode to invalid UTF-8 are refused with 400, an
//! unknown path with 404.
//!
//! A handler fails when it returns a number other than 0 and PORTAL_STATUS_GONE, so `return
//! portal_send(...)` is a correct handler. `upgrade` fails with PORTAL_STATUS_GONE, too, so that no
//! client is accepted by mistake.
//!
//! When a handler fails, `error` is called with PORTAL_STATUS_HANDLER, the event and the returned
//! number; the websocket stays open unless the program closes it. `error` is also called when the
//! peer violates the protocol, when a limit is exceeded, and when the connection fails for any
//! reason other than the peer's leaving; `disconnect` follows. End of stream, a reset and timeouts
//! are not errors: they cause only `disconnect`. When `disconnect` fails, `error` is called after
//! it, as the last callback. What fails before the path is known is reported to the log and the
//! metrics.

use std::ffi::{c_char, c_void};
use std::mem::MaybeUninit;
use std::slice;
use std::sync::Arc;

use super::callback::Handlers;
use super::guard::guard;
use super::pointer::{place, text};
use super::status::portal_status_value::{PORTAL_STATUS_ARGUMENT, PORTAL_STATUS_UNSUPPORTED};
use super::status::{Outcome, portal_status};
use super::types::{portal_request, portal_websocket};
use crate::server;

/// Describes an error; passed to `error`. Valid, with its message, until the callback returns (when
/// pulled: as long as the records are valid).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct portal_error {
    /// The number of bytes that the library has filled in. Check it before reading a field added
    /// after 0.1.
    pub size: usize,
    /// PORTAL_STATUS_HANDLER, _PROTOCOL, _IO, _TOO_BIG, _UTF8, _MEMORY, or one added later.
    pub status: portal_status,
    /// The enum portal_event during which it occurred.
    pub event: u32,
    /// What the handler returned; 0 for other errors.
    pub code: i32,
    /// The close code with which the websocket is closed (RFC 6455 section 7.4); 0 when it stays
    /// open.
    pub close_code: u32,
    /// Human-readable. Never NULL.
    pub message: *const c_char,
}

/// The callbacks of a path. Any function may be NULL: the event is then ignored.
///
/// Fill it with zeros and set `size` first. portal_define_path copies it.
///
/// Callbacks run on the threads that DISPATCH selects. Callbacks of one websocket never overlap;
/// those of different websockets may. A callback may call every function of this header. It must
/// return normally, and other websockets of its thread wait for it. The pointers that it receives
/// are valid until it returns.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct portal_handlers {
    /// sizeof(portal_handlers), as your program was compiled.
    pub size: usize,
    /// The websocket is open; its state is OPEN. Return 0.
    pub connect: Option<
        unsafe extern "C" fn(
            websocket: portal_websocket,
            request: *const portal_request,
            user_data: *mut c_void,
        ) -> i32,
    >,
    /// A complete message was received: PORTAL_MESSAGE_TEXT, validated as UTF-8, or
    /// PORTAL_MESSAGE_BINARY. Return 0.
    pub message: Option<
        unsafe extern "C" fn(
            websocket: portal_websocket,
            r#type: u32,
            data: *const c_void,
            len: usize,
            user_data: *mut c_void,
        ) -> i32,
    >,
    /// The websocket has ended. Called exactly once for every websocket whose `connect` ran, and
    /// never inside portal_close or portal_abort. The state is CLOSED and sends return GONE.
    /// portal_data still works: free your data here. Return 0.
    ///
    /// `code` is the code of the peer's close frame (1005 when the frame had none). Without such a
    /// frame it is the code that Portal sent when it failed the connection (1002, 1007 to 1011),
    /// else 1006. `reason` is never NULL.
    pub disconnect: Option<
        unsafe extern "C" fn(
            websocket: portal_websocket,
            code: u32,
            reason: *const c_char,
            user_data: *mut c_void,
        ) -> i32,
    >,
    /// An error occurred on this websocket. When the error closes it, its state is CLOSING and
    /// `disconnect` follows. Without this function, the failure of a handler is logged at level 2.
    pub error: Option<
        unsafe extern "C" fn(
            websocket: portal_websocket,
            error: *const portal_error,
            user_data: *mut c_void,
        ),
    >,
    /// A client requests a websocket. Its state is CONNECTING: portal_set_data, portal_data,
    /// portal_state_of and portal_abort work; send, ping, close and flush return BUSY. Return 0 to
    /// accept; `connect` is then always called, even if the client has disconnected in the
    /// meantime. Return 400 to 599 to reject the request with that HTTP status. 1 is reserved. Any
    /// other value, also PORTAL_STATUS_GONE, is a failure and rejects the request with 500.
    pub upgrade: Option<
        unsafe extern "C" fn(
            websocket: portal_websocket,
            request: *mut portal_request,
            user_data: *mut c_void,
        ) -> i32,
    >,
    /// The send queue has fallen to half of MAX_QUEUED after one or more PORTAL_STATUS_FULL. The
    /// callback may begin before the call that returns FULL has returned on another thread.
    pub drain: Option<unsafe extern "C" fn(websocket: portal_websocket, user_data: *mut c_void)>,
    /// A pong was received: the reply to a portal_ping, or an unsolicited one.
    pub pong: Option<
        unsafe extern "C" fn(
            websocket: portal_websocket,
            data: *const c_void,
            len: usize,
            user_data: *mut c_void,
        ),
    >,
    /// `user_data` is no longer in use. Called once for each successful definition, on any thread,
    /// after the definition was replaced or undefined.
    pub release: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
}

/// sizeof(portal_handlers) in version 0.1.
const FIRST_SIZE: usize = 9 * size_of::<usize>();
/// More than this is no size but rubbish.
const LAST_SIZE: usize = 4096;

/// Defines the handlers of a path, or replaces them.
///
/// To redefine a path, pass the identical string. A path that differs from another only in the
/// names of its parameters conflicts with it. After a redefinition, the old `release` is called as
/// soon as no callback of the old definition is running; this may happen inside this call.
///
/// @param path       Starts with "/". Borrowed until the call returns.
/// @param handlers   Its `size` is at least that of version 0.1, at most 4,096, and a multiple of
///                   the size of a pointer. Bytes that this library does not know must be 0.
///                   Borrowed until the call returns.
/// @param user_data  Passed to every handler, never dereferenced. May be NULL. Must stay valid
///                   until `release`.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_ARGUMENT     NULL, an invalid `size`, an invalid path, or one that
///                                    conflicts.
/// @return PORTAL_STATUS_UNSUPPORTED  A handler that this library does not know is set, or the
///                                    process is a child forked after a start.
/// @return PORTAL_STATUS_MEMORY       An allocation failed.
///         On failure, `release` is not called and the previous definition stays.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portal_define_path(
    path: *const c_char,
    handlers: *const portal_handlers,
    user_data: *mut c_void,
) -> portal_status {
    guard(|| {
        // SAFETY: a string that ends in NUL, or NULL, as the comment asks.
        let path = unsafe { text(path) }?;
        // SAFETY: `size` bytes, or NULL, as the comment asks.
        let functions = unsafe { read_handlers(handlers) }?;
        let application = Arc::new(Handlers::new(path, functions, user_data)?);
        server::define_path(path, application.clone())?;
        application.arm();
        Ok(())
    })
}

/// Copies the handlers that this version knows.
///
/// # Safety
///
/// `handlers` is NULL or readable for as many bytes as its `size` says.
unsafe fn read_handlers(handlers: *const portal_handlers) -> Outcome<portal_handlers> {
    let handlers = place(handlers.cast_mut())?;
    // SAFETY: `size` comes first, and the pointer is aligned and not NULL.
    let size = unsafe { handlers.cast::<usize>().read() };
    if !(FIRST_SIZE..=LAST_SIZE).contains(&size) || !size.is_multiple_of(size_of::<usize>()) {
        return Err(PORTAL_STATUS_ARGUMENT);
    }
    // SAFETY: the caller vouches for `size` bytes.
    let given = unsafe { slice::from_raw_parts(handlers.cast::<u8>(), size) };
    let (known, newer) = given.split_at(size.min(size_of::<portal_handlers>()));
    if newer.iter().any(|&byte| byte != 0) {
        return Err(PORTAL_STATUS_UNSUPPORTED);
    }
    let mut functions = MaybeUninit::<portal_handlers>::zeroed();
    // SAFETY: `known` is no longer than `functions`, and lies in the caller's memory.
    unsafe {
        functions
            .as_mut_ptr()
            .cast::<u8>()
            .copy_from(known.as_ptr(), known.len())
    };
    // SAFETY: each field is a number or a nullable function pointer, for which zeros are a value;
    // what was copied over them are the caller's own numbers and functions.
    Ok(unsafe { functions.assume_init() })
}

/// Removes a path. New requests for it are answered with 404; connected websockets stay.
///
/// `release` is called when the last of them has ended; this may happen inside this call.
///
/// @param path  The string that was defined. Borrowed until the call returns.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_ARGUMENT     NULL, or no such path is defined.
/// @return PORTAL_STATUS_UNSUPPORTED  The process is a child forked after a start.
/// @return PORTAL_STATUS_MEMORY       An allocation failed.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portal_undefine_path(path: *const c_char) -> portal_status {
    guard(|| {
        // SAFETY: a string that ends in NUL, or NULL, as the comment asks.
        let path = unsafe { text(path) }?;
        Ok(server::undefine_path(path)?)
    })
}

#[cfg(test)]
mod tests {
    use super::super::status::portal_status_value;
    use super::*;
    use std::ptr;

    const KNOWN: usize = size_of::<portal_handlers>() / size_of::<usize>();

    unsafe extern "C" fn drain(_: portal_websocket, _: *mut c_void) {}

    /// Handlers of which the first words are these, and all others 0.
    fn read(words: &[usize]) -> Result<portal_handlers, portal_status_value> {
        let mut memory = [0; 4096 / size_of::<usize>() + 1];
        memory[..words.len()].copy_from_slice(words);
        // SAFETY: aligned, and more than any size that is accepted.
        unsafe { read_handlers(memory.as_ptr().cast()) }
    }

    #[test]
    fn a_size_that_no_version_had_is_an_argument() {
        for size in [
            0,
            1,
            FIRST_SIZE - size_of::<usize>(),
            FIRST_SIZE + 1,
            4096 + size_of::<usize>(),
            usize::MAX,
        ] {
            assert_eq!(read(&[size]).err(), Some(PORTAL_STATUS_ARGUMENT), "{size}");
        }
    }

    #[test]
    fn newer_handlers_are_taken_as_long_as_they_are_absent() {
        for size in [FIRST_SIZE, FIRST_SIZE + size_of::<usize>(), 4096] {
            assert!(read(&[size]).is_ok(), "{size}");
        }
        let mut words = [0; KNOWN + 2];
        words[0] = size_of_val(&words);
        words[KNOWN + 1] = 1;
        assert_eq!(read(&words).err(), Some(PORTAL_STATUS_UNSUPPORTED));
        words[0] = size_of::<portal_handlers>();
        assert!(
            read(&words).is_ok(),
            "what lies beyond the size is not looked at"
        );
    }

    #[test]
    fn each_handler_is_copied_to_its_place() {
        let mut given = read(&[FIRST_SIZE]).expect("handlers without a function");
        assert!(given.connect.is_none() && given.release.is_none());
        given.drain = Some(drain);
        // SAFETY: handlers of the size that they say.
        let copy = unsafe { read_handlers(&raw const given) }.expect("handlers with one function");
        assert_eq!(
            copy.drain.map(|drain| drain as *const ()),
            Some(drain as *const ())
        );
        assert!(copy.upgrade.is_none() && copy.pong.is_none());
    }

    #[test]
    fn no_path_or_no_handlers_is_an_argument() {
        let handlers = read(&[FIRST_SIZE]).expect("handlers without a function");
        let misaligned = (&raw const handlers).wrapping_byte_add(1);
        // SAFETY: literals, handlers of this test, and what is not followed.
        unsafe {
            assert_eq!(
                portal_define_path(ptr::null(), &raw const handlers, ptr::null_mut()),
                -1
            );
            assert_eq!(
                portal_define_path(c"/a".as_ptr(), ptr::null(), ptr::null_mut()),
                -1
            );
            assert_eq!(
                portal_define_path(c"/a".as_ptr(), misaligned, ptr::null_mut()),
                -1
            );
            assert_eq!(
                portal_define_path(c"/\xff".as_ptr(), &raw const handlers, ptr::null_mut()),
                -1
            );
            assert_eq!(portal_undefine_path(ptr::null()), -1);
        }
    }
}
