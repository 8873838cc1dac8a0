//! Arbitrary bytes as `Sec-WebSocket-Extensions` of a request: nothing panics, and the response is valid
//! for the offer.

#![no_main]

use libfuzzer_sys::fuzz_target;
use portal::proto::{Extension, agree, check, parse_head, write_accept};

fuzz_target!(|value: &[u8]| {
    let Some(offers) = offers(value) else {
        return;
    };
    for takeover in [false, true] {
        let agreement = agree(&offers, takeover);
        let mut answer = Vec::new();
        write_accept(&mut answer, &[b'='; 28], None, agreement, "", &[]);
        let answer = String::from_utf8(answer).expect("ASCII");
        let line = answer
            .lines()
            .find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
        assert_eq!(line.is_some(), agreement.is_some());
        let (Some(line), Some(agreement)) = (line, agreement) else {
            continue;
        };
        // The response, used as an offer, results in the same agreement.
        let answered = offers_of(line);
        let [answered] = &answered[..] else {
            panic!("one extension: {line}");
        };
        let again = agree(std::slice::from_ref(answered), takeover).expect("a good answer");
        assert_eq!(again, agreement);
        assert!(takeover || !agreement.our_takeover && !agreement.peer_takeover);
        assert!(offers.iter().any(|offer| answers(answered, offer)));
    }
});

/// Whether the response grants everything that the offer requires.
fn answers(answer: &Extension, offer: &Extension) -> bool {
    let demanded = |name: &str| name.starts_with("server_");
    let is_granted = |parameter: &(String, Option<String>)| {
        !demanded(&parameter.0) || answer.parameters.contains(parameter)
    };
    offer.name == answer.name && offer.parameters.iter().all(is_granted)
}

fn offers_of(value: &str) -> Vec<Extension> {
    offers(value.as_bytes()).expect("a good header")
}

/// Returns the offers of a request with this header, if it is valid.
fn offers(value: &[u8]) -> Option<Vec<Extension>> {
    let mut head = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Extensions: "
        .to_vec();
    head.extend(value);
    head.extend(b"\r\n\r\n");
    let head = parse_head(&mut head).ok()?;
    check(&head).ok().map(|offer| offer.extensions)
}
