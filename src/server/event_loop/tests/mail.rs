//! Requests of other threads: they are processed in the loop's next turn.

use super::*;

#[test]
fn mail_is_processed_in_order() {
    let server = Server::new();
    let peer = server.open();
    send(peer.websocket, "1").unwrap();
    ping(peer.websocket, b"p").unwrap();
    on_another_thread(|| send(peer.websocket, "2")).unwrap();
    close(peer.websocket, 1000, "").unwrap();
    assert_eq!(send(peer.websocket, "3"), Err(ServerError::Gone));
    assert_eq!(ping(peer.websocket, b""), Err(ServerError::Gone));
    assert!(peer.all_frames().is_empty());
    server.turn();
    let expected = ["ping p", "text 1", "text 2", "close 1000"];
    assert_eq!(peer.all_frames(), expected);
    assert_eq!(queued(peer.websocket), 0);
}

#[test]
fn what_the_loop_sends_follows_what_was_mailed_before() {
    let server = Server::new();
    let peer = server.open();
    server.on_do(EventKind::Message, |websocket| {
        on_another_thread(|| send(websocket, "mailed")).unwrap();
        send(websocket, "direct").unwrap();
        on_another_thread(|| send(websocket, "mailed later")).unwrap();
    });
    peer.text("go");
    server.run();
    let expected = ["text mailed", "text direct", "text mailed later"];
    assert_eq!(peer.all_frames(), expected);
}

#[test]
fn a_mailed_message_counts_its_overhead_until_it_is_taken() {
    let server = Server::with(|options| options.max_queued = 100);
    let peer = server.open();
    peer.accept_at_most(0);
    send_many(peer.websocket, 'x', 34).unwrap();
    assert_eq!(queued(peer.websocket), 100);
    assert_eq!(send(peer.websocket, "y"), Err(ServerError::Full));
    server.run();
    assert_eq!(queued(peer.websocket), 36);
    assert_eq!(server.events(), ["drain"]);
}

#[test]
fn an_abort_before_the_mail_is_taken_discards_it() {
    let server = Server::new();
    let peer = server.open();
    send(peer.websocket, "lost").unwrap();
    ping(peer.websocket, b"lost").unwrap();
    abort(peer.websocket).unwrap();
    send(peer.websocket, "too late").unwrap_err();
    server.run();
    assert_eq!(server.events(), ["disconnect 1006"]);
    assert!(peer.remote.is_closed() && server.phase() == Phase::Free);
}

#[test]
fn mail_for_a_websocket_that_ends_in_the_same_turn_is_discarded() {
    let server = Server::new();
    let [first, second] = [server.open(), server.open()];
    let websocket = second.websocket;
    // After the mail was taken, and before the reset is read.
    server.on_do(EventKind::Message, move |_| {
        on_another_thread(|| send(websocket, "lost")).unwrap();
    });
    first.text("go");
    second.remote.reset();
    server.turn();
    assert_eq!(server.events(), ["text go", "disconnect 1006"]);
    assert_eq!((server.phases(), queued(websocket)), (vec![Phase::Open], 0));
}

#[test]
fn a_flush_by_another_thread_happens_in_the_next_turn() {
    let server = Server::new();
    let peer = server.open();
    server.inside(|| send(peer.websocket, "x")).unwrap();
    sending::flush(peer.websocket).unwrap();
    server.turn();
    assert_eq!(peer.all_frames(), ["text x"]);
    abort(peer.websocket).unwrap();
    server.run();
    assert_eq!(sending::flush(peer.websocket), Err(ServerError::Gone));
}

// ---- between the reservation and the posting ----

#[test]
fn a_close_waits_for_messages_in_flight() {
    for goes_on in [true, false] {
        let server = Server::new();
        let peer = server.open();
        let [first, second] =
            ["first", "second"].map(|text| Stopped::in_send(peer.websocket, text).unwrap());
        close(peer.websocket, 1000, "").unwrap();
        server.run();
        assert!(peer.all_frames().is_empty() && server.phase() == Phase::Closing);
        first.go_on();
        server.run();
        assert_eq!(peer.all_frames(), ["text first"]);
        match goes_on {
            true => second.go_on(),
            false => second.give_up(),
        }
        server.run();
        let expected = ["text second", "close 1000"];
        assert_eq!(peer.all_frames(), expected[usize::from(!goes_on)..]);
    }
}

#[test]
fn the_reply_to_a_close_waits_for_messages_in_flight() {
    let server = Server::new();
    let peer = server.open();
    let stopped = Stopped::in_send(peer.websocket, "last").unwrap();
    peer.close(1000, "");
    server.run();
    assert_eq!((server.phase(), peer.bytes().len()), (Phase::Closing, 0));
    stopped.go_on();
    server.run();
    assert_eq!(peer.all_frames(), ["text last", "close 1000"]);
    assert_eq!(server.phase(), Phase::Lingering);
}

#[test]
fn a_message_in_flight_keeps_the_id_of_an_ended_websocket() {
    for goes_on in [true, false] {
        let server = Server::new();
        let peer = server.open();
        let stopped = Stopped::in_send(peer.websocket, "lost").unwrap();
        peer.remote.reset();
        server.run();
        assert_eq!(server.events(), ["disconnect 1006"]);
        assert_eq!(server.phase(), Phase::Ended);
        let other = server.open();
        assert_ne!(other.token().index, peer.token().index);
        match goes_on {
            true => stopped.go_on(),
            false => stopped.give_up(),
        }
        server.run();
        assert_eq!(server.phases(), [Phase::Open]);
        assert!(other.all_frames().is_empty());
    }
}

#[test]
fn a_closing_server_waits_for_messages_in_flight() {
    let server = Server::new();
    let peer = server.open();
    let stopped = Stopped::in_send(peer.websocket, "lost").unwrap();
    server.close();
    peer.remote.reset();
    server.run();
    assert!(!server.is_finished());
    stopped.give_up();
    server.run();
    assert!(server.is_finished());
}

#[test]
fn a_drain_caused_by_another_thread_is_reported() {
    let server = Server::with(|options| options.max_queued = 100);
    let peer = server.open();
    let stopped = Stopped::in_send(peer.websocket, &"x".repeat(50)).unwrap();
    assert_eq!(send(peer.websocket, "y"), Err(ServerError::Full));
    stopped.give_up();
    server.run();
    assert_eq!(server.events(), ["drain"]);
}
