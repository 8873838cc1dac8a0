//! Portal prints nothing. What it has to say goes to a callback.

use std::ffi::{CStr, c_char, c_void};
use std::sync::Arc;

use super::callback::UserData;
use super::guard::{guard, outside};
use super::status::portal_status;
use super::status::portal_status_value::PORTAL_STATUS_ARGUMENT;
use crate::server::{self, LogCallback};

/// Takes one line of the log. `level` is 1 error, 2 warning, 3 information, 4 debugging, 5 trace;
/// more is told the higher it is. `message` is UTF-8, without an end of line, valid until the
/// callback returns.
///
/// Runs on any thread; calls may overlap. It returns normally and should be quick: a loop waits for
/// it. What is logged inside it is dropped.
pub type portal_log_callback =
    Option<unsafe extern "C" fn(level: u32, message: *const c_char, user_data: *mut c_void)>;

/// Sets who takes the log, in place of the one before.
///
/// When the call returns, the old callback does not run and will not, except around this very call
/// when it is made inside it.
///
/// @param level      1 to 5: lines above it are not told.
/// @param callback   NULL = silent, as at first.
/// @param user_data  Given to the callback, never followed. May be NULL. It must live until the
///                   callback is replaced.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_ARGUMENT     A level out of range.
/// @return PORTAL_STATUS_UNSUPPORTED  In a child forked after a start.
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
                // SAFETY: the function takes these, and `user_data` is the one given with it.
                outside(|| unsafe { function(level, message.as_ptr(), user_data.pointer()) });
            })
        });
        Ok(server::set_log(level, callback)?)
    })
}

/// Chooses whether a failing handler stops in the debugger. Off by default.
///
/// When on, and when a debugger traces the process, a handler that fails raises SIGTRAP before
/// `error` is told.
///
/// @param on  1 or 0.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_ARGUMENT  Neither.
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
