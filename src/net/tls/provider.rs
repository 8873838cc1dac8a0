//! Who does the cryptography.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::ProducesTickets;

use crate::net::os::crypto_memory;

/// Returns the algorithms in the order of preference.
pub(in crate::net) fn provider() -> CryptoProvider {
    crypto_memory::lend();
    aws_lc_rs::default_provider()
}

/// Returns what encrypts the tickets by which sessions are resumed. Its key changes every six hours; one key
/// longer it takes tickets of the key before.
pub(super) fn new_ticketer() -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
    crypto_memory::lend();
    aws_lc_rs::Ticketer::new()
}
