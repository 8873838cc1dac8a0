//! Portal: WebSockets for every language that can call C.
//!
//! A program defines paths, each with its handlers, and starts a server. Portal tells the handlers
//! what a client did; the program sends, from inside a handler or from anywhere else.
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
//! Ids.      Servers and websockets are 64-bit numbers below 2^53; 0 is never one. An id never
//!           comes back. A dead, foreign or invented one answers PORTAL_STATUS_GONE and is never
//!           undefined behaviour.
//! Pointers. Two things are pointers: portal_options, used by one thread at a time until destroyed,
//!           and portal_request, used by the callback's thread until the callback returns (pulled:
//!           as long as the records). What is passed in is copied, or written out, before the call
//!           returns. What a callback is given is valid until it returns.
//! Data.     `data` and `len` stand side by side. Coming in, `data` may be NULL when `len` is 0. Going
//!           out, it is never NULL, and a NUL follows it that `len` does not count.
//! Threads.  Every function may be called from any thread and inside any callback. Four of them
//!           answer PORTAL_STATUS_BUSY inside a callback: portal_server_run, _poll, _pull and _wait.
//!           Callbacks of one websocket never overlap and come in order: `upgrade`, `connect`,
//!           `message`, `pong` and `drain`, `disconnect`. Callbacks of different websockets overlap
//!           when THREADS is over 1 or DISPATCH is PER_CLIENT, although they share `user_data`.
//! Errors.   NULL where a pointer is needed, an unknown number, a bad length: the call answers
//!           PORTAL_STATUS_ARGUMENT. PORTAL_STATUS_INTERNAL: a bug in Portal was caught, in any
//!           function. Whatever the failure, nothing was changed.
//! Leaving.  A callback returns normally. An exception, a longjmp or a throw out of it is undefined.
//!           No lock is held and nothing of ours is borrowed while it runs.
//! Memory.   What may be large is asked for in a way that takes a no: PORTAL_STATUS_MEMORY. A client
//!           for whose message there is no memory is closed with 1011, and the others are served.
//!           What is small and made by a library that knows no refusal comes from a reserve of 4 MiB,
//!           as long as the system gives none; while over a quarter of that is in use, nothing new is
//!           begun: PORTAL_STATUS_MEMORY, and nobody is accepted. What is left is the C library's own
//!           and a thread's start, which ask for a few bytes: if just these are refused, or the reserve
//!           is used up, the process aborts with a line on standard error.
//! Guest.    Portal installs no signal handler, never exits, raises no SIGPIPE and prints nothing.
//! Forks.    In a child forked after a start all ids are dead, there is no log, and start, set_log,
//!           define_* and undefine_* answer PORTAL_STATUS_UNSUPPORTED: no call waits for a thread of the
//!           parent's. The parent is not disturbed, whether the child ends or lives on. A child forked
//!           inside a callback does not return from it: it goes on to another program, or ends.
//!
//! Numbers are never reused. Structs grow at their end, and `size` says how far.

// This text opens the header; the text on top of each module below opens its section there.
#![allow(non_camel_case_types)] // one search finds a name in C and in Rust
#![allow(clippy::enum_variant_names)] // enumerators carry their type's name, as C needs it
#![allow(rustdoc::broken_intra_doc_links)] // brackets in it belong to addresses and origins
#![allow(clippy::missing_safety_doc)] // each function's comment is written for callers in C

mod callback;
mod guard;
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
