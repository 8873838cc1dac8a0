//! Pages: fixed bodies for GET and HEAD, such as a health check or a demo page.

use std::collections::TryReserveError;
use std::io::Write as _;

use sha1::{Digest as _, Sha1};

use crate::net::memory;
use crate::proto::{self, RequestHead};
use crate::server::ServerError;

/// What a path answers to GET and HEAD.
pub(crate) struct Page {
    content_type: Vec<u8>,
    body: Vec<u8>,
    /// The body's hash, as a strong entity tag (RFC 9110 section 8.8.3).
    etag: String,
}

/// At most so many bytes of a response's head are the same for all pages.
const MAX_FIXED_HEAD_BYTES: usize = 256;

/// What a request for a page asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageRequest {
    /// HEAD: the same without the body.
    pub head_only: bool,
    /// The client has the page already.
    pub unchanged: bool,
    /// The client wants to ask for more on this connection.
    pub keep_alive: bool,
}

impl Page {
    /// Fails on a content type that cannot stand in a header.
    pub(crate) fn new(content_type: &str, body: &[u8]) -> Result<Self, ServerError> {
        let fine = proto::may_set_header(b"Content-Type", content_type.as_bytes());
        if !fine || content_type.is_empty() {
            return Err(ServerError::Argument);
        }
        let hash: String = Sha1::digest(body)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok(Self {
            content_type: memory::copy(content_type.as_bytes())?,
            body: memory::copy(body)?,
            etag: format!("\"{hash}\""),
        })
    }

    /// How a request wants this page.
    pub(crate) fn request_of(&self, request: &RequestHead<'_>) -> PageRequest {
        PageRequest {
            head_only: request.method == "HEAD",
            unchanged: request.lists("If-None-Match", "*")
                || request.lists("If-None-Match", &self.etag)
                || request.lists("If-None-Match", &format!("W/{}", self.etag)),
            keep_alive: !request.is_http_1_0 && !request.lists("Connection", "close"),
        }
    }

    /// Writes the response; nothing, when its memory is refused.
    pub(crate) fn write(
        &self,
        out: &mut Vec<u8>,
        request: PageRequest,
        server_header: &str,
    ) -> Result<(), TryReserveError> {
        let status = if request.unchanged {
            "304 Not Modified"
        } else {
            "200 OK"
        };
        let body: &[u8] = match request.unchanged || request.head_only {
            true => &[],
            false => &self.body,
        };
        let lens = [self.content_type.len(), server_header.len(), body.len()];
        memory::try_reserve(out, MAX_FIXED_HEAD_BYTES + lens.iter().sum::<usize>())?;
        // There is room for all of it, so nothing fails.
        let _ = write!(out, "HTTP/1.1 {status}\r\nETag: {}\r\n", self.etag);
        if !request.unchanged {
            out.extend_from_slice(b"Content-Type: ");
            out.extend_from_slice(&self.content_type);
            let _ = write!(out, "\r\nContent-Length: {}\r\n", self.body.len());
        }
        if !server_header.is_empty() {
            let _ = write!(out, "Server: {server_header}\r\n");
        }
        out.extend_from_slice(match request.keep_alive {
            true => b"\r\n",
            false => b"Connection: close\r\n\r\n",
        });
        out.extend_from_slice(body);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: PageRequest = PageRequest {
        head_only: false,
        unchanged: false,
        keep_alive: true,
    };

    fn written(page: &Page, request: PageRequest) -> String {
        let mut out = Vec::new();
        page.write(&mut out, request, "").unwrap();
        String::from_utf8(out).unwrap()
    }

    fn request(page: &Page, header: &str) -> PageRequest {
        let mut head = format!("GET / HTTP/1.1\r\nHost: h\r\n{header}\r\n\r\n").into_bytes();
        page.request_of(&proto::parse_head(&mut head).unwrap())
    }

    #[test]
    fn a_response_is_whole_without_its_body_or_without_change() {
        let page = Page::new("text/plain", b"words").unwrap();
        let etag = &page.etag;
        let head = format!(
            "HTTP/1.1 200 OK\r\nETag: {etag}\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n"
        );
        assert_eq!(written(&page, FRESH), format!("{head}\r\nwords"));
        let head_only = PageRequest {
            head_only: true,
            keep_alive: false,
            ..FRESH
        };
        assert_eq!(
            written(&page, head_only),
            format!("{head}Connection: close\r\n\r\n")
        );
        let unchanged = PageRequest {
            unchanged: true,
            ..FRESH
        };
        let answer = format!("HTTP/1.1 304 Not Modified\r\nETag: {etag}\r\n\r\n");
        assert_eq!(written(&page, unchanged), answer);
    }

    #[test]
    fn a_client_that_has_the_page_says_so_by_its_tag() {
        let page = Page::new("text/plain", b"words").unwrap();
        let etag = &page.etag;
        for header in [
            format!("If-None-Match: {etag}"),
            format!("If-None-Match: \"other\", W/{etag}"),
            "If-None-Match: *".to_owned(),
        ] {
            assert!(request(&page, &header).unchanged, "{header}");
        }
        assert!(!request(&page, "If-None-Match: \"other\"").unchanged);
        assert_eq!(request(&page, "Accept: */*"), FRESH);
        assert!(!request(&page, "Connection: Close").keep_alive);
    }

    #[test]
    fn a_content_type_that_would_break_the_head_is_refused() {
        for content_type in ["", "text/plain\r\nX: y", "text\0plain"] {
            assert_eq!(
                Page::new(content_type, b"").err(),
                Some(ServerError::Argument)
            );
        }
    }
}
