//! # Paths
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

use std::ffi::{c_char, c_void};
use std::mem::MaybeUninit;
use std::slice;
use std::sync::Arc;

use super::callback::Handlers;
use super::entry::guard;
use super::handlers::portal_handlers;
use super::pointer::{borrow_mut, place, text};
use super::status::portal_status_value::{PORTAL_STATUS_ARGUMENT, PORTAL_STATUS_UNSUPPORTED};
use super::status::{Outcome, portal_status};
use super::types::portal_options;
use crate::server;

/// sizeof(portal_handlers) in version 0.1.
const MIN_SIZE_BYTES: usize = 9 * size_of::<usize>();
/// A larger `size` is taken for an uninitialised one.
const MAX_SIZE_BYTES: usize = 4096;

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
        // SAFETY: a string that ends in NUL, or NULL, as the comment requires.
        let path = unsafe { text(path) }?;
        // SAFETY: `size` bytes, or NULL, as the comment requires.
        let functions = unsafe { read_handlers(handlers) }?;
        let application = Arc::new(Handlers::new(path, functions, user_data)?);
        server::define_path(path, application.clone())?;
        application.arm();
        Ok(())
    })
}

/// Defines the handlers of a path, or replaces them, for the servers that are started with these
/// options from then on, and for no other.
///
/// A server copies its paths at its start. A request is looked up there first, then among the
/// process's paths, unless SHARED_PATHS is 0. `release` is called when neither the options nor a
/// server uses the definition any more; this may happen inside this call.
///
/// @param options    Borrowed until the call returns.
/// @param path       As for portal_define_path. Borrowed until the call returns.
/// @param handlers   As for portal_define_path. Borrowed until the call returns.
/// @param user_data  As for portal_define_path.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_ARGUMENT     NULL, an invalid `size`, an invalid path, or one that
///                                    conflicts.
/// @return PORTAL_STATUS_UNSUPPORTED  A handler that this library does not know is set, or the
///                                    process is a child forked after a start.
/// @return PORTAL_STATUS_MEMORY       An allocation failed.
///         On failure, `release` is not called and the previous definition stays.
///
/// @threads  Any thread, one at a time for the same options, and inside any callback.
/// @since    0.2
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portal_options_define_path(
    options: *mut portal_options,
    path: *const c_char,
    handlers: *const portal_handlers,
    user_data: *mut c_void,
) -> portal_status {
    guard(|| {
        // SAFETY: the caller's options, or NULL, and no other thread uses them.
        let options = unsafe { borrow_mut(options) }?;
        // SAFETY: a string that ends in NUL, or NULL, as the comment asks.
        let path = unsafe { text(path) }?;
        // SAFETY: `size` bytes, or NULL, as the comment asks.
        let functions = unsafe { read_handlers(handlers) }?;
        let application = Arc::new(Handlers::new(path, functions, user_data)?);
        let before = server::define_own_path(&mut options.paths, path, application.clone())?;
        application.arm();
        drop(before);
        Ok(())
    })
}

/// Copies the handlers that this version knows.
///
/// # Safety
///
/// `handlers` is NULL, or readable for `size` bytes, its first field.
pub(super) unsafe fn read_handlers(handlers: *const portal_handlers) -> Outcome<portal_handlers> {
    let handlers = place(handlers.cast_mut())?;
    // SAFETY: `size` comes first, and the pointer is aligned and not NULL.
    let size = unsafe { handlers.cast::<usize>().read() };
    if !(MIN_SIZE_BYTES..=MAX_SIZE_BYTES).contains(&size)
        || !size.is_multiple_of(size_of::<usize>())
    {
        return Err(PORTAL_STATUS_ARGUMENT);
    }
    // SAFETY: the caller guarantees `size` bytes.
    let given = unsafe { slice::from_raw_parts(handlers.cast::<u8>(), size) };
    let (known, newer) = given.split_at(size.min(size_of::<portal_handlers>()));
    if newer.iter().any(|&byte| byte != 0) {
        return Err(PORTAL_STATUS_UNSUPPORTED);
    }
    let mut functions = MaybeUninit::<portal_handlers>::zeroed();
    // SAFETY: `known` is no longer than `functions`, and is in the caller's memory.
    unsafe {
        functions
            .as_mut_ptr()
            .cast::<u8>()
            .copy_from(known.as_ptr(), known.len())
    };
    // SAFETY: each field is a number or a nullable function pointer, for which zeros are a value;
    // the bytes copied over them are the caller's numbers and functions.
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
        // SAFETY: a string that ends in NUL, or NULL, as the comment requires.
        let path = unsafe { text(path) }?;
        Ok(server::undefine_path(path)?)
    })
}

#[cfg(test)]
mod tests {
    use super::super::status::portal_status_value;
    use super::*;
    use crate::ffi::types::portal_websocket;
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
            MIN_SIZE_BYTES - size_of::<usize>(),
            MIN_SIZE_BYTES + 1,
            4096 + size_of::<usize>(),
            usize::MAX,
        ] {
            assert_eq!(read(&[size]).err(), Some(PORTAL_STATUS_ARGUMENT), "{size}");
        }
    }

    #[test]
    fn newer_handlers_are_taken_as_long_as_they_are_absent() {
        for size in [MIN_SIZE_BYTES, MIN_SIZE_BYTES + size_of::<usize>(), 4096] {
            assert!(read(&[size]).is_ok(), "{size}");
        }
        let mut words = [0; KNOWN + 2];
        words[0] = size_of_val(&words);
        words[KNOWN + 1] = 1;
        assert_eq!(read(&words).err(), Some(PORTAL_STATUS_UNSUPPORTED));
        words[0] = size_of::<portal_handlers>();
        assert!(read(&words).is_ok(), "memory behind `size` is not read");
    }

    #[test]
    fn each_handler_is_copied_to_its_place() {
        let mut given = read(&[MIN_SIZE_BYTES]).expect("handlers without a function");
        assert!(given.connect.is_none() && given.release.is_none());
        given.drain = Some(drain);
        // SAFETY: handlers with their true size.
        let copy = unsafe { read_handlers(&raw const given) }.expect("handlers with one function");
        assert_eq!(
            copy.drain.map(|drain| drain as *const ()),
            Some(drain as *const ())
        );
        assert!(copy.upgrade.is_none() && copy.pong.is_none());
    }

    #[test]
    fn no_path_or_no_handlers_is_an_argument() {
        let handlers = read(&[MIN_SIZE_BYTES]).expect("handlers without a function");
        let misaligned = (&raw const handlers).wrapping_byte_add(1);
        // SAFETY: literals, handlers of this test, and a pointer that is not dereferenced.
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
