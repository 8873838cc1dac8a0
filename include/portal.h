/* SPDX-License-Identifier: MIT OR Apache-2.0 */

/*
 * Portal: WebSockets for every language that can call C.
 *
 * A program defines paths, each with its handlers, and starts a server. Portal tells the handlers
 * what a client did; the program sends, from inside a handler or from anywhere else.
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
 * Ids.      Servers and websockets are 64-bit numbers below 2^53; 0 is never one. An id never
 *           comes back. A dead, foreign or invented one answers PORTAL_STATUS_GONE and is never
 *           undefined behaviour.
 * Pointers. Two things are pointers: portal_options, used by one thread at a time until destroyed,
 *           and portal_request, used by the callback's thread until the callback returns (pulled:
 *           as long as the records). What is passed in is copied, or written out, before the call
 *           returns. What a callback is given is valid until it returns.
 * Data.     `data` and `len` stand side by side. Coming in, `data` may be NULL when `len` is 0. Going
 *           out, it is never NULL, and a NUL follows it that `len` does not count.
 * Threads.  Every function may be called from any thread and inside any callback. Four of them
 *           answer PORTAL_STATUS_BUSY inside a callback: portal_server_run, _poll, _pull and _wait.
 *           Callbacks of one websocket never overlap and come in order: `upgrade`, `connect`,
 *           `message`, `pong` and `drain`, `disconnect`. Callbacks of different websockets overlap
 *           when THREADS is over 1 or DISPATCH is PER_CLIENT, although they share `user_data`.
 * Errors.   NULL where a pointer is needed, an unknown number, a bad length: the call answers
 *           PORTAL_STATUS_ARGUMENT. PORTAL_STATUS_INTERNAL: a bug in Portal was caught, in any
 *           function. Whatever the failure, nothing was changed.
 * Leaving.  A callback returns normally. An exception, a longjmp or a throw out of it is undefined.
 *           No lock is held and nothing of ours is borrowed while it runs.
 * Memory.   What may be large is asked for in a way that takes a no: PORTAL_STATUS_MEMORY. A client
 *           for whose message there is no memory is closed with 1011, and the others are served.
 *           What is small and made by a library that knows no refusal comes from a reserve of 4 MiB,
 *           as long as the system gives none; while over a quarter of that is in use, nothing new is
 *           begun: PORTAL_STATUS_MEMORY, and nobody is accepted. What is left is the C library's own
 *           and a thread's start, which ask for a few bytes: if just these are refused, or the reserve
 *           is used up, the process aborts with a line on standard error.
 * Guest.    Portal installs no signal handler, never exits, raises no SIGPIPE and prints nothing.
 * Forks.    In a child forked after a start all ids are dead, there is no log, and start, set_log,
 *           define_* and undefine_* answer PORTAL_STATUS_UNSUPPORTED: no call waits for a thread of the
 *           parent's. The parent is not disturbed, whether the child ends or lives on. A child forked
 *           inside a callback does not return from it: it goes on to another program, or ends.
 *
 * Numbers are never reused. Structs grow at their end, and `size` says how far.
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

/* Stands before each function of the library. Define PORTAL_STATIC to link the static one. */
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
 * Settings for a server; made by portal_options_create.
 */
typedef struct portal_options portal_options;

/**
 * The HTTP request of an opening handshake; given to `upgrade` and `connect`.
 */
typedef struct portal_request portal_request;

/**
 * The id of a server; 0 is none.
 */
typedef uint64_t portal_server;

/**
 * The id of a connected client; 0 is none.
 */
typedef uint64_t portal_websocket;

/*
 * A status is 0 or negative. Later versions may have more of them: take every negative one for a
 * failure.
 */

/**
 * The numbers of portal_status.
 */
typedef enum portal_status_value {
  /**
   * Done.
   */
  PORTAL_STATUS_OK = 0,
  /**
   * NULL, out of range, an unknown option, a bad path or one that conflicts.
   */
  PORTAL_STATUS_ARGUMENT = -1,
  /**
   * The server or websocket has closed, or is closing.
   */
  PORTAL_STATUS_GONE = -2,
  /**
   * The client's send queue is at its limit; nothing was queued.
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
   * Cannot listen: address in use, not permitted, malformed.
   */
  PORTAL_STATUS_ADDRESS = -6,
  /**
   * Certificate or key missing, unreadable, or not a pair.
   */
  PORTAL_STATUS_TLS = -7,
  /**
   * The operating system refused; the log has the detail.
   */
  PORTAL_STATUS_IO = -8,
  /**
   * Would deadlock or recurse if done from here.
   */
  PORTAL_STATUS_BUSY = -9,
  /**
   * This build leaves the feature out.
   */
  PORTAL_STATUS_UNSUPPORTED = -10,
  /**
   * A bug in Portal was caught at the border; the log has the detail.
   */
  PORTAL_STATUS_INTERNAL = -11,
  /**
   * In `error`: a handler failed.
   */
  PORTAL_STATUS_HANDLER = -12,
  /**
   * In `error`: the client broke the protocol.
   */
  PORTAL_STATUS_PROTOCOL = -13,
  /**
   * An allocation was refused; nothing changed.
   */
  PORTAL_STATUS_MEMORY = -14
} portal_status_value;

/**
 * How a call ended: a number of enum portal_status_value. Negative is failure, unknown ones too.
 */
typedef int32_t portal_status;

/**
 * Names a status as this header spells it, such as "PORTAL_STATUS_GONE".
 *
 * @param status  Any number.
 *
 * @return The name; "PORTAL_STATUS_UNKNOWN" for a number that is none. Never NULL; valid for ever.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API const char *portal_status_name(int32_t status);

/**
 * Says what a status means, in one sentence for people.
 *
 * @param status  Any number.
 *
 * @return The sentence. Never NULL; valid for ever.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API const char *portal_status_text(int32_t status);

/*
 * Enumerations come in and go out as fixed-width integers, so that an unknown number is a status
 * and no undefined behaviour.
 */

/**
 * What a message is; passed as uint32_t.
 */
typedef enum portal_message {
  /**
   * UTF-8.
   */
  PORTAL_MESSAGE_TEXT = 1,
  /**
   * Any bytes.
   */
  PORTAL_MESSAGE_BINARY = 2
} portal_message;

/**
 * What happened; passed as uint32_t. Skip unknown ones: later versions may have more.
 */
typedef enum portal_event {
  /**
   * A client asks to become a websocket.
   */
  PORTAL_EVENT_UPGRADE = 1,
  /**
   * A client has become a websocket.
   */
  PORTAL_EVENT_CONNECT = 2,
  /**
   * A message has come.
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
   * The answer to portal_ping, or an unsolicited pong.
   */
  PORTAL_EVENT_PONG = 6,
  /**
   * Something went wrong; see portal_error.
   */
  PORTAL_EVENT_ERROR = 7
} portal_event;

/**
 * Where a websocket stands; what portal_state_of answers.
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
   * Ended, or never was.
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
   * Each websocket's on a thread of its own, so that a handler may block without holding up
   * others.
   */
  PORTAL_DISPATCH_PER_CLIENT = 1,
  /**
   * On threads of the host, inside portal_server_run, _poll or _pull. The library starts none.
   */
  PORTAL_DISPATCH_HOST = 2
} portal_dispatch;

/*
 * ================================================================================================
 * Paths and handlers
 * ================================================================================================
 *
 * Paths are process-wide: every server serves them. They may be defined, redefined and undefined
 * at any time, also while clients are connected. A connected client's next event goes to the
 * newest definition; clients of an undefined path keep its last one until they leave.
 *
 * A path is exact ("/echo"), may hold parameters ("/room/{name}") and may end in a catch-all
 * ("/files/{*rest}"). Exact beats parameter beats catch-all. "{{" is a literal brace. Case and
 * trailing slashes count, nothing is normalised, and the query string is no part of it: a path
 * with "?" or "#" is PORTAL_STATUS_ARGUMENT. ":id" and "*" are literal, which the log says at level
 * 2. A request is split at "/" first and decoded then, so "%2F" stays inside a parameter. Malformed
 * escapes, "%00" and what decodes to other than UTF-8 answer 400; an unknown path answers 404.
 *
 * A handler that returns other than 0 has failed, except with PORTAL_STATUS_GONE, so that `return
 * portal_send(...)` is a good handler; in `upgrade` that has failed, too, and nobody is let in by
 * mistake. `error` is told, with PORTAL_STATUS_HANDLER, the event and what was returned; the
 * websocket stays open unless somebody closes it. `error` is also told, before the `disconnect`
 * that follows, of a broken protocol, a limit passed and a failure of the connection other than
 * the client's leaving. End of stream, reset and timeouts are no errors, only `disconnect`. A
 * failing `disconnect` is told afterwards, as the last callback. What fails before a path is known
 * goes to the log and the metrics.
 */

/**
 * What went wrong, for `error`. Valid, with its message, until the callback returns (pulled: as
 * long as the records).
 */
typedef struct portal_error {
  /**
   * How many bytes the library filled. Check it before you read a field newer than 0.1.
   */
  size_t size;
  /**
   * PORTAL_STATUS_HANDLER, _PROTOCOL, _IO, _TOO_BIG, _UTF8, _MEMORY, or a newer one.
   */
  portal_status status;
  /**
   * The enum portal_event in which it happened.
   */
  uint32_t event;
  /**
   * What the handler returned; else 0.
   */
  int32_t code;
  /**
   * What the client is closed with (RFC 6455 section 7.4); 0 when it stays open.
   */
  uint32_t close_code;
  /**
   * For people. Never NULL.
   */
  const char *message;
} portal_error;

/**
 * What a path does with its websockets. Any function may be NULL: nothing is done then.
 *
 * Fill it with zeros and set `size` first. It is copied; you may drop it after portal_define_path.
 *
 * The functions run on the threads that DISPATCH chooses. Those of one websocket never overlap;
 * those of different websockets may. Each may call every function of this header, but must return
 * normally, and other clients of its thread wait for it. Pointers it is given are valid until it
 * returns.
 */
typedef struct portal_handlers {
  /**
   * sizeof(portal_handlers), as you compile it.
   */
  size_t size;
  /**
   * A client has become a websocket, which is OPEN. Return 0.
   */
  int32_t (*connect)(portal_websocket websocket, const portal_request *request, void *user_data);
  /**
   * A whole message has come: PORTAL_MESSAGE_TEXT, checked UTF-8, or PORTAL_MESSAGE_BINARY.
   * Return 0.
   */
  int32_t (*message)(portal_websocket websocket,
                     uint32_t type,
                     const void *data,
                     size_t len,
                     void *user_data);
  /**
   * The websocket has ended. Comes exactly once for every one whose `connect` ran, and never
   * inside portal_close or portal_abort. The state is CLOSED, sends answer GONE, portal_data
   * still works: free your data here. Return 0.
   *
   * `code` is that of the client's close frame (1005 when it had none), else what Portal sent
   * when it failed the connection (1002, 1007 to 1011), else 1006. `reason` is never NULL.
   */
  int32_t (*disconnect)(portal_websocket websocket,
                        uint32_t code,
                        const char *reason,
                        void *user_data);
  /**
   * Something went wrong with this websocket. When it is to be closed for it, its state is
   * CLOSING and `disconnect` follows. Without this function a handler that fails is named in the
   * log, at level 2.
   */
  void (*error)(portal_websocket websocket, const portal_error *error, void *user_data);
  /**
   * A client asks to become a websocket, which is CONNECTING: portal_set_data, portal_data,
   * portal_state_of and portal_abort work; send, ping, close and flush answer BUSY. Return 0 to
   * accept; then `connect` always runs, even if the client has gone meanwhile. Return 400 to 599
   * to reject with that HTTP status. 1 is reserved. Anything else has failed, also
   * PORTAL_STATUS_GONE, and rejects with 500.
   */
  int32_t (*upgrade)(portal_websocket websocket, portal_request *request, void *user_data);
  /**
   * After one or more PORTAL_STATUS_FULL: the send queue has fallen to half of MAX_QUEUED. It
   * may begin before FULL has returned on another thread.
   */
  void (*drain)(portal_websocket websocket, void *user_data);
  /**
   * The client has answered a portal_ping, or sent a pong unasked.
   */
  void (*pong)(portal_websocket websocket, const void *data, size_t len, void *user_data);
  /**
   * Nothing uses `user_data` any more. Comes once per successful definition, on any thread,
   * after that was replaced or undefined.
   */
  void (*release)(void *user_data);
} portal_handlers;

/**
 * Defines what happens on a path, or defines it anew.
 *
 * To redefine is to pass the identical string; a path that differs from another in nothing but its
 * parameters' names conflicts with it. After a redefinition the old `release` is called as soon as
 * no callback of the old definition runs; that may be inside this call.
 *
 * @param path       Starts with "/". Borrowed until the call returns.
 * @param handlers   Its `size` is at least version 0.1's, at most 4,096 and a multiple of a
 *                   pointer's; bytes that this library does not know must be 0. Borrowed until the
 *                   call returns.
 * @param user_data  Given to every handler, never followed. May be NULL. It must live until
 *                   `release`.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_ARGUMENT     NULL, a bad `size`, a bad path, or one that conflicts.
 * @return PORTAL_STATUS_UNSUPPORTED  A handler that is newer than this library is set, or in a child
 *                                    forked after a start.
 * @return PORTAL_STATUS_MEMORY       An allocation was refused.
 *         On failure `release` is not called, and an older definition stays.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API
portal_status portal_define_path(const char *path,
                                 const portal_handlers *handlers,
                                 void *user_data);

/**
 * Removes a path. Requests for it answer 404 from now on; its clients stay.
 *
 * `release` is called when the last of them has left; that may be inside this call.
 *
 * @param path  Identical to the one defined. Borrowed until the call returns.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_ARGUMENT     NULL, or no such path is defined.
 * @return PORTAL_STATUS_UNSUPPORTED  In a child forked after a start.
 * @return PORTAL_STATUS_MEMORY       An allocation was refused.
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
 * DISPATCH decides on which thread callbacks run:
 *
 *   IO          On the server's own loop threads, THREADS of them: 1 by default, so that callbacks
 *               never overlap. A websocket stays on its thread.
 *   PER_CLIENT  Each websocket's on a thread of its own, so that a handler may block without
 *               holding up others. When a client's inbound queue is full, it is not read.
 *   HOST        The library starts no thread; the host drives the server with portal_server_run,
 *               _poll or _pull. One call serves whichever loops have work and no other thread: one
 *               thread can serve all, up to THREADS may be inside at once. A thread that ends, or is
 *               thrown out of a wait, gives its loops back; no lock is held in a wait.
 *
 * A thread that is cancelled (pthread_cancel) ends while portal_server_run, _poll or _pull waits, or at its
 * next cancellation point after the call. Inside all other functions, and inside callbacks wherever they
 * run, it is not cancelled. The library's own threads are not to be cancelled.
 *
 * Time during which Portal itself does not read a client (a busy handler, a host that is
 * elsewhere) is never held against the client.
 */

/**
 * What portal_server_metric returns. Totals count from the server's start and end with it.
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
   * Handshakes not answered with 101.
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
   * Bytes read from sockets, inside TLS.
   */
  PORTAL_METRIC_BYTES_IN = 6,
  /**
   * Bytes written to sockets, inside TLS.
   */
  PORTAL_METRIC_BYTES_OUT = 7,
  /**
   * Bytes in send queues now.
   */
  PORTAL_METRIC_QUEUED_BYTES = 8,
  /**
   * Clients that broke the protocol.
   */
  PORTAL_METRIC_PROTOCOL_ERRORS = 9,
  /**
   * Handlers that failed.
   */
  PORTAL_METRIC_HANDLER_ERRORS = 10
} portal_metric;

/**
 * Starts a server: listens, and with IO or PER_CLIENT dispatch serves from now on.
 *
 * @param port        0 to 65,535; 0 chooses a free one, which portal_server_port tells.
 * @param options     Borrowed until the call returns, and yours after. May be NULL: all defaults.
 * @param server_out  Gets the id, before the first callback can run; 0 on failure.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_ARGUMENT     NULL, or a port out of range.
 * @return PORTAL_STATUS_ADDRESS      Cannot listen there: in use, not permitted, malformed.
 * @return PORTAL_STATUS_TLS          Certificate or key missing, unreadable, or not a pair.
 * @return PORTAL_STATUS_IO           The system refused a descriptor or a thread.
 * @return PORTAL_STATUS_UNSUPPORTED  In a child forked after a start.
 * @return PORTAL_STATUS_MEMORY       An allocation was refused.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API
portal_status portal_server_start(uint32_t port,
                                  const portal_options *options,
                                  portal_server *server_out);

/**
 * Reads the port that a server listens on: the real one when 0 was asked.
 *
 * @param server  Any id.
 *
 * @return The port; 0 when the server is gone or listens on a Unix socket.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API uint32_t portal_server_port(portal_server server);

/**
 * Closes a server and waits until it has closed.
 *
 * It stops accepting, sends close 1001 to every client, waits as CLOSE_TIMEOUT says for
 * their answers and for queued data, and ends the rest. When the call returns, no callback of that
 * server runs any more and the port is free. It waits for running handlers however long, so hold
 * no lock that a handler takes. Inside a callback of any server it only begins. With HOST dispatch
 * it serves on the calling thread what no other thread serves. A second close at the same time
 * waits too and answers OK.
 *
 * @param server  Any id.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_GONE  It has ended already, or never was.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API portal_status portal_server_close(portal_server server);

/**
 * Begins to close a server as portal_server_close does, and returns.
 *
 * The way for hosts that pull: begin, and pull on until PORTAL_STATUS_GONE, so that no record is
 * lost.
 *
 * @param server  Any id.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_GONE  It has ended already, or never was.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API portal_status portal_server_begin_close(portal_server server);

/**
 * Waits until a server has closed; does not begin it.
 *
 * @param server  Any id.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_GONE  It has ended already, or never was.
 * @return PORTAL_STATUS_BUSY  Inside a callback.
 *
 * @threads  Any thread, not inside a callback.
 * @since    0.1
 */
PORTAL_API portal_status portal_server_wait(portal_server server);

/**
 * HOST dispatch: serves on this thread until the server has closed.
 *
 * One call serves whichever loops have work and no other thread. Up to THREADS threads may be
 * inside portal_server_run, _poll and _pull at once.
 *
 * @param server  Any id.
 *
 * @return PORTAL_STATUS_OK        The server has closed.
 * @return PORTAL_STATUS_ARGUMENT  Another dispatch than HOST.
 * @return PORTAL_STATUS_GONE      It had ended already, or never was.
 * @return PORTAL_STATUS_BUSY      Inside a callback, or one thread more than THREADS.
 * @return PORTAL_STATUS_IO        The system refused.
 *
 * @threads  Any thread, not inside a callback.
 * @since    0.1
 */
PORTAL_API portal_status portal_server_run(portal_server server);

/**
 * HOST dispatch: one turn. Waits for work, does what there is, calls the handlers, returns.
 *
 * A signal makes it return what it has. Time between two calls is not held against the clients.
 *
 * @param server      Any id.
 * @param timeout_ms  How long to wait for work; negative = no limit, 0 = not at all.
 *
 * @return The number of callbacks run, or a negative status:
 * @return PORTAL_STATUS_ARGUMENT  Another dispatch than HOST.
 * @return PORTAL_STATUS_GONE      The server has ended, or never was.
 * @return PORTAL_STATUS_BUSY      Inside a callback, or one thread more than THREADS.
 * @return PORTAL_STATUS_IO        The system refused.
 *
 * @threads  Any thread, not inside a callback.
 * @since    0.1
 */
PORTAL_API int32_t portal_server_poll(portal_server server, int32_t timeout_ms);

/**
 * HOST dispatch: the descriptor that is readable while portal_server_poll or _pull has work.
 *
 * It is level-triggered and covers all loops and their timers. It also becomes readable on a send,
 * ping or close from outside a turn. The library owns it: wait on it, and do nothing else with it.
 * It is closed when the server has ended, so whoever waits on it ends the server by
 * portal_server_begin_close, and polls until PORTAL_STATUS_GONE.
 *
 * @param server  Any id.
 *
 * @return The descriptor, or a negative status:
 * @return PORTAL_STATUS_ARGUMENT  Another dispatch than HOST.
 * @return PORTAL_STATUS_GONE      The server has ended, or never was.
 * @return PORTAL_STATUS_IO        The system refused a descriptor.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API int32_t portal_server_fd(portal_server server);

/**
 * HOST dispatch: makes one waiting run, poll or pull look up; when none waits, the next one.
 *
 * Poll and pull then return although nothing has happened.
 *
 * @param server  Any id.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_ARGUMENT  Another dispatch than HOST.
 * @return PORTAL_STATUS_GONE      The server has ended, or never was.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API portal_status portal_server_wake(portal_server server);

/**
 * Reads certificate and key again, from the same files. New clients get the new pair.
 *
 * @param server  Any id.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_TLS          Missing, unreadable, or not a pair; the old pair stays.
 * @return PORTAL_STATUS_GONE         The server has ended, or never was.
 * @return PORTAL_STATUS_UNSUPPORTED  This build has no TLS.
 * @return PORTAL_STATUS_MEMORY       An allocation was refused.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API portal_status portal_server_reload_tls(portal_server server);

/**
 * Returns one metric of a server.
 *
 * @param server  Any id.
 * @param which   A number of enum portal_metric.
 *
 * @return The metric; 0 when the server is gone or the number unknown.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.2
 */
PORTAL_API uint64_t portal_server_metric(portal_server server, uint32_t which);

/*
 * Pulling is for hosts in which callbacks from C are slow, dangerous or impossible: records are
 * filled instead, and nothing but `upgrade` and `release` is called. A handler that fails is then
 * the host's own business.
 */

/**
 * One event of a websocket, as portal_server_pull fills it.
 */
typedef struct portal_pulled {
  /**
   * Enum portal_event; not UPGRADE. Skip unknown ones.
   */
  uint32_t event;
  /**
   * MESSAGE: enum portal_message. DISCONNECT: the close code. Else 0.
   */
  uint32_t type;
  /**
   * To whom it happened. After DISCONNECT the id lives as long as the records.
   */
  portal_websocket websocket;
  /**
   * The path's, as now defined.
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
 * HOST dispatch: one turn without callbacks. Waits for work and fills records with what happened.
 *
 * What the records point to is valid until the same thread's next pull, poll or run of that
 * server, or its end, also across the server's close. Loops whose records were handed out stay
 * with the thread until its next call there. What is sent between two pulls leaves at the next
 * pull, or at portal_flush. A signal makes it return what it has.
 *
 * @param server       Any id.
 * @param timeout_ms   How long to wait for work; negative = no limit, 0 = not at all.
 * @param events       Room for `max` records, aligned as portal_pulled. Written until the call
 *                     returns.
 * @param max          1 to 2^31-1.
 * @param record_size  sizeof(portal_pulled), as you compile it, or more when records of yours
 *                     begin with one; a multiple of its alignment. Bytes that this library does
 *                     not know become 0.
 *
 * @return The number of records filled, or a negative status:
 * @return PORTAL_STATUS_ARGUMENT  NULL, `max` or `record_size` out of range, another dispatch than
 *                                 HOST.
 * @return PORTAL_STATUS_GONE      The server has ended, or never was.
 * @return PORTAL_STATUS_BUSY      Inside a callback, or one thread more than THREADS.
 * @return PORTAL_STATUS_IO        The system refused.
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
 * A server is started with a copy of them, so one set may start several servers, and may be changed
 * or destroyed in between.
 */

/**
 * The settings of a server. Each set validates at once.
 */
typedef enum portal_option {
  /**
   * Where to listen: a numeric address (brackets allowed), or a name, looked up once at start:
   * then at all its addresses. "unix:/path" is a Unix socket: the port must be 0, a stale socket
   * file is replaced, and the file is removed on close. "::" is all addresses, IPv4 too
   * ("0.0.0.0" where there is no IPv6). "fd:" is reserved.
   *
   * Text. Default "::".
   */
  PORTAL_OPTION_HOST = 1,
  /**
   * Loops, each with its thread; 0 = one per processor.
   *
   * Number. Default 1. Range 0 to 1,024.
   */
  PORTAL_OPTION_THREADS = 2,
  /**
   * Where callbacks run: enum portal_dispatch.
   *
   * Number. Default 0. Range 0 to 2.
   */
  PORTAL_OPTION_DISPATCH = 3,
  /**
   * Clients that the system keeps waiting to be accepted.
   *
   * Number. Default 4,096. Range 1 to 2,147,483,647.
   */
  PORTAL_OPTION_BACKLOG = 4,
  /**
   * Connections at once; 0 = no limit. One over it is answered 503.
   *
   * Number. Default 0. Range 0 to 9,007,199,254,740,991.
   */
  PORTAL_OPTION_MAX_CONNECTIONS = 5,
  /**
   * Connections at once from one address, as which an IPv6 /64 counts; 0 = no limit. One over it
   * is answered 429.
   *
   * Number. Default 0. Range 0 to 9,007,199,254,740,991.
   */
  PORTAL_OPTION_MAX_CONNECTIONS_PER_IP = 6,
  /**
   * An incoming message, after inflation. Over it the client is closed with 1009.
   *
   * Number, bytes. Default 16,777,216. Range 1 to 8,589,934,592.
   */
  PORTAL_OPTION_MAX_MESSAGE_SIZE = 7,
  /**
   * Frames in one incoming message. Over it the client is closed with 1008.
   *
   * Number. Default 131,072. Range 1 to 2,147,483,647.
   */
  PORTAL_OPTION_MAX_FRAGMENTS = 8,
  /**
   * Request line and headers. Over it the client is answered 431, and so it is for more than 100
   * headers, however small.
   *
   * Number, bytes. Default 16,384. Range 128 to 16,777,216.
   */
  PORTAL_OPTION_MAX_HEADER_SIZE = 9,
  /**
   * A client's send queue: framed, compressed, and with what keeping it costs. Sends answer
   * PORTAL_STATUS_FULL once it has reached this, so at most one message more is held.
   *
   * Number, bytes. Default 16,777,216. Range 1 to 8,589,934,592.
   */
  PORTAL_OPTION_MAX_QUEUED = 10,
  /**
   * From accept to the end of the request, TLS included.
   *
   * Number, ms. Default 10,000. Range 1 to 2,147,483,647.
   */
  PORTAL_OPTION_HANDSHAKE_TIMEOUT = 11,
  /**
   * How long a client may send no frame; then it is closed with 1001. 0 = for ever.
   *
   * Number, ms. Default 0. Range 0 to 2,147,483,647.
   */
  PORTAL_OPTION_IDLE_TIMEOUT = 12,
  /**
   * Between two pings; 0 = none. A client from which nothing came by the next one is gone (1006);
   * one that is behind with receiving is not, as long as its system acknowledges bytes.
   *
   * Number, ms. Default 30,000. Range 0 to 2,147,483,647.
   */
  PORTAL_OPTION_PING_INTERVAL = 13,
  /**
   * From portal_close, or our close frame, to ending the connection. It begins again when the
   * client's system acknowledges bytes and when the close frame leaves, 12 times at most.
   *
   * Number, ms. Default 5,000. Range 1 to 2,147,483,647.
   */
  PORTAL_OPTION_CLOSE_TIMEOUT = 14,
  /**
   * The origins that may connect (RFC 6455 section 10.2), separated by commas, none twice, each
   * exactly scheme://host[:port]; empty = any. A scheme's own port is the same as none. Another
   * Origin is answered 403; a request without one passes.
   *
   * Text. Default "".
   */
  PORTAL_OPTION_ORIGINS = 15,
  /**
   * The subprotocols that the server speaks (RFC 6455 section 1.9), separated by commas, none
   * twice, in order of preference. The first that the client offers is chosen; with none in
   * common the client is accepted with none.
   *
   * Text. Default "".
   */
  PORTAL_OPTION_SUBPROTOCOLS = 16,
  /**
   * permessage-deflate (RFC 7692): 0 off, 1 on without context takeover, 2 on with it where the
   * client agrees. With 1 an idle client costs no more memory than an uncompressed one; with 2
   * each costs up to 210 KiB from its first compressed messages on. A build without it has the
   * default 0, and takes no other.
   *
   * Number. Default 1. Range 0 to 2.
   */
  PORTAL_OPTION_DEFLATE = 17,
  /**
   * How hard to compress: 1 is fastest, 9 is smallest.
   *
   * Number. Default 1. Range 1 to 9.
   */
  PORTAL_OPTION_DEFLATE_LEVEL = 18,
  /**
   * Messages under it go out as they are, and so do those that would not become shorter.
   *
   * Number, bytes. Default 256. Range 0 to 2,147,483,647.
   */
  PORTAL_OPTION_DEFLATE_MIN_SIZE = 19,
  /**
   * A PEM file with the certificate and its chain, read at start. With TLS_KEY: wss://.
   *
   * Text. Default "".
   */
  PORTAL_OPTION_TLS_CERTIFICATE = 20,
  /**
   * A PEM file with the certificate's key.
   *
   * Text. Default "".
   */
  PORTAL_OPTION_TLS_KEY = 21,
  /**
   * A PEM file; clients must show a certificate that it signed.
   *
   * Text. Default "".
   */
  PORTAL_OPTION_TLS_CLIENT_CA = 22,
  /**
   * The value of the "Server" header; empty = no such header.
   *
   * Text. Default "".
   */
  PORTAL_OPTION_SERVER_HEADER = 23,
  /**
   * How loops talk to the system: 1 by epoll, 2 by io_uring; 0, auto, receives by epoll and sends to
   * many clients at once by io_uring, which measures best. Where the system forbids io_uring or is
   * older than Linux 6.1, and with HOST dispatch, epoll does everything, in silence.
   *
   * Number. Default 0. Range 0 to 2.
   */
  PORTAL_OPTION_BACKEND = 24
} portal_option;

/**
 * Makes a set of options, all at their defaults.
 *
 * @return The options; portal_options_destroy ends them. NULL when that failed.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API portal_options *portal_options_create(void);

/**
 * Sets a number.
 *
 * @param options  Borrowed until the call returns.
 * @param option   A number of enum portal_option.
 * @param value    In the range that stands beside the option.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_ARGUMENT     NULL, an unknown option, one that takes text, or out of
 *                                    range.
 * @return PORTAL_STATUS_UNSUPPORTED  This build leaves the feature out.
 *
 * @threads  Any thread, one at a time for the same options, and inside any callback.
 * @since    0.1
 */
PORTAL_API
portal_status portal_options_set_number(portal_options *options,
                                        uint32_t option,
                                        int64_t value);

/**
 * Sets a text.
 *
 * @param options  Borrowed until the call returns.
 * @param option   A number of enum portal_option.
 * @param value    UTF-8, ends in NUL. Copied.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_ARGUMENT     NULL, an unknown option, one that takes a number, or
 *                                    malformed.
 * @return PORTAL_STATUS_UNSUPPORTED  This build leaves the feature out.
 * @return PORTAL_STATUS_MEMORY       An allocation was refused.
 *
 * @threads  Any thread, one at a time for the same options, and inside any callback.
 * @since    0.1
 */
PORTAL_API
portal_status portal_options_set_text(portal_options *options,
                                      uint32_t option,
                                      const char *value);

/**
 * Ends a set of options. Servers started with it go on.
 *
 * @param options  Never used again. NULL is fine.
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
 * Sending queues and returns. What is sent inside the callbacks of one turn of the loop leaves in
 * one system call per websocket when the turn ends. Messages leave in the order in which the sends
 * took effect; one thread's in its own order. Pings and pongs go ahead of them.
 *
 * At half of MAX_QUEUED a client is no longer read, so a handler that answers each message once
 * never meets PORTAL_STATUS_FULL. Who meets it goes on at `drain`; never wait for that inside a
 * callback of the same websocket.
 */

/**
 * Queues one message for a websocket and returns at once.
 *
 * The bytes are copied, or written out. A handler that works on for long after a send calls
 * portal_flush.
 *
 * @param websocket  Any id.
 * @param type       PORTAL_MESSAGE_TEXT or PORTAL_MESSAGE_BINARY.
 * @param data       `len` bytes, UTF-8 when they are text; no terminator. Borrowed until the call
 *                   returns. May be NULL when `len` is 0.
 * @param len        Bytes in `data`.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_GONE      The websocket has closed or is closing.
 * @return PORTAL_STATUS_FULL      The client reads too slowly; go on at `drain`.
 * @return PORTAL_STATUS_UTF8      Text that is not UTF-8.
 * @return PORTAL_STATUS_TOO_BIG   `len` is over PTRDIFF_MAX.
 * @return PORTAL_STATUS_ARGUMENT  NULL with bytes, or an unknown type.
 * @return PORTAL_STATUS_BUSY      Inside this websocket's `upgrade`.
 * @return PORTAL_STATUS_MEMORY    An allocation was refused.
 *         On failure nothing was queued.
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
 * Queues a ping (RFC 6455 section 5.5.2). `pong` is told of the answer.
 *
 * It leaves at the next frame border, ahead of queued messages (RFC 6455 section 5.5.3), so its
 * answer does not prove that earlier messages have arrived. PING_INTERVAL sends pings by itself;
 * their answers are not told.
 *
 * @param websocket  Any id.
 * @param data       `len` bytes, which come back in the answer. Borrowed until the call returns.
 *                   May be NULL when `len` is 0.
 * @param len        At most 125.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_GONE      The websocket has closed or is closing.
 * @return PORTAL_STATUS_FULL      64 pings wait to be sent.
 * @return PORTAL_STATUS_TOO_BIG   `len` is over 125.
 * @return PORTAL_STATUS_ARGUMENT  NULL with bytes.
 * @return PORTAL_STATUS_BUSY      Inside this websocket's `upgrade`.
 * @return PORTAL_STATUS_MEMORY    An allocation was refused.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API portal_status portal_ping(portal_websocket websocket, const void *data, size_t len);

/**
 * Begins the closing handshake (RFC 6455 section 7) and returns.
 *
 * What was queued before leaves first. After the call no new message, pong or drain begins; what
 * arrives is dropped. `disconnect` follows, never inside the call. A client that neither takes bytes
 * nor answers within CLOSE_TIMEOUT is ended.
 *
 * @param websocket  Any id.
 * @param code       1000, 1001, 1003, 1007 to 1014, 3000 to 4999; 0 is 1000.
 * @param reason     UTF-8, ends in NUL, at most 123 bytes. Borrowed until the call returns. May be
 *                   NULL.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_GONE      The websocket has closed or is closing.
 * @return PORTAL_STATUS_ARGUMENT  A code that may not be sent.
 * @return PORTAL_STATUS_TOO_BIG   The reason is over 123 bytes.
 * @return PORTAL_STATUS_UTF8      The reason is not UTF-8.
 * @return PORTAL_STATUS_BUSY      Inside this websocket's `upgrade`.
 * @return PORTAL_STATUS_MEMORY    An allocation was refused.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API
portal_status portal_close(portal_websocket websocket,
                           uint32_t code,
                           const char *reason);

/**
 * Hands what is queued to the system now, not at the end of the turn.
 *
 * Never blocks. Inside the websocket's own callback it writes what the socket accepts, elsewhere
 * it wakes the loop. OK does not mean sent.
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
 * Ends the connection now, without a closing handshake; what is queued is lost.
 *
 * After the call no new message, pong or drain begins. `disconnect` follows with 1006, never
 * inside the call. Inside `upgrade` it refuses the client.
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
 * Reads where a websocket stands.
 *
 * @param websocket  Any id.
 *
 * @return A number of enum portal_state; PORTAL_STATE_CLOSED for any dead id.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API uint32_t portal_state_of(portal_websocket websocket);

/**
 * Reads how many bytes of a websocket are not yet handed to the system.
 *
 * @param websocket  Any id.
 *
 * @return Bytes, framed; 0 when it is gone.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API size_t portal_queued(portal_websocket websocket);

/**
 * Keeps a pointer of yours with a websocket.
 *
 * Portal never follows or frees it: free what it points to in `disconnect`.
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
 * Reads the pointer that portal_set_data kept.
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
 * Requests
 * ================================================================================================
 *
 * A request may be used inside `upgrade` and `connect`, or as long as the pulled record that has
 * it. Every string it gives belongs to it and lives as long.
 */

/**
 * The most headers that a request may have; one with more is answered 431.
 */
#define PORTAL_MAX_HEADERS 100

/**
 * Reads path and query as the client sent them.
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
 * Reads the path, percent-decoded, without the query.
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
 * Reads what stands after the "?", as the client sent it.
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
 * Reads a header by its name. Repeated ones are joined by ", ", cookies by "; ".
 *
 * @param request  May be NULL.
 * @param name     In any case, ends in NUL. Borrowed until the call returns. May be NULL.
 *
 * @return The value, which need not be UTF-8; NULL when absent.
 *
 * @threads  Inside `upgrade` and `connect`, or the thread that pulled.
 * @since    0.1
 */
PORTAL_API const char *portal_request_header(const portal_request *request, const char *name);

/**
 * Counts the headers, repeated ones each.
 *
 * @param request  May be NULL.
 *
 * @return How many; 0 for NULL.
 *
 * @threads  Inside `upgrade` and `connect`, or the thread that pulled.
 * @since    0.1
 */
PORTAL_API size_t portal_request_header_count(const portal_request *request);

/**
 * Reads a header's name as the client sent it.
 *
 * @param request  May be NULL.
 * @param index    From 0, in the order in which they came.
 *
 * @return The name; NULL out of range.
 *
 * @threads  Inside `upgrade` and `connect`, or the thread that pulled.
 * @since    0.1
 */
PORTAL_API const char *portal_request_header_name(const portal_request *request, size_t index);

/**
 * Reads a header's value as the client sent it.
 *
 * @param request  May be NULL.
 * @param index    From 0, in the order in which they came.
 *
 * @return The value, which need not be UTF-8; NULL out of range.
 *
 * @threads  Inside `upgrade` and `connect`, or the thread that pulled.
 * @since    0.1
 */
PORTAL_API const char *portal_request_header_value(const portal_request *request, size_t index);

/**
 * Reads a parameter of the path, percent-decoded.
 *
 * @param request  May be NULL.
 * @param name     As in the path's definition, without braces and star. Ends in NUL. Borrowed
 *                 until the call returns. May be NULL.
 *
 * @return The value, which is UTF-8; NULL when absent.
 *
 * @threads  Inside `upgrade` and `connect`, or the thread that pulled.
 * @since    0.1
 */
PORTAL_API const char *portal_request_param(const portal_request *request, const char *name);

/**
 * Reads who the client is: "192.0.2.1:5000", "[2001:db8::1]:5000" or "unix".
 *
 * @param request  May be NULL.
 *
 * @return The address; "" for NULL.
 *
 * @threads  Inside `upgrade` and `connect`, or the thread that pulled.
 * @since    0.1
 */
PORTAL_API const char *portal_request_peer(const portal_request *request);

/**
 * Reads the subprotocol in force.
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
 * Sets a header of the answer, be it the 101 or the rejection.
 *
 * It replaces one set before; "Set-Cookie" is added.
 *
 * @param request  The one given to `upgrade`.
 * @param name     A token, ends in NUL. Copied. Not Connection, Upgrade, Sec-WebSocket-*,
 *                 Content-Length or Transfer-Encoding.
 * @param value    Ends in NUL, holds neither CR nor LF. Copied.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_ARGUMENT  NULL, or a name or value that may not be set.
 * @return PORTAL_STATUS_BUSY      Outside `upgrade`.
 * @return PORTAL_STATUS_MEMORY    An allocation was refused.
 *
 * @threads  Inside `upgrade`.
 * @since    0.1
 */
PORTAL_API
portal_status portal_request_set_header(portal_request *request,
                                        const char *name,
                                        const char *value);

/**
 * Chooses the subprotocol, in place of what SUBPROTOCOLS chose (RFC 6455 section 4.2.2).
 *
 * @param request  The one given to `upgrade`.
 * @param name     One that the client offered, ends in NUL. Copied.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_ARGUMENT  NULL, or not offered.
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
 * Plain HTTP, log, version
 * ================================================================================================
 */

/**
 * Defines what GET and HEAD of a path answer, or defines it anew: for a health check, a demo page.
 *
 * Pages are process-wide, as paths are. A page and a path may share a string: "Upgrade: websocket"
 * takes the path, GET and HEAD the page. A plain GET of a path without a page is answered 426.
 *
 * The answer has an ETag, by which a client that has the page already is answered 304 (RFC 9110
 * section 13.1.2). The connection stays open for two seconds, or HANDSHAKE_TIMEOUT if that is
 * shorter, in which the client may ask for more; in HTTP/1.0 it is closed at once.
 *
 * @param path          Written as for portal_define_path. Borrowed until the call returns.
 * @param content_type  The value of the "Content-Type" header, ends in NUL. Copied.
 * @param body          `len` bytes. Copied. May be NULL when `len` is 0.
 * @param len           Bytes in `body`.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_ARGUMENT     NULL, a bad path or one that conflicts, a bad content type.
 * @return PORTAL_STATUS_TOO_BIG      `len` is over PTRDIFF_MAX.
 * @return PORTAL_STATUS_MEMORY       An allocation was refused.
 * @return PORTAL_STATUS_UNSUPPORTED  In a child forked after a start.
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
 * Removes a page.
 *
 * @param path  Identical to the one defined. Borrowed until the call returns.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_ARGUMENT     NULL, or no such page is defined.
 * @return PORTAL_STATUS_UNSUPPORTED  In a child forked after a start.
 * @return PORTAL_STATUS_MEMORY       An allocation was refused.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API portal_status portal_undefine_page(const char *path);

/*
 * Portal prints nothing. What it has to say goes to a callback.
 */

/**
 * Takes one line of the log. `level` is 1 error, 2 warning, 3 information, 4 debugging, 5 trace;
 * more is told the higher it is. `message` is UTF-8, without an end of line, valid until the
 * callback returns.
 *
 * Runs on any thread; calls may overlap. It returns normally and should be quick: a loop waits for
 * it. What is logged inside it is dropped.
 */
typedef void (*portal_log_callback)(uint32_t level, const char *message, void *user_data);

/**
 * Sets who takes the log, in place of the one before.
 *
 * When the call returns, the old callback does not run and will not, except around this very call
 * when it is made inside it.
 *
 * @param level      1 to 5: lines above it are not told.
 * @param callback   NULL = silent, as at first.
 * @param user_data  Given to the callback, never followed. May be NULL. It must live until the
 *                   callback is replaced.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_ARGUMENT     A level out of range.
 * @return PORTAL_STATUS_UNSUPPORTED  In a child forked after a start.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API
portal_status portal_set_log(uint32_t level,
                             portal_log_callback callback,
                             void *user_data);

/**
 * Chooses whether a failing handler stops in the debugger. Off by default.
 *
 * When on, and when a debugger traces the process, a handler that fails raises SIGTRAP before
 * `error` is told.
 *
 * @param on  1 or 0.
 *
 * @return PORTAL_STATUS_OK
 * @return PORTAL_STATUS_ARGUMENT  Neither.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API portal_status portal_set_debug_on_error(int32_t on);

/*
 * PORTAL_VERSION and its kin are what a program was compiled against; the functions tell what it
 * runs with.
 */

/**
 * Reads the version of the library, such as "0.2.0".
 *
 * @return The version. Never NULL; valid for ever.
 *
 * @threads  Any thread, and inside any callback.
 * @since    0.1
 */
PORTAL_API const char *portal_version(void);

/**
 * Reads the version of the library as a number that grows: major * 10^6 + minor * 10^3 + patch.
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
