//! What a loop receives with, and the connections whose input waits.

use std::collections::VecDeque;
use std::io;

use crate::net::{Token, memory};
use crate::proto::{Limits, Scratch};
use crate::server::Options;

/// The receive buffer of a loop, shared by all its connections.
pub(crate) const ARENA_BYTES: usize = 512 * 1024;

pub(crate) struct Input {
    /// The receive buffer; lent to the turn, and to a pulled batch.
    pub arena: Option<Vec<u8>>,
    /// Buffers for messages that do not arrive in one piece.
    pub scratch: Scratch,
    pub limits: Limits,
    /// Connections whose backlog is to be delivered.
    pub backlogged: VecDeque<Token>,
}

impl Input {
    pub(super) fn new(options: &Options) -> io::Result<Self> {
        Ok(Self {
            arena: Some(memory::zeros(ARENA_BYTES)?),
            scratch: Scratch::on_promise(memory::promise_one),
            limits: Limits {
                max_message_size: options.max_message_size,
                max_fragments: options.max_fragments,
            },
            backlogged: memory::long_queue()?,
        })
    }
}
