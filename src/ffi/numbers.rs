//! Enumerations are passed as fixed-width integers, so that an unknown number gives a status
//! instead of undefined behaviour.

/// The type of a message; passed as uint32_t.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "C programs use these names")]
pub enum portal_message {
    /// UTF-8.
    PORTAL_MESSAGE_TEXT = 1,
    /// Any bytes.
    PORTAL_MESSAGE_BINARY = 2,
    /// Added to the type of a message that is sent: it is not compressed, whatever was negotiated. For
    /// data that is compressed already, or secret (RFC 7692 section 8).
    PORTAL_MESSAGE_UNCOMPRESSED = 256,
}

/// The type of an event; passed as uint32_t. Ignore unknown ones: later versions may add more.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "C programs use these names")]
pub enum portal_event {
    /// A client requests a websocket.
    PORTAL_EVENT_UPGRADE = 1,
    /// A websocket is open.
    PORTAL_EVENT_CONNECT = 2,
    /// A message was received.
    PORTAL_EVENT_MESSAGE = 3,
    /// The websocket has ended.
    PORTAL_EVENT_DISCONNECT = 4,
    /// The send queue has room again.
    PORTAL_EVENT_DRAIN = 5,
    /// A pong was received: the reply to a portal_ping, or an unsolicited one.
    PORTAL_EVENT_PONG = 6,
    /// An error occurred; see portal_error.
    PORTAL_EVENT_ERROR = 7,
}

/// The state of a websocket, as portal_state_of returns it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "C programs use these names")]
pub enum portal_state {
    /// Inside `upgrade`.
    PORTAL_STATE_CONNECTING = 0,
    /// From `connect` on.
    PORTAL_STATE_OPEN = 1,
    /// Either side has begun to close.
    PORTAL_STATE_CLOSING = 2,
    /// Ended, or never existed.
    PORTAL_STATE_CLOSED = 3,
}

/// On which threads callbacks run; a value of PORTAL_OPTION_DISPATCH.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "C programs use these names")]
pub enum portal_dispatch {
    /// On the server's own loop threads, THREADS of them. A websocket stays on its thread.
    PORTAL_DISPATCH_IO = 0,
    /// On a separate thread for each websocket, so that a handler may block without delaying
    /// others.
    PORTAL_DISPATCH_PER_CLIENT = 1,
    /// On threads of the program, inside portal_server_run, _poll or _pull. The library starts
    /// none.
    PORTAL_DISPATCH_HOST = 2,
}
