//! The receiving side of a soak client: compares the server's frames, however they are fragmented, with
//! what is expected.

use std::io;

use super::Tally;
use super::talking::Expected;
use crate::connection::wrong;
use crate::frame::{BINARY, CLOSE, CONTINUATION, FINAL, PONG, TEXT, read_header};

const MAX_HEADER: usize = 10;

/// A client's position in the server's frames.
#[derive(Default)]
pub struct Listener {
    /// The received part of a frame's header.
    header: Vec<u8>,
    /// The incomplete frame: its first byte, and the number of missing payload bytes.
    frame: Option<(u8, u64)>,
    /// Bytes received of the message at the front; `None` before its first frame.
    message: Option<usize>,
    /// The received part of a control frame's payload.
    control: Vec<u8>,
    /// The server has closed.
    pub closed: bool,
}

impl Listener {
    /// Compares received bytes.
    pub fn receive(
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

    /// Adds bytes to a header until it is complete.
    fn begin_frame(&mut self, input: &mut &[u8], expected: &Expected) -> io::Result<()> {
        if self.closed {
            return Err(wrong("data after the close frame"));
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
            return Err(wrong(format!(
                "{}, but no message is expected",
                described()
            )));
        };
        let at = *self.message.get_or_insert(0);
        let fits = due.payload.len() as u64 - at as u64;
        let right_length = length == fits || first & FINAL == 0 && length < fits;
        if first & 0x70 != 0 || opcode != CONTINUATION && opcode != due.opcode || !right_length {
            return Err(wrong(format!(
                "{}; expected is a message {:#04x} with {fits} bytes left",
                described(),
                due.opcode
            )));
        }
        Ok(())
    }

    fn compare(&mut self, piece: &[u8], expected: &Expected) -> io::Result<()> {
        let (Some(at), Some(due)) = (&mut self.message, expected.messages.front()) else {
            return Err(wrong("payload without a message"));
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
                    return Err(wrong(format!("unexpected pong: {:02x?}", self.control)));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::write_plain;
    use crate::soak::talking::Message;

    fn expected() -> Expected {
        let message = |opcode, length| Message {
            opcode,
            payload: (0..length).map(|byte| byte as u8).collect(),
        };
        Expected {
            messages: [message(TEXT, 0), message(BINARY, 300), message(TEXT, 5)].into(),
            pings: [vec![1; 8], vec![2; 9]].into(),
            bytes: 305,
        }
    }

    /// All echoes, the second in two frames with a pong between, and the close frame.
    fn right() -> Vec<u8> {
        let (mut wire, expected) = (Vec::new(), expected());
        write_plain(&mut wire, FINAL | TEXT, b"");
        write_plain(&mut wire, BINARY, &expected.messages[1].payload[..200]);
        write_plain(&mut wire, FINAL | PONG, &[2; 9]);
        write_plain(
            &mut wire,
            FINAL | CONTINUATION,
            &expected.messages[1].payload[200..],
        );
        write_plain(&mut wire, FINAL | TEXT, &expected.messages[2].payload);
        write_plain(&mut wire, FINAL | CLOSE, &[3, 232]);
        wire
    }

    /// Whether the listener accepts exactly the expected bytes, in pieces of `step`.
    fn satisfied(wire: &[u8], step: usize) -> bool {
        let (mut listener, mut expected) = (Listener::default(), expected());
        let mut tally = Tally::default();
        let heard = wire
            .chunks(step)
            .try_for_each(|piece| listener.receive(piece, &mut expected, &mut tally));
        heard.is_ok() && listener.closed && expected.is_empty() && expected.bytes == 0
    }

    #[test]
    fn right_echoes_satisfy_however_they_are_cut() {
        let wire = right();
        for step in 1..=wire.len() {
            assert!(satisfied(&wire, step), "in pieces of {step}");
        }
    }

    #[test]
    fn any_flipped_bit_is_found_except_in_the_reason_of_the_close() {
        let wire = right();
        for at in 0..wire.len() - 2 {
            for bit in 0..8 {
                let mut wrong = wire.clone();
                wrong[at] ^= 1 << bit;
                assert!(!satisfied(&wrong, 7), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn a_lost_or_a_doubled_byte_is_found() {
        let wire = right();
        for at in 0..wire.len() {
            let lost = [&wire[..at], &wire[at + 1..]].concat();
            let doubled = [&wire[..at], &wire[at..=at], &wire[at..]].concat();
            assert!(!satisfied(&lost, 7), "byte {at} lost");
            assert!(!satisfied(&doubled, 7), "byte {at} doubled");
        }
    }
}
