//! Incomplete frames and messages: the state of a session between two inputs.

use std::mem;
use std::ops::Range;

use super::deflate::Inflater;
use super::frame::{MAX_HEADER, terminate};
use super::mask::{KEY_BYTES, unmask, unmask_down};
use super::message::{Assembly, append};
use super::pool::Pool;
use super::{Agreement, Header, Kind, Limits, Opcode, Parsed, ProtoError, Role, parse_header};

/// A payload is unmasked, checked and copied in chunks of this length, which fit into the processor's
/// first-level cache.
const CHUNK_BYTES: usize = 16 * 1024;

/// Which frames are reported; the others are skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interest {
    Everything,
    Close,
}

impl Interest {
    fn is_in(self, opcode: Opcode) -> bool {
        self == Self::Everything || opcode == Opcode::Close
    }
}

/// What [`Partial::read`] has read.
pub(super) enum ReadEvent {
    /// The end of the input.
    Nothing,
    /// An assembled message, and a NUL.
    Message(Kind, Vec<u8>),
    /// The assembled payload of a control frame, and a NUL.
    CutControl(Opcode, Vec<u8>),
    /// The range in the input of a control frame's payload and a NUL.
    Control(Opcode, Range<usize>),
}

/// The received pieces of a frame and fragments of a message.
#[derive(Debug, Default)]
pub(super) struct Partial {
    /// The received part of a header.
    header: [u8; MAX_HEADER],
    header_len: usize,
    /// The frame whose payload is incomplete.
    frame: Option<CutFrame>,
    /// The received part of a control frame's payload.
    control: Vec<u8>,
    /// The incomplete message.
    message: Option<Assembly>,
    /// Its decompressor. With context takeover it is kept from the first compressed message on.
    inflater: Option<Inflater>,
}

/// A frame whose payload is incomplete.
#[derive(Debug)]
struct CutFrame {
    header: Header,
    /// Number of payload bytes that are missing.
    missing: u64,
}

impl Partial {
    /// Whether nothing is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.is_between_frames() && self.inflater.is_none()
    }

    /// Whether nothing is held except the context for later messages.
    pub(crate) fn is_between_frames(&self) -> bool {
        self.header_len == 0 && self.frame.is_none() && self.message.is_none()
    }

    /// Returns how many bytes of memory it holds.
    pub(crate) fn held_bytes(&self) -> usize {
        let message = self.message.as_ref().map_or(0, Assembly::held_bytes);
        let inflater = self.inflater.as_ref().map_or(0, |_| Inflater::HELD_BYTES);
        self.control.capacity() + message + inflater
    }

    /// Discards the payload of an incomplete message, but not that it has begun.
    pub(crate) fn discard_message(&mut self) {
        if let Some(message) = &mut self.message {
            message.discard();
        }
    }

    /// Resets everything. Returns what it held.
    pub(crate) fn clear(&mut self) -> ([Vec<u8>; 2], Option<Inflater>) {
        let Self {
            control,
            message,
            inflater,
            ..
        } = mem::take(self);
        let message = message.map(Assembly::into_buffer).unwrap_or_default();
        ([control, message], inflater)
    }

    /// Reads `input` up to the first message or frame that is reported. Returns how many bytes were consumed,
    /// and what was read.
    pub(crate) fn read(
        &mut self,
        interest: Interest,
        limits: &Limits,
        role: Role,
        agreement: Option<Agreement>,
        pool: &mut Pool,
        input: &mut [u8],
    ) -> Result<(usize, ReadEvent), ProtoError> {
        let mut taken = 0;
        loop {
            let mut frame = match self.frame.take() {
                Some(frame) => frame,
                None => {
                    let (header_taken, header) =
                        self.read_header(&input[taken..], role, agreement.is_some())?;
                    taken += header_taken;
                    let Some(header) = header else {
                        return Ok((taken, ReadEvent::Nothing));
                    };

                    if header.opcode.is_control()
                        && interest.is_in(header.opcode)
                        && let Some(place) = take_whole(&header, header_taken, input, taken)
                    {
                        taken += header.payload_len as usize;
                        return Ok((taken, ReadEvent::Control(header.opcode, place)));
                    }
                    self.begin(&header, interest, limits, pool)?;
                    CutFrame {
                        missing: header.payload_len,
                        header,
                    }
                }
            };

            let rest = &mut input[taken..];
            let piece_len =
                usize::try_from(frame.missing).map_or(rest.len(), |len| len.min(rest.len()));
            if interest.is_in(frame.header.opcode) {
                for piece in rest[..piece_len].chunks_mut(CHUNK_BYTES) {
                    self.read_payload(&frame, limits, pool, piece)?;
                    frame.missing -= piece.len() as u64;
                }
            } else {
                frame.missing -= piece_len as u64;
            }
            taken += piece_len;
            if frame.missing > 0 {
                self.frame = Some(frame);
                return Ok((taken, ReadEvent::Nothing));
            }
            match self.end(&frame.header, interest, agreement, pool)? {
                ReadEvent::Nothing => {}
                found => return Ok((taken, found)),
            }
        }
    }

    /// Reads a header, or the part of it that has arrived. Returns how many bytes of `input` belong to it,
    /// and the header if it is complete.
    fn read_header(
        &mut self,
        input: &[u8],
        role: Role,
        may_compress: bool,
    ) -> Result<(usize, Option<Header>), ProtoError> {
        let mut taken = 0;
        loop {
            let held = &self.header[..self.header_len];
            let missing = match parse_header(held, role, may_compress)? {
                Parsed::Done(header, _) => {
                    self.header_len = 0;
                    return Ok((taken, Some(header)));
                }
                Parsed::NeedMore(missing) => missing,
            };
            if taken == input.len() {
                return Ok((taken, None));
            }
            let piece = &input[taken..input.len().min(taken + missing)];
            self.header[self.header_len..][..piece.len()].copy_from_slice(piece);
            self.header_len += piece.len();
            taken += piece.len();
        }
    }

    /// Checks by its header whether a frame is permitted now, and reserves room for it.
    fn begin(
        &mut self,
        header: &Header,
        interest: Interest,
        limits: &Limits,
        pool: &mut Pool,
    ) -> Result<(), ProtoError> {
        let kind = match header.opcode {
            Opcode::Close | Opcode::Ping | Opcode::Pong => {
                self.control = pool.buffer(header.payload_len);
                return Ok(());
            }
            Opcode::Continuation => None,
            Opcode::Text => Some(Kind::Text),
            Opcode::Binary => Some(Kind::Binary),
        };
        let message = match (kind, &mut self.message) {
            (None, None) => return Err(ProtoError::LoneContinuation),
            (Some(_), Some(_)) => return Err(ProtoError::InterruptedMessage),
            (None, Some(message)) => message,
            (Some(kind), none) => {
                let buffer = pool.buffer(header.payload_len.saturating_add(1));
                none.insert(Assembly::new(kind, header.compressed, buffer))
            }
        };
        match interest {
            Interest::Everything => message.admit(header.payload_len, limits),
            Interest::Close => Ok(()),
        }
    }

    /// Reads a piece of the payload of `frame`.
    fn read_payload(
        &mut self,
        frame: &CutFrame,
        limits: &Limits,
        pool: &mut Pool,
        piece: &mut [u8],
    ) -> Result<(), ProtoError> {
        if let Some(key) = frame.header.key {
            let offset = frame.header.payload_len - frame.missing;
            unmask(piece, key, (offset % KEY_BYTES as u64) as usize);
        }
        match &mut self.message {
            Some(message) if !frame.header.opcode.is_control() && message.is_compressed() => {
                let inflater = match &mut self.inflater {
                    Some(inflater) => inflater,
                    none => none.insert(pool.inflater()?),
                };
                inflater.push(piece, pool.stage()?, |inflated| {
                    message.append_inflated(inflated, limits)
                })
            }
            Some(message) if !frame.header.opcode.is_control() => message.append(piece),
            _ => append(&mut self.control, piece),
        }
    }

    /// Ends a frame that is complete.
    fn end(
        &mut self,
        header: &Header,
        interest: Interest,
        agreement: Option<Agreement>,
        pool: &mut Pool,
    ) -> Result<ReadEvent, ProtoError> {
        if header.opcode.is_control() {
            let mut payload = mem::take(&mut self.control);
            if interest.is_in(header.opcode) {
                append(&mut payload, &[0])?;
                return Ok(ReadEvent::CutControl(header.opcode, payload));
            }
            pool.recycle(payload);
        } else if header.fin
            && let Some(message) = self.message.take()
        {
            if interest.is_in(header.opcode) {
                if message.is_compressed() {
                    self.end_compressed(agreement, pool)?;
                }
                return Ok(ReadEvent::Message(message.kind(), message.finish()?));
            }
            pool.recycle(message.into_buffer());
        }
        Ok(ReadEvent::Nothing)
    }

    /// Ends a compressed message. Without context takeover, its decompressor returns to the pool.
    fn end_compressed(
        &mut self,
        agreement: Option<Agreement>,
        pool: &mut Pool,
    ) -> Result<(), ProtoError> {
        let Some(mut inflater) = self.inflater.take() else {
            return Ok(());
        };
        inflater.finish(pool.stage()?)?;
        if agreement.is_some_and(|agreement| agreement.peer_takeover) {
            self.inflater = Some(inflater);
        } else {
            pool.recycle_inflater(inflater);
        }
        Ok(())
    }
}

/// Unmasks the payload at `payload_at` of a control frame, if it is complete and so much of its header precedes it
/// that there is room for a NUL behind it. Returns the range of the payload and the NUL.
fn take_whole(
    header: &Header,
    header_taken: usize,
    input: &mut [u8],
    payload_at: usize,
) -> Option<Range<usize>> {
    let room = header.key.map_or(1, |_| KEY_BYTES);
    let start = payload_at
        .checked_sub(room)
        .filter(|_| header_taken >= room)?;
    let payload = input[start..].get_mut(..room + header.payload_len as usize)?;
    let terminated_len = match header.key {
        Some(_) => unmask_down(payload).terminated.len(),
        None => terminate(payload).len(),
    };
    Some(start..start + terminated_len)
}
