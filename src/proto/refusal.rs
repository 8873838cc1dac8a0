//! HTTP error responses that refuse a request. The connection is closed after them.

use std::borrow::Cow;

/// An error response. The connection is closed after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// From 300 to 599.
    pub status: u16,
    /// Headers in addition to those of every refusal.
    pub headers: Vec<(String, String)>,
    /// Human-readable; the body, unless there is another.
    pub text: Cow<'static, str>,
    /// The application's body.
    pub body: Option<Body>,
}

/// The body of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The value of `Content-Type`.
    pub content_type: String,
    /// The body itself.
    pub bytes: Vec<u8>,
}

impl Refusal {
    /// Creates a refusal with a status from 300 to 599; the text is its reason phrase.
    #[must_use]
    pub fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            text: Cow::Borrowed(phrase(status)),
            body: None,
        }
    }

    /// 400: the request violates HTTP or WebSocket.
    #[must_use]
    pub fn bad_request(text: &'static str) -> Self {
        Self::new(400).with_text(text)
    }

    /// 400: the port requires TLS.
    #[must_use]
    pub fn wants_tls() -> Self {
        Self::bad_request("This port requires TLS: use wss:// or https://.")
    }

    /// 403: the origin is not allowed.
    #[must_use]
    pub fn forbidden_origin() -> Self {
        Self::new(403).with_text("Origin not allowed.")
    }

    /// 404: nothing is defined for the path.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(404).with_text("Path not found.")
    }

    /// 405: the resource does not support the method.
    #[must_use]
    pub fn method_not_allowed(allow: &str) -> Self {
        Self::new(405)
            .with_header("Allow", allow)
            .with_text("Method not allowed.")
    }

    /// 426: the resource is a WebSocket endpoint only.
    #[must_use]
    pub fn upgrade_required() -> Self {
        Self::new(426)
            .with_header("Upgrade", "websocket")
            .with_text("WebSocket endpoint: use a WebSocket client.")
    }

    /// 426: the requested version of WebSocket is not 13 (RFC 6455 section 4.4).
    #[must_use]
    pub fn unsupported_version() -> Self {
        Self::new(426)
            .with_header("Upgrade", "websocket")
            .with_header("Sec-WebSocket-Version", "13")
            .with_text("Unsupported Sec-WebSocket-Version: the supported version is 13.")
    }

    /// 429: the client's address has its maximum number of connections.
    #[must_use]
    pub fn too_many_connections() -> Self {
        Self::new(429).with_text("Too many connections from this address.")
    }

    /// 431: the request is over its maximum size.
    #[must_use]
    pub fn head_too_large(text: &'static str) -> Self {
        Self::new(431).with_text(text)
    }

    /// 500: the application failed.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(500).with_text("Internal server error.")
    }

    /// 503: the server has its maximum number of connections.
    #[must_use]
    pub fn unavailable() -> Self {
        Self::new(503).with_text("The server is overloaded or closing.")
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Replaces the text.
    #[must_use]
    pub fn with_text(mut self, text: impl Into<Cow<'static, str>>) -> Self {
        self.text = text.into();
        self
    }

    /// Appends the response, without its body if `head_only`, as for HEAD.
    ///
    /// `server_header` is the value of `Server`; empty: none.
    pub fn write(&self, out: &mut Vec<u8>, server_header: &str, head_only: bool) {
        // `Connection` must list `Upgrade` if that header is sent (RFC 9110 section 7.8).
        let connection = if self.has("Upgrade") {
            "close, Upgrade"
        } else {
            "close"
        };
        out.extend_from_slice(
            format!("HTTP/1.1 {} {}\r\n", self.status, phrase(self.status)).as_bytes(),
        );
        write_header(out, "Connection", connection);
        if self.has_body() {
            write_header(out, "Content-Length", &self.body_len().to_string());
            if !self.has("Content-Type") {
                write_header(out, "Content-Type", self.content_type());
            }
        }
        if !server_header.is_empty() && !self.has("Server") {
            write_header(out, "Server", server_header);
        }
        for (name, value) in &self.headers {
            write_header(out, name, value);
        }
        out.extend_from_slice(b"\r\n");
        if head_only || !self.has_body() {
            return;
        }
        match &self.body {
            Some(body) => out.extend_from_slice(&body.bytes),
            None => {
                out.extend_from_slice(self.text.as_bytes());
                out.push(b'\n');
            }
        }
    }

    /// 304 has none (RFC 9110 section 15.4.5).
    fn has_body(&self) -> bool {
        self.status != 304
    }

    fn body_len(&self) -> usize {
        match &self.body {
            Some(body) => body.bytes.len(),
            None => self.text.len() + 1,
        }
    }

    fn content_type(&self) -> &str {
        match &self.body {
            Some(body) => &body.content_type,
            None => "text/plain; charset=utf-8",
        }
    }

    /// Returns the maximum number of bytes that [`Refusal::write`] appends.
    #[must_use]
    pub fn max_len(&self, server_header: &str) -> usize {
        let content_lens = self.content_type().len() + self.body_len();
        512 + server_header.len() + headers_len(&self.headers) + content_lens
    }

    fn has(&self, name: &str) -> bool {
        self.headers
            .iter()
            .any(|(known, _)| known.eq_ignore_ascii_case(name))
    }
}

/// The content type of the record that begins TLS (RFC 8446 section 5.1). No request begins with it.
pub const TLS_HANDSHAKE: u8 = 22;

/// The response to a TLS handshake on a port without TLS: the alert handshake_failure (RFC 8446 section 6).
pub const TLS_REFUSAL: [u8; 7] = [21, 3, 1, 0, 2, 2, 40];

/// Appends one header line.
pub(super) fn write_header(out: &mut Vec<u8>, name: &str, value: &str) {
    for part in [name, ": ", value, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Returns the length of these header lines.
pub(super) fn headers_len(headers: &[(String, String)]) -> usize {
    let lens = headers
        .iter()
        .map(|(name, value)| name.len() + value.len() + 4);
    lens.sum()
}

/// Returns the reason phrase of a status.
fn phrase(status: u16) -> &'static str {
    match status {
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        511 => "Network Authentication Required",
        _ if status < 400 => "Redirection",
        _ if status < 500 => "Client Error",
        _ => "Server Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(refusal: &Refusal, server: &str, head_only: bool) -> String {
        let mut out = Vec::new();
        refusal.write(&mut out, server, head_only);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_refusal_ends_the_connection_and_says_why() {
        assert_eq!(
            written(&Refusal::bad_request("No."), "", false),
            "HTTP/1.1 400 Bad Request\r\n\
             Connection: close\r\n\
             Content-Length: 4\r\n\
             Content-Type: text/plain; charset=utf-8\r\n\
             \r\n\
             No.\n"
        );
    }

    #[test]
    fn every_refusal_has_its_status_and_the_headers_that_go_with_it() {
        let cases = [
            ("RFC 9110 15.5.4", Refusal::forbidden_origin(), 403, ""),
            ("RFC 9110 15.5.5", Refusal::not_found(), 404, ""),
            (
                "RFC 9110 15.5.6",
                Refusal::method_not_allowed("GET, HEAD"),
                405,
                "Allow: GET, HEAD\r\n",
            ),
            (
                "RFC 9110 15.5.22",
                Refusal::upgrade_required(),
                426,
                "Upgrade: websocket\r\n",
            ),
            (
                "RFC 6455 4.4",
                Refusal::unsupported_version(),
                426,
                "Sec-WebSocket-Version: 13\r\n",
            ),
            ("RFC 6585 4", Refusal::too_many_connections(), 429, ""),
            ("RFC 6585 5", Refusal::head_too_large("Too large."), 431, ""),
            ("RFC 9110 15.6.1", Refusal::internal(), 500, ""),
            ("RFC 9110 15.6.4", Refusal::unavailable(), 503, ""),
            (
                "RFC 9110 15",
                Refusal::new(418),
                418,
                "418 Client Error\r\n",
            ),
            (
                "RFC 9110 15",
                Refusal::new(599),
                599,
                "599 Server Error\r\n",
            ),
        ];
        for (section, refusal, status, line) in cases {
            let text = written(&refusal, "", false);
            assert!(
                text.starts_with(&format!("HTTP/1.1 {status} ")),
                "{section}: {text}"
            );
            assert!(text.contains("\r\nConnection: close"), "{section}: {text}");
            assert!(text.contains(line), "{section}: {text}");
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(
                head.contains(&format!("Content-Length: {}", body.len())),
                "{section}: {text}"
            );
            assert!(body.len() > 3, "{section}: {text}");
        }
    }

    #[test]
    fn upgrade_is_named_in_connection_too_9110_7_8() {
        assert!(
            written(&Refusal::upgrade_required(), "", false)
                .contains("\r\nConnection: close, Upgrade\r\n")
        );
    }

    #[test]
    fn the_answer_to_head_announces_the_body_that_it_leaves_out_9110_9_3_2() {
        let refusal = Refusal::not_found();
        let whole = written(&refusal, "", false);
        let head = written(&refusal, "", true);
        assert!(head.ends_with("\r\n\r\n"));
        assert!(whole.starts_with(&head) && whole.len() > head.len());
    }

    #[test]
    fn the_application_may_give_the_body() {
        let refusal = Refusal {
            body: Some(Body {
                content_type: "application/json".into(),
                bytes: b"{\"retry\":1}".into(),
            }),
            ..Refusal::new(429)
        };
        let text = written(&refusal, "", false);
        assert!(text.contains("\r\nContent-Length: 11\r\nContent-Type: application/json\r\n"));
        assert!(text.ends_with("\r\n\r\n{\"retry\":1}"));
        assert!(text.len() <= refusal.max_len(""));
    }

    #[test]
    fn a_redirect_has_its_phrase_and_304_no_body_9110_15_4() {
        let text = written(&Refusal::new(308).with_header("Location", "/b"), "", false);
        assert!(text.starts_with("HTTP/1.1 308 Permanent Redirect\r\n"));
        assert!(text.contains("\r\nLocation: /b\r\n"));
        let text = written(&Refusal::new(304), "", false);
        assert_eq!(
            text,
            "HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n"
        );
    }

    #[test]
    fn headers_of_the_application_replace_ours() {
        let refusal = Refusal::new(401)
            .with_header("WWW-Authenticate", "Basic")
            .with_header("content-type", "text/html")
            .with_header("SERVER", "mine");
        let text = written(&refusal, "portal", false);
        assert!(
            text.contains("WWW-Authenticate: Basic\r\ncontent-type: text/html\r\nSERVER: mine\r\n")
        );
        assert!(!text.contains("text/plain") && !text.contains("portal"));
        assert!(written(&Refusal::new(401), "portal", false).contains("\r\nServer: portal\r\n"));
    }
}
