//! The connections of ours on a loop, and their timers.

use std::collections::HashMap;

use crate::net::Token;
use crate::proto::Limits;
use crate::server::websocket::outgoing::Outgoing;

/// The connections of ours on a loop.
#[derive(Default)]
pub(crate) struct Outgoings {
    /// By the tokens' indices.
    pub connections: HashMap<u32, Outgoing>,
    pub(super) timers: Vec<Timer>,
}

/// When an attempt is to begin, or must have been answered.
#[derive(Clone, Copy)]
pub(super) struct Timer {
    pub tick: u32,
    pub token: Token,
    /// For another attempt it is void.
    pub attempt: u32,
}

impl Outgoings {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Returns the limits of a connection.
    pub(crate) fn limits(&self, token: Token) -> Option<&Limits> {
        let outgoing = self.connections.get(&token.index)?;
        Some(&outgoing.destination.limits)
    }

    pub(super) fn get_mut(&mut self, token: Token) -> Option<&mut Outgoing> {
        self.connections.get_mut(&token.index)
    }

    pub(super) fn set_timer(&mut self, token: Token, attempt: u32, tick: u32) {
        self.timers.retain(|timer| timer.token != token);
        self.timers.push(Timer {
            tick,
            token,
            attempt,
        });
    }

    /// Returns in how many ticks the first timer goes off.
    pub(super) fn ticks_left(&self, now: u32) -> Option<u32> {
        let left = |timer: &Timer| u32::try_from(timer.tick.wrapping_sub(now).cast_signed());
        let left = self.timers.iter().map(|timer| left(timer).unwrap_or(0));
        left.min()
    }
}
