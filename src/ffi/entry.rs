// How an entry point returns: its outcome or a panic becomes a status.

use super::guard::{guard_or, quick_guard_or};
use super::status::portal_status_value::{PORTAL_STATUS_INTERNAL, PORTAL_STATUS_OK};
use super::status::{Outcome, portal_status};

/// Runs the body of one entry point and turns its outcome into a status.
///
/// A panic is caught here; the hook has already logged it, and C gets `PORTAL_STATUS_INTERNAL`.
pub(super) fn guard(body: impl FnOnce() -> Outcome) -> portal_status {
    guard_or(PORTAL_STATUS_INTERNAL, || status_of(body())) as portal_status
}

/// [`guard`] for functions that contain no cancellation point; see [`quick_guard_or`].
pub(super) fn quick_guard(body: impl FnOnce() -> Outcome) -> portal_status {
    quick_guard_or(PORTAL_STATUS_INTERNAL, || status_of(body())) as portal_status
}

/// [`guard`] for entry points that return a non-negative number or a negative status.
pub(super) fn guard_number(body: impl FnOnce() -> Outcome<i32>) -> i32 {
    guard_or(PORTAL_STATUS_INTERNAL as i32, || {
        body().unwrap_or_else(|status| status as i32)
    })
}

fn status_of(outcome: Outcome) -> super::status::portal_status_value {
    match outcome {
        Ok(()) => PORTAL_STATUS_OK,
        Err(status) => status,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffi::status::portal_status_value::PORTAL_STATUS_FULL;

    #[test]
    fn what_a_body_ends_in_becomes_a_status() {
        assert_eq!(guard(|| Ok(())), 0);
        assert_eq!(guard(|| Err(PORTAL_STATUS_FULL)), -3);
        assert_eq!(guard_number(|| Ok(7)), 7);
        assert_eq!(guard_number(|| Err(PORTAL_STATUS_FULL)), -3);
        assert_eq!(guard(|| panic!("a bug")), -11);
    }
}
