//! # Types

/// The id of a server; 0 is never valid.
pub type portal_server = u64;

/// The id of a websocket, which is one connection; 0 is never valid.
pub type portal_websocket = u64;

/// Settings for a server; created by portal_options_create.
pub struct portal_options {
    pub(super) options: crate::server::Options,
    pub(super) paths: crate::server::OwnPaths,
}

/// The HTTP request of an opening handshake; passed to `upgrade` and `connect`.
pub struct portal_request {
    // An opaque type: its pointers are those of a `server::Request`.
    _opaque: [u8; 0],
}
