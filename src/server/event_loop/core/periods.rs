//! How long each timeout is.

use super::clock::Clock;
use crate::server::Options;

/// Timeouts in ticks; 0 is never.
pub(super) struct Periods {
    pub handshake: u32,
    /// For the next request after a page.
    pub page_keep_alive: u32,
    pub idle: u32,
    pub ping: u32,
    pub close: u32,
}

impl Periods {
    pub(super) fn new(options: &Options, clock: &Clock) -> Self {
        let ticks = |time_ms| match time_ms {
            0 => 0,
            _ => clock.ticks(time_ms),
        };
        Self {
            handshake: ticks(options.handshake_timeout),
            page_keep_alive: ticks(options.page_keep_alive),
            idle: ticks(options.idle_timeout),
            ping: ticks(options.ping_interval),
            close: ticks(options.close_timeout),
        }
    }
}
