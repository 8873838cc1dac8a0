/* SPDX-License-Identifier: MIT OR Apache-2.0 */

/*
 * Portal: WebSockets for every language that can call C.
 *
 * A program defines paths, each with its handlers, and starts a server. Portal calls the handlers
 * when something happens on a connection. The program sends from inside a handler or from any other
 * thread.
 *
 *     static int32_t on_message(portal_websocket websocket, uint32_t type,
 *                               const void *data, size_t len, void *user_data)
 *     {
 *       (void)user_data;
 *       return portal_send(websocket, type, data, len);
 *     }
 *
 *     portal_handlers handlers = {0};
 *     handlers.size = sizeof handlers;
 *     handlers.message = on_message;
 *     portal_define_path("/echo", &handlers, NULL);
 *
 *     portal_server server;
 *     portal_server_start(4433, NULL, &server);
 *
 * What holds for every function and every callback:
 *
 * Ids
 *   Servers and websockets are 64-bit numbers below 2^53; 0 is never valid. An id is never reused.
 *   A stale id, an id of the wrong kind or an invented number is never undefined behaviour: the
 *   call fails with PORTAL_STATUS_GONE.
 * Pointers
 *   Two types are pointers. A portal_options may be used by one thread at a time until it is
 *   destroyed. A portal_request may be used by the callback's thread until the callback returns
 *   (when pulled: as long as the records are valid). Arguments are copied, or written to the
 *   socket, before the call returns. What a callback receives is valid until it returns.
 * Data
 *   `data` and `len` come as a pair. As an argument, `data` may be NULL when `len` is 0. In a
 *   callback or a record, `data` is never NULL, and is followed by a NUL that `len` does not count.
 * Threads
 *   Every function may be called from any thread and inside any callback. Four functions return
 *   PORTAL_STATUS_BUSY inside a callback: portal_server_run, _poll, _pull and _wait. Callbacks of
 *   one websocket never overlap, and run in this order: `upgrade`, `connect`, `message`, `pong` and
 *   `drain`, `disconnect`. Callbacks of different websockets overlap when THREADS is over 1 or
 *   DISPATCH is PER_CLIENT, although they share `user_data`.
 * Errors
 *   A call returns PORTAL_STATUS_ARGUMENT for NULL where a pointer is required, an unknown number or
 *   an invalid length. Any function may return PORTAL_STATUS_INTERNAL: a bug in Portal was caught.
 *   A call that fails has changed nothing.
 * Returning from callbacks
 *   A callback must return normally. An exception or a longjmp that leaves it is undefined
 *   behaviour. Portal holds no lock while a callback runs.
 * Memory
 *   Allocations that may be large can fail: the call returns PORTAL_STATUS_MEMORY. A peer for whose
 *   message there is no memory is closed with 1011; the others continue to be served. When the
 *   system refuses memory, small allocations by libraries that cannot report a failure come from a
 *   reserve of 4 MiB. While over a quarter of the reserve is in use, nothing new is begun: calls
 *   return PORTAL_STATUS_MEMORY and no connection is accepted. What remains are the C library's own
 *   allocations and the start of a thread, which need a few bytes: if these are refused, or the
 *   reserve is exhausted, the process aborts with a line on standard error.
 * Process behaviour
 *   Portal installs no signal handler, never exits, raises no SIGPIPE and prints nothing. Its threads
 *   block the signals that are sent to the process. No function may be called in a signal handler:
 *   there, let a thread know by sigwait, signalfd or a pipe, and call portal_server_close or
 *   portal_server_begin_close from that.
 * Forks
 *   In a child forked after a start, no id is valid, nothing is logged, and start, connect, set_log,
 *   define_* and undefine_* return PORTAL_STATUS_UNSUPPORTED: no call waits for a thread of the parent. The
 *   parent is not affected, whether the child exits or continues. A child forked inside a callback
 *   must not return from the callback: it must execute another program, or exit.
 * Versions
 *   Numbers are never reused. Structs grow at their end only, and `size` says up to which field the
 *   program or the library knows them.
 */

#ifndef PORTAL_H
#define PORTAL_H

#include <stddef.h>
#include <stdint.h>

/* The version that a program is compiled against. */
#define PORTAL_VERSION "0.2.0"
#define PORTAL_VERSION_MAJOR 0
#define PORTAL_VERSION_MINOR 2
#define PORTAL_VERSION_PATCH 0
/* major * 10^6 + minor * 10^3 + patch */
#define PORTAL_VERSION_NUMBER 2000

/* Precedes each function's declaration. Define PORTAL_STATIC to link the static library. */
#if defined(_WIN32) && !defined(PORTAL_STATIC)
#define PORTAL_API __declspec(dllimport)
#elif defined(__GNUC__) && !defined(_WIN32)
#define PORTAL_API __attribute__((visibility("default")))
#else
#define PORTAL_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/*
 * ================================================================================================
 * Types
 * ================================================================================================
 */

/**
 * Settings for a server; created by portal_options_create.
 */
typedef struct portal_options portal_options;

/**
 * The HTTP request of an opening handshake; passed to `upgrade` and `connect`.
 */
typedef struct portal_request portal_request;

/**
 * The id of a server; 0 is never valid.
 */
typedef uint64_t portal_server;

/**
 * The id of a websocket, which is one connection; 0 is never valid.
 */
typedef uint64_t portal_websocket;

/*
 * A status is 0 or negative. Later versions may add statuses: treat every negative number as a
 * failure.
 */

/**
 * The values of portal_status.
 */
typedef enum portal_status_value {
  /**
   * Success.
   */
  PORTAL_STATUS_OK = 0,
  /**
   * NULL, out of range, an unknown option, an invalid path or one that conflicts with another.
   */
  PORTAL_STATUS_ARGUMENT = -1,
  /**
   * The server or websocket has closed, or is closing.
   */
  PORTAL_STATUS_GONE = -2,
  /**
   * The websocket's send queue has reached its limit; nothing was queued.
   */
  PORTAL_STATUS_FULL = -3,
  /**
   * A length over PTRDIFF_MAX, a ping over 125 bytes, a close reason over 123.
   */
  PORTAL_STATUS_TOO_BIG = -4,
  /**
   * Text that is not UTF-8; nothing was queued.
   */
  PORTAL_STATUS_UTF8 = -5,
  /**
   * Cannot listen: address in use, not permitted, malformed. In `error`: cannot connect: not found,
   * refused, unreachable, timed out.
   */
  PORTAL_STATUS_ADDRESS = -6,
  /**
   * Certificate or key missing or unreadable, or they do not match. In `error`: TLS with a server
   * failed.
   */
  PORTAL_STATUS_TLS = -7,
  /**
   * A system call failed; the log has the details.
   */
  PORTAL_STATUS_IO = -8,
  /**
   * The call would deadlock or recurse here.
   */
  PORTAL_STATUS_BUSY = -9,
  /**
   * The feature is not in this build, or not available in this process.
   */
  PORTAL_STATUS_UNSUPPORTED = -10,
  /**
   * A bug in Portal was caught; the log has the details.
   */
  PORTAL_STATUS_INTERNAL = -11,
  /**
   * In `error`: a handler failed.
   */
  PORTAL_STATUS_HANDLER = -12,
  /**
   * In `error`: the peer violated the protocol.
   */
  PORTAL_STATUS_PROTOCOL = -13,
  /**
   * An allocation failed; nothing changed.
   */
  PORTAL_STATUS_MEMORY = -14,
  /**
   * In `error`: a server answered a request of portal_connect with another status than 101.
   */
  PORTAL_STATUS_REJECTED = -15
} portal_status_value;

/**
 * The result of a call: a number of enum portal_status_value. Every negative number is a failure,
 * also an unknown one.
 */
typedef int32_t portal_status;

/**
 * Returns the name of a status as this header spells it, such as "PORTAL_STATUS_GONE".
 *
 * @param status  Any number.
 *
 * @return The name; "PORTAL_STATUS_UNKNOWN" for an unknown number. Never NULL; valid until the
 *         process ends.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API const char *portal_status_name(int32_t status);

/**
 * Returns a human-readable description of a status, in one sentence.
 *
 * @param status  Any number.
 *
 * @return The description. Never NULL; valid until the process ends.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API const char *portal_status_text(int32_t status);

/*
 * Enumerations are passed as fixed-width integers, so that an unknown number gives a status
 * instead of undefined behaviour.
 */

/**
 * The type of a message; passed as uint32_t.
 */
typedef enum portal_message {
  /**
   * UTF-8.
   */
  PORTAL_MESSAGE_TEXT = 1,
  /**
   * Any bytes.
   */
  PORTAL_MESSAGE_BINARY = 2,
  /**
   * Added to the type of a message that is sent: it is not compressed, whatever was negotiated. For
   * data that is compressed already, or secret (RFC 7692 section 8).
   */
  PORTAL_MESSAGE_UNCOMPRESSED = 256
} portal_message;

/**
 * The type of an event; passed as uint32_t. Ignore unknown ones: later versions may add more.
 */
typedef enum portal_event {
  /**
   * A client requests a websocket.
   */
  PORTAL_EVENT_UPGRADE = 1,
  /**
   * A websocket is open.
   */
  PORTAL_EVENT_CONNECT = 2,
  /**
   * A message was received.
   */
  PORTAL_EVENT_MESSAGE = 3,
  /**
   * The websocket has ended.
   */
  PORTAL_EVENT_DISCONNECT = 4,
  /**
   * The send queue has room again.
   */
  PORTAL_EVENT_DRAIN = 5,
  /**
   * A pong was received: the reply to a portal_ping, or an unsolicited one.
   */
  PORTAL_EVENT_PONG = 6,
  /**
   * An error occurred; see portal_error.
   */
  PORTAL_EVENT_ERROR = 7
} portal_event;

/**
 * The state of a websocket, as portal_state_of returns it.
 */
typedef enum portal_state {
  /**
   * Inside `upgrade`.
   */
  PORTAL_STATE_CONNECTING = 0,
  /**
   * From `connect` on.
   */
  PORTAL_STATE_OPEN = 1,
  /**
   * Either side has begun to close.
   */
  PORTAL_STATE_CLOSING = 2,
  /**
   * Ended, or never existed.
   */
  PORTAL_STATE_CLOSED = 3
} portal_state;

/**
 * On which threads callbacks run; a value of PORTAL_OPTION_DISPATCH.
 */
typedef enum portal_dispatch {
  /**
   * On the server's own loop threads, THREADS of them. A websocket stays on its thread.
   */
  PORTAL_DISPATCH_IO = 0,
  /**
   * On a separate thread for each websocket, so that a handler may block without delaying
   * others.
   */
  PORTAL_DISPATCH_PER_CLIENT = 1,
  /**
   * On threads of the program, inside portal_server_run, _poll or _pull. The library starts
   * none.
   */
  PORTAL_DISPATCH_HOST = 2
} portal_dispatch;

/*
 * ================================================================================================
 * Handlers
 * ================================================================================================
 *
 * A handler fails when it returns a number other than 0 and PORTAL_STATUS_GONE, so `return
 * portal_send(...)` is a correct handler. `upgrade` fails with PORTAL_STATUS_GONE, too, so that no
 * client is accepted by mistake.
 *
 * When a handler fails, `error` is called with PORTAL_STATUS_HANDLER, the event and the returned
 * number; the websocket stays open unless the program closes it. `error` is also called when the
 * peer violates the protocol, when a limit is exceeded, and when the connection fails for any
 * reason other than the peer's disconnecting; `disconnect` follows. End of stream, a reset and
 * timeouts are not errors: they cause only `disconnect`. When `disconnect` fails, `error` is
 * called after it, as the last callback. What fails before the path is known is reported to the
 * log and the metrics.
 */

/**
 * Describes an error; passed to `error`. Valid, with its message, until the callback returns (when
 * pulled: as long as the records are valid).
 */
typedef struct portal_error {
  /**
   * The number of bytes that the library has filled in. Check it before reading a field added
   * after 0.1.
   */
  size_t size;
  /**
   * PORTAL_STATUS_HANDLER, _PROTOCOL, _IO, _TOO_BIG, _UTF8, _MEMORY; for a connection of
   * portal_connect also _ADDRESS, _TLS, _REJECTED; or one added later.
   */
  portal_status status;
  /**
   * The enum portal_event during which it occurred.
   */
  uint32_t event;
  /**
   * What the handler returned; the HTTP status with which a server, or a proxy, has refused; else 0.
   */
  int32_t code;
  /**
   * The close code with which the websocket is closed (RFC 6455 section 7.4); 0 when it stays
   * open.
   */
  uint32_t close_code;
  /**
   * Human-readable. Never NULL.
   */
  const char *message;
  /**
   * With PORTAL_STATUS_REJECTED, the request with the headers of the server's answer; else NULL. Since
   * 0.2.
   */
  const portal_request *request;
} portal_error;

/**
 * The callbacks of a path. Any function may be NULL: the event is then ignored.
 *
 * Fill it with zeros and set `size` first. portal_define_path copies it.
 *
 * Callbacks run on the threads that DISPATCH selects. Callbacks of one websocket never overlap;
 * those of different websockets may. A callback may call every function of this header. It must
 * return normally, and other websockets of its thread wait for it. The pointers that it receives
 * are valid until it returns.
 */
typedef struct portal_handlers {
  /**
   * sizeof(portal_handlers), as your program was compiled.
   */
  size_t size;
  /**
   * The websocket is open; its state is OPEN. Return 0.
   */
  int32_t (*connect)(portal_websocket websocket, const portal_request *request, void *user_data);
  /**
   * A complete message was received: PORTAL_MESSAGE_TEXT, validated as UTF-8, or
   * PORTAL_MESSAGE_BINARY. Return 0.
   */
  int32_t (*message)(portal_websocket websocket,
                     uint32_t type,
                     const void *data,
                     size_t len,
                     void *user_data);
  /**
   * The websocket has ended. Called exactly once for every websocket whose `connect` ran, and
   * never inside portal_close or portal_abort. The state is CLOSED and sends return GONE.
   * portal_data still works: free your data here. Return 0.
   *
   * `code` is the code of the peer's close frame, 1005 when the frame had none (RFC 6455 section
   * 7.1.5). Without such a frame it is the code that Portal sent when it failed the connection
   * (1002, 1007 to 1011, 1013), else 1006, as when the peer did not reply to a close frame that
   * was sent for another reason. `reason` is never NULL.
   */
  int32_t (*disconnect)(portal_websocket websocket,
                        uint32_t code,
                        const char *reason,
                        void *user_data);
  /**
   * An error occurred on this websocket. When the error closes it, its state is CLOSING and
   * `disconnect` follows. Without this function, the failure of a handler is logged at level 2.
   */
  void (*error)(portal_websocket websocket, const portal_error *error, void *user_data);
  /**
   * A client requests a websocket (RFC 6455 section 4.2). Its state is CONNECTING:
   * portal_set_data, portal_data, portal_state_of and portal_abort work; send, ping, close and
   * flush return BUSY. Return 0 to accept; `connect` is then always called, even if the client
   * has disconnected in the meantime. Return 300 to 599 to reject the request with that HTTP
   * status. 1 is reserved. Any other value, also PORTAL_STATUS_GONE, is a failure and rejects
   * the request with 500.
   */
  int32_t (*upgrade)(portal_websocket websocket, portal_request *request, void *user_data);
  /**
   * The send queue has fallen to half of MAX_QUEUED after one or more PORTAL_STATUS_FULL. The
   * callback may begin before the call that returns FULL has returned on another thread.
   */
  void (*drain)(portal_websocket websocket, void *user_data);
  /**
   * A pong was received: the reply to a portal_ping, or an unsolicited one (RFC 6455 section
   * 5.5.3).
   */
  void (*pong)(portal_websocket websocket, const void *data, size_t len, void *user_data);
  /**
   * `user_data` is no longer in use. Called once for each successful definition, on any thread,
   * after the definition was replaced or undefined.
   */
  void (*release)(void *user_data);
} portal_handlers;

/*
 * ================================================================================================
 * Paths
 * ================================================================================================
 *
 * Paths are process-wide: every server serves them. They may be defined, redefined and undefined
 * at any time, also while clients are connected. The next event of a connected websocket goes to
 * the newest definition; websockets of an undefined path keep its last definition until they end.
 *
 * A path is exact ("/echo"), may contain parameters ("/room/{name}") and may end in a catch-all
 * ("/files/{*rest}"). An exact match takes precedence over a parameter, and a parameter over a
 * catch-all. "{{" is a literal brace. Case and trailing slashes are significant, and nothing is
 * normalised. The query string is not part of a path: a path with "?" or "#" gives
 * PORTAL_STATUS_ARGUMENT. ":id" and "*" are literal; the log warns about them, at level 2. The
 * path of a request is split at "/" before it is decoded, so "%2F" stays inside a parameter.
 * Malformed escapes, "%00" and escapes that decode to invalid UTF-8 are refused with 400, an
 * unknown path with 404.
 */

/**
 * Defines the handlers of a path, or replaces them.
 *
 * To redefine a path, pass the identical string. A path that differs from another only in the
 * names of its parameters conflicts with it. After a redefinition, the old `release` is called as
 * soon as no callback of the old definition is running; this may happen inside this call.
 *
 * @param path       Starts with "/". Borrowed until the call returns.
 * @param handlers   Its `size` is at least that of version 0.1, at most 4,096, and a multiple of
 *                   the size of a pointer. Bytes that this library does not know must be 0.
 *                   Borrowed until the call returns.
 * @param user_data  Passed to every handler, never dereferenced. May be NULL. Must stay valid
 *                   until `release`.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_ARGUMENT     NULL, an invalid `size`, an invalid path, or one that
 *                                    conflicts.
 * @return PORTAL_STATUS_UNSUPPORTED  A handler that this library does not know is set, or the
 *                                    process is a child forked after a start.
 * @return PORTAL_STATUS_MEMORY       An allocation failed.
 *         On failure, `release` is not called and the previous definition stays.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API
portal_status portal_define_path(const char *path,
                                 const portal_handlers *handlers,
                                 void *user_data);

/**
 * Defines the handlers of a path, or replaces them, for the servers that are started with these
 * options from then on, and for no other.
 *
 * A server copies its paths at its start. A request is looked up there first, then among the
 * process's paths, unless SHARED_PATHS is 0. `release` is called when neither the options nor a
 * server uses the definition any more; this may happen inside this call.
 *
 * @param options    Borrowed until the call returns.
 * @param path       As for portal_define_path. Borrowed until the call returns.
 * @param handlers   As for portal_define_path. Borrowed until the call returns.
 * @param user_data  As for portal_define_path.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_ARGUMENT     NULL, an invalid `size`, an invalid path, or one that
 *                                    conflicts.
 * @return PORTAL_STATUS_UNSUPPORTED  A handler that this library does not know is set, or the
 *                                    process is a child forked after a start.
 * @return PORTAL_STATUS_MEMORY       An allocation failed.
 *         On failure, `release` is not called and the previous definition stays.
 *
 * @threads  Any thread, one at a time for the same options, and inside any callback.
 * @since    0.2
 */
PORTAL_API
portal_status portal_options_define_path(portal_options *options,
                                         const char *path,
                                         const portal_handlers *handlers,
                                         void *user_data);

/**
 * Removes a path. New requests for it are answered with 404; connected websockets stay.
 *
 * `release` is called when the last of them has ended; this may happen inside this call.
 *
 * @param path  The string that was defined. Borrowed until the call returns.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_ARGUMENT     NULL, or no such path is defined.
 * @return PORTAL_STATUS_UNSUPPORTED  The process is a child forked after a start.
 * @return PORTAL_STATUS_MEMORY       An allocation failed.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API portal_status portal_undefine_path(const char *path);

/*
 * ================================================================================================
 * Servers
 * ================================================================================================
 *
 * DISPATCH selects the threads on which callbacks run:
 *
 *   IO          On the server's own loop threads, THREADS of them: 1 by default, so that callbacks
 *               never overlap. A websocket stays on its thread.
 *   PER_CLIENT  On a separate thread for each websocket, so that a handler may block without
 *               delaying others. While a websocket's queue of received messages is full, Portal does
 *               not read from its socket.
 *   HOST        On threads of the program. The library starts no thread: the program calls
 *               portal_server_run, _poll or _pull. One call serves every loop that has work and that
 *               no other thread is serving: one thread can serve all loops, and up to THREADS threads
 *               may be inside at once. A thread that ends or unwinds during a wait releases its
 *               loops; no lock is held while it waits.
 *
 * A turn is one iteration of an event loop: it receives, runs callbacks and sends what they queued.
 *
 * A thread that is cancelled (pthread_cancel) ends while portal_server_run, _poll or _pull waits, or
 * at its next cancellation point after the call. It is not cancelled inside any other function,
 * nor inside a callback, on any thread. Do not cancel the library's own threads.
 *
 * Time during which Portal itself does not read from a socket (a busy handler, a host that does not
 * poll) does not count towards any timeout.
 */

/**
 * The metrics of portal_server_metric. Totals count from the server's start.
 */
typedef enum portal_metric {
  /**
   * Websockets open now.
   */
  PORTAL_METRIC_CONNECTIONS = 1,
  /**
   * Websockets opened.
   */
  PORTAL_METRIC_CONNECTIONS_TOTAL = 2,
  /**
   * Handshakes that did not end in a 101 response.
   */
  PORTAL_METRIC_REJECTED_TOTAL = 3,
  /**
   * Data messages received.
   */
  PORTAL_METRIC_MESSAGES_IN = 4,
  /**
   * Data messages sent.
   */
  PORTAL_METRIC_MESSAGES_OUT = 5,
  /**
   * Bytes read from sockets; with TLS, bytes of plaintext.
   */
  PORTAL_METRIC_BYTES_IN = 6,
  /**
   * Bytes written to sockets; with TLS, bytes of plaintext.
   */
  PORTAL_METRIC_BYTES_OUT = 7,
  /**
   * Bytes in send queues now.
   */
  PORTAL_METRIC_QUEUED_BYTES = 8,
  /**
   * Connections on which the peer violated the protocol.
   */
  PORTAL_METRIC_PROTOCOL_ERRORS = 9,
  /**
   * Handlers that failed.
   */
  PORTAL_METRIC_HANDLER_ERRORS = 10,
  /**
   * Handshakes, and attempts to connect, that were not complete within HANDSHAKE_TIMEOUT.
   */
  PORTAL_METRIC_HANDSHAKE_TIMEOUTS = 14,
  /**
   * Connections that were dropped because nothing was received from the peer by the next ping.
   */
  PORTAL_METRIC_PING_TIMEOUTS = 15,
  /**
   * Bytes of memory held for connections now; see MAX_MEMORY.
   */
  PORTAL_METRIC_MEMORY_BYTES = 17,
  /**
   * Connections that were ended because of MAX_MEMORY.
   */
  PORTAL_METRIC_MEMORY_CLOSED = 18,
  /**
   * When the first of the server's certificates expires, in seconds since 1970; 0 without TLS. In
   * the last 14 days the log warns of it, at level 2, at the start, at a reload and once a day.
   */
  PORTAL_METRIC_CERTIFICATE_EXPIRES = 19
} portal_metric;

/**
 * Starts a server. It listens at once; with IO or PER_CLIENT dispatch it also serves at once.
 *
 * @param port        0 to 65,535; 0 chooses a free one, which portal_server_port returns.
 * @param options     Borrowed until the call returns. NULL means all defaults.
 * @param server_out  Receives the id, before the first callback can run; 0 on failure.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_ARGUMENT     NULL, a port out of range, or one that HOST excludes.
 * @return PORTAL_STATUS_ADDRESS      Cannot listen: address in use, not permitted, malformed, or an
 *                                    unusable descriptor.
 * @return PORTAL_STATUS_TLS          A certificate, a key or another file for TLS is missing or
 *                                    unreadable, or they do not match.
 * @return PORTAL_STATUS_IO           The system could not provide a descriptor or a thread.
 * @return PORTAL_STATUS_UNSUPPORTED  The process is a child forked after a start.
 * @return PORTAL_STATUS_MEMORY       An allocation failed.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API
portal_status portal_server_start(uint32_t port,
                                  const portal_options *options,
                                  portal_server *server_out);

/**
 * Returns the port on which a server listens: the chosen one when it was started with 0.
 *
 * @param server  Any id.
 *
 * @return The port, also after portal_server_stop_accepting; 0 when the server is gone, listens on
 *         a Unix socket or has no listener.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API uint32_t portal_server_port(portal_server server);

/**
 * Stops accepting connections, and continues to serve those that exist.
 *
 * For a restart without a gap: another process, which has the same inherited socket or then listens
 * on the port, accepts from now on, while this one serves its clients until they leave or
 * portal_server_close ends them. When the call returns, connections to the port are refused, and
 * those that waited to be accepted are reset. An inherited socket (HOST "fd:") is only closed, in the
 * next turn of each loop: connections that wait there stay for the other processes that have it.
 *
 * Connections that were answered with a page and wait for the next request end, and a page is then the
 * last response on its connection. A connection that was accepted before may still become a websocket.
 *
 * A second call, or a call on a server that is closing, changes nothing and returns OK.
 *
 * @param server  Any id.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_GONE  The server has ended already, or never existed.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.2
 */
PORTAL_API
portal_status portal_server_stop_accepting(portal_server server);

/**
 * Closes a server and waits until it is closed.
 *
 * The server stops accepting, sends a close frame (CLOSE_CODE) on every websocket, waits for close frames and for
 * queued data as long as CLOSE_TIMEOUT allows, and drops the remaining connections. When the call
 * returns, no callback of that server is running or will run, and the port is free.
 *
 * The call waits for running handlers without a limit: hold no lock that a handler takes. Inside a
 * callback of any server, the call begins to close and returns. With HOST dispatch, the calling
 * thread serves the loops that no other thread serves. A concurrent second call waits as well and
 * returns OK.
 *
 * A host that pulls calls portal_server_begin_close instead, and pulls until PORTAL_STATUS_GONE: as
 * long as a thread holds pulled records, or events wait for its next pull, this call returns OK
 * before the server has ended, and the server ends only with that thread's further calls.
 *
 * @param server  Any id.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_GONE  The server has ended already, or never existed.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API
portal_status portal_server_close(portal_server server);

/**
 * Begins to close a server, as portal_server_close does, and returns at once.
 *
 * For programs that pull: begin to close, then continue to pull until PORTAL_STATUS_GONE, so that
 * no record is lost.
 *
 * @param server  Any id.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_GONE  The server has ended already, or never existed.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API portal_status portal_server_begin_close(portal_server server);

/**
 * Waits until a server is closed. Does not close it.
 *
 * @param server  Any id.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_GONE  The server has ended already, or never existed.
 * @return PORTAL_STATUS_BUSY  Inside a callback.
 *
 * @threads  Any thread, not inside a callback.
 * @since    0.1
 */
PORTAL_API portal_status portal_server_wait(portal_server server);

/**
 * HOST dispatch: serves on this thread until the server is closed.
 *
 * One call serves every loop that has work and that no other thread is serving. Up to THREADS
 * threads may be inside portal_server_run, _poll and _pull at once.
 *
 * @param server  Any id.
 *
 * @return PORTAL_STATUS_OK        The server is closed.
 * @return PORTAL_STATUS_ARGUMENT  The dispatch is not HOST.
 * @return PORTAL_STATUS_GONE      The server had ended already, or never existed.
 * @return PORTAL_STATUS_BUSY      Inside a callback, or THREADS threads are inside already.
 * @return PORTAL_STATUS_IO        A system call failed.
 *
 * @threads  Any thread, not inside a callback.
 * @since    0.1
 */
PORTAL_API portal_status portal_server_run(portal_server server);

/**
 * HOST dispatch: runs one turn. Waits for work, processes it, calls the handlers and returns.
 *
 * A signal interrupts the wait; the call then returns the number so far. Time between two calls
 * does not count towards any timeout.
 *
 * @param server      Any id.
 * @param timeout_ms  Maximum time to wait for work; negative = no limit, 0 = do not wait.
 *
 * @return The number of callbacks run, or a negative status:
 * @return PORTAL_STATUS_ARGUMENT  The dispatch is not HOST.
 * @return PORTAL_STATUS_GONE      The server has ended, or never existed.
 * @return PORTAL_STATUS_BUSY      Inside a callback, or THREADS threads are inside already.
 * @return PORTAL_STATUS_IO        A system call failed.
 *
 * @threads  Any thread, not inside a callback.
 * @since    0.1
 */
PORTAL_API int32_t portal_server_poll(portal_server server, int32_t timeout_ms);

/**
 * HOST dispatch: returns a descriptor that is readable while portal_server_poll or _pull has work.
 *
 * It is level-triggered and covers all loops and their timers. It also becomes readable on a send,
 * ping or close from outside a turn. The library owns it: wait on it, and do nothing else with it.
 * The library closes it when the server has ended. So a program that waits on it closes the server
 * with portal_server_begin_close, and polls until PORTAL_STATUS_GONE.
 *
 * @param server  Any id.
 *
 * @return The descriptor, or a negative status:
 * @return PORTAL_STATUS_ARGUMENT  The dispatch is not HOST.
 * @return PORTAL_STATUS_GONE      The server has ended, or never existed.
 * @return PORTAL_STATUS_IO        The system could not provide a descriptor.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API int32_t portal_server_fd(portal_server server);

/**
 * HOST dispatch: wakes one waiting run, poll or pull; when none is waiting, the next one does not
 * wait.
 *
 * Poll and pull then return even if nothing has happened.
 *
 * @param server  Any id.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_ARGUMENT  The dispatch is not HOST.
 * @return PORTAL_STATUS_GONE      The server has ended, or never existed.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API portal_status portal_server_wake(portal_server server);

/**
 * Reads certificates, keys, authorities and revocation lists again, from the same files. New
 * connections use the new ones.
 *
 * Clients can resume earlier sessions, unless TLS_CLIENT_CA is set: then each must present its
 * certificate again.
 *
 * @param server  Any id.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_TLS          A file is missing, unreadable or does not match; everything
 *                                    stays as it was.
 * @return PORTAL_STATUS_GONE         The server has ended, or never existed.
 * @return PORTAL_STATUS_UNSUPPORTED  This build has no TLS.
 * @return PORTAL_STATUS_MEMORY       An allocation failed.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API portal_status portal_server_reload_tls(portal_server server);

/**
 * Returns one metric of a server.
 *
 * @param server  Any id. 0: of the library's own loop, see portal_connect.
 * @param which   A number of enum portal_metric.
 *
 * @return The metric; 0 when the server is gone or the number is unknown.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.2
 */
PORTAL_API uint64_t portal_server_metric(portal_server server, uint32_t which);

/*
 * Pulling is for programs in which callbacks from C are slow, dangerous or impossible: the library
 * fills records instead of calling handlers, and calls only `upgrade` and `release`. The library
 * does not learn whether the program's handling of a record fails.
 */

/**
 * One event of a websocket, as portal_server_pull fills it in.
 */
typedef struct portal_pulled {
  /**
   * Enum portal_event; never UPGRADE. Ignore unknown ones.
   */
  uint32_t event;
  /**
   * MESSAGE: enum portal_message. DISCONNECT: the close code. Else 0.
   */
  uint32_t type;
  /**
   * The websocket. After DISCONNECT the id is valid as long as the records.
   */
  portal_websocket websocket;
  /**
   * The `user_data` of the path's current definition.
   */
  void *user_data;
  /**
   * MESSAGE, PONG: the payload. DISCONNECT: the reason. ERROR: a portal_error. Never NULL.
   */
  const void *data;
  /**
   * Bytes in `data`.
   */
  size_t len;
  /**
   * CONNECT: the request. Else NULL.
   */
  const portal_request *request;
} portal_pulled;

/**
 * HOST dispatch: runs one turn without callbacks. Waits for work and fills records with events.
 *
 * What the records point to is valid until the same thread's next pull, poll or run of that
 * server, or until the thread ends, also after the server is closed. Loops whose records were
 * returned stay with the thread until its next such call. What is sent between two pulls is
 * written at the next pull, or at portal_flush. The messages of one call are bounded in bytes, too:
 * what does not fit into 1 MiB for each loop, and one message more, follows in the next. Records
 * count towards MAX_MEMORY until they are returned. A signal interrupts the wait; the call then
 * returns the records filled so far.
 *
 * @param server       Any id.
 * @param timeout_ms   Maximum time to wait for work; negative = no limit, 0 = do not wait.
 * @param events       Space for `max` records, aligned as portal_pulled. Written to until the call
 *                     returns.
 * @param max          1 to 2^31-1.
 * @param record_size  sizeof(portal_pulled), as your program was compiled, or more when your own
 *                     records begin with one; a multiple of its alignment. Bytes that this library
 *                     does not know are set to 0.
 *
 * @return The number of records filled, or a negative status:
 * @return PORTAL_STATUS_ARGUMENT  NULL, `max` or `record_size` out of range, or the dispatch is
 *                                 not HOST.
 * @return PORTAL_STATUS_GONE      The server has ended, or never existed.
 * @return PORTAL_STATUS_BUSY      Inside a callback, or THREADS threads are inside already.
 * @return PORTAL_STATUS_IO        A system call failed.
 *
 * @threads  Any thread, not inside a callback.
 * @since    0.1
 */
PORTAL_API
int32_t portal_server_pull(portal_server server,
                           int32_t timeout_ms,
                           portal_pulled *events,
                           size_t max,
                           size_t record_size);

/*
 * ================================================================================================
 * Options
 * ================================================================================================
 *
 * A server keeps a copy of its options. So the same options may start several servers, and may be
 * changed or destroyed after a start.
 */

/**
 * The settings of a server. Each is validated when it is set.
 */
typedef enum portal_option {
  /**
   * The address to listen on: a numeric address (brackets allowed) or a host name. A name is
   * resolved once, at the start; the server then listens on all its addresses. "unix:/path" is a
   * Unix socket: the port must be 0, a stale socket file is replaced, and the file is removed on
   * close. "::" is all addresses, IPv4 included ("0.0.0.0" where there is no IPv6).
   *
   * "fd:N" is the descriptor N of this process: a TCP or Unix socket that is listening already.
   * The port must be 0 or the socket's own, and BACKLOG has no effect. The descriptor belongs to
   * the server after a successful start, which closes it when it stops accepting; after a failed
   * start it is still the program's. The socket is never shut down: other processes that have it
   * accept from it, now and later. "fd:systemd" is the first socket that systemd has passed to
   * this process (sd_listen_fds(3)). A descriptor that is none of these, or that another server
   * of the process uses, is PORTAL_STATUS_ADDRESS; the log has the reason.
   *
   * "none": the server has no listener; the port must be 0, and METRICS_PATH empty.
   *
   * Text. Default "::".
   */
  PORTAL_OPTION_HOST = 1,
  /**
   * Number of event loops, each on its own thread; 0 = one per processor.
   *
   * Number. Default 1. Range 0 to 1,024.
   */
  PORTAL_OPTION_THREADS = 2,
  /**
   * The threads on which callbacks run: enum portal_dispatch.
   *
   * Number. Default 0. Range 0 to 2.
   */
  PORTAL_OPTION_DISPATCH = 3,
  /**
   * Maximum number of connections that wait to be accepted, as in listen(2).
   *
   * Number. Default 4,096. Range 1 to 2,147,483,647.
   */
  PORTAL_OPTION_BACKLOG = 4,
  /**
   * Maximum number of concurrent connections; 0 = no limit. Further ones are refused with 503.
   *
   * Number. Default 0. Range 0 to 9,007,199,254,740,991.
   */
  PORTAL_OPTION_MAX_CONNECTIONS = 5,
  /**
   * Maximum number of concurrent connections from one address; an IPv6 /64 counts as one
   * address; 0 = no limit. Further ones are refused with 429.
   *
   * Number. Default 0. Range 0 to 9,007,199,254,740,991.
   */
  PORTAL_OPTION_MAX_CONNECTIONS_PER_IP = 6,
  /**
   * Maximum size of a received message, after decompression. A larger one closes the websocket
   * with 1009.
   *
   * Number, bytes. Default 16,777,216. Range 1 to 8,589,934,592.
   */
  PORTAL_OPTION_MAX_MESSAGE_SIZE = 7,
  /**
   * Maximum number of frames in one received message. More of them close the websocket with
   * 1008.
   *
   * Number. Default 131,072. Range 1 to 2,147,483,647.
   */
  PORTAL_OPTION_MAX_FRAGMENTS = 8,
  /**
   * Maximum size of the request line and headers. A larger request is refused with 431, and so
   * is one with more than 100 headers of any size.
   *
   * Number, bytes. Default 16,384. Range 128 to 16,777,216.
   */
  PORTAL_OPTION_MAX_HEADER_SIZE = 9,
  /**
   * Limit of a websocket's send queue, counted in framed and compressed bytes plus the overhead
   * of queueing them. Sends return PORTAL_STATUS_FULL once the queue has reached the limit, so
   * the queue holds at most one message more.
   *
   * Number, bytes. Default 16,777,216. Range 1 to 8,589,934,592.
   */
  PORTAL_OPTION_MAX_QUEUED = 10,
  /**
   * Maximum time from accepting a connection to the end of its request, TLS handshake included.
   *
   * Number, ms. Default 10,000. Range 1 to 2,147,483,647.
   */
  PORTAL_OPTION_HANDSHAKE_TIMEOUT = 11,
  /**
   * Maximum time without a frame from the peer; the websocket is then closed with 1001. 0 = no
   * limit.
   *
   * Number, ms. Default 0. Range 0 to 2,147,483,647.
   */
  PORTAL_OPTION_IDLE_TIMEOUT = 12,
  /**
   * Time between two pings; 0 = no pings. When nothing was received from the peer by the next
   * ping, the connection is dropped (1006), unless the peer is still receiving queued data and
   * its system acknowledges bytes.
   *
   * Number, ms. Default 30,000. Range 0 to 2,147,483,647.
   */
  PORTAL_OPTION_PING_INTERVAL = 13,
  /**
   * Maximum time from portal_close, or from Portal's close frame, to the end of the connection.
   * It starts again when the peer's system acknowledges bytes and when the close frame has been
   * written, at most 12 times.
   *
   * Number, ms. Default 5,000. Range 1 to 2,147,483,647.
   */
  PORTAL_OPTION_CLOSE_TIMEOUT = 14,
  /**
   * The allowed origins (RFC 6455 section 10.2), separated by commas, none twice; empty = any.
   * Each is scheme://host[:port], "null", "file://" or "app://-". The host may be "*." and a
   * domain: every host below that domain, not the domain itself. The port may be "*": any. The
   * default port of a scheme is equivalent to no port. Any other Origin is refused with 403; a
   * request without an Origin header is accepted.
   *
   * Text. Default "".
   */
  PORTAL_OPTION_ORIGINS = 15,
  /**
   * The subprotocols that the server supports (RFC 6455 section 1.9), separated by commas, none
   * twice, in order of preference. The first one that the client offers is selected; when there
   * is none in common, the client is accepted without a subprotocol.
   *
   * Text. Default "".
   */
  PORTAL_OPTION_SUBPROTOCOLS = 16,
  /**
   * permessage-deflate (RFC 7692): 0 off, 1 on without context takeover, 2 on with context
   * takeover where the client agrees. With 1, an idle websocket needs no more memory than an
   * uncompressed one; with 2, each websocket needs up to 210 KiB after its first compressed
   * messages. In a build without compression the default is 0, and no other value is accepted.
   *
   * Number. Default 1. Range 0 to 2.
   */
  PORTAL_OPTION_DEFLATE = 17,
  /**
   * Compression level: 1 is fastest, 9 compresses best.
   *
   * Number. Default 1. Range 1 to 9.
   */
  PORTAL_OPTION_DEFLATE_LEVEL = 18,
  /**
   * Messages smaller than this are sent uncompressed, and so are those that compression would
   * not shorten.
   *
   * Number, bytes. Default 256. Range 0 to 2,147,483,647.
   */
  PORTAL_OPTION_DEFLATE_MIN_SIZE = 19,
  /**
   * A PEM file with the certificate and its chain, read at the start. Together with TLS_KEY it
   * enables wss://. See also portal_options_add_certificate.
   *
   * Text. Default "".
   */
  PORTAL_OPTION_TLS_CERTIFICATE = 20,
  /**
   * A PEM file with the certificate's private key.
   *
   * Text. Default "".
   */
  PORTAL_OPTION_TLS_KEY = 21,
  /**
   * A PEM file with certificate authorities; clients must present a certificate that one of them
   * signed.
   *
   * Text. Default "".
   */
  PORTAL_OPTION_TLS_CLIENT_CA = 22,
  /**
   * The value of the "Server" header; empty = no header.
   *
   * Text. Default "".
   */
  PORTAL_OPTION_SERVER_HEADER = 23,
  /**
   * The system interface of the loops: 1 = epoll, 2 = io_uring, 0 = automatic: epoll to receive,
   * and io_uring to send to many websockets at once, which is fastest. Where the system
   * forbids io_uring or is older than Linux 6.1, and with HOST dispatch, epoll is used for
   * everything, without an error.
   *
   * Number. Default 0. Range 0 to 2.
   */
  PORTAL_OPTION_BACKEND = 24,
  /**
   * Of a connection of portal_connect: the longest time before the second attempt. It doubles with
   * each further one, up to RECONNECT_MAX, and begins again after a minute of being open; each
   * attempt waits for a random part of it. 0 = there is one attempt.
   *
   * Number, ms. Default 0. Range 0 to 2,147,483,647.
   */
  PORTAL_OPTION_RECONNECT = 25,
  /**
   * Of a connection: the longest time before any attempt.
   *
   * Number, ms. Default 30,000. Range 1 to 2,147,483,647.
   */
  PORTAL_OPTION_RECONNECT_MAX = 26,
  /**
   * Of a connection: a PEM file with the certificate authorities that it trusts, in place of the
   * system's.
   *
   * Text. Default "".
   */
  PORTAL_OPTION_TLS_CA = 27,
  /**
   * Of a connection: whether the server's certificate is verified: 1 yes, 0 no, for tests; the log
   * warns of it, at level 2.
   *
   * Number. Default 1. Range 0 to 1.
   */
  PORTAL_OPTION_TLS_VERIFY = 28,
  /**
   * Of a connection: the name that the server is asked for (SNI, RFC 6066 section 3) and that its
   * certificate must have. Empty = the URL's host.
   *
   * Text. Default "".
   */
  PORTAL_OPTION_TLS_SERVER_NAME = 29,
  /**
   * Of a connection: the proxy to connect through: "http://[user:password@]host[:port]" (CONNECT),
   * "socks5h://[user:password@]host[:port]" (RFC 1928; the proxy resolves the name), or "env": as
   * the variables https_proxy, http_proxy (lower case alone), all_proxy and no_proxy say at the
   * call. Empty = none.
   *
   * Text. Default "".
   */
  PORTAL_OPTION_PROXY = 30,
  /**
   * A path, such as "/metrics", at which GET returns the metrics of all servers of the process, with
   * the labels "server" (the id) and "port": in OpenMetrics 1.0 when the request accepts
   * application/openmetrics-text, else in Prometheus's text format. It takes precedence over a
   * page. Empty = none.
   *
   * Text. Default "".
   */
  PORTAL_OPTION_METRICS_PATH = 33,
  /**
   * Whether the server serves the process's paths and pages, after its own of
   * portal_options_define_path and portal_options_define_page: 1 yes, 0 no, as for the port of
   * an administrator.
   *
   * Number. Default 1. Range 0 to 1.
   */
  PORTAL_OPTION_SHARED_PATHS = 34,
  /**
   * The permission bits of a Unix socket's file, for example 432, which is 0660 in octal; the
   * file never has more than these. 0 = those that the umask leaves. Without effect for other
   * kinds of HOST.
   *
   * Number. Default 0. Range 0 to 511.
   */
  PORTAL_OPTION_UNIX_MODE = 35,
  /**
   * Whether every connection begins with a PROXY header of version 1 or 2 (HAProxy, "The PROXY
   * protocol"), before TLS: 1 yes, 0 no. portal_request_peer, the log and
   * MAX_CONNECTIONS_PER_IP then use the address in it, unless the header says that there is no
   * client or that it is not known (LOCAL, UNKNOWN). A connection without one, or from an address
   * that is not one of TRUSTED_PROXIES if those are set, ends. Only for a port that just proxies
   * can reach.
   *
   * Number. Default 0. Range 0 to 1.
   */
  PORTAL_OPTION_PROXY_PROTOCOL = 36,
  /**
   * Proxies in front of the server, comma-separated: addresses, networks (`10.0.0.0/8`), and
   * `unix` for what connects to a Unix socket. When a request comes from one of them, the client
   * is the last address in `X-Forwarded-For` that is not one of them; with `forwarded` in the
   * list, in `Forwarded` instead (RFC 7239). All lines of the header are one list, and an element
   * that is no address ends the search. portal_request_peer, the log and MAX_CONNECTIONS_PER_IP
   * use that address, which has a port only if the header has one; a proxy itself may have any
   * number of connections. With PROXY_PROTOCOL, the address in the PROXY header must be trusted.
   *
   * Text. Default "".
   */
  PORTAL_OPTION_TRUSTED_PROXIES = 37,
  /**
   * Time for which a connection that was answered with a page waits for the next request, as a load
   * balancer's idle connections do; 0 = it is closed after the response. When descriptors or memory
   * run short, such connections are ended first.
   *
   * Number, ms. Default 75,000. Range 0 to 2,147,483,647.
   */
  PORTAL_OPTION_PAGE_KEEP_ALIVE = 38,
  /**
   * The code with which a closing server closes its websockets: 1001 (going away), 1012 (service
   * restart), 1013 (try again later) or 3000 to 4999.
   *
   * Number. Default 1001. Range 1001 to 4999.
   */
  PORTAL_OPTION_CLOSE_CODE = 39,
  /**
   * Maximum memory that the server holds for its connections: send queues, incomplete messages and
   * requests, unread input, contexts of compression, and pulled records until they are returned,
   * which count for half of it at most. When more is held, the connections that hold most end,
   * largest first, until 7/8 of it are left: `error` is called with PORTAL_STATUS_MEMORY, the send
   * queue is dropped, and after the frame that is being sent only a close frame with 1013 follows. 0
   * = half of what the process may have (of the machine's memory, of its control group's or of its
   * resource limits), which all servers with 0 share.
   *
   * Number, bytes. Default 0. Range 0 to 9,007,199,254,740,991.
   */
  PORTAL_OPTION_MAX_MEMORY = 40,
  /**
   * A PEM file with revocation lists (RFC 5280 section 5) for TLS_CLIENT_CA, which must be set. A
   * client whose certificate is on one of them is refused. So is one for whose certificate there
   * is no list of its issuer, or for an intermediate certificate that it presents, and one for
   * which that list is out of date: this is how nginx treats its lists, too.
   *
   * Text. Default "".
   */
  PORTAL_OPTION_TLS_CLIENT_CRL = 41
} portal_option;

/**
 * Creates options, all at their defaults.
 *
 * @return The options, to be destroyed by portal_options_destroy; NULL when an allocation failed.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API portal_options *portal_options_create(void);

/**
 * Sets a numeric option.
 *
 * @param options  Borrowed until the call returns.
 * @param option   A number of enum portal_option.
 * @param value    A value in the range given at the option.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_ARGUMENT     NULL, an unknown option, an option that takes text, or out of
 *                                    range.
 * @return PORTAL_STATUS_UNSUPPORTED  The feature is not in this build.
 *
 * @threads  Any thread, one at a time for the same options, and inside any callback.
 * @since    0.1
 */
PORTAL_API
portal_status portal_options_set_number(portal_options *options,
                                        uint32_t option,
                                        int64_t value);

/**
 * Sets a text option.
 *
 * @param options  Borrowed until the call returns.
 * @param option   A number of enum portal_option.
 * @param value    UTF-8, NUL-terminated. Copied.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_ARGUMENT     NULL, an unknown option, an option that takes a number, or
 *                                    malformed.
 * @return PORTAL_STATUS_UNSUPPORTED  The feature is not in this build.
 * @return PORTAL_STATUS_MEMORY       An allocation failed.
 *
 * @threads  Any thread, one at a time for the same options, and inside any callback.
 * @since    0.1
 */
PORTAL_API
portal_status portal_options_set_text(portal_options *options,
                                      uint32_t option,
                                      const char *value);

/**
 * Adds a certificate for clients that ask for one of its names (SNI, RFC 6066 section 3): its DNS
 * names in subjectAltName, in which "*." stands for one label.
 *
 * The certificate of TLS_CERTIFICATE, which must be set, is for all other names. Of several
 * certificates for one name, the first is presented that the client can verify: one of them may
 * have an EC key, and one an RSA key. The files are read at the start and by
 * portal_server_reload_tls; what is wrong with them is reported there.
 *
 * @param options      Borrowed until the call returns.
 * @param certificate  The name of a PEM file with the certificate and its chain, NUL-terminated.
 *                     Copied.
 * @param key          The name of a PEM file with the certificate's private key, NUL-terminated.
 *                     Copied.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_ARGUMENT     NULL or empty.
 * @return PORTAL_STATUS_UNSUPPORTED  This build has no TLS.
 * @return PORTAL_STATUS_MEMORY       An allocation failed.
 *
 * @threads  Any thread, one at a time for the same options, and inside any callback.
 * @since    0.2
 */
PORTAL_API
portal_status portal_options_add_certificate(portal_options *options,
                                             const char *certificate,
                                             const char *key);

/**
 * Destroys the options. Servers that were started with them are not affected.
 *
 * @param options  Must not be used again. May be NULL.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API void portal_options_destroy(portal_options *options);

/*
 * ================================================================================================
 * Websockets
 * ================================================================================================
 *
 * Sending queues a message and returns. What the callbacks of one turn of the loop send is written
 * with one system call per websocket at the end of the turn. Messages are sent in the order in
 * which the calls took effect, and those of one thread in the order of its calls. Pings and pongs
 * are sent ahead of messages.
 *
 * When a websocket's send queue has reached half of MAX_QUEUED, Portal stops reading from its
 * socket. So a handler that sends one reply for each message never gets PORTAL_STATUS_FULL. After
 * PORTAL_STATUS_FULL, continue in `drain`; never wait for `drain` inside a callback of the same
 * websocket.
 */

/**
 * Queues one message (RFC 6455 section 5.6) and returns at once.
 *
 * The bytes are copied, or written to the socket. A handler that continues to run for long after a
 * send should call portal_flush.
 *
 * @param websocket  Any id.
 * @param type       PORTAL_MESSAGE_TEXT or PORTAL_MESSAGE_BINARY; with PORTAL_MESSAGE_UNCOMPRESSED
 *                   added, the message is not compressed.
 * @param data       `len` bytes, UTF-8 for text; need not end in NUL. Borrowed until the call
 *                   returns. May be NULL when `len` is 0.
 * @param len        Bytes in `data`.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_GONE      The websocket has closed or is closing.
 * @return PORTAL_STATUS_FULL      The peer reads too slowly; continue in `drain`.
 * @return PORTAL_STATUS_UTF8      The text is not UTF-8.
 * @return PORTAL_STATUS_TOO_BIG   `len` is over PTRDIFF_MAX.
 * @return PORTAL_STATUS_ARGUMENT  `data` is NULL and `len` is not 0, or an unknown type.
 * @return PORTAL_STATUS_BUSY      Inside this websocket's `upgrade`.
 * @return PORTAL_STATUS_MEMORY    An allocation failed.
 *         On failure, nothing was queued.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API
portal_status portal_send(portal_websocket websocket,
                          uint32_t type,
                          const void *data,
                          size_t len);

/**
 * Queues a ping (RFC 6455 section 5.5.2). `pong` is called when the reply arrives.
 *
 * The ping is sent at the next frame boundary, ahead of queued messages (RFC 6455 section 5.5.3),
 * so its reply does not prove that earlier messages have arrived. The pings of PING_INTERVAL are
 * sent by Portal itself; `pong` is not called for their replies.
 *
 * @param websocket  Any id.
 * @param data       `len` bytes, which the reply repeats. Borrowed until the call returns. May be
 *                   NULL when `len` is 0.
 * @param len        Bytes in `data`; at most 125.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_GONE      The websocket has closed or is closing.
 * @return PORTAL_STATUS_FULL      64 pings are pending already.
 * @return PORTAL_STATUS_TOO_BIG   `len` is over 125.
 * @return PORTAL_STATUS_ARGUMENT  `data` is NULL and `len` is not 0.
 * @return PORTAL_STATUS_BUSY      Inside this websocket's `upgrade`.
 * @return PORTAL_STATUS_MEMORY    An allocation failed.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API portal_status portal_ping(portal_websocket websocket, const void *data, size_t len);

/**
 * Begins the closing handshake (RFC 6455 section 7) and returns at once.
 *
 * What was queued before is sent first. After the call, no `message`, `pong` or `drain` begins;
 * received data is discarded. `disconnect` follows, never inside the call. When the peer neither
 * accepts bytes nor replies within CLOSE_TIMEOUT, the connection is dropped.
 *
 * @param websocket  Any id.
 * @param code       1000, 1001, 1003, 1007 to 1014 or 3000 to 4999; 0 means 1000.
 * @param reason     UTF-8, NUL-terminated, at most 123 bytes. Borrowed until the call returns. May
 *                   be NULL.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_GONE      The websocket has closed or is closing.
 * @return PORTAL_STATUS_ARGUMENT  The code may not be sent.
 * @return PORTAL_STATUS_TOO_BIG   The reason is over 123 bytes.
 * @return PORTAL_STATUS_UTF8      The reason is not UTF-8.
 * @return PORTAL_STATUS_BUSY      Inside this websocket's `upgrade`.
 * @return PORTAL_STATUS_MEMORY    An allocation failed.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API
portal_status portal_close(portal_websocket websocket,
                           uint32_t code,
                           const char *reason);

/**
 * Writes queued data to the socket now, not at the end of the turn.
 *
 * Never blocks. Inside a callback of the same websocket it writes what the socket accepts;
 * elsewhere it wakes the loop. OK does not mean that the data was sent.
 *
 * @param websocket  Any id.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_GONE  The websocket has closed.
 * @return PORTAL_STATUS_BUSY  Inside this websocket's `upgrade`.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API portal_status portal_flush(portal_websocket websocket);

/**
 * Drops the connection at once, without a closing handshake. Queued data is lost.
 *
 * After the call, no `message`, `pong` or `drain` begins. `disconnect` follows with 1006, never
 * inside the call. Inside `upgrade`, it refuses the client.
 *
 * @param websocket  Any id.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_GONE  The websocket has closed.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API portal_status portal_abort(portal_websocket websocket);

/**
 * Returns the state of a websocket.
 *
 * @param websocket  Any id.
 *
 * @return A number of enum portal_state; PORTAL_STATE_CLOSED for an id that is not valid.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API uint32_t portal_state_of(portal_websocket websocket);

/**
 * Returns the size of a websocket's send queue: the bytes not yet written to the socket.
 *
 * @param websocket  Any id.
 *
 * @return The number of framed bytes; 0 when the websocket is gone.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API size_t portal_queued(portal_websocket websocket);

/**
 * Associates a pointer with a websocket.
 *
 * Portal never dereferences or frees it. Free what it points to in `disconnect`.
 *
 * @param websocket  Any id.
 * @param data       Any pointer, or NULL.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_GONE  The websocket has closed.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API portal_status portal_set_data(portal_websocket websocket, void *data);

/**
 * Returns the pointer set by portal_set_data.
 *
 * @param websocket  Any id.
 *
 * @return The pointer; NULL when none was set or the websocket is gone.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API void *portal_data(portal_websocket websocket);

/*
 * ================================================================================================
 * Connections to servers
 * ================================================================================================
 *
 * A connection is a websocket like those of a server's clients: the same handlers, ids and functions.
 * It is served on a loop of a server, with that server's dispatch, or on the library's own.
 *
 * `upgrade` sees each request before it is sent, and may set headers of it; `connect` sees the server's
 * answer. An attempt that fails before `connect` calls `error`, with the event UPGRADE and the status
 * ADDRESS (not found, refused, unreachable, timed out; a proxy's refusal), TLS, PROTOCOL (no valid
 * answer, RFC 6455 section 4.1) or REJECTED (another status than 101), and no `disconnect`.
 *
 * With RECONNECT the id lives on: after a failed attempt, or a loss that was not by portal_close,
 * portal_abort, the end of the server whose loop it uses or the peer's 1000, another attempt follows,
 * after a random part of a delay that doubles each time, from RECONNECT up to RECONNECT_MAX. It is
 * RECONNECT again after a minute of being open. In `error` and `disconnect` the state is CONNECTING if
 * another attempt follows, else CLOSED. What was queued when a connection was lost is never sent.
 */

/**
 * Begins to connect to a server, and returns.
 *
 * These options mean for the connection what they mean for a server's clients: SUBPROTOCOLS (all are
 * offered, in order), DEFLATE, MAX_MESSAGE_SIZE, MAX_FRAGMENTS, MAX_HEADER_SIZE, MAX_QUEUED,
 * HANDSHAKE_TIMEOUT (of each attempt, from resolving the name to the answer), IDLE_TIMEOUT,
 * PING_INTERVAL and CLOSE_TIMEOUT; TLS_CERTIFICATE with TLS_KEY is what the server is shown of us. RECONNECT,
 * RECONNECT_MAX, TLS_CA, TLS_VERIFY, TLS_SERVER_NAME and PROXY are of connections alone. Options of a
 * server are without effect.
 *
 * @param server         A server, whose loops and dispatch the connection uses; with HOST "none" it has
 *                       no listener. 0 means a loop of the library's own, with IO dispatch, which runs
 *                       while there are such connections.
 * @param url            "ws://host[:port]/path?query", "wss://..." or
 *                       "ws+unix:/path/of.sock[:/path?query]", whose first path is percent-encoded;
 *                       printable ASCII without a fragment. "user:password@" becomes Basic
 *                       authorization. Borrowed until the call returns.
 * @param options        Borrowed until the call returns. NULL means all defaults.
 * @param handlers       As for portal_define_path. Borrowed until the call returns.
 * @param user_data      Passed to every handler, never dereferenced. May be NULL. Must stay valid until
 *                       `release`, which is called once, as the last callback.
 * @param websocket_out  Receives the id, before the first callback can run; 0 on failure.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_ARGUMENT     NULL, a malformed URL, an invalid `size`, or a malformed proxy in
 *                                    the environment.
 * @return PORTAL_STATUS_GONE         The server has closed, or is closing.
 * @return PORTAL_STATUS_TLS          A file for TLS is missing or unreadable, key and certificate do not
 *                                    match, or there is no authority to trust.
 * @return PORTAL_STATUS_IO           The system could not provide a descriptor or a thread.
 * @return PORTAL_STATUS_UNSUPPORTED  A handler that this library does not know is set, wss:// in a build
 *                                    without TLS, or the process is a child forked after a start.
 * @return PORTAL_STATUS_MEMORY       An allocation failed.
 *         On failure, `release` is not called.
 *
 * @threads  Any thread, and inside any callback. It may read files.
 * @since    0.2
 */
PORTAL_API
portal_status portal_connect(portal_server server,
                             const char *url,
                             const portal_options *options,
                             const portal_handlers *handlers,
                             void *user_data,
                             portal_websocket *websocket_out);

/*
 * ================================================================================================
 * Requests
 * ================================================================================================
 *
 * A request is valid inside `upgrade` and `connect`, or as long as the pulled record that holds
 * it. The strings that these functions return belong to the request and are valid as long as it.
 */

/**
 * The maximum number of headers in a request; a request with more is refused with 431.
 */
#define PORTAL_MAX_HEADERS 100

/**
 * What portal_request_tls returns.
 */
typedef enum portal_tls {
  /**
   * "TLSv1.2" or "TLSv1.3".
   */
  PORTAL_TLS_VERSION = 1,
  /**
   * The cipher suite by its registered name, for example "TLS_AES_128_GCM_SHA256".
   */
  PORTAL_TLS_CIPHER = 2,
  /**
   * The name of the server that the client asked for (SNI, RFC 6066 section 3), in lower case.
   */
  PORTAL_TLS_SERVER_NAME = 3,
  /**
   * The certificate that the client presented, in PEM. It was verified: see TLS_CLIENT_CA.
   */
  PORTAL_TLS_CLIENT_CERTIFICATE = 4,
  /**
   * The subject of that certificate (RFC 4514), for example "CN=alice,O=Example,C=DE".
   */
  PORTAL_TLS_CLIENT_SUBJECT = 5
} portal_tls;

/**
 * Returns the path and query as the client sent them.
 *
 * @param request  May be NULL.
 *
 * @return The target; "" for NULL.
 *
 * @threads  Inside `upgrade` and `connect`, or the thread that pulled.
 * @since    0.1
 */
PORTAL_API const char *portal_request_target(const portal_request *request);

/**
 * Returns the path, percent-decoded, without the query.
 *
 * @param request  May be NULL.
 *
 * @return The path, which is UTF-8; "" for NULL.
 *
 * @threads  Inside `upgrade` and `connect`, or the thread that pulled.
 * @since    0.1
 */
PORTAL_API const char *portal_request_path(const portal_request *request);

/**
 * Returns the query, which follows the "?", as the client sent it.
 *
 * @param request  May be NULL.
 *
 * @return The query; "" when there is none, and for NULL.
 *
 * @threads  Inside `upgrade` and `connect`, or the thread that pulled.
 * @since    0.1
 */
PORTAL_API const char *portal_request_query(const portal_request *request);

/**
 * Returns a header by its name. Repeated headers are joined with ", ", cookies with "; ".
 *
 * @param request  May be NULL.
 * @param name     The name, in upper or lower case, NUL-terminated. Borrowed until the call
 *                 returns. May be NULL.
 *
 * @return The value, which need not be UTF-8; NULL when absent.
 *
 * @threads  Inside `upgrade` and `connect`, or the thread that pulled.
 * @since    0.1
 */
PORTAL_API const char *portal_request_header(const portal_request *request, const char *name);

/**
 * Returns the number of headers. Repeated headers count separately.
 *
 * @param request  May be NULL.
 *
 * @return The number; 0 for NULL.
 *
 * @threads  Inside `upgrade` and `connect`, or the thread that pulled.
 * @since    0.1
 */
PORTAL_API size_t portal_request_header_count(const portal_request *request);

/**
 * Returns the name of a header as the client sent it.
 *
 * @param request  May be NULL.
 * @param index    From 0, in the order received.
 *
 * @return The name; NULL when `index` is out of range.
 *
 * @threads  Inside `upgrade` and `connect`, or the thread that pulled.
 * @since    0.1
 */
PORTAL_API const char *portal_request_header_name(const portal_request *request, size_t index);

/**
 * Returns the value of a header as the client sent it.
 *
 * @param request  May be NULL.
 * @param index    From 0, in the order received.
 *
 * @return The value, which need not be UTF-8; NULL when `index` is out of range.
 *
 * @threads  Inside `upgrade` and `connect`, or the thread that pulled.
 * @since    0.1
 */
PORTAL_API const char *portal_request_header_value(const portal_request *request, size_t index);

/**
 * Returns a parameter of the path, percent-decoded.
 *
 * @param request  May be NULL.
 * @param name     The name in the path's definition, without braces and star, NUL-terminated.
 *                 Borrowed until the call returns. May be NULL.
 *
 * @return The value, which is UTF-8; NULL when absent.
 *
 * @threads  Inside `upgrade` and `connect`, or the thread that pulled.
 * @since    0.1
 */
PORTAL_API const char *portal_request_param(const portal_request *request, const char *name);

/**
 * Returns a parameter of the query, decoded: percent-encoding, and "+" for a space.
 *
 * @param request  May be NULL.
 * @param name     The name, decoded, NUL-terminated. Borrowed until the call returns. May be NULL.
 *
 * @return The value of the first parameter of that name, which is UTF-8; NULL when absent, and when
 *         the decoded value is not UTF-8 or contains U+0000.
 *
 * @threads  Inside `upgrade` and `connect`, or the thread that pulled.
 * @since    0.2
 */
PORTAL_API const char *portal_request_query_param(const portal_request *request, const char *name);

/**
 * Returns a cookie (RFC 6265 section 4.2.1). Double quotes around the value are removed; nothing else is
 * decoded.
 *
 * @param request  May be NULL.
 * @param name     The name, NUL-terminated. Borrowed until the call returns. May be NULL.
 *
 * @return The value of the first cookie of that name, which is UTF-8; NULL when absent, and when the
 *         value is not UTF-8.
 *
 * @threads  Inside `upgrade` and `connect`, or the thread that pulled.
 * @since    0.2
 */
PORTAL_API
const char *portal_request_cookie(const portal_request *request,
                                  const char *name);

/**
 * Returns the address of the peer: "192.0.2.1:5000", "[2001:db8::1]:5000", "[fe80::1%2]:5000" with the number
 * of its interface, or "unix".
 *
 * Behind a proxy, with PORTAL_OPTION_PROXY_PROTOCOL or PORTAL_OPTION_TRUSTED_PROXIES, it is the client's, as
 * the proxy has named it; without a port if that is not known: "192.0.2.1", "2001:db8::1".
 *
 * @param request  May be NULL.
 *
 * @return The address; "" for NULL.
 *
 * @threads  Inside `upgrade` and `connect`, or the thread that pulled.
 * @since    0.1
 */
PORTAL_API
const char *portal_request_peer(const portal_request *request);

/**
 * Returns what is known of the connection's encryption.
 *
 * @param request  May be NULL.
 * @param what     A number of enum portal_tls.
 *
 * @return The text, which is UTF-8; "" when there is none: without TLS, or without a certificate of
 *         the client. "" for NULL, for an unknown number, and when an allocation failed.
 *
 * @threads  Inside `upgrade` and `connect`, or the thread that pulled.
 * @since    0.2
 */
PORTAL_API const char *portal_request_tls(const portal_request *request, uint32_t what);

/**
 * Returns the selected subprotocol.
 *
 * @param request  May be NULL.
 *
 * @return Its name; "" when there is none, and for NULL.
 *
 * @threads  Inside `upgrade` and `connect`, or the thread that pulled.
 * @since    0.1
 */
PORTAL_API const char *portal_request_subprotocol(const portal_request *request);

/**
 * Sets a header of the response, which is the 101 or the rejection.
 *
 * It replaces a header of the same name that was set before; "Set-Cookie" is added instead.
 *
 * @param request  The request passed to `upgrade`.
 * @param name     A token, NUL-terminated. Copied. Not Connection, Upgrade, Sec-WebSocket-*,
 *                 Content-Length or Transfer-Encoding.
 * @param value    NUL-terminated, without CR and LF. Copied.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_ARGUMENT  NULL, or a name or value that may not be set.
 * @return PORTAL_STATUS_BUSY      Outside `upgrade`.
 * @return PORTAL_STATUS_MEMORY    An allocation failed.
 *
 * @threads  Inside `upgrade`.
 * @since    0.1
 */
PORTAL_API
portal_status portal_request_set_header(portal_request *request,
                                        const char *name,
                                        const char *value);

/**
 * Selects the subprotocol, in place of the one selected by SUBPROTOCOLS (RFC 6455 section 4.2.2).
 *
 * @param request  The request passed to `upgrade`.
 * @param name     A subprotocol that the client offered, NUL-terminated. Copied.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_ARGUMENT  NULL, or a subprotocol that was not offered.
 * @return PORTAL_STATUS_BUSY      Outside `upgrade`.
 *
 * @threads  Inside `upgrade`.
 * @since    0.1
 */
PORTAL_API
portal_status portal_request_select_subprotocol(portal_request *request,
                                                const char *name);

/*
 * ================================================================================================
 * Answering a handshake
 * ================================================================================================
 *
 * Inside `upgrade` these set what the response to the handshake contains beside what `upgrade`
 * returns.
 */

/**
 * Sets a header of the response, which is the 101 or the rejection.
 *
 * It replaces a header of the same name that was set before; "Set-Cookie" is added instead.
 *
 * @param websocket  The websocket whose handshake waits for `upgrade`.
 * @param name       A token, NUL-terminated. Copied. Not Connection, Upgrade, Sec-WebSocket-*,
 *                   Content-Length or Transfer-Encoding.
 * @param value      UTF-8, NUL-terminated, without CR and LF. Copied.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_GONE      The websocket has closed, or there is none with this id.
 * @return PORTAL_STATUS_BUSY      Outside `upgrade`.
 * @return PORTAL_STATUS_ARGUMENT  NULL, or a name or value that may not be set.
 * @return PORTAL_STATUS_MEMORY    An allocation failed.
 *
 * @threads  Inside `upgrade`.
 * @since    0.2
 */
PORTAL_API
portal_status portal_set_answer_header(portal_websocket websocket,
                                       const char *name,
                                       const char *value);

/**
 * Sets the body of a rejection, in place of a sentence about its status.
 *
 * It replaces a body that was set before, and is dropped if the websocket is accepted. A response
 * with status 304 has no body.
 *
 * @param websocket     The websocket whose handshake waits for `upgrade`.
 * @param content_type  The value of the "Content-Type" header, NUL-terminated. Copied.
 * @param body          `len` bytes. Copied. May be NULL when `len` is 0.
 * @param len           Bytes in `body`.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_GONE      The websocket has closed, or there is none with this id.
 * @return PORTAL_STATUS_BUSY      Outside `upgrade`.
 * @return PORTAL_STATUS_ARGUMENT  NULL, or an invalid content type.
 * @return PORTAL_STATUS_TOO_BIG   `len` is over PTRDIFF_MAX.
 * @return PORTAL_STATUS_MEMORY    An allocation failed.
 *
 * @threads  Inside `upgrade`.
 * @since    0.2
 */
PORTAL_API
portal_status portal_set_answer_body(portal_websocket websocket,
                                     const char *content_type,
                                     const void *body,
                                     size_t len);

/**
 * Restricts permessage-deflate for one websocket (RFC 7692).
 *
 * @param websocket  The websocket whose handshake waits for `upgrade`.
 * @param mode       0 off, 1 on without context takeover, 2 on with context takeover where the
 *                   client agrees; at most DEFLATE.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_GONE      The websocket has closed, or there is none with this id.
 * @return PORTAL_STATUS_BUSY      Outside `upgrade`.
 * @return PORTAL_STATUS_ARGUMENT  Another mode, or one above DEFLATE.
 *
 * @threads  Inside `upgrade`.
 * @since    0.2
 */
PORTAL_API portal_status portal_set_deflate(portal_websocket websocket, uint32_t mode);

/*
 * ================================================================================================
 * Plain HTTP, log, version
 * ================================================================================================
 */

/**
 * Defines the response to GET and HEAD requests for a path, or replaces it: for a health check or
 * a demo page.
 *
 * Pages are process-wide, as paths are. A page and a path may have the same string: a request with
 * "Upgrade: websocket" goes to the path, a plain GET or HEAD to the page. A plain GET for a path
 * without a page is answered with 426.
 *
 * The response has an ETag; a request whose If-None-Match has that tag is answered with 304 (RFC
 * 9110 section 13.1.2). The connection stays open for further requests as long as PAGE_KEEP_ALIVE
 * says. With HTTP/1.0 it is closed at once.
 *
 * @param path          As for portal_define_path. Borrowed until the call returns.
 * @param content_type  The value of the "Content-Type" header, NUL-terminated. Copied.
 * @param body          `len` bytes. Copied. May be NULL when `len` is 0.
 * @param len           Bytes in `body`.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_ARGUMENT     NULL, an invalid path or one that conflicts, or an invalid
 *                                    content type.
 * @return PORTAL_STATUS_TOO_BIG      `len` is over PTRDIFF_MAX.
 * @return PORTAL_STATUS_MEMORY       An allocation failed.
 * @return PORTAL_STATUS_UNSUPPORTED  The process is a child forked after a start.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API
portal_status portal_define_page(const char *path,
                                 const char *content_type,
                                 const void *body,
                                 size_t len);

/**
 * Defines the response to GET and HEAD requests for a path, or replaces it, for the servers that are
 * started with these options from then on, and for no other.
 *
 * @param options       Borrowed until the call returns.
 * @param path          As for portal_define_path. Borrowed until the call returns.
 * @param content_type  The value of the "Content-Type" header, NUL-terminated. Copied.
 * @param body          `len` bytes. Copied. May be NULL when `len` is 0.
 * @param len           Bytes in `body`.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_ARGUMENT     NULL, an invalid path or one that conflicts, or an invalid
 *                                    content type.
 * @return PORTAL_STATUS_TOO_BIG      `len` is over PTRDIFF_MAX.
 * @return PORTAL_STATUS_MEMORY       An allocation failed.
 * @return PORTAL_STATUS_UNSUPPORTED  The process is a child forked after a start.
 *
 * @threads  Any thread, one at a time for the same options, and inside any callback.
 * @since    0.2
 */
PORTAL_API
portal_status portal_options_define_page(portal_options *options,
                                         const char *path,
                                         const char *content_type,
                                         const void *body,
                                         size_t len);

/**
 * Removes a page.
 *
 * @param path  The string that was defined. Borrowed until the call returns.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_ARGUMENT     NULL, or no such page is defined.
 * @return PORTAL_STATUS_UNSUPPORTED  The process is a child forked after a start.
 * @return PORTAL_STATUS_MEMORY       An allocation failed.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API portal_status portal_undefine_page(const char *path);

/*
 * Portal prints nothing. Log messages go to a callback.
 */

/**
 * Receives one log message. `level` is 1 error, 2 warning, 3 information, 4 debug or 5 trace.
 * `message` is UTF-8, without a line break, and valid until the callback returns.
 *
 * A message about a connection begins with `websocket ID peer ADDRESS: `. The id is 0 when the
 * connection was refused before it got one. The address is `unix` for a Unix socket, and `unknown`
 * when the system does not know it any more.
 *
 * Runs on any thread; calls may overlap. It must return normally and should be quick, because a
 * loop waits for it. What is logged inside the callback is discarded.
 */
typedef void (*portal_log_callback)(uint32_t level, const char *message, void *user_data);

/**
 * Sets the log callback, which replaces the previous one.
 *
 * When the call returns, the previous callback is not running and will not run again, except when
 * the call was made inside that callback.
 *
 * @param level      1 to 5, or 0 when `callback` is NULL. Messages of a higher level are discarded.
 * @param callback   NULL = no log, which is the default.
 * @param user_data  Passed to the callback, never dereferenced. May be NULL. Must stay valid until
 *                   the callback is replaced.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_ARGUMENT     The level is out of range.
 * @return PORTAL_STATUS_UNSUPPORTED  The process is a child forked after a start.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API
portal_status portal_set_log(uint32_t level,
                             portal_log_callback callback,
                             void *user_data);

/**
 * Sets whether the process stops in the debugger when a handler fails. Off by default.
 *
 * When it is on and a debugger traces the process, SIGTRAP is raised on the thread of a handler
 * that fails, before `error` is called. Without a debugger nothing is raised.
 *
 * @param on  1 or 0.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_ARGUMENT  `on` is neither 1 nor 0.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API portal_status portal_set_debug_on_error(int32_t on);

/*
 * PORTAL_VERSION and the macros beside it are the version against which a program was compiled;
 * the functions return the version of the loaded library.
 */

/**
 * Returns the version of the library, such as "0.2.0".
 *
 * @return The version. Never NULL; valid until the process ends.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API const char *portal_version(void);

/**
 * Returns the version of the library as one number: major * 10^6 + minor * 10^3 + patch.
 *
 * @return The number; compare it with PORTAL_VERSION_NUMBER.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API uint32_t portal_version_number(void);

#ifdef __cplusplus
}
#endif

#endif /* PORTAL_H */
