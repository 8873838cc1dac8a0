//! The path of a request's target, percent-decoded once (RFC 3986 section 2.1).

use std::borrow::Cow;

/// Stands for a `/` that was sent as `%2F` until the path has been matched, because it is part of a segment
/// and does not separate segments. A decoded path contains no other NUL.
const SLASH_INSIDE: char = '\0';

/// Decodes `raw`. A `%2F` becomes a NUL.
///
/// Returns None for a malformed escape, for `%00`, and if the result is not UTF-8.
pub(super) fn decode(raw: &str) -> Option<Cow<'_, str>> {
    if !raw.contains('%') {
        return Some(Cow::Borrowed(raw));
    }
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        let byte = match first {
            b'%' => {
                let [high, low, tail @ ..] = tail else {
                    return None;
                };
                rest = tail;
                match hex(*high)? << 4 | hex(*low)? {
                    0 => return None,
                    b'/' => SLASH_INSIDE as u8,
                    byte => byte,
                }
            }
            &byte => byte,
        };
        decoded.push(byte);
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

/// Returns the result of [`decode`] with every `%2F` as a `/`.
pub(super) fn with_slashes<'a>(route: &'a Cow<'a, str>) -> Cow<'a, str> {
    if route.contains(SLASH_INSIDE) {
        Cow::Owned(route.replace(SLASH_INSIDE, "/"))
    } else {
        Cow::Borrowed(route)
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_decoded_once() {
        let cases = [
            ("/plain/path", "/plain/path"),
            ("/a%20b", "/a b"),
            ("/%C3%a9", "/é"),
            ("/%2525", "/%25"),
            ("/a+b", "/a+b"),
            ("/%2e%2E/", "/../"),
            ("/x%2Fy/%2f", "/x\0y/\0"),
            ("/%F0%9F%98%80", "/😀"),
        ];
        for (raw, decoded) in cases {
            assert_eq!(decode(raw).as_deref(), Some(decoded), "{raw}");
        }
    }

    #[test]
    fn what_does_not_decode_to_text_without_nul_is_no_path() {
        for raw in [
            "/%",
            "/%4",
            "/%zz",
            "/%4g",
            "/%+1",
            "/%00",
            "/%ff",
            "/%C3",
            "/%C3/%A9",
            "/%ED%A0%80",
            "/%C0%AF",
        ] {
            assert_eq!(decode(raw), None, "{raw}");
        }
    }

    #[test]
    fn a_slash_inside_a_segment_comes_back() {
        let route = decode("/x%2Fy/z").unwrap();
        assert_eq!(with_slashes(&route), "/x/y/z");
    }
}
