//! The proxy that the environment names, by the rules of curl's manual.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::proxy::{Defaults, Proxy};
use super::route::Remote;

/// What curl uses where a proxy's URL does not say it.
const DEFAULTS: Defaults = Defaults {
    scheme: Some("http"),
    port: Some(1080),
};

/// A variable has something else than the URL of a proxy that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MalformedProxy {
    pub variable: &'static str,
}

impl fmt::Display for MalformedProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is not the URL of an HTTP or SOCKS5 proxy",
            self.variable
        )
    }
}

impl Proxy {
    /// Returns the proxy that the environment has for a remote: `https_proxy`, `HTTPS_PROXY`, or `http_proxy` (which
    /// is not read in capitals: a CGI program has there what its client sent as the header `Proxy`), else
    /// `all_proxy` or `ALL_PROXY`, unless `no_proxy` or `NO_PROXY` excepts the remote. An empty variable is as an
    /// absent one. None for a Unix socket.
    ///
    /// # Errors
    ///
    /// The variable is malformed.
    pub(crate) fn from_environment(
        remote: &Remote,
        is_tls: bool,
    ) -> Result<Option<Self>, MalformedProxy> {
        from_variables(remote, is_tls, &|name| {
            let value = std::env::var_os(name)?;
            Some(value.to_string_lossy().into_owned())
        })
    }
}

fn from_variables(
    remote: &Remote,
    is_tls: bool,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<Proxy>, MalformedProxy> {
    let Remote::Host { name, port } = remote else {
        return Ok(None);
    };
    let first_of = |names: &[&'static str]| {
        names.iter().find_map(|name| {
            let value = variable(name).filter(|value| !value.is_empty())?;
            Some((*name, value))
        })
    };
    let found = first_of(match is_tls {
        true => &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"],
        false => &["http_proxy", "all_proxy", "ALL_PROXY"],
    });
    let Some((variable, url)) = found else {
        return Ok(None);
    };
    if first_of(&["no_proxy", "NO_PROXY"]).is_some_and(|(_, list)| excepts(&list, name, *port)) {
        return Ok(None);
    }
    match Proxy::parse_with(&url, DEFAULTS) {
        None => Err(MalformedProxy { variable }),
        proxy => Ok(proxy),
    }
}

/// Whether a list of exceptions, separated by commas or blanks, has one for a host. Beyond what curl does, an entry
/// may have a port, brackets, or another spelling of the same IPv6 address.
fn excepts(list: &str, host: &str, port: u16) -> bool {
    if list.trim() == "*" {
        return true;
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let ip: Option<IpAddr> = host.parse().ok();
    list.split([',', ' ', '\t'])
        .filter(|entry| !entry.is_empty())
        .any(|entry| {
            let (entry, of_port) = split_port(entry);
            of_port.is_none_or(|of_port| of_port == port)
                && match ip {
                    Some(ip) => has_address(entry, ip),
                    None => has_name(entry, host),
                }
        })
}

/// Splits an entry's port from it, and takes away brackets.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    if let Some((address, rest)) = entry
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        let port = rest.strip_prefix(':').and_then(|port| port.parse().ok());
        return (address, port);
    }
    match entry.split_once(':') {
        // An address of IPv6 has more than one colon.
        Some((host, port)) => match port.parse() {
            Ok(port) if !host.is_empty() => (host, Some(port)),
            _ => (entry, None),
        },
        None => (entry, None),
    }
}

/// Whether an entry is an address, or a network that has it.
fn has_address(entry: &str, ip: IpAddr) -> bool {
    match entry.parse::<IpNet>() {
        Ok(network) => network.contains(&ip),
        Err(_) => entry.parse() == Ok(ip),
    }
}

/// Whether an entry is a name, or a domain that has it.
fn has_name(entry: &str, name: &str) -> bool {
    let domain = entry.strip_prefix('.').unwrap_or(entry);
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    let Some(at) = name.len().checked_sub(domain.len()) else {
        return false;
    };
    let (sub, end) = name.as_bytes().split_at(at);
    !domain.is_empty()
        && end.eq_ignore_ascii_case(domain.as_bytes())
        && (sub.is_empty() || sub.ends_with(b"."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> Remote {
        Remote::Host {
            name: name.into(),
            port: 443,
        }
    }

    /// What is chosen for example.com, as host and port.
    fn chosen(variables: &[(&str, &str)], is_tls: bool) -> Result<Option<String>, MalformedProxy> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let proxy = from_variables(&host("example.com"), is_tls, &variable)?;
        Ok(proxy.map(|proxy| format!("{}:{}", proxy.host(), proxy.port())))
    }

    #[test]
    fn the_variable_of_the_scheme_comes_first_and_lower_case_before_capitals() {
        let all = [
            ("ALL_PROXY", "http://f:1"),
            ("all_proxy", "http://e:1"),
            ("HTTP_PROXY", "http://d:1"),
            ("http_proxy", "http://c:1"),
            ("HTTPS_PROXY", "http://b:1"),
            ("https_proxy", "http://a:1"),
        ];
        for (count, tls, plain) in [
            (6, Some("a:1"), Some("c:1")),
            (5, Some("b:1"), Some("c:1")),
            (4, Some("e:1"), Some("c:1")),
            // Not HTTP_PROXY.
            (3, Some("e:1"), Some("e:1")),
            (1, Some("f:1"), Some("f:1")),
            (0, None, None),
        ] {
            let some = &all[..count];
            assert_eq!(chosen(some, true).unwrap().as_deref(), tls, "{some:?}");
            assert_eq!(chosen(some, false).unwrap().as_deref(), plain, "{some:?}");
        }
    }

    #[test]
    fn an_empty_variable_is_as_an_absent_one() {
        let variables = [("https_proxy", ""), ("all_proxy", "http://a:1")];
        assert_eq!(chosen(&variables, true), Ok(Some("a:1".to_owned())));
        let variables = [
            ("https_proxy", "http://a:1"),
            ("no_proxy", ""),
            ("NO_PROXY", "example.com"),
        ];
        assert_eq!(chosen(&variables, true), Ok(None));
    }

    #[test]
    fn scheme_and_port_may_be_left_out() {
        for (url, expected) in [
            ("proxy", "proxy:1080"),
            ("proxy:3128", "proxy:3128"),
            ("user:password@proxy:3128/", "proxy:3128"),
            ("http://proxy", "proxy:1080"),
            ("http://[::1]", "::1:1080"),
            ("socks5h://proxy", "proxy:1080"),
        ] {
            let found = chosen(&[("http_proxy", url)], false).unwrap();
            assert_eq!(found.as_deref(), Some(expected), "{url}");
        }
    }

    #[test]
    fn a_malformed_variable_is_named_unless_the_remote_is_excepted() {
        let variables = [
            ("https_proxy", "ftp://user:secret@p:1"),
            ("no_proxy", "localhost"),
        ];
        let error = chosen(&variables, true).unwrap_err();
        assert_eq!(error.variable, "https_proxy");
        let text = error.to_string();
        assert!(text.contains("https_proxy") && !text.contains("secret"));
        let variables = [variables[0], ("no_proxy", "example.com")];
        assert_eq!(chosen(&variables, true), Ok(None));
    }

    #[test]
    fn a_unix_socket_has_no_proxy() {
        let variable = |_: &str| Some("http://proxy:1".to_owned());
        let unix = Remote::Unix("/socket".into());
        assert_eq!(from_variables(&unix, false, &variable), Ok(None));
        assert_eq!(Proxy::from_environment(&unix, false), Ok(None));
    }

    #[test]
    fn exceptions_are_all_names_domains_addresses_and_networks() {
        for (list, host, expected) in [
            ("*", "example.com", true),
            (" * ", "10.0.0.1", true),
            // The asterisk stands alone, and for no part of a name.
            ("*,x", "example.com", false),
            ("*.example.com", "www.example.com", false),
            ("example.com", "example.com", true),
            ("EXAMPLE.com", "example.COM", true),
            ("example.com", "www.example.com", true),
            ("example.com", "a.b.example.com", true),
            ("example.com", "notexample.com", false),
            ("example.com", "com", false),
            ("example.com", "example.com.org", false),
            (".example.com", "example.com", true),
            (".example.com", "www.example.com", true),
            (".example.com", "notexample.com", false),
            ("example.com.", "example.com", true),
            ("example.com", "example.com.", true),
            ("a,b, c\td", "a", true),
            ("a,b, c\td", "b", true),
            ("a,b, c\td", "c", true),
            ("a,b, c\td", "d", true),
            ("a,b, c\td", "e", false),
            ("a,,b", "b", true),
            (",. ,", "example.com", false),
            ("example.com:443", "example.com", true),
            ("example.com:443", "www.example.com", true),
            ("example.com:80", "example.com", false),
            (".example.com:443", "www.example.com", true),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("10.0.0.1", "110.0.0.1", false),
            ("0.0.1", "10.0.0.1", false),
            ("10.0.0.1:443", "10.0.0.1", true),
            ("10.0.0.1:80", "10.0.0.1", false),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.1.2.3/8", "10.3.2.1", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("10.0.0.0/33", "10.0.0.0", false),
            ("10.0.0.0/8", "10.example.com", false),
            ("192.168.0.0/16,10.0.0.0/8", "10.1.2.3", true),
            ("::1", "::1", true),
            ("0:0:0:0:0:0:0:1", "::1", true),
            ("[::1]", "::1", true),
            ("[::1]:443", "::1", true),
            ("[::1]:80", "::1", false),
            ("::1", "::2", false),
            ("fe80::/10", "fe80::1", true),
            ("fe80::/10", "fec0::1", false),
            ("::/0", "10.0.0.1", false),
            ("localhost", "127.0.0.1", false),
            ("127.0.0.1", "localhost", false),
        ] {
            assert_eq!(excepts(list, host, 443), expected, "{list:?} {host}");
        }
    }
}
