//! Finding the end of a request's head while it arrives (RFC 9112 section 2).

use memchr::memchr3;

use super::Refusal;
use super::token::is_token_byte;

/// Searches for the end of a request's head. It scans each byte once, however they are fragmented, and fails
/// at the first byte that no valid request has.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadScanner {
    /// Number of bytes scanned.
    seen: usize,
    state: ScanState,
}

/// The position of the next byte in the head.
#[derive(Clone, Copy, Debug, Default)]
enum ScanState {
    /// Before the request line, where empty lines are skipped (RFC 9112 section 2.2).
    #[default]
    Before,
    /// After the CR of such an empty line.
    BeforeReturn,
    /// In the request line or a header.
    Line,
    /// After the CR of a line.
    LineReturn,
    /// At the beginning of a line.
    Start,
    /// After the CR of the empty line that ends the head.
    StartReturn,
}

impl HeadScanner {
    /// Scans the new bytes of `all`, which is everything received so far. Returns the length of the head once
    /// it is complete, empty lines included; what follows does not belong to it.
    ///
    /// # Errors
    ///
    /// 400 for what cannot be a request, such as the beginning of TLS, a bare CR or LF, a NUL; 431 for a head
    /// of more than `max_header_size` bytes.
    pub fn scan(&mut self, all: &[u8], max_header_size: usize) -> Result<Option<usize>, Refusal> {
        let all = &all[..all.len().min(max_header_size)];
        while let Some(&byte) = all.get(self.seen) {
            let ordinary = match self.state {
                ScanState::Line => ordinary(&all[self.seen..]),
                _ => 0,
            };
            if ordinary > 0 {
                self.seen += ordinary;
                continue;
            }
            self.seen += 1;
            self.state = match (self.state, byte) {
                (ScanState::Before, b'\r') => ScanState::BeforeReturn,
                (ScanState::BeforeReturn, b'\n') => ScanState::Before,
                (ScanState::Before, byte) if is_token_byte(byte) => ScanState::Line,
                (ScanState::Before, _) => return refuse("Not an HTTP request."),

                (ScanState::Line, b'\r') => ScanState::LineReturn,
                (ScanState::LineReturn, b'\n') => ScanState::Start,
                (ScanState::Start, b'\r') => ScanState::StartReturn,
                (ScanState::StartReturn, b'\n') => return Ok(Some(self.seen)),
                (ScanState::BeforeReturn | ScanState::LineReturn | ScanState::StartReturn, _) => {
                    return refuse("Bare CR.");
                }

                (ScanState::Line | ScanState::Start, b'\n') => {
                    return refuse("Bare LF.");
                }
                (ScanState::Line | ScanState::Start, b'\0') => {
                    return refuse("NUL in the request head.");
                }
                (ScanState::Start, b' ' | b'\t') => return refuse("Obsolete line folding."),
                (ScanState::Line | ScanState::Start, _) => ScanState::Line,
            };
        }
        if self.seen >= max_header_size {
            return Err(Refusal::head_too_large("Request head too large."));
        }
        Ok(None)
    }
}

/// Returns how many bytes of a line's rest can be skipped, and of further lines that begin with an ordinary
/// byte.
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

/// Returns the number of bytes before the first NUL, LF or CR.
pub(super) fn line_len(bytes: &[u8]) -> usize {
    memchr3(b'\0', b'\n', b'\r', bytes).unwrap_or(bytes.len())
}

fn refuse(text: &'static str) -> Result<Option<usize>, Refusal> {
    Err(Refusal::bad_request(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 64;

    /// Returns the result of the last byte; asserts that the bytes before are not enough.
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
