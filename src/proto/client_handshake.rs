//! The opening handshake of a client: its request, and the check of the answer (RFC 6455 section 4.1).

use base64::prelude::{BASE64_STANDARD, Engine as _};

use super::extension::{self, ListError};
use super::handshake::{accept, is_field_value};
use super::refusal::{headers_len, write_header};
use super::token::token;
use super::{Agreement, AnswerError, DeflateOffer, ResponseHead};

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
pub struct ClientRequest<'a> {
    /// Path and query.
    pub target: &'a str,
    /// The value of `Host`, unless the application has set another.
    pub authority: &'a str,
    /// Offered in this order.
    pub subprotocols: &'a [String],
    /// How compression is offered, if it is.
    pub deflate: Option<DeflateOffer>,
    /// Of the application; each passes [`may_set_request_header`].
    pub headers: &'a [(String, String)],
}

/// Whether an application may set this header of a request: not those on which the handshake depends, nor those for
/// a proxy.
#[must_use]
pub fn may_set_request_header(name: &[u8], value: &[u8]) -> bool {
    const OURS: [&str; 4] = [
        "Connection",
        "Upgrade",
        "Content-Length",
        "Transfer-Encoding",
    ];
    const OUR_PREFIXES: [&str; 2] = ["Sec-WebSocket-", "Proxy-"];

    let Some(name) = token(name) else {
        return false;
    };
    let begins = |prefix: &&str| {
        name.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let is_ours =
        OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours)) || OUR_PREFIXES.iter().any(begins);
    !is_ours && is_field_value(value)
}

/// Appends the request. `nonce` must be random (RFC 6455 section 4.1).
pub fn write_request(out: &mut Vec<u8>, request: &ClientRequest<'_>, nonce: [u8; 16]) {
    let ClientRequest {
        target,
        authority,
        subprotocols,
        deflate,
        headers,
    } = *request;
    out.extend_from_slice(b"GET ");
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let own_host = |(name, _): &&(String, String)| name.eq_ignore_ascii_case("Host");
    let host = headers.iter().find(own_host);
    write_header(out, "Host", host.map_or(authority, |(_, value)| value));
    write_header(out, "Upgrade", "websocket");
    write_header(out, "Connection", "Upgrade");
    write_header(out, "Sec-WebSocket-Key", &key(nonce));
    write_header(out, "Sec-WebSocket-Version", "13");
    if !subprotocols.is_empty() {
        write_header(out, "Sec-WebSocket-Protocol", &subprotocols.join(", "));
    }
    if let Some(offer) = deflate {
        write_header(out, "Sec-WebSocket-Extensions", offer.text());
    }
    for (name, value) in headers.iter().filter(|header| !own_host(header)) {
        write_header(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
}

/// Returns the maximum number of bytes that [`write_request`] appends.
#[must_use]
pub fn max_request_len(request: &ClientRequest<'_>) -> usize {
    let subprotocols = request.subprotocols.iter().map(|name| name.len() + 2);
    512 + request.target.len()
        + request.authority.len()
        + subprotocols.sum::<usize>()
        + headers_len(request.headers)
}

fn key(nonce: [u8; 16]) -> String {
    BASE64_STANDARD.encode(nonce)
}

/// What a server has agreed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Which of the offered subprotocols it chose.
    pub subprotocol: Option<usize>,
    /// How messages are compressed.
    pub agreement: Option<Agreement>,
}

/// Checks a response with status 101 to [`write_request`].
///
/// # Errors
///
/// The rule of RFC 6455 section 4.1, or RFC 7692 section 7.1, that the server violated.
pub fn check_answer(
    head: &ResponseHead<'_>,
    nonce: [u8; 16],
    offered: &[String],
    offer: Option<DeflateOffer>,
) -> Result<Answer, AnswerError> {
    if head.is_http_1_0 {
        return Err(AnswerError::NotHttp);
    }
    let mut upgrades = head.header("Upgrade");
    let is_websocket = |value: &[u8]| value.eq_ignore_ascii_case(b"websocket");
    if !upgrades.next().is_some_and(is_websocket) || upgrades.next().is_some() {
        return Err(AnswerError::Upgrade);
    }
    if !head.lists("Connection", "Upgrade") {
        return Err(AnswerError::Connection);
    }
    let mut accepts = head.header("Sec-WebSocket-Accept");
    let accepted = accepts.next().ok_or(AnswerError::AcceptMissing)?;
    if accepts.next().is_some() {
        return Err(AnswerError::AcceptTwice);
    }
    if accept(key(nonce).as_bytes()).is_none_or(|expected| expected != accepted) {
        return Err(AnswerError::AcceptWrong);
    }
    Ok(Answer {
        subprotocol: subprotocol(head, offered)?,
        agreement: agreement(head, offer)?,
    })
}

fn subprotocol(head: &ResponseHead<'_>, offered: &[String]) -> Result<Option<usize>, AnswerError> {
    let mut chosen = head.header("Sec-WebSocket-Protocol");
    let Some(name) = chosen.next() else {
        return Ok(None);
    };
    let place = offered
        .iter()
        .position(|offered| offered.as_bytes() == name);
    match (place, chosen.next()) {
        (Some(place), None) => Ok(Some(place)),
        _ => Err(AnswerError::Subprotocol),
    }
}

fn agreement(
    head: &ResponseHead<'_>,
    offer: Option<DeflateOffer>,
) -> Result<Option<Agreement>, AnswerError> {
    let mut extensions = Vec::new();
    for value in head.header("Sec-WebSocket-Extensions") {
        extension::parse(value, &mut extensions).map_err(|error| match error {
            ListError::Malformed => AnswerError::Extension,
            ListError::Memory => AnswerError::OutOfMemory,
        })?;
    }
    match (&extensions[..], offer) {
        ([], _) => Ok(None),
        ([extension], Some(offer)) if offer.is_of(extension) => offer
            .confirm(extension)
            .map(Some)
            .ok_or(AnswerError::DeflateParameter),
        _ => Err(AnswerError::Extension),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::parse_response;

    const NONCE: [u8; 16] = *b"the sample nonce";

    fn answer(headers: &str) -> Result<Answer, AnswerError> {
        let head = format!("HTTP/1.1 101 Switching Protocols\r\n{headers}\r\n");
        let head = parse_response(head.as_bytes()).expect("a good response");
        let offered = ["chat".to_owned(), "v2".to_owned()];
        check_answer(&head, NONCE, &offered, Some(DeflateOffer::WithoutTakeover))
    }

    const GOOD: &str = "Upgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

    #[test]
    fn the_answer_of_the_rfc_fits_the_key_of_the_rfc_1_3() {
        let answer = answer(GOOD).expect("a good answer");
        assert_eq!((answer.subprotocol, answer.agreement), (None, None));
    }

    #[test]
    fn each_rule_of_the_answer_is_checked_4_1() {
        let protocol = "Sec-WebSocket-Protocol: v2\r\n";
        let chosen = answer(&format!("{GOOD}{protocol}")).expect("a good answer");
        assert_eq!(chosen.subprotocol, Some(1));
        let without = |name: &str| {
            let lines = GOOD.split_inclusive("\r\n");
            lines
                .filter(|line| !line.starts_with(name))
                .collect::<String>()
        };
        for (headers, error) in [
            (without("Upgrade"), AnswerError::Upgrade),
            (GOOD.replace("WebSocket\r", "h2c\r"), AnswerError::Upgrade),
            (
                format!("{GOOD}Upgrade: websocket\r\n"),
                AnswerError::Upgrade,
            ),
            (without("Connection"), AnswerError::Connection),
            (GOOD.replace("upgrade", "close"), AnswerError::Connection),
            (without("Sec-WebSocket-Accept"), AnswerError::AcceptMissing),
            (GOOD.replace("s3p", "S3p"), AnswerError::AcceptWrong),
            (
                format!("{GOOD}Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
                AnswerError::AcceptTwice,
            ),
            (
                format!("{GOOD}Sec-WebSocket-Protocol: v3\r\n"),
                AnswerError::Subprotocol,
            ),
            (
                format!("{GOOD}Sec-WebSocket-Protocol: Chat\r\n"),
                AnswerError::Subprotocol,
            ),
            (
                format!("{GOOD}Sec-WebSocket-Protocol: chat, v2\r\n"),
                AnswerError::Subprotocol,
            ),
            (
                format!("{GOOD}{protocol}{protocol}"),
                AnswerError::Subprotocol,
            ),
            (
                format!("{GOOD}Sec-WebSocket-Extensions: x-mux\r\n"),
                AnswerError::Extension,
            ),
            (
                format!("{GOOD}Sec-WebSocket-Extensions: ;\r\n"),
                AnswerError::Extension,
            ),
            (
                format!(
                    "{GOOD}Sec-WebSocket-Extensions: permessage-deflate, permessage-deflate\r\n"
                ),
                AnswerError::Extension,
            ),
            (
                format!("{GOOD}Sec-WebSocket-Extensions: permessage-deflate; mystery\r\n"),
                AnswerError::DeflateParameter,
            ),
        ] {
            assert_eq!(answer(&headers), Err(error), "{headers}");
        }
    }

    #[test]
    fn http_1_0_has_no_upgrade_4_1() {
        let head = format!("HTTP/1.0 101 Switching Protocols\r\n{GOOD}\r\n");
        let head = parse_response(head.as_bytes()).expect("a good response");
        let checked = check_answer(&head, NONCE, &[], None);
        assert_eq!(checked, Err(AnswerError::NotHttp));
    }

    #[test]
    fn a_request_holds_what_is_asked_for_4_1() {
        let mut out = Vec::new();
        let request = ClientRequest {
            target: "/chat?a",
            authority: "example.com",
            subprotocols: &["chat".to_owned(), "v2".to_owned()],
            deflate: Some(DeflateOffer::WithTakeover),
            headers: &[
                ("Origin".to_owned(), "https://example.com".to_owned()),
                ("host".to_owned(), "other.example".to_owned()),
            ],
        };
        write_request(&mut out, &request, NONCE);
        assert!(out.len() <= max_request_len(&request));
        assert_eq!(
            String::from_utf8(out).expect("ASCII"),
            "GET /chat?a HTTP/1.1\r\n\
             Host: other.example\r\n\
             Upgrade: websocket\r\n\
             Connection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: chat, v2\r\n\
             Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\
             Origin: https://example.com\r\n\
             \r\n"
        );
    }

    #[test]
    fn an_application_may_set_what_the_handshake_does_not_depend_on() {
        for name in [
            "Host",
            "Origin",
            "Authorization",
            "Cookie",
            "User-Agent",
            "X-A",
        ] {
            assert!(may_set_request_header(name.as_bytes(), b"x"), "{name}");
        }
        for name in [
            "Connection",
            "upgrade",
            "Content-Length",
            "Sec-WebSocket-Key",
            "proxy-authorization",
            "",
            "a b",
        ] {
            assert!(!may_set_request_header(name.as_bytes(), b"x"), "{name}");
        }
        for value in ["a\r\nb", "a\0", "\x7f"] {
            assert!(!may_set_request_header(b"X", value.as_bytes()));
        }
    }
}
