//! Asking a proxy for a tunnel.

use std::io;

use super::http_proxy::HttpTunnel;
use super::proxy::Proxy;
use super::route::ConnectError;
use super::socks5::SocksTunnel;
use crate::net::Outgoing;

/// The dialogue with a proxy, in either protocol.
pub(super) enum Negotiation {
    Http(HttpTunnel),
    Socks(SocksTunnel),
}

impl Negotiation {
    /// Prepares to ask `proxy` for a tunnel to a host.
    pub(super) fn new(proxy: &Proxy, name: &str, port: u16) -> Result<Self, ConnectError> {
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ConnectError::new(
                io::ErrorKind::InvalidInput,
                "a proxy takes names of printable ASCII alone".to_owned(),
            ));
        }
        Ok(match proxy {
            Proxy::Http { authorization, .. } => {
                Self::Http(HttpTunnel::new(name, port, authorization.as_deref()))
            }
            Proxy::Socks5 { user, .. } => Self::Socks(SocksTunnel::new(name, port, user.as_ref())?),
        })
    }

    /// Does what is possible now, and returns when the tunnel begins. None of its bytes has been read then.
    ///
    /// # Errors
    ///
    /// `WouldBlock`: it is not done. Others: there will be no tunnel.
    pub(super) fn advance(&mut self, socket: &Outgoing) -> Result<(), ConnectError> {
        match self {
            Self::Http(tunnel) => tunnel.advance(socket),
            Self::Socks(tunnel) => tunnel.advance(socket),
        }
    }
}
