//! SOCKS5 proxies (RFC 1928), with user and password where they are asked for (RFC 1929).

use std::io;
use std::net::IpAddr;

use super::error::ConnectError;
use super::remote::Remote;

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const DOMAIN: u8 = 3;
const IPV6: u8 = 4;

/// What the next answer of the proxy is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Greeting,
    Password,
    Request,
}

/// A conversation with a proxy.
pub(super) struct Conversation {
    stage: Stage,
    remote: Remote,
    user: Option<(String, String)>,
    /// What has arrived of an answer.
    answer: Vec<u8>,
}

/// What follows from an answer.
pub(super) enum Next {
    /// It is incomplete.
    Wait,
    Send(Vec<u8>),
    Connected,
}

impl Conversation {
    /// Begins one. Returns also what is sent first.
    pub(super) fn begin(remote: &Remote, user: Option<&(String, String)>) -> (Self, Vec<u8>) {
        let greeting = match user {
            None => vec![VERSION, 1, NO_AUTHENTICATION],
            Some(_) => vec![VERSION, 2, NO_AUTHENTICATION, USER_AND_PASSWORD],
        };
        let conversation = Self {
            stage: Stage::Greeting,
            remote: remote.clone(),
            user: user.cloned(),
            answer: Vec::new(),
        };
        (conversation, greeting)
    }

    /// Returns how many bytes of the answer are missing: no more may be read, because they may be the tunnel's.
    pub(super) fn missing(&self) -> usize {
        let whole = match self.stage {
            Stage::Greeting | Stage::Password => 2,
            Stage::Request => match *self.answer {
                [_, _, _, IPV4, ..] => 4 + 4 + 2,
                [_, _, _, IPV6, ..] => 4 + 16 + 2,
                [_, _, _, _, len, ..] => 4 + 1 + usize::from(len) + 2,
                _ => 5,
            },
        };
        whole.saturating_sub(self.answer.len())
    }

    /// Takes what has arrived, at most [`Conversation::missing`] bytes.
    pub(super) fn read(&mut self, arrived: &[u8]) -> Result<Next, ConnectError> {
        self.answer.extend_from_slice(arrived);
        if self.stage == Stage::Request
            && let [_, status, ..] = *self.answer
            && status != 0
        {
            return Err(refused(reply(status)));
        }
        if self.missing() > 0 {
            return Ok(Next::Wait);
        }
        let answer = std::mem::take(&mut self.answer);
        match (self.stage, &answer[..]) {
            (Stage::Greeting, [VERSION, NO_AUTHENTICATION]) => Ok(Next::Send(self.request())),
            (Stage::Greeting, [VERSION, USER_AND_PASSWORD]) if self.user.is_some() => {
                self.stage = Stage::Password;
                Ok(Next::Send(self.password()))
            }
            (Stage::Greeting, [VERSION, _]) => Err(refused("it wants another authentication")),
            (Stage::Password, [_, 0]) => Ok(Next::Send(self.request())),
            (Stage::Password, _) => Err(refused("user or password is wrong")),
            (Stage::Request, [VERSION, 0, 0, IPV4 | DOMAIN | IPV6, ..]) => Ok(Next::Connected),
            _ => Err(refused("its answer is not SOCKS5")),
        }
    }

    fn password(&self) -> Vec<u8> {
        let (user, password) = self.user.clone().unwrap_or_default();
        let mut out = vec![1, user.len() as u8];
        out.extend_from_slice(user.as_bytes());
        out.push(password.len() as u8);
        out.extend_from_slice(password.as_bytes());
        out
    }

    fn request(&mut self) -> Vec<u8> {
        self.stage = Stage::Request;
        let mut out = vec![VERSION, CONNECT, 0];
        let Remote::Host { name, port } = &self.remote else {
            return out;
        };
        match name.parse() {
            Ok(IpAddr::V4(address)) => {
                out.push(IPV4);
                out.extend_from_slice(&address.octets());
            }
            Ok(IpAddr::V6(address)) => {
                out.push(IPV6);
                out.extend_from_slice(&address.octets());
            }
            Err(_) => {
                out.extend_from_slice(&[DOMAIN, name.len() as u8]);
                out.extend_from_slice(name.as_bytes());
            }
        }
        out.extend_from_slice(&port.to_be_bytes());
        out
    }
}

/// Returns what a reply says (RFC 1928 section 6).
fn reply(status: u8) -> &'static str {
    match status {
        1 => "general failure",
        2 => "not permitted by its rules",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "time to live exceeded",
        7 => "command not supported",
        8 => "address type not supported",
        _ => "unknown reason",
    }
}

fn refused(why: &str) -> ConnectError {
    ConnectError {
        message: format!("the proxy refused: {why}"),
        http_status: None,
        kind: io::ErrorKind::ConnectionRefused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the answers byte by byte. Returns what is sent, and how it ends.
    fn talk(user: Option<(&str, &str)>, answers: &[&[u8]]) -> (Vec<Vec<u8>>, Result<bool, String>) {
        let remote = Remote::Host {
            name: "h.example".to_owned(),
            port: 443,
        };
        let user = user.map(|(user, password)| (user.to_owned(), password.to_owned()));
        let (mut conversation, first) = Conversation::begin(&remote, user.as_ref());
        let mut sent = vec![first];
        for byte in answers.concat() {
            assert!(conversation.missing() > 0);
            match conversation.read(&[byte]) {
                Ok(Next::Wait) => (),
                Ok(Next::Send(bytes)) => sent.push(bytes),
                Ok(Next::Connected) => return (sent, Ok(true)),
                Err(error) => return (sent, Err(error.message)),
            }
        }
        (sent, Ok(false))
    }

    const REQUEST: &[u8] = b"\x05\x01\x00\x03\x09h.example\x01\xbb";

    #[test]
    fn the_proxy_gets_the_name_1928() {
        let (sent, ended) = talk(
            None,
            &[b"\x05\x00", b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50"],
        );
        assert_eq!(sent, [&b"\x05\x01\x00"[..], REQUEST]);
        assert_eq!(ended, Ok(true));
        let (_, ended) = talk(None, &[b"\x05\x00", b"\x05\x00\x00\x03\x01a\x00\x50"]);
        assert_eq!(ended, Ok(true));
    }

    #[test]
    fn user_and_password_are_sent_where_they_are_asked_for_1929() {
        let (sent, ended) = talk(
            Some(("me", "secret")),
            &[b"\x05\x02", b"\x01\x00", b"\x05\x00\x00\x01\0\0\0\0\0\0"],
        );
        assert_eq!(
            sent,
            [&b"\x05\x02\x00\x02"[..], b"\x01\x02me\x06secret", REQUEST]
        );
        assert_eq!(ended, Ok(true));
    }

    #[test]
    fn refusals_and_nonsense_end_it() {
        for (answers, expected) in [
            (&[&b"\x05\xff"[..]][..], "it wants another authentication"),
            (&[b"\x05\x02"], "it wants another authentication"),
            (&[b"HT"], "its answer is not SOCKS5"),
            (&[b"\x05\x00", b"\x05\x05"], "connection refused"),
            (&[b"\x05\x00", b"\x05\x63"], "unknown reason"),
            (
                &[b"\x05\x00", b"\x05\x00\x00\x09\x00\x00\x00"],
                "its answer is not SOCKS5",
            ),
        ] {
            let (_, ended) = talk(None, answers);
            assert_eq!(
                ended,
                Err(format!("the proxy refused: {expected}")),
                "{answers:?}"
            );
        }
        let (_, ended) = talk(Some(("a", "b")), &[b"\x05\x02", b"\x01\x01"]);
        assert_eq!(
            ended,
            Err("the proxy refused: user or password is wrong".to_owned())
        );
    }
}
