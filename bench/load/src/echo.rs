//! Load for an echo server: each client has `depth` messages in flight, and for each received echo sends
//! another message, all of them in one write.
//!
//! A visit to a client is one read, one comparison of each echo's header, one clock call and one write,
//! so that the load costs little.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::{Events, Poll};
use serde_json::Value;

use crate::client::{BUFFER, Client, wait};
use crate::connection::{Server, wrong};
use crate::exchange::Exchange;
use crate::figures::{Measurement, latencies, percentiles};

/// When a measurement ends.
#[derive(Clone, Copy)]
pub enum Limit {
    /// Measures for some time, after a warm-up.
    Time {
        warm_up: Duration,
        measured: Duration,
    },
    /// Exchanges that many messages, and measures all of them.
    Messages(u64),
}

/// Exchanges messages between `clients` and the server, `depth` in flight each; returns the figures.
pub fn run(
    server: &Server,
    exchange: Exchange,
    clients: usize,
    depth: usize,
    limit: Limit,
    process: Option<i32>,
) -> io::Result<Value> {
    let mut load = Load::open(server, exchange, clients)?;
    let measurement;
    match limit {
        Limit::Time { warm_up, measured } => {
            load.work.start(depth)?;
            load.run_for(warm_up)?;
            load.work.reset();
            measurement = Measurement::begin(process)?;
            load.run_for(measured)?;
        }
        Limit::Messages(count) => {
            measurement = Measurement::begin(process)?;
            load.exchange(count, depth)?;
        }
    }
    let messages = load.work.heard_bytes as f64 / load.work.exchange.echo_len() as f64;
    let mut figures = measurement.end(messages, "message")?;
    figures["latency_us"] = percentiles(&load.work.latencies);
    Ok(figures)
}

/// All clients of an echo server.
pub struct Load {
    poll: Poll,
    events: Events,
    work: Work,
}

struct Work {
    buffer: Vec<u8>,
    clients: Vec<Echoing>,
    exchange: Exchange,
    /// Number of messages that may still be sent.
    allowance: u64,
    heard_bytes: u64,
    /// Nanoseconds from write to read.
    latencies: Histogram<u64>,
    began: Instant,
}

struct Echoing {
    client: Client,
    /// Number of echoes that were not received yet.
    waiting: usize,
    /// When messages were sent and how many together, the oldest first.
    under_way: VecDeque<(u64, usize)>,
}

impl Load {
    pub fn open(server: &Server, exchange: Exchange, clients: usize) -> io::Result<Load> {
        let poll = Poll::new()?;
        let open = |index| {
            Ok(Echoing {
                client: Client::open(server, &poll, index)?,
                waiting: 0,
                under_way: VecDeque::new(),
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

    /// Exchanges exactly `messages`, `depth` at a time for each client.
    pub fn exchange(&mut self, messages: u64, depth: usize) -> io::Result<()> {
        self.work.allowance = messages;
        self.work.start(depth)?;
        let bytes = messages * self.work.exchange.echo_len() as u64;
        while self.work.heard_bytes < bytes {
            self.turn()?;
        }
        Ok(())
    }

    fn run_for(&mut self, time: Duration) -> io::Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.turn()?;
        }
        Ok(())
    }

    fn turn(&mut self) -> io::Result<()> {
        wait(&mut self.poll, &mut self.events)?;
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
            self.clients[index].client.write(&self.exchange)?;
        }
        Ok(())
    }

    /// Discards the measurements so far.
    fn reset(&mut self) {
        self.heard_bytes = 0;
        self.latencies.reset();
    }

    fn visit(&mut self, index: usize) -> io::Result<()> {
        let Echoing {
            client, waiting, ..
        } = &mut self.clients[index];
        let heard = client.read(&self.exchange, &mut self.buffer, *waiting)?;
        self.heard_bytes += heard.bytes as u64;
        if heard.echoes > 0 {
            let now = self.now();
            self.clients[index].land(heard.echoes, now, &mut self.latencies)?;
            self.begin(index, heard.echoes, now);
        }
        self.clients[index].client.write(&self.exchange)
    }

    /// Queues up to `count` more messages of this client, within the allowance.
    fn begin(&mut self, index: usize, count: usize, now: u64) {
        let count = self.allowance.min(count as u64) as usize;
        if count == 0 {
            return;
        }
        self.allowance -= count as u64;
        let echoing = &mut self.clients[index];
        echoing.under_way.push_back((now, count));
        echoing.waiting += count;
        echoing.client.owe(&self.exchange, count);
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }
}

impl Echoing {
    /// Records the latencies of the oldest `echoes` messages.
    fn land(
        &mut self,
        mut echoes: usize,
        now: u64,
        latencies: &mut Histogram<u64>,
    ) -> io::Result<()> {
        while echoes > 0 {
            let Some((sent, count)) = self.under_way.front_mut() else {
                return Err(wrong("more echoes than messages"));
            };
            let landed = echoes.min(*count);
            latencies.saturating_record_n(now - *sent, landed as u64);
            self.waiting -= landed;
            echoes -= landed;
            *count -= landed;
            if *count == 0 {
                self.under_way.pop_front();
            }
        }
        Ok(())
    }
}
