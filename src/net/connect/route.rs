//! Where to connect to, by way of whom, and why that failed.

use std::fmt;
use std::io;
use std::net::Ipv6Addr;
use std::path::PathBuf;

use super::proxy::Proxy;

/// Where to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Remote {
    /// A name, or a numeric address without brackets.
    Host {
        name: String,
        port: u16,
    },
    Unix(PathBuf),
}

/// Where to connect to, and by way of whom.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub remote: Remote,
    /// Who connects to the remote in our place. Not used for a Unix socket, which is on this machine.
    pub proxy: Option<Proxy>,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConnectError {
    /// For people: what was not found, or which addresses failed, and why. Never contains a user or a password.
    pub message: String,
    /// The status with which an HTTP proxy has refused.
    pub http_status: Option<u16>,
    pub kind: io::ErrorKind,
}

impl ConnectError {
    pub(super) fn new(kind: io::ErrorKind, message: String) -> Self {
        Self {
            message,
            http_status: None,
            kind,
        }
    }
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        Self::new(error.kind(), error.to_string())
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Joins a host and a port: IPv6 addresses are put into brackets.
pub(super) fn authority(host: &str, port: u16) -> String {
    match host.parse::<Ipv6Addr>() {
        Ok(ip) => format!("[{ip}]:{port}"),
        Err(_) => format!("{host}:{port}"),
    }
}
