//! Validation of UTF-8: whole texts, and texts that arrive in pieces.

/// Minimum length for which the vectorised check is faster than that of `std`.
const MIN_VECTORISED_BYTES: usize = 64;

/// Whether `bytes` are UTF-8.
#[inline]
#[must_use]
pub fn is_utf8(bytes: &[u8]) -> bool {
    if bytes.len() < MIN_VECTORISED_BYTES {
        // Most short texts are ASCII, which is faster to check.
        is_short_ascii(bytes) || std::str::from_utf8(bytes).is_ok()
    } else {
        simdutf8::basic::from_utf8(bytes).is_ok()
    }
}

/// Whether a short text is ASCII. It is read in words, of which the last overlaps the one before.
#[inline]
fn is_short_ascii(bytes: &[u8]) -> bool {
    let Some(last) = bytes.last_chunk::<8>() else {
        return bytes.iter().fold(0, |all, byte| all | byte) < 0x80;
    };
    let words = bytes.as_chunks::<8>().0;
    let all = words.iter().fold(u64::from_ne_bytes(*last), |all, word| {
        all | u64::from_ne_bytes(*word)
    });
    all & 0x8080_8080_8080_8080 == 0
}

/// Validates a text that arrives in pieces, cut anywhere. It fails at the first invalid byte.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Checker {
    /// An incomplete character at the end of the last piece.
    carried: [u8; 3],
    carried_len: u8,
}

impl Checker {
    /// Adds a piece. Returns whether everything so far is the beginning of a text in UTF-8. After `false` the
    /// checker must not be used any more.
    #[must_use]
    pub(crate) fn push(&mut self, piece: &[u8]) -> bool {
        let Some(rest) = self.complete_carried(piece) else {
            return false;
        };
        let (whole, begun) = rest.split_at(begun_character(rest));
        if !is_utf8(whole) || !begun.is_empty() && !may_begin(begun) {
            return false;
        }
        if !begun.is_empty() {
            self.carry(begun);
        }
        true
    }

    /// Whether the text may end here: not inside a character.
    #[must_use]
    pub(crate) fn is_complete(&self) -> bool {
        self.carried_len == 0
    }

    /// Adds bytes to the incomplete character until it is complete. Returns the rest of `piece`; None when it
    /// cannot become a character.
    fn complete_carried<'a>(&mut self, mut piece: &'a [u8]) -> Option<&'a [u8]> {
        while self.carried_len > 0
            && let Some((&next, rest)) = piece.split_first()
        {
            let len = usize::from(self.carried_len);
            let mut character = [0; 4];
            character[..len].copy_from_slice(&self.carried[..len]);
            character[len] = next;
            let character = &character[..=len];

            if std::str::from_utf8(character).is_ok() {
                self.carried_len = 0;
            } else if may_begin(character) {
                self.carry(character);
            } else {
                return None;
            }
            piece = rest;
        }
        Some(piece)
    }

    /// Stores an incomplete character, which has at most three bytes.
    fn carry(&mut self, begun: &[u8]) {
        self.carried[..begun.len()].copy_from_slice(begun);
        self.carried_len = begun.len() as u8;
    }
}

/// Returns the offset of the incomplete character at the end of `bytes`; the length of `bytes` when there is
/// none.
fn begun_character(bytes: &[u8]) -> usize {
    let last_three = bytes.len().saturating_sub(3)..bytes.len();
    for at in last_three.rev() {
        let character_len = match bytes[at] {
            0x80..=0xbf => continue,
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xff => 4,
            0x00..=0x7f => 1,
        };
        return if bytes.len() - at < character_len {
            at
        } else {
            bytes.len()
        };
    }
    bytes.len()
}

/// Whether `bytes` can become one character by further bytes.
fn may_begin(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes)
        .is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Section 8.1 of RFC 6455 and section 4 of RFC 3629: bytes, and how many of them are the
    /// beginning of a text (all: they are UTF-8 or end inside a character).
    const BROKEN: [(&str, &[u8], usize); 16] = [
        ("a continuation first", b"a\x80", 1),
        ("overlong, two bytes", b"\xc0\xaf", 0),
        ("overlong, two bytes", b"\xc1\xbf", 0),
        ("overlong, three bytes", b"\xe0\x9f\xbf", 1),
        ("overlong, four bytes", b"\xf0\x8f\xbf\xbf", 1),
        ("a surrogate", b"\xed\xa0\x80", 1),
        ("the last surrogate", b"ab\xed\xbf\xbf", 3),
        ("over U+10FFFF", b"\xf4\x90\x80\x80", 1),
        ("over U+10FFFF", b"\xf5\x80\x80\x80", 0),
        ("never in UTF-8", b"\xfe", 0),
        ("never in UTF-8", b"xyz\xff", 3),
        ("two bytes, cut short", b"\xc3(", 1),
        ("three bytes, cut short", b"\xe2\x82(", 2),
        ("four bytes, cut short", b"\xf0\x9f\x98(", 3),
        ("a first byte inside", b"\xe2\xe2\x82\xac", 1),
        ("after a whole one", b"\xe2\x82\xac\x82", 3),
    ];

    const TEXTS: [&str; 5] = [
        "",
        "plain",
        "κόσμε",
        "a\u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}",
        "😀\0😀",
    ];

    #[test]
    fn text_passes_in_any_two_pieces() {
        for text in TEXTS {
            for padding in [0, 61, 64, 130] {
                let text = format!("{}{text}", "x".repeat(padding));
                for cut in 0..=text.len() {
                    let (one, two) = text.as_bytes().split_at(cut);
                    let mut checker = Checker::default();
                    assert!(
                        checker.push(one) && checker.push(two),
                        "{text:?} cut at {cut}"
                    );
                    assert!(checker.is_complete(), "{text:?} cut at {cut}");
                }
            }
        }
    }

    #[test]
    fn broken_text_fails_with_the_first_bad_byte() {
        for (name, bytes, good) in BROKEN {
            for padding in [0, 61, 64, 130] {
                let mut text = "x".repeat(padding).into_bytes();
                text.extend(bytes);
                let good = padding + good;

                let mut checker = Checker::default();
                for (index, byte) in text[..=good].iter().enumerate() {
                    assert_eq!(checker.push(&[*byte]), index < good, "{name}, byte {index}");
                }
                for cut in 0..=good {
                    let mut checker = Checker::default();
                    assert!(checker.push(&text[..cut]), "{name}, cut at {cut}");
                    assert!(!checker.push(&text[cut..=good]), "{name}, cut at {cut}");
                }
                assert!(!is_utf8(&text), "{name}");
            }
        }
    }

    #[test]
    fn a_text_that_ends_inside_a_character_is_not_complete() {
        for bytes in [&b"\xc3"[..], b"\xe2\x82", b"\xf0\x9f\x98", b"ok\xf4"] {
            let mut checker = Checker::default();
            assert!(checker.push(bytes));
            assert!(!checker.is_complete(), "{bytes:x?}");
        }
    }
}
