//! Protocol violations after the opening handshake, and the close code for each.

use std::fmt;

use super::memory::Refused;

/// The rule that the peer violated. Section numbers are those of RFC 6455.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtoError {
    /// A client's frame without a mask (5.1).
    Unmasked,
    /// A server's frame with a mask (5.1).
    Masked,
    /// A reserved bit that no negotiated extension uses (5.2).
    ReservedBits,
    /// A reserved opcode (5.2).
    ReservedOpcode(u8),
    /// A length that is not encoded in the fewest bytes (5.2).
    LengthNotMinimal,
    /// A 64-bit length with its top bit set (5.2).
    LengthTopBit,
    /// A fragmented ping, pong or close (5.5).
    FragmentedControl,
    /// A ping, pong or close of more than 125 bytes (5.5).
    LongControl,
    /// A continuation with nothing to continue (5.4).
    LoneContinuation,
    /// A new message before the last fragment of the previous one (5.4).
    InterruptedMessage,
    /// A close frame with half a code (5.5.1).
    HalfCloseCode,
    /// A close code that may not be sent (7.4).
    CloseCode(u16),
    /// Text or a close reason that is not UTF-8 (8.1).
    NotUtf8,
    /// A compressed message that cannot be decompressed (RFC 7692 section 7.2.2).
    NotDeflate,
    /// A message over `max_message_size` (10.4).
    TooBig,
    /// A message of more frames than `max_fragments` (10.4).
    TooManyFragments,
    /// Memory for a message was refused.
    OutOfMemory,
}

impl ProtoError {
    /// Returns the close code with which the connection is failed.
    #[must_use]
    pub fn close_code(self) -> u16 {
        match self {
            Self::Unmasked
            | Self::Masked
            | Self::ReservedBits
            | Self::ReservedOpcode(_)
            | Self::LengthNotMinimal
            | Self::LengthTopBit
            | Self::FragmentedControl
            | Self::LongControl
            | Self::LoneContinuation
            | Self::InterruptedMessage
            | Self::HalfCloseCode
            | Self::CloseCode(_) => 1002,
            Self::NotUtf8 | Self::NotDeflate => 1007,
            Self::TooManyFragments => 1008,
            Self::TooBig => 1009,
            Self::OutOfMemory => 1011,
        }
    }

    /// Whether the message is over a size limit.
    #[must_use]
    pub fn is_too_big(self) -> bool {
        self == Self::TooBig
    }

    /// Whether text was not UTF-8.
    #[must_use]
    pub fn is_utf8(self) -> bool {
        self == Self::NotUtf8
    }

    /// Whether memory was refused, which is not the peer's fault.
    #[must_use]
    pub fn is_memory(self) -> bool {
        self == Self::OutOfMemory
    }
}

impl fmt::Display for ProtoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unmasked => "the peer sent an unmasked frame",
            Self::Masked => "the peer sent a masked frame",
            Self::ReservedBits => "the peer set a reserved bit in a frame header",
            Self::ReservedOpcode(opcode) => {
                return write!(f, "the peer sent the reserved opcode {opcode:#x}");
            }
            Self::LengthNotMinimal => "the peer sent a frame length that is not minimally encoded",
            Self::LengthTopBit => "the peer sent a frame length of 2^63 or more",
            Self::FragmentedControl => "the peer sent a fragmented control frame",
            Self::LongControl => "the peer sent a control frame of more than 125 bytes",
            Self::LoneContinuation => {
                "the peer sent a continuation frame without a message to continue"
            }
            Self::InterruptedMessage => {
                "the peer began a message before the previous one was complete"
            }
            Self::HalfCloseCode => "the peer sent a close frame with an incomplete close code",
            Self::CloseCode(code) => {
                return write!(f, "the peer sent the invalid close code {code}");
            }
            Self::NotUtf8 => "the peer sent text that is not valid UTF-8",
            Self::NotDeflate => "the peer sent invalid compressed data",
            Self::TooBig => "the peer's message is too big",
            Self::TooManyFragments => "the peer's message has too many fragments",
            Self::OutOfMemory => "out of memory for the peer's message",
        })
    }
}

impl std::error::Error for ProtoError {}

impl From<Refused> for ProtoError {
    fn from(_: Refused) -> Self {
        Self::OutOfMemory
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_close_code() {
        let cases = [
            ("5.1", ProtoError::Unmasked, 1002),
            ("5.1", ProtoError::Masked, 1002),
            ("5.2", ProtoError::ReservedBits, 1002),
            ("5.2", ProtoError::ReservedOpcode(3), 1002),
            ("5.2", ProtoError::LengthNotMinimal, 1002),
            ("5.2", ProtoError::LengthTopBit, 1002),
            ("5.4", ProtoError::LoneContinuation, 1002),
            ("5.4", ProtoError::InterruptedMessage, 1002),
            ("5.5", ProtoError::FragmentedControl, 1002),
            ("5.5", ProtoError::LongControl, 1002),
            ("5.5.1", ProtoError::HalfCloseCode, 1002),
            ("7.4", ProtoError::CloseCode(1005), 1002),
            ("8.1", ProtoError::NotUtf8, 1007),
            ("7.4.1", ProtoError::NotDeflate, 1007),
            ("10.4", ProtoError::TooManyFragments, 1008),
            ("10.4", ProtoError::TooBig, 1009),
            ("7.4.1", ProtoError::OutOfMemory, 1011),
        ];
        for (section, error, code) in cases {
            assert_eq!(error.close_code(), code, "{section}: {error}");
        }
    }
}
