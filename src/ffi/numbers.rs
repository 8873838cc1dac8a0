//! Enumerations come in and go out as fixed-width integers, so that an unknown number is a status
//! and no undefined behaviour.

/// What a message is; passed as uint32_t.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code)] // for C
pub enum portal_message {
    /// UTF-8.
    PORTAL_MESSAGE_TEXT = 1,
    /// Any bytes.
    PORTAL_MESSAGE_BINARY = 2,
}

/// What happened; passed as uint32_t. Skip unknown ones: later versions may have more.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code)] // for C
pub enum portal_event {
    /// A client asks to become a websocket.
    PORTAL_EVENT_UPGRADE = 1,
    /// A client has become a websocket.
    PORTAL_EVENT_CONNECT = 2,
    /// A message has come.
    PORTAL_EVENT_MESSAGE = 3,
    /// The websocket has ended.
    PORTAL_EVENT_DISCONNECT = 4,
    /// The send queue has room again.
    PORTAL_EVENT_DRAIN = 5,
    /// The answer to portal_ping, or an unsolicited pong.
    PORTAL_EVENT_PONG = 6,
    /// Something went wrong; see portal_error.
    PORTAL_EVENT_ERROR = 7,
}

/// Where a websocket stands; what portal_state_of answers.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code)] // for C
pub enum portal_state {
    /// Inside `upgrade`.
    PORTAL_STATE_CONNECTING = 0,
    /// From `connect` on.
    PORTAL_STATE_OPEN = 1,
    /// Either side has begun to close.
    PORTAL_STATE_CLOSING = 2,
    /// Ended, or never was.
    PORTAL_STATE_CLOSED = 3,
}

/// On which threads callbacks run; a value of PORTAL_OPTION_DISPATCH.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code)] // for C
pub enum portal_dispatch {
    /// On the server's own loop threads, THREADS of them. A websocket stays on its thread.
    PORTAL_DISPATCH_IO = 0,
    /// Each websocket's on a thread of its own, so that a handler may block without holding up
    /// others.
    PORTAL_DISPATCH_PER_CLIENT = 1,
    /// On threads of the host, inside portal_server_run, _poll or _pull. The library starts none.
    PORTAL_DISPATCH_HOST = 2,
}
