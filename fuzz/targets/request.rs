//! Arbitrary bytes as a request: nothing panics, and fragmentation does not change the response.
//!
//! The first byte of the input is the size of the pieces in which the rest arrives.

#![no_main]

use libfuzzer_sys::fuzz_target;
use portal::proto::{HeadScanner, Offer, Refusal, agree, check, parse_head, write_accept};

const MAX_HEADER_SIZE: usize = 1024;

fuzz_target!(|input: &[u8]| {
    let Some((&piece_len, bytes)) = input.split_first() else {
        return;
    };
    let whole = serve(bytes, bytes.len().max(1));
    let in_pieces = serve(bytes, usize::from(piece_len).max(1));
    assert_eq!(whole, in_pieces);
});

/// Returns the response to `bytes`; None while the request is incomplete.
fn serve(bytes: &[u8], piece_len: usize) -> Option<Result<Offer, Refusal>> {
    let mut scanner = HeadScanner::default();
    let ends = (0..bytes.len()).step_by(piece_len).chain([bytes.len()]);
    for end in ends {
        let answer = match scanner.scan(&bytes[..end], MAX_HEADER_SIZE) {
            Ok(None) => continue,
            Ok(Some(head_len)) => respond(&bytes[..head_len]),
            Err(refusal) => Err(refusal),
        };
        let mut out = Vec::new();
        match &answer {
            Ok(offer) => {
                let agreement = agree(&offer.extensions, piece_len.is_multiple_of(2));
                write_accept(&mut out, &offer.accept, None, agreement, "portal", &[]);
            }
            Err(refusal) => refusal.write(&mut out, "portal", false),
        }
        assert!(out.starts_with(b"HTTP/1.1 "));
        return Some(answer);
    }
    None
}

fn respond(head: &[u8]) -> Result<Offer, Refusal> {
    let mut head = head.to_vec();
    let head = parse_head(&mut head)?;
    assert!(head.path().starts_with('/') && head.target.starts_with('/'));
    assert!(!head.path().contains('\0'));
    assert_eq!(head.path(), head.route().replace('\0', "/"));
    check(&head)
}
