//! The PROXY header before a connection's own bytes, in HAProxy's "The PROXY protocol", versions 1 and 2.

use std::net::{IpAddr, SocketAddr};

use ppp::{PartialResult, v1, v2};

use super::Peer;

/// Maximum length of a header of version 1, with its line end (section 2.1).
const MAX_TEXT_BYTES: usize = 107;

/// Maximum length of a header of version 2 here. The addresses take 232 bytes at most; the rest is for what is
/// not used.
const MAX_BINARY_BYTES: usize = 4096;

/// The length of a header of version 2 without addresses and other fields.
const FIXED_BYTES: usize = 16;

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProxyHeader {
    /// The beginning of a header.
    Incomplete,
    Complete {
        len: usize,
        /// The client; None: the connection is the proxy's own, or the client is not known.
        client: Option<Peer>,
    },
}

/// Why there is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoHeader {
    Missing,
    Malformed,
    TooLong,
    /// The stream has ended within it.
    Ended,
    OutOfMemory,
}

impl NoHeader {
    /// Returns what to log.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Missing => "no PROXY header",
            Self::Malformed => "malformed PROXY header",
            Self::TooLong => "PROXY header too long",
            Self::Ended => "end of stream in the PROXY header",
            Self::OutOfMemory => "out of memory for the PROXY header",
        }
    }
}

/// Parses the header with which `bytes` begin. Incomplete ones are never longer than 4 KiB.
pub(crate) fn parse(bytes: &[u8]) -> Result<ProxyHeader, NoHeader> {
    if begins_as(bytes, v2::PROTOCOL_PREFIX) {
        parse_binary(bytes)
    } else if begins_as(bytes, v1::PROTOCOL_PREFIX.as_bytes()) {
        parse_text(bytes)
    } else {
        Err(NoHeader::Missing)
    }
}

/// Returns the length of the header with which `bytes` begin, if it is complete.
pub(crate) fn proxy_header_len(bytes: &[u8]) -> Option<usize> {
    match parse(bytes) {
        Ok(ProxyHeader::Complete { len, .. }) => Some(len),
        Ok(ProxyHeader::Incomplete) | Err(_) => None,
    }
}

/// Whether the bytes begin with `prefix`, as far as they go.
fn begins_as(bytes: &[u8], prefix: &[u8]) -> bool {
    let common = bytes.len().min(prefix.len());
    bytes[..common] == prefix[..common]
}

fn parse_binary(bytes: &[u8]) -> Result<ProxyHeader, NoHeader> {
    let header = match v2::Header::try_from(bytes) {
        Ok(header) => header,
        Err(v2::ParseError::Partial(_, length)) if FIXED_BYTES + length > MAX_BINARY_BYTES => {
            return Err(NoHeader::TooLong);
        }
        Err(error) if error.is_incomplete() => return Ok(ProxyHeader::Incomplete),
        Err(_) => return Err(NoHeader::Malformed),
    };
    let len = header.header.len();
    if len > MAX_BINARY_BYTES {
        return Err(NoHeader::TooLong);
    }
    let is_proxied =
        header.command == v2::Command::Proxy && header.protocol == v2::Protocol::Stream;
    let client = match header.addresses {
        v2::Addresses::IPv4(of) => Some(inet(of.source_address, of.source_port)),
        v2::Addresses::IPv6(of) => Some(inet(of.source_address, of.source_port)),
        v2::Addresses::Unix(_) => Some(Peer::Unix),
        v2::Addresses::Unspecified => None,
    };
    let client = client.filter(|_| is_proxied);
    Ok(ProxyHeader::Complete { len, client })
}

fn parse_text(bytes: &[u8]) -> Result<ProxyHeader, NoHeader> {
    let longest = &bytes[..bytes.len().min(MAX_TEXT_BYTES)];
    let Some(end) = longest.iter().position(|&byte| byte == b'\n') else {
        return match longest.len() < MAX_TEXT_BYTES {
            true => Ok(ProxyHeader::Incomplete),
            false => Err(NoHeader::TooLong),
        };
    };
    let line = &longest[..=end];
    let header = v1::Header::try_from(line).map_err(|_| NoHeader::Malformed)?;
    let client = match header.addresses {
        v1::Addresses::Tcp4(of) => Some(inet(of.source_address, of.source_port)),
        v1::Addresses::Tcp6(of) => Some(inet(of.source_address, of.source_port)),
        v1::Addresses::Unknown => None,
    };
    Ok(ProxyHeader::Complete {
        len: line.len(),
        client,
    })
}

fn inet(ip: impl Into<IpAddr>, port: u16) -> Peer {
    Peer::Inet(SocketAddr::new(ip.into(), port))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A header of version 2 with this command and family, addresses, and further fields.
    fn binary(command: u8, family: u8, addresses: &[u8], fields: &[u8]) -> Vec<u8> {
        let length = (addresses.len() + fields.len()) as u16;
        let fixed = [v2::PROTOCOL_PREFIX, &[0x20 | command, family]].concat();
        [&fixed, &length.to_be_bytes()[..], addresses, fields].concat()
    }

    const V4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 2, 0x13, 0x88, 0, 80];

    fn client_of(header: &[u8]) -> Option<String> {
        let complete = parse(header).expect("a header");
        let ProxyHeader::Complete { len, client } = complete else {
            panic!("{complete:?}");
        };
        assert_eq!(len, header.len());
        client.map(|client| client.to_string())
    }

    #[test]
    fn a_header_says_who_the_client_is_or_that_it_is_not_known() {
        let v6 = [
            [0x20, 1, 0xd, 0xb8].as_slice(),
            &[0; 11],
            &[1],
            &[0; 16],
            &[0, 9, 0, 9],
        ]
        .concat();
        for (header, client) in [
            (
                b"PROXY TCP4 192.0.2.1 198.51.100.2 5000 80\r\n".to_vec(),
                Some("192.0.2.1:5000"),
            ),
            (
                b"PROXY TCP6 2001:db8::1 ::1 9 80\r\n".to_vec(),
                Some("[2001:db8::1]:9"),
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ::1 ::1 65535 65535\r\n".to_vec(), None),
            (binary(1, 0x11, &V4, b""), Some("192.0.2.1:5000")),
            (binary(1, 0x11, &V4, &[7; 100]), Some("192.0.2.1:5000")),
            (binary(1, 0x21, &v6, b""), Some("[2001:db8::1]:9")),
            (binary(1, 0x31, &[b'x'; 216], b""), Some("unix")),
            (binary(1, 0x12, &V4, b""), None),
            (binary(1, 0x00, b"", b"anything"), None),
            (binary(0, 0x11, &V4, b""), None),
            (binary(0, 0x00, b"", b""), None),
        ] {
            assert_eq!(client_of(&header).as_deref(), client, "{header:?}");
        }
    }

    #[test]
    fn what_is_no_header_is_refused_as_early_as_possible() {
        let long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 100]].concat();
        let mut huge = binary(1, 0x11, &V4, b"");
        huge[14..16].copy_from_slice(&4081_u16.to_be_bytes());
        for (bytes, why) in [
            (b"GET / HTTP/1.1\r\n".to_vec(), NoHeader::Missing),
            (b"\x16\x03\x01".to_vec(), NoHeader::Missing),
            (b"PRI".to_vec(), NoHeader::Missing),
            (b"\r\n\r\nX".to_vec(), NoHeader::Missing),
            (
                b"PROXY TCP4 192.0.2.1 198.51.100.2 5000\r\n".to_vec(),
                NoHeader::Malformed,
            ),
            (
                b"PROXY TCP4 2001:db8::1 ::1 9 80\r\n".to_vec(),
                NoHeader::Malformed,
            ),
            (
                b"PROXY TCP4 192.0.2.1 198.51.100.2 5000 80\n".to_vec(),
                NoHeader::Malformed,
            ),
            (
                b"PROXY TCP4 192.0.2.1 198.51.100.2 65536 80\r\n".to_vec(),
                NoHeader::Malformed,
            ),
            (
                b"PROXY UDP4 192.0.2.1 198.51.100.2 5000 80\r\n".to_vec(),
                NoHeader::Malformed,
            ),
            (b"PROXY\r\n".to_vec(), NoHeader::Malformed),
            (long, NoHeader::TooLong),
            (binary(2, 0x11, &V4, b""), NoHeader::Malformed),
            (binary(1, 0x41, &V4, b""), NoHeader::Malformed),
            (binary(1, 0x11, &V4[1..], b""), NoHeader::Malformed),
            (huge, NoHeader::TooLong),
        ] {
            assert_eq!(parse(&bytes), Err(why), "{bytes:?}");
        }
    }

    fn headers() -> impl Strategy<Value = Vec<u8>> {
        let text = (any::<[u8; 4]>(), any::<u16>()).prop_map(|(ip, port)| {
            let ip = IpAddr::from(ip);
            format!("PROXY TCP4 {ip} 198.51.100.2 {port} 80\r\n").into_bytes()
        });
        let fields = proptest::collection::vec(any::<u8>(), 0..300);
        let v2 = (0..2_u8, any::<[u8; 12]>(), fields)
            .prop_map(|(command, addresses, fields)| binary(command, 0x11, &addresses, &fields));
        prop_oneof![text, v2, Just(b"PROXY UNKNOWN\r\n".to_vec())]
    }

    proptest! {
        #[test]
        fn a_header_is_found_however_it_arrives(header in headers(), behind in any::<Vec<u8>>()) {
            let whole = parse(&header);
            let is_complete = matches!(whole, Ok(ProxyHeader::Complete { .. }));
            prop_assert!(is_complete);
            for end in 0..header.len() {
                prop_assert_eq!(parse(&header[..end]), Ok(ProxyHeader::Incomplete), "{} bytes", end);
            }
            prop_assert_eq!(parse(&[header, behind].concat()), whole);
        }

        #[test]
        fn any_bytes_are_a_header_or_refused_by_4_kib(bytes in any::<Vec<u8>>()) {
            let bytes = [v2::PROTOCOL_PREFIX, &bytes].concat();
            match parse(&bytes) {
                Ok(ProxyHeader::Complete { len, .. }) => prop_assert!(len <= bytes.len()),
                Ok(ProxyHeader::Incomplete) => prop_assert!(bytes.len() < MAX_BINARY_BYTES),
                Err(_) => (),
            }
        }
    }
}
