//! The steps of one connection: resolve a name, connect to one of its addresses, ask the proxy for a tunnel.

use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::negotiation::Negotiation;
use super::race::Race;
use super::resolver::{Answer, Resolver};
use super::route::{ConnectError, Remote, Route, authority};
use crate::net::{Outgoing, Peer, Signal, Socket};

/// How long after a Unix socket's queue was full it is tried again.
const UNIX_RETRY: Duration = Duration::from_millis(20);

/// What std puts before the reason why a name was not found.
const LOOKUP_PREFIX: &str = "failed to lookup address information: ";

/// A connection that is under way.
pub(super) struct Attempt {
    route: Route,
    deadline: Instant,
    step: Step,
}

enum Step {
    Resolving(Arc<Answer>),
    Racing(Race),
    /// Waiting until there is room in a Unix socket's queue, which is looked for at this time.
    Queueing(Instant),
    Negotiating(Outgoing, Peer, Negotiation),
    Ended,
}

impl Attempt {
    /// Begins. The signal is given when there is something to do that has no socket.
    pub(super) fn new(
        route: Route,
        deadline: Instant,
        resolver: &'static Resolver,
        signal: &Arc<Signal>,
        now: Instant,
    ) -> Result<Self, ConnectError> {
        let step = match dialled(&route) {
            None => Step::Queueing(now),
            Some((name, port)) => match name.parse::<IpAddr>() {
                Ok(ip) => Step::Racing(Race::new(&[SocketAddr::new(ip, port)], now)),
                Err(_) => Step::Resolving(resolver.ask(name, port, signal)?),
            },
        };
        Ok(Self {
            route,
            deadline,
            step,
        })
    }

    /// Does what is possible now. Afterwards it has ended, unless it is pending.
    pub(super) fn advance(&mut self, now: Instant) -> Poll<Result<(Socket, Peer), ConnectError>> {
        loop {
            let result = match mem::replace(&mut self.step, Step::Ended) {
                Step::Resolving(answer) => match answer.take() {
                    None => return self.wait(Step::Resolving(answer), now),
                    Some(addresses) => self.resolved(addresses, now),
                },
                Step::Racing(mut race) => match race.advance(now) {
                    Poll::Pending => return self.wait(Step::Racing(race), now),
                    Poll::Ready(Some((socket, peer))) => match self.negotiation() {
                        Ok(None) => return Poll::Ready(Ok((Socket::connected(socket), peer))),
                        Ok(Some(negotiation)) => Ok(Step::Negotiating(socket, peer, negotiation)),
                        Err(error) => Err(self.by_proxy(error)),
                    },
                    Poll::Ready(None) => Err(self.all_failed(&race)),
                },
                Step::Queueing(next) if now < next => {
                    return self.wait(Step::Queueing(next), now);
                }
                Step::Queueing(_) => match Outgoing::to_unix(self.path()) {
                    Ok(socket) => return Poll::Ready(Ok((Socket::connected(socket), Peer::Unix))),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        Ok(Step::Queueing(now + UNIX_RETRY))
                    }
                    Err(error) => Err(ConnectError::new(
                        error.kind(),
                        format!("cannot connect to {}: {error}", self.path().display()),
                    )),
                },
                Step::Negotiating(socket, peer, mut negotiation) => {
                    match negotiation.advance(&socket) {
                        Ok(()) => return Poll::Ready(Ok((Socket::connected(socket), peer))),
                        Err(error) if error.kind == io::ErrorKind::WouldBlock => {
                            return self.wait(Step::Negotiating(socket, peer, negotiation), now);
                        }
                        Err(error) => Err(self.by_proxy(error)),
                    }
                }
                Step::Ended => return Poll::Pending,
            };
            match result {
                Ok(step) => self.step = step,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Returns the sockets that are to be waited for.
    pub(super) fn sockets(&self) -> impl Iterator<Item = &Outgoing> + Clone {
        let (race, one) = match &self.step {
            Step::Racing(race) => (Some(race), None),
            Step::Negotiating(socket, ..) => (None, Some(socket)),
            Step::Resolving(_) | Step::Queueing(_) | Step::Ended => (None, None),
        };
        race.into_iter().flat_map(Race::sockets).chain(one)
    }

    /// Returns when there is something to do, whatever the sockets do.
    pub(super) fn next_at(&self) -> Instant {
        let next = match &self.step {
            Step::Racing(race) => race.next_at(),
            Step::Queueing(next) => Some(*next),
            Step::Resolving(_) | Step::Negotiating(..) | Step::Ended => None,
        };
        next.map_or(self.deadline, |next| next.min(self.deadline))
    }

    /// Stays at a step, unless the time is over.
    fn wait(&mut self, step: Step, now: Instant) -> Poll<Result<(Socket, Peer), ConnectError>> {
        if now < self.deadline {
            self.step = step;
            return Poll::Pending;
        }
        let (host, subject) = (self.host(), self.subject());
        let why = match &step {
            Step::Resolving(_) => format!("the name {host} is being resolved"),
            Step::Racing(race) => format!("{subject}{race}"),
            Step::Queueing(_) => format!("the queue of {} is full", self.path().display()),
            Step::Negotiating(..) | Step::Ended => format!("{subject}no answer"),
        };
        let message = format!("timed out: {why}");
        Poll::Ready(Err(ConnectError::new(io::ErrorKind::TimedOut, message)))
    }

    fn resolved(
        &self,
        addresses: io::Result<Vec<SocketAddr>>,
        now: Instant,
    ) -> Result<Step, ConnectError> {
        let why = match addresses {
            Ok(addresses) if !addresses.is_empty() => {
                return Ok(Step::Racing(Race::new(&addresses, now)));
            }
            Ok(_) => "it has no address".to_owned(),
            Err(error) => error.to_string(),
        };
        let why = why.strip_prefix(LOOKUP_PREFIX).unwrap_or(&why);
        let message = format!("name not found: {}: {why}", self.host());
        Err(ConnectError::new(io::ErrorKind::NotFound, message))
    }

    /// Returns what is to be said to the proxy, if there is one.
    fn negotiation(&self) -> Result<Option<Negotiation>, ConnectError> {
        match (&self.route.proxy, &self.route.remote) {
            (Some(proxy), Remote::Host { name, port }) => {
                Negotiation::new(proxy, name, *port).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn all_failed(&self, race: &Race) -> ConnectError {
        let message = format!("cannot connect to {}{race}", self.subject());
        ConnectError::new(race.error_kind(), message)
    }

    fn by_proxy(&self, error: ConnectError) -> ConnectError {
        ConnectError {
            message: format!("{}{}", self.subject(), error.message),
            ..error
        }
    }

    /// Says whose addresses, or whose answer, a message is about.
    fn subject(&self) -> String {
        match (&self.route.proxy, dialled(&self.route)) {
            (Some(_), Some((host, port))) => format!("the proxy {}: ", authority(host, port)),
            (None, Some((host, _))) if host.parse::<IpAddr>().is_err() => format!("{host}: "),
            _ => String::new(),
        }
    }

    fn host(&self) -> &str {
        dialled(&self.route).map_or("", |(host, _)| host)
    }

    fn path(&self) -> &Path {
        match &self.route.remote {
            Remote::Unix(path) => path,
            Remote::Host { .. } => Path::new(""),
        }
    }
}

/// Returns the host and the port to which the connection is made; None for a Unix socket.
fn dialled(route: &Route) -> Option<(&str, u16)> {
    match (&route.remote, &route.proxy) {
        (Remote::Unix(_), _) => None,
        (Remote::Host { .. }, Some(proxy)) => Some((proxy.host(), proxy.port())),
        (Remote::Host { name, port }, None) => Some((name, *port)),
    }
}
