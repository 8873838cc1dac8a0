//! Addresses to listen on, and the addresses of peers.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// All addresses of a name, with the same port.
    Inet(Vec<SocketAddr>),
    Unix(PathBuf),
    /// The socket that this process has by that number and that listens already.
    Descriptor(i32),
    /// The first socket that systemd has passed to this process.
    Systemd,
}

impl Address {
    /// Returns the path of a Unix socket if `host` is one, as `unix:/path`.
    pub(crate) fn unix_path(host: &str) -> Option<&str> {
        host.strip_prefix("unix:")
    }

    /// Parses a numeric address (brackets allowed), `unix:/path`, `fd:N`, `fd:systemd`, or a name, which is
    /// resolved now.
    pub(crate) fn resolve(host: &str, port: u16) -> io::Result<Self> {
        if let Some(path) = Self::unix_path(host) {
            return Ok(Self::Unix(path.into()));
        }
        if let Some(descriptor) = host.strip_prefix("fd:") {
            return match descriptor {
                "systemd" => Ok(Self::Systemd),
                number => number
                    .parse()
                    .map(Self::Descriptor)
                    .map_err(|_| io::ErrorKind::InvalidInput.into()),
            };
        }
        let bare = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(host);
        let mut found: Vec<SocketAddr> = Vec::new();
        for address in (bare, port).to_socket_addrs()? {
            if !found.contains(&address) {
                found.push(address);
            }
        }
        Ok(Self::Inet(found))
    }
}

/// The address of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Inet(SocketAddr),
    /// As a proxy has named it, without a port.
    Ip(IpAddr),
    Unix,
}

impl Peer {
    /// Returns the peer's IP address; None for a Unix socket.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Inet(address) => Some(address.ip()),
            Self::Ip(ip) => Some(*ip),
            Self::Unix => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Ip(ip) => ip.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_numeric_bracketed_a_name_a_file_or_a_descriptor() {
        let inet = |text: &str| Address::Inet(vec![text.parse().unwrap()]);
        assert_eq!(
            Address::resolve("127.0.0.1", 1).unwrap(),
            inet("127.0.0.1:1")
        );
        assert_eq!(Address::resolve("::1", 2).unwrap(), inet("[::1]:2"));
        assert_eq!(Address::resolve("[::1]", 3).unwrap(), inet("[::1]:3"));
        assert_eq!(
            Address::resolve("unix:/a b", 0).unwrap(),
            Address::Unix("/a b".into())
        );
        assert_eq!(Address::resolve("fd:3", 4).unwrap(), Address::Descriptor(3));
        assert_eq!(Address::resolve("fd:systemd", 0).unwrap(), Address::Systemd);
        assert!(Address::resolve("fd:x", 0).is_err());
        assert!(Address::resolve("[::1", 3).is_err());
    }
}
