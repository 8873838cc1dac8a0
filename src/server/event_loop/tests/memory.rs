//! MAX_MEMORY.

use super::*;

const MIB: usize = 1 << 20;

fn server() -> Server {
    Server::with(|options| options.max_memory = 4 * MIB as u64)
}

/// A peer that accepts so little that what is sent to it stays in the queue, of which the first message has begun.
fn slow_reader(server: &Server, megabytes: usize) -> Peer {
    let peer = server.open();
    peer.accept_at_most(100);
    server.inside(|| {
        for _ in 0..megabytes * 64 {
            send_many(peer.websocket, 'q', MIB / 64).unwrap();
        }
    });
    server.turn();
    peer
}

fn held(server: &Server) -> u64 {
    server.shared.metric(17)
}

#[test]
fn what_is_queued_buffered_and_incomplete_is_counted_until_it_is_gone() {
    let server = server();
    let quiet = server.open();
    assert_eq!(held(&server), 0);
    let reader = slow_reader(&server, 1);
    assert!(held(&server) >= MIB as u64, "{}", held(&server));

    let writer = server.open();
    let before = held(&server);
    let mut half = vec![0x02, 0x80 | 127];
    half.extend_from_slice(&(MIB as u64).to_be_bytes());
    half.extend_from_slice(&[0; 4 + MIB / 2]);
    writer.remote.send(&half);
    server.run();
    assert!(held(&server) >= before + MIB as u64 / 2);

    writer.remote.reset();
    reader.remote.reset();
    server.run();
    assert_eq!(held(&server), 0);
    assert_eq!(server.metrics().memory_closed.load(Ordering::Relaxed), 0);
    assert!(server.events_of(&quiet).is_empty());
}

#[test]
fn the_websocket_that_holds_most_ends_with_1013_after_the_frame_that_is_being_sent() {
    let server = server();
    let small = slow_reader(&server, 1);
    let large = slow_reader(&server, 2);
    assert_eq!(server.metrics().memory_closed.load(Ordering::Relaxed), 0);
    let more = slow_reader(&server, 1);
    assert_eq!(server.metrics().memory_closed.load(Ordering::Relaxed), 1);
    assert!(held(&server) <= 4 * MIB as u64 * 7 / 8);

    assert_eq!(sending::state_of(large.websocket), State::Closing);
    assert_eq!(send(large.websocket, "late"), Err(ServerError::Gone));
    assert_eq!(queued(small.websocket) / MIB, 1);
    large.accept_at_most(10 * MIB);
    server.run();
    let frames = large.all_frames();
    assert_eq!(frames.len(), 2);
    assert!(frames[0].starts_with("binary "), "{frames:?}");
    assert_eq!(frames[1], "close 1013");
    large.close(1013, "");
    large.remote.shutdown_write();
    server.run();
    let events = server.events_of(&large);
    assert!(
        events[0].starts_with("error") && events[0].contains("1013"),
        "{events:?}"
    );
    assert!(
        events.last().unwrap().starts_with("disconnect 1013"),
        "{events:?}"
    );
    for peer in [&small, &more] {
        assert_eq!(sending::state_of(peer.websocket), State::Open);
    }
}

#[test]
fn a_large_frame_that_has_begun_is_not_waited_for() {
    let server = server();
    let peer = server.open();
    peer.accept_at_most(100);
    server
        .inside(|| send_many(peer.websocket, 'q', 5 * MIB))
        .unwrap();
    server.run();
    assert!(peer.remote.is_closed());
    assert!(
        server
            .events_of(&peer)
            .last()
            .unwrap()
            .starts_with("disconnect 1006")
    );
    assert_eq!((held(&server), server.phase()), (0, Phase::Free));
}

#[test]
fn requests_that_are_being_read_count_and_are_refused() {
    let server = Server::with(|options| {
        options.max_memory = MIB as u64;
        options.max_header_size = 2 * MIB;
    });
    let peer = server.connect();
    let long = format!("GET /{} HTTP/1.1\r\nX: {}", "a", "b".repeat(3 * MIB / 2));
    peer.remote.send(long.as_bytes());
    server.run();
    assert_eq!(peer.status(), 503);
    assert_eq!(held(&server), 0);
}

#[test]
fn the_largest_of_all_loops_ends() {
    let server = Server::with_loops(2, |options| options.max_memory = 4 * MIB as u64);
    let first = server.open();
    let second = server.open();
    for (peer, messages) in [(&first, 190), (&second, 85)] {
        peer.accept_at_most(100);
        for _ in 0..messages {
            send_many(peer.websocket, 'q', MIB / 64).unwrap();
        }
    }
    server.run();
    assert_eq!(server.metrics().memory_closed.load(Ordering::Relaxed), 1);
    assert_eq!(sending::state_of(first.websocket), State::Closing);
    assert_eq!(sending::state_of(second.websocket), State::Open);
}

#[test]
fn a_batch_is_written_before_connections_end() {
    let server = Server::with_loops(2, |options| options.max_memory = 4 * MIB as u64);
    let slow = server.open();
    let elsewhere = server.open();
    let quick = server.open();
    for peer in [&slow, &elsewhere] {
        peer.accept_at_most(100);
    }
    let queue = |peer: &Peer, messages: usize| {
        for _ in 0..messages {
            send_many(peer.websocket, 'q', 16_000).unwrap();
        }
    };
    // The largest is in the same batch as one whose system accepts no more.
    server.inside(|| queue(&slow, 40));
    server.inside(|| queue(&quick, 160));
    queue(&elsewhere, 84);
    server.others[0].turn(true, &mut Sink::Call);
    assert!(server.event_loop.core.borrow().is_over_memory());
    server.run();
    let frames = quick.all_frames();
    assert_eq!(frames.len(), 160);
    assert!(frames.iter().all(|frame| *frame == frames[0]));
    assert_eq!(sending::state_of(quick.websocket), State::Open);
}

#[test]
fn a_large_frame_that_has_not_begun_is_freed() {
    let server = server();
    let large = server.open();
    large.accept_at_most(0);
    send_many(large.websocket, 'q', 3 * MIB).unwrap();
    server.run();
    let small = slow_reader(&server, 1);
    let more = slow_reader(&server, 1);
    assert_eq!(server.metrics().memory_closed.load(Ordering::Relaxed), 1);
    assert!(held(&server) < 3 * MIB as u64, "{}", held(&server));
    let states = [&large, &small, &more].map(|peer| sending::state_of(peer.websocket));
    assert_eq!(states, [State::Closing, State::Open, State::Open]);
}
