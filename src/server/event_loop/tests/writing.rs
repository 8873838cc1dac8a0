//! Queueing and writing.

use super::*;

const RESET: io::ErrorKind = io::ErrorKind::ConnectionReset;
const BLOCKED: Write = Write::Fail(io::ErrorKind::WouldBlock);

#[test]
fn queued_messages_are_written_at_the_end_of_the_turn_or_when_flushed() {
    let server = Server::new();
    let peer = server.open();
    server.inside(|| send(peer.websocket, "a")).unwrap();
    assert!(peer.all_frames().is_empty());
    server.inside(|| sending::flush(peer.websocket)).unwrap();
    assert_eq!(peer.all_frames(), ["text a"]);
    server.inside(|| send(peer.websocket, "b")).unwrap();
    server.turn();
    assert_eq!(peer.all_frames(), ["text b"]);
}

/// Queues [`SHORT_FRAMES`], 22 bytes.
fn queue_short_frames(server: &Server, peer: &Peer) {
    server.inside(|| {
        send(peer.websocket, "hello").unwrap();
        ping(peer.websocket, b"p").unwrap();
        send_many(peer.websocket, 'b', 10).unwrap();
    });
}

const SHORT_FRAMES: [&str; 3] = ["ping p", "text hello", "binary bbbbbbbbbb"];
const SHORT_LEN: usize = 22;

#[test]
fn a_short_write_of_any_length_is_continued() {
    for taken in 1..=SHORT_LEN {
        let server = Server::new();
        let peer = server.open();
        peer.remote
            .script_writes([Write::Accept(taken), BLOCKED, BLOCKED]);
        queue_short_frames(&server, &peer);
        server.turn();
        assert_eq!(server.is_blocked(&peer), taken < SHORT_LEN);
        assert_eq!(peer.bytes().len(), taken);
        assert_eq!(queued(peer.websocket), SHORT_LEN - taken);
        peer.received.borrow_mut().clear();
        server.run();
        assert_eq!(queued(peer.websocket), 0);
        assert_eq!(peer.bytes().len(), SHORT_LEN - taken);
    }
}

#[test]
fn short_writes_of_any_length_send_the_same_frames() {
    for taken in 1..=SHORT_LEN {
        let server = Server::new();
        let peer = server.open();
        let short = [Write::Accept(taken), BLOCKED];
        peer.remote.script_writes(short.repeat(SHORT_LEN));
        queue_short_frames(&server, &peer);
        server.run();
        assert_eq!(peer.all_frames(), SHORT_FRAMES, "{taken} at a time");
    }
}

#[test]
fn a_pong_is_sent_at_the_next_frame_boundary() {
    for taken in 1..12 {
        let server = Server::new();
        let peer = server.open();
        peer.remote
            .script_writes([Write::Accept(taken), BLOCKED, BLOCKED, BLOCKED]);
        server.inside(|| {
            send(peer.websocket, "one").unwrap();
            send(peer.websocket, "two").unwrap();
            send(peer.websocket, "six").unwrap();
        });
        server.turn();
        peer.ping("!");
        server.run();
        let mut expected = vec!["text one", "text two", "text six"];
        expected.insert(taken.div_ceil(5), "pong !");
        assert_eq!(peer.all_frames(), expected, "{taken} taken");
    }
}

#[test]
fn a_blocked_peer_gets_a_pong_for_its_newest_ping_only() {
    let server = Server::new();
    let peer = server.open();
    peer.accept_at_most(0);
    server.inside(|| send(peer.websocket, "a")).unwrap();
    server.run();
    for payload in ["1", "2", "3"] {
        peer.ping(payload);
        server.run();
    }
    peer.accept_at_most(usize::MAX);
    server.run();
    assert_eq!(peer.all_frames(), ["pong 3", "text a"]);
}

#[test]
fn full_is_followed_by_one_drain_when_the_queue_has_fallen_to_half() {
    let server = Server::with(|options| options.max_queued = 1000);
    let peer = server.open();
    let fill = || {
        server.inside(|| while send_many(peer.websocket, 'x', 98).is_ok() {});
        let full = server.inside(|| send(peer.websocket, ""));
        assert_eq!(
            (full, queued(peer.websocket)),
            (Err(ServerError::Full), 1000)
        );
    };
    peer.accept_at_most(0);
    fill();
    server.run();
    assert!(server.is_blocked(&peer) && server.events().is_empty());
    peer.accept_at_most(499);
    server.run();
    assert_eq!((queued(peer.websocket), server.events().len()), (501, 0));
    peer.accept_at_most(500);
    server.run();
    assert_eq!(queued(peer.websocket), 500);
    assert_eq!(server.events(), ["drain"]);

    fill();
    peer.accept_at_most(usize::MAX);
    server.run();
    assert_eq!(server.events(), ["drain"]);
    assert_eq!(peer.all_frames(), ["binary 98*x"; 15]);
    server.run();
    assert!(server.events().is_empty());
}

#[test]
fn no_drain_is_reported_after_a_close() {
    let server = Server::with(|options| options.max_queued = 100);
    let peer = server.open();
    peer.accept_at_most(0);
    server.inside(|| {
        send_many(peer.websocket, 'x', 98).unwrap();
        assert_eq!(send(peer.websocket, "x"), Err(ServerError::Full));
        close(peer.websocket, 1000, "").unwrap();
    });
    peer.accept_at_most(usize::MAX);
    server.run();
    assert_eq!(peer.all_frames(), ["binary 98*x", "close 1000"]);
    assert!(server.events().is_empty());
}

// ---- gathering writes ----

/// Queues frames that are in four pieces: 3, 70,010, 70,010 and 3 bytes.
fn queue_pieces(server: &Server, peer: &Peer) {
    server.inside(|| {
        send(peer.websocket, "a").unwrap();
        send_many(peer.websocket, 'b', 70_000).unwrap();
        send_many(peer.websocket, 'c', 70_000).unwrap();
        send(peer.websocket, "z").unwrap();
    });
}

const PIECES: [&str; 4] = ["text a", "binary 70000*b", "binary 70000*c", "text z"];

/// Short writes that end inside pieces, at their ends, and in the next piece.
const STEPS: [&[usize]; 2] = [
    &[1, 2, 10, 69_999, 1, 5, 70_005, 2],
    &[2, 5, 70_010, 70_007],
];

/// Calls `test` with each prefix of each list.
fn each_step(test: impl Fn(&[usize])) {
    for steps in STEPS {
        (0..=steps.len()).for_each(|last| test(&steps[..last]));
    }
}

#[test]
fn a_gathering_write_that_is_short_or_blocked_at_any_step_is_continued() {
    each_step(|steps| {
        let server = Server::new();
        let peer = server.open();
        let writes = steps.iter().map(|count| Write::Accept(*count));
        peer.remote.script_writes(writes.chain([BLOCKED, BLOCKED]));
        queue_pieces(&server, &peer);
        server.run();
        assert_eq!(peer.all_frames(), PIECES, "after {steps:?}");
        assert_eq!(queued(peer.websocket), 0);
    });
}

#[test]
fn a_gathering_write_that_fails_at_any_step_ends_the_connection() {
    let failure: &[&str] = &["error Io 1006", "disconnect 1006"];
    for (kind, expected) in [(RESET, &failure[1..]), (io::ErrorKind::Other, failure)] {
        each_step(|steps| {
            let server = Server::new();
            let peer = server.open();
            let writes = steps.iter().map(|count| Write::Accept(*count));
            peer.remote.script_writes(writes.chain([Write::Fail(kind)]));
            queue_pieces(&server, &peer);
            server.run();
            assert_eq!(server.events(), expected, "after {steps:?}");
            assert_eq!(peer.bytes().len(), steps.iter().sum::<usize>());
            assert!(peer.remote.is_closed() && server.phase() == Phase::Free);
            assert_eq!(queued(peer.websocket), 0);
            assert_eq!(send(peer.websocket, "x"), Err(ServerError::Gone));
        });
    }
}

#[test]
fn a_connection_that_has_failed_is_reported_once_though_its_close_frame_cannot_be_written() {
    let server = Server::new();
    let peer = server.open();
    peer.remote
        .script_writes([Write::Fail(io::ErrorKind::Other)]);
    peer.remote.send(b"\x81\x01a");
    server.run();
    assert_eq!(server.events(), ["error Protocol 1002", "disconnect 1002"]);
    assert!(peer.remote.is_closed() && server.phase() == Phase::Free);
}

#[test]
fn a_large_message_is_sent_at_once_and_its_rest_first() {
    for taken in [1, 3, 4, 5, 10_000, 20_003, 20_004] {
        let server = Server::new();
        let peer = server.open();
        peer.remote.script_writes([Write::Accept(taken), BLOCKED]);
        server.inside(|| {
            send_many(peer.websocket, 'x', 20_000).unwrap();
            assert_eq!(queued(peer.websocket), 20_004 - taken);
            ping(peer.websocket, b"p").unwrap();
            send(peer.websocket, "y").unwrap();
        });
        server.run();
        assert_eq!(peer.all_frames(), ["binary 20000*x", "ping p", "text y"]);
    }
}

#[test]
fn a_large_message_that_cannot_be_sent_ends_the_connection() {
    let server = Server::new();
    let peer = server.open();
    peer.remote.script_writes([Write::Fail(RESET)]);
    let sent = server.inside(|| send_many(peer.websocket, 'x', 20_000));
    assert_eq!(sent, Err(ServerError::Gone));
    server.run();
    assert_eq!(server.events(), ["disconnect 1006"]);
    assert_eq!(server.phase(), Phase::Free);
}

#[test]
fn a_batch_of_writes_succeeds_or_fails_for_each_peer_alone() {
    let server = Server::new();
    let [fails, blocked, fine] = [server.open(), server.open(), server.open()];
    fails.remote.script_writes([Write::Fail(RESET)]);
    blocked
        .remote
        .script_writes([Write::Accept(2), BLOCKED, BLOCKED]);
    server.inside(|| {
        for peer in [&fails, &blocked, &fine] {
            send(peer.websocket, "all").unwrap();
        }
    });
    server.turn();
    assert_eq!(fine.all_frames(), ["text all"]);
    assert!(server.is_blocked(&blocked));
    server.run();
    assert_eq!(blocked.all_frames(), ["text all"]);
    assert_eq!(server.events(), ["disconnect 1006"]);
    assert_eq!(server.phases(), [Phase::Open, Phase::Open]);
}
