//! Frames: parsing the peer's headers, writing ours (RFC 6455 section 5.2).

use super::{Kind, Parsed, ProtoError, Role, is_utf8, mask};

/// Maximum payload of a ping, pong or close (RFC 6455 section 5.5).
pub const MAX_CONTROL_PAYLOAD: usize = 125;

/// Maximum length of a frame's header: two bytes, a 64-bit length and the masking key.
pub(super) const MAX_HEADER: usize = 14;
/// Minimum length without the masking key.
const MIN_HEADER: usize = 2;

const FIN: u8 = 0x80;
/// The three reserved bits.
const RESERVED: u8 = 0x70;
/// RSV1: the message is compressed (RFC 7692 section 6).
const COMPRESSED: u8 = 0x40;
const OPCODE: u8 = 0x0f;
const TEXT: u8 = Opcode::Text as u8;
const BINARY: u8 = Opcode::Binary as u8;
const MASKED: u8 = 0x80;
/// The 7-bit length: the length follows in 16 or in 64 bits.
const LENGTH_IN_16: u8 = 126;
const LENGTH_IN_64: u8 = 127;

/// The opcode of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// A further fragment of a message.
    Continuation = 0,
    /// A text message, or its first fragment.
    Text = 1,
    /// A binary message, or its first fragment.
    Binary = 2,
    /// A close frame.
    Close = 8,
    /// A ping.
    Ping = 9,
    /// A pong.
    Pong = 10,
}

impl Opcode {
    fn from_bits(bits: u8) -> Result<Self, ProtoError> {
        Ok(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return Err(ProtoError::ReservedOpcode(bits)),
        })
    }

    /// Whether it is a control opcode: close, ping or pong, which may occur between the fragments of a
    /// message.
    #[must_use]
    pub fn is_control(self) -> bool {
        self as u8 >= Self::Close as u8
    }
}

impl From<Kind> for Opcode {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text,
            Kind::Binary => Self::Binary,
        }
    }
}

/// The header of a received frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The last frame of its message.
    pub fin: bool,
    /// Its opcode.
    pub opcode: Opcode,
    /// The message that begins here is compressed.
    pub compressed: bool,
    /// The masking key of a client's frame.
    pub key: Option<[u8; mask::KEY_BYTES]>,
    /// Length of the payload, below 2^63.
    pub payload_len: u64,
}

/// Parses the header of a frame at the front of `input`: a masked one if we are a server, else an unmasked one.
///
/// Nothing is consumed and nothing is kept: the caller drops the bytes counted in
/// [`Parsed::Done`], or calls again with a longer slice after [`Parsed::NeedMore`]. The payload
/// stays where it is, as it was sent.
///
/// `may_compress`: permessage-deflate was negotiated, so the first frame of a message may have RSV1 set.
///
/// # Errors
///
/// The connection must be failed with close code 1002. The variant is the rule of RFC 6455 section 5 that the
/// peer violated. Rules are checked in the order of the bytes, so the result does not depend on where the
/// input is cut.
pub fn parse_header(
    input: &[u8],
    role: Role,
    may_compress: bool,
) -> Result<Parsed<Header>, ProtoError> {
    let is_masked = role == Role::Server;
    let key_bytes = if is_masked { mask::KEY_BYTES } else { 0 };
    let min_len = MIN_HEADER + key_bytes;
    let Some(&first) = input.first() else {
        return Ok(Parsed::NeedMore(min_len));
    };
    let compressed = first & COMPRESSED != 0;
    let begins_message = matches!(first & OPCODE, TEXT | BINARY);
    let allowed = if may_compress && begins_message {
        COMPRESSED
    } else {
        0
    };
    if first & RESERVED & !allowed != 0 {
        return Err(ProtoError::ReservedBits);
    }
    let opcode = Opcode::from_bits(first & OPCODE)?;
    let fin = first & FIN != 0;
    if opcode.is_control() && !fin {
        return Err(ProtoError::FragmentedControl);
    }

    let Some(&second) = input.get(1) else {
        return Ok(Parsed::NeedMore(min_len - 1));
    };
    match (is_masked, second & MASKED != 0) {
        (true, false) => return Err(ProtoError::Unmasked),
        (false, true) => return Err(ProtoError::Masked),
        _ => (),
    }
    let short_length = second & !MASKED;
    if opcode.is_control() && usize::from(short_length) > MAX_CONTROL_PAYLOAD {
        return Err(ProtoError::LongControl);
    }

    let (length_bytes, least) = match short_length {
        LENGTH_IN_16 => (2, 126),
        LENGTH_IN_64 => (8, 65_536),
        _ => (0, 0),
    };
    if length_bytes == 8 && input.get(2).is_some_and(|top| top & 0x80 != 0) {
        return Err(ProtoError::LengthTopBit);
    }
    let header_len = min_len + length_bytes;
    if input.len() < header_len {
        return Ok(Parsed::NeedMore(header_len - input.len()));
    }
    let payload_len = match &input[2..2 + length_bytes] {
        [] => u64::from(short_length),
        length => length
            .iter()
            .fold(0, |value, &byte| value << 8 | u64::from(byte)),
    };
    if payload_len < least {
        return Err(ProtoError::LengthNotMinimal);
    }
    let key = input[..header_len].last_chunk().copied();
    Ok(Parsed::Done(
        Header {
            fin,
            opcode,
            compressed,
            key: key.filter(|_| is_masked),
            payload_len,
        },
        header_len,
    ))
}

/// The position of a message that is complete in one frame, as most are.
pub struct WholeMessage {
    /// Text or binary.
    pub kind: Kind,
    /// Offset of the masking key, which the payload follows; without one, of the payload.
    key_at: usize,
    payload_len: usize,
    /// Offset of the end of the frame.
    pub end: usize,
}

impl WholeMessage {
    /// Returns the message at the front of `input`, if it is complete in one frame that is valid for our role.
    /// Everything else is left to [`parse_header`].
    #[inline(always)]
    pub fn find(input: &[u8], role: Role, max_message_size: usize) -> Option<Self> {
        match role {
            Role::Server => Self::find_with::<true>(input, max_message_size),
            Role::Client => Self::find_with::<false>(input, max_message_size),
        }
    }

    #[inline(always)]
    fn find_with<const IS_MASKED: bool>(input: &[u8], max_message_size: usize) -> Option<Self> {
        const WHOLE_TEXT: u8 = FIN | TEXT;
        const WHOLE_BINARY: u8 = FIN | BINARY;

        let &[first, second] = input.first_chunk()?;
        let kind = match first {
            WHOLE_TEXT => Kind::Text,
            WHOLE_BINARY => Kind::Binary,
            _ => return None,
        };
        if (second & MASKED != 0) != IS_MASKED {
            return None;
        }
        let (key_at, payload_len) = match second & !MASKED {
            LENGTH_IN_16 => {
                let &[_, _, high, low] = input.first_chunk()?;
                (4, usize::from(u16::from_be_bytes([high, low])))
            }
            LENGTH_IN_64 => {
                let &[_, _, ref length @ ..] = input.first_chunk::<10>()?;
                (10, usize::try_from(u64::from_be_bytes(*length)).ok()?)
            }
            short => (2, usize::from(short)),
        };
        let is_minimal = match key_at {
            4 => payload_len >= 126,
            10 => payload_len >= 65_536,
            _ => true,
        };
        let key_bytes = if IS_MASKED { mask::KEY_BYTES } else { 0 };
        let end = payload_len.checked_add(key_at + key_bytes)?;
        let is_whole = is_minimal && end <= input.len() && payload_len <= max_message_size;
        is_whole.then_some(Self {
            kind,
            key_at,
            payload_len,
            end,
        })
    }

    /// Takes the payload, in place, out of the same `input`. Returns it with a NUL behind it.
    ///
    /// # Errors
    ///
    /// A text that is not UTF-8 (RFC 6455 section 8.1).
    #[inline(always)]
    pub fn take<'a>(&self, input: &'a mut [u8], role: Role) -> Result<&'a [u8], ProtoError> {
        match role {
            Role::Server => self.unmask(input),
            Role::Client => self.terminate(input),
        }
    }

    #[inline(always)]
    fn unmask<'a>(&self, input: &'a mut [u8]) -> Result<&'a [u8], ProtoError> {
        let unmasked = mask::unmask_down(&mut input[self.key_at..self.end]);
        let is_valid = self.kind == Kind::Binary
            || unmasked.is_ascii
            || is_utf8(&unmasked.terminated[..self.payload_len]);
        is_valid
            .then_some(&*unmasked.terminated)
            .ok_or(ProtoError::NotUtf8)
    }

    /// Moves the payload over the end of its header, so that there is room for a NUL behind it.
    #[inline]
    fn terminate<'a>(&self, input: &'a mut [u8]) -> Result<&'a [u8], ProtoError> {
        let terminated = terminate(&mut input[self.key_at - 1..self.end]);
        let is_valid = self.kind == Kind::Binary || is_utf8(&terminated[..self.payload_len]);
        is_valid.then_some(terminated).ok_or(ProtoError::NotUtf8)
    }
}

/// Moves a payload, which follows the first byte, over that byte, and sets the byte that becomes free to NUL.
#[inline]
pub(super) fn terminate(payload: &mut [u8]) -> &[u8] {
    payload.copy_within(1.., 0);
    if let Some(last) = payload.last_mut() {
        *last = 0;
    }
    payload
}

/// The header of an unmasked frame with a complete message.
#[derive(Clone, Copy, Debug)]
pub struct FrameHead {
    bytes: [u8; 10],
    len: u8,
}

impl FrameHead {
    /// Returns the bytes to send before the payload.
    #[inline]
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Appends these bytes.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>) {
        let [first, length, ..] = self.bytes;
        match self.len {
            2 => out.extend_from_slice(&[first, length]),
            _ => out.extend_from_slice(self.as_slice()),
        }
    }
}

impl FrameHead {
    /// Appends these bytes as a client's header: with the mask bit, and the key behind.
    fn write_masked(&self, out: &mut Vec<u8>, key: [u8; mask::KEY_BYTES]) {
        let at = out.len();
        self.write(out);
        out[at + 1] |= MASKED;
        out.extend_from_slice(&key);
    }
}

/// Appends a masked frame (RFC 6455 section 5.3), in one pass over the payload. With a key of zeros the payload
/// stays as it is, for [`mask_prepared`].
pub fn append_masked(
    out: &mut Vec<u8>,
    head: &FrameHead,
    payload: &[u8],
    key: [u8; mask::KEY_BYTES],
) {
    head.write_masked(out, key);
    mask::append(out, payload, key);
}

/// Masks a frame whose header, of `head_len` bytes, ends in a key of zeros.
pub fn mask_prepared(frame: &mut [u8], head_len: usize, key: [u8; mask::KEY_BYTES]) {
    let (head, payload) = frame.split_at_mut(head_len);
    if let Some(place) = head.last_chunk_mut() {
        *place = key;
        mask::unmask(payload, key, 0);
    }
}

/// Masks the short, unmasked frame from `at` on at the end of `out`.
pub fn mask_frame(out: &mut Vec<u8>, at: usize, key: [u8; mask::KEY_BYTES]) {
    let head_end = at + MIN_HEADER;
    if let Some(second) = out.get_mut(at + 1) {
        *second |= MASKED;
        out.splice(head_end..head_end, key);
        mask::unmask(&mut out[head_end + mask::KEY_BYTES..], key, 0);
    }
}

/// Returns the header of a message of `payload_len` bytes.
#[inline]
#[must_use]
pub fn data_head(kind: Kind, payload_len: u64) -> FrameHead {
    let mut bytes = [0; 10];
    bytes[0] = FIN | Opcode::from(kind) as u8;
    let len = match payload_len {
        0..126 => {
            bytes[1] = payload_len as u8;
            2
        }
        126..65_536 => {
            bytes[1] = LENGTH_IN_16;
            bytes[2..4].copy_from_slice(&(payload_len as u16).to_be_bytes());
            4
        }
        _ => {
            bytes[1] = LENGTH_IN_64;
            bytes[2..].copy_from_slice(&payload_len.to_be_bytes());
            10
        }
    };
    FrameHead { bytes, len }
}

/// Returns the header of a compressed message of `payload_len` bytes.
#[must_use]
pub fn compressed_head(kind: Kind, payload_len: u64) -> FrameHead {
    let mut head = data_head(kind, payload_len);
    head.bytes[0] |= COMPRESSED;
    head
}

/// Returns the length, header included, of the frame that `bytes` begin with; None when the length in its header
/// is incomplete.
#[must_use]
pub fn frame_len(bytes: &[u8]) -> Option<usize> {
    let &[_, second] = bytes.first_chunk()?;
    let key_bytes = match second & MASKED {
        0 => 0,
        _ => mask::KEY_BYTES,
    };
    let (head_len, payload_len) = match second & !MASKED {
        LENGTH_IN_16 => {
            let &[_, _, high, low] = bytes.first_chunk()?;
            (4, usize::from(u16::from_be_bytes([high, low])))
        }
        LENGTH_IN_64 => {
            let length: [u8; 8] = *bytes.get(2..)?.first_chunk()?;
            (10, usize::try_from(u64::from_be_bytes(length)).ok()?)
        }
        short => (2, usize::from(short)),
    };
    payload_len.checked_add(head_len + key_bytes)
}

/// Maximum length of a control frame.
pub const MAX_CONTROL_FRAME: usize = MIN_HEADER + mask::KEY_BYTES + MAX_CONTROL_PAYLOAD;

/// Appends a ping. Its payload is cut to [`MAX_CONTROL_PAYLOAD`].
pub fn write_ping(out: &mut Vec<u8>, payload: &[u8]) {
    write_control(out, Opcode::Ping, &[payload]);
}

/// Appends a pong. Its payload is cut to [`MAX_CONTROL_PAYLOAD`].
pub fn write_pong(out: &mut Vec<u8>, payload: &[u8]) {
    write_control(out, Opcode::Pong, &[payload]);
}

/// Appends a close frame. Without a code it has no reason. A reason that is too long is cut after the last
/// character that fits.
pub fn write_close(out: &mut Vec<u8>, code: Option<u16>, reason: &[u8]) {
    match code {
        None => write_control(out, Opcode::Close, &[]),
        Some(code) => {
            let code = code.to_be_bytes();
            let mut end = reason.len().min(MAX_CONTROL_PAYLOAD - code.len());
            while end > 0 && reason.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
                end -= 1;
            }
            write_control(out, Opcode::Close, &[&code, &reason[..end]]);
        }
    }
}

fn write_control(out: &mut Vec<u8>, opcode: Opcode, parts: &[&[u8]]) {
    let payload = parts
        .iter()
        .copied()
        .flatten()
        .copied()
        .take(MAX_CONTROL_PAYLOAD);
    let payload_len = parts
        .iter()
        .map(|part| part.len())
        .sum::<usize>()
        .min(MAX_CONTROL_PAYLOAD);
    out.extend([FIN | opcode as u8, payload_len as u8]);
    out.extend(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_cut_anywhere_asks_for_exactly_the_missing_bytes() {
        let wires: [&[u8]; 3] = [
            &[0x82, 0xfd, 1, 2, 3, 4],
            &[0x82, 0xfe, 0x01, 0x00, 1, 2, 3, 4],
            &[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4],
        ];
        for (wire, payload_len) in wires.into_iter().zip([125, 256, 65_536]) {
            for cut in 0..wire.len() {
                // Without the second byte, only the minimum length of a header is known.
                let whole = if cut < 2 { 6 } else { wire.len() };
                assert_eq!(
                    parse_header(&wire[..cut], Role::Server, false),
                    Ok(Parsed::NeedMore(whole - cut)),
                    "cut at {cut}"
                );
            }
            let header = Header {
                fin: true,
                opcode: Opcode::Binary,
                compressed: false,
                key: Some([1, 2, 3, 4]),
                payload_len,
            };
            assert_eq!(
                parse_header(wire, Role::Server, false),
                Ok(Parsed::Done(header, wire.len()))
            );
            let mut unmasked = wire[..wire.len() - 4].to_vec();
            unmasked[1] &= !MASKED;
            for cut in 0..unmasked.len() {
                let whole = if cut < 2 { 2 } else { unmasked.len() };
                assert_eq!(
                    parse_header(&unmasked[..cut], Role::Client, false),
                    Ok(Parsed::NeedMore(whole - cut)),
                    "unmasked, cut at {cut}"
                );
            }
            let header = Header {
                key: None,
                ..header
            };
            assert_eq!(
                parse_header(&unmasked, Role::Client, false),
                Ok(Parsed::Done(header, unmasked.len()))
            );
        }
    }

    #[test]
    fn a_header_that_breaks_a_rule_fails_with_the_first_byte_that_does() {
        use ProtoError::*;
        // Section of RFC 6455, header, what is wrong, and how many bytes show it.
        let cases: &[(&str, &[u8], ProtoError, usize)] = &[
            ("5.2", &[0xc1, 0x80, 0, 0, 0, 0], ReservedBits, 1),
            ("5.2", &[0xa1, 0x80, 0, 0, 0, 0], ReservedBits, 1),
            ("5.2", &[0x91, 0x80, 0, 0, 0, 0], ReservedBits, 1),
            ("5.2", &[0xf9, 0x80, 0, 0, 0, 0], ReservedBits, 1),
            ("5.2", &[0x83, 0x80, 0, 0, 0, 0], ReservedOpcode(3), 1),
            ("5.2", &[0x07, 0x80, 0, 0, 0, 0], ReservedOpcode(7), 1),
            ("5.2", &[0x8b, 0x80, 0, 0, 0, 0], ReservedOpcode(11), 1),
            ("5.2", &[0x0f, 0x80, 0, 0, 0, 0], ReservedOpcode(15), 1),
            ("5.5", &[0x08, 0x80, 0, 0, 0, 0], FragmentedControl, 1),
            ("5.5", &[0x09, 0x80, 0, 0, 0, 0], FragmentedControl, 1),
            ("5.5", &[0x0a, 0x80, 0, 0, 0, 0], FragmentedControl, 1),
            ("5.1", &[0x81, 0x00, 0, 0, 0, 0], Unmasked, 2),
            ("5.1", &[0x89, 0x7e, 0, 0, 0, 0], Unmasked, 2),
            ("5.5", &[0x88, 0xfe, 0, 126, 0, 0, 0, 0], LongControl, 2),
            ("5.5", &[0x89, 0xfe, 0, 126, 0, 0, 0, 0], LongControl, 2),
            (
                "5.5",
                &[0x8a, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0],
                LongControl,
                2,
            ),
            (
                "5.2",
                &[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                LengthTopBit,
                3,
            ),
            (
                "5.2",
                &[
                    0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0,
                ],
                LengthTopBit,
                3,
            ),
            (
                "5.2",
                &[0x82, 0xfe, 0, 125, 0, 0, 0, 0],
                LengthNotMinimal,
                8,
            ),
            ("5.2", &[0x82, 0xfe, 0, 0, 0, 0, 0, 0], LengthNotMinimal, 8),
            (
                "5.2",
                &[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0],
                LengthNotMinimal,
                14,
            ),
        ];
        for &(section, wire, error, shown_by) in cases {
            for len in 0..=wire.len() {
                let parsed = parse_header(&wire[..len], Role::Server, false);
                if len < shown_by {
                    assert!(
                        matches!(parsed, Ok(Parsed::NeedMore(_))),
                        "{section}: {error}, {len} bytes"
                    );
                } else {
                    assert_eq!(parsed, Err(error), "{section}: {len} bytes");
                }
            }
            let with_payload = [wire, &[0; 65_536]].concat();
            assert!(
                WholeMessage::find(&with_payload, Role::Server, usize::MAX).is_none(),
                "{section}: {error}"
            );
        }
    }

    #[test]
    fn a_server_must_not_mask_5_1() {
        for first in [0x81, 0x82, 0x88, 0x89, 0x8a, 0x01, 0x80] {
            for length in [0, 125, 126, 127] {
                let wire = [first, MASKED | length, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                let parsed = parse_header(&wire, Role::Client, true);
                assert_eq!(parsed, Err(ProtoError::Masked), "{first:#x} {length}");
                assert!(WholeMessage::find(&wire, Role::Client, usize::MAX).is_none());
            }
        }
    }

    #[test]
    fn an_unmasked_message_is_found_and_ends_in_nul() {
        for payload_len in [0_usize, 1, 2, 125, 126, 65_535, 65_536] {
            let payload: Vec<u8> = (0..payload_len).map(|at| b'a' + (at % 26) as u8).collect();
            let mut wire = data_head(Kind::Text, payload_len as u64)
                .as_slice()
                .to_vec();
            wire.extend_from_slice(&payload);
            for cut in 0..wire.len().min(12) {
                assert!(WholeMessage::find(&wire[..cut], Role::Client, usize::MAX).is_none());
            }
            let end = wire.len();
            wire.push(0xee);
            if let Some(smaller) = payload_len.checked_sub(1) {
                assert!(WholeMessage::find(&wire, Role::Client, smaller).is_none());
            }
            let message =
                WholeMessage::find(&wire, Role::Client, payload_len).expect("it is whole");
            assert_eq!((message.kind, message.end), (Kind::Text, end));
            let terminated = message.terminate(&mut wire).expect("ASCII");
            assert_eq!(terminated.split_last(), Some((&0, &payload[..])));
            assert_eq!(wire[end], 0xee);
        }
        let mut wire = [0x81, 1, 0xff];
        let message = WholeMessage::find(&wire, Role::Client, 1).expect("it is whole");
        assert_eq!(message.terminate(&mut wire), Err(ProtoError::NotUtf8));
    }

    #[test]
    fn what_a_client_masks_a_server_reads_5_3() {
        const KEY: [u8; 4] = [0x12, 0x34, 0xa5, 0x7e];
        for payload_len in [0, 1, 5, 125, 126, 4_099, 65_536] {
            let payload: Vec<u8> = (0..payload_len).map(|at| (at * 7) as u8).collect();
            let head = data_head(Kind::Binary, payload_len as u64);
            let mut direct = vec![0x89, 0];
            append_masked(&mut direct, &head, &payload, KEY);
            let mut prepared = Vec::new();
            append_masked(&mut prepared, &head, &payload, [0; 4]);
            mask_prepared(&mut prepared, head.as_slice().len() + 4, KEY);
            assert_eq!(direct[2..], prepared, "{payload_len} bytes");
            assert_eq!(frame_len(&prepared), Some(prepared.len()));
            let message =
                WholeMessage::find(&prepared, Role::Server, usize::MAX).expect("it is whole");
            let read = message.unmask(&mut prepared).expect("binary");
            assert_eq!(read.split_last(), Some((&0, &payload[..])));
        }
    }

    #[test]
    fn a_control_frame_is_masked_where_it_was_written() {
        const KEY: [u8; 4] = [1, 2, 3, 4];
        for payload in [&b""[..], b"hi", &[7; 125]] {
            let mut out = b"before".to_vec();
            write_ping(&mut out, payload);
            mask_frame(&mut out, 6, KEY);
            assert!(out.len() - 6 <= MAX_CONTROL_FRAME);
            assert_eq!(frame_len(&out[6..]), Some(out.len() - 6));
            let parsed = parse_header(&out[6..], Role::Server, false);
            let Ok(Parsed::Done(header, 6)) = parsed else {
                panic!("{parsed:?}")
            };
            assert_eq!(header.key, Some(KEY));
            mask::unmask(&mut out[12..], KEY, 0);
            assert_eq!(&out[12..], payload);
        }
    }

    #[test]
    fn where_it_was_agreed_on_the_first_frame_of_a_message_may_be_compressed_7692_6() {
        for first in 0..=u8::MAX {
            let wire = [first, 0x80, 1, 2, 3, 4];
            let without = parse_header(&wire, Role::Server, false);
            assert_eq!(
                without == Err(ProtoError::ReservedBits),
                first & RESERVED != 0,
                "{first:#x}"
            );
            let with = parse_header(&wire, Role::Server, true);
            if matches!(first & !FIN, 0x41 | 0x42) {
                let Ok(Parsed::Done(header, 6)) = with else {
                    panic!("{first:#x}: {with:?}")
                };
                assert!(header.compressed, "{first:#x}");
                assert!(
                    WholeMessage::find(&wire, Role::Server, usize::MAX).is_none(),
                    "{first:#x}"
                );
            } else {
                assert_eq!(with, without, "{first:#x}");
            }
        }
    }

    #[test]
    fn the_header_of_a_compressed_message_has_rsv1_besides() {
        for payload_len in [0, 125, 126, 65_535, 65_536] {
            for kind in [Kind::Text, Kind::Binary] {
                let mut head = data_head(kind, payload_len).as_slice().to_vec();
                head[0] |= COMPRESSED;
                assert_eq!(head, compressed_head(kind, payload_len).as_slice());
            }
        }
    }

    #[test]
    fn a_frame_of_ours_is_as_long_as_its_header_says() {
        for payload_len in [0, 125, 126, 65_535, 65_536] {
            let head = data_head(Kind::Text, payload_len as u64);
            let head = head.as_slice();
            assert_eq!(frame_len(head), Some(head.len() + payload_len));
            for cut in 0..head.len() {
                assert_eq!(frame_len(&head[..cut]), None);
            }
        }
        let mut pong = Vec::new();
        write_pong(&mut pong, b"hi");
        assert_eq!(frame_len(&pong), Some(4));
        assert_eq!(
            frame_len(&[0x82, 127, 255, 255, 255, 255, 255, 255, 255, 255]),
            None
        );
    }

    #[test]
    fn the_largest_length_is_read_and_not_computed_with() {
        let wire = [
            0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0,
        ];
        let Ok(Parsed::Done(header, 14)) = parse_header(&wire, Role::Server, false) else {
            panic!("not read")
        };
        assert_eq!(header.payload_len, u64::MAX >> 1);
        assert!(WholeMessage::find(&wire, Role::Server, usize::MAX).is_none());
    }

    #[test]
    fn a_message_has_the_shortest_header_5_2() {
        let cases: [(u64, &[u8]); 9] = [
            (0, &[0x81, 0]),
            (1, &[0x81, 1]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 0xff, 0xff]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
            (
                (1 << 32) - 1,
                &[0x81, 127, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
            ),
            (1 << 32, &[0x81, 127, 0, 0, 0, 1, 0, 0, 0, 0]),
            (
                u64::MAX >> 1,
                &[0x81, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            ),
        ];
        for (payload_len, head) in cases {
            assert_eq!(
                data_head(Kind::Text, payload_len).as_slice(),
                head,
                "{payload_len}"
            );
            assert_eq!(data_head(Kind::Binary, payload_len).as_slice()[0], 0x82);
        }
    }

    #[test]
    fn control_frames_are_unmasked_and_at_most_125_bytes_long_5_5() {
        let mut out = Vec::new();
        write_ping(&mut out, b"hi");
        write_pong(&mut out, b"");
        write_close(&mut out, None, b"no place for it");
        write_close(&mut out, Some(1000), b"bye");
        assert_eq!(out, b"\x89\x02hi\x8a\x00\x88\x00\x88\x05\x03\xe8bye");

        out.clear();
        write_pong(&mut out, &[7; 126]);
        assert_eq!((out.len(), out[1]), (127, 125));
    }

    #[test]
    fn a_reason_that_is_too_long_is_cut_between_characters() {
        for (reason, kept) in [
            ("x".repeat(123), 123),
            ("x".repeat(124), 123),
            (format!("{}é", "x".repeat(122)), 122),
            (format!("{}😀😀", "x".repeat(120)), 120),
            (format!("{}😀😀", "x".repeat(119)), 123),
        ] {
            let mut out = Vec::new();
            write_close(&mut out, Some(1001), reason.as_bytes());
            assert_eq!(usize::from(out[1]), 2 + kept);
            assert_eq!(out[4..], reason.as_bytes()[..kept]);
        }
    }
}
