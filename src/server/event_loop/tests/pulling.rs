//! A host that pulls: as many events are recorded as it has room for.

use super::*;
use crate::server::dispatch::pull::Batch;

fn hosted() -> Server {
    Server::with(|options| options.dispatch = Dispatch::Host)
}

impl Server {
    /// One turn of a host with room for so many events. Returns them, and what they point to.
    fn pull(&self, room: usize) -> (Vec<String>, Batch) {
        let (records, batch) = pull(&self.event_loop, room);
        let events = records.into_iter().map(|(_, _, event)| event);
        (events.collect(), batch)
    }

    fn give_back(&self, batch: Batch) {
        self.event_loop.core.borrow_mut().take_back(batch);
    }

    /// Pulls until there is nothing more.
    fn pull_all(&self, room: usize) -> Vec<String> {
        self.room.set(room);
        self.run();
        self.events()
    }
}

/// Frames with payloads of these lengths.
fn frames_of(lens: &[usize]) -> Vec<u8> {
    lens.iter()
        .flat_map(|len| frame(2, &vec![b'x'; *len]))
        .collect()
}

#[test]
fn events_are_recorded_in_order_with_any_room() {
    let lens: Vec<usize> = (0..20).collect();
    let mut expected = vec!["upgrade".to_owned(), "connect".to_owned()];
    expected.extend(lens.iter().map(|len| format!("message of {len}")));
    expected.extend(["pong of 1", "disconnect 1000"].map(str::to_owned));
    for room in [1, 2, 3, 7, 64] {
        let server = hosted();
        let peer = server.connect();
        peer.remote.send(server.handshake().as_bytes());
        peer.remote.send(&frames_of(&lens));
        peer.pong("!");
        peer.close(1000, "");
        peer.remote.shutdown_write();
        assert_eq!(server.pull_all(room), expected, "room for {room}");
        assert_eq!(server.phase(), Phase::Free);
    }
}

#[test]
fn input_without_room_becomes_backlog_and_reading_pauses() {
    let server = hosted();
    let peer = server.open();
    peer.remote.send(&frames_of(&[1, 2, 3, 4]));
    peer.remote.send(&frames_of(&[5]));
    let (events, batch) = server.pull(2);
    assert_eq!(events, ["message of 1", "message of 2"]);
    assert!(server.is_read_paused(&peer));
    server.give_back(batch);
    let expected = ["message of 3", "message of 4", "message of 5"];
    assert_eq!(server.pull_all(2), expected);
    assert!(!server.is_read_paused(&peer));
}

#[test]
fn a_batch_keeps_its_ids_until_it_is_returned() {
    let server = hosted();
    let peer = server.open();
    peer.remote.send(&frames_of(&[1]));
    peer.remote.reset();
    let (events, first) = server.pull(8);
    assert_eq!(events, ["message of 1"]);
    let (events, second) = server.pull(8);
    assert_eq!(events, ["disconnect 1006"]);
    server.give_back(first);
    assert_eq!(server.phase(), Phase::Ended);
    assert_eq!(sending::state_of(peer.websocket), State::Closed);

    let other = server.connect();
    other.remote.send(server.handshake().as_bytes());
    assert_eq!(server.pull_all(8), ["upgrade", "connect"]);
    assert_eq!(server.phases(), [Phase::Ended, Phase::Open]);
    server.give_back(second);
    server.turn();
    assert_eq!(server.phases(), [Phase::Open]);
}

#[test]
fn a_closing_server_keeps_events_for_the_next_pull() {
    let server = hosted();
    let peer = server.open();
    peer.remote.send(&frames_of(&[1, 2]));
    server.close();
    peer.close(1000, "");
    peer.remote.shutdown_write();
    for _ in 0..10 {
        server.event_loop.turn(false, &mut Sink::Nowhere);
    }
    assert!(!server.is_finished());
    assert_eq!(server.pull_all(8), ["disconnect 1000"]);
    assert!(server.is_finished());
}

const KIB: usize = 1024;

/// Opens websockets to which all but the last byte of a message of this length is sent. Returns with each the
/// last byte.
fn unfinished(server: &Server, count: usize, len: usize) -> Vec<(Peer, Vec<u8>)> {
    let peers = (0..count).map(|_| {
        let peer = server.open();
        let mut message = frame(2, &vec![b'x'; len]);
        let last = message.split_off(message.len() - 1);
        peer.remote.send(&message);
        (peer, last)
    });
    let peers = peers.collect();
    server.run();
    peers
}

fn finish(peers: &[(Peer, Vec<u8>)]) {
    peers.iter().for_each(|(peer, last)| peer.remote.send(last));
}

#[test]
fn a_batch_is_bounded_in_bytes_too() {
    let server = hosted();
    server.room.set(64);
    let peers = unfinished(&server, 40, 100 * KIB);
    finish(&peers);
    let mut counts = Vec::new();
    while counts.iter().sum::<usize>() < peers.len() {
        let (events, batch) = server.pull(64);
        assert!(batch.held_bytes() <= 1200 * KIB, "{}", batch.held_bytes());
        assert!(!events.is_empty());
        assert!(events.iter().all(|event| event == "message of 102400"));
        counts.push(events.len());
        server.give_back(batch);
    }
    assert!((4..=6).contains(&counts.len()), "{counts:?}");
}

#[test]
fn one_message_larger_than_the_bound_is_pulled() {
    let server = hosted();
    server.room.set(64);
    let peers = unfinished(&server, 2, 3000 * KIB);
    finish(&peers);
    for _ in 0..2 {
        let (events, batch) = server.pull(64);
        assert_eq!(events, ["message of 3072000"]);
        server.give_back(batch);
    }
}

#[test]
fn a_backlog_waits_where_it_is_while_there_is_no_room() {
    let server = hosted();
    server.room.set(64);
    let waiting = server.open();
    waiting.remote.send(&frames_of(&[10, 2000]));
    let (events, first) = server.pull(1);
    assert_eq!(events, ["message of 10"]);
    server.give_back(first);
    let (events, batch) = server.pull(0);
    assert_eq!((events.len(), batch.held_bytes()), (0, 0));
    server.give_back(batch);
    assert_eq!(server.pull_all(1), ["message of 2000"]);
}

#[test]
fn pulled_messages_count_until_they_are_returned() {
    let server = hosted();
    server.room.set(64);
    let peers = unfinished(&server, 3, 100 * KIB);
    finish(&peers);
    let (events, batch) = server.pull(64);
    assert_eq!(events.len(), 3);
    let held = server.shared.metric(17);
    assert!(
        (300 * KIB as u64..400 * KIB as u64).contains(&held),
        "{held}"
    );
    // The websockets may end: what was pulled is still there.
    peers.iter().for_each(|(peer, _)| peer.remote.reset());
    server.run();
    assert_eq!(server.shared.metric(17), held);
    server.give_back(batch);
    server.turn();
    assert_eq!(server.shared.metric(17), 0);
}

#[test]
fn pulled_messages_of_one_loop_leave_less_for_another() {
    let server = Server::with_loops(2, |options| options.max_memory = 4096 * KIB as u64);
    let lent = unfinished(&server, 1, 1900 * KIB);
    let slow = server.open();
    slow.accept_at_most(100);
    finish(&lent);
    let pulled: Vec<_> = server.loops().map(|one| pull(one, 64)).collect();
    let events = pulled.iter().map(|(records, _)| records.len());
    assert_eq!(events.collect::<Vec<_>>(), [1, 0]);
    for _ in 0..40 {
        send_many(slow.websocket, 'q', 64 * KIB).unwrap();
    }
    for _ in 0..2 {
        server.others[0].turn(true, &mut Sink::Call);
    }
    assert_eq!(server.metrics().memory_closed.load(Ordering::Relaxed), 1);
    assert_eq!(sending::state_of(slow.websocket), State::Closing);
    drop(pulled);
}
