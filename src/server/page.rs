//! Pages: fixed bodies for GET and HEAD, such as a health check or a demo page.

use super::ServerError;
use crate::proto;

/// A page's whole response, made once.
pub struct Page {
    content_type: String,
    body: Vec<u8>,
}

impl Page {
    /// Fails on a content type that cannot stand in a header.
    pub fn new(content_type: &str, body: &[u8]) -> Result<Self, ServerError> {
        let fine = proto::may_set_header(b"Content-Type", content_type.as_bytes());
        if !fine || content_type.is_empty() {
            return Err(ServerError::Argument);
        }
        let mut copy = Vec::new();
        copy.try_reserve_exact(body.len())
            .map_err(|_| ServerError::Memory)?;
        copy.extend_from_slice(body);
        Ok(Self {
            content_type: content_type.to_owned(),
            body: copy,
        })
    }

    /// Writes the response to a GET, or to a HEAD, which is the same without the body.
    pub fn write(&self, out: &mut Vec<u8>, server_header: &str, head_only: bool) {
        let length = self.body.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nContent-Length: {length}\r\n",
            self.content_type
        );
        out.extend_from_slice(head.as_bytes());
        if !server_header.is_empty() {
            out.extend_from_slice(format!("Server: {server_header}\r\n").as_bytes());
        }
        out.extend_from_slice(b"Connection: close\r\n\r\n");
        if !head_only {
            out.extend_from_slice(&self.body);
        }
    }
}
