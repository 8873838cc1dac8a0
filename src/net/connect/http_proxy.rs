//! HTTP proxies: a tunnel by CONNECT (RFC 9110 section 9.3.6).

use std::io;

use super::error::ConnectError;
use super::remote::Remote;

/// A response with a longer head is refused.
const MAX_HEAD_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 100;

/// Returns the request for a tunnel.
pub(super) fn request(remote: &Remote, authorization: Option<&str>) -> Vec<u8> {
    let authorization = authorization.map_or(String::new(), |value| {
        format!("Proxy-Authorization: {value}\r\n")
    });
    format!("CONNECT {remote} HTTP/1.1\r\nHost: {remote}\r\n{authorization}\r\n").into_bytes()
}

/// What has arrived of the response.
#[derive(Default)]
pub(super) struct Response {
    head: Vec<u8>,
}

impl Response {
    /// Takes what has arrived. Returns how many bytes of it belong to the response, and whether that is complete: the
    /// rest belongs to the tunnel.
    pub(super) fn read(&mut self, arrived: &[u8]) -> Result<(usize, bool), ConnectError> {
        let before = self.head.len();
        self.head.extend_from_slice(arrived);
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let len = match response.parse(&self.head) {
            Ok(httparse::Status::Complete(len)) => len,
            Ok(httparse::Status::Partial) if self.head.len() < MAX_HEAD_BYTES => {
                return Ok((arrived.len(), false));
            }
            Ok(httparse::Status::Partial) => {
                return Err(refused("its response is too large", None));
            }
            Err(_) => return Err(refused("its response is not valid HTTP", None)),
        };
        let status = response.code.unwrap_or_default();
        let reason = response.reason.unwrap_or_default();
        match status {
            200..=299 => Ok((len - before, true)),
            _ => Err(refused(
                format!("{status} {reason}").trim_end(),
                Some(status),
            )),
        }
    }
}

fn refused(why: &str, http_status: Option<u16>) -> ConnectError {
    ConnectError {
        message: format!("the proxy refused: {why}"),
        http_status,
        kind: io::ErrorKind::ConnectionRefused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_is_asked_for_by_name() {
        let remote = Remote::Host {
            name: "::1".to_owned(),
            port: 443,
        };
        assert_eq!(
            request(&remote, Some("Basic YTpi")),
            b"CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\nProxy-Authorization: Basic YTpi\r\n\r\n"
        );
    }

    #[test]
    fn what_follows_the_response_is_the_tunnels() {
        let whole = b"HTTP/1.1 200 Connection established\r\nA: b\r\n\r\n";
        let mut response = Response::default();
        let with_more = [&whole[..], b"more"].concat();
        let read = response.read(&with_more).expect("a good response");
        assert_eq!(read, (whole.len(), true));

        let mut response = Response::default();
        for (at, byte) in whole.iter().enumerate() {
            let read = response.read(&[*byte]).expect("a good response");
            assert_eq!(read, (1, at + 1 == whole.len()));
        }
    }

    #[test]
    fn a_refusal_has_its_status() {
        let refuse = |bytes: &[u8]| Response::default().read(bytes).expect_err("a refusal");
        let error = refuse(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
        assert_eq!(error.http_status, Some(407));
        assert_eq!(
            error.message,
            "the proxy refused: 407 Proxy Authentication Required"
        );
        assert_eq!(refuse(b"SSH-2.0-x\r\n").http_status, None);
        let endless = [&b"HTTP/1.1 200 OK\r\nA: "[..], &[b'x'; MAX_HEAD_BYTES]].concat();
        assert_eq!(
            refuse(&endless).message,
            "the proxy refused: its response is too large"
        );
    }
}
