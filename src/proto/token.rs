//! Tokens and comma-separated lists (RFC 9110 section 5.6).

/// Whether `byte` may be part of a token: a method, a header's name, a subprotocol.
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Returns `bytes` if they are a token.
pub(super) fn token(bytes: &[u8]) -> Option<&str> {
    let is_token = !bytes.is_empty() && bytes.iter().copied().all(is_token_byte);
    is_token.then(|| std::str::from_utf8(bytes).ok())?
}

/// Whether both are equal when case is ignored. Equal case is the common one, and faster to compare.
pub(super) fn is_same(one: &[u8], other: &[u8]) -> bool {
    one == other || one.eq_ignore_ascii_case(other)
}

/// Returns the elements of a list in a header's value, without white space around them. Empty elements are
/// skipped.
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|&byte| byte == b',')
        .map(trim)
        .filter(|element| !element.is_empty())
}

/// Returns `bytes` without spaces and tabs at both ends.
pub(super) fn trim(bytes: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let Some(first) = bytes.iter().position(is_text) else {
        return &[];
    };
    let last = bytes.iter().rposition(is_text).unwrap_or(first);
    &bytes[first..=last]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_holds_letters_digits_and_fifteen_signs_9110_5_6_2() {
        let signs = (0..=255).filter(|&byte| is_token_byte(byte)).count();
        assert_eq!(signs, 26 + 26 + 10 + 15);
        assert_eq!(token(b"v1.chat"), Some("v1.chat"));
        for bad in [
            "", "a b", "a,b", "a/b", "a:b", "(a)", "\"a\"", "\u{e9}", "a\0",
        ] {
            assert_eq!(token(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn elements_are_trimmed_and_empty_ones_skipped_9110_5_6_1() {
        let cases: [(&[u8], &[&[u8]]); 5] = [
            (b"", &[]),
            (b" ,\t, ", &[]),
            (b"a", &[b"a"]),
            (b" keep-alive,\tUpgrade ", &[b"keep-alive", b"Upgrade"]),
            (b",a b,,c,", &[b"a b", b"c"]),
        ];
        for (value, expected) in cases {
            assert_eq!(elements(value).collect::<Vec<_>>(), expected);
        }
    }
}
