//! Negotiation of compression (RFC 7692 section 7.1).

use std::ops::RangeInclusive;

use crate::proto::Extension;

pub(super) const NAME: &str = "permessage-deflate";

/// Window sizes that a client may name, as powers of two (RFC 7692 section 7.1.2).
const WINDOW_BITS: RangeInclusive<u8> = 8..=15;

/// Window sizes for compression. zlib and its relatives have no raw deflate with 256 bytes: they use 512
/// instead, which such a client could not read.
pub(super) const OUR_WINDOW_BITS: RangeInclusive<u8> = 9..=15;

/// How messages are compressed in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// Our messages may refer to our earlier ones.
    pub our_takeover: bool,
    /// The peer's messages may refer to its earlier ones.
    pub peer_takeover: bool,
    /// The window size of our messages, as a power of two.
    pub our_window_bits: u8,
    /// The client has requested that window size, so the response contains it.
    confirms_window: bool,
}

impl Agreement {
    /// What a client has agreed on with a server; without a limit for our window, it is the largest.
    pub(super) fn of_client(
        our_takeover: bool,
        peer_takeover: bool,
        window_bits: Option<u8>,
    ) -> Self {
        Self {
            our_takeover,
            peer_takeover,
            our_window_bits: window_bits.unwrap_or(*OUR_WINDOW_BITS.end()),
            confirms_window: false,
        }
    }

    /// Whether our messages may be compressed: our window is not smaller than those that we can do.
    #[must_use]
    pub fn lets_us_compress(self) -> bool {
        OUR_WINDOW_BITS.contains(&self.our_window_bits)
    }

    /// Returns the window size for messages without context takeover. Their compressed form is the same for
    /// all peers with the same result. None: the peer needs a compressor of its own.
    #[must_use]
    pub fn shared_window_bits(self) -> Option<u8> {
        (!self.our_takeover).then_some(self.our_window_bits)
    }

    /// Returns it without references to earlier messages.
    #[must_use]
    pub fn without_takeover(self) -> Self {
        Self {
            our_takeover: false,
            peer_takeover: false,
            ..self
        }
    }

    /// Appends the value of `Sec-WebSocket-Extensions` for a server's response.
    pub(in crate::proto) fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(NAME.as_bytes());
        if !self.our_takeover {
            out.extend_from_slice(b"; server_no_context_takeover");
        }
        if !self.peer_takeover {
            out.extend_from_slice(b"; client_no_context_takeover");
        }
        if self.confirms_window {
            let window = format!("; server_max_window_bits={}", self.our_window_bits);
            out.extend_from_slice(window.as_bytes());
        }
    }
}

/// Accepts the first acceptable offer of a client. `takeover`: use context takeover where the client permits
/// it.
#[must_use]
pub fn agree(offers: &[Extension], takeover: bool) -> Option<Agreement> {
    offers.iter().find_map(|offer| accept(offer, takeover))
}

/// Returns the agreement on one offer; None for another extension, and for parameters that are unknown,
/// malformed, repeated or unsupported.
fn accept(offer: &Extension, takeover: bool) -> Option<Agreement> {
    if offer.name != NAME {
        return None;
    }
    let mut requested = Requested::default();
    for (name, value) in &offer.parameters {
        requested.take(name, value.as_deref())?;
    }
    let agreement = Agreement {
        our_takeover: takeover && !requested.server_no_takeover,
        peer_takeover: takeover && !requested.client_no_takeover,
        our_window_bits: requested
            .server_window_bits
            .unwrap_or(*OUR_WINDOW_BITS.end()),
        confirms_window: requested.server_window_bits.is_some(),
    };
    agreement.lets_us_compress().then_some(agreement)
}

/// The parameters of one offer, or of the answer to one.
#[derive(Default)]
pub(super) struct Requested {
    pub server_no_takeover: bool,
    pub client_no_takeover: bool,
    server_window_bits: Option<u8>,
    /// Every window size can be decompressed, so a server need not confirm this.
    pub client_window_bits: Option<u8>,
}

impl Requested {
    /// Adds one parameter. Returns None when it makes the offer unacceptable.
    pub(super) fn take(&mut self, name: &str, value: Option<&str>) -> Option<()> {
        match (name, value) {
            ("server_no_context_takeover", None) => set(&mut self.server_no_takeover),
            ("client_no_context_takeover", None) => set(&mut self.client_no_takeover),
            ("server_max_window_bits", Some(value)) => {
                set_once(&mut self.server_window_bits, window_bits(value)?)
            }
            ("client_max_window_bits", Some(value)) => {
                set_once(&mut self.client_window_bits, window_bits(value)?)
            }
            ("client_max_window_bits", None) => {
                set_once(&mut self.client_window_bits, *WINDOW_BITS.end())
            }
            _ => None,
        }
    }
}

fn set(flag: &mut bool) -> Option<()> {
    (!std::mem::replace(flag, true)).then_some(())
}

fn set_once(place: &mut Option<u8>, bits: u8) -> Option<()> {
    place.replace(bits).is_none().then_some(())
}

/// Parses a number from 8 to 15 without leading zeros.
fn window_bits(text: &str) -> Option<u8> {
    WINDOW_BITS
        .into_iter()
        .find(|bits| bits.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::extension;

    /// Returns the response to the value of a header; empty when nothing is agreed.
    fn answer(header: &str, takeover: bool) -> String {
        let mut offers = Vec::new();
        extension::parse(header.as_bytes(), &mut offers).expect("a header that can be read");
        let mut out = Vec::new();
        if let Some(agreement) = agree(&offers, takeover) {
            agreement.write(&mut out);
        }
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn without_context_takeover_both_sides_do_without_whatever_was_asked_7_1_1() {
        const FRESH: &str =
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        for offer in [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; client_max_window_bits=8",
            "permessage-deflate; client_max_window_bits=\"15\"",
            "permessage-deflate; server_no_context_takeover",
            "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
        ] {
            assert_eq!(answer(offer, false), FRESH, "{offer}");
        }
        for bits in 9..=15 {
            assert_eq!(
                answer(
                    &format!("permessage-deflate; server_max_window_bits={bits}"),
                    false
                ),
                format!("{FRESH}; server_max_window_bits={bits}")
            );
        }
    }

    #[test]
    fn with_context_takeover_what_was_asked_is_confirmed_7_1() {
        let cases = [
            ("", ""),
            ("; client_max_window_bits", ""),
            ("; client_max_window_bits=10", ""),
            (
                "; server_no_context_takeover",
                "; server_no_context_takeover",
            ),
            (
                "; client_no_context_takeover",
                "; client_no_context_takeover",
            ),
            (
                "; server_max_window_bits=10; server_no_context_takeover",
                "; server_no_context_takeover; server_max_window_bits=10",
            ),
            (
                "; client_max_window_bits=9; server_max_window_bits=15; client_no_context_takeover",
                "; client_no_context_takeover; server_max_window_bits=15",
            ),
        ];
        for (asked, answered) in cases {
            assert_eq!(
                answer(&format!("permessage-deflate{asked}"), true),
                format!("permessage-deflate{answered}")
            );
        }
    }

    #[test]
    fn an_offer_with_a_bad_parameter_is_passed_over_7_1() {
        for bad in [
            "server_no_context_takeover=1",
            "server_no_context_takeover=true",
            "client_no_context_takeover=\"\\1\"",
            "server_no_context_takeover; server_no_context_takeover",
            "client_no_context_takeover; client_no_context_takeover",
            "server_max_window_bits",
            "server_max_window_bits=7",
            "server_max_window_bits=16",
            "server_max_window_bits=08",
            "server_max_window_bits=+9",
            "server_max_window_bits=9.0",
            "server_max_window_bits=x",
            "server_max_window_bits=",
            "server_max_window_bits=\"1 0\"",
            "server_no_context_takeover=",
            "client_max_window_bits=\"\"",
            "server_max_window_bits=99999999999999999999",
            "server_max_window_bits=10; server_max_window_bits=10",
            "client_max_window_bits=7",
            "client_max_window_bits=16",
            "client_max_window_bits=010",
            "client_max_window_bits; client_max_window_bits=10",
            "mystery",
            "mystery=1",
            "SERVER_NO_CONTEXT_TAKEOVER",
        ] {
            let offer = format!("permessage-deflate; {bad}");
            for takeover in [false, true] {
                assert_eq!(answer(&offer, takeover), "", "{bad}");
            }
            let with_another = format!("{offer}, permessage-deflate");
            assert_eq!(answer(&with_another, true), NAME, "{bad}");
        }
    }

    #[test]
    fn a_window_of_256_bytes_is_more_than_we_can_do_7_1_2_1() {
        assert_eq!(
            answer("permessage-deflate; server_max_window_bits=8", true),
            ""
        );
    }

    #[test]
    fn the_first_offer_that_can_be_taken_is_5_1() {
        let cases = [
            ("x-webkit-deflate-frame, permessage-bzip2", ""),
            ("permessage-bzip2, permessage-deflate", ""),
            (
                "permessage-deflate; server_max_window_bits=8, \
                 permessage-deflate; server_max_window_bits=9, permessage-deflate",
                "; server_max_window_bits=9",
            ),
            (
                "permessage-deflate; server_no_context_takeover, permessage-deflate",
                "; server_no_context_takeover",
            ),
        ];
        for (index, (offers, parameters)) in cases.into_iter().enumerate() {
            let expected = match index {
                0 => String::new(),
                _ => format!("{NAME}{parameters}"),
            };
            assert_eq!(answer(offers, true), expected, "{offers}");
        }
    }

    #[test]
    fn clients_share_a_compressed_form_only_when_it_refers_to_nothing_before() {
        let agreement = |takeover| {
            let mut offers = Vec::new();
            let header = b"permessage-deflate; server_max_window_bits=11";
            extension::parse(header, &mut offers).expect("a good header");
            agree(&offers, takeover).expect("a good offer")
        };
        assert_eq!(agreement(false).shared_window_bits(), Some(11));
        assert_eq!(agreement(true).shared_window_bits(), None);
    }
}
