//! Whole connections on loopback, and what the tests of their steps share.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use super::resolver::{Lookup, Resolver, system_lookup};
use super::route::{ConnectError, Remote, Route};
use super::thread::{Connecting, Connector};
use super::{Proxy, connect};
use crate::locks;
use crate::net::{Outgoing, Peer, PollSet, Readiness, Signal, Socket, wait_for_outgoing};

pub(super) const DEADLINE: Duration = Duration::from_secs(20);

/// An address at which nobody listens. Its port is taken, so that nobody else gets it.
pub(super) struct Refusing {
    pub address: SocketAddr,
    _socket: socket2::Socket,
}

impl Refusing {
    pub(super) fn new() -> Self {
        let (socket, address) = bound();
        Self {
            address,
            _socket: socket,
        }
    }
}

/// Returns a socket with a port of its own that does not listen.
fn bound() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(&any.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// A listener that does not answer: its queue is full, so Linux drops what wants to connect.
pub(super) struct Silent {
    listener: TcpListener,
    pub address: SocketAddr,
    _queued: TcpStream,
}

impl Silent {
    pub(super) fn new() -> Self {
        let (socket, address) = bound();
        socket.listen(0).unwrap();
        let listener = TcpListener::from(socket);
        let queued = TcpStream::connect(address).unwrap();
        // Its queue has one place, which is taken when there is something to accept.
        wait_readable(&listener);
        Self {
            listener,
            address,
            _queued: queued,
        }
    }

    /// Makes room: what is sent again by those who wait is answered.
    pub(super) fn accept_all(&self) {
        self.listener.accept().unwrap();
    }
}

fn wait_readable(descriptor: &impl AsRawFd) {
    let mut set = PollSet::default();
    set.add(descriptor.as_raw_fd());
    let deadline = Instant::now() + DEADLINE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match set.wait(Some(left)).unwrap() {
            Readiness::Ready => return,
            Readiness::Interrupted => (),
            Readiness::TimedOut => panic!("nothing arrives"),
        }
    }
}

/// Returns a connection that has been made, and its other end.
pub(super) fn pair() -> (Outgoing, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let outgoing = Outgoing::to_inet(listener.local_addr().unwrap()).unwrap();
    finish(&outgoing, || {
        outgoing.connected().map_err(ConnectError::from)
    })
    .unwrap();
    let (other, _) = listener.accept().unwrap();
    other.set_nodelay(true).unwrap();
    other.set_read_timeout(Some(DEADLINE)).unwrap();
    (outgoing, other)
}

/// Repeats an operation until it does not ask to wait.
pub(super) fn finish<T>(
    outgoing: &Outgoing,
    mut what: impl FnMut() -> Result<T, ConnectError>,
) -> Result<T, ConnectError> {
    let never = Signal::semaphore().unwrap();
    let deadline = Instant::now() + DEADLINE;
    loop {
        match what() {
            Err(error) if error.kind == io::ErrorKind::WouldBlock => (),
            result => return result,
        }
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "still waiting");
        wait_for_outgoing(&never, [outgoing].into_iter(), left).unwrap();
    }
}

/// Reads up to an empty line.
pub(super) fn read_head(from: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        from.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

// ---- whole connections ----

type Outcome = Result<(Socket, Peer), ConnectError>;

/// A connector with its own thread and its own way to resolve names.
fn connector(lookup: &'static Lookup) -> &'static Connector {
    Box::leak(Box::new(Connector::new(Resolver::new(lookup))))
}

fn own_connector() -> &'static Connector {
    connector(&system_lookup)
}

/// Begins to connect. The thread's number comes with the outcome.
fn begin(
    connector: &'static Connector,
    route: Route,
    deadline: Instant,
) -> (Connecting, Receiver<(Outcome, PathBuf)>) {
    let (sender, receiver) = mpsc::sync_channel(1);
    let report = move |outcome| {
        let thread = fs::read_link("/proc/thread-self").unwrap();
        sender.send((outcome, thread)).unwrap();
    };
    let connecting = connector.connect(route, deadline, Box::new(report));
    (connecting.unwrap(), receiver)
}

/// Connects, and returns the outcome.
fn outcome(connector: &'static Connector, route: Route, deadline: Duration) -> Outcome {
    let (_connecting, receiver) = begin(connector, route, Instant::now() + deadline);
    receiver.recv_timeout(DEADLINE).expect("a report").0
}

fn to(name: &str, port: u16) -> Route {
    Route {
        remote: Remote::Host {
            name: name.into(),
            port,
        },
        proxy: None,
    }
}

fn to_address(address: SocketAddr) -> Route {
    to(&address.ip().to_string(), address.port())
}

fn through(proxy: &str) -> Route {
    Route {
        proxy: Some(Proxy::parse(proxy).unwrap()),
        ..to("example.org", 443)
    }
}

/// A Unix socket's path that is removed at the end.
struct SocketPath(PathBuf);

impl SocketPath {
    fn new(name: &str) -> Self {
        let name = format!("portal-connect-{}-{name}.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_file(&path);
        Self(path)
    }

    fn route(&self) -> Route {
        Route {
            remote: Remote::Unix(self.0.clone()),
            proxy: None,
        }
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Waits until the other end has closed its connection.
fn expect_end(mut stream: impl Read) {
    let mut bytes = [0; 64];
    while let Ok(1..) = stream.read(&mut bytes) {}
    match stream.read(&mut bytes) {
        Ok(0) => (),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => (),
        result => panic!("not closed: {result:?}"),
    }
}

fn accept(listener: &TcpListener) -> TcpStream {
    wait_readable(listener);
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

#[test]
fn a_numeric_address_is_connected_to_and_the_socket_ends_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = mpsc::sync_channel(1);
    let report = Box::new(move |outcome| sender.send(outcome).unwrap());
    let deadline = Instant::now() + DEADLINE;
    let connecting = connect(to_address(address), deadline, report).unwrap();
    let (socket, peer) = receiver.recv_timeout(DEADLINE).unwrap().unwrap();
    assert_eq!(peer, Peer::Inet(address));
    // What has been reported is not given up any more.
    drop(connecting);
    let mut other = accept(&listener);
    socket.leave_with(b"bye");
    let mut received = String::new();
    other.read_to_string(&mut received).unwrap();
    assert_eq!(received, "bye");
}

#[test]
fn a_name_is_resolved_and_connected_to() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (_socket, peer) = outcome(own_connector(), to("localhost", port), DEADLINE).unwrap();
    assert_eq!(
        peer,
        Peer::Inet(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    );
}

#[test]
fn a_port_without_a_listener_is_refused_and_named() {
    let refusing = Refusing::new();
    let address = refusing.address;
    let error = outcome(own_connector(), to_address(address), DEADLINE).unwrap_err();
    assert_eq!(error.kind, io::ErrorKind::ConnectionRefused);
    let expected = format!("cannot connect to {address}: Connection refused");
    assert!(error.message.starts_with(&expected), "{error}");
}

#[test]
fn a_name_that_is_not_found_is_named_with_the_reason() {
    let connector = connector(&|name, _| match name {
        "empty" => Ok(Vec::new()),
        _ => Err(io::Error::other(
            "failed to lookup address information: No such name",
        )),
    });
    let error = outcome(connector, to("nowhere.invalid", 1), DEADLINE).unwrap_err();
    assert_eq!(error.kind, io::ErrorKind::NotFound);
    assert_eq!(
        error.message,
        "name not found: nowhere.invalid: No such name"
    );
    let error = outcome(connector, to("empty", 1), DEADLINE).unwrap_err();
    assert_eq!(error.message, "name not found: empty: it has no address");
}

#[test]
fn when_ipv6_fails_ipv4_is_used() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connector = connector(&|_, port| {
        Ok(vec![
            SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
            SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        ])
    });
    let address = listener.local_addr().unwrap();
    let (_socket, peer) = outcome(connector, to("both", address.port()), DEADLINE).unwrap();
    assert_eq!(peer, Peer::Inet(address));
    drop(listener);
    let error = outcome(connector, to("both", address.port()), DEADLINE).unwrap_err();
    let parts = ["cannot connect to both: ", "[::1]:", "; 127.0.0.1:"];
    assert!(
        parts.iter().all(|part| error.message.contains(part)),
        "{error}"
    );
}

#[test]
fn a_unix_socket_is_connected_to_also_when_its_queue_was_full() {
    let path = SocketPath::new("queue");
    let connector = own_connector();
    let error = outcome(connector, path.route(), DEADLINE).unwrap_err();
    assert_eq!(error.kind, io::ErrorKind::NotFound);
    assert!(
        error.message.contains(&path.0.display().to_string()),
        "{error}"
    );

    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket
        .bind(&socket2::SockAddr::unix(&path.0).unwrap())
        .unwrap();
    socket.listen(0).unwrap();
    let listener = UnixListener::from(std::os::fd::OwnedFd::from(socket));
    let (_socket, peer) = outcome(connector, path.route(), DEADLINE).unwrap();
    assert_eq!(peer, Peer::Unix);

    let short = Duration::from_millis(50);
    let error = outcome(connector, path.route(), short).unwrap_err();
    assert_eq!(error.kind, io::ErrorKind::TimedOut);
    assert!(error.message.contains("the queue of "), "{error}");

    let (_connecting, receiver) = begin(connector, path.route(), Instant::now() + DEADLINE);
    listener.accept().unwrap();
    let (outcome, _) = receiver.recv_timeout(DEADLINE).unwrap();
    assert_eq!(outcome.unwrap().1, Peer::Unix);
}

#[test]
fn an_address_that_does_not_answer_is_named_at_the_deadline() {
    let silent = Silent::new();
    let begun = Instant::now();
    let time = Duration::from_millis(50);
    let error = outcome(own_connector(), to_address(silent.address), time).unwrap_err();
    assert!(begun.elapsed() >= time);
    assert_eq!(error.kind, io::ErrorKind::TimedOut);
    let expected = format!("timed out: {}: no answer", silent.address);
    assert_eq!(error.message, expected);
}

#[test]
fn a_name_that_is_still_being_resolved_is_named_at_the_deadline() {
    let (open, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let connector = connector(Box::leak(Box::new(move |_: &str, _| {
        let _opened = locks::lock(&gate).recv();
        Ok(Vec::new())
    })));
    let time = Duration::from_millis(50);
    let error = outcome(connector, to("example.org", 1), time).unwrap_err();
    assert_eq!(error.kind, io::ErrorKind::TimedOut);
    let expected = "timed out: the name example.org is being resolved";
    assert_eq!(error.message, expected);
    drop(open);
}

#[test]
fn a_deadline_that_is_over_is_reported_and_not_an_error_of_the_call() {
    let silent = Silent::new();
    let error = outcome(own_connector(), to_address(silent.address), Duration::ZERO);
    assert_eq!(error.unwrap_err().kind, io::ErrorKind::TimedOut);
}

#[test]
fn giving_up_closes_the_socket_and_nothing_is_reported() {
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let route = through(&format!("http://{}", proxy.local_addr().unwrap()));
    let (connecting, receiver) = begin(own_connector(), route, Instant::now() + DEADLINE);
    let mut stream = accept(&proxy);
    read_head(&mut stream);
    drop(connecting);
    expect_end(stream);
    assert!(receiver.recv_timeout(DEADLINE).is_err(), "reported");
}

#[test]
fn the_thread_ends_after_the_last_connection_and_another_one_is_started_for_the_next() {
    let connector = own_connector();
    for _ in 0..2 {
        let silent = Silent::new();
        let (kept, _) = begin(
            connector,
            to_address(silent.address),
            Instant::now() + DEADLINE,
        );
        let refusing = Refusing::new();
        let route = to_address(refusing.address);
        let (_connecting, receiver) = begin(connector, route, Instant::now() + DEADLINE);
        let (outcome, thread) = receiver.recv_timeout(DEADLINE).unwrap();
        assert!(outcome.is_err());
        let thread = PathBuf::from("/proc").join(thread);
        let name = fs::read_to_string(thread.join("comm")).unwrap();
        assert_eq!(name, "portal-connect\n");
        drop(kept);
        let deadline = Instant::now() + DEADLINE;
        while thread.exists() {
            assert!(Instant::now() < deadline, "the thread goes on");
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_report_may_connect_again_and_one_that_panics_does_not_harm_others() {
    let connector = own_connector();
    let deadline = Instant::now() + DEADLINE;
    let (sender, receiver) = mpsc::channel();
    let refusing = Refusing::new();
    let address = refusing.address;
    let panics = Box::new(|_: Outcome| panic!("as the test wants it"));
    let first = connector.connect(to_address(address), deadline, panics);
    let report = Box::new(move |_: Outcome| {
        let again = sender.clone();
        let report = Box::new(move |outcome: Outcome| again.send(outcome.is_err()).unwrap());
        let next = connector.connect(to_address(address), deadline, report);
        // Kept until the end of the process, so that it is not given up.
        std::mem::forget(next.unwrap());
    });
    let second = connector.connect(to_address(address), deadline, report);
    assert!(receiver.recv_timeout(DEADLINE).unwrap());
    drop((first, second));
}

#[test]
fn many_connections_are_made_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connector = own_connector();
    let all: Vec<_> = (0..100)
        .map(|_| begin(connector, to_address(address), Instant::now() + DEADLINE))
        .collect();
    for (_, receiver) in &all {
        let (outcome, _) = receiver.recv_timeout(DEADLINE).unwrap();
        assert_eq!(outcome.unwrap().1, Peer::Inet(address));
    }
}

#[test]
fn a_tunnel_of_an_http_proxy_is_a_connection_and_the_proxy_is_its_peer() {
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = proxy.local_addr().unwrap();
    let route = through(&format!("http://user:secret@{address}"));
    let (_connecting, receiver) = begin(own_connector(), route, Instant::now() + DEADLINE);
    let mut stream = accept(&proxy);
    let head = read_head(&mut stream);
    assert!(
        head.starts_with("CONNECT example.org:443 HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(
        head.contains("\r\nProxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n"),
        "{head}"
    );
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    let (outcome, _) = receiver.recv_timeout(DEADLINE).unwrap();
    let (socket, peer) = outcome.unwrap();
    assert_eq!(peer, Peer::Inet(address));
    socket.leave_with(b"through the tunnel");
    let mut received = String::new();
    stream.read_to_string(&mut received).unwrap();
    assert_eq!(received, "through the tunnel");
}

#[test]
fn a_proxy_that_refuses_is_named_with_its_status_and_without_the_password() {
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = proxy.local_addr().unwrap();
    let route = through(&format!("http://user:secret@{address}"));
    let (_connecting, receiver) = begin(own_connector(), route, Instant::now() + DEADLINE);
    let mut stream = accept(&proxy);
    read_head(&mut stream);
    stream.write_all(b"HTTP/1.1 407 No\r\n\r\n").unwrap();
    let (outcome, _) = receiver.recv_timeout(DEADLINE).unwrap();
    let error = outcome.unwrap_err();
    assert_eq!(error.http_status, Some(407));
    assert!(
        error.message.starts_with(&format!("the proxy {address}: ")),
        "{error}"
    );
    assert!(!error.message.contains("secret"), "{error}");
    expect_end(stream);
}

#[test]
fn a_proxy_that_does_not_answer_is_named_at_the_deadline() {
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = proxy.local_addr().unwrap();
    for scheme in ["http", "socks5h"] {
        let route = through(&format!("{scheme}://{address}"));
        let error = outcome(own_connector(), route, Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.kind, io::ErrorKind::TimedOut);
        let expected = format!("timed out: the proxy {address}: no answer");
        assert_eq!(error.message, expected);
    }
}

#[test]
fn a_tunnel_of_a_socks_proxy_gets_the_name_to_resolve() {
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = proxy.local_addr().unwrap();
    let connector = connector(&|name, _| panic!("{name} is not ours to resolve"));
    let route = through(&format!("socks5h://{address}"));
    let (_connecting, receiver) = begin(connector, route, Instant::now() + DEADLINE);
    let mut stream = accept(&proxy);
    stream.read_exact(&mut [0; 3]).unwrap();
    stream.write_all(&[5, 0]).unwrap();
    let mut request = [0; 18];
    stream.read_exact(&mut request).unwrap();
    assert_eq!(&request, b"\x05\x01\x00\x03\x0bexample.org\x01\xbb");
    stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
    let (outcome, _) = receiver.recv_timeout(DEADLINE).unwrap();
    assert_eq!(outcome.unwrap().1, Peer::Inet(address));
}

#[test]
fn a_proxy_that_refuses_connections_is_named() {
    let refusing = Refusing::new();
    let address = refusing.address;
    let route = through(&format!("http://{address}"));
    let error = outcome(own_connector(), route, DEADLINE).unwrap_err();
    assert_eq!(
        (error.http_status, error.kind),
        (None, io::ErrorKind::ConnectionRefused)
    );
    assert!(
        error.message.contains(&format!("the proxy {address}: ")),
        "{error}"
    );
}

#[test]
fn a_name_that_would_forge_a_request_is_not_sent_to_a_proxy() {
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    for name in ["", "a b", "a\r\nX: y", "\u{e9}"] {
        let route = Route {
            remote: Remote::Host {
                name: name.into(),
                port: 1,
            },
            ..through(&format!("http://{}", proxy.local_addr().unwrap()))
        };
        let error = outcome(own_connector(), route, DEADLINE).unwrap_err();
        assert_eq!(error.kind, io::ErrorKind::InvalidInput, "{name:?}");
        expect_end(accept(&proxy));
    }
}
