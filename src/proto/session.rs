//! The receiving side of a connection: frames become events (RFC 6455 sections 5 to 7).

use super::partial::{Interest, Partial, ReadEvent};
use super::{
    Agreement, Kind, Limits, Opcode, ProtoError, Role, Scratch, WholeMessage, is_utf8, may_receive,
};

/// The receiving side of one connection.
///
/// Between messages it owns no memory, except with context takeover. While a message is incomplete, it owns
/// the received part.
#[derive(Debug, Default)]
pub struct Session {
    partial: Option<Box<[Partial; 1]>>,
    agreement: Option<Agreement>,
    role: Role,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Everything is reported.
    #[default]
    Open,
    /// Only the peer's close frame and violations are reported.
    Closing,
    /// The peer has closed or violated the protocol; further input is ignored.
    Finished,
}

/// The result of reading an input.
#[derive(Debug)]
pub struct Step<'a> {
    /// Number of bytes consumed; the rest is for the next call.
    pub taken: usize,
    /// The event.
    pub event: Event<'a>,
}

/// An event of the peer.
#[derive(Debug)]
pub enum Event<'a> {
    /// A complete message.
    Message(Kind, Payload<'a>),
    /// A ping. The pong must have this payload.
    Ping(Payload<'a>),
    /// A pong, solicited or not.
    Pong(Payload<'a>),
    /// A close frame: a code or none, and a reason in UTF-8. Further input is ignored.
    Close(Option<u16>, Payload<'a>),
    /// A protocol violation. The whole input was consumed, and further input is ignored.
    Failed(ProtoError),
    /// No event yet; the whole input was consumed.
    NeedMore,
}

/// A payload, followed by a NUL that is not part of it.
#[derive(Debug)]
pub enum Payload<'a> {
    /// Borrowed from the input.
    Lent(&'a [u8]),
    /// Assembled from pieces. [`Scratch::recycle`] takes the buffer back.
    Whole(Vec<u8>),
}

impl Payload<'_> {
    /// Returns the bytes without the NUL.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let terminated = self.terminated();
        &terminated[..terminated.len().saturating_sub(1)]
    }

    /// Returns the bytes with the NUL.
    #[inline]
    #[must_use]
    pub fn terminated(&self) -> &[u8] {
        match self {
            Self::Lent(bytes) => bytes,
            Self::Whole(bytes) => bytes,
        }
    }

    /// Removes its first `count` bytes, which it must have.
    fn without_first(self, count: usize) -> Self {
        match self {
            Self::Lent(bytes) => Self::Lent(&bytes[count..]),
            Self::Whole(mut bytes) => {
                bytes.drain(..count);
                Self::Whole(bytes)
            }
        }
    }
}

impl Session {
    /// Creates the session of a connection after its opening handshake. The peer may send compressed messages, if
    /// there is an agreement.
    #[must_use]
    pub fn new(role: Role, agreement: Option<Agreement>) -> Self {
        Self {
            role,
            agreement,
            ..Self::default()
        }
    }

    /// Returns which end of the connection we are.
    #[inline]
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Returns what was negotiated about compression.
    #[inline]
    #[must_use]
    pub fn agreement(&self) -> Option<Agreement> {
        self.agreement
    }

    /// Reads `input` up to the first event.
    ///
    /// Payloads are unmasked in place and borrowed from `input`; bytes that were not consumed are not
    /// changed. Call again with the rest until [`Event::NeedMore`], then with further input.
    #[inline]
    pub fn next<'a>(
        &mut self,
        limits: &Limits,
        scratch: &mut Scratch,
        input: &'a mut [u8],
    ) -> Step<'a> {
        if !self.reads_plainly() {
            return self.next_of_any(limits, scratch, input);
        }
        let input_len = input.len();
        let role = self.role;
        match WholeMessage::find(input, role, limits.max_message_size) {
            Some(message) => match message.take(input, role) {
                Ok(payload) => Step {
                    taken: message.end,
                    event: Event::Message(message.kind, Payload::Lent(payload)),
                },
                Err(error) => self.fail(scratch, error, input_len),
            },
            None => self.next_of_any(limits, scratch, input),
        }
    }

    /// Whether a [`WholeMessage`] at the front of the next input would be the next event. This remains true
    /// while only such messages are consumed, without calls of this session.
    #[inline]
    #[must_use]
    pub fn reads_plainly(&self) -> bool {
        let partial = self.partial.as_deref();
        self.phase == Phase::Open && partial.is_none_or(|[partial]| partial.is_between_frames())
    }

    /// Skips messages, pings and pongs from now on: after our own close frame they are not needed. Their
    /// framing is still checked, and the peer's close frame is reported.
    pub fn drop_messages(&mut self) {
        if self.phase == Phase::Open {
            self.phase = Phase::Closing;
        }
        if let Some([partial]) = self.partial.as_deref_mut() {
            partial.discard_message();
        }
    }

    /// Ends the session: what it holds is returned to `scratch`, and no further event is reported.
    pub fn abandon(&mut self, scratch: &mut Scratch) {
        self.phase = Phase::Finished;
        if let Some(partial) = self.partial.take() {
            scratch.recycle_partial(partial);
        }
    }

    /// Returns how many bytes of memory it holds for an incomplete message, and for the context of later ones.
    #[inline]
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let partial = self.partial.as_deref();
        partial.map_or(0, |[partial]| partial.held_bytes())
    }

    /// Whether it holds no incomplete frame or message.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let partial = self.partial.as_deref();
        partial.is_none_or(|[partial]| partial.is_between_frames())
    }

    /// Continues where the last input ended.
    fn read_partly(
        &mut self,
        interest: Interest,
        limits: &Limits,
        scratch: &mut Scratch,
        input: &mut [u8],
    ) -> Result<(usize, ReadEvent), ProtoError> {
        let mut held = match self.partial.take() {
            Some(held) => held,
            None => scratch.partial()?,
        };
        let [partial] = &mut *held;
        let (role, agreement) = (self.role, self.agreement);
        let found = partial.read(interest, limits, role, agreement, &mut scratch.pool, input);
        if found.is_err() || partial.is_empty() {
            scratch.recycle_partial(held);
        } else {
            self.partial = Some(held);
        }
        found
    }

    /// [`Session::next`] for everything except a complete message in one frame.
    #[cold]
    #[inline(never)]
    fn next_of_any<'a>(
        &mut self,
        limits: &Limits,
        scratch: &mut Scratch,
        input: &'a mut [u8],
    ) -> Step<'a> {
        let input_len = input.len();
        if self.phase == Phase::Finished || input_len == 0 {
            return Step {
                taken: input_len,
                event: Event::NeedMore,
            };
        }
        let interest = match self.phase {
            Phase::Open => Interest::Everything,
            _ => Interest::Close,
        };
        let event = self.read_partly(interest, limits, scratch, input);
        let event = event.and_then(|(taken, found)| {
            let event = match found {
                ReadEvent::Nothing => Event::NeedMore,
                ReadEvent::Message(kind, bytes) => Event::Message(kind, Payload::Whole(bytes)),
                ReadEvent::CutControl(opcode, bytes) => {
                    control_event(opcode, Payload::Whole(bytes))?
                }
                ReadEvent::Control(opcode, place) => {
                    control_event(opcode, Payload::Lent(&input[place]))?
                }
            };
            Ok(Step { taken, event })
        });
        match event {
            Ok(step) => {
                if let Event::Close(..) = step.event {
                    self.abandon(scratch);
                }
                step
            }
            Err(error) => self.fail(scratch, error, input_len),
        }
    }

    #[cold]
    fn fail<'a>(&mut self, scratch: &mut Scratch, error: ProtoError, taken: usize) -> Step<'a> {
        self.abandon(scratch);
        Step {
            taken,
            event: Event::Failed(error),
        }
    }
}

/// Returns the event of a complete control frame.
fn control_event(opcode: Opcode, payload: Payload<'_>) -> Result<Event<'_>, ProtoError> {
    match opcode {
        Opcode::Ping => Ok(Event::Ping(payload)),
        Opcode::Pong => Ok(Event::Pong(payload)),
        _ => close_event(payload),
    }
}

fn close_event(payload: Payload<'_>) -> Result<Event<'_>, ProtoError> {
    let code = match *payload.bytes() {
        [] => return Ok(Event::Close(None, payload)),
        [_] => return Err(ProtoError::HalfCloseCode),
        [high, low, ..] => u16::from_be_bytes([high, low]),
    };
    if !may_receive(code) {
        return Err(ProtoError::CloseCode(code));
    }
    let reason = payload.without_first(size_of_val(&code));
    if !is_utf8(reason.bytes()) {
        return Err(ProtoError::NotUtf8);
    }
    Ok(Event::Close(Some(code), reason))
}
