//! # Paths and handlers
//!
//! Paths are process-wide: every server serves them. They may be defined, redefined and undefined
//! at any time, also while clients are connected. A connected client's next event goes to the
//! newest definition; clients of an undefined path keep its last one until they leave.
//!
//! A path is exact ("/echo"), may hold parameters ("/room/{name}") and may end in a catch-all
//! ("/files/{*rest}"). Exact beats parameter beats catch-all. "{{" is a literal brace. Case and
//! trailing slashes count, nothing is normalised, and the query string is no part of it: a path
//! with "?" or "#" is PORTAL_STATUS_ARGUMENT. ":id" and "*" are literal, which the log says at level
//! 2. A request is split at "/" first and decoded then, so "%2F" stays inside a parameter. Malformed
//! escapes, "%00" and what decodes to other than UTF-8 answer 400; an unknown path answers 404.
//!
//! A handler that returns other than 0 has failed, except with PORTAL_STATUS_GONE, so that `return
//! portal_send(...)` is a good handler; in `upgrade` that has failed, too, and nobody is let in by
//! mistake. `error` is told, with PORTAL_STATUS_HANDLER, the event and what was returned; the
//! websocket stays open unless somebody closes it. `error` is also told, before the `disconnect`
//! that follows, of a broken protocol, a limit passed and a failure of the connection other than
//! the client's leaving. End of stream, reset and timeouts are no errors, only `disconnect`. A
//! failing `disconnect` is told afterwards, as the last callback. What fails before a path is known
//! goes to the log and the metrics.

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

/// What went wrong, for `error`. Valid, with its message, until the callback returns (pulled: as
/// long as the records).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct portal_error {
    /// How many bytes the library filled. Check it before you read a field newer than 0.1.
    pub size: usize,
    /// PORTAL_STATUS_HANDLER, _PROTOCOL, _IO, _TOO_BIG, _UTF8, _MEMORY, or a newer one.
    pub status: portal_status,
    /// The enum portal_event in which it happened.
    pub event: u32,
    /// What the handler returned; else 0.
    pub code: i32,
    /// What the client is closed with (RFC 6455 section 7.4); 0 when it stays open.
    pub close_code: u32,
    /// For people. Never NULL.
    pub message: *const c_char,
}

/// What a path does with its websockets. Any function may be NULL: nothing is done then.
///
/// Fill it with zeros and set `size` first. It is copied; you may drop it after portal_define_path.
///
/// The functions run on the threads that DISPATCH chooses. Those of one websocket never overlap;
/// those of different websockets may. Each may call every function of this header, but must return
/// normally, and other clients of its thread wait for it. Pointers it is given are valid until it
/// returns.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct portal_handlers {
    /// sizeof(portal_handlers), as you compile it.
    pub size: usize,
    /// A client has become a websocket, which is OPEN. Return 0.
    pub connect: Option<
        unsafe extern "C" fn(
            websocket: portal_websocket,
            request: *const portal_request,
            user_data: *mut c_void,
        ) -> i32,
    >,
    /// A whole message has come: PORTAL_MESSAGE_TEXT, checked UTF-8, or PORTAL_MESSAGE_BINARY.
    /// Return 0.
    pub message: Option<
        unsafe extern "C" fn(
            websocket: portal_websocket,
            r#type: u32,
            data: *const c_void,
            len: usize,
            user_data: *mut c_void,
        ) -> i32,
    >,
    /// The websocket has ended. Comes exactly once for every one whose `connect` ran, and never
    /// inside portal_close or portal_abort. The state is CLOSED, sends answer GONE, portal_data
    /// still works: free your data here. Return 0.
    ///
    /// `code` is that of the client's close frame (1005 when it had none), else what Portal sent
    /// when it failed the connection (1002, 1007 to 1011), else 1006. `reason` is never NULL.
    pub disconnect: Option<
        unsafe extern "C" fn(
            websocket: portal_websocket,
            code: u32,
            reason: *const c_char,
            user_data: *mut c_void,
        ) -> i32,
    >,
    /// Something went wrong with this websocket. When it is to be closed for it, its state is
    /// CLOSING and `disconnect` follows. Without this function a handler that fails is named in the
    /// log, at level 2.
    pub error: Option<
        unsafe extern "C" fn(
            websocket: portal_websocket,
            error: *const portal_error,
            user_data: *mut c_void,
        ),
    >,
    /// A client asks to become a websocket, which is CONNECTING: portal_set_data, portal_data,
    /// portal_state_of and portal_abort work; send, ping, close and flush answer BUSY. Return 0 to
    /// accept; then `connect` always runs, even if the client has gone meanwhile. Return 400 to 599
    /// to reject with that HTTP status. 1 is reserved. Anything else has failed, also
    /// PORTAL_STATUS_GONE, and rejects with 500.
    pub upgrade: Option<
        unsafe extern "C" fn(
            websocket: portal_websocket,
            request: *mut portal_request,
            user_data: *mut c_void,
        ) -> i32,
    >,
    /// After one or more PORTAL_STATUS_FULL: the send queue has fallen to half of MAX_QUEUED. It
    /// may begin before FULL has returned on another thread.
    pub drain: Option<unsafe extern "C" fn(websocket: portal_websocket, user_data: *mut c_void)>,
    /// The client has answered a portal_ping, or sent a pong unasked.
    pub pong: Option<
        unsafe extern "C" fn(
            websocket: portal_websocket,
            data: *const c_void,
            len: usize,
            user_data: *mut c_void,
        ),
    >,
    /// Nothing uses `user_data` any more. Comes once per successful definition, on any thread,
    /// after that was replaced or undefined.
    pub release: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
}

/// sizeof(portal_handlers) in version 0.1.
const FIRST_SIZE: usize = 9 * size_of::<usize>();
/// More than this is no size but rubbish.
const LAST_SIZE: usize = 4096;

/// Defines what happens on a path, or defines it anew.
///
/// To redefine is to pass the identical string; a path that differs from another in nothing but its
/// parameters' names conflicts with it. After a redefinition the old `release` is called as soon as
/// no callback of the old definition runs; that may be inside this call.
///
/// @param path       Starts with "/". Borrowed until the call returns.
/// @param handlers   Its `size` is at least version 0.1's, at most 4,096 and a multiple of a
///                   pointer's; bytes that this library does not know must be 0. Borrowed until the
///                   call returns.
/// @param user_data  Given to every handler, never followed. May be NULL. It must live until
///                   `release`.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_ARGUMENT     NULL, a bad `size`, a bad path, or one that conflicts.
/// @return PORTAL_STATUS_UNSUPPORTED  A handler that is newer than this library is set, or in a child
///                                    forked after a start.
/// @return PORTAL_STATUS_MEMORY       An allocation was refused.
///         On failure `release` is not called, and an older definition stays.
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

/// Removes a path. Requests for it answer 404 from now on; its clients stay.
///
/// `release` is called when the last of them has left; that may be inside this call.
///
/// @param path  Identical to the one defined. Borrowed until the call returns.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_ARGUMENT     NULL, or no such path is defined.
/// @return PORTAL_STATUS_UNSUPPORTED  In a child forked after a start.
/// @return PORTAL_STATUS_MEMORY       An allocation was refused.
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
