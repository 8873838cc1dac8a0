/* Does not compile when portal.h departs from the interface of version 0.1. */
#include "portal.h"
#include "portal.h"

#define NUMBER(name, value) _Static_assert((name) == (value), #name)
#define FIELD(type, field, offset) \
  _Static_assert(offsetof(type, field) == (offset), #type "." #field)
#define SAME(expression, type) \
  _Static_assert(_Generic((expression), type: 1, default: 0), #expression)

enum { WORD = sizeof(void *) };

/* Types */

SAME((portal_server)0, uint64_t);
SAME((portal_websocket)0, uint64_t);
SAME((portal_status)0, int32_t);
_Static_assert(sizeof(enum portal_status_value) == 4, "a status has four bytes");

NUMBER(PORTAL_STATUS_OK, 0);
NUMBER(PORTAL_STATUS_ARGUMENT, -1);
NUMBER(PORTAL_STATUS_GONE, -2);
NUMBER(PORTAL_STATUS_FULL, -3);
NUMBER(PORTAL_STATUS_TOO_BIG, -4);
NUMBER(PORTAL_STATUS_UTF8, -5);
NUMBER(PORTAL_STATUS_ADDRESS, -6);
NUMBER(PORTAL_STATUS_TLS, -7);
NUMBER(PORTAL_STATUS_IO, -8);
NUMBER(PORTAL_STATUS_BUSY, -9);
NUMBER(PORTAL_STATUS_UNSUPPORTED, -10);
NUMBER(PORTAL_STATUS_INTERNAL, -11);
NUMBER(PORTAL_STATUS_HANDLER, -12);
NUMBER(PORTAL_STATUS_PROTOCOL, -13);
NUMBER(PORTAL_STATUS_MEMORY, -14);
NUMBER(PORTAL_STATUS_REJECTED, -15);

NUMBER(PORTAL_MESSAGE_TEXT, 1);
NUMBER(PORTAL_MESSAGE_BINARY, 2);

NUMBER(PORTAL_EVENT_UPGRADE, 1);
NUMBER(PORTAL_EVENT_CONNECT, 2);
NUMBER(PORTAL_EVENT_MESSAGE, 3);
NUMBER(PORTAL_EVENT_DISCONNECT, 4);
NUMBER(PORTAL_EVENT_DRAIN, 5);
NUMBER(PORTAL_EVENT_PONG, 6);
NUMBER(PORTAL_EVENT_ERROR, 7);

NUMBER(PORTAL_STATE_CONNECTING, 0);
NUMBER(PORTAL_STATE_OPEN, 1);
NUMBER(PORTAL_STATE_CLOSING, 2);
NUMBER(PORTAL_STATE_CLOSED, 3);

NUMBER(PORTAL_DISPATCH_IO, 0);
NUMBER(PORTAL_DISPATCH_PER_CLIENT, 1);
NUMBER(PORTAL_DISPATCH_HOST, 2);

NUMBER(PORTAL_OPTION_HOST, 1);
NUMBER(PORTAL_OPTION_THREADS, 2);
NUMBER(PORTAL_OPTION_DISPATCH, 3);
NUMBER(PORTAL_OPTION_BACKLOG, 4);
NUMBER(PORTAL_OPTION_MAX_CONNECTIONS, 5);
NUMBER(PORTAL_OPTION_MAX_CONNECTIONS_PER_IP, 6);
NUMBER(PORTAL_OPTION_MAX_MESSAGE_SIZE, 7);
NUMBER(PORTAL_OPTION_MAX_FRAGMENTS, 8);
NUMBER(PORTAL_OPTION_MAX_HEADER_SIZE, 9);
NUMBER(PORTAL_OPTION_MAX_QUEUED, 10);
NUMBER(PORTAL_OPTION_HANDSHAKE_TIMEOUT, 11);
NUMBER(PORTAL_OPTION_IDLE_TIMEOUT, 12);
NUMBER(PORTAL_OPTION_PING_INTERVAL, 13);
NUMBER(PORTAL_OPTION_CLOSE_TIMEOUT, 14);
NUMBER(PORTAL_OPTION_ORIGINS, 15);
NUMBER(PORTAL_OPTION_SUBPROTOCOLS, 16);
NUMBER(PORTAL_OPTION_DEFLATE, 17);
NUMBER(PORTAL_OPTION_DEFLATE_LEVEL, 18);
NUMBER(PORTAL_OPTION_DEFLATE_MIN_SIZE, 19);
NUMBER(PORTAL_OPTION_TLS_CERTIFICATE, 20);
NUMBER(PORTAL_OPTION_TLS_KEY, 21);
NUMBER(PORTAL_OPTION_TLS_CLIENT_CA, 22);
NUMBER(PORTAL_OPTION_SERVER_HEADER, 23);
NUMBER(PORTAL_OPTION_RECONNECT, 25);
NUMBER(PORTAL_OPTION_RECONNECT_MAX, 26);
NUMBER(PORTAL_OPTION_TLS_CA, 27);
NUMBER(PORTAL_OPTION_TLS_VERIFY, 28);
NUMBER(PORTAL_OPTION_TLS_SERVER_NAME, 29);
NUMBER(PORTAL_OPTION_PROXY, 30);
NUMBER(PORTAL_OPTION_UNIX_MODE, 35);
NUMBER(PORTAL_OPTION_PROXY_PROTOCOL, 36);
NUMBER(PORTAL_OPTION_TRUSTED_PROXIES, 37);
NUMBER(PORTAL_OPTION_CLOSE_CODE, 39);

NUMBER(PORTAL_METRIC_CONNECTIONS, 1);
NUMBER(PORTAL_METRIC_CONNECTIONS_TOTAL, 2);
NUMBER(PORTAL_METRIC_REJECTED_TOTAL, 3);
NUMBER(PORTAL_METRIC_MESSAGES_IN, 4);
NUMBER(PORTAL_METRIC_MESSAGES_OUT, 5);
NUMBER(PORTAL_METRIC_BYTES_IN, 6);
NUMBER(PORTAL_METRIC_BYTES_OUT, 7);
NUMBER(PORTAL_METRIC_QUEUED_BYTES, 8);
NUMBER(PORTAL_METRIC_PROTOCOL_ERRORS, 9);
NUMBER(PORTAL_METRIC_HANDLER_ERRORS, 10);

NUMBER(PORTAL_MAX_HEADERS, 100);

/* Layouts */

FIELD(portal_error, size, 0);
FIELD(portal_error, status, WORD);
FIELD(portal_error, event, WORD + 4);
FIELD(portal_error, code, WORD + 8);
FIELD(portal_error, close_code, WORD + 12);
FIELD(portal_error, message, WORD + 16);
FIELD(portal_error, request, 2 * WORD + 16);
_Static_assert(sizeof(portal_error) == 3 * WORD + 16, "portal_error");

FIELD(portal_handlers, size, 0);
FIELD(portal_handlers, connect, WORD);
FIELD(portal_handlers, message, 2 * WORD);
FIELD(portal_handlers, disconnect, 3 * WORD);
FIELD(portal_handlers, error, 4 * WORD);
FIELD(portal_handlers, upgrade, 5 * WORD);
FIELD(portal_handlers, drain, 6 * WORD);
FIELD(portal_handlers, pong, 7 * WORD);
FIELD(portal_handlers, release, 8 * WORD);
_Static_assert(sizeof(portal_handlers) == 9 * WORD, "portal_handlers");

FIELD(portal_pulled, event, 0);
FIELD(portal_pulled, type, 4);
FIELD(portal_pulled, websocket, 8);
FIELD(portal_pulled, user_data, 16);
FIELD(portal_pulled, data, 16 + WORD);
FIELD(portal_pulled, len, 16 + 2 * WORD);
FIELD(portal_pulled, request, 16 + 3 * WORD);
_Static_assert(sizeof(portal_pulled) == 16 + 4 * WORD, "portal_pulled");

static void check_fields(portal_error error, portal_handlers handlers, portal_pulled pulled)
{
  SAME(error.size, size_t);
  SAME(error.status, int32_t);
  SAME(error.event, uint32_t);
  SAME(error.code, int32_t);
  SAME(error.close_code, uint32_t);
  SAME(error.message, const char *);
  SAME(error.request, const portal_request *);

  SAME(handlers.size, size_t);
  SAME(handlers.connect, int32_t (*)(uint64_t, const portal_request *, void *));
  SAME(handlers.message, int32_t (*)(uint64_t, uint32_t, const void *, size_t, void *));
  SAME(handlers.disconnect, int32_t (*)(uint64_t, uint32_t, const char *, void *));
  SAME(handlers.error, void (*)(uint64_t, const portal_error *, void *));
  SAME(handlers.upgrade, int32_t (*)(uint64_t, portal_request *, void *));
  SAME(handlers.drain, void (*)(uint64_t, void *));
  SAME(handlers.pong, void (*)(uint64_t, const void *, size_t, void *));
  SAME(handlers.release, void (*)(void *));
  SAME((portal_log_callback)0, void (*)(uint32_t, const char *, void *));

  SAME(pulled.event, uint32_t);
  SAME(pulled.type, uint32_t);
  SAME(pulled.websocket, uint64_t);
  SAME(pulled.user_data, void *);
  SAME(pulled.data, const void *);
  SAME(pulled.len, size_t);
  SAME(pulled.request, const portal_request *);
}

/* Functions: a second declaration must agree with the first. */

portal_status portal_define_path(const char *, const portal_handlers *, void *);
portal_status portal_undefine_path(const char *);
portal_status portal_server_start(uint32_t, const portal_options *, portal_server *);
uint32_t portal_server_port(portal_server);
portal_status portal_server_stop_accepting(portal_server);
portal_status portal_server_close(portal_server);
portal_status portal_server_begin_close(portal_server);
portal_status portal_server_wait(portal_server);
portal_status portal_server_run(portal_server);
int32_t portal_server_poll(portal_server, int32_t);
int32_t portal_server_pull(portal_server, int32_t, portal_pulled *, size_t, size_t);
int32_t portal_server_fd(portal_server);
portal_status portal_server_wake(portal_server);
portal_status portal_server_reload_tls(portal_server);
uint64_t portal_server_metric(portal_server, uint32_t);
portal_status portal_connect(portal_server server, const char *url, const portal_options *options,
                             const portal_handlers *handlers, void *user_data, portal_websocket *websocket_out);
portal_options *portal_options_create(void);
portal_status portal_options_set_number(portal_options *, uint32_t, int64_t);
portal_status portal_options_set_text(portal_options *, uint32_t, const char *);
void portal_options_destroy(portal_options *);
portal_status portal_send(portal_websocket, uint32_t, const void *, size_t);
portal_status portal_ping(portal_websocket, const void *, size_t);
portal_status portal_close(portal_websocket, uint32_t, const char *);
portal_status portal_flush(portal_websocket);
portal_status portal_abort(portal_websocket);
uint32_t portal_state_of(portal_websocket);
size_t portal_queued(portal_websocket);
portal_status portal_set_data(portal_websocket, void *);
void *portal_data(portal_websocket);
const char *portal_request_target(const portal_request *);
const char *portal_request_path(const portal_request *);
const char *portal_request_query(const portal_request *);
const char *portal_request_header(const portal_request *, const char *);
size_t portal_request_header_count(const portal_request *);
const char *portal_request_header_name(const portal_request *, size_t);
const char *portal_request_header_value(const portal_request *, size_t);
const char *portal_request_param(const portal_request *, const char *);
const char *portal_request_peer(const portal_request *);
const char *portal_request_subprotocol(const portal_request *);
portal_status portal_request_set_header(portal_request *, const char *, const char *);
portal_status portal_request_select_subprotocol(portal_request *, const char *);
portal_status portal_define_page(const char *, const char *, const void *, size_t);
portal_status portal_undefine_page(const char *);
portal_status portal_set_log(uint32_t, portal_log_callback, void *);
portal_status portal_set_debug_on_error(int32_t);
const char *portal_status_name(int32_t);
const char *portal_status_text(int32_t);
const char *portal_version(void);
uint32_t portal_version_number(void);

int main(void)
{
  struct portal_error error = {0};
  struct portal_handlers handlers = {0};
  struct portal_pulled pulled = {0};
  check_fields(error, handlers, pulled);
  SAME(PORTAL_VERSION, char *);
  return PORTAL_VERSION_NUMBER
    - (PORTAL_VERSION_MAJOR * 1000000 + PORTAL_VERSION_MINOR * 1000 + PORTAL_VERSION_PATCH);
}
