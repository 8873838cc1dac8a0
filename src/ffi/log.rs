//! Portal prints nothing. Log messages go to a callback.

use std::ffi::{CStr, c_char, c_void};
use std::sync::Arc;

use super::callback::UserData;
use super::entry::guard;
use super::guard::outside;
use super::status::portal_status;
use super::status::portal_status_value::PORTAL_STATUS_ARGUMENT;
use crate::server::{self, LogCallback};

/// Receives one log message. `level` is 1 error, 2 warning, 3 information, 4 debug or 5 trace.
/// `message` is UTF-8, without a line break, and valid until the callback returns.
///
/// A message about a connection begins with `websocket ID peer ADDRESS: `. The id is 0 when the
/// connection was refused before it got one. The address is `unix` for a Unix socket, and `unknown`
/// when the system does not know it any more.
///
/// Runs on any thread; calls may overlap. It must return normally and should be quick, because a
/// loop waits for it. What is logged inside the callback is discarded.
pub type portal_log_callback =
    Option<unsafe extern "C" fn(level: u32, message: *const c_char, user_data: *mut c_void)>;

/// Sets the log callback, which replaces the previous one.
///
/// When the call returns, the previous callback is not running and will not run again, except when
/// the call was made inside that callback.
///
/// @param level      1 to 5, or 0 when `callback` is NULL. Messages of a higher level are discarded.
/// @param callback   NULL = no log, which is the default.
/// @param user_data  Passed to the callback, never dereferenced. May be NULL. Must stay valid until
///                   the callback is replaced.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_ARGUMENT     The level is out of range.
/// @return PORTAL_STATUS_UNSUPPORTED  The process is a child forked after a start.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub extern "C" fn portal_set_log(
    level: u32,
    callback: portal_log_callback,
    user_data: *mut c_void,
) -> portal_status {
    guard(|| {
        let least = u32::from(callback.is_some());
        if !(least..=5).contains(&level) {
            return Err(PORTAL_STATUS_ARGUMENT);
        }
        let user_data = UserData(user_data);
        let callback = callback.map(|function| -> Arc<LogCallback> {
            Arc::new(move |level: u32, message: &CStr| {
                // SAFETY: the function has these parameters, and `user_data` was set with it.
                outside(|| unsafe { function(level, message.as_ptr(), user_data.pointer()) });
            })
        });
        Ok(server::set_log(level, callback)?)
    })
}

/// Sets whether the process stops in the debugger when a handler fails. Off by default.
///
/// When it is on and a debugger traces the process, SIGTRAP is raised on the thread of a handler
/// that fails, before `error` is called. Without a debugger nothing is raised.
///
/// @param on  1 or 0.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_ARGUMENT  `on` is neither 1 nor 0.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub extern "C" fn portal_set_debug_on_error(on: i32) -> portal_status {
    guard(|| {
        match on {
            0 => server::set_debug_on_error(false),
            1 => server::set_debug_on_error(true),
            _ => return Err(PORTAL_STATUS_ARGUMENT),
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr;

    unsafe extern "C" fn drop_line(_: u32, _: *const c_char, _: *mut c_void) {}

    #[test]
    fn a_level_or_a_truth_out_of_range_is_an_argument() {
        for level in [0, 6, u32::MAX] {
            assert_eq!(
                portal_set_log(level, Some(drop_line), ptr::null_mut()),
                -1,
                "{level}"
            );
        }
        assert_eq!(portal_set_log(6, None, ptr::null_mut()), -1);
        for on in [-1, 2, i32::MAX] {
            assert_eq!(portal_set_debug_on_error(on), -1, "{on}");
        }
    }
}
