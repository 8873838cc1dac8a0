//! A soak test that looks for lost, reordered or altered bytes: messages of all sizes, fragmented,
//! written and read in pieces of any size and at any pace, by clients that end at any time. Each
//! received byte is compared; the first wrong one ends the run.
//!
//! All random choices derive from one seed; the system's timing still varies.

mod client;
mod listening;
mod talking;

use std::io;
use std::time::{Duration, Instant};

use clap::Args;
use fastrand::Rng;
use mio::{Events, Interest, Poll, Token};
use serde_json::{Value, json};

use crate::connection::{DEADLINE, Server};
use client::{Client, Turn};

#[derive(Args)]
pub struct Plan {
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// Stop after so many echoes.
    #[arg(long, default_value_t = 100_000)]
    messages: u64,
    /// Stop after so many seconds.
    #[arg(long, default_value_t = 30.0)]
    seconds: f64,
    /// Maximum size of a message in bytes.
    #[arg(long, default_value_t = 200_000)]
    max_size: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Totals of all clients.
#[derive(Default)]
struct Tally {
    messages: u64,
    bytes: u64,
    pongs: u64,
    /// Connections that ended in each way.
    aborted: u64,
    dropped: u64,
    closed: u64,
}

/// Runs the plan; fails at the first wrong byte, and when nothing is received for a long time.
pub fn run(server: &Server, plan: &Plan) -> io::Result<Value> {
    let mut soak = Soak {
        server,
        poll: Poll::new()?,
        clients: Vec::new(),
        opened: 0,
        tally: Tally::default(),
        plan,
    };
    let began = Instant::now();
    let end = began + Duration::from_secs_f64(plan.seconds);
    for index in 0..plan.clients {
        let client = soak.open(index)?;
        soak.clients.push(Some(client));
    }
    let (mut events, mut progress, mut seen) = (Events::with_capacity(1024), began, 0);
    loop {
        let now = Instant::now();
        let over = now >= end || soak.tally.messages >= plan.messages;
        let busy = soak.turn(now, over)?;
        if over && soak.clients.iter().all(Option::is_none) {
            break;
        }
        if soak.tally.bytes + soak.tally.closed > seen {
            (progress, seen) = (now, soak.tally.bytes + soak.tally.closed);
        } else if now - progress > DEADLINE {
            return Err(io::Error::new(io::ErrorKind::TimedOut, soak.standstill()));
        }
        let patience = Duration::from_millis(if busy { 0 } else { 1 });
        soak.poll.poll(&mut events, Some(patience))?;
        for event in &events {
            if let Some(client) = &mut soak.clients[event.token().0] {
                client.readable |= event.is_readable();
                client.writable |= event.is_writable();
            }
        }
    }
    let tally = soak.tally;
    Ok(json!({
        "messages": tally.messages,
        "bytes": tally.bytes,
        "pongs": tally.pongs,
        "connections": soak.opened,
        "aborted": tally.aborted,
        "dropped": tally.dropped,
        "closed": tally.closed,
        "seconds": began.elapsed().as_secs_f64(),
    }))
}

struct Soak<'a> {
    server: &'a Server,
    plan: &'a Plan,
    poll: Poll,
    /// `None` for clients that have ended and are not replaced.
    clients: Vec<Option<Client>>,
    /// Number of connections so far.
    opened: usize,
    tally: Tally,
}

impl Soak<'_> {
    /// Opens the next connection, for the client at `index`.
    fn open(&mut self, index: usize) -> io::Result<Client> {
        let mut random =
            Rng::with_seed(self.plan.seed.wrapping_mul(1_000_003) + self.opened as u64);
        // Some receive buffers are so small that the server can send only in pieces.
        let buffer = random.bool().then(|| random.usize(2_000..60_000));
        let stream = self.server.connect(self.opened, buffer)?;
        let mut connection = self.server.open_on(stream)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(connection.socket(), Token(index), interest)?;
        self.opened += 1;
        Ok(Client::new(
            connection,
            self.opened,
            random,
            self.plan.max_size,
        ))
    }

    /// Runs a turn of each client; returns whether any can continue at once. `over`: they are to end.
    fn turn(&mut self, now: Instant, over: bool) -> io::Result<bool> {
        let mut busy = false;
        for index in 0..self.clients.len() {
            let Some(client) = &mut self.clients[index] else {
                continue;
            };
            match client.turn(now, over, &mut self.tally)? {
                Turn::Busy => busy = true,
                Turn::Waiting => {}
                Turn::Ended => {
                    // Dropped before the next one connects, so that its descriptor is free.
                    self.clients[index] = None;
                    if !over {
                        self.clients[index] = Some(self.open(index)?);
                        busy = true;
                    }
                }
            }
        }
        Ok(busy)
    }

    fn standstill(&self) -> String {
        let waiting: Vec<String> = self
            .clients
            .iter()
            .flatten()
            .map(Client::describe)
            .collect();
        format!(
            "nothing was received for {DEADLINE:?}; waiting: {}",
            waiting.join("; ")
        )
    }
}
