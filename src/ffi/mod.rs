//! Portal: WebSockets for every language that can call C.
//!
//! A program defines paths, each with its handlers, and starts a server. Portal calls the handlers
//! when something happens on a connection. The program sends from inside a handler or from any other
//! thread.
//!
//! ```c
//! static int32_t on_message(portal_websocket websocket, uint32_t type,
//!                           const void *data, size_t len, void *user_data)
//! {
//!   (void)user_data;
//!   return portal_send(websocket, type, data, len);
//! }
//!
//! portal_handlers handlers = {0};
//! handlers.size = sizeof handlers;
//! handlers.message = on_message;
//! portal_define_path("/echo", &handlers, NULL);
//!
//! portal_server server;
//! portal_server_start(4433, NULL, &server);
//! ```
//!
//! What holds for every function and every callback:
//!
//! Ids
//!   Servers and websockets are 64-bit numbers below 2^53; 0 is never valid. An id is never reused.
//!   A stale id, an id of the wrong kind or an invented number is never undefined behaviour: the
//!   call fails with PORTAL_STATUS_GONE.
//! Pointers
//!   Two types are pointers. A portal_options may be used by one thread at a time until it is
//!   destroyed. A portal_request may be used by the callback's thread until the callback returns
//!   (when pulled: as long as the records are valid). Arguments are copied, or written to the
//!   socket, before the call returns. What a callback receives is valid until it returns.
//! Data
//!   `data` and `len` come as a pair. As an argument, `data` may be NULL when `len` is 0. In a
//!   callback or a record, `data` is never NULL, and is followed by a NUL that `len` does not count.
//! Threads
//!   Every function may be called from any thread and inside any callback. Four functions return
//!   PORTAL_STATUS_BUSY inside a callback: portal_server_run, _poll, _pull and _wait. Callbacks of
//!   one websocket never overlap, and run in this order: `upgrade`, `connect`, `message`, `pong` and
//!   `drain`, `disconnect`. Callbacks of different websockets overlap when THREADS is over 1 or
//!   DISPATCH is PER_CLIENT, although they share `user_data`.
//! Errors
//!   A call returns PORTAL_STATUS_ARGUMENT for NULL where a pointer is required, an unknown number or
//!   an invalid length. Any function may return PORTAL_STATUS_INTERNAL: a bug in Portal was caught.
//!   A call that fails has changed nothing.
//! Returning from callbacks
//!   A callback must return normally. An exception or a longjmp that leaves it is undefined
//!   behaviour. Portal holds no lock while a callback runs.
//! Memory
//!   Allocations that may be large can fail: the call returns PORTAL_STATUS_MEMORY. A peer for whose
//!   message there is no memory is closed with 1011; the others continue to be served. When the
//!   system refuses memory, small allocations by libraries that cannot report a failure come from a
//!   reserve of 4 MiB. While over a quarter of the reserve is in use, nothing new is begun: calls
//!   return PORTAL_STATUS_MEMORY and no connection is accepted. What remains are the C library's own
//!   allocations and the start of a thread, which need a few bytes: if these are refused, or the
//!   reserve is exhausted, the process aborts with a line on standard error.
//! Process behaviour
//!   Portal installs no signal handler, never exits, raises no SIGPIPE and prints nothing. Its threads
//!   block the signals that are sent to the process. No function may be called in a signal handler:
//!   there, let a thread know by sigwait, signalfd or a pipe, and call portal_server_close or
//!   portal_server_begin_close from that.
//! Forks
//!   In a child forked after a start, no id is valid, nothing is logged, and start, connect, set_log,
//!   define_* and undefine_* return PORTAL_STATUS_UNSUPPORTED: no call waits for a thread of the parent. The
//!   parent is not affected, whether the child exits or continues. A child forked inside a callback
//!   must not return from the callback: it must execute another program, or exit.
//! Versions
//!   Numbers are never reused. Structs grow at their end only, and `size` says up to which field the
//!   program or the library knows them.

// The text above opens the header; that at the top of each module below opens its section.
#![allow(
    non_camel_case_types,
    reason = "one search finds a name in C and in Rust"
)]
#![allow(
    clippy::enum_variant_names,
    reason = "enumerators carry their type's name, as C needs it"
)]
#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "brackets in it belong to addresses and origins"
)]
#![allow(
    unreachable_pub,
    reason = "what is public here is the C interface, and cbindgen reads it"
)]
#![allow(
    clippy::missing_safety_doc,
    reason = "each function's comment is written for callers in C"
)]

mod answer;
mod callback;
mod connect;
mod entry;
mod guard;
mod handlers;
mod log;
mod numbers;
mod options;
mod page;
mod path;
mod pointer;
mod pull;
mod request;
mod server;
mod status;
mod types;
mod version;
mod websocket;
