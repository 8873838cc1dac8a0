//! Keeps an echo server busy: each client has `depth` messages under way, and as many as come back
//! are sent again, in one write.
//!
//! So that the server is what is measured, a visit to a client is one read, one comparison of each
//! echo's header, one look at the clock and one write.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token};
use serde_json::Value;

use crate::connection::{Connection, DEADLINE, Server, wrong};
use crate::exchange::Exchange;
use crate::figures::{Measurement, latencies, percentiles};

/// How much a read may take.
const BUFFER: usize = 256 * 1024;

/// When a measurement is over.
#[derive(Clone, Copy)]
pub enum Limit {
    /// Measures for a while, after another while.
    Time {
        warm_up: Duration,
        measured: Duration,
    },
    /// Exchanges that many messages, and measures all of it.
    Messages(u64),
}

/// Has `clients` exchange messages with the server, `depth` at a time; returns the figures.
pub fn run(
    server: &Server,
    exchange: Exchange,
    clients: usize,
    depth: usize,
    limit: Limit,
    process: Option<i32>,
) -> io::Result<Value> {
    let mut load = Load::open(server, exchange, clients, depth)?;
    let measurement;
    match limit {
        Limit::Time { warm_up, measured } => {
            load.work.start(depth)?;
            load.run_for(warm_up)?;
            load.work.forget();
            measurement = Measurement::begin(process)?;
            load.run_for(measured)?;
        }
        Limit::Messages(count) => {
            load.work.allowance = count;
            measurement = Measurement::begin(process)?;
            load.work.start(depth)?;
            load.run_until_heard(count)?;
        }
    }
    let messages = load.work.heard_bytes as f64 / load.work.exchange.echo_len() as f64;
    let mut figures = measurement.end(messages, "message")?;
    figures["latency_us"] = percentiles(&load.work.latencies);
    Ok(figures)
}

struct Load {
    poll: Poll,
    events: Events,
    work: Work,
}

struct Work {
    buffer: Vec<u8>,
    clients: Vec<Client>,
    exchange: Exchange,
    /// How many messages may still be begun.
    allowance: u64,
    heard_bytes: u64,
    /// Nanoseconds from write to read.
    latencies: Histogram<u64>,
    began: Instant,
}

struct Client {
    connection: Connection,
    /// How much of the next echo has come.
    heard: usize,
    /// Where in the outgoing frames this client is, and how many bytes it has yet to write from there.
    position: usize,
    owed: usize,
    /// How many echoes have yet to come.
    waiting: usize,
    /// When messages were sent, and how many at once, the oldest first.
    under_way: VecDeque<(u64, usize)>,
}

impl Load {
    fn open(server: &Server, exchange: Exchange, clients: usize, depth: usize) -> io::Result<Load> {
        let poll = Poll::new()?;
        let open = |index| {
            let mut connection = server.open(index)?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry()
                .register(connection.socket(), Token(index), interest)?;
            Ok(Client {
                connection,
                heard: 0,
                position: 0,
                owed: 0,
                waiting: 0,
                under_way: VecDeque::with_capacity(depth),
            })
        };
        let clients = (0..clients).map(open).collect::<io::Result<_>>()?;
        Ok(Load {
            poll,
            events: Events::with_capacity(1024),
            work: Work {
                buffer: vec![0; BUFFER],
                clients,
                exchange,
                allowance: u64::MAX,
                heard_bytes: 0,
                latencies: latencies()?,
                began: Instant::now(),
            },
        })
    }

    fn run_for(&mut self, time: Duration) -> io::Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.turn()?;
        }
        Ok(())
    }

    fn run_until_heard(&mut self, messages: u64) -> io::Result<()> {
        let bytes = messages * self.work.exchange.echo_len() as u64;
        while self.work.heard_bytes < bytes {
            self.turn()?;
        }
        Ok(())
    }

    fn turn(&mut self) -> io::Result<()> {
        self.poll.poll(&mut self.events, Some(DEADLINE))?;
        if self.events.is_empty() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no echo came"));
        }
        for event in &self.events {
            self.work.visit(event.token().0)?;
        }
        Ok(())
    }
}

impl Work {
    /// Sends every client's first messages.
    fn start(&mut self, depth: usize) -> io::Result<()> {
        for index in 0..self.clients.len() {
            self.begin(index, depth, self.now());
            self.write(index)?;
        }
        Ok(())
    }

    /// Forgets what was measured so far.
    fn forget(&mut self) {
        self.heard_bytes = 0;
        self.latencies.reset();
    }

    fn visit(&mut self, index: usize) -> io::Result<()> {
        let echoes = self.read(index)?;
        if echoes > 0 {
            let now = self.now();
            self.clients[index].land(echoes, now, &mut self.latencies);
            self.begin(index, echoes, now);
        }
        self.write(index)
    }

    /// Reads what has come for a client; returns the number of whole echoes.
    fn read(&mut self, index: usize) -> io::Result<usize> {
        let client = &mut self.clients[index];
        let mut echoes = 0;
        while echoes < client.waiting {
            let Some(taken) = client.connection.receive(&mut self.buffer)? else {
                break;
            };
            self.heard_bytes += taken as u64;
            echoes += self
                .exchange
                .check(&mut client.heard, &self.buffer[..taken])?;
            if taken < self.buffer.len() && client.connection.short_read_drains() {
                break;
            }
        }
        if echoes > client.waiting {
            return Err(wrong("more echoes came than messages were sent"));
        }
        Ok(echoes)
    }

    /// Owes the server `count` messages more of this client, as far as they are allowed.
    fn begin(&mut self, index: usize, count: usize, now: u64) {
        let count = self.allowance.min(count as u64) as usize;
        if count == 0 {
            return;
        }
        self.allowance -= count as u64;
        let client = &mut self.clients[index];
        client.under_way.push_back((now, count));
        client.waiting += count;
        client.owed += count * self.exchange.sent_len();
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    fn write(&mut self, index: usize) -> io::Result<()> {
        let client = &mut self.clients[index];
        if client.owed == 0 {
            return client.connection.flush();
        }
        let outgoing = self.exchange.outgoing(client.position, client.owed);
        let taken = client.connection.send(outgoing)?;
        client.position = self.exchange.advance(client.position, taken);
        client.owed -= taken;
        Ok(())
    }
}

impl Client {
    /// Notes how long the oldest `echoes` messages were under way.
    fn land(&mut self, mut echoes: usize, now: u64, latencies: &mut Histogram<u64>) {
        self.waiting -= echoes;
        while echoes > 0 {
            let Some((sent, count)) = self.under_way.front_mut() else {
                unreachable!("each message that is waited for was noted when it was sent");
            };
            let landed = echoes.min(*count);
            latencies.saturating_record_n(now - *sent, landed as u64);
            echoes -= landed;
            *count -= landed;
            if *count == 0 {
                self.under_way.pop_front();
            }
        }
    }
}
