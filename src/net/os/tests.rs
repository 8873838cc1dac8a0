//! The guarantees of [`Sockets`], tested with every kind. What depends on a kernel's buffers, on time or on
//! other threads is tested with the system's kinds alone.

use std::io::{self, Read, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::linux::{RingSockets, SystemSockets};
use super::{AnySockets, Backend, Listener, Network, RemoteEnd, Waker, Write};
use crate::net::address::Address;
use crate::net::event::{IoEvent, Token};
use crate::net::sockets::Sockets;

const SECOND: Duration = Duration::from_secs(1);
const DEADLINE: Duration = Duration::from_secs(60);
const TOKEN: Token = Token {
    index: 3,
    generation: 7,
};

/// Every kind.
fn each(test: fn(Bench)) {
    each_of_the_system(test);
    test(Bench::in_memory());
}

/// The system's kinds; the ring has so few buffers that it often runs out of them.
fn each_of_the_system(test: fn(Bench)) {
    for backend in [Backend::Epoll, Backend::Mixed] {
        test(Bench::new(AnySockets::new(backend, &waker()).unwrap()));
    }
    match ring() {
        Ok(sockets) => test(Bench::new(sockets)),
        Err(error) => eprintln!("NOT TESTED: the system refuses io_uring: {error}"),
    }
}

fn ring() -> io::Result<AnySockets> {
    let ring = RingSockets::with_buffers(&waker(), (2, 16))?;
    Ok(AnySockets::System(SystemSockets::Ring(Box::new(ring))))
}

fn waker() -> Arc<Waker> {
    Arc::new(Waker::new().unwrap())
}

/// Sockets that listen.
struct Bench {
    sockets: AnySockets,
    listener: Listener,
    network: Option<Network>,
}

/// The other end of a connection.
enum Client {
    Tcp(TcpStream),
    InMemory(RemoteEnd),
}

impl Bench {
    fn new(mut sockets: AnySockets) -> Self {
        let address = Address::resolve("127.0.0.1", 0).unwrap();
        let listener = Listener::bind(&address, 16, 0).unwrap();
        sockets.listen(&listener).unwrap();
        Self {
            sockets,
            listener,
            network: None,
        }
    }

    fn in_memory() -> Self {
        let network = Network::new();
        let mut sockets = AnySockets::in_memory(&network, &waker());
        let listener = Listener::InMemory(network.listener());
        sockets.listen(&listener).unwrap();
        Self {
            sockets,
            listener,
            network: Some(network),
        }
    }

    /// Accepts one more connection. Returns its other end.
    fn connect(&mut self, token: Token) -> Client {
        let client = match &self.network {
            Some(network) => Client::InMemory(network.connect()),
            None => {
                let stream = TcpStream::connect(("127.0.0.1", self.listener.port())).unwrap();
                stream.set_read_timeout(Some(DEADLINE)).unwrap();
                stream.set_nodelay(true).unwrap();
                Client::Tcp(stream)
            }
        };
        self.until(|sockets| sockets.take_acceptable());
        let (socket, _) = self.listener.accept().unwrap();
        self.sockets.add(socket, token).unwrap();
        client
    }

    /// The same, with the other end that a test in memory drives.
    fn connect_in_memory(&mut self, token: Token) -> RemoteEnd {
        match self.connect(token) {
            Client::InMemory(remote) => remote,
            Client::Tcp(_) => panic!("a bench of the system"),
        }
    }

    fn until(&mut self, mut done: impl FnMut(&mut AnySockets) -> bool) {
        let began = Instant::now();
        while !done(&mut self.sockets) {
            assert!(began.elapsed() < DEADLINE, "for too long");
            self.wait(Duration::from_millis(100));
        }
    }

    /// Waits for an event, or until the deadline.
    fn wait(&mut self, limit: Duration) {
        self.sockets.set_timer(limit).unwrap();
        self.sockets.wait(true).unwrap();
    }

    fn next(&mut self, buffer: &mut [u8]) -> IoEvent {
        let mut event = None;
        self.until(|sockets| {
            event = sockets.next(buffer);
            event.is_some()
        });
        event.unwrap()
    }

    /// Everything that connections send until all of them have ended.
    fn receive(&mut self, tokens: &[Token]) -> Vec<Vec<u8>> {
        let mut received = vec![Vec::new(); tokens.len()];
        let mut left = tokens.len();
        let mut buffer = [0; 1000];
        while left > 0 {
            match self.next(&mut buffer) {
                IoEvent::Received(token, count) => {
                    let index = tokens.iter().position(|it| *it == token).unwrap();
                    received[index].extend_from_slice(&buffer[..count]);
                }
                IoEvent::Ended(token, None) => {
                    // As a loop does: otherwise it may be reported again.
                    self.sockets.remove(token);
                    left -= 1;
                }
                other => panic!("{other:?}"),
            }
        }
        received
    }
}

impl Client {
    fn send(&self, bytes: &[u8]) {
        match self {
            Self::Tcp(stream) => (&*stream).write_all(bytes).unwrap(),
            Self::InMemory(remote) => remote.send(bytes),
        }
    }

    fn shutdown_write(&self) {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write).unwrap(),
            Self::InMemory(remote) => remote.shutdown_write(),
        }
    }

    /// Receives so many bytes.
    fn receive(&self, count: usize) -> Vec<u8> {
        match self {
            Self::Tcp(stream) => {
                let mut bytes = vec![0; count];
                (&*stream).read_exact(&mut bytes).unwrap();
                bytes
            }
            Self::InMemory(remote) => {
                let bytes = remote.receive();
                assert_eq!(bytes.len(), count);
                bytes
            }
        }
    }

    /// Lets a connection in memory hold about as much as one of the system.
    fn bound(&self) {
        if let Self::InMemory(remote) = self {
            remote.set_send_buffer(1 << 20);
        }
    }

    fn sees_the_end(&self) -> bool {
        match self {
            Self::Tcp(stream) => (&*stream).read(&mut [0; 1]).unwrap() == 0,
            Self::InMemory(remote) => remote.is_closed(),
        }
    }

    /// Waits until data has arrived, without reading it.
    fn wait_for_input(&self) {
        if let Self::Tcp(stream) = self {
            assert_eq!(stream.peek(&mut [0; 1]).unwrap(), 1);
        }
    }

    fn into_tcp(self) -> TcpStream {
        match self {
            Self::Tcp(stream) => stream,
            Self::InMemory(_) => panic!("a bench in memory"),
        }
    }
}

fn bytes(count: usize, seed: usize) -> Vec<u8> {
    (0..count)
        .map(|at| (at * 31 + at / 251 + seed) as u8)
        .collect()
}

#[test]
fn a_buffer_smaller_than_what_arrived_is_filled_again_and_again() {
    each(|mut bench| {
        let client = bench.connect(TOKEN);
        client.send(b"abcdef");
        drop(client);
        let mut received = Vec::new();
        loop {
            let mut buffer = [0; 4];
            match bench.next(&mut buffer) {
                IoEvent::Received(TOKEN, count) => received.extend_from_slice(&buffer[..count]),
                IoEvent::Ended(TOKEN, None) => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(received, b"abcdef");
    });
}

#[test]
fn many_connections_send_more_than_all_buffers_hold() {
    each(|mut bench| {
        let tokens: Vec<Token> = (0..8)
            .map(|index| Token {
                index,
                generation: 1,
            })
            .collect();
        let clients: Vec<Client> = tokens.iter().map(|one| bench.connect(*one)).collect();
        let writers: Vec<_> = clients
            .into_iter()
            .enumerate()
            .map(|(seed, client)| {
                std::thread::spawn(move || client.send(&bytes(20_000 + seed, seed)))
            })
            .collect();
        let received = bench.receive(&tokens);
        for (seed, writer) in writers.into_iter().enumerate() {
            writer.join().unwrap();
            assert!(received[seed] == bytes(20_000 + seed, seed), "of {seed}");
        }
    });
}

#[test]
fn a_paused_connection_is_read_when_it_is_resumed() {
    each(|mut bench| {
        let client = bench.connect(TOKEN);
        bench.sockets.pause(TOKEN);
        client.send(b"x");
        bench.wait(SECOND);
        assert!(bench.sockets.next(&mut [0; 4]).is_none());

        bench.sockets.resume(TOKEN);
        assert!(matches!(
            bench.next(&mut [0; 4]),
            IoEvent::Received(TOKEN, 1)
        ));
    });
}

#[test]
fn a_paused_connection_is_held_back_and_loses_nothing() {
    each_of_the_system(|mut bench| {
        let client = bench.connect(TOKEN).into_tcp();
        client.set_nonblocking(true).unwrap();
        let buffers = socket2::SockRef::from(&client);
        buffers.set_send_buffer_size(64 << 10).unwrap();
        let all = bytes(64 << 20, 5);
        let mut written = 0;
        let mut buffer = [0; 100];
        let mut received = Vec::new();
        for _ in 0..20 {
            bench.sockets.pause(TOKEN);
            let began = Instant::now();
            let mut refused = 0;
            while refused < 3 {
                assert!(began.elapsed() < DEADLINE, "not held back");
                match (&client).write(&all[written..written + (1 << 20)]) {
                    Ok(count) => written += count,
                    Err(_) => refused += 1,
                }
                bench.wait(Duration::from_millis(1));
                assert!(bench.sockets.next(&mut buffer).is_none());
            }
            bench.sockets.resume(TOKEN);
            let from = received.len();
            while received.len() < from + 3_000 {
                match bench.next(&mut buffer) {
                    IoEvent::Received(TOKEN, count) => received.extend_from_slice(&buffer[..count]),
                    other => panic!("{other:?}"),
                }
            }
        }
        assert!(written < all.len() / 2);
        drop(client);
        received.extend_from_slice(&bench.receive(&[TOKEN])[0]);
        assert!(received == all[..written]);
    });
}

#[test]
fn a_full_socket_is_reported_when_it_can_be_written_to_again() {
    each(|mut bench| {
        let client = bench.connect(TOKEN);
        client.bound();
        let block = [7; 65536];
        let mut sent = 0;
        while let Ok(count) = bench.sockets.send(TOKEN, &block) {
            sent += count;
        }
        bench.sockets.arm_writes(TOKEN).unwrap();
        let reader = std::thread::spawn(move || {
            client.receive(sent);
            client
        });
        bench.until(|sockets| sockets.take_writable() == [TOKEN]);
        reader.join().unwrap();
    });
}

#[test]
fn a_batch_is_sent_as_far_as_each_socket_takes_it() {
    each(|mut bench| {
        let other = Token {
            index: 0,
            generation: 9,
        };
        let gone = Token {
            index: 1,
            generation: 1,
        };
        let first = bench.connect(TOKEN);
        let second = bench.connect(other);
        second.bound();
        let large = bytes(64 << 20, 1);
        let mut results = Vec::new();
        bench.sockets.send_all(
            &[
                (TOKEN, b"one"),
                (gone, b"x"),
                (other, &large),
                (TOKEN, b"two"),
            ],
            |token, result| results.push((token, result)),
        );
        let mut tokens = results.iter().map(|(token, _)| *token);
        assert!(
            [TOKEN, gone, other, TOKEN]
                .iter()
                .copied()
                .eq(tokens.by_ref())
        );
        let mut taken = *results[2].1.as_ref().unwrap();
        assert!(0 < taken && taken < large.len());
        assert!(matches!(results[0].1, Ok(3)) && matches!(results[3].1, Ok(3)));
        let error = results[1].1.as_ref().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotConnected);

        // Meanwhile the system may have delivered some of it, and so have room for more.
        let mut blocked = false;
        while !blocked {
            let rest = &large[taken..];
            let before = taken;
            bench
                .sockets
                .send_all(&[(other, rest)], |_, result| match result {
                    Ok(count) => taken += count,
                    Err(error) => blocked = error.kind() == io::ErrorKind::WouldBlock,
                });
            assert!(blocked || taken > before, "neither sent nor blocked");
        }
        assert_eq!(first.receive(6), b"onetwo");
        assert!(second.receive(taken) == large[..taken]);
    });
}

#[test]
fn a_batch_may_be_of_any_length() {
    each(|mut bench| {
        let client = bench.connect(TOKEN);
        let all = bytes(2_000, 3);
        let batch: Vec<(Token, &[u8])> = all.chunks(1).map(|one| (TOKEN, one)).collect();
        let mut count = 0;
        bench.sockets.send_all(&batch, |_, result| {
            assert_eq!(result.unwrap(), 1);
            count += 1;
        });
        assert_eq!(count, all.len());
        assert!(client.receive(all.len()) == all);
    });
}

#[test]
fn a_removed_connection_is_closed_and_forgotten() {
    each(|mut bench| {
        let client = bench.connect(TOKEN);
        bench.sockets.wait(false).unwrap();
        bench.sockets.arm_writes(TOKEN).unwrap();
        bench.sockets.remove(TOKEN);
        bench.sockets.wait(false).unwrap();
        assert!(client.sees_the_end());
        let gone = bench.sockets.send(TOKEN, b"x").unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotConnected);
    });
}

#[test]
fn what_a_removed_connection_had_sent_is_not_reported_of_its_successor() {
    each(|mut bench| {
        let mut token = TOKEN;
        for round in 0..50 {
            let old = bench.connect(token);
            old.send(b"old");
            if round % 2 == 0 {
                bench.wait(SECOND);
            }
            bench.sockets.remove(token);
            token.generation += 1;
            let client = bench.connect(token);
            client.send(b"new");
            drop(client);
            assert_eq!(bench.receive(&[token]), [b"new"]);
            token.generation += 1;
        }
    });
}

#[test]
fn a_reset_is_an_end_with_an_error() {
    each(|mut bench| {
        let client = bench.connect(TOKEN);
        bench.sockets.send(TOKEN, b"never read").unwrap();
        bench.sockets.wait(false).unwrap();
        client.wait_for_input();
        drop(client);
        let IoEvent::Ended(TOKEN, Some(error)) = bench.next(&mut [0; 4]) else {
            panic!("no error");
        };
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_waker_ends_a_wait_each_time() {
    for backend in [Backend::Epoll, Backend::Mixed, Backend::Ring] {
        let waker = waker();
        let mut sockets = AnySockets::new(backend, &waker).unwrap();
        sockets.set_timer(Duration::from_secs(20)).unwrap();
        for _ in 0..3 {
            let began = Instant::now();
            waker.wake();
            sockets.wait(true).unwrap();
            assert!(began.elapsed() < Duration::from_secs(10), "slept on");
        }
    }
}

#[test]
fn the_timer_ends_a_wait_each_time_it_is_set_and_not_too_early() {
    for backend in [Backend::Epoll, Backend::Mixed, Backend::Ring] {
        let waker = waker();
        let mut sockets = AnySockets::new(backend, &waker).unwrap();
        for limit in [20, 1, 10, 0].map(Duration::from_millis) {
            sockets.set_timer(10 * SECOND).unwrap();
            sockets.wait(false).unwrap();
            let began = Instant::now();
            sockets.set_timer(limit).unwrap();
            sockets.wait(true).unwrap();
            let waited = began.elapsed();
            assert!(limit <= waited && waited < 5 * SECOND, "{waited:?}");
        }
    }
}

#[test]
fn what_a_failed_ring_had_received_is_read_by_epoll() {
    let sockets = match ring() {
        Ok(sockets) => sockets,
        Err(error) => return eprintln!("NOT TESTED: the system refuses io_uring: {error}"),
    };
    let mut bench = Bench::new(sockets);
    let tokens = [3, 5, 8].map(|index| Token {
        index,
        generation: 1,
    });
    let clients = tokens.map(|token| bench.connect(token));
    for (client, text) in clients.iter().zip(["read", "paused", "ended"]) {
        client.send(text.as_bytes());
    }
    bench.until(|sockets| sockets.readable() == 3);
    bench.sockets.pause(tokens[1]);
    clients[2].shutdown_write();

    let AnySockets::System(SystemSockets::Ring(ring)) = &mut bench.sockets else {
        unreachable!("it was made one")
    };
    let epoll = ring.hand_over().unwrap();
    bench.sockets = AnySockets::System(SystemSockets::Epoll(epoll));
    clients[0].send(b" on");
    clients[1].send(b" for a while");
    for client in &clients[..2] {
        client.shutdown_write();
    }
    let received = bench.receive(&[tokens[0], tokens[2]]);
    assert_eq!(received, [&b"read on"[..], b"ended"]);
    bench.sockets.resume(tokens[1]);
    assert_eq!(bench.receive(&tokens[1..2]), [b"paused for a while"]);
    let late = bench.connect(TOKEN);
    drop(late);
    assert_eq!(bench.receive(&[TOKEN]), [b""]);
}

// ---- only in memory ----

#[test]
fn every_cutting_of_what_is_sent_is_read_as_it_was_cut() {
    let all = b"a text in pieces";
    for first in 1..all.len() {
        for second in first..all.len() {
            let mut bench = Bench::in_memory();
            let remote = bench.connect_in_memory(TOKEN);
            let pieces = [&all[..first], &all[first..second], &all[second..]];
            pieces.iter().for_each(|piece| remote.send(piece));
            remote.shutdown_write();
            let mut buffer = [0; 100];
            for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
                let event = bench.next(&mut buffer);
                assert!(
                    matches!(event, IoEvent::Received(TOKEN, count) if buffer[..count] == **piece)
                );
            }
            assert!(matches!(
                bench.next(&mut buffer),
                IoEvent::Ended(TOKEN, None)
            ));
        }
    }
}

#[test]
fn a_gathering_write_may_be_short_by_any_length_and_fail_at_each_step() {
    let parts = [&b"head"[..], b"", b"body of a frame"];
    let (all, pieces) = (parts.concat(), parts.map(io::IoSlice::new));
    for most in 1..all.len() {
        for kind in [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut] {
            let mut bench = Bench::in_memory();
            let remote = bench.connect_in_memory(TOKEN);
            remote.script_writes([Write::Accept(most), Write::Fail(kind)]);
            let sent = bench.sockets.send_vectored(TOKEN, &pieces).unwrap();
            assert_eq!(sent, most);
            let refused = bench.sockets.send(TOKEN, &all[most..]).unwrap_err();
            assert_eq!(refused.kind(), kind);
            assert_eq!(
                bench.sockets.send(TOKEN, &all[most..]).unwrap(),
                all.len() - most
            );
            assert_eq!(remote.receive(), all);
        }
    }
}

#[test]
fn without_descriptors_connections_wait_to_be_accepted() {
    let mut bench = Bench::in_memory();
    let network = bench.network.clone().unwrap();
    network.set_has_descriptors(false);
    let _waiting = [network.connect(), network.connect()];
    bench.sockets.wait(true).unwrap();
    assert!(bench.sockets.take_acceptable());
    let refused = bench.listener.accept().unwrap_err();
    assert_ne!(refused.kind(), io::ErrorKind::WouldBlock);
    bench.sockets.wait(true).unwrap();
    assert!(!bench.sockets.take_acceptable(), "reported again");
    network.set_has_descriptors(true);
    assert!(bench.listener.accept().is_ok() && bench.listener.accept().is_ok());
    let error = bench.listener.accept().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn what_is_sent_stays_unacknowledged_until_the_peer_says_so() {
    let mut bench = Bench::in_memory();
    let remote = bench.connect_in_memory(TOKEN);
    bench.sockets.send(TOKEN, b"seen").unwrap();
    remote.hold_acknowledgements();
    bench.sockets.send(TOKEN, b"unseen").unwrap();
    assert_eq!(bench.sockets.unacknowledged(TOKEN).unwrap(), 6);
    remote.acknowledge(4);
    assert_eq!(bench.sockets.unacknowledged(TOKEN).unwrap(), 2);
}

#[test]
fn either_side_ends_alone_or_both_at_once() {
    let mut bench = Bench::in_memory();
    let remote = bench.connect_in_memory(TOKEN);
    remote.shutdown_write();
    assert!(matches!(
        bench.next(&mut [0; 4]),
        IoEvent::Ended(TOKEN, None)
    ));
    bench.sockets.send(TOKEN, b"still").unwrap();
    assert_eq!(remote.receive(), b"still");
    assert!(!remote.is_shut_down());
    bench.sockets.shutdown_write(TOKEN).unwrap();
    assert!(remote.is_shut_down() && !remote.is_closed());
    assert!(bench.sockets.send(TOKEN, b"late").is_err());
    bench.sockets.remove(TOKEN);
    assert!(remote.is_closed());
}

#[test]
fn a_connection_that_is_reset_can_be_read_to_its_end() {
    let mut bench = Bench::in_memory();
    let remote = bench.connect_in_memory(TOKEN);
    remote.send(b"last");
    remote.reset();
    let refused = bench.sockets.send(TOKEN, b"x").unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionReset);
    assert!(matches!(
        bench.next(&mut [0; 4]),
        IoEvent::Received(TOKEN, 4)
    ));
    assert!(matches!(
        bench.next(&mut [0; 4]),
        IoEvent::Ended(TOKEN, Some(_))
    ));
}

#[test]
fn a_last_message_precedes_the_end() {
    let bench = Bench::in_memory();
    let remote = bench.network.as_ref().unwrap().connect();
    let (socket, peer) = bench.listener.accept().unwrap();
    assert!(peer.ip().is_some());
    socket.leave_with(b"goodbye");
    assert_eq!(remote.receive(), b"goodbye");
    assert!(remote.is_closed());
}

#[test]
fn no_wait_waits_and_the_timer_is_only_noted() {
    let mut bench = Bench::in_memory();
    let network = bench.network.clone().unwrap();
    let remote = bench.connect_in_memory(TOKEN);
    let before = network.idle_waits();
    remote.send(b"x");
    bench.wait(1000 * DEADLINE);
    assert_eq!(network.timer(), Some(1000 * DEADLINE));
    assert_eq!(network.idle_waits(), before);
    bench.next(&mut [0; 4]);
    bench.wait(DEADLINE);
    assert_eq!(network.idle_waits(), before + 1);
}
