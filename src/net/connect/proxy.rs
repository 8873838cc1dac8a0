//! Proxies, and their URLs.

use std::fmt;
use std::net::Ipv6Addr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;

/// Maximum length of a SOCKS user and of its password (RFC 1929).
const MAX_SOCKS_USER_BYTES: usize = 255;

/// Who connects in our place.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Proxy {
    /// `CONNECT` (RFC 9110 section 9.3.6).
    Http {
        host: String,
        port: u16,
        /// The value of `Proxy-Authorization`.
        authorization: Option<String>,
    },
    /// RFC 1928. The proxy resolves names.
    Socks5 {
        host: String,
        port: u16,
        /// A user and a password.
        user: Option<(String, String)>,
    },
}

/// What a URL may leave out.
#[derive(Clone, Copy, Default)]
pub(super) struct Defaults {
    pub scheme: Option<&'static str>,
    pub port: Option<u16>,
}

impl Proxy {
    /// Parses `http://[user:password@]host:port` or `socks5h://[user:password@]host:port`. User and password are
    /// percent-decoded.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::parse_with(text, Defaults::default())
    }

    /// Parses a URL, of which `defaults` may be left out.
    pub(super) fn parse_with(text: &str, defaults: Defaults) -> Option<Self> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let (scheme, rest) = match text.split_once("://") {
            Some(parts) => parts,
            None => (defaults.scheme?, text),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '\\']) {
            return None;
        }
        let (user, authority) = match rest.rsplit_once('@') {
            Some(("", authority)) => (None, authority),
            Some((user, authority)) => (Some(decode_user(user)?), authority),
            None => (None, rest),
        };
        let (host, port) = split_authority(authority)?;
        let port = match port {
            Some(digits) => parse_port(digits)?,
            None => defaults.port?,
        };
        let host = host.to_owned();
        match scheme.to_ascii_lowercase().as_str() {
            "http" => Some(Self::Http {
                host,
                port,
                authorization: match user {
                    Some(user) => Some(basic(&user)?),
                    None => None,
                },
            }),
            "socks5h" => {
                let fits = |text: &str| text.len() <= MAX_SOCKS_USER_BYTES;
                let is_possible = user.as_ref().is_none_or(|(user, password)| {
                    !user.is_empty() && fits(user) && fits(password)
                });
                is_possible.then_some(Self::Socks5 { host, port, user })
            }
            _ => None,
        }
    }

    pub(super) fn host(&self) -> &str {
        match self {
            Self::Http { host, .. } | Self::Socks5 { host, .. } => host,
        }
    }

    pub(super) fn port(&self) -> u16 {
        match self {
            Self::Http { port, .. } | Self::Socks5 { port, .. } => *port,
        }
    }
}

/// Without user and password.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Http { .. } => "Http",
            Self::Socks5 { .. } => "Socks5",
        };
        write!(f, "{kind}({}, {})", self.host(), self.port())
    }
}

/// Splits and decodes `user:password`; the password may be absent.
fn decode_user(text: &str) -> Option<(String, String)> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    Some((decode(user)?, decode(password)?))
}

/// Decodes percent-encoded UTF-8.
fn decode(text: &str) -> Option<String> {
    let escapes_are_whole = text.split('%').skip(1).all(|rest| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    if !escapes_are_whole {
        return None;
    }
    String::from_utf8(percent_decode_str(text).collect()).ok()
}

/// Returns the credentials of Basic authentication, in which a user has no colon (RFC 7617).
fn basic((user, password): &(String, String)) -> Option<String> {
    let credentials = (!user.contains(':')).then(|| format!("{user}:{password}"))?;
    Some(format!("Basic {}", STANDARD.encode(credentials)))
}

/// Splits `host:port` or `[address]:port`; the port may be absent.
fn split_authority(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        address.parse::<Ipv6Addr>().ok()?;
        return match rest {
            "" => Some((address, None)),
            _ => Some((address, Some(rest.strip_prefix(':')?))),
        };
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let is_of_names = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_name = !host.is_empty() && host.bytes().all(is_of_names);
    is_name.then_some((host, port))
}

/// Parses a port other than 0.
fn parse_port(digits: &str) -> Option<u16> {
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    let port = is_number.then(|| digits.parse().ok())??;
    (port != 0).then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(host: &str, port: u16, authorization: Option<&str>) -> Proxy {
        Proxy::Http {
            host: host.into(),
            port,
            authorization: authorization.map(str::to_owned),
        }
    }

    fn socks(host: &str, port: u16, user: Option<(&str, &str)>) -> Proxy {
        Proxy::Socks5 {
            host: host.into(),
            port,
            user: user.map(|(user, password)| (user.into(), password.into())),
        }
    }

    #[test]
    fn a_proxy_is_an_http_or_socks_url_with_a_host_and_a_port() {
        for (text, proxy) in [
            ("http://proxy:3128", http("proxy", 3128, None)),
            (
                "HTTP://proxy.example.com:1/",
                http("proxy.example.com", 1, None),
            ),
            ("http://10.0.0.1:65535", http("10.0.0.1", 65535, None)),
            ("http://[::1]:3128", http("::1", 3128, None)),
            ("http://@proxy:1", http("proxy", 1, None)),
            // "Aladdin:open sesame", the example of RFC 7617.
            (
                "http://Aladdin:open%20sesame@p:1",
                http("p", 1, Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")),
            ),
            ("http://a@p:1", http("p", 1, Some("Basic YTo="))),
            ("http://a:b:c@p:1", http("p", 1, Some("Basic YTpiOmM="))),
            ("http://a:b@c@p:1", http("p", 1, Some("Basic YTpiQGM="))),
            ("socks5h://proxy:1080", socks("proxy", 1080, None)),
            ("SOCKS5H://[::1]:1080/", socks("::1", 1080, None)),
            (
                "socks5h://us%3Aer:p%40ss@p:1",
                socks("p", 1, Some(("us:er", "p@ss"))),
            ),
            (
                "socks5h://%C3%BC:%25@p:1",
                socks("p", 1, Some(("\u{fc}", "%"))),
            ),
        ] {
            assert!(Proxy::parse(text) == Some(proxy), "{text}");
        }
    }

    #[test]
    fn everything_else_is_malformed() {
        let long = "x".repeat(256);
        for text in [
            "",
            "proxy:3128",
            "http://",
            "http://proxy",
            "http://:3128",
            "http://proxy:",
            "http://proxy:0",
            "http://proxy:65536",
            "http://proxy:+80",
            "http://proxy:80x",
            "http://proxy:80:81",
            "http://proxy:80/path",
            "http://proxy:80//",
            "http://proxy:80?query",
            "http://proxy:80#fragment",
            "http://pro xy:80",
            "http://proxy:80\r\n",
            "http://pr\u{f6}xy:80",
            "http://pro%78y:80",
            "http://::1:80",
            "http://[::1]",
            "http://[::1]80",
            "http://[::1:80",
            "http://[proxy]:80",
            "http://us%3Aer:password@proxy:80",
            "http://user:%zz@proxy:80",
            "http://user:%4@proxy:80",
            "http://user:%ff@proxy:80",
            "https://proxy:443",
            "socks5://proxy:1080",
            "socks4://proxy:1080",
            "socks5h://:password@proxy:1080",
            &format!("socks5h://{long}:password@proxy:1080"),
            &format!("socks5h://user:{long}@proxy:1080"),
        ] {
            assert!(Proxy::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn what_is_shown_of_a_proxy_has_no_password() {
        for text in ["http://user:secret@p:1", "socks5h://user:secret@p:1"] {
            let shown = format!("{:?}", Proxy::parse(text).unwrap());
            assert!(
                !shown.contains("user") && !shown.contains("secret"),
                "{shown}"
            );
            assert!(!shown.contains("Basic"), "{shown}");
        }
    }
}
