/* Eight threads use websockets that die at any moment: nothing worse than GONE or FULL comes of it. */
#include "check.h"
#include "client.h"
#include "journal.h"
#include "serve.h"

#include <pthread.h>
#include <stdatomic.h>

enum { SENDERS = 8, SEATS = 16, CLIENTS = 400 };

static atomic_uint_least64_t seats[SEATS]; /* the newest websockets, dead ones among them */
static atomic_uint next_seat;
static atomic_int stop;

static int32_t sit(portal_websocket websocket, const portal_request *request, void *user_data)
{
    atomic_store(&seats[atomic_fetch_add(&next_seat, 1) % SEATS], websocket);
    return record_connect(websocket, request, user_data);
}

static void check_alive_or_gone(portal_status status)
{
    if (status != PORTAL_STATUS_OK && status != PORTAL_STATUS_GONE && status != PORTAL_STATUS_FULL)
        FAIL("%s came of a dying websocket", portal_status_name(status));
}

static void *use(void *number)
{
    unsigned random = (unsigned)(uintptr_t)number + 1;
    int belongings;

    while (!atomic_load(&stop)) {
        const portal_websocket websocket = atomic_load(&seats[random % SEATS]);
        random = random * 1664525 + 1013904223;
        if (websocket == 0)
            continue;
        check_alive_or_gone(portal_send(websocket, PORTAL_MESSAGE_TEXT, "hello", 5));
        check_alive_or_gone(portal_ping(websocket, "ping", 4));
        check_alive_or_gone(portal_flush(websocket));
        check_alive_or_gone(portal_set_data(websocket, &belongings));
        portal_data(websocket);
        CHECK(portal_state_of(websocket) <= PORTAL_STATE_CLOSED);
        portal_queued(websocket);
        if (random >> 24 == 0)
            check_alive_or_gone(portal_close(websocket, 4000, "enough"));
        if (random >> 24 == 1)
            check_alive_or_gone(portal_abort(websocket));
    }
    return NULL;
}

static void check_dispatch(uint32_t dispatch, int64_t threads)
{
    const portal_server server = SERVE({ PORTAL_OPTION_DISPATCH, dispatch }, { PORTAL_OPTION_THREADS, threads },
        { PORTAL_OPTION_CLOSE_TIMEOUT, 200 });
    const uint32_t port = portal_server_port(server);
    pthread_t senders[SENDERS];

    atomic_store(&stop, 0);
    for (uintptr_t i = 0; i < SENDERS; ++i)
        CHECK(pthread_create(&senders[i], NULL, use, (void *)i) == 0);
    for (int i = 0; i < CLIENTS; ++i) {
        client *self = client_dial(port);
        client_request(self, "/seat", "");
        client_hears_anything(self); /* the end, when it was aborted that fast */
        if (i % 3 == 0)
            client_close(self, 1000, "");
        if (i % 3 == 1)
            client_hang_up(self);
        else
            client_destroy(self);
    }
    CHECK_OK(portal_server_close(server));
    atomic_store(&stop, 1);
    for (int i = 0; i < SENDERS; ++i)
        CHECK(pthread_join(senders[i], NULL) == 0);
    CHECK_NUMBER(journal_count(PORTAL_EVENT_CONNECT), journal_count(PORTAL_EVENT_DISCONNECT));
}

int main(void)
{
    portal_handlers handlers = recording;

    handlers.connect = sit;
    handlers.message = NULL;
    define("/seat", &handlers, NULL);
    check_dispatch(PORTAL_DISPATCH_IO, 1);
    check_dispatch(PORTAL_DISPATCH_IO, 4);
    check_dispatch(PORTAL_DISPATCH_PER_CLIENT, 1);
    return 0;
}
