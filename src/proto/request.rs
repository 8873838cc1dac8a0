//! The head of a request: its target and headers, parsed strictly (RFC 9112).

use std::borrow::Cow;
use std::mem::MaybeUninit;

use super::head::line_len;
use super::token::{elements, is_same, trim};
use super::{Names, Refusal, path};

/// Maximum number of headers; a request with more is refused with 431.
pub const MAX_HEADERS: usize = 100;

/// The head of a request, as [`parse_head`] parses it.
#[derive(Clone, Debug)]
pub struct RequestHead<'a> {
    /// The whole head, from the request line on.
    pub text: &'a [u8],
    /// The method, which is case-sensitive.
    pub method: &'a str,
    /// HTTP/1.0: neither a second response on the same connection nor an upgrade is possible.
    pub is_http_1_0: bool,
    /// Path and query as sent, without scheme and host.
    pub target: Cow<'a, str>,
    /// The query, which follows the first `?`, as sent; empty when there is none.
    pub query: &'a str,
    /// Names and values as sent and in order, without white space around values.
    pub headers: Vec<(&'a str, &'a [u8])>,
    /// The names of the headers.
    names: Names,
    /// The decoded path, with a NUL for each `%2F`.
    route: Cow<'a, str>,
}

impl<'a> RequestHead<'a> {
    /// Returns the decoded path.
    #[must_use]
    pub fn path(&self) -> Cow<'_, str> {
        path::with_slashes(&self.route)
    }

    /// Returns the decoded path for matching, with a NUL for each `%2F`, so that every `/` separates
    /// segments.
    #[must_use]
    pub fn route(&self) -> &str {
        &self.route
    }

    /// Returns the values of all headers of that name; its case is ignored.
    pub fn header<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a [u8]> + 's {
        let headers = match self.names.may_hold(name) {
            true => &self.headers[..],
            false => &[],
        };
        headers
            .iter()
            .filter(move |(known, _)| is_same(known.as_bytes(), name.as_bytes()))
            .map(|&(_, value)| value)
    }

    /// Returns the elements of the lists in all headers of that name (RFC 9110 section 5.6.1). No quoted string is
    /// looked for.
    pub fn elements<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a [u8]> + 's {
        self.header(name).flat_map(elements)
    }

    /// Whether the header, a list of tokens, contains `token`; case is ignored.
    #[must_use]
    pub fn lists(&self, name: &str, token: &str) -> bool {
        let is_token = |element: &[u8]| is_same(element, token.as_bytes());
        self.header(name)
            .any(|value| is_token(value) || elements(value).any(is_token))
    }

    /// Whether `Accept` names the media type, with any parameters but `q=0` (RFC 9110 section 12.5.1).
    #[must_use]
    pub fn accepts(&self, media_type: &str) -> bool {
        let is_named = |element: &[u8]| {
            let mut parts = element.split(|&byte| byte == b';').map(trim);
            let is_type = parts
                .next()
                .is_some_and(|name| is_same(name, media_type.as_bytes()));
            let is_refused = |part: &[u8]| {
                let weight = part.strip_prefix(b"q=").or(part.strip_prefix(b"Q="));
                weight.is_some_and(|weight| weight.iter().all(|byte| b"0.".contains(byte)))
            };
            is_type && !parts.any(is_refused)
        };
        self.elements("Accept").any(is_named)
    }

    /// Whether it requests an upgrade to WebSocket. HTTP/1.0 has no upgrade (RFC 9110 section 7.8).
    #[must_use]
    pub fn wants_websocket(&self) -> bool {
        !self.is_http_1_0 && self.lists("Upgrade", "websocket")
    }

    /// Whether a body follows the head.
    #[must_use]
    pub fn body_announced(&self) -> bool {
        self.header("Transfer-Encoding").next().is_some()
            || self.header("Content-Length").any(|length| length != b"0")
    }

    /// Returns the value of `Origin`, which browsers send.
    #[must_use]
    pub fn origin(&self) -> Option<&'a [u8]> {
        self.header("Origin").next()
    }
}

/// Parses a head whose end [`HeadScanner`](super::HeadScanner) has found.
///
/// # Errors
///
/// 431 for more than [`MAX_HEADERS`] headers; 400 for a violation of RFC 9112, for other versions than
/// HTTP/1.x, and for a target without a path.
pub fn parse_head(head: &mut [u8]) -> Result<RequestHead<'_>, Refusal> {
    let empty_lines = head
        .chunks_exact(2)
        .take_while(|line| line == b"\r\n")
        .count();
    let head = &mut head[2 * empty_lines..];
    normalise_version(head)?;
    let head = &*head;

    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut []);
    let (method, target, is_http_1_0) = match request.parse_with_uninit_headers(head, &mut headers)
    {
        Ok(httparse::Status::Complete(len)) if len == head.len() => (
            request.method.unwrap_or_default(),
            request.path.unwrap_or_default(),
            request.version == Some(0),
        ),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Refusal::head_too_large("Too many headers."));
        }
        _ => return Err(Refusal::bad_request("Malformed request.")),
    };
    let mut names = Names::default();
    let headers = request
        .headers
        .iter()
        .map(|header| {
            names.add(header.name);
            (header.name, header.value)
        })
        .collect();

    let Some((target, raw_path, query)) = split_target(target) else {
        return Err(Refusal::bad_request("Unsupported request target."));
    };
    let Some(route) = path::decode(raw_path) else {
        return Err(Refusal::bad_request(
            "The path is not valid percent-encoded UTF-8.",
        ));
    };
    let head = RequestHead {
        text: head,
        method,
        is_http_1_0,
        target,
        query,
        headers,
        names,
        route,
    };
    check_host(&head)?;
    Ok(head)
}

/// Replaces every later HTTP/1.x by HTTP/1.1, because `httparse` does not support them and they must be
/// treated alike (RFC 9110 section 2.5).
fn normalise_version(head: &mut [u8]) -> Result<(), Refusal> {
    let line_len = line_len(head);
    match &mut head[..line_len] {
        [
            ..,
            b' ',
            b'H',
            b'T',
            b'T',
            b'P',
            b'/',
            b'1',
            b'.',
            minor @ b'0'..=b'9',
        ] => {
            *minor = b'1'.min(*minor);
            Ok(())
        }
        _ => Err(Refusal::bad_request(
            "Unsupported HTTP version: use HTTP/1.1.",
        )),
    }
}

/// Splits a target in origin-form or absolute-form (RFC 9112 section 3.2). Returns it without scheme and
/// host, its path, and its query.
fn split_target(target: &str) -> Option<(Cow<'_, str>, &str, &str)> {
    let may_stand = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
    if !target.bytes().all(may_stand) {
        return None;
    }
    let target = if target.starts_with('/') {
        target
    } else {
        without_host(target)?
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if path.is_empty() {
        return Some((Cow::Owned(format!("/{target}")), "/", query));
    }
    Some((Cow::Borrowed(target), path, query))
}

/// Returns the part of a target in absolute-form that follows scheme and host.
fn without_host(target: &str) -> Option<&str> {
    let (scheme, rest) = target.split_once("://")?;
    if !["http", "https", "ws", "wss"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known))
    {
        return None;
    }
    let (host, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    is_plausible_host(host.as_bytes()).then_some(rest)
}

/// Checks that there is exactly one `Host` (RFC 9112 section 3.2), or none in HTTP/1.0.
fn check_host(head: &RequestHead<'_>) -> Result<(), Refusal> {
    let mut hosts = head.header("Host");
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_plausible_host(host) => Ok(()),
        (Some(_), None) => Err(Refusal::bad_request("Empty or invalid Host header.")),
        (None, _) if head.is_http_1_0 => Ok(()),
        (None, _) => Err(Refusal::bad_request("Missing Host header.")),
        (Some(_), Some(_)) => Err(Refusal::bad_request("Duplicate Host header.")),
    }
}

/// Whether it is a name or an address (IPv6 in brackets), optionally with a colon and a port.
fn is_plausible_host(host: &[u8]) -> bool {
    let (name, port) = match host.iter().rposition(|&byte| byte == b':') {
        Some(colon) if !host.ends_with(b"]") => (&host[..colon], &host[colon + 1..]),
        _ => (host, &[][..]),
    };
    let is_name = match name {
        [b'[', address @ .., b']'] => {
            !address.is_empty()
                && address
                    .iter()
                    .all(|&byte| is_name_byte(byte) || byte == b':')
        }
        name => !name.is_empty() && name.iter().copied().all(is_name_byte),
    };
    is_name && port.len() <= 5 && port.iter().all(u8::is_ascii_digit)
}

/// Whether a registered name may contain `byte` (RFC 3986 section 3.2.2).
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'%'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
        )
}
