//! Arbitrary frames on a connection with compression: nothing panics, no message is over the limit, and
//! fragmentation does not change the events. Received messages survive compression and decompression.
//!
//! The input is a byte of flags, the number of piece sizes and the sizes, then frames: a first byte, a
//! length and the payload, which is masked here.

#![no_main]

use libfuzzer_sys::fuzz_target;
use portal::proto::{
    Agreement, Deflaters, Event, Extension, Kind, Limits, Payload, ProtoError, Role, Scratch,
    Session, agree,
};

const LIMITS: Limits = Limits {
    max_message_size: 100_000,
    max_fragments: 8,
};

#[derive(Debug, PartialEq)]
enum Seen {
    Message(Kind, Vec<u8>),
    Control(Vec<u8>),
    Failed(ProtoError),
}

fuzz_target!(|input: &[u8]| {
    let [flags, count, rest @ ..] = input else {
        return;
    };
    let Some((sizes, frames)) = rest.split_at_checked(usize::from(*count)) else {
        return;
    };
    let takeover = flags & 1 != 0;
    let agreement = agreement(takeover);
    let wire = wire(frames);
    // Shared by all sessions: what a session returns must be reusable.
    let mut scratch = Scratch::default();
    let whole = events(agreement, &mut scratch, [wire.clone()]);
    let cut = events(agreement, &mut scratch, pieces(&wire, sizes));
    assert_eq!(cut, whole);
    let bytes = wire.chunks(1).map(<[u8]>::to_vec);
    assert_eq!(events(agreement, &mut scratch, bytes), whole);

    assert_survival(
        agreement,
        &mut scratch,
        u32::from(flags >> 1) % 9 + 1,
        &whole,
    );
});

/// Compresses the messages and decompresses them.
fn assert_survival(agreement: Agreement, scratch: &mut Scratch, level: u32, seen: &[Seen]) {
    let mut deflaters = Deflaters::new(level);
    let mut own = deflaters.own(agreement.our_window_bits);
    let mut session = Session::new(Role::Server, Some(agreement));
    for seen in seen {
        let Seen::Message(kind, message) = seen else {
            continue;
        };
        let deflated = match agreement.shared_window_bits() {
            Some(window_bits) => deflaters.deflate(window_bits, message),
            None => deflaters.deflate_by(&mut own, message),
        };
        let Some(deflated) = deflated else {
            continue;
        };
        assert!(deflated.len() < message.len());
        let first = 0xc0 | if *kind == Kind::Text { 1 } else { 2 };
        let mut frame = frame(first, &deflated);
        match session.next(&LIMITS, scratch, &mut frame).event {
            Event::Message(_, payload) => assert_eq!(payload.bytes(), message),
            event => panic!("{event:?}"),
        }
    }
}

fn agreement(takeover: bool) -> Agreement {
    let offer = Extension {
        name: "permessage-deflate".to_owned(),
        parameters: Vec::new(),
    };
    agree(&[offer], takeover).expect("a good offer")
}

/// Returns the frames with masked payloads.
fn wire(mut frames: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    while let [first, len, rest @ ..] = frames {
        let (payload, rest) = rest.split_at(rest.len().min(usize::from(*len)));
        wire.extend(frame(*first, payload));
        frames = rest;
    }
    wire
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len @ 126..65_536 => {
            frame.push(0xfe);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(0xff);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(KEY);
    frame.extend(
        payload
            .iter()
            .zip(KEY.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    frame
}

fn pieces(mut wire: &[u8], sizes: &[u8]) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    for &size in sizes {
        let (piece, rest) = wire.split_at(wire.len().min(size.into()));
        pieces.push(piece.to_vec());
        wire = rest;
    }
    pieces.push(wire.to_vec());
    pieces
}

fn events(
    agreement: Agreement,
    scratch: &mut Scratch,
    pieces: impl IntoIterator<Item = Vec<u8>>,
) -> Vec<Seen> {
    let mut session = Session::new(Role::Server, Some(agreement));
    let mut seen = Vec::new();
    for mut piece in pieces {
        let mut at = 0;
        loop {
            let step = session.next(&LIMITS, scratch, &mut piece[at..]);
            at += step.taken;
            seen.push(match step.event {
                Event::Message(kind, payload) => {
                    assert!(kind == Kind::Binary || std::str::from_utf8(payload.bytes()).is_ok());
                    assert!(payload.bytes().len() <= LIMITS.max_message_size);
                    Seen::Message(kind, bytes(payload, scratch))
                }
                Event::Ping(payload) | Event::Pong(payload) | Event::Close(_, payload) => {
                    Seen::Control(bytes(payload, scratch))
                }
                Event::Failed(error) => Seen::Failed(error),
                Event::NeedMore => break,
            });
        }
        assert_eq!(at, piece.len());
    }
    session.abandon(scratch);
    seen
}

fn bytes(payload: Payload<'_>, scratch: &mut Scratch) -> Vec<u8> {
    let bytes = payload.bytes().to_vec();
    assert_eq!(payload.terminated().split_last(), Some((&0, &bytes[..])));
    if let Payload::Whole(buffer) = payload {
        scratch.recycle(buffer);
    }
    bytes
}
