//! Masking keys of the frames that we send as a client (RFC 6455 section 5.3).

use std::io;

use crate::net::{memory, random};
use crate::proto::{self, Role};

/// So many bytes of keys are drawn at once.
const DRAWN_BYTES: usize = 4096;

type Key = [u8; 4];

/// Unpredictable masking keys (RFC 6455 section 10.3). Without a connection of ours it holds nothing.
#[derive(Default)]
pub(super) struct MaskingKeys {
    drawn: Vec<u8>,
}

impl MaskingKeys {
    /// Returns the next key.
    ///
    /// # Errors
    ///
    /// Memory, or the system has no random generator.
    pub(super) fn next(&mut self) -> io::Result<Key> {
        if self.drawn.is_empty() {
            let mut drawn = memory::zeros(DRAWN_BYTES)?;
            random::fill(&mut drawn)?;
            self.drawn = drawn;
        }
        let rest = self.drawn.len() - size_of::<Key>();
        let mut key = Key::default();
        key.copy_from_slice(&self.drawn[rest..]);
        self.drawn.truncate(rest);
        Ok(key)
    }
}

/// How a control frame is masked, if it is.
#[derive(Clone, Copy)]
pub(super) struct Mask(Option<Key>);

impl Mask {
    pub(super) fn draw(role: Role, keys: &mut MaskingKeys) -> io::Result<Self> {
        Ok(Self(match role {
            Role::Server => None,
            Role::Client => Some(keys.next()?),
        }))
    }

    /// Writes a frame, which `write` appends unmasked.
    pub(super) fn write(self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        let at = out.len();
        write(out);
        if let Some(key) = self.0 {
            proto::mask_frame(out, at, key);
        }
    }
}
