//! Pairs of names and values: parameters of a query, cookies.

use std::ffi::CStr;

use percent_encoding::percent_decode;

use super::text::{Span, Text, reserve};
use crate::server::error::ServerResult;

/// Decoded pairs, in the order in which they were sent.
#[derive(Debug)]
pub(crate) struct Pairs {
    text: Text,
    /// Each name, and its value if C can read it: UTF-8 without U+0000.
    pairs: Vec<(Span, Option<Span>)>,
}

impl Pairs {
    /// Decodes a query in application/x-www-form-urlencoded: percent-encoded, with `+` for a space.
    ///
    /// # Errors
    ///
    /// Memory.
    pub(crate) fn of_query(query: &[u8]) -> ServerResult<Self> {
        let parts = query
            .split(|&byte| byte == b'&')
            .filter(|part| !part.is_empty());
        let pairs = parts.map(|part| split(part).unwrap_or((part, b"")));
        Self::new(query.len(), pairs, |out, part| {
            let spaced = part.split(|&byte| byte == b'+');
            for (index, word) in spaced.enumerate() {
                out.extend((index > 0).then_some(b' '));
                out.extend(percent_decode(word));
            }
        })
    }

    /// Reads the value of a `Cookie` header (RFC 6265 section 4.2.1). Double quotes around a value are no part of it.
    ///
    /// # Errors
    ///
    /// Memory.
    pub(crate) fn of_cookies(cookies: &[u8]) -> ServerResult<Self> {
        let parts = cookies.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let pairs = parts.filter_map(split).map(|(name, value)| {
            let (name, value) = (name.trim_ascii(), value.trim_ascii());
            let unquoted = value
                .strip_prefix(b"\"")
                .and_then(|rest| rest.strip_suffix(b"\""));
            (name, unquoted.unwrap_or(value))
        });
        Self::new(cookies.len(), pairs, |out, part| {
            out.extend_from_slice(part)
        })
    }

    /// `len` is the length of all pairs as they were sent; `decode` makes none longer.
    fn new<'a>(
        len: usize,
        pairs: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
        decode: impl Fn(&mut Vec<u8>, &[u8]),
    ) -> ServerResult<Self> {
        let count = pairs.clone().count();
        let mut bytes = reserve(len + 2 * count)?;
        let mut spans = reserve(count)?;
        for (name, value) in pairs {
            let mut add = |part| {
                let start = bytes.len();
                decode(&mut bytes, part);
                let span = Span::new(start, bytes.len() - start);
                bytes.push(0);
                span
            };
            spans.push((add(name)?, Some(add(value)?)));
        }
        let text = Text(bytes);
        for (_, value) in &mut spans {
            let is_c_text = |span: &Span| {
                let bytes = text.bytes_at(*span);
                !bytes.contains(&0) && std::str::from_utf8(bytes).is_ok()
            };
            *value = value.filter(is_c_text);
        }
        Ok(Self { text, pairs: spans })
    }

    /// Returns the value of the first pair of that name, if it is UTF-8 without U+0000.
    pub(crate) fn get(&self, name: &[u8]) -> Option<&CStr> {
        let has_name = |(named, _): &&(Span, Option<Span>)| self.text.bytes_at(*named) == name;
        let (_, value) = self.pairs.iter().find(has_name)?;
        value.map(|value| self.text.at(value))
    }
}

/// Splits a pair at its first `=`.
fn split(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = pair.iter().position(|&byte| byte == b'=')?;
    Some((&pair[..at], &pair[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded_and_the_first_of_a_name_counts() {
        let query = b"a=1&b=x+y%2Bz&caf%C3%A9=%e2%82%ac&a=2&&flag&=nameless&p=50%&q=%zz&r=a=b";
        let pairs = Pairs::of_query(query).expect("memory");
        for (name, value) in [
            ("a", Some(c"1")),
            ("b", Some(c"x y+z")),
            ("caf\u{e9}", Some(c"\u{20ac}")),
            ("flag", Some(c"")),
            ("", Some(c"nameless")),
            ("p", Some(c"50%")),
            ("q", Some(c"%zz")),
            ("r", Some(c"a=b")),
            ("A", None),
            ("y", None),
        ] {
            assert_eq!(pairs.get(name.as_bytes()), value, "{name}");
        }
    }

    #[test]
    fn what_c_cannot_read_is_absent() {
        let pairs = Pairs::of_query(b"a=%FF&b=x%00y&a=ok&c=%C3%A9").expect("memory");
        assert_eq!((pairs.get(b"a"), pairs.get(b"b")), (None, None));
        assert_eq!(pairs.get(b"c"), Some(c"\u{e9}"));
        let none = Pairs::of_query(b"").expect("memory");
        assert_eq!(none.get(b""), None);
    }

    #[test]
    fn cookies_are_taken_as_they_are_but_for_quotes_6265_4_2_1() {
        let cookies = b"sid=31d4d96e; lang=\"en US\";x=1=2; sid=later; novalue;  y = z ; e=; q=a%20b; \xff=1; bad=\xff";
        let pairs = Pairs::of_cookies(cookies).expect("memory");
        for (name, value) in [
            ("sid", Some(c"31d4d96e")),
            ("lang", Some(c"en US")),
            ("x", Some(c"1=2")),
            ("y", Some(c"z")),
            ("e", Some(c"")),
            ("q", Some(c"a%20b")),
            ("novalue", None),
            ("bad", None),
        ] {
            assert_eq!(pairs.get(name.as_bytes()), value, "{name}");
        }
    }
}
