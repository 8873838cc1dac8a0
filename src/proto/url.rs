//! WebSocket URLs (RFC 6455 section 3), and those of Unix sockets.

use std::net::Ipv6Addr;

use base64::prelude::{BASE64_STANDARD, Engine as _};

/// A URL, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// `wss`.
    pub is_tls: bool,
    /// Where the server is.
    pub place: Place,
    /// Path and query, as they are sent.
    pub target: String,
    /// The value of `Authorization` for the user and the password in it (RFC 7617).
    pub authorization: Option<String>,
    /// The value of `Host`.
    pub authority: String,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A name or an address, without brackets, and a port.
    Host {
        /// In lower case.
        name: String,
        /// Not 0.
        port: u16,
    },
    /// The path of a Unix socket.
    Unix(String),
}

impl Url {
    /// Parses `ws://`, `wss://` or `ws+unix:`. Returns None for everything else, for a fragment, and for what is not
    /// printable ASCII.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains('#') {
            return None;
        }
        let (scheme, rest) = text.split_once(':')?;
        match scheme.to_ascii_lowercase().as_str() {
            "ws" => Self::of_host(rest.strip_prefix("//")?, false),
            "wss" => Self::of_host(rest.strip_prefix("//")?, true),
            "ws+unix" => Self::of_unix_socket(rest),
            _ => None,
        }
    }

    fn of_host(rest: &str, is_tls: bool) -> Option<Self> {
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let (user, host_and_port) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        let (host, port) = split_port(host_and_port)?;
        let name = bare_host(host)?;
        let default = if is_tls { 443 } else { 80 };
        let port = match port {
            None | Some("") => default,
            Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => {
                digits.parse().ok().filter(|port| *port != 0)?
            }
            Some(_) => return None,
        };
        let host = host.to_ascii_lowercase();
        Some(Self {
            is_tls,
            authority: match port == default {
                true => host,
                false => format!("{host}:{port}"),
            },
            place: Place::Host { name, port },
            target: target_of(target)?,
            authorization: match user {
                Some(user) => Some(basic(user)?),
                None => None,
            },
        })
    }

    fn of_unix_socket(rest: &str) -> Option<Self> {
        let (path, target) = match rest.split_once(':') {
            Some((path, target)) => (path, target),
            None => (rest, ""),
        };
        let path = String::from_utf8(decode(path)?).ok()?;
        let is_path = path.starts_with('/') && !path.contains('\0');
        let is_target = target.is_empty() || target.starts_with(['/', '?']);
        (is_path && is_target).then_some(())?;
        Some(Self {
            is_tls: false,
            place: Place::Unix(path),
            target: target_of(target)?,
            authorization: None,
            authority: "localhost".to_owned(),
        })
    }
}

/// Splits the port off, which follows the last colon outside of brackets.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if authority.starts_with('[') {
        let end = authority.find(']')? + 1;
        return match authority[end..].strip_prefix(':') {
            Some(port) => Some((&authority[..end], Some(port))),
            None => authority[end..].is_empty().then_some((authority, None)),
        };
    }
    match authority.split_once(':') {
        Some((host, port)) => Some((host, Some(port))),
        None => Some((authority, None)),
    }
}

/// Returns a name or an address without its brackets; None when it is neither.
fn bare_host(host: &str) -> Option<String> {
    if let Some(inside) = host.strip_prefix('[') {
        let address: Ipv6Addr = inside.strip_suffix(']')?.parse().ok()?;
        return Some(address.to_string());
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_host = !host.is_empty() && host.bytes().all(is_name) && !host.starts_with('.');
    is_host.then(|| host.to_ascii_lowercase())
}

/// Returns what the request line names; None for a malformed escape.
fn target_of(target: &str) -> Option<String> {
    decode(target)?;
    if target.bytes().any(|byte| b"\"<>\\^`{|}".contains(&byte)) {
        return None;
    }
    Some(match target.starts_with('/') {
        true => target.to_owned(),
        false => format!("/{target}"),
    })
}

/// Returns the credentials for a user and a password (RFC 7617 section 2).
fn basic(user: &str) -> Option<String> {
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    let (user, password) = (decode(user)?, decode(password)?);
    if user.contains(&b':') {
        return None;
    }
    let pair = [&user[..], b":", &password].concat();
    Some(format!("Basic {}", BASE64_STANDARD.encode(pair)))
}

/// Decodes percent-escapes. Returns None for a malformed one.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'%' {
            decoded.push(*byte);
            continue;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let &[high, low, ref after @ ..] = rest else {
            return None;
        };
        decoded.push((digit(high)? << 4 | digit(low)?) as u8);
        rest = after;
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, port: u16) -> Place {
        let name = name.to_owned();
        Place::Host { name, port }
    }

    #[test]
    fn a_url_names_a_host_a_port_and_a_target_6455_3() {
        #[rustfmt::skip] // one URL a line
        let cases = [
            ("ws://example.com", false, host("example.com", 80), "/", "example.com"),
            ("WSS://Example.COM", true, host("example.com", 443), "/", "example.com"),
            ("ws://h:80/", false, host("h", 80), "/", "h"),
            ("wss://h:443/a", true, host("h", 443), "/a", "h"),
            ("ws://h:443/a?b=c", false, host("h", 443), "/a?b=c", "h:443"),
            ("ws://h:/a", false, host("h", 80), "/a", "h"),
            ("ws://h?q", false, host("h", 80), "/?q", "h"),
            ("ws://h/a:b@c", false, host("h", 80), "/a:b@c", "h"),
            ("ws://127.0.0.1:9001/x%20y", false, host("127.0.0.1", 9001), "/x%20y", "127.0.0.1:9001"),
            ("wss://[::1]:8443/", true, host("::1", 8443), "/", "[::1]:8443"),
            ("wss://[2001:DB8::1]", true, host("2001:db8::1", 443), "/", "[2001:db8::1]"),
            ("ws://a_b.example/", false, host("a_b.example", 80), "/", "a_b.example"),
            ("ws+unix:/run/a.sock", false, Place::Unix("/run/a.sock".into()), "/", "localhost"),
            ("ws+unix:/run/a.sock:/b?c", false, Place::Unix("/run/a.sock".into()), "/b?c", "localhost"),
            ("ws+unix:/a%20%3ab:/", false, Place::Unix("/a :b".into()), "/", "localhost"),
        ];
        for (text, is_tls, place, target, authority) in cases {
            let url = Url::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((url.is_tls, &url.place), (is_tls, &place), "{text}");
            assert_eq!(
                (&*url.target, &*url.authority),
                (target, authority),
                "{text}"
            );
            assert_eq!(url.authorization, None, "{text}");
        }
    }

    #[test]
    fn a_user_becomes_basic_authorization_7617() {
        for (text, expected) in [
            (
                "ws://Aladdin:open%20sesame@h/",
                "QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            ),
            ("ws://user@h/", "dXNlcjo="),
            ("ws://a:b:c@h/", "YTpiOmM="),
            ("ws://a%40b:c@h/", "YUBiOmM="),
        ] {
            let url = Url::parse(text).expect("a good URL");
            assert_eq!(
                url.authorization,
                Some(format!("Basic {expected}")),
                "{text}"
            );
            assert_eq!(url.authority, "h");
        }
    }

    #[test]
    fn everything_else_is_no_url() {
        for text in [
            "",
            "ws",
            "ws:",
            "ws:/",
            "ws://",
            "ws:///",
            "ws:h",
            "http://h/",
            "https://h/",
            "h",
            "//h/",
            "wss+unix:/a",
            "ws://h/#",
            "ws://h/#a",
            "ws://h/a b",
            "ws://h/\u{e9}",
            "ws://h/\t",
            "ws://h/\r\n",
            "ws://h:0/",
            "ws://h:65536/",
            "ws://h:x/",
            "ws://h:-1/",
            "ws://h:+1/",
            "ws://h:1:2/",
            "ws://:80/",
            "ws://@/",
            "ws://[::1/",
            "ws://::1/",
            "ws://[h]/",
            "ws://[::1]x/",
            "ws://[fe80::1%25eth0]/",
            "ws://h/%",
            "ws://h/%1",
            "ws://h/%zz",
            "ws://a%zz@h/",
            "ws://a%3a:b@h/",
            "ws://h%41/",
            "ws://h<>/",
            "ws://.h/",
            "ws://h/<",
            "ws://h/\"",
            "ws://h/{",
            "ws+unix:",
            "ws+unix:a",
            "ws+unix:/a%00b",
            "ws+unix:/a:b",
            "ws+unix:/%ff",
        ] {
            assert_eq!(Url::parse(text), None, "{text}");
        }
    }
}
