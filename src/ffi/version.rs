//! PORTAL_VERSION and the macros beside it are the version against which a program was compiled;
//! the functions return the version of the loaded library.

use std::ffi::{CStr, c_char};

use super::guard::guard_or;

const VERSION: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => panic!("a version holds no NUL"),
    };

const VERSION_NUMBER: u32 = number(env!("CARGO_PKG_VERSION_MAJOR")) * 1_000_000
    + number(env!("CARGO_PKG_VERSION_MINOR")) * 1_000
    + number(env!("CARGO_PKG_VERSION_PATCH"));

/// Reads a decimal number at compile time.
const fn number(digits: &str) -> u32 {
    match u32::from_str_radix(digits, 10) {
        Ok(number) => number,
        Err(_) => panic!("a part of the version is a number"),
    }
}

/// Returns the version of the library, such as "0.2.0".
///
/// @return The version. Never NULL; valid until the process ends.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub extern "C" fn portal_version() -> *const c_char {
    guard_or(VERSION, || VERSION).as_ptr()
}

/// Returns the version of the library as one number: major * 10^6 + minor * 10^3 + patch.
///
/// @return The number; compare it with PORTAL_VERSION_NUMBER.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub extern "C" fn portal_version_number() -> u32 {
    guard_or(VERSION_NUMBER, || VERSION_NUMBER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_says_what_the_text_says() {
        let number = portal_version_number();
        let text = format!(
            "{}.{}.{}",
            number / 1_000_000,
            number / 1_000 % 1_000,
            number % 1_000
        );
        assert_eq!(VERSION.to_str(), Ok(text.as_str()));
        // SAFETY: valid until the process ends.
        assert_eq!(unsafe { CStr::from_ptr(portal_version()) }, VERSION);
    }
}
