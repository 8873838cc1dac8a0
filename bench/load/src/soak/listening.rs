//! What a client of the soak hears: the server's frames, cut anywhere, compared with what is expected.

use std::io;

use super::Tally;
use super::talking::Expected;
use crate::connection::wrong;
use crate::frame::{BINARY, CLOSE, CONTINUATION, FINAL, PONG, TEXT, read_header};

const MAX_HEADER: usize = 10;

/// Where in the server's frames a client is.
#[derive(Default)]
pub struct Listener {
    /// The beginning of a frame's header.
    header: Vec<u8>,
    /// The frame that is coming: its first byte, and how many bytes of payload are missing.
    frame: Option<(u8, u64)>,
    /// How many bytes of the message at the front have come; `None` before its first frame.
    message: Option<usize>,
    /// The payload of a control frame, as far as it has come.
    control: Vec<u8>,
    /// The server has closed.
    pub closed: bool,
}

impl Listener {
    /// Takes what has come.
    pub fn hear(
        &mut self,
        mut input: &[u8],
        expected: &mut Expected,
        tally: &mut Tally,
    ) -> io::Result<()> {
        loop {
            let Some((first, missing)) = self.frame else {
                if input.is_empty() {
                    return Ok(());
                }
                self.begin_frame(&mut input, expected)?;
                continue;
            };
            let taken = input
                .len()
                .min(usize::try_from(missing).unwrap_or(usize::MAX));
            let (piece, rest) = input.split_at(taken);
            input = rest;
            if first & 0x08 != 0 {
                self.control.extend_from_slice(piece);
            } else {
                self.compare(piece, expected)?;
                tally.bytes += taken as u64;
            }
            let missing = missing - taken as u64;
            self.frame = Some((first, missing));
            if missing > 0 {
                return Ok(());
            }
            self.frame = None;
            self.end_frame(first, expected, tally)?;
        }
    }

    /// Takes bytes of a header until it is whole.
    fn begin_frame(&mut self, input: &mut &[u8], expected: &Expected) -> io::Result<()> {
        if self.closed {
            return Err(wrong("something came behind the close frame"));
        }
        while let Some((&byte, rest)) = input.split_first() {
            self.header.push(byte);
            *input = rest;
            if let Some((first, length, _)) = read_header(&self.header) {
                self.header.clear();
                self.check_header(first, length, expected)?;
                self.frame = Some((first, length));
                return Ok(());
            }
            if self.header.len() > MAX_HEADER {
                return Err(wrong("a frame's header has no end"));
            }
        }
        Ok(())
    }

    fn check_header(&mut self, first: u8, length: u64, expected: &Expected) -> io::Result<()> {
        let opcode = first & 0x0f;
        let described = || format!("a frame begins {first:#04x} with {length} bytes of payload");
        match (opcode, self.message) {
            (CLOSE | PONG, _) if first == FINAL | opcode && length <= 125 => return Ok(()),
            (TEXT | BINARY, None) | (CONTINUATION, Some(_)) => {}
            _ => return Err(wrong(described())),
        }
        let Some(due) = expected.messages.front() else {
            return Err(wrong(format!("{}, but no message is due", described())));
        };
        let at = *self.message.get_or_insert(0);
        let fits = due.payload.len() as u64 - at as u64;
        let right_length = length == fits || first & FINAL == 0 && length < fits;
        if first & 0x70 != 0 || opcode != CONTINUATION && opcode != due.opcode || !right_length {
            return Err(wrong(format!(
                "{}; due is a message {:#04x} with {fits} bytes left",
                described(),
                due.opcode
            )));
        }
        Ok(())
    }

    fn compare(&mut self, piece: &[u8], expected: &Expected) -> io::Result<()> {
        let (Some(at), Some(due)) = (&mut self.message, expected.messages.front()) else {
            return Err(wrong("payload came without a message"));
        };
        let right = &due.payload[*at..*at + piece.len()];
        if piece != right {
            let same = piece
                .iter()
                .zip(right)
                .take_while(|(came, due)| came == due)
                .count();
            return Err(wrong(format!(
                "byte {} of a message of {} is {:#04x}, not {:#04x}",
                *at + same,
                due.payload.len(),
                piece[same],
                right[same]
            )));
        }
        *at += piece.len();
        Ok(())
    }

    fn end_frame(
        &mut self,
        first: u8,
        expected: &mut Expected,
        tally: &mut Tally,
    ) -> io::Result<()> {
        match first & 0x0f {
            PONG => {
                let Some(at) = expected.pings.iter().position(|ping| *ping == self.control) else {
                    return Err(wrong(format!(
                        "a pong answers no ping: {:02x?}",
                        self.control
                    )));
                };
                expected.pings.drain(..=at);
                self.control.clear();
                tally.pongs += 1;
            }
            CLOSE => self.closed = true,
            _ if first & FINAL != 0 => {
                let whole = expected
                    .messages
                    .pop_front()
                    .map_or(0, |message| message.payload.len());
                expected.bytes -= whole;
                self.message = None;
                tally.messages += 1;
            }
            _ => {}
        }
        Ok(())
    }
}
