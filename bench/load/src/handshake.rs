//! Clients that repeatedly connect, open a websocket and close it.

use std::io;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token};
use serde_json::Value;

use crate::client::wait;
use crate::connection::{Connection, Server, wrong};
use crate::figures::{Measurement, latencies, percentiles};
use crate::frame::{CLOSE, FINAL, write_masked};

/// Runs `clients` for a warm-up and a measurement; each connects again when its close frame has been
/// answered.
pub fn run(
    server: &Server,
    clients: usize,
    [warm_up, measured]: [Duration; 2],
    process: Option<i32>,
) -> io::Result<Value> {
    let mut close = Vec::new();
    write_masked(&mut close, FINAL | CLOSE, &1000_u16.to_be_bytes());
    let mut churn = Churn {
        server,
        request: server.request().into_bytes(),
        close,
        poll: Poll::new()?,
        visitors: Vec::new(),
        opened: 0,
        gone: 0,
        latencies: latencies()?,
    };
    for index in 0..clients {
        let visitor = churn.visitor(index)?;
        churn.visitors.push(visitor);
    }
    churn.run_for(warm_up)?;
    (churn.gone, churn.latencies) = (0, latencies()?);
    let measurement = Measurement::begin(process)?;
    churn.run_for(measured)?;
    let mut figures = measurement.end(churn.gone as f64, "connection")?;
    figures["latency_us"] = percentiles(&churn.latencies);
    Ok(figures)
}

struct Churn<'a> {
    server: &'a Server,
    request: Vec<u8>,
    close: Vec<u8>,
    poll: Poll,
    visitors: Vec<Visitor>,
    /// Number of connections opened and ended.
    opened: usize,
    gone: u64,
    /// Nanoseconds from connect to the reply to the close frame.
    latencies: Histogram<u64>,
}

/// One connection.
struct Visitor {
    connection: Connection,
    began: Instant,
    /// The opening handshake is complete, and the close frame is being sent.
    open: bool,
    /// Bytes written of the current request or frame.
    written: usize,
    heard: Vec<u8>,
}

impl Churn<'_> {
    fn run_for(&mut self, time: Duration) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let end = Instant::now() + time;
        while Instant::now() < end {
            wait(&mut self.poll, &mut events)?;
            for event in &events {
                let index = event.token().0;
                while self.progress(index)? {
                    self.visitors[index] = self.visitor(index)?;
                }
            }
        }
        Ok(())
    }

    fn visitor(&mut self, index: usize) -> io::Result<Visitor> {
        let began = Instant::now();
        let stream = self.server.connect(self.opened, None)?;
        let mut connection = self.server.begin_on(stream)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(connection.socket(), Token(index), interest)?;
        self.opened += 1;
        Ok(Visitor {
            connection,
            began,
            open: false,
            written: 0,
            heard: Vec::new(),
        })
    }

    /// Makes progress with a connection; returns whether it has ended.
    fn progress(&mut self, index: usize) -> io::Result<bool> {
        let visitor = &mut self.visitors[index];
        loop {
            let says = if visitor.open {
                &self.close
            } else {
                &self.request
            };
            visitor.written += visitor.connection.send(&says[visitor.written..])?;
            visitor.connection.flush()?;
            let mut buffer = [0; 4096];
            let Some(taken) = visitor.connection.receive(&mut buffer)? else {
                return Ok(false);
            };
            visitor.heard.extend_from_slice(&buffer[..taken]);
            if !visitor.open && visitor.heard.ends_with(b"\r\n\r\n") {
                self.server.check_answer(&visitor.heard)?;
                (visitor.open, visitor.written) = (true, 0);
                visitor.heard.clear();
            } else if visitor.open && visitor.heard.len() >= 2 {
                if visitor.heard[0] != FINAL | CLOSE {
                    return Err(wrong("the reply to a close frame is not one"));
                }
                let time = visitor.began.elapsed().as_nanos() as u64;
                self.latencies.saturating_record(time);
                self.gone += 1;
                return Ok(true);
            }
        }
    }
}
