//! What a server has counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counted where it happens: rare, from any thread.
#[derive(Default)]
pub(crate) struct Metrics {
    /// Websockets that are open now.
    pub open: AtomicU64,
    pub connections_total: AtomicU64,
    pub rejected: AtomicU64,
    pub protocol_errors: AtomicU64,
    pub handler_errors: AtomicU64,
    pub handshake_timeouts: AtomicU64,
    pub ping_timeouts: AtomicU64,
    pub memory_closed: AtomicU64,
}

/// Counted by a loop for itself, and published once a turn.
#[derive(Clone, Copy, Default)]
pub(crate) struct Traffic {
    pub messages_in: u64,
    pub messages_out: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

/// A loop's traffic as others see it.
#[derive(Default)]
pub(crate) struct PublishedTraffic {
    messages_in: AtomicU64,
    messages_out: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    held_bytes: AtomicU64,
}

impl PublishedTraffic {
    /// Publishes how many bytes of memory the loop holds for its connections.
    pub(crate) fn publish_held_bytes(&self, bytes: u64) {
        self.held_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn held_bytes(&self) -> u64 {
        self.held_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn publish(&self, traffic: &Traffic) {
        self.messages_in
            .store(traffic.messages_in, Ordering::Relaxed);
        self.messages_out
            .store(traffic.messages_out, Ordering::Relaxed);
        self.bytes_in.store(traffic.bytes_in, Ordering::Relaxed);
        self.bytes_out.store(traffic.bytes_out, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Traffic {
        Traffic {
            messages_in: self.messages_in.load(Ordering::Relaxed),
            messages_out: self.messages_out.load(Ordering::Relaxed),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
        }
    }
}
