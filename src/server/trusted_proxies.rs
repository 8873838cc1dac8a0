//! TRUSTED_PROXIES: whose word about a client is believed, and what `X-Forwarded-For` or `Forwarded` (RFC 7239)
//! then says.

use std::collections::TryReserveError;
use std::net::{IpAddr, SocketAddr};

use ipnet::{IpNet, Ipv4Net};

use super::ServerError;
use super::error::ServerResult;
use crate::net::{Peer, memory};
use crate::proto::RequestHead;

/// The entry that trusts what connects to a Unix socket.
const UNIX: &str = "unix";

/// The entry that chooses `Forwarded`.
const FORWARDED: &str = "forwarded";

#[derive(Default)]
pub(crate) struct TrustedProxies {
    networks: Vec<IpNet>,
    unix: bool,
    /// `Forwarded` is read instead of `X-Forwarded-For`.
    forwarded: bool,
}

/// Checks one entry of the option.
pub(crate) fn check_entry(entry: &str) -> ServerResult {
    match [UNIX, FORWARDED].contains(&entry) || parse_network(entry).is_some() {
        true => Ok(()),
        false => Err(ServerError::Argument),
    }
}

/// Parses an address, or a network in CIDR notation.
fn parse_network(entry: &str) -> Option<IpNet> {
    let network: IpNet = match entry.parse() {
        Ok(network) => network,
        Err(_) => entry.parse::<IpAddr>().ok()?.into(),
    };
    Some(canonical(network))
}

/// Returns an IPv4 network that is written in IPv6 as one of IPv4 (RFC 4291 section 2.5.5.2).
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else {
        return network;
    };
    let v4 = v6.addr().to_ipv4_mapped().filter(|_| v6.prefix_len() >= 96);
    let v4 = v4.and_then(|ip| Ipv4Net::new(ip, v6.prefix_len() - 96).ok());
    v4.map_or(network, IpNet::V4)
}

impl TrustedProxies {
    /// Of checked entries.
    pub(crate) fn new(entries: &[String]) -> Result<Self, ServerError> {
        let mut networks = Vec::new();
        networks.try_reserve_exact(entries.len())?;
        networks.extend(entries.iter().filter_map(|entry| parse_network(entry)));
        let has = |word: &str| entries.iter().any(|entry| entry == word);
        Ok(Self {
            networks,
            unix: has(UNIX),
            forwarded: has(FORWARDED),
        })
    }

    /// Whether nobody is trusted.
    pub(crate) fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }

    pub(crate) fn trusts(&self, peer: &Peer) -> bool {
        match peer.ip() {
            Some(ip) => {
                let ip = ip.to_canonical();
                self.networks.iter().any(|network| network.contains(&ip))
            }
            None => self.unix,
        }
    }

    /// Returns the client whose request came from `peer`, a trusted proxy: the last one in the header's list that
    /// is not trusted, or, before an unusable element, the last that is.
    ///
    /// # Errors
    ///
    /// Memory for the list is refused.
    pub(crate) fn client(
        &self,
        peer: Peer,
        request: &RequestHead<'_>,
    ) -> Result<Peer, TryReserveError> {
        match self.forwarded {
            true => {
                let elements = || request.header("Forwarded").flat_map(forwarded_elements);
                self.last_untrusted(peer, elements, parse_forwarded)
            }
            // A list without quoted strings: a quotation mark of the client hides nothing that follows it.
            false => self.last_untrusted(peer, || request.elements("X-Forwarded-For"), parse_node),
        }
    }

    fn last_untrusted<'a, I: Iterator<Item = &'a [u8]>>(
        &self,
        peer: Peer,
        elements: impl Fn() -> I,
        parse: impl Fn(&[u8]) -> Option<Peer>,
    ) -> Result<Peer, TryReserveError> {
        let mut list = Vec::new();
        memory::try_reserve_exact(&mut list, elements().count())?;
        list.extend(elements());
        let mut client = peer;
        while self.trusts(&client)
            && let Some(named) = list.pop().and_then(&parse)
        {
            client = named;
        }
        Ok(client)
    }
}

/// Returns the elements of a line of `Forwarded`. Commas in quoted strings do not separate, unless the last
/// string has no end: a client could open one, and hide what its proxy adds.
fn forwarded_elements(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quotes = Quotes::default();
    line.iter().for_each(|&byte| quotes.pass(byte));
    let are_closed = !quotes.is_inside;
    split(line, b',', are_closed).filter(|element| !element.is_empty())
}

/// Splits at `separator`; if `has_quotes`, not in quoted strings.
fn split(text: &[u8], separator: u8, has_quotes: bool) -> impl Iterator<Item = &[u8]> {
    let mut quotes = Quotes::default();
    let parts = text.split(move |&byte| {
        quotes.pass(byte);
        byte == separator && !(has_quotes && quotes.is_inside)
    });
    parts.map(<[u8]>::trim_ascii)
}

/// Where quoted strings are (RFC 9110 section 5.6.4).
#[derive(Default)]
struct Quotes {
    is_inside: bool,
    is_escaped: bool,
}

impl Quotes {
    fn pass(&mut self, byte: u8) {
        let is_plain = !std::mem::take(&mut self.is_escaped);
        match byte {
            b'\\' if self.is_inside && is_plain => self.is_escaped = true,
            b'"' if is_plain => self.is_inside = !self.is_inside,
            _ => (),
        }
    }
}

/// Returns the node of an element's only `for` parameter.
fn parse_forwarded(element: &[u8]) -> Option<Peer> {
    let mut nodes = split(element, b';', true).filter_map(|pair| {
        let at = pair.iter().position(|&byte| byte == b'=')?;
        pair[..at]
            .eq_ignore_ascii_case(b"for")
            .then_some(&pair[at + 1..])
    });
    let node = nodes.next()?;
    if nodes.next().is_some() {
        return None;
    }
    match node.strip_prefix(b"\"") {
        Some(rest) => parse_node(rest.strip_suffix(b"\"")?),
        None => parse_node(node),
    }
}

/// Parses an address, with or without a port; in brackets if it is one of IPv6 with a port.
fn parse_node(node: &[u8]) -> Option<Peer> {
    let node = str::from_utf8(node).ok()?;
    if let Ok(address) = node.parse::<SocketAddr>() {
        return Some(Peer::Inet(address));
    }
    let bracketed = node
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match bracketed {
        Some(ip) => ip.parse().ok().map(|ip| Peer::Ip(IpAddr::V6(ip))),
        None => node.parse().ok().map(Peer::Ip),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto;

    fn proxies(entries: &str) -> TrustedProxies {
        let entries: Vec<String> = entries.split(',').map(str::to_owned).collect();
        for entry in &entries {
            check_entry(entry).unwrap();
        }
        TrustedProxies::new(&entries).unwrap()
    }

    fn client(entries: &str, peer: &str, lines: &[&str]) -> String {
        let lines = lines.concat();
        let mut head = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes();
        let request = proto::parse_head(&mut head).expect("a request");
        let peer = match peer {
            "unix" => Peer::Unix,
            peer => Peer::Inet(peer.parse().expect("an address")),
        };
        let proxies = proxies(entries);
        match proxies.trusts(&peer) {
            true => proxies.client(peer, &request).expect("memory").to_string(),
            false => peer.to_string(),
        }
    }

    #[test]
    fn the_client_is_the_last_address_that_is_not_trusted() {
        let (proxy, net) = ("10.0.0.1:9", "10.0.0.0/8");
        for (entries, peer, lines, expected) in [
            (
                net,
                "192.0.2.1:9",
                &["X-Forwarded-For: 1.1.1.1\r\n"][..],
                "192.0.2.1:9",
            ),
            (net, proxy, &[], proxy),
            (net, proxy, &["X-Forwarded-For: 192.0.2.7\r\n"], "192.0.2.7"),
            (
                net,
                proxy,
                &["X-Forwarded-For: 6.6.6.6, 192.0.2.7\r\n"],
                "192.0.2.7",
            ),
            (
                net,
                proxy,
                &["X-Forwarded-For: 192.0.2.7, 10.9.9.9\r\n"],
                "192.0.2.7",
            ),
            (
                net,
                proxy,
                &[
                    "X-Forwarded-For: 192.0.2.7\r\n",
                    "x-forwarded-for: 10.9.9.9,\r\n",
                ],
                "192.0.2.7",
            ),
            (
                net,
                proxy,
                &["X-Forwarded-For: 10.0.0.3, 10.0.0.2\r\n"],
                "10.0.0.3",
            ),
            (
                net,
                proxy,
                &["X-Forwarded-For: 192.0.2.7, unknown\r\n"],
                proxy,
            ),
            (
                net,
                proxy,
                &["X-Forwarded-For: 192.0.2.7, unknown, 10.0.0.2\r\n"],
                "10.0.0.2",
            ),
            (
                net,
                proxy,
                &["X-Forwarded-For: 192.0.2.7:443\r\n"],
                "192.0.2.7:443",
            ),
            (
                net,
                proxy,
                &["X-Forwarded-For: 2001:db8::1\r\n"],
                "2001:db8::1",
            ),
            (
                net,
                proxy,
                &["X-Forwarded-For: [2001:db8::1]:44\r\n"],
                "[2001:db8::1]:44",
            ),
            (
                net,
                proxy,
                &["X-Forwarded-For: [2001:db8::1]\r\n"],
                "2001:db8::1",
            ),
            (net, proxy, &["Forwarded: for=192.0.2.7\r\n"], proxy),
            (
                net,
                "[::ffff:10.0.0.1]:9",
                &["X-Forwarded-For: 192.0.2.7\r\n"],
                "192.0.2.7",
            ),
            (
                "::ffff:10.0.0.0/104",
                proxy,
                &["X-Forwarded-For: 192.0.2.7\r\n"],
                "192.0.2.7",
            ),
            (
                "2001:db8::1",
                "[2001:db8::1]:9",
                &["X-Forwarded-For: 192.0.2.7\r\n"],
                "192.0.2.7",
            ),
            (net, "unix", &["X-Forwarded-For: 192.0.2.7\r\n"], "unix"),
            (
                "unix",
                "unix",
                &["X-Forwarded-For: 192.0.2.7\r\n"],
                "192.0.2.7",
            ),
        ] {
            assert_eq!(
                client(entries, peer, lines),
                expected,
                "{entries} {peer} {lines:?}"
            );
        }
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_has_it() {
        for (value, expected) in [
            ("for=192.0.2.7", "192.0.2.7"),
            ("For=192.0.2.7;proto=http;by=203.0.113.43", "192.0.2.7"),
            ("for=\"192.0.2.7:4711\"", "192.0.2.7:4711"),
            (
                "for=\"[2001:db8:cafe::17]:4711\"",
                "[2001:db8:cafe::17]:4711",
            ),
            ("for=\"[2001:db8:cafe::17]\"", "2001:db8:cafe::17"),
            ("for=192.0.2.7;by=\"a,b;for=6.6.6.6\"", "192.0.2.7"),
            ("for=6.6.6.6, for=192.0.2.7 ; host=\"a\\\",b\"", "192.0.2.7"),
            ("for=192.0.2.7, for=10.0.0.2", "192.0.2.7"),
            ("for=_hidden", "10.0.0.1:9"),
            ("for=unknown, for=10.0.0.2", "10.0.0.2"),
            ("for=192.0.2.7;for=192.0.2.8", "10.0.0.1:9"),
            ("by=192.0.2.7", "10.0.0.1:9"),
            ("for=\"192.0.2.7", "10.0.0.1:9"),
            ("", "10.0.0.1:9"),
        ] {
            let line = format!("Forwarded: {value}\r\n");
            let found = client("10.0.0.0/8,forwarded", "10.0.0.1:9", &[&line]);
            assert_eq!(found, expected, "{value}");
        }
    }

    #[test]
    fn a_client_cannot_hide_what_its_proxy_adds() {
        let proxy = "10.0.0.1:9";
        let lies = [
            "\"",
            "\"a",
            "for=\"",
            "for=\"\\",
            "for=\"\\\"",
            "for=6.6.6.6;by=\"",
            "x=\"a,b\", \"",
            ",",
            "\\",
        ];
        for lie in lies {
            let line = format!("X-Forwarded-For: {lie}, 192.0.2.7\r\n");
            assert_eq!(client("10.0.0.0/8", proxy, &[&line]), "192.0.2.7", "{line}");
            for added in [
                "for=192.0.2.7",
                "for=\"192.0.2.7\"",
                "by=\"_p\";for=192.0.2.7",
            ] {
                let line = format!("Forwarded: {lie}, {added}\r\n");
                let found = client("10.0.0.0/8,forwarded", proxy, &[&line]);
                assert_eq!(found, "192.0.2.7", "{line}");
                let lines = [
                    format!("Forwarded: {lie}\r\n"),
                    format!("Forwarded: {added}\r\n"),
                ];
                let found = client("10.0.0.0/8,forwarded", proxy, &[&lines[0], &lines[1]]);
                assert_eq!(found, "192.0.2.7", "{lines:?}");
            }
        }
    }

    #[test]
    fn an_entry_is_an_address_a_network_or_a_word() {
        for entry in [
            "10.0.0.1",
            "10.0.0.0/8",
            "::1",
            "fe80::/10",
            "unix",
            "forwarded",
        ] {
            assert_eq!(check_entry(entry), Ok(()), "{entry}");
        }
        for entry in [
            "",
            "10.0.0.1/33",
            "::/129",
            "localhost",
            "10.0.0.1:80",
            "[::1]",
            "Unix",
            "10.0.0.1/",
        ] {
            assert_eq!(check_entry(entry), Err(ServerError::Argument), "{entry}");
        }
        assert!(proxies("forwarded").is_empty());
    }
}
