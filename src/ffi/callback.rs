// Callbacks: the server's events become calls of C functions.

use std::ffi::{CStr, c_char, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use super::guard::outside;
use super::handlers::{portal_error, portal_handlers};
use super::numbers::portal_event::*;
use super::numbers::portal_message::{PORTAL_MESSAGE_BINARY, PORTAL_MESSAGE_TEXT};
use super::status::portal_status_value::{self, PORTAL_STATUS_GONE};
use super::types::{portal_request, portal_websocket};
use crate::proto::Kind;
use crate::server::{self, Application, EventKind, Failure, Request, ServerError};

/// A pointer of the host. It is passed along and never dereferenced.
#[derive(Clone, Copy)]
pub(super) struct UserData(pub(super) *mut c_void);

// SAFETY: it is never dereferenced; the header says that the host's functions run on any thread.
unsafe impl Send for UserData {}
// SAFETY: as above.
unsafe impl Sync for UserData {}

impl UserData {
    pub(super) fn pointer(&self) -> *mut c_void {
        self.0
    }
}

/// One definition of a path: the host's functions and their `user_data`. Its drop calls `release`.
pub(super) struct Handlers {
    path: String,
    functions: portal_handlers,
    user_data: UserData,
    /// The definition succeeded, so dropping it calls `release`.
    armed: AtomicBool,
}

impl Handlers {
    /// Creates a definition. Fails when memory for the path is refused.
    pub(super) fn new(
        path: &str,
        functions: portal_handlers,
        user_data: *mut c_void,
    ) -> Result<Self, ServerError> {
        let mut copy = String::new();
        copy.try_reserve_exact(path.len())?;
        copy.push_str(path);
        Ok(Self {
            path: copy,
            functions,
            user_data: UserData(user_data),
            armed: AtomicBool::new(false),
        })
    }

    /// Makes the drop call `release`.
    pub(super) fn arm(&self) {
        // The count of the `Arc` around us orders this before the drop.
        self.armed.store(true, Ordering::Relaxed);
    }
}

impl Drop for Handlers {
    fn drop(&mut self) {
        if *self.armed.get_mut()
            && let Some(release) = self.functions.release
        {
            // SAFETY: the host's function, called once; its data is no longer in use.
            outside(|| unsafe { release(self.user_data.pointer()) });
        }
    }
}

impl Application for Handlers {
    fn upgrade(&self, websocket: portal_websocket, request: &Request) -> i32 {
        let Some(upgrade) = self.functions.upgrade else {
            return 0;
        };
        let request = as_opaque(request).cast_mut();
        // SAFETY: the host's function, with what the header promises it. The request changes by
        // interior mutability alone, so a shared borrow of it may be alive.
        call(|| unsafe { upgrade(websocket, request, self.user_data.pointer()) })
    }

    fn connect(&self, websocket: portal_websocket, request: &Request) -> i32 {
        let Some(connect) = self.functions.connect else {
            return 0;
        };
        let request = as_opaque(request);
        // SAFETY: the host's function, with what the header promises it.
        result(call(|| unsafe {
            connect(websocket, request, self.user_data.pointer())
        }))
    }

    fn message(&self, websocket: portal_websocket, kind: Kind, terminated: &[u8]) -> i32 {
        let Some(message) = self.functions.message else {
            return 0;
        };
        let (data, len) = lend(terminated);
        let kind = message_number(kind);
        // SAFETY: the host's function, with what the header promises it.
        result(call(|| unsafe {
            message(websocket, kind, data, len, self.user_data.pointer())
        }))
    }

    fn disconnect(&self, websocket: portal_websocket, code: u16, reason: &CStr) -> i32 {
        let Some(disconnect) = self.functions.disconnect else {
            return 0;
        };
        let (code, reason) = (u32::from(code), reason.as_ptr());
        // SAFETY: the host's function, with what the header promises it.
        result(call(|| unsafe {
            disconnect(websocket, code, reason, self.user_data.pointer())
        }))
    }

    fn error(&self, websocket: portal_websocket, failure: &Failure) -> bool {
        let Some(error) = self.functions.error else {
            return false;
        };
        let request = failure.request.as_deref().map_or(ptr::null(), as_opaque);
        let report = report(failure, failure.message.as_ptr(), request);
        // SAFETY: the host's function, with what the header promises it.
        call(|| unsafe { error(websocket, &raw const report, self.user_data.pointer()) });
        true
    }

    fn drain(&self, websocket: portal_websocket) {
        let Some(drain) = self.functions.drain else {
            return;
        };
        // SAFETY: the host's function, with what the header promises it.
        call(|| unsafe { drain(websocket, self.user_data.pointer()) });
    }

    fn pong(&self, websocket: portal_websocket, terminated: &[u8]) {
        let Some(pong) = self.functions.pong else {
            return;
        };
        let (data, len) = lend(terminated);
        // SAFETY: the host's function, with what the header promises it.
        call(|| unsafe { pong(websocket, data, len, self.user_data.pointer()) });
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn user_data(&self) -> *mut c_void {
        self.user_data.pointer()
    }
}

/// Calls one of the host's handlers.
fn call<T>(handler: impl FnOnce() -> T) -> T {
    server::count_handler();
    outside(handler)
}

/// Returns the result of a handler that has returned `code`: 0, or why it failed. The status GONE is no failure,
/// so that returning the status of a send makes a correct handler. For `upgrade` it is one, so that no client is
/// accepted by accident.
#[inline]
fn result(code: i32) -> i32 {
    if code == PORTAL_STATUS_GONE as i32 {
        0
    } else {
        code
    }
}

/// Converts a request to the opaque type that C sees.
pub(super) fn as_opaque(request: &Request) -> *const portal_request {
    ptr::from_ref(request).cast()
}

/// Returns the number of a message's type in C.
pub(super) fn message_number(kind: Kind) -> u32 {
    match kind {
        Kind::Text => PORTAL_MESSAGE_TEXT as u32,
        Kind::Binary => PORTAL_MESSAGE_BINARY as u32,
    }
}

/// Returns the number of an event in C.
pub(super) fn event_number(event: EventKind) -> u32 {
    let event = match event {
        EventKind::Upgrade => PORTAL_EVENT_UPGRADE,
        EventKind::Connect => PORTAL_EVENT_CONNECT,
        EventKind::Message => PORTAL_EVENT_MESSAGE,
        EventKind::Disconnect => PORTAL_EVENT_DISCONNECT,
        EventKind::Drain => PORTAL_EVENT_DRAIN,
        EventKind::Pong => PORTAL_EVENT_PONG,
        EventKind::Error => PORTAL_EVENT_ERROR,
    };
    event as u32
}

/// Returns `data` and `len` for C: `data` is never NULL, and the NUL behind it is not counted.
pub(super) fn lend(terminated: &[u8]) -> (*const c_void, usize) {
    match terminated.split_last() {
        Some((_nul, data)) => (terminated.as_ptr().cast(), data.len()),
        None => (c"".as_ptr().cast(), 0),
    }
}

/// Converts a failure. The caller keeps the message and the request alive.
fn report(
    failure: &Failure,
    message: *const c_char,
    request: *const portal_request,
) -> portal_error {
    portal_error {
        size: size_of::<portal_error>(),
        status: portal_status_value::from(failure.kind) as i32,
        event: event_number(failure.event),
        code: failure.code,
        close_code: u32::from(failure.close_code),
        message,
        request,
    }
}

/// A converted failure for records. Pointers to it stay valid when it is moved, until it is dropped.
///
/// Both parts are `Vec`s. A `Box`, and so a `CString`, asserts unique access whenever it is moved,
/// which would invalidate the pointers in the records.
pub(super) struct Report {
    /// Exactly one.
    error: Vec<portal_error>,
    /// What `error.message` points to.
    _message: Vec<u8>,
}

// SAFETY: its pointers are to its own message and to a request that the same batch retains; neither changes.
unsafe impl Send for Report {}

impl Report {
    pub(super) fn new(failure: &Failure, request: *const Request) -> Self {
        let message = failure.message.to_bytes_with_nul().to_vec();
        Self {
            error: vec![report(failure, message.as_ptr().cast(), request.cast())],
            _message: message,
        }
    }

    pub(super) fn error(&self) -> *const portal_error {
        self.error.as_ptr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};
    use std::slice;
    use std::sync::Arc;

    use crate::server::FailureKind;

    /// Records the calls of the host's functions, and what they return.
    #[derive(Default)]
    struct Host {
        calls: RefCell<Vec<String>>,
        returns: Cell<i32>,
    }

    impl Host {
        fn record(user_data: *mut c_void, line: String) -> i32 {
            // SAFETY: each test passes its own host, which outlives its handlers.
            let host = unsafe { &*user_data.cast::<Self>() };
            host.calls.borrow_mut().push(line);
            host.returns.get()
        }

        fn handlers(&self) -> Handlers {
            let functions = portal_handlers {
                size: size_of::<portal_handlers>(),
                connect: Some(connect),
                message: Some(message),
                disconnect: Some(disconnect),
                error: Some(error),
                upgrade: Some(upgrade),
                drain: Some(drain),
                pong: Some(pong),
                release: Some(release),
            };
            Handlers::new("/path", functions, ptr::from_ref(self).cast_mut().cast())
                .expect("memory for a path")
        }

        fn take_calls(&self) -> Vec<String> {
            self.calls.take()
        }
    }

    /// Reads bytes and the NUL behind them, as a host would.
    fn read(data: *const c_void, len: usize) -> String {
        assert!(!data.is_null());
        // SAFETY: callbacks receive one byte more than `len` counts.
        let bytes = unsafe { slice::from_raw_parts(data.cast::<u8>(), len + 1) };
        String::from_utf8_lossy(bytes).into_owned()
    }

    unsafe extern "C" fn upgrade(id: u64, _: *mut portal_request, host: *mut c_void) -> i32 {
        Host::record(host, format!("upgrade {id}"))
    }
    unsafe extern "C" fn connect(id: u64, _: *const portal_request, host: *mut c_void) -> i32 {
        Host::record(host, format!("connect {id}"))
    }
    unsafe extern "C" fn message(
        id: u64,
        kind: u32,
        data: *const c_void,
        len: usize,
        host: *mut c_void,
    ) -> i32 {
        Host::record(host, format!("message {id} {kind} {:?}", read(data, len)))
    }
    unsafe extern "C" fn disconnect(
        id: u64,
        code: u32,
        reason: *const c_char,
        host: *mut c_void,
    ) -> i32 {
        // SAFETY: a reason ends in NUL.
        let reason = unsafe { CStr::from_ptr(reason) };
        Host::record(host, format!("disconnect {id} {code} {reason:?}"))
    }
    unsafe extern "C" fn error(id: u64, error: *const portal_error, host: *mut c_void) {
        // SAFETY: the error is valid until the callback returns.
        let error = unsafe { *error };
        // SAFETY: a message ends in NUL.
        let message = unsafe { CStr::from_ptr(error.message) };
        let portal_error {
            size,
            status,
            event,
            code,
            close_code,
            ..
        } = error;
        Host::record(
            host,
            format!("error {id} {size} {status} {event} {code} {close_code} {message:?}"),
        );
    }
    unsafe extern "C" fn drain(id: u64, host: *mut c_void) {
        Host::record(host, format!("drain {id}"));
    }
    unsafe extern "C" fn pong(id: u64, data: *const c_void, len: usize, host: *mut c_void) {
        Host::record(host, format!("pong {id} {:?}", read(data, len)));
    }
    unsafe extern "C" fn release(host: *mut c_void) {
        Host::record(host, "release".into());
    }

    fn failure_of(kind: FailureKind) -> Failure {
        Failure {
            request: None,
            kind,
            event: EventKind::Message,
            code: 7,
            close_code: 1009,
            message: c"too big".into(),
        }
    }

    #[test]
    fn each_event_reaches_its_function() {
        let host = Host::default();
        let handlers = host.handlers();
        let request = Request::example();

        assert_eq!(handlers.upgrade(5, &request), 0);
        assert_eq!(handlers.connect(5, &request), 0);
        assert_eq!(handlers.message(5, Kind::Text, b"hi\0"), 0);
        assert_eq!(handlers.message(5, Kind::Binary, b"\0"), 0);
        handlers.pong(5, b"p\0");
        handlers.drain(5);
        assert!(handlers.error(5, &failure_of(FailureKind::TooBig)));
        assert_eq!(handlers.disconnect(5, 1009, c"bye"), 0);

        let size = size_of::<portal_error>();
        assert_eq!(
            host.take_calls(),
            [
                "upgrade 5",
                "connect 5",
                "message 5 1 \"hi\\0\"",
                "message 5 2 \"\\0\"",
                "pong 5 \"p\\0\"",
                "drain 5",
                &format!("error 5 {size} -4 3 7 1009 \"too big\""),
                "disconnect 5 1009 \"bye\"",
            ]
        );
    }

    #[test]
    fn a_handler_that_returns_gone_has_not_failed_but_upgrade_has() {
        let host = Host::default();
        let handlers = host.handlers();
        let request = Request::example();

        for (returned, failure) in [(0, 0), (-2, 0), (-3, -3), (1, 1), (403, 403)] {
            host.returns.set(returned);
            assert_eq!(handlers.connect(5, &request), failure);
            assert_eq!(handlers.message(5, Kind::Text, b"hi\0"), failure);
            assert_eq!(handlers.disconnect(5, 1000, c""), failure);
            assert_eq!(handlers.upgrade(5, &request), returned);
        }
    }

    #[test]
    fn absent_functions_answer_zero() {
        let functions = portal_handlers {
            size: size_of::<portal_handlers>(),
            connect: None,
            message: None,
            disconnect: None,
            error: None,
            upgrade: None,
            drain: None,
            pong: None,
            release: None,
        };
        let handlers =
            Handlers::new("/path", functions, ptr::null_mut()).expect("memory for a path");
        handlers.arm();
        let request = Request::example();

        assert_eq!(handlers.upgrade(5, &request), 0);
        assert_eq!(handlers.connect(5, &request), 0);
        assert_eq!(handlers.message(5, Kind::Text, b"\0"), 0);
        assert_eq!(handlers.disconnect(5, 1000, c""), 0);
        assert!(!handlers.error(5, &failure_of(FailureKind::Io)));
        handlers.drain(5);
        handlers.pong(5, b"\0");
        assert!(handlers.user_data().is_null());
    }

    #[test]
    fn release_comes_once_after_a_definition_and_never_without_one() {
        let host = Host::default();
        drop(host.handlers());
        assert!(host.take_calls().is_empty());

        let handlers = Arc::new(host.handlers());
        let in_use = handlers.clone();
        handlers.arm();
        drop(handlers);
        assert!(host.take_calls().is_empty());
        drop(in_use);
        assert_eq!(host.take_calls(), ["release"]);
    }

    #[test]
    fn each_kind_of_failure_has_its_status() {
        for (kind, status) in [
            (FailureKind::Handler, -12),
            (FailureKind::Protocol, -13),
            (FailureKind::TooBig, -4),
            (FailureKind::Utf8, -5),
            (FailureKind::Io, -8),
            (FailureKind::Memory, -14),
            (FailureKind::Address, -6),
            (FailureKind::Tls, -7),
            (FailureKind::Rejected, -15),
        ] {
            let report = Report::new(&failure_of(kind), ptr::null());
            // SAFETY: the report is still here.
            assert_eq!(unsafe { (*report.error()).status }, status, "{kind:?}");
        }
    }
}
