//! Timeouts, to the tick.
//!
//! With the options of most tests a tick is 100 ms, and a connection is checked in each tenth tick.

use super::*;

/// Time between two checks of a connection.
const ROUND_MS: u64 = 1000;

const TICK_MS: u64 = 100;

/// The default HANDSHAKE_TIMEOUT.
const HANDSHAKE_MS: u64 = 10_000;

fn quiet() -> Server {
    Server::with(|options| options.ping_interval = 0)
}

#[test]
fn an_incomplete_request_times_out() {
    let server = quiet();
    let peer = server.connect();
    server.pass(HANDSHAKE_MS / 2);
    peer.remote.send(b"GET / HTTP/1.1\r\n");
    server.pass(HANDSHAKE_MS / 2 - 1);
    assert_eq!(
        (server.phase(), peer.remote.is_closed()),
        (Phase::Opening, false)
    );
    server.pass(1);
    assert_eq!(
        (server.phase(), peer.remote.is_closed()),
        (Phase::Free, true)
    );
    assert!(server.events().is_empty() && peer.bytes().is_empty());
    assert_eq!(server.metrics().rejected.load(Ordering::Relaxed), 1);
}

#[test]
fn a_timeout_ends_at_the_first_check_after_it() {
    let server = quiet();
    // With a connection, the clock counts each tick.
    let _first = server.open();
    server.pass(3 * TICK_MS);
    let peer = server.connect();
    server.pass(HANDSHAKE_MS + ROUND_MS - 3 * TICK_MS - 1);
    assert!(!peer.remote.is_closed());
    server.pass(1);
    assert!(peer.remote.is_closed());
}

#[test]
fn a_connection_is_kept_alive_after_a_page_as_long_as_its_option_says() {
    let server = Server::with(|options| options.page_keep_alive = 20_000);
    let path = format!("{}/page", server.application.path);
    paths::define_page(&path, Page::new("text/plain", b"").unwrap()).unwrap();
    let peer = server.connect();
    server.pass(ROUND_MS);
    peer.remote
        .send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
    server.pass(19_999);
    assert_eq!((peer.status(), server.phase()), (200, Phase::Opening));
    server.pass(1);
    assert_eq!(server.phase(), Phase::Free);
    assert_eq!(server.metrics().rejected.load(Ordering::Relaxed), 0);
}

#[test]
fn a_silent_peer_is_pinged_and_then_dropped() {
    let server = Server::with(|options| options.ping_interval = 30_000);
    let peer = server.open();
    server.pass(29_999);
    assert!(peer.all_frames().is_empty());
    server.pass(1);
    assert!(peer.all_frames()[0].starts_with("ping "));
    server.pass(29_999);
    assert!(server.events().is_empty());
    server.pass(1);
    assert_eq!(server.events(), ["disconnect 1006"]);
    assert!(peer.all_frames().is_empty() && peer.remote.is_closed());
}

#[test]
fn the_reply_to_a_keepalive_ping_keeps_the_peer_and_is_not_reported() {
    let server = Server::with(|options| options.ping_interval = 30_000);
    let peer = server.open();
    for _ in 0..5 {
        server.pass(30_000);
        let ping = peer.bytes();
        assert_eq!(ping[0], 0x89);
        peer.frame(10, &ping[2..]);
        server.run();
    }
    assert!(server.events().is_empty() && server.phase() == Phase::Open);
}

#[test]
fn a_peer_that_sends_is_not_pinged() {
    let server = Server::with(|options| options.ping_interval = 30_000);
    let peer = server.open();
    for _ in 0..5 {
        server.pass(29_000);
        peer.text("here");
        server.run();
    }
    assert!(peer.all_frames().is_empty());
}

#[test]
fn a_peer_that_acknowledges_what_precedes_a_ping_is_not_dropped() {
    let server = Server::with(|options| options.ping_interval = 30_000);
    let peer = server.open();
    peer.remote.hold_acknowledgements();
    server
        .inside(|| send_many(peer.websocket, 'x', 1000))
        .unwrap();
    server.pass(30_000);
    peer.remote.acknowledge(100);
    server.pass(30_000);
    assert_eq!(server.phase(), Phase::Open);
    server.pass(29_999);
    assert_eq!(server.phase(), Phase::Open);
    server.pass(1);
    assert_eq!(server.events(), ["disconnect 1006"]);
}

#[test]
fn an_idle_peer_is_closed_with_1001() {
    let server = Server::with(|options| {
        options.ping_interval = 0;
        options.idle_timeout = 20_000;
    });
    let peer = server.open();
    server.pass(10_000);
    peer.pong("");
    server.pass(19_999);
    assert!(peer.all_frames().is_empty());
    server.pass(1);
    assert_eq!(peer.all_frames(), ["close 1001"]);
    assert_eq!(server.phase(), Phase::Closing);
}

#[test]
fn a_peer_whose_reading_is_paused_is_not_idle() {
    let server = Server::with(|options| {
        options.ping_interval = 0;
        options.idle_timeout = 20_000;
        options.max_queued = 100;
    });
    server.on_do(EventKind::Message, |websocket| {
        send_many(websocket, 'x', 70)
    });
    let peer = server.open();
    peer.accept_at_most(0);
    peer.text("1");
    peer.text("2");
    server.pass(60_000);
    assert!(server.is_read_paused(&peer) && server.phase() == Phase::Open);
    assert_eq!(server.events(), ["text 1"]);
    peer.accept_at_most(usize::MAX);
    server.run();
    assert_eq!(server.events(), ["text 2"]);
}

#[test]
fn a_peer_whose_backlog_awaits_the_host_is_not_idle() {
    let server = Server::with(|options| {
        options.ping_interval = 0;
        options.idle_timeout = 20_000;
        options.dispatch = Dispatch::Host;
    });
    let peer = server.open();
    server.room.set(1);
    peer.remote.send(&frame(1, b"x").repeat(300));
    // A turn that does not wait counts at most two ticks.
    for _ in 0..300 {
        server.network.pass(Duration::from_secs(5));
        server.turn();
        assert_eq!(server.events(), ["message of 1"]);
    }
    server.pass(18_000);
    assert_eq!(server.phase(), Phase::Open);
    server.pass(3000);
    assert_eq!(
        (server.phase(), peer.all_frames()),
        (Phase::Closing, vec!["close 1001".to_owned()])
    );
}

#[test]
fn a_closing_handshake_times_out() {
    let server = quiet();
    let peer = server.open();
    close(peer.websocket, 1000, "").unwrap();
    server.pass(4999);
    assert_eq!(
        (peer.all_frames().len(), server.phase()),
        (1, Phase::Closing)
    );
    server.pass(1);
    assert_eq!(server.events(), ["disconnect 1006"]);
    assert!(peer.remote.is_closed());
}

#[test]
fn a_peer_that_never_leaves_is_dropped() {
    let server = quiet();
    let peer = server.open();
    peer.close(1000, "");
    server.pass(4999);
    assert_eq!(
        (peer.all_frames().len(), server.phase()),
        (1, Phase::Lingering)
    );
    server.pass(1);
    assert_eq!(server.events(), ["disconnect 1000"]);
    assert!(peer.remote.is_closed());
}

#[test]
fn a_close_timeout_starts_again_when_bytes_are_acknowledged() {
    let server = quiet();
    let peer = server.open();
    peer.remote.hold_acknowledgements();
    server.inside(|| {
        send_many(peer.websocket, 'x', 1000).unwrap();
        close(peer.websocket, 1000, "").unwrap();
    });
    server.pass(3000);
    peer.remote.acknowledge(10);
    server.pass(6000 - 1);
    assert_eq!(server.phase(), Phase::Closing);
    server.pass(1);
    assert_eq!(server.events(), ["disconnect 1006"]);
}

#[test]
fn a_close_timeout_starts_again_at_most_twelve_times() {
    let server = quiet();
    let peer = server.open();
    peer.accept_at_most(1000);
    server.inside(|| {
        send_many(peer.websocket, 'x', 100_000).unwrap();
        close(peer.websocket, 1000, "").unwrap();
    });
    for _ in 0..59 {
        server.pass(1000);
        assert_eq!(peer.bytes().len(), 1000);
        assert_eq!(server.phase(), Phase::Closing);
    }
    server.pass(999);
    assert_eq!(server.phase(), Phase::Closing);
    server.pass(1);
    assert_eq!(server.events(), ["disconnect 1006"]);
}

#[test]
fn a_page_may_be_read_slowly_until_the_server_closes() {
    let server = quiet();
    let path = format!("{}/page", server.application.path);
    let page = Page::new("text/plain", &[b'x'; 200_000]).unwrap();
    paths::define_page(&path, page).unwrap();
    let peer = server.connect();
    peer.accept_at_most(1000);
    let get = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    peer.remote.send(get.as_bytes());
    for _ in 0..100 {
        server.pass(1000);
        assert!(!peer.bytes().is_empty());
    }
    assert_eq!(server.phase(), Phase::Finishing);
    server.close();
    for _ in 0..59 {
        server.pass(1000);
        assert!(!peer.bytes().is_empty());
    }
    assert_eq!(server.phase(), Phase::Finishing);
    server.pass(1000);
    assert!(peer.remote.is_closed() && server.is_finished());
}

#[test]
fn of_a_handlers_time_at_most_a_round_and_two_ticks_count() {
    let server = quiet();
    let network = server.network.clone();
    server.on_do(EventKind::Message, move |_| {
        network.pass(Duration::from_secs(600));
    });
    let [peer, opening] = [server.open(), server.connect()];
    server.run();
    for _ in 0..HANDSHAKE_MS / (ROUND_MS + 2 * TICK_MS) {
        peer.text("work");
        server.run();
        assert!(!opening.remote.is_closed());
    }
    server.pass(HANDSHAKE_MS);
    assert!(opening.remote.is_closed());
}

#[test]
fn a_loop_without_connections_sets_no_timer() {
    let server = quiet();
    server.pass(10_000);
    assert_eq!(server.network.timer(), None);
}
