//! A client that writes an exchange's messages and reads its echoes.

use std::io;

use mio::{Events, Interest, Poll, Token};

use crate::connection::{Connection, DEADLINE, Server};
use crate::exchange::Exchange;

/// Maximum size of a read, in bytes.
pub const BUFFER: usize = 256 * 1024;

pub struct Client {
    connection: Connection,
    /// Bytes of the next echo that were received.
    heard: usize,
    /// The position in the outgoing frames, and how many bytes from there remain to be written.
    position: usize,
    owed: usize,
}

/// The result of a read.
pub struct Heard {
    pub echoes: usize,
    pub bytes: usize,
}

impl Client {
    /// Connects the `index`-th client and registers it by that number.
    pub fn open(server: &Server, poll: &Poll, index: usize) -> io::Result<Client> {
        let mut connection = server.open(index)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry()
            .register(connection.socket(), Token(index), interest)?;
        Ok(Client {
            connection,
            heard: 0,
            position: 0,
            owed: 0,
        })
    }

    /// Reads what has arrived, at most up to the end of `due` echoes.
    pub fn read(
        &mut self,
        exchange: &Exchange,
        buffer: &mut [u8],
        due: usize,
    ) -> io::Result<Heard> {
        let mut heard = Heard {
            echoes: 0,
            bytes: 0,
        };
        while heard.echoes < due {
            let Some(taken) = self.connection.receive(buffer)? else {
                break;
            };
            heard.bytes += taken;
            heard.echoes += exchange.check(&mut self.heard, &buffer[..taken])?;
            if taken < buffer.len() && self.connection.short_read_drains() {
                break;
            }
        }
        Ok(heard)
    }

    /// Queues `count` more messages.
    pub fn owe(&mut self, exchange: &Exchange, count: usize) {
        self.owed += count * exchange.sent_len();
    }

    /// Writes queued messages, as far as the socket accepts them.
    pub fn write(&mut self, exchange: &Exchange) -> io::Result<()> {
        if self.owed == 0 {
            return self.connection.flush();
        }
        let taken = self
            .connection
            .send(exchange.outgoing(self.position, self.owed))?;
        self.position = exchange.advance(self.position, taken);
        self.owed -= taken;
        Ok(())
    }
}

/// Waits for events, at most until the deadline.
pub fn wait(poll: &mut Poll, events: &mut Events) -> io::Result<()> {
    poll.poll(events, Some(DEADLINE))?;
    if events.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "nothing was received",
        ));
    }
    Ok(())
}
