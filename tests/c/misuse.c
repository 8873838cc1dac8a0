/* Wrong calls answer the status that the contract names, and change nothing. */
#include "check.h"
#include "client.h"
#include "journal.h"
#include "nobody.h"
#include "serve.h"

static portal_server server;
static portal_websocket websocket;
static client *friend;

static void ids_that_are_none_answer_gone(void)
{
    const portal_server stale_server = serve(NULL);
    client *stranger = client_connect(portal_server_port(stale_server), "/record");
    const portal_websocket stale_websocket = journal_await(PORTAL_EVENT_CONNECT).websocket;
    const uint64_t invented[] = { 0, 1, 2, 0xffffffff, 1ull << 50, 1ull << 53, 1ull << 63, UINT64_MAX,
        server + 1, server + (1 << 24), server ^ 1ull << 52, websocket + 1, websocket + (1 << 24),
        websocket ^ 1ull << 52, server | 1ull << 60, websocket | 1ull << 60 };

    client_destroy(stranger);
    CHECK_OK(portal_server_close(stale_server));
    journal_await(PORTAL_EVENT_DISCONNECT);
    check_no_server(stale_server);
    check_no_websocket(stale_websocket);
    check_no_server(websocket);
    check_no_websocket(server);
    for (size_t i = 0; i < COUNT(invented); ++i)
        if (invented[i] != server && invented[i] != websocket) {
            check_no_server(invented[i]);
            check_no_websocket(invented[i]);
        }
}

static void ids_are_exact_in_a_double(void)
{
    CHECK(server != 0 && server < 1ull << 53);
    CHECK(websocket != 0 && websocket < 1ull << 53);
}

static void what_is_sent_is_checked_first(void)
{
    char many[125];

    memset(many, 'x', 124);
    many[124] = 0;
    CHECK_STATUS(portal_send(websocket, 0, "", 0), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_send(websocket, 3, "", 0), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_send(websocket, UINT32_MAX, "", 0), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_send(websocket, PORTAL_MESSAGE_TEXT, NULL, 1), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_send(websocket, PORTAL_MESSAGE_BINARY, "", (size_t)PTRDIFF_MAX + 1), PORTAL_STATUS_TOO_BIG);
    CHECK_STATUS(portal_send(websocket, PORTAL_MESSAGE_BINARY, "", SIZE_MAX), PORTAL_STATUS_TOO_BIG);
    CHECK_STATUS(portal_send(websocket, PORTAL_MESSAGE_TEXT, "\xc3", 1), PORTAL_STATUS_UTF8);
    CHECK_STATUS(portal_send(websocket, PORTAL_MESSAGE_TEXT, "\xed\xa0\x80", 3), PORTAL_STATUS_UTF8);
    CHECK_STATUS(portal_ping(websocket, NULL, 1), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_ping(websocket, many, 126), PORTAL_STATUS_TOO_BIG);
    CHECK_STATUS(portal_ping(websocket, many, SIZE_MAX), PORTAL_STATUS_TOO_BIG);
    for (uint32_t code = 1; code < 5100; ++code)
        if (!(code == 1000 || code == 1001 || code == 1003 || (code >= 1007 && code <= 1014)
                || (code >= 3000 && code <= 4999)))
            CHECK_STATUS(portal_close(websocket, code, NULL), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_close(websocket, 65536 + 1000, NULL), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_close(websocket, UINT32_MAX, NULL), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_close(websocket, 1000, many), PORTAL_STATUS_TOO_BIG);
    CHECK_STATUS(portal_close(websocket, 1000, "\xff"), PORTAL_STATUS_UTF8);
    CHECK_NUMBER(portal_state_of(websocket), PORTAL_STATE_OPEN);

    CHECK_OK(portal_send(websocket, PORTAL_MESSAGE_TEXT, NULL, 0));
    client_expect(friend, TEXT, "", 0);
    CHECK_OK(portal_ping(websocket, NULL, 0));
    client_expect(friend, PING, "", 0);
}

static void paths_and_handlers_are_checked(void)
{
    static const char *const malformed[] = { "", "echo", "echo/", "/a/{", "/a/{x", "/a/}", "/a/{}", "/a/{*}",
        "/a/{*rest}/b", "/a/{x}{y}", "/\xff" };
    struct { portal_handlers known; void *unknown[4]; } newer = { .known = recording };
    portal_handlers handlers = recording;
    const size_t sizes[] = { 0, 1, sizeof handlers - sizeof(void *), sizeof handlers + 1, sizeof handlers - 1,
        4096 + sizeof(void *), SIZE_MAX, SIZE_MAX - sizeof(void *) + 1 };

    CHECK_STATUS(portal_define_path(NULL, &recording, NULL), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_define_path("/misuse", NULL, NULL), PORTAL_STATUS_ARGUMENT);
    for (size_t i = 0; i < COUNT(malformed); ++i)
        if (portal_define_path(malformed[i], &recording, NULL) != PORTAL_STATUS_ARGUMENT)
            FAIL("\"%s\" was taken for a path", malformed[i]);
    for (size_t i = 0; i < COUNT(sizes); ++i) {
        handlers.size = sizes[i];
        CHECK_STATUS(portal_define_path("/misuse", &handlers, NULL), PORTAL_STATUS_ARGUMENT);
    }
    newer.known.size = sizeof newer;
    CHECK_OK(portal_define_path("/newer", &newer.known, NULL));
    newer.unknown[3] = &newer;
    CHECK_STATUS(portal_define_path("/newer", &newer.known, NULL), PORTAL_STATUS_UNSUPPORTED);
    CHECK_OK(portal_undefine_path("/newer"));

    CHECK_STATUS(portal_undefine_path(NULL), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_undefine_path("/misuse"), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_undefine_path("/newer"), PORTAL_STATUS_ARGUMENT);

    CHECK_OK(portal_define_path("/conflict/{one}", &recording, NULL));
    CHECK_STATUS(portal_define_path("/conflict/{two}", &recording, NULL), PORTAL_STATUS_ARGUMENT);
    CHECK_OK(portal_undefine_path("/conflict/{one}"));
    CHECK_OK(portal_define_path("/conflict/{two}", &recording, NULL));
    CHECK_OK(portal_undefine_path("/conflict/{two}"));
}

static void pages_are_checked(void)
{
    CHECK_STATUS(portal_define_page(NULL, "text/plain", "", 0), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_define_page("/page", NULL, "", 0), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_define_page("/page", "text/plain", NULL, 1), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_define_page("/page", "text/plain\r\nX: y", "", 0), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_define_page("page", "text/plain", "", 0), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_undefine_page(NULL), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_undefine_page("/page"), PORTAL_STATUS_ARGUMENT);
    CHECK_OK(portal_define_page("/page", "text/plain", NULL, 0));
    CHECK_OK(portal_undefine_page("/page"));
}

static void options_have_kinds_and_ranges(void)
{
    static const struct { uint32_t option; int64_t least, most; } numbers[] = {
        { PORTAL_OPTION_THREADS, 0, INT64_MAX }, { PORTAL_OPTION_DISPATCH, 0, 2 },
        { PORTAL_OPTION_BACKLOG, 1, INT64_MAX }, { PORTAL_OPTION_MAX_CONNECTIONS, 0, INT64_MAX },
        { PORTAL_OPTION_MAX_CONNECTIONS_PER_IP, 0, INT64_MAX }, { PORTAL_OPTION_MAX_MESSAGE_SIZE, 1, INT64_MAX },
        { PORTAL_OPTION_MAX_FRAGMENTS, 1, INT64_MAX }, { PORTAL_OPTION_MAX_QUEUED, 1, INT64_MAX },
        { PORTAL_OPTION_IDLE_TIMEOUT, 0, INT64_MAX }, { PORTAL_OPTION_PING_INTERVAL, 0, INT64_MAX },
    };
    static const uint32_t texts[] = { PORTAL_OPTION_HOST, PORTAL_OPTION_ORIGINS, PORTAL_OPTION_SUBPROTOCOLS,
        PORTAL_OPTION_TLS_CERTIFICATE, PORTAL_OPTION_TLS_KEY, PORTAL_OPTION_TLS_CLIENT_CA,
        PORTAL_OPTION_SERVER_HEADER };
    static const uint32_t unknown[] = { 0, PORTAL_OPTION_PROXY + 1, UINT32_MAX };
    portal_options *options = portal_options_create();

    CHECK(options != NULL);
    for (size_t i = 0; i < COUNT(numbers); ++i) {
        CHECK_STATUS(portal_options_set_number(options, numbers[i].option, numbers[i].least - 1),
            PORTAL_STATUS_ARGUMENT);
        CHECK_STATUS(portal_options_set_number(options, numbers[i].option, INT64_MIN), PORTAL_STATUS_ARGUMENT);
        if (numbers[i].most < INT64_MAX)
            CHECK_STATUS(portal_options_set_number(options, numbers[i].option, numbers[i].most + 1),
                PORTAL_STATUS_ARGUMENT);
        CHECK_STATUS(portal_options_set_text(options, numbers[i].option, "1"), PORTAL_STATUS_ARGUMENT);
        CHECK_OK(portal_options_set_number(options, numbers[i].option, numbers[i].least));
    }
    for (size_t i = 0; i < COUNT(texts); ++i) {
        CHECK_STATUS(portal_options_set_number(options, texts[i], 1), PORTAL_STATUS_ARGUMENT);
        CHECK_STATUS(portal_options_set_text(options, texts[i], NULL), PORTAL_STATUS_ARGUMENT);
    }
    for (size_t i = 0; i < COUNT(unknown); ++i) {
        CHECK_STATUS(portal_options_set_number(options, unknown[i], 1), PORTAL_STATUS_ARGUMENT);
        CHECK_STATUS(portal_options_set_text(options, unknown[i], "x"), PORTAL_STATUS_ARGUMENT);
    }
    CHECK_STATUS(portal_options_set_text(options, PORTAL_OPTION_SERVER_HEADER, "a\r\nb"), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_options_set_number(NULL, PORTAL_OPTION_THREADS, 1), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_options_set_text(NULL, PORTAL_OPTION_HOST, "::1"), PORTAL_STATUS_ARGUMENT);
    portal_options_destroy(options);
    portal_options_destroy(NULL);
}

static void a_start_that_fails_leaves_no_server(void)
{
    portal_options *unix_socket = options_with((struct setting[]){
        { PORTAL_OPTION_HOST, .text = "unix:/nowhere/socket" }, { 0 } });
    portal_server started = 4711;

    CHECK_STATUS(portal_server_start(0, NULL, NULL), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_server_start(65536, NULL, &started), PORTAL_STATUS_ARGUMENT);
    CHECK_NUMBER(started, 0);
    started = 4711;
    CHECK_STATUS(portal_server_start(UINT32_MAX, NULL, &started), PORTAL_STATUS_ARGUMENT);
    CHECK_NUMBER(started, 0);
    started = 4711;
    CHECK_STATUS(portal_server_start(80, unix_socket, &started), PORTAL_STATUS_ARGUMENT);
    CHECK_NUMBER(started, 0);
    portal_options_destroy(unix_socket);
}

static void host_functions_are_for_host_dispatch(void)
{
    portal_pulled events[4];

    CHECK_STATUS(portal_server_run(server), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_server_poll(server, 0), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_server_pull(server, 0, events, COUNT(events), sizeof *events), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_server_fd(server), PORTAL_STATUS_ARGUMENT);
}

static void pulling_checks_its_records(void)
{
    const portal_server host = SERVE({ PORTAL_OPTION_DISPATCH, PORTAL_DISPATCH_HOST });
    portal_pulled events[4];

    CHECK_STATUS(portal_server_pull(host, 0, NULL, 4, sizeof *events), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_server_pull(host, 0, events, 0, sizeof *events), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_server_pull(host, 0, events, 1ull << 31, sizeof *events), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_server_pull(host, 0, events, 4, 0), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_server_pull(host, 0, events, 4, sizeof *events - 8), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_server_pull(host, 0, events, 4, sizeof *events + 1), PORTAL_STATUS_ARGUMENT);
    CHECK_NUMBER(portal_server_pull(host, 0, events, 4, sizeof *events), 0);
    CHECK_OK(portal_server_close(host));
}

static void no_request_has_no_parts(void)
{
    CHECK_TEXT(portal_request_target(NULL), "");
    CHECK_TEXT(portal_request_path(NULL), "");
    CHECK_TEXT(portal_request_query(NULL), "");
    CHECK(portal_request_header(NULL, "Host") == NULL);
    CHECK_NUMBER(portal_request_header_count(NULL), 0);
    CHECK(portal_request_header_name(NULL, 0) == NULL);
    CHECK(portal_request_header_value(NULL, 0) == NULL);
    CHECK(portal_request_param(NULL, "name") == NULL);
    CHECK_TEXT(portal_request_peer(NULL), "");
    CHECK_TEXT(portal_request_subprotocol(NULL), "");
    CHECK_STATUS(portal_request_set_header(NULL, "A", "b"), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_request_select_subprotocol(NULL, "a"), PORTAL_STATUS_ARGUMENT);
}

static void every_status_has_a_name_and_a_text(void)
{
    static const char *const names[] = { "OK", "ARGUMENT", "GONE", "FULL", "TOO_BIG", "UTF8", "ADDRESS", "TLS", "IO",
        "BUSY", "UNSUPPORTED", "INTERNAL", "HANDLER", "PROTOCOL", "MEMORY" };
    static const int32_t none[] = { 1, -15, 1000, INT32_MIN, INT32_MAX };
    char name[64];

    for (size_t i = 0; i < COUNT(names); ++i) {
        snprintf(name, sizeof name, "PORTAL_STATUS_%s", names[i]);
        CHECK_TEXT(portal_status_name(-(int32_t)i), name);
        CHECK(portal_status_text(-(int32_t)i)[0] != 0);
    }
    for (size_t i = 0; i < COUNT(none); ++i)
        CHECK(portal_status_name(none[i]) != NULL && portal_status_text(none[i]) != NULL);
}

static void the_version_is_the_header_s(void)
{
    CHECK_TEXT(portal_version(), PORTAL_VERSION);
    CHECK_NUMBER(portal_version_number(), PORTAL_VERSION_NUMBER);
}

int main(void)
{
    portal_handlers handlers = recording;

    handlers.message = echo_message;
    define("/record", &handlers, NULL);
    server = serve(NULL);
    friend = client_connect(portal_server_port(server), "/record");
    websocket = journal_expect(PORTAL_EVENT_CONNECT).websocket;

    RUN(ids_that_are_none_answer_gone);
    RUN(ids_are_exact_in_a_double);
    RUN(what_is_sent_is_checked_first);
    RUN(paths_and_handlers_are_checked);
    RUN(pages_are_checked);
    RUN(options_have_kinds_and_ranges);
    RUN(a_start_that_fails_leaves_no_server);
    RUN(host_functions_are_for_host_dispatch);
    RUN(pulling_checks_its_records);
    RUN(no_request_has_no_parts);
    RUN(every_status_has_a_name_and_a_text);
    RUN(the_version_is_the_header_s);

    client_farewell(friend);
    CHECK_OK(portal_server_close(server));
    return 0;
}
