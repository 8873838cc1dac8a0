//! Where the head of a request ends, found while it arrives (RFC 9112 section 2).

use super::Refusal;
use super::token::is_token_byte;

/// Looks for the end of a request's head. It looks at each byte once, however slowly they come, and
/// refuses with the first that shows that this is no request, or none that we serve.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadScanner {
    /// How many bytes were looked at.
    seen: usize,
    place: Place,
}

/// Where in a head the next byte stands.
#[derive(Clone, Copy, Debug, Default)]
enum Place {
    /// Before the request line, where empty lines are skipped (RFC 9112 section 2.2).
    #[default]
    Before,
    /// Behind the CR of such an empty line.
    BeforeReturn,
    /// In the request line or a header.
    Line,
    /// Behind the CR of a line.
    LineReturn,
    /// At the beginning of a line.
    Start,
    /// Behind the CR of the empty line that ends the head.
    StartReturn,
}

impl HeadScanner {
    /// Looks at what is new in `all`, which is everything that came so far. Returns the length of
    /// the head once it is complete, with all empty lines; what is behind it is no part of the
    /// request.
    ///
    /// # Errors
    ///
    /// 400 for what cannot be a request, as the beginning of TLS, a bare CR or LF, a NUL; 431 for a
    /// head of more than `max_header_size` bytes.
    pub fn scan(&mut self, all: &[u8], max_header_size: usize) -> Result<Option<usize>, Refusal> {
        let all = &all[..all.len().min(max_header_size)];
        while let Some(&byte) = all.get(self.seen) {
            let ordinary = match self.place {
                Place::Line => ordinary(&all[self.seen..]),
                _ => 0,
            };
            if ordinary > 0 {
                self.seen += ordinary;
                continue;
            }
            self.seen += 1;
            self.place = match (self.place, byte) {
                (Place::Before, b'\r') => Place::BeforeReturn,
                (Place::BeforeReturn, b'\n') => Place::Before,
                (Place::Before, byte) if is_token_byte(byte) => Place::Line,
                (Place::Before, _) => return refuse("Not an HTTP request."),

                (Place::Line, b'\r') => Place::LineReturn,
                (Place::LineReturn, b'\n') => Place::Start,
                (Place::Start, b'\r') => Place::StartReturn,
                (Place::StartReturn, b'\n') => return Ok(Some(self.seen)),
                (Place::BeforeReturn | Place::LineReturn | Place::StartReturn, _) => {
                    return refuse("Bare CR.");
                }

                (Place::Line | Place::Start, b'\n') => return refuse("Bare LF."),
                (Place::Line | Place::Start, b'\0') => return refuse("NUL in the request head."),
                (Place::Start, b' ' | b'\t') => return refuse("Obsolete line folding."),
                (Place::Line | Place::Start, _) => Place::Line,
            };
        }
        if self.seen >= max_header_size {
            return Err(Refusal::head_too_large("Request head too large."));
        }
        Ok(None)
    }
}

/// How many bytes at the front of a line's rest mean nothing here: also those of the next lines, up
/// to one that does not begin with an ordinary byte.
fn ordinary(rest: &[u8]) -> usize {
    let mut len = line_len(rest);
    while let [b'\r', b'\n', first, ..] = rest[len..] {
        if matches!(first, b'\0' | b'\t' | b'\n' | b'\r' | b' ') {
            break;
        }
        len += 2;
        len += line_len(&rest[len..]);
    }
    len
}

/// How many bytes stand before the first NUL, LF or CR.
pub(super) fn line_len(bytes: &[u8]) -> usize {
    let mut len = 0;
    loop {
        len += high_len(&bytes[len..]);
        match bytes.get(len) {
            None | Some(b'\0' | b'\n' | b'\r') => return len,
            Some(_) => len += 1,
        }
    }
}

/// How many bytes stand before the first that is not above a CR.
fn high_len(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks();
    for (index, word) in words.iter().enumerate() {
        let low = low_bytes(u64::from_le_bytes(*word));
        if low != 0 {
            return word.len() * index + low.trailing_zeros() as usize / 8;
        }
    }
    let in_rest = rest.iter().position(|&byte| byte <= b'\r');
    bytes.len() - rest.len() + in_rest.unwrap_or(rest.len())
}

/// Marks the bytes of a word that are not above a CR, each by its highest bit. Only the lowest mark
/// is sure: it makes the subtraction borrow from the byte above.
fn low_bytes(word: u64) -> u64 {
    const EACH: u64 = u64::MAX / 0xff;
    word.wrapping_sub(EACH * (b'\r' as u64 + 1)) & !word & (EACH << 7)
}

fn refuse(text: &'static str) -> Result<Option<usize>, Refusal> {
    Err(Refusal::bad_request(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 64;

    /// The outcome when everything but the last byte was not enough.
    fn scan_each_byte(bytes: &[u8]) -> Result<Option<usize>, u16> {
        let mut scanner = HeadScanner::default();
        for len in 0..bytes.len() {
            assert_eq!(
                scanner.scan(&bytes[..len], LIMIT),
                Ok(None),
                "{len} of {bytes:?}"
            );
        }
        scanner.scan(bytes, LIMIT).map_err(|refusal| refusal.status)
    }

    #[test]
    fn a_head_ends_with_its_first_empty_line() {
        for head in [
            "GET / HTTP/1.1\r\n\r\n",
            "\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
        ] {
            assert_eq!(scan_each_byte(head.as_bytes()), Ok(Some(head.len())));

            let with_more = format!("{head}\r\nmore\0\n");
            let mut scanner = HeadScanner::default();
            assert_eq!(
                scanner.scan(with_more.as_bytes(), LIMIT),
                Ok(Some(head.len()))
            );
        }
    }

    #[test]
    fn what_cannot_be_a_request_is_refused_with_the_byte_that_shows_it() {
        let cases: [(&str, &[u8]); 14] = [
            ("TLS", b"\x16"),
            ("RFC 9112 3", b" "),
            ("RFC 9112 3", b"\x80"),
            ("RFC 9112 2.2", b"\n"),
            ("RFC 9112 2.2", b"\0"),
            ("RFC 9112 2.2", b"\r\r"),
            ("RFC 9112 2.2", b"\r\n\n"),
            ("RFC 9112 2.2", b"GET / HTTP/1.1\n"),
            ("RFC 9112 2.2", b"GET / HTTP/1.1\rH"),
            ("RFC 9112 2.2", b"GET / HTTP/1.1\r\n\n"),
            ("RFC 9112 2.2", b"GET / HTTP/1.1\r\n\r\r"),
            ("RFC 9110 5.5", b"GET / HTTP/1.1\r\nA: \0"),
            ("RFC 9112 5.2", b"GET / HTTP/1.1\r\nA: b\r\n "),
            ("RFC 9112 5.2", b"GET / HTTP/1.1\r\nA: b\r\n\t"),
        ];
        for (section, bytes) in cases {
            assert_eq!(scan_each_byte(bytes), Err(400), "{section}: {bytes:?}");
        }
    }

    #[test]
    fn a_line_ends_with_its_first_nul_lf_or_cr_wherever_that_stands() {
        for len in 0..24 {
            for end in 0..=255 {
                for before in [b'x', b'\t', 0x0e, 0x80, 0xff] {
                    let mut bytes = vec![before; len];
                    bytes.push(end);
                    bytes.extend_from_slice(b"\x01\x0e\n\0");
                    let ends = matches!(end, b'\0' | b'\n' | b'\r');
                    let expected = if ends { len } else { len + 3 };
                    assert_eq!(line_len(&bytes), expected, "{bytes:?}");
                }
            }
        }
        assert_eq!(line_len(b""), 0);
        assert_eq!(line_len(b"a whole line"), 12);
    }

    #[test]
    fn a_head_over_the_limit_is_refused_however_it_comes_6585_5() {
        let fits = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(LIMIT - 18));
        assert_eq!(fits.len(), LIMIT);
        assert_eq!(scan_each_byte(fits.as_bytes()), Ok(Some(LIMIT)));

        assert_eq!(scan_each_byte(&[b'x'; LIMIT]), Err(431));
        let refusal = HeadScanner::default()
            .scan(&[b'x'; 2 * LIMIT], LIMIT)
            .unwrap_err();
        assert_eq!(refusal.status, 431);

        let only_empty_lines = b"\r\n".repeat(LIMIT / 2);
        assert_eq!(scan_each_byte(&only_empty_lines), Err(431));
    }
}
