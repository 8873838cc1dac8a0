//! The sockets of one loop, by one of the two ways that the system offers.

use std::io::{self, IoSlice};
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use super::batch::Batches;
use super::epoll::Epoll;
use super::ring::Ring;
use super::{Listener, Signal, Socket, Waker};
use crate::net::event::{Happening, Token};

/// How a loop talks to the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Epoll for everything.
    Epoll,
    /// Epoll, but many sends at once by io_uring, if the system lets us. The loop stays on one thread.
    Mixed,
    /// io_uring, or epoll where the system does not let us. The loop stays on one thread.
    Ring,
}

pub enum Sockets {
    Epoll(Epoll),
    Ring(Box<Ring>),
}

/// Hands a call on to whichever it is.
macro_rules! either {
    ($self:ident, $sockets:ident => $call:expr) => {
        match $self {
            Sockets::Epoll($sockets) => $call,
            Sockets::Ring($sockets) => $call,
        }
    };
}

impl Sockets {
    /// By epoll; see [`Sockets::use_ring`].
    pub fn new(backend: Backend, waker: &Arc<Waker>) -> io::Result<Self> {
        let batches = match backend {
            Backend::Mixed => Batches::Untried,
            Backend::Epoll | Backend::Ring => Batches::Never,
        };
        let timer = Arc::new(Signal::timer()?);
        Epoll::new(waker, &timer, batches).map(Self::Epoll)
    }

    /// Lets io_uring serve, if the system lets us. Called by the thread that will serve, before there is any
    /// connection or timer: a ring belongs to the thread that makes it.
    pub fn use_ring(&mut self) {
        let Self::Epoll(epoll) = self else { return };
        let ring = Ring::new(epoll.waker()).and_then(|mut ring| {
            epoll
                .listener()
                .map_or(Ok(()), |listener| ring.listen(listener))?;
            Ok(ring)
        });
        match ring {
            Ok(ring) => *self = Self::Ring(Box::new(ring)),
            Err(error) => log::debug!("io_uring is unavailable, using epoll: {error}"),
        }
    }

    pub fn listen(&mut self, listener: &Arc<Listener>) -> io::Result<()> {
        either!(self, sockets => sockets.listen(listener))
    }

    pub fn stop_listening(&mut self, listener: &Listener) -> io::Result<()> {
        either!(self, sockets => sockets.stop_listening(listener))
    }

    /// Whether clients may be waiting since it was last asked. Take them all, or ask again later.
    pub fn take_acceptable(&mut self) -> bool {
        either!(self, sockets => sockets.take_acceptable())
    }

    /// Takes over a connection's socket.
    pub fn add(&mut self, socket: Socket, token: Token) -> io::Result<()> {
        either!(self, sockets => sockets.add(socket, token))
    }

    /// Closes a connection's socket.
    pub fn remove(&mut self, token: Token) {
        either!(self, sockets => sockets.remove(token))
    }

    /// From now on nothing is received from this connection.
    pub fn pause(&mut self, token: Token) {
        either!(self, sockets => sockets.pause(token))
    }

    pub fn resume(&mut self, token: Token) {
        either!(self, sockets => sockets.resume(token))
    }

    /// Says once, by [`Sockets::take_writable`], when this connection can be written to again.
    pub fn arm_writes(&mut self, token: Token) -> io::Result<()> {
        either!(self, sockets => sockets.arm_writes(token))
    }

    #[inline]
    pub fn send(&self, token: Token, bytes: &[u8]) -> io::Result<usize> {
        either!(self, sockets => sockets.send(token, bytes))
    }

    #[inline]
    pub fn send_vectored(&self, token: Token, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        either!(self, sockets => sockets.send_vectored(token, pieces))
    }

    /// Whether so many sends are better given to [`Sockets::send_all`].
    #[inline]
    pub fn sends_together(&self, sends: usize) -> bool {
        match self {
            Self::Epoll(epoll) => epoll.sends_together(sends),
            Self::Ring(_) => sends > 1,
        }
    }

    /// Sends several connections something, and tells of each what `send` would answer.
    pub fn send_all(
        &mut self,
        batch: &[(Token, &[u8])],
        tell: impl FnMut(Token, io::Result<usize>),
    ) {
        either!(self, sockets => sockets.send_all(batch, tell))
    }

    /// How many bytes the peer's system has not acknowledged.
    pub fn unacknowledged(&self, token: Token) -> io::Result<usize> {
        either!(self, sockets => sockets.unacknowledged(token))
    }

    pub fn shutdown_write(&self, token: Token) -> io::Result<()> {
        either!(self, sockets => sockets.shutdown_write(token))
    }

    /// Whether there is something to do without waiting.
    pub fn has_work(&self) -> bool {
        either!(self, sockets => sockets.has_work())
    }

    /// Learns what has happened; waits for something, if it may. The timer ends that, and so does a
    /// signal handler.
    pub fn wait(&mut self, may_wait: bool) -> io::Result<()> {
        let ring = match self {
            Self::Epoll(epoll) => return epoll.wait(may_wait),
            Self::Ring(ring) => ring,
        };
        if let Err(error) = ring.wait(may_wait) {
            let epoll = ring.hand_over()?;
            log::warn!("io_uring accepts no more requests, switching to epoll: {error}");
            *self = Self::Epoll(epoll);
        }
        Ok(())
    }

    /// How many connections wait to be read; each is visited once by as many calls of `next`.
    pub fn readable(&self) -> usize {
        either!(self, sockets => sockets.readable())
    }

    /// Connections that can be written to again; each stands here once.
    pub fn take_writable(&mut self) -> Vec<Token> {
        either!(self, sockets => sockets.take_writable())
    }

    /// Visits the next connection that may hold bytes, and reads into `buffer`.
    #[inline]
    pub fn next(&mut self, buffer: &mut [u8]) -> Option<Happening> {
        either!(self, sockets => sockets.next(buffer))
    }

    /// A descriptor that is readable when [`Sockets::wait`] would not wait.
    pub fn descriptor(&self) -> RawFd {
        either!(self, sockets => sockets.descriptor())
    }

    /// Sets the timer, which goes off once, `after` from now.
    pub fn set_timer(&self, after: Duration) -> io::Result<()> {
        either!(self, sockets => sockets.set_timer(after))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::time::Instant;

    use super::*;
    use crate::net::Address;

    const SECOND: Duration = Duration::from_secs(1);
    const TOKEN: Token = Token {
        index: 3,
        generation: 7,
    };

    /// All ways, the ring with so few buffers that it often runs out of them.
    fn each(test: fn(Bench)) {
        for backend in [Backend::Epoll, Backend::Mixed] {
            let waker = Arc::new(Waker::new().unwrap());
            test(Bench::new(Sockets::new(backend, &waker).unwrap()));
        }
        let waker = Arc::new(Waker::new().unwrap());
        match Ring::with_buffers(&waker, (2, 16)) {
            Ok(ring) => test(Bench::new(Sockets::Ring(Box::new(ring)))),
            Err(error) => eprintln!("NOT TESTED: the system refuses io_uring: {error}"),
        }
    }

    /// Sockets that listen.
    struct Bench {
        sockets: Sockets,
        listener: Arc<Listener>,
    }

    impl Bench {
        fn new(mut sockets: Sockets) -> Self {
            let address = Address::resolve("127.0.0.1", 0).unwrap();
            let listener = Arc::new(Listener::bind(&address, 16).unwrap());
            sockets.listen(&listener).unwrap();
            Self { sockets, listener }
        }

        /// One connection more: the client's end of it.
        fn connect(&mut self, token: Token) -> TcpStream {
            let client = TcpStream::connect(("127.0.0.1", self.listener.port())).unwrap();
            client.set_read_timeout(Some(SECOND)).unwrap();
            client.set_nodelay(true).unwrap();
            self.until(|sockets| sockets.take_acceptable());
            let (socket, _) = self.listener.accept().unwrap();
            self.sockets.add(socket, token).unwrap();
            client
        }

        fn until(&mut self, mut done: impl FnMut(&mut Sockets) -> bool) {
            let began = Instant::now();
            while !done(&mut self.sockets) {
                assert!(began.elapsed() < Duration::from_secs(10), "for too long");
                self.wait(Duration::from_millis(100));
            }
        }

        /// Waits until something happens or the time is up.
        fn wait(&mut self, limit: Duration) {
            self.sockets.set_timer(limit).unwrap();
            self.sockets.wait(true).unwrap();
        }

        fn next(&mut self, buffer: &mut [u8]) -> Happening {
            let mut found = None;
            self.until(|sockets| {
                found = sockets.next(buffer);
                found.is_some()
            });
            found.unwrap()
        }

        /// Everything that connections send until all of them have ended.
        fn receive(&mut self, tokens: &[Token]) -> Vec<Vec<u8>> {
            let mut received = vec![Vec::new(); tokens.len()];
            let mut left = tokens.len();
            let mut buffer = [0; 1000];
            while left > 0 {
                match self.next(&mut buffer) {
                    Happening::Received(token, count) => {
                        let place = tokens.iter().position(|it| *it == token).unwrap();
                        received[place].extend_from_slice(&buffer[..count]);
                    }
                    Happening::Ended(token, None) => {
                        // As is usual: else it might be told again.
                        self.sockets.remove(token);
                        left -= 1;
                    }
                    other => panic!("{other:?}"),
                }
            }
            received
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
            let mut client = bench.connect(TOKEN);
            client.write_all(b"abcdef").unwrap();
            drop(client);
            let mut received = Vec::new();
            loop {
                let mut buffer = [0; 4];
                match bench.next(&mut buffer) {
                    Happening::Received(TOKEN, count) => {
                        received.extend_from_slice(&buffer[..count])
                    }
                    Happening::Ended(TOKEN, None) => break,
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
            let clients: Vec<TcpStream> = tokens.iter().map(|one| bench.connect(*one)).collect();
            let writers: Vec<_> = clients
                .into_iter()
                .enumerate()
                .map(|(seed, mut client)| {
                    std::thread::spawn(move || client.write_all(&bytes(20_000 + seed, seed)))
                })
                .collect();
            let received = bench.receive(&tokens);
            for (seed, writer) in writers.into_iter().enumerate() {
                writer.join().unwrap().unwrap();
                assert!(received[seed] == bytes(20_000 + seed, seed), "of {seed}");
            }
        });
    }

    #[test]
    fn a_paused_connection_is_read_when_it_is_resumed() {
        each(|mut bench| {
            let mut client = bench.connect(TOKEN);
            bench.sockets.pause(TOKEN);
            client.write_all(b"x").unwrap();
            bench.wait(SECOND);
            assert!(bench.sockets.next(&mut [0; 4]).is_none());

            bench.sockets.resume(TOKEN);
            assert!(matches!(
                bench.next(&mut [0; 4]),
                Happening::Received(TOKEN, 1)
            ));
        });
    }

    #[test]
    fn a_paused_connection_is_held_back_and_loses_nothing() {
        each(|mut bench| {
            let client = bench.connect(TOKEN);
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
                    assert!(began.elapsed() < Duration::from_secs(10), "not held back");
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
                        Happening::Received(TOKEN, count) => {
                            received.extend_from_slice(&buffer[..count])
                        }
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
    fn a_full_socket_says_when_it_can_be_written_to_again() {
        each(|mut bench| {
            let mut client = bench.connect(TOKEN);
            let block = [7; 65536];
            let mut sent = 0;
            while let Ok(count) = bench.sockets.send(TOKEN, &block) {
                sent += count;
            }
            bench.sockets.arm_writes(TOKEN).unwrap();
            let reader = std::thread::spawn(move || {
                let mut rest = vec![0; sent];
                client.read_exact(&mut rest).map(|()| client)
            });
            bench.until(|sockets| sockets.take_writable() == [TOKEN]);
            reader.join().unwrap().unwrap();
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
            let mut first = bench.connect(TOKEN);
            let second = bench.connect(other);
            let large = bytes(64 << 20, 1);
            let mut answers = Vec::new();
            bench.sockets.send_all(
                &[
                    (TOKEN, b"one"),
                    (gone, b"x"),
                    (other, &large),
                    (TOKEN, b"two"),
                ],
                |token, answer| answers.push((token, answer)),
            );
            let mut tokens = answers.iter().map(|(token, _)| *token);
            assert!(
                [TOKEN, gone, other, TOKEN]
                    .iter()
                    .copied()
                    .eq(tokens.by_ref())
            );
            let taken = *answers[2].1.as_ref().unwrap();
            assert!(0 < taken && taken < large.len());
            assert!(matches!(answers[0].1, Ok(3)) && matches!(answers[3].1, Ok(3)));
            let error = answers[1].1.as_ref().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotConnected);

            bench.sockets.send_all(&[(other, &large)], |_, answer| {
                assert_eq!(answer.unwrap_err().kind(), io::ErrorKind::WouldBlock);
            });
            let mut six = [0; 6];
            first.read_exact(&mut six).unwrap();
            assert_eq!(&six, b"onetwo");
            let mut rest = vec![0; taken];
            (&second).read_exact(&mut rest).unwrap();
            assert!(rest == large[..taken]);
        });
    }

    #[test]
    fn a_batch_may_be_of_any_length() {
        each(|mut bench| {
            let mut client = bench.connect(TOKEN);
            let all = bytes(2_000, 3);
            let batch: Vec<(Token, &[u8])> = all.chunks(1).map(|one| (TOKEN, one)).collect();
            let mut count = 0;
            bench.sockets.send_all(&batch, |_, answer| {
                assert_eq!(answer.unwrap(), 1);
                count += 1;
            });
            assert_eq!(count, all.len());
            let mut received = vec![0; all.len()];
            client.read_exact(&mut received).unwrap();
            assert!(received == all);
        });
    }

    #[test]
    fn a_removed_connection_is_closed_and_forgotten() {
        each(|mut bench| {
            let mut client = bench.connect(TOKEN);
            bench.sockets.wait(false).unwrap();
            bench.sockets.arm_writes(TOKEN).unwrap();
            bench.sockets.remove(TOKEN);
            bench.sockets.wait(false).unwrap();
            assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
            let gone = bench.sockets.send(TOKEN, b"x").unwrap_err();
            assert_eq!(gone.kind(), io::ErrorKind::NotConnected);
        });
    }

    #[test]
    fn what_a_removed_connection_had_sent_is_not_told_of_its_successor() {
        each(|mut bench| {
            let mut token = TOKEN;
            for round in 0..50 {
                let mut old = bench.connect(token);
                old.write_all(b"old").unwrap();
                if round % 2 == 0 {
                    bench.wait(SECOND);
                }
                bench.sockets.remove(token);
                token.generation += 1;
                let mut client = bench.connect(token);
                client.write_all(b"new").unwrap();
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
            let peeked = client.peek(&mut [0; 1]).unwrap();
            assert_eq!(peeked, 1);
            drop(client);
            let Happening::Ended(TOKEN, Some(error)) = bench.next(&mut [0; 4]) else {
                panic!("no error");
            };
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        });
    }

    #[test]
    fn a_waker_ends_a_wait_each_time() {
        for backend in [Backend::Epoll, Backend::Mixed, Backend::Ring] {
            let waker = Arc::new(Waker::new().unwrap());
            let mut sockets = Sockets::new(backend, &waker).unwrap();
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
            let waker = Arc::new(Waker::new().unwrap());
            let mut sockets = Sockets::new(backend, &waker).unwrap();
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
        let waker = Arc::new(Waker::new().unwrap());
        let ring = match Ring::with_buffers(&waker, (2, 16)) {
            Ok(ring) => ring,
            Err(error) => return eprintln!("NOT TESTED: the system refuses io_uring: {error}"),
        };
        let mut bench = Bench::new(Sockets::Ring(Box::new(ring)));
        let tokens = [3, 5, 8].map(|index| Token {
            index,
            generation: 1,
        });
        let mut clients = tokens.map(|token| bench.connect(token));
        for (client, text) in clients.iter_mut().zip(["read", "paused", "ended"]) {
            client.write_all(text.as_bytes()).unwrap();
        }
        bench.until(|sockets| sockets.readable() == 3);
        bench.sockets.pause(tokens[1]);
        clients[2].shutdown(std::net::Shutdown::Write).unwrap();

        let Sockets::Ring(ring) = &mut bench.sockets else {
            unreachable!("it was made one")
        };
        let epoll = ring.hand_over().unwrap();
        bench.sockets = Sockets::Epoll(epoll);
        clients[0].write_all(b" on").unwrap();
        clients[1].write_all(b" for a while").unwrap();
        for client in &clients[..2] {
            client.shutdown(std::net::Shutdown::Write).unwrap();
        }
        let received = bench.receive(&[tokens[0], tokens[2]]);
        assert_eq!(received, [&b"read on"[..], b"ended"]);
        bench.sockets.resume(tokens[1]);
        assert_eq!(bench.receive(&tokens[1..2]), [b"paused for a while"]);
        let late = bench.connect(TOKEN);
        drop(late);
        assert_eq!(bench.receive(&[TOKEN]), [b""]);
    }
}
