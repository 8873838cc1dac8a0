//! The head of a response to an opening handshake, parsed strictly (RFC 9112).

use std::mem::MaybeUninit;

use super::token::{elements, is_same};
use super::{AnswerError, MAX_HEADERS};

/// The head of a response.
#[derive(Clone, Debug)]
pub struct ResponseHead<'a> {
    /// The whole head, from the status line on.
    pub text: &'a [u8],
    /// 100 to 999.
    pub status: u16,
    /// HTTP/1.0, which has no upgrade.
    pub is_http_1_0: bool,
    /// What follows the status in its line; may be empty.
    pub reason: &'a str,
    /// Names and values as sent and in order, without white space around values.
    pub headers: Vec<(&'a str, &'a [u8])>,
}

impl<'a> ResponseHead<'a> {
    /// Returns the values of all headers of that name; its case is ignored.
    pub fn header<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a [u8]> + 's {
        self.headers
            .iter()
            .filter(move |(known, _)| is_same(known.as_bytes(), name.as_bytes()))
            .map(|&(_, value)| value)
    }

    /// Whether the header, a list of tokens, contains `token`; case is ignored.
    #[must_use]
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.header(name)
            .flat_map(elements)
            .any(|element| is_same(element, token.as_bytes()))
    }
}

/// Parses a head whose end [`HeadScanner`](super::HeadScanner) has found.
///
/// # Errors
///
/// It violates RFC 9112, is not of HTTP/1.x, or has more than [`MAX_HEADERS`] headers.
pub fn parse_response(head: &[u8]) -> Result<ResponseHead<'_>, AnswerError> {
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        head,
        &mut headers,
    );
    match parsed {
        Ok(httparse::Status::Complete(len)) if len == head.len() => (),
        Err(httparse::Error::TooManyHeaders) => return Err(AnswerError::TooManyHeaders),
        Err(httparse::Error::Version) => return Err(AnswerError::NotHttp),
        _ => return Err(AnswerError::Malformed),
    }
    let headers = response.headers.iter();
    Ok(ResponseHead {
        text: head,
        status: response
            .code
            .filter(|code| *code >= 100)
            .ok_or(AnswerError::Malformed)?,
        is_http_1_0: response.version == Some(0),
        reason: response.reason.unwrap_or_default(),
        headers: headers.map(|header| (header.name, header.value)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_has_a_status_and_headers() {
        let head =
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nA: 1, b\r\na:2\r\n\r\n";
        let response = parse_response(head).expect("a good response");
        assert_eq!(
            (response.status, response.reason),
            (101, "Switching Protocols")
        );
        assert_eq!(
            response.header("A").collect::<Vec<_>>(),
            [&b"1, b"[..], b"2"]
        );
        assert!(response.lists("a", "B") && !response.lists("a", "c"));
        let bare = parse_response(b"HTTP/1.1 204\r\n\r\n").expect("a response without a reason");
        assert_eq!((bare.status, bare.reason), (204, ""));
    }

    #[test]
    fn what_is_no_response_is_refused() {
        let many = format!(
            "HTTP/1.1 200 OK\r\n{}\r\n",
            "a: b\r\n".repeat(MAX_HEADERS + 1)
        );
        for (head, error) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], AnswerError::NotHttp),
            (b"HTTP/2.0 200 OK\r\n\r\n", AnswerError::NotHttp),
            (b"HTTP/1.1 1 OK\r\n\r\n", AnswerError::Malformed),
            (b"HTTP/1.1 abc OK\r\n\r\n", AnswerError::Malformed),
            (b"HTTP/1.1 000 OK\r\n\r\n", AnswerError::Malformed),
            (b"HTTP/1.1 099 OK\r\n\r\n", AnswerError::Malformed),
            (b"HTTP/1.1 200 OK\r\na b: c\r\n\r\n", AnswerError::Malformed),
            (b"HTTP/1.1 200 OK\r\n: c\r\n\r\n", AnswerError::Malformed),
            (many.as_bytes(), AnswerError::TooManyHeaders),
        ] {
            let parsed = parse_response(head).map(|_| ());
            assert_eq!(parsed, Err(error), "{}", String::from_utf8_lossy(head));
        }
    }
}
