//! Frames as clients and servers write them (RFC 6455 section 5.2).

/// The masking key. Its value does not affect a server's cost.
const KEY: [u8; 4] = [0x9e, 0x37, 0x79, 0xb9];

pub const FINAL: u8 = 0x80;
/// The message is compressed (RFC 7692 section 7.2.1).
pub const COMPRESSED: u8 = 0x40;
pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// Appends a frame as a client sends it; `first` is its first byte.
pub fn write_masked(out: &mut Vec<u8>, first: u8, payload: &[u8]) {
    write_masked_with(KEY, out, first, payload);
}

/// [`write_masked`] with the given masking key.
pub fn write_masked_with(key: [u8; 4], out: &mut Vec<u8>, first: u8, payload: &[u8]) {
    write_header(out, first, 0x80, payload.len());
    out.extend(key);
    let masked = out.len();
    out.extend_from_slice(payload);
    for (byte, key) in out[masked..].iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// Appends a frame as a server sends it.
pub fn write_plain(out: &mut Vec<u8>, first: u8, payload: &[u8]) {
    write_header(out, first, 0, payload.len());
    out.extend(payload);
}

fn write_header(out: &mut Vec<u8>, first: u8, masked: u8, length: usize) {
    out.push(first);
    match length {
        ..126 => out.push(masked | length as u8),
        126..0x1_0000 => {
            out.push(masked | 126);
            out.extend((length as u16).to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            out.extend((length as u64).to_be_bytes());
        }
    }
}

/// Parses the header of a server's frame: its first byte, the payload's length and the header's length.
///
/// `None` when `input` is too short. The length of a masked frame is parsed as one that is too large.
pub fn read_header(input: &[u8]) -> Option<(u8, u64, usize)> {
    let (&first, &second) = (input.first()?, input.get(1)?);
    Some(match second {
        126 => (
            first,
            u16::from_be_bytes(*input.get(2..)?.first_chunk()?).into(),
            4,
        ),
        127 => (
            first,
            u64::from_be_bytes(*input.get(2..)?.first_chunk()?),
            10,
        ),
        128.. => (first, u64::MAX, 2),
        length => (first, length.into(), 2),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_it_was_written_and_not_before_it_is_whole() {
        for length in [0, 1, 125, 126, 127, 0xffff, 0x1_0000] {
            let mut frame = Vec::new();
            write_plain(&mut frame, FINAL | BINARY, &vec![7; length]);
            let header = frame.len() - length;
            for cut in 0..header {
                assert_eq!(read_header(&frame[..cut]), None, "{length} cut at {cut}");
            }
            assert_eq!(
                read_header(&frame),
                Some((FINAL | BINARY, length as u64, header))
            );
        }
    }

    #[test]
    fn a_masked_frame_holds_the_payload_and_is_four_bytes_longer() {
        let (mut masked, mut plain) = (Vec::new(), Vec::new());
        write_masked(&mut masked, FINAL | TEXT, b"hello");
        write_plain(&mut plain, FINAL | TEXT, b"hello");
        assert_eq!(masked.len(), plain.len() + 4);
        assert_eq!(masked[1], plain[1] | 0x80);
        let payload: Vec<u8> = masked[6..]
            .iter()
            .zip(&KEY.repeat(2))
            .map(|(byte, key)| byte ^ key)
            .collect();
        assert_eq!(payload, b"hello");
    }
}
