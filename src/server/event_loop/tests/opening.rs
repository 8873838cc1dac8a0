//! From the request to `connect`.

use super::*;

#[test]
fn a_request_is_processed_when_it_is_complete() {
    let server = Server::new();
    let peer = server.connect();
    let request = server.handshake();
    let (last, most) = request.as_bytes().split_last().unwrap();
    for byte in most {
        peer.remote.send(&[*byte]);
        server.run();
    }
    assert_eq!((server.phase(), peer.bytes().len()), (Phase::Opening, 0));
    peer.remote.send(&[*last]);
    server.run();
    assert_eq!((server.phase(), peer.status()), (Phase::Open, 101));
    assert_eq!(server.events(), ["upgrade", "connect"]);
}

#[test]
fn messages_may_arrive_with_the_request() {
    let server = Server::new();
    let peer = server.connect();
    let frames = [frame(1, b"one"), frame(1, b"two")].concat();
    let all = [server.handshake().as_bytes(), &frames].concat();
    peer.remote.send(&all);
    server.run();
    let events = server.events();
    assert_eq!(events, ["upgrade", "connect", "text one", "text two"]);
}

#[test]
fn what_connect_sends_follows_the_response() {
    let server = Server::new();
    server.on_do(EventKind::Connect, |websocket| {
        send(websocket, "welcome").unwrap();
        ping(websocket, b"p").unwrap();
    });
    let peer = server.open();
    assert_eq!(peer.all_frames(), ["ping p", "text welcome"]);
}

#[test]
fn inside_upgrade_only_abort_is_possible() {
    let server = Server::new();
    server.on(EventKind::Upgrade, |websocket| {
        assert_eq!(send(websocket, "too early"), Err(ServerError::Busy));
        assert_eq!(ping(websocket, b""), Err(ServerError::Busy));
        assert_eq!(close(websocket, 1000, ""), Err(ServerError::Busy));
        assert_eq!(sending::flush(websocket), Err(ServerError::Busy));
        0
    });
    let peer = server.open();
    assert!(peer.all_frames().is_empty());
}

#[test]
fn a_refused_request_gets_a_response_and_no_callback() {
    for (request, status) in [
        (handshake("/nowhere"), 404),
        (handshake("/nowhere").replace("GET", "POST"), 404),
        ("nonsense\r\n\r\n".to_owned(), 400),
        (format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(20_000)), 431),
    ] {
        let server = Server::new();
        let peer = server.connect();
        peer.remote.send(request.as_bytes());
        server.run();
        assert_eq!((peer.status(), server.phase()), (status, Phase::Lingering));
        assert!(peer.remote.is_shut_down() && !peer.remote.is_closed());
        peer.remote.shutdown_write();
        server.run();
        assert_eq!(server.phase(), Phase::Free);
        assert!(peer.remote.is_closed() && server.events().is_empty());
        assert_eq!(server.metrics().rejected.load(Ordering::Relaxed), 1);
    }
}

#[test]
fn a_header_is_refused_as_soon_as_it_exceeds_the_limit() {
    let server = Server::with(|options| options.max_header_size = 200);
    let peer = server.connect();
    let request = server.handshake();
    let (first, _) = request.split_once("\r\n").unwrap();
    let fits = 199 - first.len() - "\r\nA: ".len();
    peer.remote
        .send(format!("{first}\r\nA: {}", "a".repeat(fits)).as_bytes());
    server.run();
    assert_eq!(server.phase(), Phase::Opening);
    peer.remote.send(b"a");
    server.run();
    assert_eq!((peer.status(), server.phase()), (431, Phase::Lingering));
}

#[test]
fn upgrade_may_reject_or_fail() {
    for (returned, status, failure) in [
        (403, 403, None),
        (7, 500, Some("error in upgrade: 7")),
        (-2, 500, Some("error in upgrade: -2")),
    ] {
        let server = Server::new();
        server.on(EventKind::Upgrade, move |_| returned);
        let peer = server.connect();
        peer.remote.send(server.handshake().as_bytes());
        server.run();
        assert_eq!((peer.status(), server.phase()), (status, Phase::Lingering));
        peer.remote.shutdown_write();
        server.run();
        let mut expected = vec!["upgrade"];
        expected.extend(failure);
        assert_eq!(server.events(), expected);
        assert_eq!(server.phase(), Phase::Free);
    }
}

#[test]
fn an_upgrade_that_closes_the_server_gets_a_closing_handshake() {
    let server = Server::new();
    let shared = Arc::clone(&server.shared);
    server.on_do(EventKind::Upgrade, move |_| shared.begin_close());
    let [peer, other] = [server.connect(), server.connect()];
    other.remote.send(b"GET / HT");
    peer.remote.send(server.handshake().as_bytes());
    server.run();
    assert_eq!(peer.status(), 101);
    assert_eq!(peer.all_frames(), ["close 1001"]);
    assert!(other.remote.is_closed());
    assert_eq!(server.events(), ["upgrade", "connect"]);

    peer.close(1001, "");
    peer.remote.shutdown_write();
    server.run();
    assert_eq!(server.events(), ["disconnect 1001"]);
    assert!(server.is_finished());
}

#[test]
fn a_peer_that_leaves_during_its_request_leaves_nothing_behind() {
    for reset in [false, true] {
        let server = Server::new();
        let peer = server.connect();
        peer.remote.send(b"GET / HTTP");
        server.run();
        match reset {
            true => peer.remote.reset(),
            false => peer.remote.shutdown_write(),
        }
        server.run();
        assert!(peer.remote.is_closed() && server.events().is_empty());
        assert_eq!(server.phase(), Phase::Free);
    }
}

#[test]
fn a_client_that_begins_tls_gets_an_alert() {
    let server = Server::new();
    let peer = server.connect();
    peer.remote
        .send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and so on");
    server.run();
    assert_eq!(peer.bytes().first(), Some(&0x15));
    assert!(peer.remote.is_shut_down());
}

// ---- pages ----

/// A server with a page at its path's child.
fn with_page(body: &[u8]) -> (Server, String) {
    let server = Server::new();
    let path = format!("{}/page", server.application.path);
    let page = Page::new("text/plain", body).expect("a good type");
    paths::define_page(&path, page).expect("a path of its own");
    let get = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    (server, get)
}

#[test]
fn a_connection_may_ask_for_pages_and_then_for_a_websocket() {
    let (server, get) = with_page(b"page");
    let mut peer = server.connect();
    for _ in 0..2 {
        peer.remote.send(get.as_bytes());
        server.run();
        assert_eq!((peer.status(), server.phase()), (200, Phase::Opening));
        assert_eq!(peer.bytes(), b"page");
    }
    peer.remote.send(server.handshake().as_bytes());
    server.run();
    assert_eq!((peer.status(), server.phase()), (101, Phase::Open));
    peer.websocket = server.last_websocket();
    assert_eq!(send(peer.websocket, "hello"), Ok(()));
    server.run();
    assert_eq!(peer.all_frames(), ["text hello"]);
}

#[test]
fn a_request_for_a_page_or_for_the_metrics_has_no_body() {
    let server = Server::with(|options| options.metrics_path = "/metrics".to_owned());
    let page = format!("{}/page", server.application.path);
    paths::define_page(&page, Page::new("text/plain", b"page").unwrap()).unwrap();
    for path in [page.as_str(), "/metrics"] {
        for body in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
            let peer = server.connect();
            peer.remote
                .send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{body}\r\n\r\n").as_bytes());
            server.run();
            assert_eq!(peer.status(), 400, "{path} {body}");
            peer.bytes();
            peer.remote.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            server.run();
            assert!(peer.bytes().is_empty() && peer.remote.is_shut_down());
        }
    }
}

#[test]
fn without_page_keep_alive_a_page_ends_the_connection() {
    let server = Server::with(|options| options.page_keep_alive = 0);
    let path = format!("{}/page", server.application.path);
    paths::define_page(&path, Page::new("text/plain", b"page").unwrap()).unwrap();
    let peer = server.connect();
    let get = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    peer.remote.send(get.as_bytes());
    server.run();
    assert_eq!(peer.status(), 200);
    assert!(peer.remote.is_shut_down());
}

#[test]
fn a_pipelined_request_ends_the_connection_after_the_page() {
    let (server, get) = with_page(b"page");
    let peer = server.connect();
    peer.remote.send(get.repeat(3).as_bytes());
    server.run();
    assert_eq!((peer.status(), server.phase()), (200, Phase::Lingering));
    assert_eq!(peer.bytes(), b"page");
    assert!(peer.remote.is_shut_down());
}

#[test]
fn a_page_that_is_read_slowly_arrives_complete() {
    let body: Vec<u8> = (0..30_000u32).map(|n| n as u8).collect();
    for half_closes in [false, true] {
        let (server, get) = with_page(&body);
        let peer = server.connect();
        peer.accept_at_most(1000);
        peer.remote.send(get.as_bytes());
        if half_closes {
            peer.remote.shutdown_write();
        }
        server.run();
        assert_eq!(peer.status(), 200);
        let mut received = Vec::new();
        while received.len() < body.len() {
            server.pass(900);
            let more = peer.bytes();
            assert!(!more.is_empty() && more.len() < 2000);
            received.extend(more);
        }
        assert!(received == body);
        server.run();
        assert_eq!(peer.remote.is_closed(), half_closes);
        let expected = if half_closes {
            Phase::Free
        } else {
            Phase::Opening
        };
        assert_eq!(server.phase(), expected);
    }
}
