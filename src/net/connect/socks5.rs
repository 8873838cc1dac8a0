//! A tunnel through a SOCKS5 proxy (RFC 1928), with user and password (RFC 1929).

use std::io;
use std::net::IpAddr;

use super::route::{ConnectError, authority};
use crate::net::Outgoing;

const VERSION: u8 = 5;
/// The version of the authentication by user and password.
const AUTHENTICATION_VERSION: u8 = 1;

const NO_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const NO_METHOD: u8 = 0xff;

const CONNECT: u8 = 1;

const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Maximum length of an answer: one that has a name.
const MAX_ANSWER_BYTES: usize = 4 + 1 + 255 + 2;

/// A request for a tunnel.
pub(super) struct SocksTunnel {
    target: String,
    awaited: Awaited,
    /// What is to be sent.
    pending: Vec<u8>,
    /// What has been received of the awaited answer.
    answer: Vec<u8>,
    /// The message with user and password, if there are any.
    credentials: Option<Vec<u8>>,
    request: Vec<u8>,
}

/// The answer that comes next.
enum Awaited {
    Method,
    Authentication,
    Connection,
}

impl SocksTunnel {
    pub(super) fn new(
        name: &str,
        port: u16,
        user: Option<&(String, String)>,
    ) -> Result<Self, ConnectError> {
        let credentials = match user {
            Some((user, password)) => {
                let mut message = vec![AUTHENTICATION_VERSION];
                push_text(&mut message, user)?;
                push_text(&mut message, password)?;
                Some(message)
            }
            None => None,
        };
        let methods: &[u8] = match credentials {
            Some(_) => &[VERSION, 2, NO_AUTHENTICATION, USER_AND_PASSWORD],
            None => &[VERSION, 1, NO_AUTHENTICATION],
        };
        Ok(Self {
            target: authority(name, port),
            awaited: Awaited::Method,
            pending: methods.to_vec(),
            answer: Vec::new(),
            credentials,
            request: request(name, port)?,
        })
    }

    /// See [`Negotiation::advance`](super::negotiation::Negotiation::advance).
    pub(super) fn advance(&mut self, socket: &Outgoing) -> Result<(), ConnectError> {
        loop {
            socket.send_all(&mut self.pending)?;
            (self.awaited, self.pending) = match self.awaited {
                Awaited::Method => self.read_method(socket)?,
                Awaited::Authentication => self.read_authentication(socket)?,
                Awaited::Connection => return self.read_connection(socket),
            };
            self.answer.clear();
        }
    }

    /// Returns the next answer, and what is sent before it.
    fn read_method(&mut self, socket: &Outgoing) -> Result<(Awaited, Vec<u8>), ConnectError> {
        self.read(socket, 2)?;
        match self.answer[..] {
            [VERSION, NO_AUTHENTICATION] => {
                Ok((Awaited::Connection, std::mem::take(&mut self.request)))
            }
            [VERSION, USER_AND_PASSWORD] => match self.credentials.take() {
                Some(message) => Ok((Awaited::Authentication, message)),
                None => Err(nonsense()),
            },
            [VERSION, NO_METHOD] => Err(ConnectError::new(
                io::ErrorKind::PermissionDenied,
                match self.credentials {
                    Some(_) => "it accepts no user and password".to_owned(),
                    None => "it wants a user and a password".to_owned(),
                },
            )),
            _ => Err(nonsense()),
        }
    }

    /// As [`Self::read_method`].
    fn read_authentication(
        &mut self,
        socket: &Outgoing,
    ) -> Result<(Awaited, Vec<u8>), ConnectError> {
        self.read(socket, 2)?;
        // Some proxies answer with the version of SOCKS.
        match self.answer[1] {
            0 => Ok((Awaited::Connection, std::mem::take(&mut self.request))),
            _ => Err(ConnectError::new(
                io::ErrorKind::PermissionDenied,
                "it does not accept the user and the password".to_owned(),
            )),
        }
    }

    fn read_connection(&mut self, socket: &Outgoing) -> Result<(), ConnectError> {
        self.read(socket, 2)?;
        match self.answer[..] {
            [VERSION, 0, ..] => (),
            [VERSION, code, ..] => return Err(self.refused(code)),
            _ => return Err(nonsense()),
        }
        // The address from which it has connected, which is of no interest.
        self.read(socket, 5)?;
        let len = match self.answer[3] {
            IPV4 => 4,
            IPV6 => 16,
            NAME => 1 + usize::from(self.answer[4]),
            _ => return Err(nonsense()),
        };
        self.read(socket, 4 + len + 2)
    }

    /// Reads until there are `len` bytes of the answer, and no more.
    fn read(&mut self, socket: &Outgoing, len: usize) -> Result<(), ConnectError> {
        let mut buffer = [0; MAX_ANSWER_BYTES];
        while let missing @ 1.. = len.saturating_sub(self.answer.len()) {
            let count = socket.receive(&mut buffer[..missing])?;
            if count == 0 {
                return Err(ConnectError::new(
                    io::ErrorKind::UnexpectedEof,
                    "it has closed the connection before it answered".to_owned(),
                ));
            }
            self.answer.extend_from_slice(&buffer[..count]);
        }
        Ok(())
    }

    fn refused(&self, code: u8) -> ConnectError {
        let (kind, why) = match code {
            1 => (io::ErrorKind::Other, "general failure"),
            2 => (io::ErrorKind::PermissionDenied, "not allowed by its rules"),
            3 => (io::ErrorKind::NetworkUnreachable, "network unreachable"),
            4 => (io::ErrorKind::HostUnreachable, "host unreachable"),
            5 => (io::ErrorKind::ConnectionRefused, "connection refused"),
            6 => (io::ErrorKind::HostUnreachable, "TTL expired"),
            7 => (io::ErrorKind::Unsupported, "command not supported"),
            8 => (io::ErrorKind::Unsupported, "address type not supported"),
            _ => (io::ErrorKind::Other, "unknown reason"),
        };
        let message = format!(
            "it cannot connect to {}: {why} (SOCKS reply {code})",
            self.target
        );
        ConnectError::new(kind, message)
    }
}

/// Returns the message that asks for the connection.
fn request(name: &str, port: u16) -> Result<Vec<u8>, ConnectError> {
    let mut message = vec![VERSION, CONNECT, 0];
    match name.parse() {
        Ok(IpAddr::V4(ip)) => {
            message.push(IPV4);
            message.extend_from_slice(&ip.octets());
        }
        Ok(IpAddr::V6(ip)) => {
            message.push(IPV6);
            message.extend_from_slice(&ip.octets());
        }
        Err(_) => {
            message.push(NAME);
            push_text(&mut message, name)?;
        }
    }
    message.extend_from_slice(&port.to_be_bytes());
    Ok(message)
}

/// Appends a text behind its length.
fn push_text(message: &mut Vec<u8>, text: &str) -> Result<(), ConnectError> {
    let Ok(len) = u8::try_from(text.len()) else {
        return Err(ConnectError::new(
            io::ErrorKind::InvalidInput,
            "SOCKS5 takes names, users and passwords of at most 255 bytes".to_owned(),
        ));
    };
    message.push(len);
    message.extend_from_slice(text.as_bytes());
    Ok(())
}

fn nonsense() -> ConnectError {
    ConnectError::new(
        io::ErrorKind::InvalidData,
        "its answer is not one of SOCKS5".to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::super::tests::{finish, pair};
    use super::*;

    const REQUEST: &[u8] = b"\x05\x01\x00\x03\x0bexample.org\x01\xbb";
    const CONNECTED: &[u8] = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50";

    fn user() -> (String, String) {
        ("user".to_owned(), "secret".to_owned())
    }

    /// Speaks with a proxy that expects and answers in turn. Its last answer is cut into single bytes, and
    /// followed by one of the server's.
    fn outcome(with_user: bool, script: &[(&[u8], &[u8])]) -> Result<(), ConnectError> {
        let (socket, mut proxy) = pair();
        let user = with_user.then(user);
        let mut tunnel = SocksTunnel::new("example.org", 443, user.as_ref()).unwrap();
        let mut result = tunnel.advance(&socket);
        for (expected, answer) in script {
            assert_eq!(result.unwrap_err().kind, io::ErrorKind::WouldBlock);
            let mut received = vec![0; expected.len()];
            proxy.read_exact(&mut received).unwrap();
            assert_eq!(received, *expected);
            result = Ok(());
            for byte in *answer {
                proxy.write_all(&[*byte]).unwrap();
                finish(&socket, || {
                    socket.peek(&mut [0]).map_err(ConnectError::from)
                })
                .unwrap();
                result = tunnel.advance(&socket);
                match &result {
                    Err(error) if error.kind == io::ErrorKind::WouldBlock => (),
                    _ => break,
                }
            }
        }
        if result.is_ok() {
            proxy.write_all(b"!").unwrap();
            let mut bytes = [0; 8];
            let count = finish(&socket, || {
                socket.receive(&mut bytes).map_err(ConnectError::from)
            });
            assert_eq!(&bytes[..count.unwrap()], b"!");
        }
        result
    }

    #[test]
    fn a_tunnel_begins_behind_the_answer_whatever_address_it_has() {
        let name = [b"\x05\x00\x00\x03\xff".as_slice(), &[b'x'; 257]].concat();
        let v6 = [b"\x05\x00\x00\x04".as_slice(), &[0; 18]].concat();
        for answer in [CONNECTED, &name, &v6, b"\x05\x00\x00\x03\x00\x00\x50"] {
            let script: [(&[u8], &[u8]); 2] = [(b"\x05\x01\x00", b"\x05\x00"), (REQUEST, answer)];
            assert_eq!(outcome(false, &script), Ok(()));
        }
    }

    #[test]
    fn user_and_password_are_sent_if_the_proxy_wants_them() {
        let greeting: &[u8] = b"\x05\x02\x00\x02";
        let credentials: &[u8] = b"\x01\x04user\x06secret";
        let script = [
            (greeting, b"\x05\x02".as_slice()),
            (credentials, b"\x01\x00"),
            (REQUEST, CONNECTED),
        ];
        assert_eq!(outcome(true, &script), Ok(()));
        let script = [(greeting, b"\x05\x00".as_slice()), (REQUEST, CONNECTED)];
        assert_eq!(outcome(true, &script), Ok(()));
        let script = [
            (greeting, b"\x05\x02".as_slice()),
            (credentials, b"\x01\x01"),
        ];
        let error = outcome(true, &script).unwrap_err();
        assert_eq!(error.kind, io::ErrorKind::PermissionDenied);
        assert!(!error.message.contains("secret"), "{error}");
        let script = [(greeting, b"\x05\xff".as_slice())];
        let error = outcome(true, &script).unwrap_err();
        assert_eq!(error.kind, io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_refusal_is_told_in_words() {
        for (code, kind, word) in [
            (1, io::ErrorKind::Other, "general failure"),
            (2, io::ErrorKind::PermissionDenied, "not allowed"),
            (3, io::ErrorKind::NetworkUnreachable, "network unreachable"),
            (4, io::ErrorKind::HostUnreachable, "host unreachable"),
            (5, io::ErrorKind::ConnectionRefused, "connection refused"),
            (6, io::ErrorKind::HostUnreachable, "TTL expired"),
            (7, io::ErrorKind::Unsupported, "command"),
            (8, io::ErrorKind::Unsupported, "address type"),
            (99, io::ErrorKind::Other, "SOCKS reply 99"),
        ] {
            let answer = [5, code, 0, 1, 0, 0, 0, 0, 0, 0];
            let script: [(&[u8], &[u8]); 2] = [(b"\x05\x01\x00", b"\x05\x00"), (REQUEST, &answer)];
            let error = outcome(false, &script).unwrap_err();
            assert_eq!(error.kind, kind);
            assert!(error.message.contains(word), "{error}");
            assert!(error.message.contains("example.org:443"), "{error}");
        }
    }

    #[test]
    fn nonsense_is_an_error() {
        let greeting: &[u8] = b"\x05\x01\x00";
        for script in [
            &[(greeting, b"\x04\x00".as_slice())][..],
            &[(greeting, b"HTTP/1.1 400 Bad Request\r\n")],
            // It was not offered.
            &[(greeting, b"\x05\x02")],
            &[(greeting, b"\x05\x01")],
            &[(greeting, b"\x05\x00"), (REQUEST, b"\x04\x00\x00\x01")],
            &[(greeting, b"\x05\x00"), (REQUEST, b"\x05\x00\x00\x02\x00")],
        ] {
            let error = outcome(false, script).unwrap_err();
            assert_eq!(error.kind, io::ErrorKind::InvalidData, "{script:?}");
        }
        let error = outcome(false, &[(greeting, b"\x05\xff")]).unwrap_err();
        assert_eq!(error.kind, io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_connection_that_is_closed_before_the_answer_is_an_error() {
        let (socket, mut proxy) = pair();
        let mut tunnel = SocksTunnel::new("example.org", 443, None).unwrap();
        let first = tunnel.advance(&socket).unwrap_err();
        assert_eq!(first.kind, io::ErrorKind::WouldBlock);
        proxy.read_exact(&mut [0; 3]).unwrap();
        proxy.write_all(b"\x05").unwrap();
        drop(proxy);
        let error = finish(&socket, || tunnel.advance(&socket)).unwrap_err();
        assert_eq!(error.kind, io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_numeric_host_is_sent_as_an_address_and_a_name_as_it_is() {
        let sent = |name| request(name, 258).unwrap();
        assert_eq!(sent("1.2.3.4"), b"\x05\x01\x00\x01\x01\x02\x03\x04\x01\x02");
        let v6 = [b"\x05\x01\x00\x04".as_slice(), &[0; 15], b"\x01\x01\x02"].concat();
        assert_eq!(sent("::1"), v6);
        assert_eq!(sent("a"), b"\x05\x01\x00\x03\x01a\x01\x02");
        assert!(request(&"x".repeat(255), 1).is_ok());
        let error = request(&"x".repeat(256), 1).unwrap_err();
        assert_eq!(error.kind, io::ErrorKind::InvalidInput);
    }
}
