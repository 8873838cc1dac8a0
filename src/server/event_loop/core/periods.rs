//! How long each timeout is.

use super::clock::Clock;
use crate::server::Options;
use crate::server::websocket::outgoing::Destination;

/// Timeouts in ticks; 0 is never.
#[derive(Clone, Copy)]
pub(super) struct Periods {
    pub handshake: u32,
    /// For the next request after a page.
    pub page_keep_alive: u32,
    pub idle: u32,
    pub ping: u32,
    pub close: u32,
}

/// 0 stays 0.
fn ticks(clock: &Clock, time_ms: u32) -> u32 {
    match time_ms {
        0 => 0,
        _ => clock.ticks(time_ms),
    }
}

impl Periods {
    /// Of a connection of ours.
    pub(super) fn of_connection(destination: &Destination, clock: &Clock) -> Self {
        Self {
            // Another timer looks after its handshake.
            handshake: 0,
            page_keep_alive: 0,
            idle: ticks(clock, destination.idle_timeout),
            ping: ticks(clock, destination.ping_interval),
            close: ticks(clock, destination.close_timeout),
        }
    }

    pub(super) fn new(options: &Options, clock: &Clock) -> Self {
        let ticks = |time_ms| ticks(clock, time_ms);
        Self {
            handshake: ticks(options.handshake_timeout),
            page_keep_alive: ticks(options.page_keep_alive),
            idle: ticks(options.idle_timeout),
            ping: ticks(options.ping_interval),
            close: ticks(options.close_timeout),
        }
    }
}
