/* Pulling: events come as records instead of callbacks. */
#include "check.h"
#include "client.h"
#include "serve.h"

#include <pthread.h>

static const struct setting host_settings[] = {
    { PORTAL_OPTION_DISPATCH, PORTAL_DISPATCH_HOST }, { PORTAL_OPTION_CLOSE_TIMEOUT, 100 }, { 0 }
};
static portal_server server;
static int path_data;

static int32_t never(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    FAIL("a callback ran while pulling");
}

/* Pulls until exactly one event comes. */
static portal_pulled pull_one(void)
{
    const long long deadline = now_ms() + PATIENCE_MS;
    portal_pulled event;
    int32_t count;

    do {
        count = portal_server_pull(server, 100, &event, 1, sizeof event);
        CHECK(count >= 0 && now_ms() < deadline);
    } while (count == 0);
    CHECK_NUMBER(count, 1);
    return event;
}

static client *enter(const char *path, portal_pulled *event)
{
    client *self = client_dial(portal_server_port(server));

    client_request(self, path, "");
    *event = pull_one();
    CHECK_NUMBER(event->event, PORTAL_EVENT_CONNECT);
    return self;
}

static void each_event_has_its_record(void)
{
    portal_pulled event;
    portal_websocket websocket;
    client *self;

    server = serve(host_settings);
    CHECK_NUMBER(portal_server_pull(server, 0, &event, 1, sizeof event), 0);

    self = enter("/pull?a=1", &event);
    websocket = event.websocket;
    CHECK(event.user_data == &path_data);
    CHECK_NUMBER(event.type, 0);
    CHECK_TEXT(portal_request_target(event.request), "/pull?a=1");
    CHECK_NUMBER(portal_state_of(websocket), PORTAL_STATE_OPEN);
    CHECK_OK(portal_send(websocket, PORTAL_MESSAGE_TEXT, "welcome", 7));
    CHECK_OK(portal_flush(websocket));
    CHECK_NUMBER(client_response(self).status, 101);
    client_expect_text(self, "welcome");

    client_say(self, "words");
    event = pull_one();
    CHECK_NUMBER(event.event, PORTAL_EVENT_MESSAGE);
    CHECK_NUMBER(event.type, PORTAL_MESSAGE_TEXT);
    CHECK(event.websocket == websocket && event.user_data == &path_data && event.request == NULL);
    CHECK_NUMBER(event.len, 5);
    CHECK_TEXT((const char *)event.data, "words");

    client_send(self, PONG, "pong", 4);
    event = pull_one();
    CHECK_NUMBER(event.event, PORTAL_EVENT_PONG);
    CHECK_NUMBER(event.len, 4);
    CHECK(memcmp(event.data, "pong", 4) == 0);

    client_send(self, BINARY, "", 0);
    event = pull_one();
    CHECK_NUMBER(event.type, PORTAL_MESSAGE_BINARY);
    CHECK_NUMBER(event.len, 0);
    CHECK(event.data != NULL);

    client_close(self, 4000, "reason");
    event = pull_one();
    CHECK_NUMBER(event.event, PORTAL_EVENT_DISCONNECT);
    CHECK_NUMBER(event.type, 4000);
    CHECK_TEXT((const char *)event.data, "reason");
    CHECK_NUMBER(event.len, 6);
    CHECK_STATUS(portal_send(websocket, PORTAL_MESSAGE_TEXT, "late", 4), PORTAL_STATUS_GONE);
    CHECK_OK(portal_server_close(server));
    CHECK_STATUS(portal_server_pull(server, 0, &event, 1, sizeof event), PORTAL_STATUS_GONE);
    client_destroy(self);
}

static void an_error_comes_before_its_disconnect(void)
{
    portal_pulled event;
    const portal_error *error;
    client *self;

    server = serve(host_settings);
    self = enter("/pull", &event);
    client_send_frame(self, 0x83, "", 0);
    event = pull_one();
    CHECK_NUMBER(event.event, PORTAL_EVENT_ERROR);
    error = event.data;
    CHECK(error->size >= sizeof *error);
    CHECK_STATUS(error->status, PORTAL_STATUS_PROTOCOL);
    CHECK_NUMBER(error->close_code, 1002);
    client_half_close(self);
    event = pull_one();
    CHECK_NUMBER(event.event, PORTAL_EVENT_DISCONNECT);
    CHECK_NUMBER(event.type, 1002);
    client_destroy(self);
    CHECK_OK(portal_server_close(server));
}

static void a_batch_stays_valid_as_a_whole(void)
{
    enum { MESSAGES = 500, BATCH = 64 };
    portal_pulled events[BATCH];
    char words[16];
    int next = 0;
    client *self;

    server = serve(host_settings);
    self = enter("/pull", &events[0]);
    for (int i = 0; i < MESSAGES; ++i) {
        snprintf(words, sizeof words, "%d", i);
        client_say(self, words);
    }
    while (next < MESSAGES) {
        const int32_t count = portal_server_pull(server, 1000, events, BATCH, sizeof *events);
        CHECK(count >= 0 && count <= BATCH);
        for (int32_t i = 0; i < count; ++i) {
            CHECK_NUMBER(events[i].event, PORTAL_EVENT_MESSAGE);
            snprintf(words, sizeof words, "%d", next++);
            CHECK_TEXT((const char *)events[i].data, words);
        }
    }
    client_destroy(self);
    CHECK_OK(portal_server_close(server));
}

static void records_may_be_larger_than_the_library_knows(void)
{
    struct { portal_pulled known; uint64_t unknown[3]; } events[4];
    client *self;
    int32_t count;

    server = serve(host_settings);
    self = enter("/pull", &events[0].known);
    client_say(self, "one");
    client_say(self, "two");
    for (int pulled = 0; pulled < 2; pulled += count) {
        memset(events, 0xff, sizeof events);
        count = portal_server_pull(server, 1000, &events[0].known, COUNT(events), sizeof *events);
        CHECK(count >= 0);
        for (int32_t i = 0; i < count; ++i) {
            CHECK_TEXT((const char *)events[i].known.data, pulled + i == 0 ? "one" : "two");
            for (size_t u = 0; u < COUNT(events[i].unknown); ++u)
                CHECK_NUMBER(events[i].unknown[u], 0);
        }
        if (count < (int32_t)COUNT(events))
            CHECK(events[count].unknown[0] == UINT64_MAX); /* what was not filled is not touched */
    }
    client_destroy(self);
    CHECK_OK(portal_server_close(server));
}

static void big_messages_come_whole(void)
{
    const size_t size = 3 << 20;
    uint8_t *words = malloc(size);
    portal_pulled event;
    client *self;

    CHECK(words != NULL);
    for (size_t i = 0; i < size; ++i)
        words[i] = (uint8_t)(i * 7);
    server = serve(host_settings);
    self = enter("/pull", &event);
    /* Piece by piece, since nobody reads while this thread writes. */
    for (size_t at = 0; at < size; at += 65536) {
        const size_t piece = size - at < 65536 ? size - at : 65536;
        client_send_frame(self, (at == 0 ? BINARY : CONTINUATION) | (at + piece == size ? 0x80 : 0), words + at, piece);
        if (at + piece < size)
            CHECK_NUMBER(portal_server_pull(server, 0, &event, 1, sizeof event), 0);
    }
    event = pull_one();
    CHECK_NUMBER(event.len, size);
    CHECK(memcmp(event.data, words, size) == 0);
    free(words);
    client_destroy(self);
    CHECK_OK(portal_server_close(server));
}

static void what_is_sent_between_two_pulls_leaves_at_the_next(void)
{
    portal_pulled event;
    client *self;

    server = serve(host_settings);
    self = enter("/pull", &event);
    CHECK_OK(portal_send(event.websocket, PORTAL_MESSAGE_TEXT, "words", 5));
    CHECK_NUMBER(portal_server_pull(server, 0, &event, 1, sizeof event), 0);
    CHECK_NUMBER(client_response(self).status, 101);
    client_expect_text(self, "words");
    client_destroy(self);
    CHECK_OK(portal_server_close(server));
}

static void after_begin_close_every_disconnect_is_pulled_before_gone(void)
{
    enum { CLIENTS = 5 };
    client *clients[CLIENTS];
    portal_pulled events[2];
    int disconnects = 0;
    int32_t count;

    server = SERVE({ PORTAL_OPTION_DISPATCH, PORTAL_DISPATCH_HOST }, { PORTAL_OPTION_CLOSE_TIMEOUT, 200 });
    for (int i = 0; i < CLIENTS; ++i)
        clients[i] = enter("/pull", &events[0]);
    CHECK_OK(portal_server_begin_close(server));
    while ((count = portal_server_pull(server, PATIENCE_MS, events, COUNT(events), sizeof *events)) >= 0)
        for (int32_t i = 0; i < count; ++i) {
            CHECK_NUMBER(events[i].event, PORTAL_EVENT_DISCONNECT);
            CHECK_NUMBER(events[i].type, 1006);
            ++disconnects;
        }
    CHECK_STATUS(count, PORTAL_STATUS_GONE);
    CHECK_NUMBER(disconnects, CLIENTS);
    CHECK_STATUS(portal_server_close(server), PORTAL_STATUS_GONE);
    for (int i = 0; i < CLIENTS; ++i)
        client_destroy(clients[i]);
}

static void *wake_server(void *unused)
{
    CHECK_OK(portal_server_wake(server));
    return unused;
}

static void wake_ends_a_wait(void)
{
    portal_pulled event;
    pthread_t waker;

    server = serve(host_settings);
    CHECK(pthread_create(&waker, NULL, wake_server, NULL) == 0);
    CHECK_NUMBER(portal_server_pull(server, -1, &event, 1, sizeof event), 0);
    CHECK(pthread_join(waker, NULL) == 0);
    CHECK_OK(portal_server_close(server));
}

static void records_outlive_the_server_on_their_thread(void)
{
    portal_pulled event;
    client *self;

    server = SERVE({ PORTAL_OPTION_DISPATCH, PORTAL_DISPATCH_HOST }, { PORTAL_OPTION_CLOSE_TIMEOUT, 100 });
    self = enter("/pull", &event);
    client_say(self, "remember me");
    event = pull_one();
    CHECK_OK(portal_server_close(server));
    CHECK_TEXT((const char *)event.data, "remember me");
    client_destroy(self);
}

/* ---- what still calls ---- */

static int32_t judge(portal_websocket websocket, portal_request *request, void *user_data)
{
    return strcmp(portal_request_query(request), "no") == 0 ? 403 : 0;
}

static void count_release(void *user_data)
{
    ++*(int *)user_data;
}

static void only_upgrade_and_release_are_called(void)
{
    const portal_handlers handlers = { .size = sizeof handlers, .upgrade = judge, .message = never,
        .release = count_release };
    int released = 0;
    portal_pulled event;
    client *self;

    define("/judged", &handlers, &released);
    server = serve(host_settings);
    self = client_dial(portal_server_port(server));
    client_request(self, "/judged?no", "");
    while (!client_has_heard(self))
        CHECK_NUMBER(portal_server_pull(server, 10, &event, 1, sizeof event), 0);
    CHECK_NUMBER(client_response(self).status, 403);
    client_destroy(self);

    self = enter("/judged", &event);
    CHECK_OK(portal_undefine_path("/judged"));
    client_say(self, "words");
    CHECK_NUMBER(pull_one().event, PORTAL_EVENT_MESSAGE);
    CHECK_NUMBER(released, 0);
    client_destroy(self);
    CHECK_NUMBER(pull_one().event, PORTAL_EVENT_DISCONNECT);
    CHECK_OK(portal_server_close(server));
    CHECK_NUMBER(portal_server_pull(server, 0, &event, 1, sizeof event), PORTAL_STATUS_GONE);
    EVENTUALLY(released == 1);
}

int main(void)
{
    const portal_handlers handlers = { .size = sizeof handlers, .message = never };

    define("/pull", &handlers, &path_data);
    RUN(each_event_has_its_record);
    RUN(an_error_comes_before_its_disconnect);
    RUN(a_batch_stays_valid_as_a_whole);
    RUN(records_may_be_larger_than_the_library_knows);
    RUN(big_messages_come_whole);
    RUN(what_is_sent_between_two_pulls_leaves_at_the_next);
    RUN(after_begin_close_every_disconnect_is_pulled_before_gone);
    RUN(wake_ends_a_wait);
    RUN(records_outlive_the_server_on_their_thread);
    RUN(only_upgrade_and_release_are_called);
    return 0;
}
