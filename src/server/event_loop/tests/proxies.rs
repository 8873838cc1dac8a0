//! Clients behind proxies: the PROXY header, and headers of requests.

use super::*;

const HEADER: &str = "PROXY TCP4 192.0.2.1 198.51.100.2 5000 80\r\n";

/// A server that expects a PROXY header, and so many connections of one address at most.
fn proxied(most: u64) -> Server {
    Server::with(|options| {
        options.proxy_protocol = true;
        options.max_connections_per_ip = most;
    })
}

/// The client of the last `upgrade`.
fn client(server: &Server) -> String {
    locks::lock(&server.application.client).clone()
}

/// A handshake that a proxy has forwarded.
fn forwarded(server: &Server, lines: &str) -> String {
    let host = "Host: a\r\n";
    server
        .handshake()
        .replace(host, &format!("{host}{lines}\r\n"))
}

/// Opens a websocket with these first bytes. Returns the response's status.
fn status(server: &Server, bytes: &str) -> (Peer, u16) {
    let peer = server.connect();
    peer.remote.send(bytes.as_bytes());
    server.run();
    let status = peer.status();
    (peer, status)
}

#[test]
fn the_client_is_the_one_of_the_proxy_header_however_it_arrives() {
    let bytes = |server: &Server| format!("{HEADER}{}", server.handshake()).into_bytes();
    let len = bytes(&proxied(0)).len();
    for at in (1..len).step_by(7).chain([HEADER.len(), len - 1]) {
        let server = proxied(0);
        let peer = server.connect();
        let bytes = bytes(&server);
        peer.remote.send(&bytes[..at]);
        server.run();
        peer.remote.send(&bytes[at..]);
        server.run();
        assert_eq!(peer.status(), 101, "split at {at}");
        assert_eq!(client(&server), "192.0.2.1:5000");
    }
}

#[test]
fn an_own_connection_of_the_proxy_keeps_its_address() {
    let server = proxied(0);
    let bytes = format!("PROXY UNKNOWN\r\n{}", server.handshake());
    assert_eq!(status(&server, &bytes).1, 101);
    assert!(client(&server).starts_with("127.0.0.1:"));
}

#[test]
fn a_connection_without_a_proxy_header_ends() {
    let server = proxied(0);
    for bytes in [&server.handshake(), "PROXY TCP4 x\r\n", "\u{16}\u{3}\u{1}"] {
        let peer = server.connect();
        peer.remote.send(bytes.as_bytes());
        server.run();
        assert!(
            peer.remote.is_closed() && peer.bytes().is_empty(),
            "{bytes}"
        );
    }
    let cut = server.connect();
    cut.remote.send(&HEADER.as_bytes()[..20]);
    cut.remote.shutdown_write();
    server.run();
    assert!(cut.remote.is_closed());
    assert_eq!(server.metrics().rejected.load(Ordering::Relaxed), 4);
    // A load balancer sees whether the port is open.
    let check = server.connect();
    check.remote.shutdown_write();
    server.run();
    assert!(check.remote.is_closed());
    assert_eq!(server.metrics().rejected.load(Ordering::Relaxed), 4);
    assert!(server.events().is_empty());
}

#[test]
fn who_sends_no_whole_proxy_header_is_disconnected_in_time() {
    let server = proxied(0);
    let peer = server.connect();
    peer.remote.send(b"PROXY TCP4 ");
    server.pass(9_800);
    assert!(!peer.remote.is_closed());
    server.pass(400);
    assert!(peer.remote.is_closed());
    assert_eq!(
        server.metrics().handshake_timeouts.load(Ordering::Relaxed),
        1
    );
}

#[test]
fn connections_behind_a_proxy_count_for_the_clients_address() {
    let server = proxied(1);
    let bytes = format!("{HEADER}{}", server.handshake());
    let (first, accepted) = status(&server, &bytes);
    let (_second, refused) = status(&server, &bytes);
    let other = bytes.replace("192.0.2.1", "192.0.2.9");
    let (_third, other) = status(&server, &other);
    assert_eq!((accepted, refused, other), (101, 429, 101));

    first.remote.reset();
    server.run();
    assert_eq!(status(&server, &bytes).1, 101);
}

#[test]
fn a_proxy_header_of_somebody_who_is_not_trusted_is_not_read() {
    for (entry, is_served) in [("127.0.0.1", true), ("10.0.0.0/8", false)] {
        let server = Server::with(|options| {
            options.proxy_protocol = true;
            options.trusted_proxies = vec![entry.to_owned()];
        });
        let peer = server.connect();
        peer.remote
            .send(format!("{HEADER}{}", server.handshake()).as_bytes());
        server.run();
        assert_eq!(!peer.remote.is_closed(), is_served, "{entry}");
    }
}

#[test]
fn a_trusted_proxy_names_the_client_of_each_request() {
    let server = Server::with(|options| {
        options.trusted_proxies = vec!["127.0.0.0/8".to_owned()];
        options.max_connections_per_ip = 1;
    });
    let first = forwarded(&server, "X-Forwarded-For: 6.6.6.6, 192.0.2.7");
    let (_first, accepted) = status(&server, &first);
    assert_eq!((accepted, client(&server)), (101, "192.0.2.7".to_owned()));
    assert_eq!(status(&server, &first).1, 429);
    let other = forwarded(&server, "X-Forwarded-For: 192.0.2.8");
    assert_eq!(status(&server, &other).1, 101);
    // The proxy itself may have any number.
    let _peers = [server.open(), server.open(), server.open()];
    assert!(client(&server).starts_with("127.0.0.1:"));
}

#[test]
fn trust_is_tested_on_the_address_of_the_proxy_header() {
    let server = Server::with(|options| {
        options.proxy_protocol = true;
        options.trusted_proxies = vec!["127.0.0.1".to_owned(), "192.0.2.1".to_owned()];
    });
    let request = forwarded(&server, "X-Forwarded-For: 203.0.113.5");
    assert_eq!(status(&server, &format!("{HEADER}{request}")).1, 101);
    assert_eq!(client(&server), "203.0.113.5");
    let other = HEADER.replace("192.0.2.1", "192.0.2.2");
    assert_eq!(status(&server, &format!("{other}{request}")).1, 101);
    assert_eq!(client(&server), "192.0.2.2:5000");
}

#[test]
fn a_connection_counts_for_the_client_of_its_last_request() {
    let server = Server::with(|options| {
        options.trusted_proxies = vec!["127.0.0.1".to_owned()];
        options.max_connections_per_ip = 1;
    });
    let path = format!("{}/page", server.application.path);
    paths::define_page(&path, Page::new("text/plain", b"page").unwrap()).unwrap();
    let get = |client: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {client}\r\n\r\n")
    };
    let (peer, first) = status(&server, &get("192.0.2.7"));
    assert_eq!(first, 200);
    assert_eq!(status(&server, &get("192.0.2.7")).1, 429);
    peer.bytes();
    peer.remote.send(get("192.0.2.8").as_bytes());
    server.run();
    assert_eq!(peer.status(), 200);
    assert_eq!(status(&server, &get("192.0.2.7")).1, 200);
}
