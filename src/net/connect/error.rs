//! Why a connection could not be made.

use std::io;

/// Why a connection failed.
#[derive(Debug)]
pub(crate) struct ConnectError {
    /// For people.
    pub message: String,
    /// With which a proxy refused.
    pub http_status: Option<u16>,
    pub kind: io::ErrorKind,
}

impl ConnectError {
    pub(super) fn new(message: impl Into<String>, error: &io::Error) -> Self {
        Self {
            message: message.into(),
            http_status: None,
            kind: error.kind(),
        }
    }
}
