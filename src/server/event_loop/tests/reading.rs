//! Reading and delivering what peers send.

use super::*;

/// A server that replies to each message with a frame of 100 bytes.
fn echo(max_queued: u64) -> Server {
    let server = Server::with(|options| options.max_queued = max_queued);
    server.on(EventKind::Message, |websocket| {
        assert_eq!(send_many(websocket, 'e', 98), Ok(()));
        0
    });
    server
}

fn texts(count: std::ops::Range<usize>) -> Vec<String> {
    count.map(|number| format!("text {number}")).collect()
}

/// Returns messages in one piece.
fn messages(count: std::ops::Range<usize>) -> Vec<u8> {
    count
        .flat_map(|number| frame(1, number.to_string().as_bytes()))
        .collect()
}

#[test]
fn messages_are_delivered_in_order_in_any_fragmentation() {
    let bytes = messages(0..4);
    for cut in 0..=bytes.len() {
        let server = Server::new();
        let peer = server.open();
        peer.remote.send(&bytes[..cut]);
        server.run();
        peer.remote.send(&bytes[cut..]);
        server.run();
        assert_eq!(server.events(), texts(0..4), "cut at {cut}");
    }
}

#[test]
fn a_budget_that_ends_within_a_read_lets_other_peers_proceed() {
    let server = Server::new();
    let (eager, other) = (server.open(), server.open());
    eager.remote.send(&messages(0..600));
    other.text("and I?");
    server.turn();
    assert_eq!(server.events_of(&eager), texts(0..256));
    assert_eq!(server.events_of(&other), ["text and I?"]);

    // Nothing more is read until the backlog is delivered.
    eager.remote.send(&messages(600..610));
    server.turn();
    assert_eq!(server.events_of(&eager), texts(256..512));
    assert!(server.is_read_paused(&eager));
    server.run();
    assert_eq!(server.events_of(&eager), texts(512..610));
    assert!(!server.is_read_paused(&eager));
}

#[test]
fn a_frame_cut_after_the_end_of_a_budget_is_completed() {
    let bytes = messages(0..300);
    let (head, rest) = bytes.split_at(bytes.len() - 3);
    let server = Server::new();
    let peer = server.open();
    peer.remote.send(head);
    server.turn();
    peer.remote.send(rest);
    server.run();
    assert_eq!(server.events(), texts(0..300));
}

#[test]
fn large_messages_use_the_budget_up_sooner() {
    let server = Server::new();
    let peer = server.open();
    // Each large one counts four times.
    let large = (0..10).flat_map(|_| frame(2, &[b'x'; 50_000]));
    let all: Vec<u8> = messages(0..240).into_iter().chain(large).collect();
    peer.remote.send(&all);
    server.turn();
    assert_eq!(server.events()[240..], ["binary 50000*x"; 4]);
    server.run();
    assert_eq!(server.events(), ["binary 50000*x"; 6]);
}

#[test]
fn a_backlog_waits_for_the_queue_to_fall_to_half_and_keeps_its_order() {
    let server = echo(1000);
    let peer = server.open();
    peer.accept_at_most(0);
    peer.remote.send(&messages(0..20));
    server.run();
    // Five replies are half of the queue.
    assert_eq!(server.events(), texts(0..6));
    assert!(server.is_read_paused(&peer) && queued(peer.websocket) == 600);

    peer.remote.send(&messages(20..30));
    server.run();
    assert!(server.events().is_empty());
    peer.accept_at_most(100);
    server.run();
    assert_eq!(server.events(), texts(6..7));

    peer.accept_at_most(usize::MAX);
    server.run();
    assert_eq!(server.events(), texts(7..30));
    assert_eq!(peer.all_frames(), ["binary 98*e"; 30]);
    assert!(!server.is_read_paused(&peer));
}

#[test]
fn half_a_frame_in_the_backlog_is_completed() {
    let server = echo(1000);
    let peer = server.open();
    peer.accept_at_most(0);
    let bytes = messages(0..20);
    let (first, second) = bytes.split_at(bytes.len() - 2);
    peer.remote.send(first);
    server.run();
    peer.remote.send(second);
    peer.accept_at_most(usize::MAX);
    server.run();
    assert_eq!(server.events(), texts(0..20));
}

#[test]
fn the_backlog_of_a_peer_that_has_half_closed_is_delivered() {
    let server = echo(1000);
    let peer = server.open();
    peer.accept_at_most(0);
    peer.remote.send(&messages(0..20));
    peer.close(1000, "done");
    peer.remote.shutdown_write();
    server.run();
    assert_eq!(server.events().len(), 6);
    peer.accept_at_most(usize::MAX);
    server.run();
    let mut expected = texts(6..20);
    expected.push("disconnect 1000 done".to_owned());
    assert_eq!(server.events(), expected);
}

#[test]
fn after_a_close_only_the_peers_close_frame_is_taken_from_the_backlog() {
    let server = echo(1000);
    let peer = server.open();
    peer.accept_at_most(0);
    peer.remote.send(&messages(0..20));
    peer.close(1000, "too");
    server.run();
    assert_eq!(server.events().len(), 6);
    assert_eq!(close(peer.websocket, 1000, "bye"), Ok(()));
    peer.accept_at_most(usize::MAX);
    server.run();
    assert_eq!(peer.all_frames().last().unwrap(), "close 1000 bye");
    peer.remote.shutdown_write();
    server.run();
    assert_eq!(server.events(), ["disconnect 1000 too"]);
}

#[test]
fn a_peer_that_violates_the_protocol_is_failed_and_ignored() {
    for (input, failed) in [
        (b"\x81\x01a".to_vec(), "Protocol 1002"),
        (frame(1, b"\xff"), "Utf8 1007"),
        (frame(2, &[0; 101]), "TooBig 1009"),
        (frame(3, b""), "Protocol 1002"),
        (frame(8, b"\x03"), "Protocol 1002"),
    ] {
        let code = failed.split(' ').next_back().unwrap();
        let server = Server::with(|options| options.max_message_size = 100);
        let peer = server.open();
        peer.text("before");
        peer.remote.send(&[input, frame(1, b"behind")].concat());
        peer.text("later");
        server.run();
        assert_eq!(server.events(), ["text before", &format!("error {failed}")]);
        assert_eq!(peer.all_frames(), [format!("close {code}")]);
        assert_eq!(send(peer.websocket, "x"), Err(ServerError::Gone));

        peer.close(1000, "");
        peer.remote.shutdown_write();
        server.run();
        assert_eq!(server.events(), [format!("disconnect {code}")]);
        assert_eq!(server.metrics().protocol_errors.load(Ordering::Relaxed), 1);
    }
}

#[test]
fn a_failed_handler_is_reported_and_the_websocket_stays_open() {
    let server = Server::new();
    server.on(EventKind::Message, |_| 7);
    let peer = server.open();
    peer.remote.send(&messages(0..2));
    server.run();
    let error = "error in message: 7";
    assert_eq!(server.events(), ["text 0", error, "text 1", error]);
    assert_eq!(server.phase(), Phase::Open);
    assert_eq!(server.metrics().handler_errors.load(Ordering::Relaxed), 2);
}

#[test]
fn pings_are_answered_and_pongs_are_reported() {
    let server = Server::new();
    let peer = server.open();
    peer.ping("a");
    peer.pong("b");
    server.run();
    assert_eq!(peer.all_frames(), ["pong a"]);
    assert_eq!(server.events(), ["pong b"]);
}

#[test]
fn a_redefined_path_calls_its_new_handlers() {
    let server = Server::new();
    let peer = server.open();
    let mut next = Script::new();
    next.path = server.application.path.clone();
    let next = Arc::new(next);
    peer.text("1");
    server.run();
    paths::define_path(&next.path, next.clone()).unwrap();
    peer.text("2");
    server.run();
    assert_eq!(server.events(), ["text 1"]);
    assert_eq!(next.take_events(peer.websocket), ["text 2"]);
}

#[test]
fn a_turn_publishes_its_traffic() {
    let server = echo(1000);
    let peer = server.open();
    let before = server.shared.loops[0].traffic.read();
    peer.remote.send(&messages(0..5));
    server.turn();
    let traffic = server.shared.loops[0].traffic.read();
    assert_eq!(traffic.messages_in - before.messages_in, 5);
    assert_eq!(traffic.messages_out - before.messages_out, 5);
    assert_eq!(
        traffic.bytes_in - before.bytes_in,
        messages(0..5).len() as u64
    );
    assert_eq!(traffic.bytes_out - before.bytes_out, 500);
}
