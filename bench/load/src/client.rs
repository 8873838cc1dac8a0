//! A client that writes an exchange's messages and reads its echoes.

use std::io;

use mio::{Events, Interest, Poll, Token};

use crate::connection::{Connection, DEADLINE, Server};
use crate::exchange::Exchange;

/// How much a read may take.
pub const BUFFER: usize = 256 * 1024;

pub struct Client {
    connection: Connection,
    /// How much of the next echo has come.
    heard: usize,
    /// Where in the outgoing frames it is, and how many bytes it has yet to write from there.
    position: usize,
    owed: usize,
}

/// What a client has read.
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

    /// Reads what has come, but no further than the last of `due` echoes.
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

    /// Has `count` messages more to write.
    pub fn owe(&mut self, exchange: &Exchange, count: usize) {
        self.owed += count * exchange.sent_len();
    }

    /// Writes what it owes, as far as the system takes it.
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

/// Waits until something can be done, for no longer than the deadline.
pub fn wait(poll: &mut Poll, events: &mut Events) -> io::Result<()> {
    poll.poll(events, Some(DEADLINE))?;
    if events.is_empty() {
        return Err(io::Error::new(io::ErrorKind::TimedOut, "nothing came"));
    }
    Ok(())
}
