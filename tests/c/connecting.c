/* portal_connect: from the URL to the last callback, in every dispatch. */
#include "check.h"
#include "journal.h"
#include "serve.h"

#include <pthread.h>
#include <unistd.h>

/* What the connections of a test have called besides the journal. */
static int released;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void note_release(void *user_data)
{
    pthread_mutex_lock(&lock);
    ++released;
    pthread_mutex_unlock(&lock);
}

static int releases(void)
{
    pthread_mutex_lock(&lock);
    const int count = released;
    pthread_mutex_unlock(&lock);
    return count;
}

static portal_handlers handlers_of_ours(void)
{
    portal_handlers handlers = recording;

    handlers.release = note_release;
    return handlers;
}

static char url_of[256];

static const char *url(portal_server server, const char *target)
{
    snprintf(url_of, sizeof url_of, "ws://127.0.0.1:%u%s", (unsigned)portal_server_port(server), target);
    return url_of;
}

/* On whose loop the connections of a test run. */
static portal_server ours;

static portal_websocket connect_with(const char *to, const struct setting *settings)
{
    const portal_handlers handlers = handlers_of_ours();
    portal_options *options = options_with(settings);
    portal_websocket websocket = 0;

    CHECK_OK(portal_connect(ours, to, options, &handlers, NULL, &websocket));
    CHECK(websocket != 0);
    portal_options_destroy(options);
    return websocket;
}

static void expect_error(portal_websocket websocket, portal_status status, int32_t code, const char *text)
{
    const struct happening happening = journal_expect(PORTAL_EVENT_ERROR);

    CHECK(happening.websocket == websocket);
    CHECK_STATUS(happening.status, status);
    CHECK_NUMBER(happening.failed_event, PORTAL_EVENT_UPGRADE);
    CHECK_NUMBER(happening.code, code);
    if (strstr(happening.data, text) == NULL)
        FAIL("\"%s\" does not say \"%s\"", happening.data, text);
}

static void what_is_sent_comes_back(void)
{
    const portal_server echo = SERVE({ 0 });
    const int before = releases();
    static char large[100000];
    const portal_websocket websocket = connect_with(url(echo, "/echo?a=b"), NULL);
    struct happening happening = journal_expect(PORTAL_EVENT_CONNECT);

    CHECK(happening.websocket == websocket);
    CHECK_NUMBER(portal_state_of(websocket), PORTAL_STATE_OPEN);
    CHECK_OK(portal_send(websocket, PORTAL_MESSAGE_TEXT, "hello", 5));
    happening = journal_expect(PORTAL_EVENT_MESSAGE);
    CHECK_TEXT(happening.data, "hello");
    CHECK_NUMBER(happening.type, PORTAL_MESSAGE_TEXT);
    memset(large, 'x', sizeof large);
    CHECK_OK(portal_send(websocket, PORTAL_MESSAGE_BINARY, large, sizeof large));
    CHECK_NUMBER(journal_expect(PORTAL_EVENT_MESSAGE).len, sizeof large);
    CHECK_OK(portal_send(websocket, PORTAL_MESSAGE_TEXT, "", 0));
    CHECK_NUMBER(journal_expect(PORTAL_EVENT_MESSAGE).len, 0);
    CHECK_OK(portal_ping(websocket, "are you there", 13));
    CHECK_TEXT(journal_expect(PORTAL_EVENT_PONG).data, "are you there");
    CHECK_OK(portal_close(websocket, 1000, "bye"));
    CHECK_NUMBER(journal_expect(PORTAL_EVENT_DISCONNECT).type, 1000);
    EVENTUALLY(releases() == before + 1);
    EVENTUALLY(portal_state_of(websocket) == PORTAL_STATE_CLOSED);
    CHECK_STATUS(portal_send(websocket, PORTAL_MESSAGE_TEXT, "x", 1), PORTAL_STATUS_GONE);
    CHECK_OK(portal_server_close(echo));
}

static void a_failed_attempt_says_why(void)
{
    const portal_server echo = SERVE({ 0 });
    const uint32_t port = portal_server_port(echo);
    const int before = releases();
    char text[64];
    portal_websocket websocket = connect_with(url(echo, "/nowhere"), NULL);

    expect_error(websocket, PORTAL_STATUS_REJECTED, 404, "404 Not Found");
    EVENTUALLY(releases() == before + 1);
    EVENTUALLY(portal_state_of(websocket) == PORTAL_STATE_CLOSED);
    CHECK_OK(portal_server_close(echo));
    snprintf(text, sizeof text, "ws://127.0.0.1:%u/echo", (unsigned)port);
    websocket = connect_with(text, NULL);
    expect_error(websocket, PORTAL_STATUS_ADDRESS, 0, "refused");
    websocket = connect_with("ws://name.invalid/", NULL);
    expect_error(websocket, PORTAL_STATUS_ADDRESS, 0, "name not found: name.invalid");
    websocket = connect_with("ws+unix:/there/is/nothing", NULL);
    expect_error(websocket, PORTAL_STATUS_ADDRESS, 0, "/there/is/nothing");
    EVENTUALLY(releases() == before + 4);
}

static void a_lost_connection_comes_back_under_its_id(void)
{
    portal_server echo = SERVE({ 0 });
    const uint32_t port = portal_server_port(echo);
    const int before = releases();
    const struct setting reconnecting[] = { { PORTAL_OPTION_RECONNECT, 20 }, { PORTAL_OPTION_RECONNECT_MAX, 50 }, { 0 } };
    const portal_websocket websocket = connect_with(url(echo, "/echo"), reconnecting);
    static int data;

    CHECK(journal_expect(PORTAL_EVENT_CONNECT).websocket == websocket);
    CHECK_OK(portal_set_data(websocket, &data));
    CHECK_OK(portal_server_close(echo));
    struct happening happening = journal_expect(PORTAL_EVENT_DISCONNECT);
    CHECK_NUMBER(happening.type, 1001);
    CHECK_NUMBER(happening.state, PORTAL_STATE_CONNECTING);
    CHECK_STATUS(portal_send(websocket, PORTAL_MESSAGE_TEXT, "x", 1), PORTAL_STATUS_BUSY);
    expect_error(websocket, PORTAL_STATUS_ADDRESS, 0, "refused");
    echo = serve_on(port, (const struct setting[]){ { 0 } });
    CHECK(journal_await(PORTAL_EVENT_CONNECT).websocket == websocket);
    CHECK(portal_data(websocket) == &data);
    CHECK_OK(portal_send(websocket, PORTAL_MESSAGE_TEXT, "again", 5));
    CHECK_TEXT(journal_expect(PORTAL_EVENT_MESSAGE).data, "again");
    CHECK_NUMBER(releases(), before);
    CHECK_OK(portal_close(websocket, 1000, NULL));
    CHECK_NUMBER(journal_expect(PORTAL_EVENT_DISCONNECT).type, 1000);
    EVENTUALLY(releases() == before + 1);
    CHECK_OK(portal_server_close(echo));
}

static void who_closes_while_connecting_hears_nothing_more(void)
{
    const int before = releases();
    const struct setting reconnecting[] = { { PORTAL_OPTION_RECONNECT, 60000 }, { 0 } };
    portal_websocket websocket = connect_with("ws+unix:/there/is/nothing", reconnecting);

    expect_error(websocket, PORTAL_STATUS_ADDRESS, 0, "/there/is/nothing");
    EVENTUALLY(portal_state_of(websocket) == PORTAL_STATE_CONNECTING);
    CHECK_STATUS(portal_ping(websocket, "", 0), PORTAL_STATUS_BUSY);
    CHECK_OK(portal_close(websocket, 0, NULL));
    EVENTUALLY(releases() == before + 1);
    CHECK_NUMBER(portal_state_of(websocket), PORTAL_STATE_CLOSED);
    websocket = connect_with("ws+unix:/there/is/nothing", reconnecting);
    expect_error(websocket, PORTAL_STATUS_ADDRESS, 0, "/there/is/nothing");
    CHECK_OK(portal_abort(websocket));
    EVENTUALLY(releases() == before + 2);
}

static portal_status closed_with;

static void close_in_error(portal_websocket websocket, const portal_error *error, void *user_data)
{
    CHECK_NUMBER(portal_state_of(websocket), PORTAL_STATE_CLOSING);
    closed_with = portal_close(websocket, 0, NULL);
    record_error(websocket, error, user_data);
}

static void who_closes_while_it_ends_sees_no_other_attempt(void)
{
    const portal_server echo = SERVE({ 0 });
    const int before = releases();
    const struct setting reconnecting[] = { { PORTAL_OPTION_RECONNECT, 1 }, { PORTAL_OPTION_MAX_MESSAGE_SIZE, 4 }, { 0 } };
    portal_handlers handlers = handlers_of_ours();
    portal_options *options = options_with(reconnecting);
    portal_websocket websocket = 0;

    handlers.error = close_in_error;
    CHECK_OK(portal_connect(ours, url(echo, "/echo"), options, &handlers, NULL, &websocket));
    portal_options_destroy(options);
    journal_expect(PORTAL_EVENT_CONNECT);
    CHECK_OK(portal_send(websocket, PORTAL_MESSAGE_TEXT, "large", 5));
    CHECK_STATUS(journal_expect(PORTAL_EVENT_ERROR).status, PORTAL_STATUS_TOO_BIG);
    CHECK_OK(closed_with);
    const struct happening happening = journal_expect(PORTAL_EVENT_DISCONNECT);
    CHECK_NUMBER(happening.type, 1009);
    CHECK_NUMBER(happening.state, PORTAL_STATE_CLOSED);
    EVENTUALLY(releases() == before + 1);
    CHECK_OK(portal_server_close(echo));
}

static int32_t send_number(portal_websocket websocket, const portal_request *request, void *user_data)
{
    const char *number = portal_request_header(request, "X-Number");

    (void)user_data;
    return portal_send(websocket, PORTAL_MESSAGE_TEXT, number, strlen(number));
}

/* Numbers the requests; the first one waits until its attempt has timed out, and the next one waits too. */
static int32_t number_late(portal_websocket websocket, portal_request *request, void *user_data)
{
    static int count;
    char number[16];

    (void)websocket;
    (void)user_data;
    snprintf(number, sizeof number, "%d", ++count);
    CHECK_OK(portal_request_set_header(request, "X-Number", number));
    if (count == 1) {
        EVENTUALLY(portal_server_metric(ours, PORTAL_METRIC_HANDSHAKE_TIMEOUTS) == 1);
        /* Not needed by the test, but the attempt that follows shall wait when this returns. */
        usleep(100000);
    }
    return 0;
}

static void a_late_upgrade_decides_on_no_other_attempt(void)
{
    const portal_server numbered = SERVE({ 0 });
    const int before = releases();
    const struct setting reconnecting[] = { { PORTAL_OPTION_RECONNECT, 1 }, { PORTAL_OPTION_HANDSHAKE_TIMEOUT, 500 }, { 0 } };
    const portal_handlers server_handlers = { .size = sizeof server_handlers, .connect = send_number };
    portal_handlers handlers = handlers_of_ours();
    portal_options *options = options_with(reconnecting);
    portal_websocket websocket = 0;

    define("/numbered", &server_handlers, NULL);
    ours = SERVE({ PORTAL_OPTION_HOST, .text = "none" }, { PORTAL_OPTION_DISPATCH, PORTAL_DISPATCH_PER_CLIENT });
    handlers.upgrade = number_late;
    CHECK_OK(portal_connect(ours, url(numbered, "/numbered"), options, &handlers, NULL, &websocket));
    portal_options_destroy(options);
    expect_error(websocket, PORTAL_STATUS_ADDRESS, 0, "timed out");
    journal_expect(PORTAL_EVENT_CONNECT);
    CHECK_TEXT(journal_expect(PORTAL_EVENT_MESSAGE).data, "2");
    CHECK_OK(portal_close(websocket, 0, NULL));
    CHECK_NUMBER(journal_expect(PORTAL_EVENT_DISCONNECT).type, 1000);
    EVENTUALLY(releases() == before + 1);
    CHECK_OK(portal_server_close(ours));
    CHECK_OK(portal_server_close(numbered));
}

static void a_connection_ends_with_its_server(void)
{
    const portal_server echo = SERVE({ 0 });
    const int before = releases();
    const struct setting reconnecting[] = { { PORTAL_OPTION_RECONNECT, 20 }, { 0 } };
    const portal_websocket websocket = connect_with(url(echo, "/echo"), reconnecting);

    journal_expect(PORTAL_EVENT_CONNECT);
    CHECK_OK(portal_server_close(ours));
    CHECK_NUMBER(journal_expect(PORTAL_EVENT_DISCONNECT).type, 1006 - 5);
    CHECK_NUMBER(releases(), before + 1);
    CHECK_NUMBER(portal_state_of(websocket), PORTAL_STATE_CLOSED);
    portal_websocket none = 1;
    const portal_handlers handlers = handlers_of_ours();
    CHECK_STATUS(portal_connect(ours, url(echo, "/echo"), NULL, &handlers, NULL, &none), PORTAL_STATUS_GONE);
    CHECK(none == 0);
    CHECK_NUMBER(releases(), before + 1);
    CHECK_OK(portal_server_close(echo));
}

static void what_is_malformed_is_an_argument(void)
{
    static const char *const urls[] = { "", "ws://", "http://h/", "ws://h/#a", "ws://h:0/", "ws+unix:a" };
    const portal_handlers handlers = handlers_of_ours();
    portal_websocket websocket = 1;

    for (size_t i = 0; i < COUNT(urls); ++i) {
        CHECK_STATUS(portal_connect(0, urls[i], NULL, &handlers, NULL, &websocket), PORTAL_STATUS_ARGUMENT);
        CHECK(websocket == 0);
    }
    CHECK_STATUS(portal_connect(0, NULL, NULL, &handlers, NULL, &websocket), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_connect(0, "ws://h/", NULL, NULL, NULL, &websocket), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_connect(0, "ws://h/", NULL, &handlers, NULL, NULL), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_connect(1, "ws://h/", NULL, &handlers, NULL, &websocket), PORTAL_STATUS_GONE);
}

static void *run(void *unused)
{
    CHECK_OK(portal_server_run(ours));
    return NULL;
}

/* Pulls until there is an event, which is of this kind. */
static portal_pulled pull(uint32_t event)
{
    static portal_pulled pulled;
    const long long deadline = now_ms() + PATIENCE_MS;
    int32_t count;

    do {
        CHECK(now_ms() < deadline);
        count = portal_server_pull(ours, 1000, &pulled, 1, sizeof pulled);
        CHECK(count >= 0);
    } while (count == 0);
    CHECK_NUMBER(pulled.event, event);
    return pulled;
}

static void what_happens_is_pulled(void)
{
    const portal_server echo = SERVE({ 0 });
    const int before = releases();
    portal_websocket websocket;
    portal_pulled pulled;

    ours = SERVE({ PORTAL_OPTION_HOST, .text = "none" }, { PORTAL_OPTION_DISPATCH, PORTAL_DISPATCH_HOST });
    websocket = connect_with(url(echo, "/echo?a"), NULL);
    pulled = pull(PORTAL_EVENT_CONNECT);
    CHECK(pulled.websocket == websocket);
    CHECK_TEXT(portal_request_target(pulled.request), "/echo?a");
    CHECK_TEXT(portal_request_header(pulled.request, "upgrade"), "websocket");
    CHECK_OK(portal_send(websocket, PORTAL_MESSAGE_TEXT, "hello", 5));
    pulled = pull(PORTAL_EVENT_MESSAGE);
    CHECK_TEXT(pulled.data, "hello");
    CHECK_OK(portal_close(websocket, 0, NULL));
    pulled = pull(PORTAL_EVENT_DISCONNECT);
    CHECK_NUMBER(pulled.type, 1000);
    CHECK_NUMBER(portal_server_pull(ours, 0, &pulled, 1, sizeof pulled), 0);
    CHECK_NUMBER(releases(), before + 1);
    websocket = connect_with(url(echo, "/nowhere"), NULL);
    pulled = pull(PORTAL_EVENT_ERROR);
    const portal_error *error = pulled.data;
    CHECK_STATUS(error->status, PORTAL_STATUS_REJECTED);
    CHECK_NUMBER(error->code, 404);
    CHECK_TEXT(portal_request_header(error->request, "connection"), "close");
    CHECK_NUMBER(portal_server_pull(ours, 0, &pulled, 1, sizeof pulled), 0);
    CHECK_NUMBER(releases(), before + 2);
    CHECK_OK(portal_server_close(ours));
    CHECK_OK(portal_server_close(echo));
}

static void all_ways(void)
{
    RUN(what_is_sent_comes_back);
    RUN(a_failed_attempt_says_why);
    RUN(a_lost_connection_comes_back_under_its_id);
    RUN(who_closes_while_connecting_hears_nothing_more);
    RUN(who_closes_while_it_ends_sees_no_other_attempt);
}

int main(void)
{
    define_echo("/echo");
    ours = 0;
    all_ways();
    RUN(what_is_malformed_is_an_argument);
    for (int64_t dispatch = PORTAL_DISPATCH_IO; dispatch <= PORTAL_DISPATCH_HOST; ++dispatch) {
        pthread_t host;

        printf("dispatch %d:\n", (int)dispatch);
        ours = SERVE({ PORTAL_OPTION_HOST, .text = "none" }, { PORTAL_OPTION_DISPATCH, dispatch });
        if (dispatch == PORTAL_DISPATCH_HOST)
            CHECK(pthread_create(&host, NULL, run, NULL) == 0);
        all_ways();
        RUN(a_connection_ends_with_its_server);
        if (dispatch == PORTAL_DISPATCH_HOST)
            CHECK(pthread_join(host, NULL) == 0);
    }
    RUN(what_happens_is_pulled);
    RUN(a_late_upgrade_decides_on_no_other_attempt);
    CHECK(journal_is_empty());
    return 0;
}
