//! A message and its expected echo, prepared before the measurement.

use std::io;

use fastrand::Rng;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use crate::connection::{Server, wrong};
use crate::frame::{BINARY, COMPRESSED, FINAL, TEXT, read_header, write_masked, write_plain};

/// The message that all clients send repeatedly, and its echo.
pub struct Exchange {
    /// Copies of the message's frame, twice as many as may be in flight, so that a write never wraps
    /// around.
    outgoing: Vec<u8>,
    sent_len: usize,
    echo: Vec<u8>,
    /// Number of bytes of each echo that are compared.
    checked: usize,
}

impl Exchange {
    /// `sent` is the frame to send, `echo` the expected reply, of which the first `header` bytes are
    /// compared, or all of them if `verify`.
    pub fn new(sent: &[u8], echo: Vec<u8>, header: usize, depth: usize, verify: bool) -> Exchange {
        Exchange {
            outgoing: sent.repeat(2 * depth),
            sent_len: sent.len(),
            checked: if verify { echo.len() } else { header },
            echo,
        }
    }

    /// A message of `size` bytes: text up to 64 KiB, binary above.
    pub fn plain(size: usize, depth: usize, verify: bool) -> Exchange {
        let payload = letters(size);
        let first = FINAL | if size < 0x1_0000 { TEXT } else { BINARY };
        let (mut sent, mut echo) = (Vec::new(), Vec::new());
        write_masked(&mut sent, first, &payload);
        write_plain(&mut echo, first, &payload);
        let header = echo.len() - size;
        Exchange::new(&sent, echo, header, depth, verify)
    }

    /// As many bytes as a message's masked frame has, for a server that returns them unchanged.
    pub fn raw(size: usize, depth: usize, verify: bool) -> Exchange {
        let mut sent = Vec::new();
        write_masked(&mut sent, FINAL | BINARY, &letters(size));
        let header = sent.len() - size;
        Exchange::new(&sent, sent.clone(), header, depth, verify)
    }

    /// A compressed text. The server's compressed form is obtained by one exchange and expected from
    /// then on: without context takeover it is always the same.
    pub fn compressed(
        server: &Server,
        size: usize,
        depth: usize,
        verify: bool,
    ) -> io::Result<Exchange> {
        let payload = json(size);
        let mut sent = Vec::new();
        write_masked(&mut sent, FINAL | COMPRESSED | TEXT, &deflate(&payload)?);
        let echo = server.open(0)?.ask(&sent)?;
        let Some((first, length, header)) = read_header(&echo) else {
            return Err(wrong("no frame was received"));
        };
        if first != FINAL | COMPRESSED | TEXT || length != (echo.len() - header) as u64 {
            return Err(wrong(format!(
                "the echo of a compressed text begins with {first:#04x}"
            )));
        }
        if inflate(&echo[header..], size)? != payload {
            return Err(wrong("the echo of a compressed text differs from it"));
        }
        Ok(Exchange::new(&sent, echo, header, depth, verify))
    }

    pub fn sent_len(&self) -> usize {
        self.sent_len
    }

    pub fn echo_len(&self) -> usize {
        self.echo.len()
    }

    /// Returns the bytes to write at `position`, of which `owed` remain.
    pub fn outgoing(&self, position: usize, owed: usize) -> &[u8] {
        &self.outgoing[position..position + owed]
    }

    /// Returns the position after `taken` bytes were written at `position`.
    pub fn advance(&self, position: usize, taken: usize) -> usize {
        (position + taken) % (self.outgoing.len() / 2)
    }

    /// Compares received bytes with the expected echoes; `heard` bytes of the first were received
    /// before. Returns the number of echoes that are complete.
    pub fn check(&self, heard: &mut usize, mut input: &[u8]) -> io::Result<usize> {
        let mut echoes = 0;
        while !input.is_empty() {
            let due = &self.echo[*heard..];
            let taken = due.len().min(input.len());
            let compared = self.checked.saturating_sub(*heard).min(taken);
            if input[..compared] != due[..compared] {
                return Err(self.mismatch(*heard, &input[..compared], due));
            }
            input = &input[taken..];
            *heard += taken;
            if *heard == self.echo.len() {
                *heard = 0;
                echoes += 1;
            }
        }
        Ok(echoes)
    }

    #[cold]
    fn mismatch(&self, heard: usize, input: &[u8], due: &[u8]) -> io::Error {
        let at = input
            .iter()
            .zip(due)
            .take_while(|(came, due)| came == due)
            .count();
        let (came, due) = (input[at], due[at]);
        wrong(format!(
            "byte {} of an echo is {came:#04x}, not {due:#04x}",
            heard + at
        ))
    }
}

/// Typical JSON, which compresses to about a third.
fn json(size: usize) -> Vec<u8> {
    let mut random = Rng::with_seed(1);
    let mut text = String::from("[");
    while text.len() < size {
        let (id, price) = (random.u32(..100_000), random.u32(..1_000_000));
        let side = if random.bool() { "buy" } else { "sell" };
        text += &format!(r#"{{"id":{id},"side":"{side}","price":{price},"symbol":"EURUSD"}},"#);
    }
    text.truncate(size - 1);
    text.push(']');
    text.into_bytes()
}

/// The end of a compressed message, which is omitted (RFC 7692 section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

fn deflate(payload: &[u8]) -> io::Result<Vec<u8>> {
    let mut compressed = Vec::with_capacity(payload.len() + 64);
    Compress::new(Compression::default(), false)
        .compress_vec(payload, &mut compressed, FlushCompress::Sync)
        .map_err(io::Error::other)?;
    compressed.truncate(compressed.len() - TAIL.len());
    Ok(compressed)
}

fn inflate(compressed: &[u8], size: usize) -> io::Result<Vec<u8>> {
    let mut payload = Vec::with_capacity(size + 64);
    Decompress::new(false)
        .decompress_vec(
            &[compressed, &TAIL].concat(),
            &mut payload,
            FlushDecompress::Sync,
        )
        .map_err(io::Error::other)?;
    Ok(payload)
}

fn letters(count: usize) -> Vec<u8> {
    (b'a'..=b'z').cycle().take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        write_plain(&mut frame, first, payload);
        frame
    }

    #[test]
    fn echoes_are_counted_however_they_are_cut() {
        let exchange = Exchange::plain(300, 4, true);
        let three = echo(FINAL | TEXT, &letters(300)).repeat(3);
        for step in 1..three.len() {
            let (mut heard, mut echoes) = (0, 0);
            for piece in three.chunks(step) {
                echoes += exchange.check(&mut heard, piece).unwrap();
            }
            assert_eq!((echoes, heard), (3, 0), "in pieces of {step}");
        }
    }

    #[test]
    fn a_wrong_opcode_or_length_is_found_always_and_a_wrong_letter_when_verifying() {
        for verify in [false, true] {
            let exchange = Exchange::plain(20, 1, verify);
            let check = |frame: Vec<u8>| exchange.check(&mut 0, &frame);
            assert!(check(echo(FINAL | TEXT, &letters(20))).is_ok());
            assert!(check(echo(FINAL | BINARY, &letters(20))).is_err());
            assert!(check(echo(TEXT, &letters(20))).is_err());
            assert!(check(echo(FINAL | TEXT, &letters(21))).is_err());
            assert_eq!(check(echo(FINAL | TEXT, &[b'x'; 20])).is_err(), verify);
        }
    }

    #[test]
    fn what_was_compressed_is_the_same_again_and_was_shorter() {
        let payload = json(1024);
        let compressed = deflate(&payload).unwrap();
        assert!(compressed.len() < payload.len() / 2);
        assert_eq!(inflate(&compressed, 1024).unwrap(), payload);
    }

    #[test]
    fn what_is_written_in_any_pieces_is_whole_frames() {
        let exchange = Exchange::plain(20, 3, false);
        let (mut position, mut written) = (0, Vec::<u8>::new());
        for taken in [7, 26, 40, 1, 30, 52] {
            written.extend(exchange.outgoing(position, taken));
            position = exchange.advance(position, taken);
        }
        assert_eq!(written, exchange.outgoing(0, 26).repeat(6));
        assert_eq!(position, 0);
    }
}
