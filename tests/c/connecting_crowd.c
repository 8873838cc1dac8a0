/* Many connections: opened and closed by several threads at any moment, and nothing of them is left. */
#include "check.h"
#include "process.h"
#include "serve.h"

#include <pthread.h>
#include <stdatomic.h>

enum { CONNECTIONS = 250, THREADS = 4, ROUNDS = 5, FEW_DESCRIPTORS = 40 };

static portal_server echo, ours;
static char url[64];
static atomic_int begun, connected, disconnected, released;

static int32_t note_connect(portal_websocket websocket, const portal_request *request, void *user_data)
{
    atomic_fetch_add(&connected, 1);
    return portal_send(websocket, PORTAL_MESSAGE_TEXT, "hello", 5);
}

/* Ends some connections inside of their handlers. */
static int32_t end_some(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    switch ((uintptr_t)user_data % 4) {
    case 0:
        return portal_close(websocket, 1000, "enough");
    case 1:
        return portal_abort(websocket);
    default:
        return portal_send(websocket, type, data, len);
    }
}

static int32_t note_disconnect(portal_websocket websocket, uint32_t code, const char *reason, void *user_data)
{
    atomic_fetch_add(&disconnected, 1);
    return 0;
}

static void note_release(void *user_data)
{
    atomic_fetch_add(&released, 1);
}

static void *open_and_close(void *number)
{
    const portal_handlers handlers = { .size = sizeof handlers, .connect = note_connect, .message = end_some,
        .disconnect = note_disconnect, .release = note_release };
    portal_options *options = options_with((const struct setting[]){ { PORTAL_OPTION_RECONNECT, 5 }, { 0 } });
    static portal_websocket websockets[THREADS][CONNECTIONS];
    portal_websocket *own = websockets[(uintptr_t)number];

    for (uintptr_t i = 0; i < CONNECTIONS; ++i) {
        CHECK_OK(portal_connect(ours, url, options, &handlers, (void *)i, &own[i]));
        atomic_fetch_add(&begun, 1);
        /* Some hardly begin. */
        if (i % 5 == 0)
            portal_abort(own[i]);
        else if (i % 5 == 1)
            portal_close(own[i], 1001, NULL);
        else
            portal_send(own[i], PORTAL_MESSAGE_BINARY, "early", 5);
    }
    /* Half of the threads end what is open, the others what is under way. */
    for (int i = 0; i < CONNECTIONS && (uintptr_t)number % 2 == 0; ++i)
        EVENTUALLY(portal_state_of(own[i]) != PORTAL_STATE_CONNECTING);
    for (int i = CONNECTIONS - 1; i >= 0; --i)
        if (i % 2 == 0)
            portal_close(own[i], 1000, NULL);
        else
            portal_abort(own[i]);
    portal_options_destroy(options);
    return NULL;
}

static void nothing_is_left_of_a_crowd(void)
{
    for (int round = 0; round < ROUNDS; ++round) {
        pthread_t threads[THREADS];

        for (uintptr_t i = 0; i < THREADS; ++i)
            CHECK(pthread_create(&threads[i], NULL, open_and_close, (void *)i) == 0);
        for (int i = 0; i < THREADS; ++i)
            CHECK(pthread_join(threads[i], NULL) == 0);
        EVENTUALLY(atomic_load(&released) == atomic_load(&begun));
        CHECK_NUMBER(atomic_load(&disconnected), atomic_load(&connected));
        EVENTUALLY(portal_server_metric(echo, PORTAL_METRIC_CONNECTIONS) == 0);
        CHECK_NUMBER(portal_server_metric(ours, PORTAL_METRIC_CONNECTIONS), 0);
        /* A loop has a few, and a connection one. */
        EVENTUALLY(count_descriptors() < FEW_DESCRIPTORS);
    }
}

int main(void)
{
    define_echo("/");
    echo = SERVE({ 0 });
    snprintf(url, sizeof url, "ws://127.0.0.1:%u/", (unsigned)portal_server_port(echo));
    RUN(nothing_is_left_of_a_crowd);
    for (int64_t dispatch = PORTAL_DISPATCH_IO; dispatch <= PORTAL_DISPATCH_PER_CLIENT; ++dispatch) {
        ours = SERVE({ PORTAL_OPTION_HOST, .text = "none" }, { PORTAL_OPTION_DISPATCH, dispatch });
        RUN(nothing_is_left_of_a_crowd);
        CHECK_OK(portal_server_close(ours));
    }
    return 0;
}
