//! A session and a client in memory.

#![allow(dead_code, reason = "each test file uses what it needs")]

use portal::proto::{
    Agreement, Event, Kind, Limits, Opcode, Payload, ProtoError, Role, Scratch, Session,
};
use proptest::sample::Index;

pub(crate) const FIN: u8 = 0x80;

// ---- the client ----

/// One frame as a client sends it, or should not.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub first: u8,
    pub key: [u8; 4],
    pub payload: Vec<u8>,
}

pub(crate) fn frame(fin: bool, opcode: Opcode, payload: impl AsRef<[u8]>) -> Frame {
    Frame {
        first: opcode as u8 | if fin { FIN } else { 0 },
        key: [0x37, 0xfa, 0x21, 0x3d],
        payload: payload.as_ref().to_vec(),
    }
}

pub(crate) fn text(payload: impl AsRef<[u8]>) -> Frame {
    frame(true, Opcode::Text, payload)
}

pub(crate) fn ping(payload: impl AsRef<[u8]>) -> Frame {
    frame(true, Opcode::Ping, payload)
}

pub(crate) fn close(code: u16, reason: impl AsRef<[u8]>) -> Frame {
    let payload = [&code.to_be_bytes(), reason.as_ref()].concat();
    frame(true, Opcode::Close, payload)
}

impl Frame {
    /// Writes it as it comes to somebody in this role.
    pub(crate) fn write_to(&self, role: Role, wire: &mut Vec<u8>) {
        let len = self.payload.len();
        let masked = if role == Role::Server { 0x80 } else { 0 };
        wire.push(self.first);
        match len {
            0..126 => wire.push(masked | len as u8),
            126..65_536 => {
                wire.push(masked | 126);
                wire.extend((len as u16).to_be_bytes());
            }
            _ => {
                wire.push(masked | 127);
                wire.extend((len as u64).to_be_bytes());
            }
        }
        match role {
            Role::Server => {
                wire.extend(self.key);
                let key = self.key.iter().cycle();
                wire.extend(self.payload.iter().zip(key).map(|(byte, key)| byte ^ key));
            }
            Role::Client => wire.extend(&self.payload),
        }
    }
}

/// The frames as a server receives them.
pub(crate) fn wire(frames: &[Frame]) -> Vec<u8> {
    wire_to(Role::Server, frames)
}

/// The frames as somebody in this role receives them.
pub(crate) fn wire_to(role: Role, frames: &[Frame]) -> Vec<u8> {
    let mut wire = Vec::new();
    for frame in frames {
        frame.write_to(role, &mut wire);
    }
    wire
}

/// A header that announces `payload_len` bytes, of which none is there.
pub(crate) fn announce(first: u8, payload_len: u64) -> Vec<u8> {
    let mut wire = vec![first, 0xff];
    wire.extend(payload_len.to_be_bytes());
    wire.extend([0; 4]);
    wire
}

// ---- the server ----

/// What a session reported, with nothing borrowed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Seen {
    Message(Kind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, Vec<u8>),
    Failed(ProtoError),
}

pub(crate) struct Server {
    pub session: Session,
    pub scratch: Scratch,
    limits: Limits,
    pub seen: Vec<Seen>,
}

impl Server {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self::with_agreement(limits, None)
    }

    /// One whose client may send compressed messages.
    pub(crate) fn with_agreement(limits: &Limits, agreement: Option<Agreement>) -> Self {
        Self::with_session(limits, Session::new(Role::Server, agreement))
    }

    /// One with this session, which may also be a client's.
    pub(crate) fn with_session(limits: &Limits, session: Session) -> Self {
        Self {
            session,
            scratch: Scratch::default(),
            limits: limits.clone(),
            seen: Vec::new(),
        }
    }

    /// Hands over what one read brings, until nothing is left of it.
    pub(crate) fn receive(&mut self, piece: &[u8]) {
        let mut input = piece.to_vec();
        let mut at = 0;
        let mut lent = Vec::new();
        loop {
            let rest = &mut input[at..];
            let rest_range = rest.as_ptr_range();
            let step = self.session.next(&self.limits, &mut self.scratch, rest);

            let mut keep = |payload: Payload<'_>| {
                let terminated = payload.terminated().to_vec();
                assert_eq!(terminated.split_last(), Some((&0, payload.bytes())));
                match payload {
                    Payload::Lent(bytes) => {
                        let offset = bytes.as_ptr() as usize - rest_range.start as usize;
                        assert!(
                            offset + bytes.len() <= step.taken,
                            "lent from what was not taken"
                        );
                        lent.push((at + offset, terminated.clone()));
                    }
                    Payload::Whole(bytes) => self.scratch.recycle(bytes),
                }
                terminated[..terminated.len() - 1].to_vec()
            };
            let seen = match step.event {
                Event::Message(kind, payload) => Seen::Message(kind, keep(payload)),
                Event::Ping(payload) => Seen::Ping(keep(payload)),
                Event::Pong(payload) => Seen::Pong(keep(payload)),
                Event::Close(code, payload) => Seen::Close(code, keep(payload)),
                Event::Failed(error) => {
                    assert_eq!(at + step.taken, piece.len(), "a failure takes everything");
                    Seen::Failed(error)
                }
                Event::NeedMore => {
                    assert_eq!(at + step.taken, piece.len(), "not everything was taken");
                    break;
                }
            };
            at += step.taken;
            assert_eq!(
                input[at..],
                piece[at..],
                "bytes behind what was taken changed"
            );
            self.seen.push(seen);
        }
        for (offset, terminated) in lent {
            assert_eq!(
                input[offset..][..terminated.len()],
                terminated,
                "what was lent did not stay"
            );
        }
    }
}

/// What a session reports of `wire`, cut at each of `cuts`.
pub(crate) fn events(limits: &Limits, wire: &[u8], cuts: &[usize]) -> Vec<Seen> {
    events_with(None, limits, wire, cuts)
}

/// The same of somebody in this role.
pub(crate) fn events_as(role: Role, limits: &Limits, wire: &[u8], cuts: &[usize]) -> Vec<Seen> {
    let session = Session::new(role, None);
    receive_cut(Server::with_session(limits, session), wire, cuts)
}

/// The same where compression was agreed on.
pub(crate) fn events_with(
    agreement: Option<Agreement>,
    limits: &Limits,
    wire: &[u8],
    cuts: &[usize],
) -> Vec<Seen> {
    receive_cut(Server::with_agreement(limits, agreement), wire, cuts)
}

fn receive_cut(mut server: Server, wire: &[u8], cuts: &[usize]) -> Vec<Seen> {
    let mut from = 0;
    for &cut in cuts.iter().chain([&wire.len()]) {
        server.receive(&wire[from..cut]);
        from = cut;
    }
    server.seen
}

/// Where a wire of so many bytes is cut.
pub(crate) fn any_cuts(wire_len: usize, cuts: &[Index]) -> Vec<usize> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(wire_len + 1)).collect();
    cuts.sort_unstable();
    cuts
}
