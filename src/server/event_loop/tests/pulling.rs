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
