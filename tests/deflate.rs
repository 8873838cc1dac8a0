//! Compressed messages (RFC 7692): whatever a client makes of its messages, and wherever the bytes
//! are cut, the events are the same; and what we compress, a client reads.
//!
//! The client compresses with another library than ours.

#![cfg(feature = "deflate")]

mod pair;
mod reader;

use std::sync::atomic::{AtomicBool, Ordering};

use flate2::{Compress, Compression, FlushCompress, Status};
use portal::proto::{
    Agreement, Deflaters, Extension, Kind, Limits, Opcode, ProtoError, Scratch, agree,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use pair::{FIN, Frame, Seen, Server, any_cuts, events_with, frame, ping, text, wire};
use reader::Reader;

const LIMITS: Limits = Limits {
    max_message_size: 1 << 20,
    max_fragments: 64,
};

const COMPRESSED: u8 = 0x40;
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

fn agreement(takeover: bool) -> Agreement {
    agreement_on(takeover, &[])
}

fn agreement_on(takeover: bool, parameters: &[(&str, Option<&str>)]) -> Agreement {
    let owned = |&(name, value): &(&str, Option<&str>)| (name.to_owned(), value.map(str::to_owned));
    let offer = Extension {
        name: "permessage-deflate".to_owned(),
        parameters: parameters.iter().map(owned).collect(),
    };
    agree(&[offer], takeover).expect("a good offer")
}

// ---- the client ----

/// How a client ends the compressed form of a message.
#[derive(Clone, Copy, Debug)]
enum End {
    /// With an empty block, of which the tail is left out (7.2.1).
    Flush,
    /// With an empty block of each kind before that.
    EmptyBlocks,
    /// With a final block, and the empty one behind it (7.2.3.4).
    Final,
    /// With a final block alone, as some do.
    FinalAlone,
}

struct Client {
    compress: Compress,
    takeover: bool,
}

impl Client {
    fn new(level: u32, takeover: bool) -> Self {
        Self {
            compress: Compress::new(Compression::new(level), false),
            takeover,
        }
    }

    /// The compressed form of a message that is compressed in these parts.
    fn deflate(&mut self, parts: &[&[u8]], end: End) -> Vec<u8> {
        if !self.takeover {
            self.compress.reset();
        }
        let mut out = Vec::new();
        for part in parts {
            self.run(part, FlushCompress::Sync, &mut out);
        }
        match end {
            End::Flush => self.run(&[], FlushCompress::Full, &mut out),
            End::EmptyBlocks => {
                self.run(&[], FlushCompress::Full, &mut out);
                // An empty block without compression, and two with the fixed codes.
                out.extend([0x00, 0x00, 0x00, 0xff, 0xff]);
                out.extend([0x02, 0x08, 0x00, 0x00, 0x00, 0xff, 0xff]);
            }
            End::Final | End::FinalAlone => {
                self.run(&[], FlushCompress::Finish, &mut out);
                self.compress.reset();
                if let End::Final = end {
                    out.push(0x00);
                }
                return out;
            }
        }
        if !out.ends_with(&TAIL) {
            // Nothing was there to flush.
            out.extend([0x00, 0x00, 0x00, 0xff, 0xff]);
        }
        out.truncate(out.len() - TAIL.len());
        out
    }

    fn run(&mut self, mut input: &[u8], flush: FlushCompress, out: &mut Vec<u8>) {
        loop {
            out.reserve(1024);
            let before = self.compress.total_in();
            let status = self
                .compress
                .compress_vec(input, out, flush)
                .expect("good input");
            input = &input[(self.compress.total_in() - before) as usize..];
            let is_done = input.is_empty() && out.len() < out.capacity();
            if status == Status::StreamEnd || is_done && flush != FlushCompress::Finish {
                return;
            }
        }
    }
}

/// A message as frames: the compressed form cut at `cuts`, with a ping after each fragment.
fn fragments(kind: Kind, compressed: &[u8], cuts: &[Index], key: [u8; 4]) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut first = Opcode::from(kind) as u8 | COMPRESSED;
    let mut from = 0;
    for cut in any_cuts(compressed.len(), cuts) {
        frames.push(Frame {
            first,
            key,
            payload: compressed[from..cut].to_vec(),
        });
        frames.push(ping([cut as u8]));
        first = 0;
        from = cut;
    }
    frames.push(Frame {
        first: first | FIN,
        key,
        payload: compressed[from..].to_vec(),
    });
    frames
}

fn compressed_frame(kind: Kind, payload: impl AsRef<[u8]>) -> Frame {
    let mut frame = frame(true, Opcode::from(kind), payload);
    frame.first |= COMPRESSED;
    frame
}

/// What is left of the events without the pings.
fn messages(seen: &[Seen]) -> Vec<Seen> {
    seen.iter()
        .filter(|seen| !matches!(seen, Seen::Ping(_)))
        .cloned()
        .collect()
}

fn assert_seen(frames: &[Frame], takeover: bool, expected: &[Seen]) {
    let wire = wire(frames);
    let each_byte: Vec<_> = (0..wire.len()).collect();
    for cuts in [&[][..], &each_byte] {
        let seen = events_with(Some(agreement(takeover)), &LIMITS, &wire, cuts);
        assert_eq!(seen, expected);
    }
}

fn hello() -> Seen {
    Seen::Message(Kind::Text, b"Hello".to_vec())
}

// ---- the examples of the RFC ----

#[test]
fn the_examples_of_the_rfc_are_read_7_2_3() {
    let once = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let examples: [(&str, &[u8]); 4] = [
        ("7.2.3.1", &once),
        (
            "7.2.3.3",
            &[
                0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00,
            ],
        ),
        ("7.2.3.4", &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00]),
        (
            "7.2.3.5",
            &[
                0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
            ],
        ),
    ];
    for (section, payload) in examples {
        for takeover in [false, true] {
            let frame = compressed_frame(Kind::Text, payload);
            println!("{section}");
            assert_seen(&[frame.clone(), frame], takeover, &[hello(), hello()]);
        }
    }
    // 7.2.3.2: the second message refers to the first.
    let again = [0xf2, 0x00, 0x11, 0x00, 0x00];
    let frames = [once.as_slice(), &again].map(|bytes| compressed_frame(Kind::Text, bytes));
    assert_seen(&frames, true, &[hello(), hello()]);
    assert_seen(
        &frames,
        false,
        &[hello(), Seen::Failed(ProtoError::NotDeflate)],
    );
    // 7.2.3.6: an empty message.
    let empty = Seen::Message(Kind::Binary, Vec::new());
    assert_seen(&[compressed_frame(Kind::Binary, [0x00])], false, &[empty]);
}

#[test]
fn a_compressed_message_in_fragments_has_the_mark_on_the_first_alone_6_1() {
    let bytes = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let mut first = frame(false, Opcode::Text, &bytes[..3]);
    first.first |= COMPRESSED;
    let last = frame(true, Opcode::Continuation, &bytes[3..]);
    assert_seen(&[first.clone(), last.clone()], false, &[hello()]);

    let marked = Frame {
        first: last.first | COMPRESSED,
        ..last
    };
    let failed = Seen::Failed(ProtoError::ReservedBits);
    assert_seen(&[first, marked], false, std::slice::from_ref(&failed));
    let ping = Frame {
        first: 0x89 | COMPRESSED,
        ..ping("")
    };
    assert_seen(&[ping], false, &[failed]);
}

#[test]
fn plain_messages_may_stand_between_compressed_ones() {
    let once = compressed_frame(Kind::Text, [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
    let again = compressed_frame(Kind::Text, [0xf2, 0x00, 0x11, 0x00, 0x00]);
    let plain = || Seen::Message(Kind::Text, b"plain".to_vec());
    assert_seen(
        &[text("plain"), once, text("plain"), again],
        true,
        &[plain(), hello(), plain(), hello()],
    );
}

#[test]
fn what_is_no_deflate_fails_with_1007() {
    let bad: [(&str, &[u8]); 7] = [
        ("a block of the reserved kind", &[0x06, 0x00]),
        (
            "a length that does not fit its check",
            &[0x00, 0x05, 0x00, 0xfa, 0xfe],
        ),
        (
            "a reference to before the beginning",
            &[0xf2, 0x00, 0x11, 0x00, 0x00],
        ),
        ("a block that does not end", &[0xf2, 0x48, 0xcd]),
        (
            "a plain block that does not end",
            &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48],
        ),
        (
            "bytes behind the end",
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x07],
        ),
        ("plain text", b"Hello, this is no deflate"),
    ];
    for (what, payload) in bad {
        println!("{what}");
        let frame = compressed_frame(Kind::Binary, payload);
        let failed = Seen::Failed(ProtoError::NotDeflate);
        assert_seen(
            std::slice::from_ref(&frame),
            false,
            std::slice::from_ref(&failed),
        );
        assert_seen(&[frame], true, &[failed]);
    }
    assert_eq!(ProtoError::NotDeflate.close_code(), 1007);
}

#[test]
fn text_is_checked_as_it_is_inflated_8_1() {
    let mut client = Client::new(6, false);
    let mut words = b"caf\xc3\xa9 ".repeat(100_000);
    words[300_003] = 0x20;
    let compressed = client.deflate(&[&words], End::Flush);

    // It fails before all has come.
    let mut server = Server::with_agreement(&LIMITS, Some(agreement(false)));
    let wire = wire(&[compressed_frame(Kind::Text, &compressed)]);
    let failed_at = wire.iter().position(|&byte| {
        server.receive(&[byte]);
        server.seen == [Seen::Failed(ProtoError::NotUtf8)]
    });
    assert!(failed_at.expect("a failure") < wire.len() - 1);
}

// ---- limits ----

#[test]
fn a_message_of_exactly_the_limit_passes_and_one_byte_more_does_not() {
    for end in [End::Flush, End::Final, End::EmptyBlocks, End::FinalAlone] {
        for (len, passes) in [(1 << 20, true), ((1 << 20) + 1, false)] {
            let mut client = Client::new(6, false);
            let message = vec![b'x'; len];
            let compressed = client.deflate(&[&message], end);
            let expected = if passes {
                Seen::Message(Kind::Text, message)
            } else {
                Seen::Failed(ProtoError::TooBig)
            };
            assert_seen(
                &[compressed_frame(Kind::Text, compressed)],
                false,
                &[expected],
            );
        }
    }
}

// ---- what is used again ----

#[test]
fn what_read_half_a_message_of_one_client_reads_the_next_ones() {
    let mut client = Client::new(6, false);
    let words = "one two three four five six ".repeat(2000).into_bytes();
    let compressed = client.deflate(&[&words], End::Flush);
    let whole = wire(&[compressed_frame(Kind::Text, &compressed)]);
    let mut scratch = Scratch::default();
    for left_at in (1..whole.len()).step_by(7) {
        for takeover in [false, true] {
            let mut server = Server::with_agreement(&LIMITS, Some(agreement(takeover)));
            server.scratch = scratch;
            server.receive(&whole[..left_at]);
            server.session.abandon(&mut server.scratch);
            scratch = server.scratch;

            let mut server = Server::with_agreement(&LIMITS, Some(agreement(takeover)));
            server.scratch = scratch;
            server.receive(&whole);
            assert_eq!(server.seen, [Seen::Message(Kind::Text, words.clone())]);
            scratch = server.scratch;
        }
    }
}

#[test]
fn after_a_message_that_does_not_shrink_others_are_compressed_as_ever() {
    for level in 1..=9 {
        for len in [300, 15_000, 16_384, 70_000, 300_000] {
            let words = b"one two three ".repeat(len / 14);
            let expected = Deflaters::new(level).deflate(15, &words);
            assert!(expected.is_some());
            let mut deflaters = Deflaters::new(level);
            let mut own = deflaters.own(15);
            let fresh = deflaters.deflate_by(&mut deflaters.own(15), &words);
            for seed in 0..3 {
                let noise = noise(seed, len);
                assert_eq!(deflaters.deflate(15, &noise), None);
                assert_eq!(deflaters.deflate(15, &words), expected, "{level}, {len}");
                assert_eq!(deflaters.deflate_by(&mut own, &noise), None);
                assert_eq!(
                    deflaters.deflate_by(&mut own, &words),
                    fresh,
                    "{level}, {len}"
                );
            }
        }
    }
}

#[test]
fn a_message_whose_beginning_does_not_shrink_is_given_up_early() {
    let mut message = noise(1, 1 << 20);
    message.resize(16 << 20, b'x');
    assert_eq!(Deflaters::new(6).deflate(15, &message), None);
}

// ---- without memory ----

/// What is made while this is false is not promised its memory.
static HAS_MEMORY: AtomicBool = AtomicBool::new(true);

fn if_there_is_memory(_bytes: usize, work: &mut dyn FnMut()) -> bool {
    let has_memory = HAS_MEMORY.load(Ordering::SeqCst);
    if has_memory {
        work();
    }
    has_memory
}

#[test]
fn without_memory_a_client_is_failed_with_1011_and_a_message_goes_out_as_it_is() {
    let words = b"one two three ".repeat(100);
    let compressed = Client::new(6, false).deflate(&[&words], End::Flush);
    let whole = wire(&[compressed_frame(Kind::Text, &compressed)]);
    let mut deflaters = Deflaters::new(6).on_promise(if_there_is_memory);
    let mut own = deflaters.own(15);
    let mut scratch = Scratch::on_promise(if_there_is_memory);

    for has_memory in [false, true, false] {
        HAS_MEMORY.store(has_memory, Ordering::SeqCst);
        let mut server = Server::with_agreement(&LIMITS, Some(agreement(true)));
        server.scratch = scratch;
        server.receive(&whole);
        let expected = match has_memory {
            true => Seen::Message(Kind::Text, words.clone()),
            false => Seen::Failed(ProtoError::OutOfMemory),
        };
        assert_eq!(server.seen, [expected]);
        assert_eq!(deflaters.deflate(15, &words).is_some(), has_memory);
        assert_eq!(deflaters.deflate_by(&mut own, &words).is_some(), has_memory);
        // Nothing is kept for the next one.
        scratch = Scratch::on_promise(if_there_is_memory);
        deflaters = Deflaters::new(6).on_promise(if_there_is_memory);
        own = deflaters.own(15);
    }
}

// ---- any messages, any cutting ----

fn any_message() -> impl Strategy<Value = (Kind, Vec<u8>)> {
    let words = select(vec![
        "Grüße",
        "{\"id\":",
        "世界",
        "👋",
        ",",
        "aaaaaaaaaaaaaaaa",
        "0",
    ]);
    prop_oneof![
        4 => vec(words, 0..60).prop_map(|words| (Kind::Text, words.concat().into_bytes())),
        2 => vec(any::<u8>(), 0..200).prop_map(|bytes| (Kind::Binary, bytes)),
        1 => (any::<u8>(), 0..100_000_usize)
            .prop_map(|(byte, len)| (Kind::Binary, vec![byte; len])),
        1 => (any::<u64>(), 0..70_000_usize).prop_map(|(seed, len)| (Kind::Binary, noise(seed, len))),
    ]
}

/// Bytes that hardly shrink.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

#[derive(Clone, Debug)]
struct Sent {
    kind: Kind,
    message: Vec<u8>,
    plain: bool,
    end: End,
    parts: Vec<Index>,
    fragments: Vec<Index>,
    key: [u8; 4],
}

fn any_sent() -> impl Strategy<Value = Sent> {
    let ends = select(vec![
        End::Flush,
        End::Flush,
        End::EmptyBlocks,
        End::Final,
        End::FinalAlone,
    ]);
    (
        any_message(),
        prop::bool::weighted(0.2),
        ends,
        vec(any::<Index>(), 0..3),
        vec(any::<Index>(), 0..4),
        any::<[u8; 4]>(),
    )
        .prop_map(
            |((kind, message), plain, end, parts, fragments, key)| Sent {
                kind,
                message,
                plain,
                end,
                parts,
                fragments,
                key,
            },
        )
}

fn frames_of(sent: &[Sent], level: u32, takeover: bool) -> Vec<Frame> {
    let mut client = Client::new(level, takeover);
    let mut frames = Vec::new();
    for one in sent {
        if one.plain {
            frames.push(frame(true, one.kind.into(), &one.message));
            continue;
        }
        let mut parts = Vec::new();
        let mut from = 0;
        for cut in any_cuts(one.message.len(), &one.parts) {
            parts.push(&one.message[from..cut]);
            from = cut;
        }
        parts.push(&one.message[from..]);
        let compressed = client.deflate(&parts, one.end);
        frames.extend(fragments(one.kind, &compressed, &one.fragments, one.key));
    }
    frames
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn compressed_messages_arrive_in_any_fragments_and_any_cutting(
        sent in vec(any_sent(), 0..5),
        level in select(vec![0_u32, 1, 6, 9]),
        takeover in any::<bool>(),
        cuts in vec(any::<Index>(), 0..30),
    ) {
        let wire = wire(&frames_of(&sent, level, takeover));
        let expected: Vec<_> = sent
            .iter()
            .map(|one| Seen::Message(one.kind, one.message.clone()))
            .collect();
        let agreement = Some(agreement(takeover));
        let whole = events_with(agreement, &LIMITS, &wire, &[]);
        prop_assert_eq!(&messages(&whole), &expected);
        let cut = events_with(agreement, &LIMITS, &wire, &any_cuts(wire.len(), &cuts));
        prop_assert_eq!(&cut, &whole);
        let each_byte: Vec<_> = (0..wire.len()).collect();
        prop_assert_eq!(&events_with(agreement, &LIMITS, &wire, &each_byte), &whole);
    }

    #[test]
    fn spoiled_messages_and_small_limits_give_the_same_events_in_any_cutting(
        sent in vec(any_sent(), 1..4),
        spoiled in vec((any::<Index>(), any::<u8>()), 0..4),
        takeover in any::<bool>(),
        max_message_size in select(vec![0_usize, 10, 200, 20_000, 1 << 20]),
        cuts in vec(any::<Index>(), 0..30),
    ) {
        let mut wire = wire(&frames_of(&sent, 6, takeover));
        for (at, byte) in spoiled {
            let at = at.index(wire.len());
            wire[at] = byte;
        }
        let limits = Limits { max_message_size, ..LIMITS };
        let agreement = Some(agreement(takeover));
        let whole = events_with(agreement, &limits, &wire, &[]);
        let cut = events_with(agreement, &limits, &wire, &any_cuts(wire.len(), &cuts));
        prop_assert_eq!(&cut, &whole);
        let each_byte: Vec<_> = (0..wire.len()).collect();
        prop_assert_eq!(&events_with(agreement, &limits, &wire, &each_byte), &whole);
    }

    #[test]
    fn what_we_compress_a_client_with_that_window_reads(
        messages in vec(any_message(), 1..8),
        level in 1..=9_u32,
        window_bits in 9..=15_u8,
        takeover in any::<bool>(),
    ) {
        let bits = window_bits.to_string();
        let agreement = agreement_on(takeover, &[("server_max_window_bits", Some(&bits))]);
        let mut deflaters = Deflaters::new(level);
        let mut own = deflaters.own(agreement.our_window_bits);
        let mut reader = Reader::default();
        for (_, message) in &messages {
            let deflated = match agreement.shared_window_bits() {
                Some(window_bits) => deflaters.deflate(window_bits, message),
                None => deflaters.deflate_by(&mut own, message),
            };
            let Some(deflated) = deflated else { continue };
            prop_assert!(deflated.len() < message.len());
            if !takeover {
                reader = Reader::default();
            }
            prop_assert_eq!(&reader.inflate(&deflated, 1 << window_bits), message);
            deflaters.recycle(deflated);
        }
    }
}
