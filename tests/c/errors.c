/* A handler that fails is told to `error`, and its websocket stays open. */
#include "check.h"
#include "client.h"
#include "journal.h"
#include "serve.h"

#include <pthread.h>

static int32_t failure;

static int32_t fail_to_connect(portal_websocket websocket, const portal_request *request, void *user_data)
{
    record_connect(websocket, request, user_data);
    return failure;
}

static int32_t fail_to_listen(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    record_message(websocket, type, data, len, user_data);
    return failure;
}

static int32_t fail_to_part(portal_websocket websocket, uint32_t code, const char *reason, void *user_data)
{
    record_disconnect(websocket, code, reason, user_data);
    return failure;
}

static void expect_error(uint32_t event, uint32_t state)
{
    const struct happening error = journal_expect(PORTAL_EVENT_ERROR);

    CHECK_STATUS(error.status, PORTAL_STATUS_HANDLER);
    CHECK_NUMBER(error.failed_event, event);
    CHECK_NUMBER(error.code, failure);
    CHECK_NUMBER(error.close_code, 0);
    CHECK_NUMBER(error.state, state);
    CHECK(error.len > 0);
}

static void every_failing_handler_is_told(uint32_t port)
{
    static const int32_t failures[] = { 1, -1, 42, INT32_MIN, INT32_MAX, PORTAL_STATUS_FULL };

    for (size_t i = 0; i < COUNT(failures); ++i) {
        client *self;
        failure = failures[i];
        self = client_connect(port, "/fail");
        journal_expect(PORTAL_EVENT_CONNECT);
        expect_error(PORTAL_EVENT_CONNECT, PORTAL_STATE_OPEN);
        for (int again = 0; again < 2; ++again) {
            client_say(self, "words");
            journal_expect(PORTAL_EVENT_MESSAGE);
            expect_error(PORTAL_EVENT_MESSAGE, PORTAL_STATE_OPEN);
        }
        client_send(self, PING, "open?", 5);
        client_expect(self, PONG, "open?", 5);
        client_farewell(self);
        journal_expect(PORTAL_EVENT_DISCONNECT);
        expect_error(PORTAL_EVENT_DISCONNECT, PORTAL_STATE_CLOSED);
    }
}

static void gone_is_no_failure(uint32_t port)
{
    client *self;

    failure = PORTAL_STATUS_GONE;
    self = client_connect(port, "/fail");
    journal_expect(PORTAL_EVENT_CONNECT);
    client_say(self, "words");
    journal_expect(PORTAL_EVENT_MESSAGE);
    client_farewell(self);
    journal_expect(PORTAL_EVENT_DISCONNECT);
}

static void without_handlers_nothing_fails(uint32_t port)
{
    const portal_handlers none = { .size = sizeof none };
    client *self;

    define("/none", &none, NULL);
    self = client_connect(port, "/none");
    client_say(self, "words");
    client_send(self, PONG, "", 0);
    client_farewell(self);
}

/* ---- nobody hears of it but the log ---- */

static char told[16][200];
static size_t told_count;
static pthread_mutex_t telling = PTHREAD_MUTEX_INITIALIZER;

static void hear(uint32_t level, const char *line, void *user_data)
{
    pthread_mutex_lock(&telling);
    CHECK_NUMBER(level, 2);
    CHECK(told_count < COUNT(told));
    snprintf(told[told_count++], sizeof *told, "%s", line);
    pthread_mutex_unlock(&telling);
}

static size_t lines_told(void)
{
    size_t count;

    pthread_mutex_lock(&telling);
    count = told_count;
    pthread_mutex_unlock(&telling);
    return count;
}

/* Waits for line `number`, which names the handler, the path, the websocket and the value. */
static void expect_line(size_t number, const char *handler, const char *path, portal_websocket websocket)
{
    char id[24], value[12];

    snprintf(id, sizeof id, "%llu", (unsigned long long)websocket);
    snprintf(value, sizeof value, "%d", (int)failure);
    EVENTUALLY(lines_told() > number);
    for (size_t i = 0; i < 4; ++i) {
        const char *const part = ((const char *const[]){ handler, path, id, value })[i];
        if (strstr(told[number], part) == NULL)
            FAIL("\"%s\" does not name %s", told[number], part);
    }
}

static portal_websocket candidate;

static int32_t fail_to_upgrade(portal_websocket websocket, portal_request *request, void *user_data)
{
    candidate = websocket;
    return failure;
}

static void a_failure_that_no_handler_is_told_is_logged(uint32_t port)
{
    portal_handlers unheard = { .size = sizeof unheard, .connect = fail_to_connect, .message = fail_to_listen,
        .disconnect = fail_to_part };
    const portal_handlers refusing = { .size = sizeof refusing, .upgrade = fail_to_upgrade };
    portal_websocket websocket;
    client *self;

    failure = -42;
    told_count = 0;
    define("/unheard/{name}", &unheard, NULL);
    define("/refused", &refusing, NULL);
    CHECK_OK(portal_set_log(2, hear, NULL));
    self = client_connect(port, "/unheard/of");
    websocket = journal_expect(PORTAL_EVENT_CONNECT).websocket;
    client_say(self, "words");
    journal_expect(PORTAL_EVENT_MESSAGE);
    expect_line(1, "message", "/unheard/{name}", websocket);
    expect_line(0, "connect", "/unheard/{name}", websocket);
    client_farewell(self);
    journal_expect(PORTAL_EVENT_DISCONNECT);
    expect_line(2, "disconnect", "/unheard/{name}", websocket);
    CHECK_NUMBER(client_status(port, "/refused", ""), 500);
    expect_line(3, "upgrade", "/refused", candidate);

    /* What is told to a handler is the handler's business. */
    unheard.error = record_error;
    define("/unheard/{name}", &unheard, NULL);
    self = client_connect(port, "/unheard/of");
    journal_expect(PORTAL_EVENT_CONNECT);
    expect_error(PORTAL_EVENT_CONNECT, PORTAL_STATE_OPEN);
    client_farewell(self);
    journal_expect(PORTAL_EVENT_DISCONNECT);
    expect_error(PORTAL_EVENT_DISCONNECT, PORTAL_STATE_CLOSED);
    CHECK_NUMBER(lines_told(), 4);
    CHECK_OK(portal_set_log(1, NULL, NULL));
}

int main(void)
{
    const portal_handlers failing = { .size = sizeof failing, .connect = fail_to_connect, .message = fail_to_listen,
        .disconnect = fail_to_part, .error = record_error };

    define("/fail", &failing, NULL);
    for (uint32_t dispatch = PORTAL_DISPATCH_IO; dispatch <= PORTAL_DISPATCH_PER_CLIENT; ++dispatch) {
        const portal_server server = SERVE({ PORTAL_OPTION_DISPATCH, dispatch });
        const uint32_t port = portal_server_port(server);

        every_failing_handler_is_told(port);
        gone_is_no_failure(port);
        without_handlers_nothing_fails(port);
        a_failure_that_no_handler_is_told_is_logged(port);
        CHECK_OK(portal_server_close(server));
        CHECK(journal_is_empty());
    }
    return 0;
}
