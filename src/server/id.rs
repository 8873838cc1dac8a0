//! Ids: 64-bit numbers below 2^53, of a kind (3 bits), a generation (26) and a slot (24).

use crate::net::process;

/// What an id is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum IdKind {
    Server = 1,
    Websocket = 2,
}

/// A slot that has come to this generation is retired.
pub(crate) const LAST_GENERATION: u32 = (1 << 26) - 1;

/// Puts an id together.
pub(crate) fn id(kind: IdKind, generation: u32, slot: u32) -> u64 {
    (kind as u64) << 50 | u64::from(generation) << 24 | u64::from(slot)
}

/// Takes an id apart: generation and slot. None for the wrong kind, and in a forked child.
#[inline]
pub(crate) fn parts(kind: IdKind, id: u64) -> Option<(u32, u32)> {
    if id >> 50 != kind as u64 || process::is_forked_child() {
        return None;
    }
    Some(((id >> 24) as u32 & LAST_GENERATION, id as u32 & 0xff_ffff))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_exact_in_a_double_and_comes_apart_again() {
        let last = id(IdKind::Websocket, LAST_GENERATION, 0xff_ffff);
        assert!(last < 1 << 53);
        assert_eq!(
            parts(IdKind::Websocket, last),
            Some((LAST_GENERATION, 0xff_ffff))
        );
        assert_eq!(parts(IdKind::Server, last), None);
        assert_ne!(id(IdKind::Server, 0, 0), 0);
    }
}
