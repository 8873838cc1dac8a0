/* Pings of the application, pongs of the client, and Portal's own answers. */
#include "check.h"
#include "client.h"
#include "journal.h"
#include "serve.h"

static portal_server server;
static uint32_t port;

static client *enter(portal_websocket *websocket)
{
    client *self = client_connect(port, "/record");

    *websocket = journal_expect(PORTAL_EVENT_CONNECT).websocket;
    return self;
}

static void leave(client *self)
{
    client_farewell(self);
    journal_expect(PORTAL_EVENT_DISCONNECT);
}

static void pong_is_told_what_the_ping_said(void)
{
    portal_websocket websocket;
    client *self = enter(&websocket);
    char longest[125];
    struct happening pong;

    memset(longest, 'p', sizeof longest);
    CHECK_OK(portal_ping(websocket, "are you there?", 14));
    client_expect(self, PING, "are you there?", 14);
    client_send(self, PONG, "are you there?", 14);
    CHECK_TEXT(journal_expect(PORTAL_EVENT_PONG).data, "are you there?");
    CHECK_OK(portal_ping(websocket, longest, sizeof longest));
    client_expect(self, PING, longest, sizeof longest);
    client_send(self, PONG, longest, sizeof longest);
    pong = journal_expect(PORTAL_EVENT_PONG);
    CHECK_NUMBER(pong.len, sizeof longest);
    CHECK(memcmp(pong.data, longest, sizeof longest) == 0);
    leave(self);
}

static void unsolicited_pongs_are_told_too(void)
{
    portal_websocket websocket;
    client *self = enter(&websocket);

    client_send(self, PONG, "I am here", 9);
    CHECK_TEXT(journal_expect(PORTAL_EVENT_PONG).data, "I am here");
    leave(self);
}

static void pings_are_answered_without_the_application(void)
{
    portal_websocket websocket;
    client *self = enter(&websocket);

    client_send(self, PING, "", 0);
    client_expect(self, PONG, "", 0);
    client_send(self, PING, "who", 3);
    client_expect(self, PONG, "who", 3);
    leave(self);
    CHECK(journal_is_empty());
}

static void a_ping_is_never_behind_a_later_message(void)
{
    portal_websocket websocket;
    client *self = enter(&websocket);
    int pinged = 0;

    CHECK_OK(portal_send(websocket, PORTAL_MESSAGE_TEXT, "one", 3));
    CHECK_OK(portal_ping(websocket, "two", 3));
    CHECK_OK(portal_send(websocket, PORTAL_MESSAGE_TEXT, "three", 5));
    /* The ping is ahead of what is queued with it. */
    for (const char *next = "one"; next != NULL;) {
        const struct frame frame = client_read(self);
        if (frame.opcode == PING) {
            pinged = 1;
            continue;
        }
        CHECK_TEXT((const char *)frame.payload, next);
        next = strcmp(next, "one") == 0 ? "three" : NULL;
    }
    CHECK(pinged);
    leave(self);
}

static void the_65th_ping_that_waits_is_full(void)
{
    portal_websocket websocket;
    client *self = enter(&websocket);
    const uint64_t before = portal_server_metric(server, PORTAL_METRIC_BYTES_OUT);
    char *dam = calloc(1, 32 << 20); /* more than the system's buffers take while nobody reads */
    int pings = 0;

    CHECK(dam != NULL);
    CHECK_OK(portal_send(websocket, PORTAL_MESSAGE_BINARY, dam, 32 << 20));
    /* The dam is one frame: once it has begun, no ping goes ahead of it. */
    EVENTUALLY(portal_server_metric(server, PORTAL_METRIC_BYTES_OUT) > before + 1000);
    while (pings < 1000 && portal_ping(websocket, "x", 1) == PORTAL_STATUS_OK)
        ++pings;
    CHECK_NUMBER(pings, 64);
    CHECK_STATUS(portal_ping(websocket, "x", 1), PORTAL_STATUS_FULL);
    client_expect(self, BINARY, dam, 32 << 20);
    for (int i = 0; i < 64; ++i)
        client_expect(self, PING, "x", 1);
    EVENTUALLY(portal_ping(websocket, "y", 1) == PORTAL_STATUS_OK);
    client_expect(self, PING, "y", 1);
    free(dam);
    client_farewell(self);
    journal_await(PORTAL_EVENT_DISCONNECT);
}

int main(void)
{
    define("/record", &recording, NULL);
    server = SERVE({ PORTAL_OPTION_MAX_QUEUED, 64 << 20 });
    port = portal_server_port(server);
    RUN(pong_is_told_what_the_ping_said);
    RUN(unsolicited_pongs_are_told_too);
    RUN(pings_are_answered_without_the_application);
    RUN(a_ping_is_never_behind_a_later_message);
    RUN(the_65th_ping_that_waits_is_full);
    CHECK_OK(portal_server_close(server));
    return 0;
}
