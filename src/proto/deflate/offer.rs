//! A client's offer of compression, and what the server makes of it (RFC 7692 section 7.1).

use super::agreement::{Agreement, NAME, Requested};
use crate::proto::Extension;

/// How a client offers compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeflateOffer {
    /// Neither side's messages refer to earlier ones; a server that does not agree may refer to its own.
    WithoutTakeover,
    /// Both sides' messages may.
    WithTakeover,
}

impl DeflateOffer {
    /// Returns the value of `Sec-WebSocket-Extensions` in the request.
    pub(in crate::proto) fn text(self) -> &'static str {
        match self {
            Self::WithoutTakeover => {
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                 client_max_window_bits"
            }
            Self::WithTakeover => "permessage-deflate; client_max_window_bits",
        }
    }

    /// Whether an extension of the answer is the one that was offered.
    pub(in crate::proto) fn is_of(self, extension: &Extension) -> bool {
        extension.name == NAME
    }

    /// Returns the agreement on the server's answer; None for a parameter that is unknown, malformed or repeated. A
    /// server may add all of the others of its own accord; every window of its can be decompressed.
    pub(in crate::proto) fn confirm(self, answer: &Extension) -> Option<Agreement> {
        let mut confirmed = Requested::default();
        for (name, value) in &answer.parameters {
            // In an answer it must have a value.
            if name == "client_max_window_bits" && value.is_none() {
                return None;
            }
            confirmed.take(name, value.as_deref())?;
        }
        let with_takeover = self == Self::WithTakeover;
        Some(Agreement::of_client(
            with_takeover && !confirmed.client_no_takeover,
            !confirmed.server_no_takeover,
            confirmed.client_window_bits,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::extension;

    fn confirm(offer: DeflateOffer, answer: &str) -> Option<Agreement> {
        let mut extensions = Vec::new();
        let answer = format!("permessage-deflate{answer}");
        extension::parse(answer.as_bytes(), &mut extensions).expect("a header that can be read");
        offer.confirm(&extensions[0])
    }

    #[test]
    fn a_server_may_narrow_what_was_offered_7_1() {
        use DeflateOffer::{WithTakeover, WithoutTakeover};
        for (offer, answer, ours, peers, window) in [
            (WithTakeover, "", true, true, 15),
            (
                WithTakeover,
                "; client_no_context_takeover",
                false,
                true,
                15,
            ),
            (
                WithTakeover,
                "; server_no_context_takeover",
                true,
                false,
                15,
            ),
            (WithTakeover, "; client_max_window_bits=10", true, true, 10),
            (WithTakeover, "; server_max_window_bits=8", true, true, 15),
            (WithoutTakeover, "", false, true, 15),
            (
                WithoutTakeover,
                "; server_no_context_takeover",
                false,
                false,
                15,
            ),
        ] {
            let agreement = confirm(offer, answer).expect("a good answer");
            assert_eq!(
                (
                    agreement.our_takeover,
                    agreement.peer_takeover,
                    agreement.our_window_bits
                ),
                (ours, peers, window),
                "{answer}"
            );
        }
        let tiny = confirm(WithTakeover, "; client_max_window_bits=8").expect("a good answer");
        assert!(!tiny.lets_us_compress());
    }

    #[test]
    fn another_parameter_fails_the_handshake_7_1() {
        for answer in [
            "; client_max_window_bits",
            "; client_max_window_bits=7",
            "; client_max_window_bits=16",
            "; server_max_window_bits",
            "; server_max_window_bits=16",
            "; server_max_window_bits=08",
            "; server_no_context_takeover=1",
            "; server_no_context_takeover; server_no_context_takeover",
            "; client_no_context_takeover; client_no_context_takeover",
            "; mystery",
        ] {
            assert_eq!(
                confirm(DeflateOffer::WithTakeover, answer),
                None,
                "{answer}"
            );
        }
    }
}
