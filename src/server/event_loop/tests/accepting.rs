//! Accepting connections.

use super::*;

#[test]
fn accepting_without_descriptors_is_retried_at_each_tick() {
    let server = Server::new();
    server.network.set_has_descriptors(false);
    let _peer = server.connect();
    server.pass(1000);
    assert_eq!(server.phases(), []);
    server.network.set_has_descriptors(true);
    server.pass(99);
    assert_eq!(server.phases(), []);
    server.pass(1);
    assert_eq!(server.phases(), [Phase::Opening]);
}

#[test]
fn accepting_without_descriptors_is_retried_when_a_connection_ends() {
    let server = Server::new();
    let old = server.open();
    server.network.set_has_descriptors(false);
    let _peer = server.connect();
    server.run();
    assert_eq!(server.phases(), [Phase::Open]);
    server.network.set_has_descriptors(true);
    old.remote.reset();
    server.run();
    assert_eq!(server.phases(), [Phase::Opening]);
}

#[test]
fn a_turn_accepts_at_most_64_connections() {
    let server = Server::new();
    let peers: Vec<Peer> = (0..150).map(|_| server.connect()).collect();
    for expected in [64, 128, 150] {
        server.turn();
        assert_eq!(server.phases().len(), expected);
    }
    drop(peers);
    server.run();
    assert_eq!(server.phases(), []);
}

#[test]
fn a_client_over_max_connections_is_refused_at_once() {
    let server = Server::with(|options| options.max_connections = 2);
    let (first, _second) = (server.open(), server.open());
    let third = server.connect();
    server.run();
    assert_eq!(third.status(), 503);
    assert!(third.remote.is_closed());
    assert_eq!(server.metrics().rejected.load(Ordering::Relaxed), 1);

    first.remote.reset();
    server.run();
    server.open();
}

#[test]
fn a_client_over_max_connections_per_ip_is_refused_at_once() {
    let server = Server::with(|options| options.max_connections_per_ip = 1);
    let first = server.open();
    let second = server.connect();
    server.run();
    assert_eq!(second.status(), 429);
    assert!(second.remote.is_closed());

    first.remote.reset();
    server.run();
    server.open();
}

#[test]
fn a_closing_server_accepts_no_connection() {
    let server = Server::new();
    server.close();
    let late = server.connect();
    server.run();
    assert!(server.is_finished() && late.bytes().is_empty());
}

// ---- several loops ----

#[test]
fn connections_are_assigned_to_the_loop_with_the_fewest() {
    let server = Server::with_loops(3, |_| ());
    let peers: Vec<Peer> = (0..6).map(|_| server.open()).collect();
    assert!(server.loops().all(|one| phases_of(one) == [Phase::Open; 2]));
    let of_second = |peer: &&Peer| {
        let mailbox = slot_arena::find(peer.websocket).unwrap().mailbox;
        std::ptr::eq(mailbox, server.others[0].mailbox)
    };
    for peer in peers.iter().filter(of_second) {
        peer.remote.reset();
    }
    server.run();
    let _next = [server.open(), server.open()];
    assert!(server.loops().all(|one| phases_of(one) == [Phase::Open; 2]));
}

#[test]
fn a_connection_for_a_loop_that_has_ended_is_closed() {
    let mut server = Server::with_loops(2, |options| options.max_connections = 2);
    let _first = server.open();
    server.others.clear();
    let lost = server.connect();
    server.run();
    assert!(lost.remote.is_closed());
    // It is no longer counted.
    let refused = server.connect();
    server.run();
    assert!(refused.remote.is_closed() && refused.bytes().is_empty());
}

#[test]
fn a_loop_sends_to_a_websocket_of_another_by_mail() {
    let server = Server::with_loops(2, |_| ());
    let [first, second] = [server.open(), server.open()];
    let websocket = second.websocket;
    server.on_do(EventKind::Message, move |_| {
        send(websocket, "across").unwrap()
    });
    first.text("go");
    server.event_loop.turn(true, &mut Sink::Call);
    assert!(second.all_frames().is_empty());
    server.others[0].turn(true, &mut Sink::Call);
    assert_eq!(second.all_frames(), ["text across"]);
}

#[test]
fn idle_connections_of_pages_are_ended_when_descriptors_run_short() {
    let server = Server::new();
    let path = format!("{}/page", server.application.path);
    paths::define_page(&path, Page::new("text/plain", b"page").unwrap()).unwrap();
    let websocket = server.open();
    let (idle, asking) = (server.connect(), server.connect());
    for peer in [&idle, &asking] {
        peer.remote
            .send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        server.run();
        assert_eq!(peer.status(), 200);
    }
    asking.remote.send(b"GET ");
    server.run();
    server.network.set_has_descriptors(false);
    let _waiting = server.connect();
    server.turn();
    server.turn();
    assert!(idle.remote.is_closed());
    assert!(!asking.remote.is_closed() && !websocket.remote.is_closed());
}

#[test]
fn a_page_is_the_last_response_once_the_server_accepts_no_more() {
    let server = Server::new();
    let path = format!("{}/page", server.application.path);
    paths::define_page(&path, Page::new("text/plain", b"page").unwrap()).unwrap();
    let get = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let (idle, asking, websocket) = (server.connect(), server.connect(), server.open());
    for peer in [&idle, &asking] {
        peer.remote.send(get.as_bytes());
        server.run();
        assert_eq!(peer.status(), 200);
        peer.bytes();
    }
    let (head, rest) = get.split_at(8);
    asking.remote.send(head.as_bytes());
    server.run();
    server.shared.stop_accepting();
    server.run();
    assert!(idle.remote.is_closed() && !asking.remote.is_closed());

    asking.remote.send(rest.as_bytes());
    server.run();
    assert_eq!(asking.status(), 200);
    assert!(asking.remote.is_shut_down() && !websocket.remote.is_closed());
}

#[test]
fn idle_pages_of_all_loops_end_when_descriptors_run_short() {
    let server = Server::with_loops(3, |_| ());
    let path = format!("{}/page", server.application.path);
    paths::define_page(&path, Page::new("text/plain", b"page").unwrap()).unwrap();
    let idle: Vec<Peer> = (0..6).map(|_| server.connect()).collect();
    for peer in &idle {
        peer.remote
            .send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
    }
    server.run();
    assert!(idle.iter().all(|peer| peer.status() == 200));
    server.network.set_has_descriptors(false);
    let _waiting = server.connect();
    server.run();
    assert!(idle.iter().all(|peer| peer.remote.is_closed()));
}
