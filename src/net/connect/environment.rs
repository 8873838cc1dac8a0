//! The proxy that the environment names, by the rules that curl documents (`man curl`, "Environment").

use std::net::IpAddr;

use ipnet::IpNet;

use super::remote::Remote;

/// Returns the URL of the proxy for a connection, if there is one. `get` reads a variable.
pub(super) fn proxy(
    remote: &Remote,
    is_tls: bool,
    get: &dyn Fn(&str) -> Option<String>,
) -> Option<String> {
    let Remote::Host { name, port } = remote else {
        return None;
    };
    let first = |names: &[&str]| {
        names
            .iter()
            .filter_map(|name| get(name))
            .find(|value| !value.is_empty())
    };
    let excluded = first(&["no_proxy", "NO_PROXY"]).unwrap_or_default();
    if is_excluded(name, *port, &excluded) {
        return None;
    }
    // HTTP_PROXY may be a header of a request to a CGI program.
    let own: &[&str] = match is_tls {
        true => &["https_proxy", "HTTPS_PROXY"],
        false => &["http_proxy"],
    };
    first(own).or_else(|| first(&["all_proxy", "ALL_PROXY"]))
}

/// Whether a list of names, domains and networks holds a host.
fn is_excluded(host: &str, port: u16, list: &str) -> bool {
    let host = host.trim_end_matches('.');
    list.split([',', ' '])
        .filter(|entry| !entry.is_empty())
        .any(|entry| entry == "*" || is_named(host, port, entry))
}

fn is_named(host: &str, port: u16, entry: &str) -> bool {
    if let Ok(address) = host.parse::<IpAddr>() {
        let bare = entry.trim_start_matches('[').trim_end_matches(']');
        let network = bare.parse::<IpNet>();
        return network.map_or(bare.parse() == Ok(address), |it| it.contains(&address));
    }
    let (name, entry_port) = match entry.rsplit_once(':') {
        Some((name, digits)) => match digits.parse::<u16>() {
            Ok(port) => (name, Some(port)),
            Err(_) => (entry, None),
        },
        None => (entry, None),
    };
    let domain = name.trim_start_matches('.').trim_end_matches('.');
    let (host, domain) = (host.to_ascii_lowercase(), domain.to_ascii_lowercase());
    let is_below = || {
        host.strip_suffix(&domain)
            .is_some_and(|rest| rest.ends_with('.'))
    };
    !domain.is_empty()
        && entry_port.is_none_or(|entry_port| entry_port == port)
        && (host == domain || is_below())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(name: &str) -> Remote {
        Remote::Host {
            name: name.to_owned(),
            port: 443,
        }
    }

    #[test]
    fn the_scheme_chooses_the_variable() {
        let lookup = |variables: &[(&str, &str)], is_tls| {
            proxy(&remote("h.example"), is_tls, &|name| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        let all = [
            ("all_proxy", "a"),
            ("http_proxy", "h"),
            ("https_proxy", "s"),
        ];
        assert_eq!(lookup(&all, true).as_deref(), Some("s"));
        assert_eq!(lookup(&all, false).as_deref(), Some("h"));
        assert_eq!(lookup(&all[..1], true).as_deref(), Some("a"));
        assert_eq!(lookup(&[("HTTP_PROXY", "h")], false), None);
        assert_eq!(lookup(&[("HTTPS_PROXY", "s")], true).as_deref(), Some("s"));
        assert_eq!(
            lookup(&[("https_proxy", ""), ("ALL_PROXY", "a")], true).as_deref(),
            Some("a")
        );
        assert_eq!(
            lookup(&[("https_proxy", "s"), ("no_proxy", "example")], true),
            None
        );
        let unix = Remote::Unix("/a".into());
        assert_eq!(proxy(&unix, false, &|_| Some("p".to_owned())), None);
    }

    #[test]
    fn names_domains_and_networks_are_excluded() {
        for (host, list, expected) in [
            ("h.example", "*", true),
            ("h.example", "example", true),
            ("h.example", ".example", true),
            ("h.example", "a, h.EXAMPLE", true),
            ("h.example.", "h.example", true),
            ("h.example", "h.example:443", true),
            ("h.example", "h.example:80", false),
            ("h.example", "ample", false),
            ("h.example", "x.h.example", false),
            ("h.example", "", false),
            ("h.example", ".", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.0/24", true),
            ("192.0.2.7", "192.0.3.0/24", false),
            ("192.0.2.7", "0.0.0.0/0", true),
            ("192.0.2.7", "192.0.2.0/33", false),
            ("192.0.2.7", ".7", false),
            ("2001:db8::1", "[2001:db8::1]", true),
            ("2001:db8::1", "2001:db8::/32", true),
            ("2001:db8::1", "192.0.2.0/0", false),
        ] {
            assert_eq!(is_excluded(host, 443, list), expected, "{host} in {list}");
        }
    }
}
