//! The opening handshake: checking a request, and the response that accepts it (RFC 6455 section 4.2).

use std::collections::HashSet;

use base64::alphabet::STANDARD;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use sha1::{Digest as _, Sha1};

use super::extension::ListError;
use super::memory;
use super::refusal::{headers_len, write_header};
use super::token::{elements, token};
use super::{Agreement, Extension, Refusal, RequestHead, extension};

/// The GUID that is appended to the client's key (RFC 6455 section 1.3).
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Decodes keys. The four spare bits of the last digit are ignored: in the RFC's own example (section 4.1)
/// they are not zero.
const KEY: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// What a client offers in a valid opening handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The value of `Sec-WebSocket-Accept`.
    pub accept: [u8; 28],
    /// The offered subprotocols, in the client's order of preference.
    pub subprotocols: Vec<String>,
    /// The offered extensions, in the client's order of preference.
    pub extensions: Vec<Extension>,
}

/// Checks an opening handshake.
///
/// # Errors
///
/// 405 for a method other than GET; 426 for a request without `Upgrade: websocket` or for a version other
/// than 13; 400 for any other violation of RFC 6455 section 4.2.1.
pub fn check(head: &RequestHead<'_>) -> Result<Offer, Refusal> {
    if head.method != "GET" {
        return Err(Refusal::method_not_allowed("GET"));
    }
    if head.body_announced() {
        return Err(Refusal::bad_request(
            "A WebSocket handshake must not have a body.",
        ));
    }
    if head.is_http_1_0 && head.lists("Upgrade", "websocket") {
        return Err(Refusal::bad_request(
            "A WebSocket handshake requires HTTP/1.1.",
        ));
    }
    if !head.wants_websocket() {
        return Err(Refusal::upgrade_required());
    }
    // Also beside `close`, which lighttpd sends and which concerns the time after the handshake.
    if !head.lists("Connection", "Upgrade") {
        return Err(Refusal::bad_request("Connection header without Upgrade."));
    }
    if only(head, "Sec-WebSocket-Version") != Some(b"13") {
        return Err(Refusal::unsupported_version());
    }
    let Some(accept) = only(head, "Sec-WebSocket-Key").and_then(accept) else {
        return Err(Refusal::bad_request(
            "Missing or invalid Sec-WebSocket-Key.",
        ));
    };
    if head.header("Origin").count() > 1 {
        return Err(Refusal::bad_request("Duplicate Origin header."));
    }
    let unread = |error, text| match error {
        ListError::Malformed => Refusal::bad_request(text),
        ListError::Memory => Refusal::unavailable(),
    };
    Ok(Offer {
        accept,
        subprotocols: subprotocols(head)
            .map_err(|error| unread(error, "Invalid Sec-WebSocket-Protocol header."))?,
        extensions: extensions(head)
            .map_err(|error| unread(error, "Invalid Sec-WebSocket-Extensions header."))?,
    })
}

/// Returns the value of a header that occurs exactly once.
fn only<'a>(head: &RequestHead<'a>, name: &str) -> Option<&'a [u8]> {
    let mut values = head.header(name);
    values.next().filter(|_| values.next().is_none())
}

/// Returns the accept value for a key, which must be 16 bytes in base64.
pub(super) fn accept(key: &[u8]) -> Option<[u8; 28]> {
    let mut nonce = [0; 18];
    if KEY.decode_slice(key, &mut nonce).ok()? != 16 {
        return None;
    }
    let digest = Sha1::new()
        .chain_update(key)
        .chain_update(ACCEPT_SUFFIX)
        .finalize();
    let mut accept = [0; 28];
    let len = BASE64_STANDARD.encode_slice(digest, &mut accept).ok()?;
    (len == accept.len()).then_some(accept)
}

/// Parses the subprotocols: distinct tokens, at least one if there is a header.
fn subprotocols(head: &RequestHead<'_>) -> Result<Vec<String>, ListError> {
    let mut known = HashSet::new();
    let mut subprotocols = Vec::new();
    for value in head.header("Sec-WebSocket-Protocol") {
        let mut names = elements(value).peekable();
        names.peek().ok_or(ListError::Malformed)?;
        for name in names {
            let name = token(name).ok_or(ListError::Malformed)?;
            known.try_reserve(1).map_err(|_| ListError::Memory)?;
            if !known.insert(name) {
                return Err(ListError::Malformed);
            }
            memory::push(&mut subprotocols, memory::copy(name)?)?;
        }
    }
    Ok(subprotocols)
}

fn extensions(head: &RequestHead<'_>) -> Result<Vec<Extension>, ListError> {
    let mut extensions = Vec::new();
    for value in head.header("Sec-WebSocket-Extensions") {
        extension::parse(value, &mut extensions)?;
    }
    Ok(extensions)
}

/// Appends the response that accepts a handshake. Frames follow it.
///
/// `agreement` is what was negotiated about compression. `server_header` is the value of `Server`; empty:
/// none. `extra` are headers of the application, each of which passes [`may_set_header`].
pub fn write_accept(
    out: &mut Vec<u8>,
    accept: &[u8; 28],
    subprotocol: Option<&str>,
    agreement: Option<Agreement>,
    server_header: &str,
    extra: &[(String, String)],
) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\n\
          Upgrade: websocket\r\n\
          Connection: Upgrade\r\n\
          Sec-WebSocket-Accept: ",
    );
    out.extend_from_slice(accept);
    out.extend_from_slice(b"\r\n");
    if let Some(subprotocol) = subprotocol {
        write_header(out, "Sec-WebSocket-Protocol", subprotocol);
    }
    if let Some(agreement) = agreement {
        out.extend_from_slice(b"Sec-WebSocket-Extensions: ");
        agreement.write(out);
        out.extend_from_slice(b"\r\n");
    }
    let has_server = extra
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("Server"));
    if !server_header.is_empty() && !has_server {
        write_header(out, "Server", server_header);
    }
    for (name, value) in extra {
        write_header(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
}

/// Returns the maximum number of bytes that [`write_accept`] appends.
#[must_use]
pub fn max_accept_len(
    subprotocol: Option<&str>,
    server_header: &str,
    extra: &[(String, String)],
) -> usize {
    512 + subprotocol.map_or(0, str::len) + server_header.len() + headers_len(extra)
}

/// Whether an application may set this header of a response.
///
/// The name must be a token, the value UTF-8 without control characters other than tabs. Headers on which the
/// handshake or the length of the body depend may not be set.
#[must_use]
pub fn may_set_header(name: &[u8], value: &[u8]) -> bool {
    const OURS: [&str; 4] = [
        "Connection",
        "Upgrade",
        "Content-Length",
        "Transfer-Encoding",
    ];
    const OUR_PREFIX: &str = "Sec-WebSocket-";

    let Some(name) = token(name) else {
        return false;
    };
    let is_ours = OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours))
        || name
            .get(..OUR_PREFIX.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(OUR_PREFIX));
    !is_ours && is_field_value(value)
}

/// Whether a header may have this value: UTF-8 without control characters other than tabs.
pub(super) fn is_field_value(value: &[u8]) -> bool {
    let is_text = |byte: u8| byte == b'\t' || !byte.is_ascii_control();
    std::str::from_utf8(value).is_ok_and(|value| value.bytes().all(is_text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::agree;

    #[test]
    fn the_key_of_the_rfc_gets_the_answer_of_the_rfc_1_3() {
        assert_eq!(
            accept(b"dGhlIHNhbXBsZSBub25jZQ=="),
            Some(*b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        );
    }

    #[test]
    fn the_spare_bits_of_a_key_are_ignored_4_1() {
        // The example of section 4.1, whose last digit has bits that no byte needs.
        assert_eq!(
            accept(b"AQIDBAUGBwgJCgsMDQ4PEC=="),
            Some(*b"OfS0wDaT5NoxF2gqm7Zj2YtetzM=")
        );
    }

    #[test]
    fn a_key_is_base64_of_sixteen_bytes_4_1() {
        let bad: [&[u8]; 8] = [
            b"",
            b"dGhlIHNhbXBsZSBub25jZQ",
            b"dGhlIHNhbXBsZSBub25jZQ=",
            b"dGhlIHNhbXBsZSBub25jZQ===",
            b"dGhlIHNhbXBsZSBub25j",
            b"dGhlIHNhbXBsZSBub25jZXM=",
            b"dGhlIHNhbXBsZSBub25jZ_==",
            b"dGhlIHNhbXBs ZSBub25jZQ=",
        ];
        for key in bad {
            assert_eq!(accept(key), None, "{key:?}");
        }
        assert_eq!(accept(&[b'A'; 4000]), None);
    }

    #[test]
    fn an_acceptance_holds_what_was_chosen_4_2_2() {
        let mut out = Vec::new();
        let extra = [("Set-Cookie".to_owned(), "a=b".to_owned())];
        let offer = Extension {
            name: "permessage-deflate".to_owned(),
            parameters: Vec::new(),
        };
        let agreement = agree(&[offer], true);
        write_accept(
            &mut out,
            b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
            Some("chat"),
            agreement,
            "portal",
            &extra,
        );
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "HTTP/1.1 101 Switching Protocols\r\n\
             Upgrade: websocket\r\n\
             Connection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
             Sec-WebSocket-Protocol: chat\r\n\
             Sec-WebSocket-Extensions: permessage-deflate\r\n\
             Server: portal\r\n\
             Set-Cookie: a=b\r\n\
             \r\n"
        );

        let mut out = Vec::new();
        write_accept(
            &mut out,
            b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
            None,
            None,
            "",
            &[],
        );
        let text = String::from_utf8(out).unwrap();
        assert!(
            !text.contains("Protocol:")
                && !text.contains("Extensions:")
                && !text.contains("Server:")
        );
    }

    #[test]
    fn an_application_may_not_set_what_the_handshake_depends_on() {
        let good: [(&str, &[u8]); 5] = [
            ("Set-Cookie", b"a=b; Path=/"),
            ("X-Empty", b""),
            ("X-Tab", b"a\tb"),
            ("X-Word", "é".as_bytes()),
            ("Server", b"mine"),
        ];
        for (name, value) in good {
            assert!(may_set_header(name.as_bytes(), value), "{name}");
        }
        let bad: [(&str, &[u8]); 16] = [
            ("Connection", b"x"),
            ("uPGRADE", b"x"),
            ("content-length", b"0"),
            ("Transfer-Encoding", b"chunked"),
            ("Sec-WebSocket-Accept", b"x"),
            ("sec-websocket-", b"x"),
            ("Sec-WebSocket-Protocol", b"x"),
            ("", b"x"),
            ("a b", b"x"),
            ("a:", b"x"),
            ("a\r\n", b"x"),
            ("X", b"a\r\nb"),
            ("X", b"a\nb"),
            ("X", b"a\0"),
            ("X", b"\x7f"),
            ("X", b"\xff"),
        ];
        for (name, value) in bad {
            assert!(
                !may_set_header(name.as_bytes(), value),
                "{name:?}: {value:?}"
            );
        }
    }
}
