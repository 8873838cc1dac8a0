//! The sending side of a soak client: fragmented messages, with pings between the fragments.

use std::collections::VecDeque;

use fastrand::Rng;

use crate::frame::{BINARY, CONTINUATION, FINAL, PING, TEXT, write_masked_with};

/// A message that was sent and whose echo has not been received yet.
pub struct Message {
    pub opcode: u8,
    pub payload: Vec<u8>,
}

/// What was sent and must be received.
#[derive(Default)]
pub struct Expected {
    pub messages: VecDeque<Message>,
    /// Payloads of pings; the server may answer only the latest.
    pub pings: VecDeque<Vec<u8>>,
    /// Total size of the messages in bytes.
    pub bytes: usize,
}

impl Expected {
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.pings.is_empty()
    }
}

/// Appends a random message, in random fragments, to `out`.
pub fn write_message(
    random: &mut Rng,
    max_size: usize,
    out: &mut Vec<u8>,
    expected: &mut Expected,
) {
    let mut payload = vec![0; size(random, max_size)];
    let opcode = if random.bool() { TEXT } else { BINARY };
    random.fill(&mut payload);
    if opcode == TEXT {
        payload.iter_mut().for_each(|byte| *byte &= 0x7f);
    }
    write_fragments(random, opcode, &payload, out, expected);
    expected.bytes += payload.len();
    expected.messages.push_back(Message { opcode, payload });
}

/// Returns a random size: mostly small, and often one at which the encoding of the length or a buffer
/// changes.
fn size(random: &mut Rng, max: usize) -> usize {
    let size = match random.u8(..10) {
        0 => random
            .choice([0, 1, 125, 126, 127, 4_096, 16_383, 16_384, 65_535, 65_536])
            .unwrap_or(0),
        1..5 => random.usize(..200),
        5..8 => random.usize(..5_000),
        8 => random.usize(..40_000),
        _ => random.usize(..=max),
    };
    size.min(max)
}

fn write_fragments(
    random: &mut Rng,
    opcode: u8,
    payload: &[u8],
    out: &mut Vec<u8>,
    expected: &mut Expected,
) {
    let (mut rest, mut opcode) = (payload, opcode);
    while random.u8(..4) == 0 {
        let (fragment, behind) = rest.split_at(random.usize(..=rest.len()));
        write_masked_with(random.u32(..).to_ne_bytes(), out, opcode, fragment);
        (rest, opcode) = (behind, CONTINUATION);
        if random.u8(..4) == 0 {
            ping(random, out, expected);
        }
    }
    write_masked_with(random.u32(..).to_ne_bytes(), out, FINAL | opcode, rest);
}

fn ping(random: &mut Rng, out: &mut Vec<u8>, expected: &mut Expected) {
    let mut payload = vec![0; random.usize(8..=125)];
    random.fill(&mut payload);
    write_masked_with(random.u32(..).to_ne_bytes(), out, FINAL | PING, &payload);
    expected.pings.push_back(payload);
}
