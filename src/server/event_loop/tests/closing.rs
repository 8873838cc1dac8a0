//! The end of websockets.

use super::*;

/// All events.
const EVENTS: [EventKind; 7] = [
    EventKind::Upgrade,
    EventKind::Connect,
    EventKind::Message,
    EventKind::Pong,
    EventKind::Drain,
    EventKind::Error,
    EventKind::Disconnect,
];

/// Makes each event happen once, in the order of [`EVENTS`], unless the websocket ends sooner.
fn make_everything_happen(server: &Server) -> Peer {
    let mut peer = server.connect();
    peer.remote.send(server.handshake().as_bytes());
    server.run();
    peer.websocket = server.last_websocket();
    peer.text("m");
    peer.pong("p");
    server.run();
    server.inside(|| {
        let _ = send_many(peer.websocket, 'x', 100);
        let _ = send(peer.websocket, "full");
    });
    server.run();
    peer.frame(3, b"");
    server.run();
    peer.remote.shutdown_write();
    server.run();
    peer
}

fn small_queue() -> Server {
    Server::with(|options| options.max_queued = 100)
}

#[test]
fn everything_happens_once() {
    let server = small_queue();
    make_everything_happen(&server);
    let expected = [
        "upgrade",
        "connect",
        "text m",
        "pong p",
        "drain",
        "error Protocol 1002",
        "disconnect 1002",
    ];
    assert_eq!(server.events(), expected);
}

#[test]
fn an_abort_inside_any_callback_is_followed_by_disconnect_only() {
    let most = ["upgrade", "connect", "text m", "pong p", "drain"];
    for (number, kind) in EVENTS.into_iter().enumerate() {
        let server = small_queue();
        server.on(kind, move |websocket| {
            let aborted = abort(websocket);
            let expected = match kind {
                EventKind::Disconnect => Err(ServerError::Gone),
                _ => Ok(()),
            };
            assert_eq!(aborted, expected);
            assert_eq!(send(websocket, "x"), Err(ServerError::Gone));
            0
        });
        let peer = make_everything_happen(&server);
        let mut expected: Vec<&str> = most.into_iter().take(number + 1).collect();
        match kind {
            EventKind::Upgrade => expected.extend(["connect", "disconnect 1006"]),
            EventKind::Error => expected.extend(["error Protocol 1002", "disconnect 1002"]),
            EventKind::Disconnect => expected.extend(["error Protocol 1002", "disconnect 1002"]),
            _ => expected.push("disconnect 1006"),
        }
        assert_eq!(server.events(), expected, "{kind:?}");
        assert!(peer.remote.is_closed() && server.phase() == Phase::Free);
        assert_eq!(abort(peer.websocket), Err(ServerError::Gone));
    }
}

#[test]
fn a_close_inside_any_callback_begins_a_closing_handshake() {
    let most = ["upgrade", "connect", "text m", "pong p", "drain"];
    for (number, kind) in EVENTS.into_iter().enumerate() {
        let server = small_queue();
        server.on(kind, move |websocket| {
            let closed = close(websocket, 3000, "bye");
            let expected = match kind {
                EventKind::Upgrade => Err(ServerError::Busy),
                EventKind::Error | EventKind::Disconnect => Err(ServerError::Gone),
                _ => Ok(()),
            };
            assert_eq!(closed, expected, "{kind:?}");
            0
        });
        let peer = make_everything_happen(&server);
        let mut expected: Vec<&str> = most.into_iter().take(number + 1).collect();
        match kind {
            EventKind::Upgrade | EventKind::Error | EventKind::Disconnect => {
                expected = most.to_vec();
                expected.extend(["error Protocol 1002", "disconnect 1002"]);
            }
            // The peer violates the protocol after that.
            _ => expected.extend(["error Protocol 1002", "disconnect 1002"]),
        }
        assert_eq!(server.events(), expected, "{kind:?}");
        assert_eq!(peer.status(), 101);
        let frames = peer.all_frames();
        let expected = match kind {
            EventKind::Upgrade | EventKind::Error | EventKind::Disconnect => "close 1002",
            _ => "close 3000 bye",
        };
        assert_eq!(frames.last().unwrap(), expected, "{kind:?}");
        let closes = frames.iter().filter(|frame| frame.starts_with("close"));
        assert_eq!(closes.count(), 1, "{kind:?}");
    }
}

#[test]
fn our_closing_handshake_ends_when_the_peer_has_replied_and_left() {
    let server = Server::new();
    let peer = server.open();
    close(peer.websocket, 1000, "bye").unwrap();
    server.run();
    assert_eq!(peer.all_frames(), ["close 1000 bye"]);
    assert_eq!(
        (server.phase(), peer.remote.is_shut_down()),
        (Phase::Closing, false)
    );
    peer.text("too late");
    peer.close(1000, "see you");
    server.run();
    assert_eq!(
        (server.phase(), peer.remote.is_shut_down()),
        (Phase::Lingering, true)
    );
    assert!(server.events().is_empty());
    peer.remote.shutdown_write();
    server.run();
    assert_eq!(server.events(), ["disconnect 1000 see you"]);
    assert!(peer.remote.is_closed() && server.phase() == Phase::Free);
}

#[test]
fn the_peers_close_frame_is_echoed_with_its_code() {
    for (payload, reply, event) in [
        (&b""[..], "close", "disconnect 1005"),
        (b"\x03\xe8", "close 1000", "disconnect 1000"),
        (b"\x0f\xa0bye", "close 4000", "disconnect 4000 bye"),
    ] {
        let server = Server::new();
        let peer = server.open();
        peer.frame(8, payload);
        server.run();
        assert_eq!(peer.all_frames(), [reply]);
        assert_eq!(server.phase(), Phase::Lingering);
        assert_eq!(send(peer.websocket, "x"), Err(ServerError::Gone));
        peer.remote.shutdown_write();
        server.run();
        assert_eq!(server.events(), [event]);
    }
}

#[test]
fn when_both_sides_close_at_once_each_sends_one_close_frame() {
    /// When the application calls close.
    #[derive(Clone, Copy, Debug)]
    enum When {
        BeforeTheTurn,
        InTheSameRead,
        WhileTheTurnRuns,
        AfterTheTurn,
    }

    for when in [
        When::BeforeTheTurn,
        When::InTheSameRead,
        When::WhileTheTurnRuns,
        When::AfterTheTurn,
    ] {
        let server = Server::new();
        let (first, peer) = (server.open(), server.open());
        let websocket = peer.websocket;
        let ours = move |_| close(websocket, 1000, "ours").unwrap();
        let mut closing = "close 1000 ours";
        match when {
            When::BeforeTheTurn => ours(0),
            When::InTheSameRead => {
                server.on_do(EventKind::Message, ours);
                peer.text("x");
            }
            When::WhileTheTurnRuns => {
                // On another thread, after the mail was taken and before the peer's frame is read.
                server.on_do(EventKind::Message, move |id| on_another_thread(|| ours(id)));
                first.text("x");
                closing = "close 4000";
            }
            When::AfterTheTurn => closing = "close 4000",
        }
        peer.close(4000, "theirs");
        server.turn();
        if matches!(when, When::AfterTheTurn) {
            assert_eq!(close(websocket, 1000, "ours"), Err(ServerError::Gone));
        }
        server.run();
        assert_eq!(peer.all_frames(), [closing], "{when:?}");
        peer.remote.shutdown_write();
        server.run();
        let end = server.events_of(&peer).pop();
        assert_eq!(end.unwrap(), "disconnect 4000 theirs", "{when:?}");
        assert_eq!(server.phases(), [Phase::Open]);
    }
}

#[test]
fn a_close_while_blocked_follows_what_was_queued() {
    let server = Server::new();
    let peer = server.open();
    peer.accept_at_most(0);
    server.inside(|| send(peer.websocket, "first")).unwrap();
    server.run();
    assert!(server.is_blocked(&peer));
    server
        .inside(|| close(peer.websocket, 1000, "bye"))
        .unwrap();
    assert_eq!(send(peer.websocket, "late"), Err(ServerError::Gone));
    server.run();
    assert_eq!((server.phase(), peer.bytes().len()), (Phase::Closing, 0));

    peer.accept_at_most(1);
    let mut received = Vec::new();
    while server.phase() == Phase::Closing && received.len() < 14 {
        server.run();
        received.extend(peer.bytes());
    }
    *peer.received.borrow_mut() = received;
    assert_eq!(peer.all_frames(), ["text first", "close 1000 bye"]);
    peer.close(1000, "");
    peer.remote.shutdown_write();
    server.run();
    assert_eq!(server.events(), ["disconnect 1000"]);
}

#[test]
fn a_peer_that_closes_before_it_has_read_ours_receives_everything() {
    let server = Server::new();
    let peer = server.open();
    peer.accept_at_most(0);
    server.inside(|| {
        send(peer.websocket, "first").unwrap();
        close(peer.websocket, 1000, "").unwrap();
    });
    peer.close(1000, "");
    server.run();
    assert_eq!(server.phase(), Phase::Finishing);
    peer.accept_at_most(3);
    server.run();
    assert_eq!(
        (server.phase(), peer.remote.is_shut_down()),
        (Phase::Finishing, false)
    );
    peer.accept_at_most(usize::MAX);
    server.run();
    assert_eq!(
        (server.phase(), peer.remote.is_shut_down()),
        (Phase::Lingering, true)
    );
    assert_eq!(peer.all_frames(), ["text first", "close 1000"]);
}

#[test]
fn a_peer_that_half_closes_after_its_close_frame_is_still_written_to() {
    let server = Server::new();
    let peer = server.open();
    peer.accept_at_most(0);
    server.inside(|| {
        send_many(peer.websocket, 'x', 100).unwrap();
        send_many(peer.websocket, 'y', 100_000).unwrap();
    });
    peer.close(1000, "bye");
    peer.remote.shutdown_write();
    server.run();
    assert_eq!((server.phase(), peer.bytes().len()), (Phase::Finishing, 0));
    assert!(server.events().is_empty());
    peer.accept_at_most(60_000);
    server.run();
    assert!(peer.frames().len() == 1 && server.phase() == Phase::Finishing);
    server.run();
    assert_eq!(peer.all_frames(), ["binary 100000*y", "close 1000"]);
    assert!(peer.remote.is_closed());
    assert_eq!(server.events(), ["disconnect 1000 bye"]);
}

#[test]
fn a_peer_that_half_closes_without_a_close_frame_receives_what_fits() {
    let server = Server::new();
    let peer = server.open();
    server.on_do(EventKind::Message, |websocket| send(websocket, "answer"));
    peer.text("question");
    peer.remote.shutdown_write();
    server.run();
    assert_eq!(peer.all_frames(), ["text answer"]);
    assert_eq!(server.events(), ["text question", "disconnect 1006"]);
    assert!(peer.remote.is_closed());
}

#[test]
fn a_reset_is_reported_as_disconnect_only() {
    let server = Server::new();
    let peer = server.open();
    peer.text("last words");
    peer.remote.reset();
    server.run();
    assert_eq!(server.events(), ["text last words", "disconnect 1006"]);
    assert_eq!(server.phase(), Phase::Free);
}

#[test]
fn a_closing_server_closes_each_websocket_and_ends_with_the_last() {
    let server = Server::new();
    let [opening, quiet, closing] = [server.connect(), server.open(), server.open()];
    close(closing.websocket, 3000, "").unwrap();
    server.run();
    server.close();
    server.run();
    assert!(opening.remote.is_closed());
    assert_eq!(quiet.all_frames(), ["close 1001"]);
    assert_eq!(closing.all_frames(), ["close 3000"]);
    for peer in [&quiet, &closing] {
        assert!(!server.is_finished());
        peer.close(1000, "");
        peer.remote.shutdown_write();
        server.run();
        assert_eq!(server.events(), ["disconnect 1000"]);
    }
    assert!(server.is_finished());
}

#[test]
fn a_failed_disconnect_handler_is_reported_after_it() {
    let server = Server::new();
    server.on(EventKind::Disconnect, |_| 9);
    let peer = server.open();
    peer.remote.reset();
    server.run();
    assert_eq!(
        server.events(),
        ["disconnect 1006", "error in disconnect: 9"]
    );
}
