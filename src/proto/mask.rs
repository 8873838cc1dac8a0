//! Masking (RFC 6455 section 5.3): XOR with a key of four bytes.
//!
//! It works on words of the key's length, in blocks of fixed size, for which the compiler emits vector
//! instructions.

/// Length of a masking key.
pub(super) const KEY_BYTES: usize = 4;

/// Unmasks a piece of a payload in place.
///
/// `offset` is the offset of the piece in the payload.
#[inline]
pub(super) fn unmask(piece: &mut [u8], mut key: [u8; KEY_BYTES], offset: usize) {
    key.rotate_left(offset % KEY_BYTES);
    let (words, rest) = piece.as_chunks_mut::<KEY_BYTES>();
    for word in words {
        *word = xor(*word, key);
    }
    for (byte, key) in rest.iter_mut().zip(key) {
        *byte ^= key;
    }
}

/// Appends a payload, masked, in pieces that stay in the processor's first-level cache.
pub(super) fn append(out: &mut Vec<u8>, payload: &[u8], key: [u8; KEY_BYTES]) {
    const PIECE_BYTES: usize = 8 * 1024;

    for piece in payload.chunks(PIECE_BYTES) {
        let at = out.len();
        out.extend_from_slice(piece);
        unmask(&mut out[at..], key, 0);
    }
}

/// A payload that was moved over its key.
pub(super) struct Unmasked<'a> {
    /// The payload and one NUL behind it.
    pub terminated: &'a mut [u8],
    /// Whether no byte of the payload is above 0x7f.
    pub is_ascii: bool,
}

/// Unmasks a whole payload and moves it down over its key, in one pass.
///
/// `keyed` is the key, followed by the payload. So four bytes behind the payload become free, of which the
/// first is set to NUL.
///
/// # Panics
///
/// When `keyed` is shorter than a key.
#[inline]
pub(super) fn unmask_down(keyed: &mut [u8]) -> Unmasked<'_> {
    let payload_len = keyed.len() - KEY_BYTES;
    let is_ascii = match payload_len {
        64.. => move_down::<64>(keyed),
        16.. => move_down::<16>(keyed),
        8.. => move_down::<8>(keyed),
        4.. => move_down::<4>(keyed),
        _ => {
            let key = [keyed[0], keyed[1], keyed[2], keyed[3]];
            let mut seen = 0;
            for (at, key) in key.into_iter().enumerate().take(payload_len) {
                keyed[at] = keyed[at + KEY_BYTES] ^ key;
                seen |= keyed[at];
            }
            seen < 0x80
        }
    };
    keyed[payload_len] = 0;
    Unmasked {
        terminated: &mut keyed[..=payload_len],
        is_ascii,
    }
}

/// Unmasks a payload of at least `N` bytes and moves it down over its key, in blocks of `N` bytes, a multiple
/// of the key's length. The last block overlaps the one before. Returns whether all bytes are ASCII.
#[inline(always)]
fn move_down<const N: usize>(keyed: &mut [u8]) -> bool {
    let (Some(&key), Some(&last)) = (keyed.first_chunk::<KEY_BYTES>(), keyed.last_chunk::<N>())
    else {
        return true;
    };
    let last_at = keyed.len() - KEY_BYTES - N;
    let mut last_key = key;
    last_key.rotate_left(last_at % KEY_BYTES);
    let last = unmasked(last, last_key);
    let mut seen = last;
    let mut at = 0;
    while let Some(&block) = keyed[at + KEY_BYTES..].first_chunk::<N>() {
        let block = unmasked(block, key);
        keyed[at..at + N].copy_from_slice(&block);
        for (seen, byte) in seen.iter_mut().zip(block) {
            *seen |= byte;
        }
        at += N;
    }
    keyed[last_at..last_at + N].copy_from_slice(&last);
    let words = seen.as_chunks::<KEY_BYTES>().0.iter();
    words.fold(0, |all, word| all | u32::from_ne_bytes(*word)) & 0x8080_8080 == 0
}

#[inline(always)]
fn unmasked<const N: usize>(mut block: [u8; N], key: [u8; KEY_BYTES]) -> [u8; N] {
    for word in block.as_chunks_mut().0 {
        *word = xor(*word, key);
    }
    block
}

#[inline(always)]
fn xor(word: [u8; KEY_BYTES], key: [u8; KEY_BYTES]) -> [u8; KEY_BYTES] {
    (u32::from_ne_bytes(word) ^ u32::from_ne_bytes(key)).to_ne_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [[u8; 4]; 3] = [
        [0, 0, 0, 0],
        [0xff, 0xff, 0xff, 0xff],
        [0x12, 0x34, 0xa5, 0x7e],
    ];

    fn lengths() -> impl Iterator<Item = usize> {
        (0..200).chain([255, 256, 257, 1023, 1024, 1029])
    }

    fn sample(len: usize) -> Vec<u8> {
        (0..len)
            .map(|index| (index * 7 + index / 64) as u8)
            .collect()
    }

    fn masked(payload: &[u8], key: [u8; 4]) -> Vec<u8> {
        payload
            .iter()
            .enumerate()
            .map(|(index, byte)| byte ^ key[index % 4])
            .collect()
    }

    #[test]
    fn a_payload_is_unmasked_whole_and_in_two_pieces_5_3() {
        for key in KEYS {
            for len in lengths() {
                let payload = sample(len);
                for cut in [0, 1, 2, 3, 4, 5, 63, 64, 65, len]
                    .into_iter()
                    .filter(|&cut| cut <= len)
                {
                    let mut wire = masked(&payload, key);
                    unmask(&mut wire[..cut], key, 0);
                    unmask(&mut wire[cut..], key, cut);
                    assert_eq!(wire, payload, "{len} bytes, cut at {cut}");
                }
            }
        }
    }

    #[test]
    fn a_byte_that_is_not_ascii_is_seen_wherever_it_stands() {
        for len in 1..=140 {
            for at in 0..len {
                let mut payload = vec![b'a'; len];
                payload[at] = 0x80;
                let mut input = KEYS[2].to_vec();
                input.extend(masked(&payload, KEYS[2]));
                assert!(!unmask_down(&mut input).is_ascii, "{at} of {len} bytes");
            }
        }
    }

    #[test]
    fn a_payload_moves_over_its_key_and_touches_nothing_else() {
        for key in KEYS {
            for len in lengths() {
                let payload = sample(len);
                let mut input = vec![0xee; 2];
                input.extend(key);
                input.extend(masked(&payload, key));
                input.extend([0xdd; 3]);

                let unmasked = unmask_down(&mut input[2..6 + len]);

                let terminated = &*unmasked.terminated;
                assert_eq!(
                    terminated.split_last(),
                    Some((&0, &payload[..])),
                    "{len} bytes"
                );
                assert_eq!(unmasked.is_ascii, payload.is_ascii(), "{len} bytes");
                assert_eq!(input[..2], [0xee; 2], "{len} bytes");
                assert_eq!(input[6 + len..], [0xdd; 3], "{len} bytes");
            }
        }
    }
}
