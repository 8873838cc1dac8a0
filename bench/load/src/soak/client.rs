//! One client of the soak test, from its opening handshake to its end.

use std::io;
use std::time::{Duration, Instant};

use fastrand::Rng;
use socket2::SockRef;

use super::Tally;
use super::listening::Listener;
use super::talking::{Expected, write_message};
use crate::connection::{Connection, wrong};
use crate::frame::{CLOSE, FINAL, write_masked};

/// A client sends no further message while it awaits so many bytes.
const MAX_AWAITED: usize = 400_000;

pub struct Client {
    connection: Connection,
    /// The connection's number, for error messages.
    number: usize,
    random: Rng,
    max_size: usize,
    pub readable: bool,
    pub writable: bool,
    outgoing: Vec<u8>,
    written: usize,
    expected: Expected,
    listener: Listener,
    /// Until then it neither reads nor writes.
    pause: Option<Instant>,
    /// Number of messages before it ends, and how it ends.
    messages_left: u32,
    ending: Ending,
    closing: bool,
}

#[derive(Clone, Copy)]
enum Ending {
    /// With a reset, whatever is in flight.
    Abort,
    /// Without a close frame, whatever is in flight.
    Drop,
    /// After all echoes, with a close frame that must be answered.
    Close,
}

/// The result of a client's turn.
pub enum Turn {
    /// It can continue at once.
    Busy,
    /// It waits for the server, or pauses.
    Waiting,
    Ended,
}

impl Client {
    pub fn new(connection: Connection, number: usize, mut random: Rng, max_size: usize) -> Client {
        let ending = match random.u8(..4) {
            0 => Ending::Abort,
            1 => Ending::Drop,
            _ => Ending::Close,
        };
        Client {
            connection,
            number,
            max_size,
            readable: true,
            writable: true,
            outgoing: Vec::new(),
            written: 0,
            expected: Expected::default(),
            listener: Listener::default(),
            pause: None,
            messages_left: random.u32(1..400),
            ending,
            closing: false,
            random,
        }
    }

    /// Reads, sends and writes a random amount. `over`: it is to end in order.
    pub fn turn(&mut self, now: Instant, over: bool, tally: &mut Tally) -> io::Result<Turn> {
        self.try_turn(now, over, tally).map_err(|error| {
            io::Error::new(error.kind(), format!("connection {}: {error}", self.number))
        })
    }

    fn try_turn(&mut self, now: Instant, over: bool, tally: &mut Tally) -> io::Result<Turn> {
        if over {
            self.messages_left = 0;
            self.ending = Ending::Close;
            self.pause = None;
        }
        if self.pause.is_some_and(|until| now < until) {
            return Ok(Turn::Waiting);
        }
        self.pause = None;
        if self.random.u8(..100) == 0 {
            self.pause = Some(now + Duration::from_millis(self.random.u64(1..40)));
        }
        self.read(tally)?;
        if self.closing && self.listener.closed {
            tally.closed += 1;
            return Ok(Turn::Ended);
        }
        if self.messages_left == 0 && !self.closing && self.leave(tally)? {
            return Ok(Turn::Ended);
        }
        self.send();
        self.write()?;
        let more_to_write = self.writable && self.written < self.outgoing.len();
        Ok(if self.readable || more_to_write {
            Turn::Busy
        } else {
            Turn::Waiting
        })
    }

    /// Reads a piece of any size.
    fn read(&mut self, tally: &mut Tally) -> io::Result<()> {
        if !self.readable || self.random.u8(..4) == 0 {
            return Ok(());
        }
        let mut buffer = [0; 65_536];
        let room = any_size(&mut self.random, buffer.len());
        match self.connection.receive(&mut buffer[..room])? {
            Some(taken) => {
                self.listener
                    .receive(&buffer[..taken], &mut self.expected, tally)?;
                if self.listener.closed && !self.closing {
                    return Err(wrong(
                        "the server closed without a close frame from the client",
                    ));
                }
            }
            None => self.readable = false,
        }
        Ok(())
    }

    fn send(&mut self) {
        let silent = self.expected.bytes >= MAX_AWAITED || self.random.bool();
        if self.messages_left == 0 || silent {
            return;
        }
        let count = self.random.u32(1..=8).min(self.messages_left);
        for _ in 0..count {
            write_message(
                &mut self.random,
                self.max_size,
                &mut self.outgoing,
                &mut self.expected,
            );
        }
        self.messages_left -= count;
    }

    /// Writes a piece of any size.
    fn write(&mut self) -> io::Result<()> {
        let rest = &self.outgoing[self.written..];
        if rest.is_empty() {
            self.outgoing.clear();
            self.written = 0;
            return self.connection.flush();
        }
        if self.writable {
            let length = any_size(&mut self.random, rest.len());
            let taken = self.connection.send(&rest[..length])?;
            self.writable = taken == length;
            self.written += taken;
        }
        Ok(())
    }

    /// Ends, or begins to end; returns whether it has ended.
    fn leave(&mut self, tally: &mut Tally) -> io::Result<bool> {
        match self.ending {
            Ending::Abort => {
                SockRef::from(&*self.connection.socket()).set_linger(Some(Duration::ZERO))?;
                tally.aborted += 1;
                Ok(true)
            }
            Ending::Drop => {
                tally.dropped += 1;
                Ok(true)
            }
            Ending::Close if self.expected.is_empty() && self.written == self.outgoing.len() => {
                write_masked(&mut self.outgoing, FINAL | CLOSE, &1000_u16.to_be_bytes());
                self.closing = true;
                Ok(false)
            }
            Ending::Close => Ok(false),
        }
    }

    pub fn describe(&self) -> String {
        format!(
            "connection {}: {} messages, {} bytes, {} to write",
            self.number,
            self.expected.messages.len(),
            self.expected.bytes,
            self.outgoing.len() - self.written
        )
    }
}

/// Returns a random size from 1 to `max`.
fn any_size(random: &mut Rng, max: usize) -> usize {
    let limit = if random.bool() { max } else { max.min(300) };
    random.usize(1..=limit)
}
