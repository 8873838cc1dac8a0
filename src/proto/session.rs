//! What a client sends after the opening handshake, as events (RFC 6455 sections 5 to 7).

use super::partial::{Found, Interest, Partial};
use super::{
    Agreement, Kind, Limits, Opcode, ProtoError, Scratch, WholeMessage, is_utf8, may_receive,
};

/// One client's side of a connection.
///
/// Between messages it owns nothing, unless they are compressed with context takeover; while one is
/// cut by the end of an input, what came of it.
#[derive(Debug, Default)]
pub struct Session {
    partial: Option<Box<[Partial; 1]>>,
    agreement: Option<Agreement>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Everything is read and reported.
    #[default]
    Open,
    /// Everything is read, only the client's close frame is reported.
    Closing,
    /// The client has closed or broken a rule; what still comes is no frame any more.
    Finished,
}

/// What was found at the front of an input.
#[derive(Debug)]
pub struct Step<'a> {
    /// How many bytes were taken; the rest is for the next call.
    pub taken: usize,
    /// What happened with them.
    pub event: Event<'a>,
}

/// What the client did.
#[derive(Debug)]
pub enum Event<'a> {
    /// It sent a message.
    Message(Kind, Payload<'a>),
    /// It asks for a pong with this payload.
    Ping(Payload<'a>),
    /// It answered a ping, or nothing.
    Pong(Payload<'a>),
    /// It closes: its code, or none, and its reason, which is UTF-8. All that follows is swallowed.
    Close(Option<u16>, Payload<'a>),
    /// It broke a rule. The whole input was taken, and all that follows is swallowed.
    Failed(ProtoError),
    /// Nothing that is complete; everything was taken.
    NeedMore,
}

/// Bytes of a client, with one NUL behind them that does not count.
#[derive(Debug)]
pub enum Payload<'a> {
    /// They lie in the input, from which later messages may be lent beside them.
    Lent(&'a [u8]),
    /// They came in pieces. [`Scratch::recycle`] takes the buffer back.
    Whole(Vec<u8>),
}

impl Payload<'_> {
    /// The bytes without the NUL.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let terminated = self.terminated();
        &terminated[..terminated.len().saturating_sub(1)]
    }

    /// The bytes with the NUL.
    #[inline]
    #[must_use]
    pub fn terminated(&self) -> &[u8] {
        match self {
            Self::Lent(bytes) => bytes,
            Self::Whole(bytes) => bytes,
        }
    }

    /// The same without its first `count` bytes, of which there are so many.
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
    /// The session of a client whose opening handshake is done.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The session of a client that may send compressed messages, if there is an agreement.
    #[must_use]
    pub fn with_agreement(agreement: Option<Agreement>) -> Self {
        Self {
            agreement,
            ..Self::default()
        }
    }

    /// What was agreed on about compression.
    #[inline]
    #[must_use]
    pub fn agreement(&self) -> Option<Agreement> {
        self.agreement
    }

    /// Reads `input` up to the first event.
    ///
    /// Payloads are unmasked where they lie and lent from there; bytes behind what was taken stay
    /// as they are. Call again with the rest until [`Event::NeedMore`], then with what comes next.
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
        match WholeMessage::find(input, limits.max_message_size) {
            Some(message) => match message.unmask(input) {
                Ok(payload) => Step {
                    taken: message.end,
                    event: Event::Message(message.kind, Payload::Lent(payload)),
                },
                Err(error) => self.fail(scratch, error, input_len),
            },
            None => self.next_of_any(limits, scratch, input),
        }
    }

    /// Whether a [`WholeMessage`] at the front of the next input is the next event. As long as only
    /// such messages are taken from the input, this stays so and the session need not know of them.
    #[inline]
    #[must_use]
    pub fn reads_plainly(&self) -> bool {
        let partial = self.partial.as_deref();
        self.phase == Phase::Open && partial.is_none_or(|[partial]| partial.is_between_frames())
    }

    /// From now on messages, pings and pongs are read past: after our own close frame nobody is
    /// interested in them. Their framing is still checked. The client's close frame is reported.
    pub fn drop_messages(&mut self) {
        if self.phase == Phase::Open {
            self.phase = Phase::Closing;
        }
        if let Some([partial]) = self.partial.as_deref_mut() {
            partial.discard_message();
        }
    }

    /// The connection has ended: what is held is given back, and no event comes any more.
    pub fn abandon(&mut self, scratch: &mut Scratch) {
        self.phase = Phase::Finished;
        if let Some(partial) = self.partial.take() {
            scratch.recycle_partial(partial);
        }
    }

    /// Nothing is held: no cut frame, no message of which fragments are missing.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let partial = self.partial.as_deref();
        partial.is_none_or(|[partial]| partial.is_between_frames())
    }

    /// How many bytes are missing of a cut data frame.
    #[must_use]
    pub fn expects(&self) -> Option<u64> {
        let [partial] = self.partial.as_deref()?;
        partial.missing_data()
    }

    /// Reads on where the last input ended.
    fn read_partly(
        &mut self,
        interest: Interest,
        limits: &Limits,
        scratch: &mut Scratch,
        input: &mut [u8],
    ) -> Result<(usize, Found), ProtoError> {
        let mut held = match self.partial.take() {
            Some(held) => held,
            None => scratch.partial()?,
        };
        let [partial] = &mut *held;
        let found = partial.read(interest, limits, self.agreement, &mut scratch.pool, input);
        if found.is_err() || partial.is_empty() {
            scratch.recycle_partial(held);
        } else {
            self.partial = Some(held);
        }
        found
    }

    /// [`Session::next`] for all that is not a whole message in one frame.
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
                Found::Nothing => Event::NeedMore,
                Found::Message(kind, bytes) => Event::Message(kind, Payload::Whole(bytes)),
                Found::CutControl(opcode, bytes) => control_event(opcode, Payload::Whole(bytes))?,
                Found::Control(opcode, place) => {
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

/// What a whole control frame says.
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
