//! Connecting to the first of several addresses that answers (RFC 8305 section 5).

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::net::{Outgoing, Peer};

/// How long after an address the next one is tried.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Maximum number of addresses that an error names.
const MAX_NAMED: usize = 8;

/// Attempts to connect to the addresses of one host.
pub(super) struct Race {
    waiting: VecDeque<SocketAddr>,
    under_way: Vec<(SocketAddr, Outgoing)>,
    failed: Vec<(SocketAddr, io::Error)>,
    /// When the next address is tried.
    next_at: Instant,
}

impl Race {
    pub(super) fn new(addresses: &[SocketAddr], now: Instant) -> Self {
        Self {
            waiting: interleaved(addresses),
            under_way: Vec::new(),
            failed: Vec::new(),
            next_at: now,
        }
    }

    /// Does what is possible now. Returns the first connection; None when all addresses have failed.
    pub(super) fn advance(&mut self, now: Instant) -> Poll<Option<(Outgoing, Peer)>> {
        loop {
            if let Some(winner) = self.take_winner(now) {
                return Poll::Ready(Some(winner));
            }
            if now < self.next_at && !self.under_way.is_empty() {
                return Poll::Pending;
            }
            let Some(address) = self.waiting.pop_front() else {
                return match self.under_way.is_empty() {
                    true => Poll::Ready(None),
                    false => Poll::Pending,
                };
            };
            match Outgoing::to_inet(address) {
                Ok(outgoing) => {
                    self.under_way.push((address, outgoing));
                    self.next_at = now + ATTEMPT_DELAY;
                }
                Err(error) => self.failed.push((address, error)),
            }
        }
    }

    /// Takes a socket that has connected. After a failure the next address is due at once.
    fn take_winner(&mut self, now: Instant) -> Option<(Outgoing, Peer)> {
        let mut at = 0;
        while let Some((_, outgoing)) = self.under_way.get(at) {
            match outgoing.connected() {
                Ok(peer) => return Some((self.under_way.swap_remove(at).1, peer)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => at += 1,
                Err(error) => {
                    let (address, _) = self.under_way.remove(at);
                    self.failed.push((address, error));
                    self.next_at = now;
                }
            }
        }
        None
    }

    /// Returns the sockets that are to be waited for.
    pub(super) fn sockets(&self) -> impl Iterator<Item = &Outgoing> + Clone {
        self.under_way.iter().map(|(_, outgoing)| outgoing)
    }

    /// Returns when there is something to do, whatever the sockets do.
    pub(super) fn next_at(&self) -> Option<Instant> {
        (!self.waiting.is_empty()).then_some(self.next_at)
    }

    /// Returns the kind of the last error.
    pub(super) fn error_kind(&self) -> io::ErrorKind {
        let last = self.failed.last();
        last.map_or(io::ErrorKind::Other, |(_, error)| error.kind())
    }
}

/// What has become of each address.
impl fmt::Display for Race {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed = self
            .failed
            .iter()
            .map(|(address, error)| (address, Some(error)));
        let silent = self.under_way.iter().map(|(address, _)| (address, None));
        let known = self.failed.len() + self.under_way.len();
        for (at, (address, error)) in failed.chain(silent).take(MAX_NAMED).enumerate() {
            f.write_str(if at == 0 { "" } else { "; " })?;
            match error {
                Some(error) => write!(f, "{address}: {error}")?,
                None => write!(f, "{address}: no answer")?,
            }
        }
        match known.saturating_sub(MAX_NAMED) + self.waiting.len() {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// Alternates the families, beginning with that of the first address (RFC 8305 section 4).
fn interleaved(addresses: &[SocketAddr]) -> VecDeque<SocketAddr> {
    let mut preferred = VecDeque::new();
    let mut others = VecDeque::new();
    for address in addresses {
        let family = match address.is_ipv6() == addresses[0].is_ipv6() {
            true => &mut preferred,
            false => &mut others,
        };
        if !family.contains(address) {
            family.push_back(*address);
        }
    }
    let mut all = VecDeque::new();
    while !preferred.is_empty() || !others.is_empty() {
        all.extend(preferred.pop_front());
        all.extend(others.pop_front());
    }
    all
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::super::tests::{DEADLINE, Refusing, Silent};
    use super::*;
    use crate::net::{Signal, wait_for_outgoing};

    fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// Advances at one moment, as long as sockets make progress.
    fn finish(race: &mut Race, now: Instant) -> Option<(Outgoing, Peer)> {
        let never = Signal::semaphore().unwrap();
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Poll::Ready(result) = race.advance(now) {
                return result;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{race}");
            wait_for_outgoing(&never, race.sockets(), left).unwrap();
        }
    }

    #[test]
    fn families_alternate_and_the_first_address_stays_first() {
        for (given, expected) in [
            (&[][..], &[][..]),
            (
                &["[::1]:1", "[::2]:1", "1.1.1.1:1"],
                &["[::1]:1", "1.1.1.1:1", "[::2]:1"],
            ),
            (
                &["1.1.1.1:1", "1.1.1.2:1", "1.1.1.3:1", "[::1]:1"],
                &["1.1.1.1:1", "[::1]:1", "1.1.1.2:1", "1.1.1.3:1"],
            ),
            (&["[::1]:1", "[::1]:1", "[::2]:1"], &["[::1]:1", "[::2]:1"]),
        ] {
            let given: Vec<SocketAddr> = given.iter().map(|text| text.parse().unwrap()).collect();
            let ordered: Vec<_> = interleaved(&given)
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(ordered, expected);
        }
    }

    #[test]
    fn after_an_address_that_refuses_the_next_is_tried_at_once() {
        let (_listener, good) = listener();
        let refusing = Refusing::new();
        let now = Instant::now();
        let mut race = Race::new(&[refusing.address, good], now);
        let (_, peer) = finish(&mut race, now).expect("a connection");
        assert_eq!(peer, Peer::Inet(good));
        assert_eq!(race.error_kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn after_an_address_that_does_not_answer_the_next_is_tried_a_quarter_of_a_second_later() {
        let silent = Silent::new();
        let (_listener, good) = listener();
        let now = Instant::now();
        let mut race = Race::new(&[silent.address, good], now);
        assert!(race.advance(now).is_pending());
        assert_eq!(race.next_at(), Some(now + ATTEMPT_DELAY));
        assert_eq!(race.sockets().count(), 1);
        let early = now + ATTEMPT_DELAY - Duration::from_nanos(1);
        assert!(race.advance(early).is_pending());
        assert_eq!(race.sockets().count(), 1);
        let (_, peer) = finish(&mut race, now + ATTEMPT_DELAY).expect("a connection");
        assert_eq!(peer, Peer::Inet(good));
    }

    #[test]
    fn an_address_that_was_slow_may_still_win() {
        let silent = [Silent::new(), Silent::new()];
        let now = Instant::now();
        let mut race = Race::new(&[silent[0].address, silent[1].address], now);
        assert!(race.advance(now).is_pending());
        assert!(race.advance(now + ATTEMPT_DELAY).is_pending());
        assert_eq!(race.next_at(), None);
        assert_eq!(race.sockets().count(), 2);
        silent[0].accept_all();
        let (_, peer) = finish(&mut race, now + ATTEMPT_DELAY).expect("a connection");
        assert_eq!(peer, Peer::Inet(silent[0].address));
    }

    #[test]
    fn when_all_fail_each_is_named_with_its_error() {
        let refusing = [Refusing::new(), Refusing::new()];
        let addresses = refusing.each_ref().map(|one| one.address);
        let now = Instant::now();
        let mut race = Race::new(&addresses, now);
        assert!(finish(&mut race, now).is_none());
        assert_eq!(race.error_kind(), io::ErrorKind::ConnectionRefused);
        let text = race.to_string();
        for address in addresses {
            assert!(
                text.contains(&format!("{address}: Connection refused")),
                "{text}"
            );
        }
    }

    #[test]
    fn a_long_list_of_addresses_is_cut() {
        let refusing: Vec<_> = (0..20).map(|_| Refusing::new()).collect();
        let addresses: Vec<SocketAddr> = refusing.iter().map(|one| one.address).collect();
        let now = Instant::now();
        let mut race = Race::new(&addresses, now);
        assert!(finish(&mut race, now).is_none());
        let text = race.to_string();
        assert_eq!(text.matches("refused").count(), MAX_NAMED, "{text}");
        assert!(text.ends_with("; and 12 more"), "{text}");
    }
}
