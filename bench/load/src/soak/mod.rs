//! Tries to make a server lose, mix up or spoil bytes: messages of all sizes, in fragments, written and
//! read in pieces of any size and at any pace, by clients that leave when they like. Each byte that
//! comes back is compared; the first wrong one ends the run.
//!
//! All that is random comes from one seed, although the system's timing does not.

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
    /// Stop when so many messages have come back.
    #[arg(long, default_value_t = 100_000)]
    messages: u64,
    /// Stop after so many seconds.
    #[arg(long, default_value_t = 30.0)]
    seconds: f64,
    /// No message has more bytes.
    #[arg(long, default_value_t = 200_000)]
    max_size: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What all clients together have done.
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

/// Runs the plan; fails at the first wrong byte, and when nothing comes back for a long time.
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
    /// Those that have left for good are `None`.
    clients: Vec<Option<Client>>,
    /// How many connections there have been.
    opened: usize,
    tally: Tally,
}

impl Soak<'_> {
    /// Opens the next connection, for the client at `index`.
    fn open(&mut self, index: usize) -> io::Result<Client> {
        let mut random =
            Rng::with_seed(self.plan.seed.wrapping_mul(1_000_003) + self.opened as u64);
        // Some have so small a receive buffer that the server can send only in pieces.
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

    /// Lets each client do something; returns whether any could do more at once. `over` tells them to
    /// finish.
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
                    // Before the next one connects: so its descriptor is free by then.
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
            "nothing has come for {DEADLINE:?}; waiting: {}",
            waiting.join("; ")
        )
    }
}
