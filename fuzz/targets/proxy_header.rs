//! Arbitrary bytes as a PROXY header: nothing panics, none is longer than 4 KiB, and what follows it, or that it
//! arrives in pieces, changes nothing.

#![no_main]

use libfuzzer_sys::fuzz_target;
use portal::proxy_header_len;

fuzz_target!(|input: &[u8]| {
    let found = proxy_header_len(input);
    assert!(found.is_none_or(|len| len <= input.len() && len <= 4096));
    let first = (0..=input.len()).find_map(|end| proxy_header_len(&input[..end]));
    assert_eq!(first, found);
});
