//! PER_CLIENT: each websocket's callbacks run on a thread of its own.
//!
//! Those threads are real, so tests run turns until something has happened, with a deadline.

use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;

fn per_client() -> Server {
    Server::with(|options| options.dispatch = Dispatch::PerClient)
}

impl Server {
    /// Runs turns until so many events have come. Returns them.
    fn wait_for_events(&self, count: usize) -> Vec<String> {
        self.turn_until(|| locks::lock(&self.application.events).len() >= count);
        self.events()
    }
}

/// Makes a handler wait until the sender sends.
fn gate(server: &Server, event: EventKind, returns: i32) -> Sender<()> {
    let (open, gate): (Sender<()>, Receiver<()>) = channel();
    let gate = Mutex::new(gate);
    server.on(event, move |_| {
        locks::lock(&gate).recv_timeout(DEADLINE).expect("in time");
        returns
    });
    open
}

#[test]
fn events_reach_the_clients_thread_in_order() {
    let server = per_client();
    let peer = server.connect();
    peer.remote.send(server.handshake().as_bytes());
    let frames = [frame(1, b"a"), frame(1, b"b"), frame(10, b"c")].concat();
    peer.remote.send(&frames);
    peer.close(1000, "bye");
    peer.remote.shutdown_write();
    let expected = [
        "upgrade",
        "connect",
        "text a",
        "text b",
        "pong c",
        "disconnect 1000 bye",
    ];
    assert_eq!(server.wait_for_events(expected.len()), expected);
    server.turn_until(|| server.phase() == Phase::Free);
    assert_eq!(
        (peer.status(), peer.all_frames()),
        (101, vec!["close 1000".to_owned()])
    );
}

#[test]
fn a_blocking_handler_delays_neither_pongs_nor_other_threads_messages() {
    let server = per_client();
    let gate = gate(&server, EventKind::Message, 0);
    let mut peer = server.connect();
    peer.remote.send(server.handshake().as_bytes());
    server.wait_for_events(2);
    assert_eq!(peer.status(), 101);
    peer.websocket = server.last_websocket();
    peer.text("long work");
    peer.ping("still there?");
    assert_eq!(server.wait_for_events(1), ["text long work"]);
    server.run();
    send(peer.websocket, "news").unwrap();
    server.run();
    assert_eq!(peer.all_frames(), ["pong still there?", "text news"]);
    gate.send(()).unwrap();
    peer.remote.reset();
    assert_eq!(server.wait_for_events(1), ["disconnect 1006"]);
    server.turn_until(|| server.phase() == Phase::Free);
}

#[test]
fn the_loop_looks_soon_for_the_answers_of_a_batch_whose_last_handler_blocks() {
    for behind in [vec![], frame(10, b"c"), frame(2, &[0; 20_000])] {
        let server = per_client();
        let mut peer = server.connect();
        peer.remote.send(server.handshake().as_bytes());
        server.wait_for_events(2);
        assert_eq!(peer.status(), 101);
        peer.websocket = server.last_websocket();
        server.run();

        let (open, gate): (Sender<()>, Receiver<()>) = channel();
        let (gate, calls) = (Mutex::new(gate), AtomicU64::new(0));
        server.on(EventKind::Message, move |websocket| {
            match calls.fetch_add(1, Ordering::Relaxed) {
                0 => send(websocket, "answer").expect("an open websocket"),
                1 => locks::lock(&gate).recv_timeout(DEADLINE).expect("in time"),
                _ => (),
            }
            0
        });
        peer.remote
            .send(&[frame(1, b"a"), frame(1, b"b"), behind].concat());
        server.run();
        let timer = server.network.timer().expect("a timer");
        assert!(timer <= Duration::from_millis(1), "{timer:?}");
        server.pass(2);
        server.turn_until(|| !peer.all_frames().is_empty());
        open.send(()).unwrap();
        peer.remote.reset();
        server.turn_until(|| server.phase() == Phase::Free);
    }
}

#[test]
fn a_blocking_upgrade_is_awaited_even_if_the_peer_leaves() {
    for (returned, leaves, expected) in [
        (0, false, &["upgrade", "connect"][..]),
        (403, false, &["upgrade"]),
        (0, true, &["upgrade", "connect", "disconnect 1006"]),
        (403, true, &["upgrade"]),
    ] {
        let server = per_client();
        let gate = gate(&server, EventKind::Upgrade, returned);
        let peer = server.connect();
        peer.remote.send(server.handshake().as_bytes());
        server.turn_until(|| server.phase() == Phase::Deciding);
        server.pass(60_000);
        assert_eq!(server.phase(), Phase::Deciding);
        if leaves {
            peer.remote.reset();
            server.turn_until(|| server.phase() == Phase::Ended);
        }
        gate.send(()).unwrap();
        assert_eq!(server.wait_for_events(expected.len()), expected);
        let next = match (returned, leaves) {
            (0, false) => Phase::Open,
            (_, false) => Phase::Lingering,
            (_, true) => Phase::Free,
        };
        server.turn_until(|| server.phase() == next);
        if next == Phase::Open {
            server.on(EventKind::Disconnect, |_| 0);
            peer.remote.reset();
            server.turn_until(|| server.phase() == Phase::Free);
        }
    }
}
