/* Calls with an id that is about to die never touch the client that has its slot next. */
#include "check.h"
#include "client.h"
#include "serve.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

/* So many clients hold the other slots of a chunk that a free one is used again at once. */
enum { HOLDERS = 250, HAMMERS = 3, RACE_MS = 1500, LIMIT = 4096 };

static _Atomic portal_websocket doomed;
static _Atomic int racing;

/* Fills its queue, so that `drain` is owed. */
static int32_t fill(portal_websocket websocket, const portal_request *request, void *user_data)
{
    static const char block[1024];
    portal_status status;

    while ((status = portal_send(websocket, PORTAL_MESSAGE_BINARY, block, sizeof block)) == PORTAL_STATUS_OK)
        continue;
    return status == PORTAL_STATUS_FULL ? 0 : status;
}

static void tell_drained(portal_websocket websocket, void *user_data)
{
    portal_send(websocket, PORTAL_MESSAGE_TEXT, "drained", 7);
}

/* Answers with the websocket's id, after a ping, whose count must be its own. */
static int32_t tell_id(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    CHECK_OK(portal_ping(websocket, "", 0));
    return portal_send(websocket, PORTAL_MESSAGE_BINARY, &websocket, sizeof websocket);
}

static void *hammer(void *unused)
{
    for (unsigned turn = 0; atomic_load(&racing); ++turn) {
        const portal_websocket websocket = atomic_load(&doomed);
        if (turn % 3 == 0)
            portal_ping(websocket, "x", 1);
        else if (turn % 3 == 1)
            portal_close(websocket, 1000, NULL);
        else
            portal_abort(websocket);
        if (turn % 64 == 0)
            sched_yield();
    }
    return NULL;
}

/* One client, which is drained, heard, and doomed then. */
static void live_and_die(uint32_t port)
{
    client *self = client_connect(port, "/fill");
    struct frame frame;
    portal_websocket websocket;

    do
        frame = client_read(self);
    while (frame.opcode == BINARY);
    CHECK_NUMBER(frame.opcode, TEXT);
    CHECK_TEXT((const char *)frame.payload, "drained");
    client_say(self, "who am I?");
    do
        frame = client_read(self);
    while (frame.opcode == PING);
    CHECK_NUMBER(frame.opcode, BINARY);
    CHECK_NUMBER(frame.len, sizeof websocket);
    memcpy(&websocket, frame.payload, sizeof websocket);
    atomic_store(&doomed, websocket);
    client_hear_out(self);
    client_destroy(self);
}

static void race(enum way way)
{
    client *holders[HOLDERS];
    pthread_t hammers[HAMMERS];
    int rounds = 0;

    serve_by(way);
    const portal_server server = SERVE({ PORTAL_OPTION_MAX_QUEUED, LIMIT });
    const uint32_t port = portal_server_port(server);
    for (size_t i = 0; i < HOLDERS; ++i)
        holders[i] = client_connect(port, "/hold");
    atomic_store(&racing, 1);
    for (size_t i = 0; i < HAMMERS; ++i)
        CHECK(pthread_create(&hammers[i], NULL, hammer, NULL) == 0);
    for (const long long end = now_ms() + RACE_MS; now_ms() < end; ++rounds)
        live_and_die(port);
    atomic_store(&racing, 0);
    for (size_t i = 0; i < HAMMERS; ++i)
        CHECK(pthread_join(hammers[i], NULL) == 0);
    for (size_t i = 0; i < HOLDERS; ++i)
        client_destroy(holders[i]);
    CHECK_OK(portal_server_close(server));
    printf("  %d rounds\n", rounds);
}

int main(void)
{
    const portal_handlers fill_and_tell = { .size = sizeof fill_and_tell, .connect = fill, .drain = tell_drained,
        .message = tell_id };
    const portal_handlers hold = { .size = sizeof hold };

    define("/fill", &fill_and_tell, NULL);
    define("/hold", &hold, NULL);
    race(BY_LOOP);
    race(BY_CLIENT_THREADS);
    race(BY_RUN);
    race(BY_POLL);
    return 0;
}
