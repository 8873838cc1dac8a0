//! Arbitrary bytes as a frame header: nothing panics, and further bytes do not change a result.

#![no_main]

use libfuzzer_sys::fuzz_target;
use portal::proto::{Parsed, Role, parse_header};

fuzz_target!(|input: &[u8]| {
    for role in [Role::Server, Role::Client] {
        read(input, role, false);
        read(input, role, true);
    }
});

fn read(input: &[u8], role: Role, may_compress: bool) {
    let whole = parse_header(input, role, may_compress);
    for len in 0..input.len() {
        match parse_header(&input[..len], role, may_compress) {
            Ok(Parsed::NeedMore(missing)) => assert!(missing > 0),
            decided => {
                assert_eq!(decided, whole, "after {len} bytes");
                break;
            }
        }
    }
    if let Ok(Parsed::Done(header, taken)) = whole {
        assert!(taken <= input.len() && taken <= 14);
        assert_eq!(header.key.is_some(), role == Role::Server);
        assert!(header.key.is_none_or(|key| key == input[taken - 4..taken]));
        assert!(header.payload_len < 1 << 63);
        assert!(may_compress || !header.compressed);
    }
}
