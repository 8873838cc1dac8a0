//! Proxies, by their URLs.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use percent_encoding::percent_decode_str;

use super::environment;
use super::remote::Remote;

/// A proxy through which a connection is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Proxy {
    /// With CONNECT (RFC 9110 section 9.3.6).
    Http {
        host: String,
        port: u16,
        /// The value of `Proxy-Authorization`.
        authorization: Option<String>,
    },
    /// With the name resolved by the proxy (RFC 1928).
    Socks5 {
        host: String,
        port: u16,
        /// User and password (RFC 1929).
        user: Option<(String, String)>,
    },
}

/// The environment names a proxy by a URL that is none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MalformedProxy;

impl Proxy {
    /// Parses `http://[user:password@]host:port`, or the same with `socks5h://`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let is_printable = rest.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_printable || rest.contains(['/', '?', '#']) {
            return None;
        }
        let (user, place) = match rest.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, rest),
        };
        let user = match user {
            Some(user) => {
                let (user, password) = user.split_once(':').unwrap_or((user, ""));
                Some((decode(user)?, decode(password)?))
            }
            None => None,
        };
        let (host, port) = split_place(place)?;
        match scheme.to_ascii_lowercase().as_str() {
            "http" => Some(Self::Http {
                host,
                port: port.unwrap_or(80),
                authorization: user.map(|(user, password)| {
                    let pair = format!("{user}:{password}");
                    format!("Basic {}", BASE64_STANDARD.encode(pair))
                }),
            }),
            "socks5h" => {
                let fits = |text: &String| (1..=255).contains(&text.len());
                if user
                    .as_ref()
                    .is_some_and(|(user, password)| !fits(user) || password.len() > 255)
                {
                    return None;
                }
                Some(Self::Socks5 {
                    host,
                    port: port.unwrap_or(1080),
                    user,
                })
            }
            _ => None,
        }
    }

    /// Returns the proxy that the environment names for a connection, as curl documents it.
    ///
    /// # Errors
    ///
    /// It names one by a malformed URL.
    pub(crate) fn from_environment(
        remote: &Remote,
        is_tls: bool,
    ) -> Result<Option<Self>, MalformedProxy> {
        let url = environment::proxy(remote, is_tls, &|name| std::env::var(name).ok());
        url.map(|url| {
            // Without a scheme it is an HTTP proxy.
            let url = match url.contains("://") {
                true => url,
                false => format!("http://{url}"),
            };
            Self::parse(&url).ok_or(MalformedProxy)
        })
        .transpose()
    }

    /// Returns where the proxy is.
    pub(super) fn place(&self) -> (&str, u16) {
        match self {
            Self::Http { host, port, .. } | Self::Socks5 { host, port, .. } => (host, *port),
        }
    }
}

fn split_place(place: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (
                host,
                port.strip_prefix(':').or(port.is_empty().then_some(""))?,
            )
        }
        None => place.split_once(':').unwrap_or((place, "")),
    };
    let is_host = !host.is_empty() && !host.contains('%');
    let port = match port {
        "" => None,
        digits => Some(digits.parse().ok().filter(|port| *port != 0)?),
    };
    is_host.then(|| (host.to_owned(), port))
}

fn decode(text: &str) -> Option<String> {
    String::from_utf8(percent_decode_str(text).collect()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_named_by_a_url() {
        let http = |authorization: Option<&str>| Proxy::Http {
            host: "proxy.example".to_owned(),
            port: 3128,
            authorization: authorization.map(str::to_owned),
        };
        let socks = |user: Option<(&str, &str)>| Proxy::Socks5 {
            host: "::1".to_owned(),
            port: 1080,
            user: user.map(|(user, password)| (user.to_owned(), password.to_owned())),
        };
        for (text, expected) in [
            ("http://proxy.example:3128", http(None)),
            ("HTTP://proxy.example:3128/", http(None)),
            (
                "http://Aladdin:open%20sesame@proxy.example:3128",
                http(Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")),
            ),
            ("socks5h://[::1]", socks(None)),
            ("socks5h://a%3ab:c@[::1]:1080", socks(Some(("a:b", "c")))),
        ] {
            assert_eq!(Proxy::parse(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "proxy:1",
            "http://",
            "http://:1",
            "http://h:0",
            "http://h:x",
            "http://h:1/a",
            "https://h:1",
            "socks5://h:1",
            "http://h h:1",
            "http://[::1",
            "http://[h]:1",
            "socks5h://:b@h:1",
            "http://%ff@h",
        ] {
            assert_eq!(Proxy::parse(text), None, "{text}");
        }
    }
}
