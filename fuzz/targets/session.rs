//! Arbitrary bytes from the peer, which is a client or a server: nothing panics, and fragmentation does not change
//! the events.
//!
//! The input begins with the number of piece sizes and the sizes, in which the rest arrives in turn.

#![no_main]

use libfuzzer_sys::fuzz_target;
use portal::proto::{Event, Kind, Limits, Payload, ProtoError, Role, Scratch, Session};

const LIMITS: Limits = Limits {
    max_message_size: 4096,
    max_fragments: 8,
};

#[derive(Debug, PartialEq)]
enum Seen {
    Message(Kind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, Vec<u8>),
    Failed(ProtoError),
}

fuzz_target!(|input: &[u8]| {
    let Some((&count, rest)) = input.split_first() else {
        return;
    };
    let Some((sizes, wire)) = rest.split_at_checked(usize::from(count)) else {
        return;
    };
    for role in [Role::Server, Role::Client] {
        let whole = events(role, [wire.to_vec()]);
        assert_eq!(events(role, pieces(wire, sizes)), whole);
        assert_eq!(events(role, wire.chunks(1).map(<[u8]>::to_vec)), whole);
    }
});

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

fn events(role: Role, pieces: impl IntoIterator<Item = Vec<u8>>) -> Vec<Seen> {
    let mut session = Session::new(role, None);
    let mut scratch = Scratch::default();
    let mut seen = Vec::new();
    for mut piece in pieces {
        let mut at = 0;
        loop {
            let step = session.next(&LIMITS, &mut scratch, &mut piece[at..]);
            at += step.taken;
            seen.push(match step.event {
                Event::Message(kind, payload) => {
                    assert!(kind == Kind::Binary || std::str::from_utf8(payload.bytes()).is_ok());
                    assert!(payload.bytes().len() <= LIMITS.max_message_size);
                    Seen::Message(kind, bytes(payload, &mut scratch))
                }
                Event::Ping(payload) => Seen::Ping(bytes(payload, &mut scratch)),
                Event::Pong(payload) => Seen::Pong(bytes(payload, &mut scratch)),
                Event::Close(code, payload) => Seen::Close(code, bytes(payload, &mut scratch)),
                Event::Failed(error) => Seen::Failed(error),
                Event::NeedMore => break,
            });
        }
        assert_eq!(at, piece.len());
    }
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
