//! Who may come in: the limits on connections, of the whole server and of one address.
//!
//! A connection counts for its peer's address at once, unless a proxy will say who the client is.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::trusted_proxies::TrustedProxies;
use super::{Options, ServerError};
use crate::locks;
use crate::net::Peer;
use crate::proto::Refusal;

/// Counts connections against MAX_CONNECTIONS and MAX_CONNECTIONS_PER_IP.
pub(crate) struct Admission {
    /// 0 is no limit.
    max_connections: u64,
    /// 0 is no limit.
    max_per_address: u64,
    connections: AtomicU64,
    addresses: Mutex<HashMap<IpAddr, u64>>,
    /// Each connection begins with a PROXY header.
    has_proxy_headers: bool,
    pub trusted_proxies: TrustedProxies,
}

impl Admission {
    pub(crate) fn new(options: &Options) -> Result<Self, ServerError> {
        Ok(Self {
            max_connections: options.max_connections,
            max_per_address: options.max_connections_per_ip,
            connections: AtomicU64::new(0),
            addresses: Mutex::default(),
            has_proxy_headers: options.proxy_protocol,
            trusted_proxies: TrustedProxies::new(&options.trusted_proxies)?,
        })
    }

    /// Whether connections of this peer are served at all: not if a PROXY header of others is not believed.
    pub(crate) fn may_connect(&self, peer: &Peer) -> bool {
        let trusted = &self.trusted_proxies;
        !self.has_proxy_headers || trusted.is_empty() || trusted.trusts(peer)
    }

    /// Counts a connection against the limits, or says how it is refused.
    pub(crate) fn admit(&self, peer: &Peer) -> Result<(), Refusal> {
        let max = self.max_connections;
        let one_more = |count| (max == 0 || count < max).then_some(count + 1);
        let counted = self
            .connections
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more);
        if counted.is_err() {
            return Err(Refusal::unavailable());
        }
        let counted = match self.address_of_connection(peer) {
            Some(address) => self.count_address(address),
            None => Ok(()),
        };
        if counted.is_err() {
            self.connections.fetch_sub(1, Ordering::AcqRel);
        }
        counted
    }

    /// The address for which a connection counts as soon as it is accepted.
    pub(crate) fn address_of_connection(&self, peer: &Peer) -> Option<IpAddr> {
        self.address_of_client(peer)
            .filter(|_| !self.has_proxy_headers)
    }

    /// The address that counts against MAX_CONNECTIONS_PER_IP, if there is such a limit. A trusted proxy's does not.
    pub(crate) fn address_of_client(&self, client: &Peer) -> Option<IpAddr> {
        client
            .ip()
            .filter(|_| self.max_per_address > 0 && !self.trusted_proxies.trusts(client))
            .map(counted_as)
    }

    /// Counts one more connection for an address, or says how it is refused.
    pub(crate) fn count_address(&self, address: IpAddr) -> Result<(), Refusal> {
        let mut addresses = locks::lock(&self.addresses);
        let count = addresses.entry(address).or_default();
        if *count >= self.max_per_address {
            return Err(Refusal::too_many_connections());
        }
        *count += 1;
        Ok(())
    }

    /// Uncounts a connection that was admitted, and the address that it counted for.
    pub(crate) fn leave(&self, admitted: bool, address: Option<IpAddr>) {
        if admitted {
            self.connections.fetch_sub(1, Ordering::AcqRel);
        }
        if let Some(address) = address {
            self.uncount_address(address);
        }
    }

    pub(crate) fn uncount_address(&self, ip: IpAddr) {
        let mut addresses = locks::lock(&self.addresses);
        if let Some(count) = addresses.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&ip);
            }
        }
    }
}

/// Under which address a client counts. Who has one IPv6 address mostly has all of its /64 (RFC 4291
/// section 2.5.1), so that counts as one.
fn counted_as(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => {
            let network = ip.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_network_of_64_bits_counts_as_one_address() {
        let counted = |text: &str| counted_as(text.parse().unwrap());
        for (one, other, same) in [
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
            ("2001:db8:1:2::1", "2001:db9:1:2::1", false),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("0.0.0.1", "::1", false),
        ] {
            assert_eq!(counted(one) == counted(other), same, "{one} {other}");
        }
    }
}
