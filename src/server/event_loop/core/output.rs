//! What a loop sends with, and the connections that have something to write.

use std::io;

use super::masking_keys::MaskingKeys;
use crate::net::{Token, memory};
use crate::proto::Deflaters;
use crate::server::Options;
use crate::server::websocket::connections::Conn;
use crate::server::websocket::outbox::Outbox;

/// Maximum number of outboxes that are kept for reuse.
const MAX_SPARE_OUTBOXES: usize = 64;

pub(super) struct Output {
    /// Connections that are written to at the end of the turn.
    pub scheduled: Vec<Token>,
    /// Boxed as they are in a connection, which then holds only a pointer.
    #[expect(clippy::vec_box, reason = "boxes are moved, not their content")]
    spare_outboxes: Vec<Box<Outbox>>,
    pub deflaters: Deflaters,
    pub masking_keys: MaskingKeys,
    /// A connection got a compressor of its own since its memory was last counted.
    pub made_deflater: bool,
    /// Messages of so many bytes are compressed where that was agreed on.
    pub deflate_min_bytes: usize,
}

impl Output {
    pub(super) fn new(options: &Options) -> io::Result<Self> {
        Ok(Self {
            scheduled: memory::long_list()?,
            spare_outboxes: Vec::new(),
            made_deflater: false,
            masking_keys: MaskingKeys::default(),
            deflaters: Deflaters::new(options.deflate_level).on_promise(memory::promise_one),
            // Nothing becomes shorter than nothing.
            deflate_min_bytes: options.deflate_min_size.max(1),
        })
    }

    /// Writes to a connection at the end of the turn.
    #[inline]
    pub(super) fn schedule(&mut self, token: Token, conn: &mut Conn) {
        if !conn.writing.scheduled {
            conn.writing.scheduled = true;
            self.scheduled.push(token);
        }
    }

    /// Returns a connection's outbox, from the pool if it has none.
    #[inline]
    pub(super) fn outbox<'c>(&mut self, conn: &'c mut Conn) -> &'c mut Outbox {
        let pool = &mut self.spare_outboxes;
        conn.outbox
            .get_or_insert_with(|| pool.pop().unwrap_or_else(new_outbox))
    }

    /// Returns an outbox to the pool, empty.
    pub(super) fn give_back(&mut self, mut outbox: Box<Outbox>) {
        outbox.clear();
        if self.spare_outboxes.len() < MAX_SPARE_OUTBOXES {
            self.spare_outboxes.push(outbox);
        }
    }
}

#[cold]
fn new_outbox() -> Box<Outbox> {
    Box::default()
}
