//! Racing the addresses of a name (RFC 8305): the first that connects wins.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::net::os::DialingSocket;

/// The next address is tried after so long (RFC 8305 section 5).
const DELAY: Duration = Duration::from_millis(250);

/// Attempts to connect to the addresses of one name.
pub(super) struct Race {
    waiting: VecDeque<SocketAddr>,
    pub running: Vec<(SocketAddr, DialingSocket)>,
    /// When the next one begins.
    next: Instant,
    failed: Vec<(SocketAddr, io::Error)>,
}

impl Race {
    pub(super) fn new(addresses: Vec<SocketAddr>, now: Instant) -> Self {
        Self {
            waiting: interleave(addresses),
            running: Vec::new(),
            next: now,
            failed: Vec::new(),
        }
    }

    /// Begins with the addresses whose turn has come. Returns false when all have failed.
    pub(super) fn proceed(&mut self, now: Instant) -> bool {
        while self.running.is_empty() || now >= self.next {
            let Some(address) = self.waiting.pop_front() else {
                break;
            };
            match DialingSocket::connect(address) {
                Ok(socket) => {
                    self.running.push((address, socket));
                    self.next = now + DELAY;
                }
                Err(error) => self.failed.push((address, error)),
            }
        }
        !self.running.is_empty()
    }

    /// Looks at the sockets that are `ready`, in the order of `running`. Returns the one that has connected.
    pub(super) fn take_winner(&mut self, ready: &[bool]) -> Option<DialingSocket> {
        let mut winner = None;
        let mut ready = ready.iter();
        let running = std::mem::take(&mut self.running);
        for (address, socket) in running {
            let is_ready = ready.next().is_some_and(|ready| *ready);
            match is_ready.then(|| socket.outcome()) {
                None => self.running.push((address, socket)),
                Some(Ok(())) => winner = winner.or(Some(socket)),
                Some(Err(error)) => self.failed.push((address, error)),
            }
        }
        winner
    }

    /// Returns when the next address is to be tried; None when there is none.
    pub(super) fn next(&self) -> Option<Instant> {
        (!self.waiting.is_empty()).then_some(self.next)
    }

    /// Returns why each address has failed, and the first error.
    pub(super) fn failure(&self) -> (String, io::Error) {
        let each = self.failed.iter();
        let texts: Vec<String> = each
            .map(|(address, error)| format!("{address}: {error}"))
            .collect();
        let kind = self
            .failed
            .first()
            .map_or(io::ErrorKind::NotFound, |(_, error)| error.kind());
        (texts.join("; "), kind.into())
    }

    /// Returns the addresses that have not answered.
    pub(super) fn silent(&self) -> String {
        let addresses: Vec<String> = self
            .running
            .iter()
            .map(|(address, _)| address.to_string())
            .collect();
        addresses.join(", ")
    }
}

/// Lets the two families take turns, beginning with the first address's (RFC 8305 section 4).
fn interleave(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut ones, mut others): (VecDeque<_>, VecDeque<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == first_is_v6);
    let mut order = VecDeque::new();
    while let Some(one) = ones.pop_front() {
        order.push_back(one);
        order.extend(others.pop_front());
    }
    order.append(&mut others);
    let mut unique = VecDeque::new();
    for address in order {
        if !unique.contains(&address) {
            unique.push_back(address);
        }
    }
    unique
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_families_take_turns_8305_4() {
        let order = |texts: &[&str]| {
            let addresses = texts.iter().map(|text| text.parse().expect("an address"));
            interleave(addresses.collect())
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            order(&["[::1]:1", "[::2]:1", "[::3]:1", "10.0.0.1:1", "10.0.0.2:1"]),
            ["[::1]:1", "10.0.0.1:1", "[::2]:1", "10.0.0.2:1", "[::3]:1"]
        );
        assert_eq!(
            order(&["10.0.0.1:1", "10.0.0.1:1", "[::1]:1"]),
            ["10.0.0.1:1", "[::1]:1"]
        );
        assert!(order(&[]).is_empty());
    }
}
