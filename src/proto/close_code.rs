//! Close codes, and which of them each side may send (RFC 6455 section 7.4, and its IANA registry).

/// Whether the peer's close frame may hold `code`.
///
/// 1004 to 1006 and 1015 are reserved and never sent, 1016 to 2999 are unassigned, and other values below
/// 1000 or from 5000 on are not codes.
#[must_use]
pub fn may_receive(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Whether the application may close a websocket with `code`.
///
/// Every code that may be received except 1002, which only the protocol implementation sends.
#[must_use]
pub fn may_application_send(code: u16) -> bool {
    code != 1002 && may_receive(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_may_be_received_and_sent_by_whom_the_rfc_says() {
        // Section of RFC 6455, first and last code, may be received, may be sent.
        let ranges = [
            ("7.4.2", 0, 999, false, false),
            ("7.4.1", 1000, 1001, true, true),
            ("7.4.1", 1002, 1002, true, false),
            ("7.4.1", 1003, 1003, true, true),
            ("7.4.1", 1004, 1006, false, false),
            ("7.4.1", 1007, 1011, true, true),
            ("11.7", 1012, 1014, true, true),
            ("7.4.1", 1015, 1015, false, false),
            ("7.4.2", 1016, 2999, false, false),
            ("7.4.2", 3000, 4999, true, true),
            ("7.4.2", 5000, u16::MAX, false, false),
        ];
        for (section, first, last, receive, send) in ranges {
            for code in first..=last {
                assert_eq!(may_receive(code), receive, "{section}: {code}");
                assert_eq!(may_application_send(code), send, "{section}: {code}");
            }
        }
    }
}
