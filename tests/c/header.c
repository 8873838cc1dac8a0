/* The names, numbers, layouts and signatures that programs are compiled against stay what they are.
   Valid C90 and valid C++11; linked with a second file that includes the header as well. */
#include <portal.h>
#include <portal.h>

/* An array of no negative size: a static assertion that C90 knows as well. */
#define PROMISE(condition) extern char promise[(condition) ? 1 : -1]

PROMISE(sizeof(portal_server) == 8 && sizeof(portal_websocket) == 8 && sizeof(portal_status) == 4);

PROMISE(PORTAL_STATUS_OK == 0);
PROMISE(PORTAL_STATUS_ARGUMENT == -1);
PROMISE(PORTAL_STATUS_GONE == -2);
PROMISE(PORTAL_STATUS_FULL == -3);
PROMISE(PORTAL_STATUS_TOO_BIG == -4);
PROMISE(PORTAL_STATUS_UTF8 == -5);
PROMISE(PORTAL_STATUS_ADDRESS == -6);
PROMISE(PORTAL_STATUS_TLS == -7);
PROMISE(PORTAL_STATUS_IO == -8);
PROMISE(PORTAL_STATUS_BUSY == -9);
PROMISE(PORTAL_STATUS_UNSUPPORTED == -10);
PROMISE(PORTAL_STATUS_INTERNAL == -11);
PROMISE(PORTAL_STATUS_HANDLER == -12);
PROMISE(PORTAL_STATUS_PROTOCOL == -13);
PROMISE(PORTAL_STATUS_MEMORY == -14);

PROMISE(PORTAL_MESSAGE_TEXT == 1 && PORTAL_MESSAGE_BINARY == 2);
PROMISE(PORTAL_EVENT_UPGRADE == 1 && PORTAL_EVENT_CONNECT == 2 && PORTAL_EVENT_MESSAGE == 3);
PROMISE(PORTAL_EVENT_DISCONNECT == 4 && PORTAL_EVENT_DRAIN == 5 && PORTAL_EVENT_PONG == 6);
PROMISE(PORTAL_EVENT_ERROR == 7);
PROMISE(PORTAL_STATE_CONNECTING == 0 && PORTAL_STATE_OPEN == 1);
PROMISE(PORTAL_STATE_CLOSING == 2 && PORTAL_STATE_CLOSED == 3);
PROMISE(PORTAL_DISPATCH_IO == 0 && PORTAL_DISPATCH_PER_CLIENT == 1 && PORTAL_DISPATCH_HOST == 2);

PROMISE(PORTAL_OPTION_HOST == 1 && PORTAL_OPTION_THREADS == 2 && PORTAL_OPTION_DISPATCH == 3);
PROMISE(PORTAL_OPTION_BACKLOG == 4 && PORTAL_OPTION_MAX_CONNECTIONS == 5);
PROMISE(PORTAL_OPTION_MAX_CONNECTIONS_PER_IP == 6 && PORTAL_OPTION_MAX_MESSAGE_SIZE == 7);
PROMISE(PORTAL_OPTION_MAX_FRAGMENTS == 8 && PORTAL_OPTION_MAX_HEADER_SIZE == 9);
PROMISE(PORTAL_OPTION_MAX_QUEUED == 10 && PORTAL_OPTION_HANDSHAKE_TIMEOUT == 11);
PROMISE(PORTAL_OPTION_IDLE_TIMEOUT == 12 && PORTAL_OPTION_PING_INTERVAL == 13);
PROMISE(PORTAL_OPTION_CLOSE_TIMEOUT == 14 && PORTAL_OPTION_ORIGINS == 15);
PROMISE(PORTAL_OPTION_SUBPROTOCOLS == 16 && PORTAL_OPTION_DEFLATE == 17);
PROMISE(PORTAL_OPTION_DEFLATE_LEVEL == 18 && PORTAL_OPTION_DEFLATE_MIN_SIZE == 19);
PROMISE(PORTAL_OPTION_TLS_CERTIFICATE == 20 && PORTAL_OPTION_TLS_KEY == 21);
PROMISE(PORTAL_OPTION_TLS_CLIENT_CA == 22 && PORTAL_OPTION_SERVER_HEADER == 23);
PROMISE(PORTAL_OPTION_BACKEND == 24);

PROMISE(PORTAL_METRIC_CONNECTIONS == 1 && PORTAL_METRIC_CONNECTIONS_TOTAL == 2);
PROMISE(PORTAL_METRIC_REJECTED_TOTAL == 3 && PORTAL_METRIC_MESSAGES_IN == 4);
PROMISE(PORTAL_METRIC_MESSAGES_OUT == 5 && PORTAL_METRIC_BYTES_IN == 6 && PORTAL_METRIC_BYTES_OUT == 7);
PROMISE(PORTAL_METRIC_QUEUED_BYTES == 8 && PORTAL_METRIC_PROTOCOL_ERRORS == 9);
PROMISE(PORTAL_METRIC_HANDLER_ERRORS == 10);

PROMISE(PORTAL_VERSION_NUMBER
        == PORTAL_VERSION_MAJOR * 1000000 + PORTAL_VERSION_MINOR * 1000 + PORTAL_VERSION_PATCH);
PROMISE(sizeof(PORTAL_VERSION) > 5);
PROMISE(PORTAL_MAX_HEADERS == 100);

PROMISE(offsetof(portal_handlers, size) == 0);
PROMISE(offsetof(portal_handlers, connect) == sizeof(void *));
PROMISE(offsetof(portal_handlers, message) == 2 * sizeof(void *));
PROMISE(offsetof(portal_handlers, disconnect) == 3 * sizeof(void *));
PROMISE(offsetof(portal_handlers, error) == 4 * sizeof(void *));
PROMISE(offsetof(portal_handlers, upgrade) == 5 * sizeof(void *));
PROMISE(offsetof(portal_handlers, drain) == 6 * sizeof(void *));
PROMISE(offsetof(portal_handlers, pong) == 7 * sizeof(void *));
PROMISE(offsetof(portal_handlers, release) == 8 * sizeof(void *));
PROMISE(sizeof(portal_handlers) == 9 * sizeof(void *));

PROMISE(offsetof(portal_error, size) == 0 && offsetof(portal_error, status) == sizeof(size_t));
PROMISE(offsetof(portal_error, event) == sizeof(size_t) + 4 && offsetof(portal_error, code) == sizeof(size_t) + 8);
PROMISE(offsetof(portal_error, close_code) == sizeof(size_t) + 12);
PROMISE(offsetof(portal_error, message) == sizeof(size_t) + 16);

PROMISE(offsetof(portal_pulled, event) == 0 && offsetof(portal_pulled, type) == 4);
PROMISE(offsetof(portal_pulled, websocket) == 8 && offsetof(portal_pulled, user_data) == 16);
PROMISE(offsetof(portal_pulled, data) == 16 + sizeof(void *));
PROMISE(offsetof(portal_pulled, len) == 16 + 2 * sizeof(void *));
PROMISE(offsetof(portal_pulled, request) == 16 + 3 * sizeof(void *));

/* The initialisation compiles only if the function has exactly this type. */
#define SIGNATURE(name, result, parameters) \
    do { \
        result (*promised) parameters = name; \
        functions += promised ? 1 : 0; \
    } while (0)

extern const char *const version_elsewhere;
extern uint32_t number_elsewhere(void);

int main(void)
{
    int functions = 0;

    SIGNATURE(portal_define_path, int32_t, (const char *, const portal_handlers *, void *));
    SIGNATURE(portal_undefine_path, int32_t, (const char *));
    SIGNATURE(portal_server_start, int32_t, (uint32_t, const portal_options *, uint64_t *));
    SIGNATURE(portal_server_port, uint32_t, (uint64_t));
    SIGNATURE(portal_server_stop_accepting, int32_t, (uint64_t));
    SIGNATURE(portal_server_close, int32_t, (uint64_t));
    SIGNATURE(portal_server_begin_close, int32_t, (uint64_t));
    SIGNATURE(portal_server_wait, int32_t, (uint64_t));
    SIGNATURE(portal_server_run, int32_t, (uint64_t));
    SIGNATURE(portal_server_poll, int32_t, (uint64_t, int32_t));
    SIGNATURE(portal_server_pull, int32_t, (uint64_t, int32_t, portal_pulled *, size_t, size_t));
    SIGNATURE(portal_server_fd, int32_t, (uint64_t));
    SIGNATURE(portal_server_wake, int32_t, (uint64_t));
    SIGNATURE(portal_server_reload_tls, int32_t, (uint64_t));
    SIGNATURE(portal_server_metric, uint64_t, (uint64_t, uint32_t));
    SIGNATURE(portal_options_create, portal_options *, (void));
    SIGNATURE(portal_options_set_number, int32_t, (portal_options *, uint32_t, int64_t));
    SIGNATURE(portal_options_set_text, int32_t, (portal_options *, uint32_t, const char *));
    SIGNATURE(portal_options_destroy, void, (portal_options *));
    SIGNATURE(portal_send, int32_t, (uint64_t, uint32_t, const void *, size_t));
    SIGNATURE(portal_ping, int32_t, (uint64_t, const void *, size_t));
    SIGNATURE(portal_close, int32_t, (uint64_t, uint32_t, const char *));
    SIGNATURE(portal_flush, int32_t, (uint64_t));
    SIGNATURE(portal_abort, int32_t, (uint64_t));
    SIGNATURE(portal_state_of, uint32_t, (uint64_t));
    SIGNATURE(portal_queued, size_t, (uint64_t));
    SIGNATURE(portal_set_data, int32_t, (uint64_t, void *));
    SIGNATURE(portal_data, void *, (uint64_t));
    SIGNATURE(portal_request_target, const char *, (const portal_request *));
    SIGNATURE(portal_request_path, const char *, (const portal_request *));
    SIGNATURE(portal_request_query, const char *, (const portal_request *));
    SIGNATURE(portal_request_header, const char *, (const portal_request *, const char *));
    SIGNATURE(portal_request_header_count, size_t, (const portal_request *));
    SIGNATURE(portal_request_header_name, const char *, (const portal_request *, size_t));
    SIGNATURE(portal_request_header_value, const char *, (const portal_request *, size_t));
    SIGNATURE(portal_request_param, const char *, (const portal_request *, const char *));
    SIGNATURE(portal_request_peer, const char *, (const portal_request *));
    SIGNATURE(portal_request_subprotocol, const char *, (const portal_request *));
    SIGNATURE(portal_request_set_header, int32_t, (portal_request *, const char *, const char *));
    SIGNATURE(portal_request_select_subprotocol, int32_t, (portal_request *, const char *));
    SIGNATURE(portal_define_page, int32_t, (const char *, const char *, const void *, size_t));
    SIGNATURE(portal_undefine_page, int32_t, (const char *));
    SIGNATURE(portal_set_log, int32_t, (uint32_t, void (*)(uint32_t, const char *, void *), void *));
    SIGNATURE(portal_set_debug_on_error, int32_t, (int32_t));
    SIGNATURE(portal_status_name, const char *, (int32_t));
    SIGNATURE(portal_status_text, const char *, (int32_t));
    SIGNATURE(portal_version, const char *, (void));
    SIGNATURE(portal_version_number, uint32_t, (void));

    return functions == 48 && portal_version()[0] == version_elsewhere[0]
        && number_elsewhere() == PORTAL_VERSION_NUMBER ? 0 : 1;
}
