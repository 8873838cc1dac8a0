/* A client that reads too slowly: FULL, then exactly one `drain`; nothing is lost, the order stays. */
#include "check.h"
#include "client.h"
#include "journal.h"
#include "serve.h"


/* Half of the queue is more than the system's own buffers take off it while nobody reads. */
enum { MAX_QUEUED = 32 << 20, SIZE = 16000 };

static uint32_t port;
static uint32_t next_number, next_heard;

/* Sends numbered messages until the queue is full. */
static void fill(portal_websocket websocket)
{
    uint32_t words[SIZE / sizeof(uint32_t)] = { 0 };
    portal_status status;

    for (;;) {
        words[0] = next_number;
        status = portal_send(websocket, PORTAL_MESSAGE_BINARY, words, sizeof words);
        if (status != PORTAL_STATUS_OK)
            break;
        ++next_number;
    }
    CHECK_STATUS(status, PORTAL_STATUS_FULL);
}

static void hear(client *self, uint32_t until)
{
    while (next_heard < until) {
        const struct frame frame = client_read(self);
        if (frame.opcode == PING)
            continue; /* ahead of messages */
        CHECK_NUMBER(frame.opcode, BINARY);
        CHECK_NUMBER(frame.len, SIZE);
        CHECK(memcmp(frame.payload, &next_heard, sizeof next_heard) == 0);
        ++next_heard;
    }
}

static portal_websocket enter(client **self)
{
    *self = client_dial(port);
    client_shake_hands(*self, "/slow", "");
    next_number = next_heard = 0;
    return journal_expect(PORTAL_EVENT_CONNECT).websocket;
}

static void leave(client *self)
{
    client_farewell(self);
    journal_expect(PORTAL_EVENT_DISCONNECT);
}

static void drain_comes_once_after_full(void)
{
    client *self;
    const portal_websocket websocket = enter(&self);

    for (int round = 0; round < 3; ++round) {
        const size_t drains = journal_count(PORTAL_EVENT_DRAIN);
        fill(websocket);
        CHECK(portal_queued(websocket) > MAX_QUEUED / 2);
        fill(websocket); /* twice full, one drain */
        CHECK(journal_is_empty());
        hear(self, next_number);
        CHECK(journal_expect(PORTAL_EVENT_DRAIN).websocket == websocket);
        CHECK(portal_queued(websocket) <= MAX_QUEUED / 2);
        client_say(self, "nothing more?");
        journal_expect(PORTAL_EVENT_MESSAGE);
        CHECK_NUMBER(journal_count(PORTAL_EVENT_DRAIN), drains + 1);
    }
    leave(self);
}

static void no_drain_without_full(void)
{
    client *self;
    const portal_websocket websocket = enter(&self);
    const size_t size = MAX_QUEUED / 4;
    char *quarter = calloc(1, size);

    CHECK(quarter != NULL);
    for (int i = 0; i < 3; ++i)
        CHECK_OK(portal_send(websocket, PORTAL_MESSAGE_BINARY, quarter, size));
    for (int i = 0; i < 3; ++i)
        client_expect(self, BINARY, quarter, size);
    free(quarter);
    leave(self);
}

static void at_most_one_message_more_than_the_limit_is_held(void)
{
    client *self;
    const portal_websocket websocket = enter(&self);
    const size_t size = 2 * (size_t)MAX_QUEUED;
    char *big = calloc(1, size);
    int sent = 0;

    CHECK(big != NULL);
    while (portal_send(websocket, PORTAL_MESSAGE_BINARY, big, size) == PORTAL_STATUS_OK)
        ++sent;
    CHECK(sent >= 1);
    CHECK(portal_queued(websocket) < MAX_QUEUED + size + 4096);
    for (int i = 0; i < sent; ++i)
        client_expect(self, BINARY, big, size);
    journal_expect(PORTAL_EVENT_DRAIN);
    free(big);
    leave(self);
}

static void close_frames_and_pongs_are_never_full(void)
{
    client *self;
    const portal_websocket websocket = enter(&self);

    fill(websocket);
    CHECK_OK(portal_ping(websocket, "full", 4));
    CHECK_OK(portal_close(websocket, 4000, "full"));
    hear(self, next_number);
    client_expect_close(self, 4000, "full");
    client_close(self, 4000, "");
    client_destroy(self);
    CHECK_NUMBER(journal_await(PORTAL_EVENT_DISCONNECT).type, 4000);
}

/* ---- a sender that is told by `drain` to go on ---- */

enum { PARCEL = 5000 };

static void send_parcel(portal_websocket websocket)
{
    uint32_t words[SIZE / sizeof(uint32_t)] = { 0 };

    while (next_number < PARCEL) {
        portal_status status;
        words[0] = next_number;
        status = portal_send(websocket, PORTAL_MESSAGE_BINARY, words, sizeof words);
        if (status == PORTAL_STATUS_FULL)
            return;
        CHECK_OK(status);
        ++next_number;
    }
}

static void go_on(portal_websocket websocket, void *user_data)
{
    send_parcel(websocket);
}

static int32_t begin(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    send_parcel(websocket);
    return 0;
}

static void a_sender_that_waits_for_drain_loses_nothing(void)
{
    portal_handlers handlers = { .size = sizeof handlers, .message = begin, .drain = go_on };
    client *self = client_dial(port);

    next_number = next_heard = 0;
    define("/parcel", &handlers, NULL);
    client_shake_hands(self, "/parcel", "");
    client_say(self, "begin");
    hear(self, PARCEL);
    client_farewell(self);
}

int main(void)
{
    static const uint32_t dispatches[] = { PORTAL_DISPATCH_IO, PORTAL_DISPATCH_PER_CLIENT };

    define("/slow", &recording, NULL);
    for (size_t i = 0; i < COUNT(dispatches); ++i) {
        const portal_server server = SERVE({ PORTAL_OPTION_DISPATCH, dispatches[i] },
            { PORTAL_OPTION_MAX_QUEUED, MAX_QUEUED });
        port = portal_server_port(server);

        RUN(drain_comes_once_after_full);
        RUN(no_drain_without_full);
        RUN(at_most_one_message_more_than_the_limit_is_held);
        RUN(close_frames_and_pongs_are_never_full);
        RUN(a_sender_that_waits_for_drain_loses_nothing);
        CHECK_OK(portal_server_close(server));
    }
    return 0;
}
