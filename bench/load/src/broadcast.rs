//! One client sends, and all receive: `burst` messages at once, and again when all have received them.

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

/// The index of the client that sends. It receives its messages, too.
const SENDER: usize = 0;

pub fn run(
    server: &Server,
    exchange: Exchange,
    clients: usize,
    burst: usize,
    [warm_up, measured]: [Duration; 2],
    process: Option<i32>,
) -> io::Result<Value> {
    let poll = Poll::new()?;
    let open = |index| {
        Ok(Listener {
            client: Client::open(server, &poll, index)?,
            heard: 0,
        })
    };
    let mut audience = Audience {
        clients: (0..clients).map(open).collect::<io::Result<_>>()?,
        poll,
        exchange,
        burst,
        finished: 0,
        under_way: VecDeque::new(),
        deliveries: 0,
        latencies: latencies()?,
    };
    audience.send()?;
    audience.run_for(warm_up)?;
    (audience.deliveries, audience.latencies) = (0, latencies()?);
    let measurement = Measurement::begin(process)?;
    audience.run_for(measured)?;
    let mut figures = measurement.end(audience.deliveries as f64, "delivery")?;
    figures["latency_us"] = percentiles(&audience.latencies);
    Ok(figures)
}

struct Audience {
    poll: Poll,
    clients: Vec<Listener>,
    exchange: Exchange,
    burst: usize,
    /// Number of messages that all clients have received.
    finished: u64,
    /// The messages after those: when each was sent, and how many clients have not received it yet.
    under_way: VecDeque<(Instant, usize)>,
    deliveries: u64,
    /// Nanoseconds until the last client has received a message.
    latencies: Histogram<u64>,
}

struct Listener {
    client: Client,
    heard: u64,
}

impl Audience {
    fn run_for(&mut self, time: Duration) -> io::Result<()> {
        let (mut buffer, mut events) = (vec![0; BUFFER], Events::with_capacity(1024));
        let end = Instant::now() + time;
        while Instant::now() < end {
            wait(&mut self.poll, &mut events)?;
            for event in &events {
                self.visit(event.token().0, &mut buffer)?;
            }
            self.finish();
            if self.under_way.is_empty() {
                self.send()?;
            }
        }
        Ok(())
    }

    fn visit(&mut self, index: usize, buffer: &mut [u8]) -> io::Result<()> {
        let listener = &mut self.clients[index];
        let first = (listener.heard - self.finished) as usize;
        let due = self.under_way.len() - first;
        let echoes = listener.client.read(&self.exchange, buffer, due)?.echoes;
        if echoes > due {
            return Err(wrong("a client heard more than was said"));
        }
        listener.heard += echoes as u64;
        self.deliveries += echoes as u64;
        for (_, missing) in self.under_way.range_mut(first..first + echoes) {
            *missing -= 1;
        }
        if index == SENDER {
            listener.client.write(&self.exchange)?;
        }
        Ok(())
    }

    /// Removes the messages that all clients have received.
    fn finish(&mut self) {
        while let Some((said, 0)) = self.under_way.front() {
            let time = said.elapsed().as_nanos() as u64;
            self.latencies.saturating_record(time);
            self.under_way.pop_front();
            self.finished += 1;
        }
    }

    fn send(&mut self) -> io::Result<()> {
        let message = (Instant::now(), self.clients.len());
        self.under_way.resize(self.burst, message);
        let speaker = &mut self.clients[SENDER].client;
        speaker.owe(&self.exchange, self.burst);
        speaker.write(&self.exchange)
    }
}
