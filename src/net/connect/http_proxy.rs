//! A tunnel through an HTTP proxy: `CONNECT` (RFC 9110 section 9.3.6, RFC 9112 section 3.2.3).

use std::io;

use httparse::{EMPTY_HEADER, Response, Status};

use super::route::{ConnectError, authority};
use crate::net::{Outgoing, memory};

/// Maximum number of bytes of all heads of an answer.
const MAX_ANSWER_BYTES: usize = 16 << 10;

/// Maximum number of an answer's headers.
const MAX_HEADERS: usize = 128;

/// Bytes that are read at once.
const READ_BYTES: usize = 2048;

/// Interim answers, which another one follows. 101 is a final one.
const INTERIM: [u16; 3] = [100, 102, 103];

/// A request for a tunnel.
pub(super) struct HttpTunnel {
    target: String,
    /// What is to be sent.
    pending: Vec<u8>,
    /// What has been received of the current head.
    head: Vec<u8>,
    /// How much may still be received.
    room: usize,
}

impl HttpTunnel {
    pub(super) fn new(name: &str, port: u16, authorization: Option<&str>) -> Self {
        let target = authority(name, port);
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some(authorization) = authorization {
            request.extend(["Proxy-Authorization: ", authorization, "\r\n"]);
        }
        request.push_str("\r\n");
        Self {
            target,
            pending: request.into_bytes(),
            head: Vec::new(),
            room: MAX_ANSWER_BYTES,
        }
    }

    /// See [`Negotiation::advance`](super::negotiation::Negotiation::advance).
    pub(super) fn advance(&mut self, socket: &Outgoing) -> Result<(), ConnectError> {
        socket.send_all(&mut self.pending)?;
        loop {
            match self.read_head(socket)? {
                Some(200..300) => return Ok(()),
                Some(status) if INTERIM.contains(&status) => self.head.clear(),
                Some(status) => return Err(self.refused(status)),
                None => (),
            }
        }
    }

    /// Reads more of a head, and not beyond its end. Returns the status when it is complete.
    fn read_head(&mut self, socket: &Outgoing) -> Result<Option<u16>, ConnectError> {
        let mut buffer = [0; READ_BYTES];
        let room = self.room.min(READ_BYTES);
        if room == 0 {
            let message = format!("its answer is longer than {MAX_ANSWER_BYTES} bytes");
            return Err(ConnectError::new(io::ErrorKind::InvalidData, message));
        }
        let count = socket.peek(&mut buffer[..room])?;
        if count == 0 {
            return Err(closed());
        }
        let before = self.head.len();
        memory::try_reserve(&mut self.head, count)
            .map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        self.head.extend_from_slice(&buffer[..count]);
        // Only with the end of a line can it be complete, or wrong in a way that is worth knowing.
        let complete = match buffer[..count].contains(&b'\n') {
            true => parse(&self.head)?,
            false => None,
        };
        let taken = complete.map_or(count, |(len, _)| len - before);
        if socket.receive(&mut buffer[..taken])? != taken {
            return Err(closed());
        }
        self.room -= taken;
        Ok(complete.map(|(_, status)| status))
    }

    fn refused(&self, status: u16) -> ConnectError {
        let (kind, why) = match status {
            407 => (
                io::ErrorKind::PermissionDenied,
                ", it wants a user and a password that it knows",
            ),
            403 => (io::ErrorKind::PermissionDenied, ""),
            504 => (io::ErrorKind::TimedOut, ""),
            _ => (io::ErrorKind::ConnectionRefused, ""),
        };
        let message = format!(
            "it refuses to connect to {}: HTTP status {status}{why}",
            self.target
        );
        ConnectError {
            http_status: Some(status),
            ..ConnectError::new(kind, message)
        }
    }
}

fn closed() -> ConnectError {
    ConnectError::new(
        io::ErrorKind::UnexpectedEof,
        "it has closed the connection before it answered".to_owned(),
    )
}

/// Returns the length and the status of the head that `bytes` begin with; None if it is not complete.
fn parse(bytes: &[u8]) -> Result<Option<(usize, u16)>, ConnectError> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut response = Response::new(&mut headers);
    match response.parse(bytes) {
        Ok(Status::Complete(len)) => Ok(response.code.map(|status| (len, status))),
        Ok(Status::Partial) => Ok(None),
        Err(error) => Err(ConnectError::new(
            io::ErrorKind::InvalidData,
            format!("its answer is not HTTP: {error}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::super::tests::{finish, pair, read_head};
    use super::*;

    const REQUEST: &str = "CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n";

    /// The outcome when a proxy sends `pieces`, each of which is received alone.
    fn outcome(pieces: &[&[u8]]) -> (Result<(), ConnectError>, Outgoing, TcpStream) {
        let (socket, mut proxy) = pair();
        let mut tunnel = HttpTunnel::new("example.org", 443, None);
        let first = tunnel.advance(&socket).unwrap_err();
        assert_eq!(first.kind, io::ErrorKind::WouldBlock);
        assert_eq!(read_head(&mut proxy), REQUEST);
        for (at, piece) in pieces.iter().enumerate() {
            proxy.write_all(piece).unwrap();
            if at + 1 < pieces.len() {
                finish(&socket, || {
                    socket.peek(&mut [0; 1]).map_err(ConnectError::from)
                })
                .unwrap();
                match tunnel.advance(&socket) {
                    Err(error) if error.kind == io::ErrorKind::WouldBlock => (),
                    result => return (result, socket, proxy),
                }
            }
        }
        (finish(&socket, || tunnel.advance(&socket)), socket, proxy)
    }

    #[test]
    fn the_request_names_the_target_twice_and_carries_the_credentials() {
        let request = |name, authorization| {
            String::from_utf8(HttpTunnel::new(name, 80, authorization).pending).unwrap()
        };
        assert_eq!(
            request("example.org", Some("Basic YTpi")),
            "CONNECT example.org:80 HTTP/1.1\r\nHost: example.org:80\r\n\
             Proxy-Authorization: Basic YTpi\r\n\r\n"
        );
        assert_eq!(
            request("2001:db8::1", None),
            "CONNECT [2001:db8::1]:80 HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n"
        );
    }

    #[test]
    fn a_tunnel_begins_right_behind_a_head_with_status_2xx_however_it_is_cut() {
        let answer = b"HTTP/1.1 204 Fine\r\nContent-Length: 5\r\nVia: x\r\n\r\n";
        let single: Vec<&[u8]> = answer.chunks(1).collect();
        for pieces in [&[&answer[..]][..], &[&answer[..9], &answer[9..]], &single] {
            let (result, socket, mut proxy) = outcome(pieces);
            assert_eq!(result, Ok(()));
            proxy.write_all(b"hello").unwrap();
            let mut bytes = [0; 8];
            let count = finish(&socket, || {
                socket.receive(&mut bytes).map_err(ConnectError::from)
            });
            assert_eq!(&bytes[..count.unwrap()], b"hello");
        }
    }

    #[test]
    fn bytes_behind_the_head_stay_in_the_socket() {
        let (result, socket, mut proxy) = outcome(&[b"HTTP/1.0 200 OK\r\n\r", b"\n\x81\x05hello"]);
        assert_eq!(result, Ok(()));
        proxy.write_all(b" world!").unwrap();
        drop(proxy);
        let mut all = Vec::new();
        loop {
            let mut bytes = [0; 64];
            let count = finish(&socket, || {
                socket.receive(&mut bytes).map_err(ConnectError::from)
            });
            match count.unwrap() {
                0 => break,
                count => all.extend_from_slice(&bytes[..count]),
            }
        }
        assert_eq!(all, b"\x81\x05hello world!");
    }

    #[test]
    fn interim_answers_are_skipped() {
        let (result, ..) = outcome(&[
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n",
        ]);
        assert_eq!(result, Ok(()));
    }

    #[test]
    fn another_status_is_a_refusal_that_has_it() {
        for (status, kind) in [
            (101, io::ErrorKind::ConnectionRefused),
            (302, io::ErrorKind::ConnectionRefused),
            (403, io::ErrorKind::PermissionDenied),
            (407, io::ErrorKind::PermissionDenied),
            (502, io::ErrorKind::ConnectionRefused),
            (504, io::ErrorKind::TimedOut),
        ] {
            let answer = format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n");
            let error = outcome(&[answer.as_bytes()]).0.unwrap_err();
            assert_eq!((error.http_status, error.kind), (Some(status), kind));
            assert!(error.message.contains(&status.to_string()), "{error}");
            assert!(error.message.contains("example.org:443"), "{error}");
        }
    }

    #[test]
    fn an_answer_that_is_not_http_or_is_too_long_is_an_error() {
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(MAX_ANSWER_BYTES));
        let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(MAX_ANSWER_BYTES / 25 + 1);
        let many = format!("HTTP/1.1 200 OK\r\n{}", "X: x\r\n".repeat(MAX_HEADERS + 1));
        for (answer, word) in [
            ("SSH-2.0-OpenSSH_9.9\r\n", "not HTTP"),
            ("HTTP/2 200\r\n\r\n", "not HTTP"),
            ("HTTP/1.1 2x0 OK\r\n\r\n", "not HTTP"),
            (&many, "not HTTP"),
            (&endless, "longer than 16384"),
            (&interim, "longer than 16384"),
        ] {
            let error = outcome(&[answer.as_bytes()]).0.unwrap_err();
            assert_eq!(error.kind, io::ErrorKind::InvalidData);
            assert!(error.message.contains(word), "{error}");
        }
    }

    #[test]
    fn a_connection_that_is_closed_before_the_answer_is_an_error() {
        let (socket, mut proxy) = pair();
        let mut tunnel = HttpTunnel::new("example.org", 443, None);
        let first = tunnel.advance(&socket).unwrap_err();
        assert_eq!(first.kind, io::ErrorKind::WouldBlock);
        proxy.read_exact(&mut [0; REQUEST.len()]).unwrap();
        proxy.write_all(b"HTTP/1.1 200 OK\r\n").unwrap();
        drop(proxy);
        let error = finish(&socket, || tunnel.advance(&socket)).unwrap_err();
        assert_eq!(error.kind, io::ErrorKind::UnexpectedEof);
        assert!(error.message.contains("closed"), "{error}");
    }
}
