//! The thread that makes connections: it runs as long as there is one to make.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::error::ConnectError;
use super::http_proxy::{self, Response};
use super::proxy::Proxy;
use super::race::Race;
use super::remote::Remote;
use super::resolver::{self, Answer};
use super::route::Route;
use super::socks5::{Conversation, Next};

use crate::locks;
use crate::net::address::Peer;
use crate::net::os::{Awaited, DialingSocket, Signal, Socket, process, wait_for_any};

/// Told once how it went; it must not wait.
pub(super) type Report = Box<dyn FnOnce(Result<(Socket, Peer), ConnectError>) + Send>;

/// A connection that is to be made.
pub(super) struct Job {
    pub route: Route,
    pub deadline: Instant,
    pub report: Report,
    /// It is done, or given up.
    pub is_over: Arc<AtomicBool>,
}

#[derive(Default)]
struct Shared {
    added: Vec<Job>,
    /// Of the thread that runs.
    signal: Option<Arc<Signal>>,
}

static SHARED: Mutex<Shared> = Mutex::new(Shared {
    added: Vec::new(),
    signal: None,
});

/// Adds a connection, and starts the thread if it does not run.
pub(super) fn add(job: Job) -> io::Result<()> {
    let mut shared = locks::lock(&SHARED);
    if let Some(signal) = &shared.signal {
        signal.give();
    } else {
        let signal = Arc::new(Signal::semaphore()?);
        let own = Arc::clone(&signal);
        let builder = std::thread::Builder::new().name("portal-connect".to_owned());
        process::with_signals_blocked(|| builder.spawn(move || run(&own)))?;
        shared.signal = Some(signal);
    }
    shared.added.push(job);
    Ok(())
}

/// Lets the thread look at what has changed.
pub(super) fn wake() {
    if let Some(signal) = &locks::lock(&SHARED).signal {
        signal.give();
    }
}

fn run(signal: &Signal) {
    let _ours = process::Uncancelled::begin();
    let mut attempts: Vec<Attempt> = Vec::new();
    loop {
        {
            let mut shared = locks::lock(&SHARED);
            attempts.extend(shared.added.drain(..).map(Attempt::begin));
            if attempts.is_empty() {
                shared.signal = None;
                return;
            }
        }
        let now = Instant::now();
        attempts.retain_mut(|attempt| attempt.proceed(now));
        if attempts.is_empty() {
            continue;
        }
        let sockets: Vec<_> = attempts.iter().flat_map(Attempt::sockets).collect();
        let next = attempts.iter().map(Attempt::next).min();
        let timeout = next.map(|next| next.saturating_duration_since(now));
        let ready = wait_for_any(&sockets, signal, timeout);
        while signal.take() {}
        let Ok(ready) = ready else {
            // Without memory for the wait: the next one may have it.
            std::thread::sleep(Duration::from_millis(10));
            continue;
        };
        let mut ready = &ready[..];
        for attempt in &mut attempts {
            let (own, rest) = ready.split_at(attempt.sockets().count());
            attempt.note(own);
            ready = rest;
        }
    }
}

/// A connection that is being made.
struct Attempt {
    route: Route,
    deadline: Instant,
    report: Option<Report>,
    is_over: Arc<AtomicBool>,
    stage: Stage,
}

enum Stage {
    /// A name is being resolved.
    Resolving(Answer),
    Racing(Race),
    Unix(DialingSocket),
    /// A proxy is being talked to.
    Proxy(DialingSocket, Talk),
    Done(Result<(Socket, Peer), ConnectError>),
}

/// A conversation with a proxy.
struct Talk {
    unsent: Vec<u8>,
    with: Partner,
}

enum Partner {
    Http(Response),
    Socks5(Conversation),
}

impl Attempt {
    fn begin(job: Job) -> Self {
        let Job {
            route,
            deadline,
            report,
            is_over,
        } = job;
        Self {
            stage: begin(&route),
            route,
            deadline,
            report: Some(report),
            is_over,
        }
    }

    /// Goes on as far as possible without waiting. Returns false when it is over.
    fn proceed(&mut self, now: Instant) -> bool {
        if self.is_over.load(Ordering::Acquire) {
            return false;
        }
        let found = match &self.stage {
            Stage::Resolving(answer) => locks::lock(answer).take(),
            _ => None,
        };
        if let Some(found) = found {
            self.stage = resolved(&self.route, found, now);
        }
        if let Stage::Racing(race) = &mut self.stage
            && !race.proceed(now)
        {
            let (text, error) = race.failure();
            let message = format!("cannot connect to {}: {text}", place(&self.route));
            self.stage = Stage::Done(Err(ConnectError::new(message, &error)));
        }
        if now >= self.deadline && !matches!(self.stage, Stage::Done(_)) {
            self.stage = Stage::Done(Err(self.timed_out()));
        }
        match std::mem::replace(&mut self.stage, Stage::Done(Err(given_up()))) {
            Stage::Done(result) => {
                // Whoever gives up at the same time does not want to know any more.
                if !self.is_over.swap(true, Ordering::AcqRel)
                    && let Some(report) = self.report.take()
                {
                    report(result);
                }
                false
            }
            stage => {
                self.stage = stage;
                true
            }
        }
    }

    fn timed_out(&self) -> ConnectError {
        let place = place(&self.route);
        let what = match &self.stage {
            Stage::Resolving(_) => format!("the name of {place} is being resolved"),
            Stage::Racing(race) => format!("no answer from {}", race.silent()),
            Stage::Unix(_) | Stage::Done(_) => format!("no answer from {place}"),
            Stage::Proxy(..) => format!("no answer from the proxy {place}"),
        };
        ConnectError::new(
            format!("timed out: {what}"),
            &io::ErrorKind::TimedOut.into(),
        )
    }

    /// When something is to be done at the latest.
    fn next(&self) -> Instant {
        let next = match &self.stage {
            Stage::Racing(race) => race.next(),
            _ => None,
        };
        next.map_or(self.deadline, |next| next.min(self.deadline))
    }

    fn sockets(&self) -> impl Iterator<Item = (&DialingSocket, Awaited)> {
        let (one, many) = match &self.stage {
            Stage::Resolving(_) | Stage::Done(_) => (None, &[][..]),
            Stage::Racing(race) => (None, &race.running[..]),
            Stage::Unix(socket) => (Some((socket, Awaited::Writable)), &[][..]),
            Stage::Proxy(socket, talk) => {
                let awaited = match talk.unsent.is_empty() {
                    true => Awaited::Readable,
                    false => Awaited::Writable,
                };
                (Some((socket, awaited)), &[][..])
            }
        };
        let many = many.iter().map(|(_, socket)| (socket, Awaited::Writable));
        one.into_iter().chain(many)
    }

    /// Notes which of its sockets are as awaited.
    fn note(&mut self, ready: &[bool]) {
        if !ready.contains(&true) {
            return;
        }
        let route = &self.route;
        match &mut self.stage {
            Stage::Racing(race) => {
                if let Some(socket) = race.take_winner(ready) {
                    self.stage = connected(route, socket);
                }
            }
            Stage::Unix(socket) => {
                if let Err(error) = socket.outcome() {
                    self.stage = failed(route, &error);
                } else {
                    self.finish();
                }
            }
            Stage::Proxy(socket, talk) => match talk.go_on(socket) {
                Ok(true) => self.finish(),
                Ok(false) => (),
                Err(error) => self.stage = Stage::Done(Err(error)),
            },
            Stage::Resolving(_) | Stage::Done(_) => (),
        }
    }

    /// The connection is made.
    fn finish(&mut self) {
        let stage = std::mem::replace(&mut self.stage, Stage::Done(Err(given_up())));
        self.stage = match stage {
            Stage::Unix(socket) | Stage::Proxy(socket, _) => finish(&self.route, socket),
            stage => stage,
        };
    }
}

impl Talk {
    /// Sends and reads what it can. Returns true when the tunnel is there.
    fn go_on(&mut self, socket: &DialingSocket) -> Result<bool, ConnectError> {
        let lost =
            |error: io::Error| ConnectError::new(format!("the proxy failed: {error}"), &error);
        if !self.unsent.is_empty() {
            let sent = or_nothing(socket.send(&self.unsent)).map_err(lost)?;
            self.unsent.drain(..sent.unwrap_or(0));
            return Ok(false);
        }
        let mut buffer = [0; 4096];
        // What follows the answer belongs to the tunnel, and must stay where it is.
        let most = match &self.with {
            Partner::Http(_) => buffer.len(),
            Partner::Socks5(conversation) => conversation.missing().min(buffer.len()),
        };
        let Some(count) = or_nothing(socket.peek(&mut buffer[..most])).map_err(lost)? else {
            return Ok(false);
        };
        if count == 0 {
            let error = io::ErrorKind::UnexpectedEof.into();
            let message = "the proxy ended the connection";
            return Err(ConnectError::new(message, &error));
        }
        let (taken, next) = match &mut self.with {
            Partner::Http(response) => {
                let (taken, is_complete) = response.read(&buffer[..count])?;
                let next = if is_complete {
                    Next::Connected
                } else {
                    Next::Wait
                };
                (taken, next)
            }
            Partner::Socks5(conversation) => (count, conversation.read(&buffer[..count])?),
        };
        // It is there: it was just looked at.
        socket.receive(&mut buffer[..taken]).map_err(lost)?;
        match next {
            Next::Wait => Ok(false),
            Next::Connected => Ok(true),
            Next::Send(bytes) => {
                self.unsent = bytes;
                Ok(false)
            }
        }
    }
}

/// None: not now.
fn or_nothing(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Begins with the way to the first server: the remote, or the proxy.
fn begin(route: &Route) -> Stage {
    if let Remote::Unix(path) = &route.remote {
        return begin_unix(route, path);
    }
    let Some((host, port)) = first_host(route) else {
        return failed(route, &io::ErrorKind::InvalidInput.into());
    };
    if let Ok(address) = host.parse::<IpAddr>() {
        let address = SocketAddr::new(address, port);
        return Stage::Racing(Race::new(vec![address], Instant::now()));
    }
    match resolver::resolve(host, port, wake) {
        Ok(answer) => Stage::Resolving(answer),
        Err(error) => failed(route, &error),
    }
}

fn begin_unix(route: &Route, path: &Path) -> Stage {
    match DialingSocket::connect_unix(path) {
        Ok(socket) => Stage::Unix(socket),
        Err(error) => failed(route, &error),
    }
}

fn first_host(route: &Route) -> Option<(&str, u16)> {
    match (&route.proxy, &route.remote) {
        (Some(proxy), _) => Some(proxy.place()),
        (None, Remote::Host { name, port }) => Some((name, *port)),
        (None, Remote::Unix(_)) => None,
    }
}

/// Returns the first server as people know it.
fn place(route: &Route) -> String {
    match &route.proxy {
        Some(proxy) => {
            let (host, port) = proxy.place();
            format!("{host}:{port}")
        }
        None => route.remote.to_string(),
    }
}

fn resolved(route: &Route, found: io::Result<Vec<SocketAddr>>, now: Instant) -> Stage {
    match found {
        Ok(addresses) if !addresses.is_empty() => Stage::Racing(Race::new(addresses, now)),
        Ok(_) => {
            let message = format!("name not found: {} has no address", place(route));
            Stage::Done(Err(ConnectError::new(
                message,
                &io::ErrorKind::NotFound.into(),
            )))
        }
        Err(error) => {
            let message = format!("name not found: {}: {error}", place(route));
            Stage::Done(Err(ConnectError::new(message, &error)))
        }
    }
}

/// The socket to the first server is there.
fn connected(route: &Route, socket: DialingSocket) -> Stage {
    let Some(proxy) = &route.proxy else {
        return finish(route, socket);
    };
    let talk = match proxy {
        Proxy::Http { authorization, .. } => Talk {
            unsent: http_proxy::request(&route.remote, authorization.as_deref()),
            with: Partner::Http(Response::default()),
        },
        Proxy::Socks5 { user, .. } => {
            let (conversation, first) = Conversation::begin(&route.remote, user.as_ref());
            Talk {
                unsent: first,
                with: Partner::Socks5(conversation),
            }
        }
    };
    Stage::Proxy(socket, talk)
}

fn finish(route: &Route, socket: DialingSocket) -> Stage {
    match socket.finish() {
        Ok((socket, peer)) => Stage::Done(Ok((Socket::System(socket), peer))),
        Err(error) => failed(route, &error),
    }
}

fn failed(route: &Route, error: &io::Error) -> Stage {
    let message = format!("cannot connect to {}: {error}", place(route));
    Stage::Done(Err(ConnectError::new(message, error)))
}

fn given_up() -> ConnectError {
    ConnectError::new("given up", &io::ErrorKind::Interrupted.into())
}
