//! Sets of header names, in one integer.

/// A set of names that may have false positives, but no false negatives. Case is ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Names(u64);

impl Names {
    /// Adds a name. Returns false if it was certainly not in the set.
    #[inline]
    pub fn add(&mut self, name: &str) -> bool {
        let known = self.may_hold(name);
        self.0 |= mark(name);
        known
    }

    /// Returns false if the name is certainly not in the set.
    #[inline]
    #[must_use]
    pub fn may_hold(self, name: &str) -> bool {
        self.0 & mark(name) != 0
    }
}

/// Returns one bit, the same for names that differ only in case. The headers that a handshake depends on have
/// different bits.
#[inline]
fn mark(name: &str) -> u64 {
    let last = name.as_bytes().last().map_or(0, u8::to_ascii_lowercase);
    1 << ((name.len() + 4 * usize::from(last)) % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECIDING: [&str; 10] = [
        "Host",
        "Upgrade",
        "Connection",
        "Origin",
        "Transfer-Encoding",
        "Content-Length",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Version",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Extensions",
    ];

    #[test]
    fn a_name_is_missed_in_no_case_and_taken_for_no_other_that_decides() {
        for name in DECIDING {
            let mut names = Names::default();
            assert!(!names.add(name) && names.add(name), "{name}");
            assert!(names.may_hold(&name.to_uppercase()), "{name}");
            assert!(names.may_hold(&name.to_lowercase()), "{name}");
            for other in DECIDING.into_iter().filter(|other| *other != name) {
                assert!(!names.may_hold(other), "{name}: {other}");
            }
        }
    }

    #[test]
    fn no_name_is_a_name() {
        let mut names = Names::default();
        assert!(!names.add("") && names.may_hold(""));
    }
}
