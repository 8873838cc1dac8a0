//! Arbitrary bytes as a frame header: nothing panics, and further bytes do not change a result.

#![no_main]

use libfuzzer_sys::fuzz_target;
use portal::proto::{Parsed, parse_header};

fuzz_target!(|input: &[u8]| {
    read(input, false);
    read(input, true);
});

fn read(input: &[u8], may_compress: bool) {
    let whole = parse_header(input, may_compress);
    for len in 0..input.len() {
        match parse_header(&input[..len], may_compress) {
            Ok(Parsed::NeedMore(missing)) => assert!(missing > 0),
            decided => {
                assert_eq!(decided, whole, "after {len} bytes");
                break;
            }
        }
    }
    if let Ok(Parsed::Done(header, taken)) = whole {
        assert!(taken <= input.len() && taken <= 14);
        assert_eq!(header.key, input[taken - 4..taken]);
        assert!(header.payload_len < 1 << 63);
        assert!(may_compress || !header.compressed);
    }
}
