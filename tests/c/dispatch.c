/* On which threads callbacks run when Portal has threads of its own. */
#include "check.h"
#include "client.h"
#include "serve.h"

#include <pthread.h>
#include <stdatomic.h>

enum { CLIENTS = 12 };

static atomic_int let_go;

/* ---- which thread ---- */

/* Tells the client which thread it is served by. */
static int32_t tell_thread(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    const pthread_t thread = pthread_self();
    return portal_send(websocket, PORTAL_MESSAGE_BINARY, &thread, sizeof thread);
}

static pthread_t ask_thread(client *self)
{
    pthread_t thread;
    struct frame frame;

    client_say(self, "which thread?");
    frame = client_read(self);
    CHECK_NUMBER(frame.len, sizeof thread);
    memcpy(&thread, frame.payload, sizeof thread);
    CHECK(!pthread_equal(thread, pthread_self()));
    return thread;
}

/* How many threads serve a crowd; checks that each websocket stays on its own. */
static int count_serving_threads(uint32_t dispatch, int64_t threads)
{
    const portal_server server = SERVE({ PORTAL_OPTION_DISPATCH, dispatch }, { PORTAL_OPTION_THREADS, threads });
    client *clients[CLIENTS];
    pthread_t serving[CLIENTS];
    int different = 0;

    for (int i = 0; i < CLIENTS; ++i) {
        clients[i] = client_connect(portal_server_port(server), "/thread");
        serving[i] = ask_thread(clients[i]);
    }
    for (int i = 0; i < CLIENTS; ++i) {
        int earlier = 0;
        CHECK(pthread_equal(ask_thread(clients[i]), serving[i]));
        while (!pthread_equal(serving[earlier], serving[i]))
            ++earlier;
        different += earlier == i;
    }
    for (int i = 0; i < CLIENTS; ++i)
        client_farewell(clients[i]);
    CHECK_OK(portal_server_close(server));
    return different;
}

static void one_loop_serves_all_on_one_thread(void)
{
    CHECK_NUMBER(count_serving_threads(PORTAL_DISPATCH_IO, 1), 1);
}

static void four_loops_share_the_websockets(void)
{
    CHECK_NUMBER(count_serving_threads(PORTAL_DISPATCH_IO, 4), 4);
}

static void per_client_gives_each_websocket_its_thread(void)
{
    CHECK_NUMBER(count_serving_threads(PORTAL_DISPATCH_PER_CLIENT, 1), CLIENTS);
}

static void zero_threads_is_one_per_processor(void)
{
    CHECK(count_serving_threads(PORTAL_DISPATCH_IO, 0) >= 1);
}

/* ---- blocking ---- */

static int32_t block(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    EVENTUALLY(atomic_load(&let_go));
    return portal_send(websocket, type, data, len);
}

static void a_blocking_handler_holds_up_nobody_else(void)
{
    const portal_server server = SERVE({ PORTAL_OPTION_DISPATCH, PORTAL_DISPATCH_PER_CLIENT });
    const uint32_t port = portal_server_port(server);
    client *blocked = client_connect(port, "/block"), *other;

    atomic_store(&let_go, 0);
    client_say(blocked, "one");
    other = client_connect(port, "/echo");
    for (int i = 0; i < 20; ++i) {
        client_say(other, "free");
        client_expect_text(other, "free");
    }
    client_send(blocked, PING, "alive?", 6);
    client_expect(blocked, PONG, "alive?", 6); /* Portal answers while the handler blocks */
    atomic_store(&let_go, 1);
    client_expect_text(blocked, "one");
    client_farewell(blocked);
    client_farewell(other);
    CHECK_OK(portal_server_close(server));
}

static int32_t block_at_the_last(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    if (strcmp(data, "last") == 0)
        EVENTUALLY(atomic_load(&let_go));
    return portal_send(websocket, type, data, len);
}

static void an_answer_does_not_wait_for_a_later_handler_that_blocks(void)
{
    const portal_server server = SERVE({ PORTAL_OPTION_DISPATCH, PORTAL_DISPATCH_PER_CLIENT });
    client *self = client_connect(portal_server_port(server), "/last");

    for (int i = 0; i < 20; ++i) {
        atomic_store(&let_go, 0);
        /* Masked with zeros, and written at once, so that one read brings them. */
        client_send_bytes(self, "\x81\x83\0\0\0\0one\x81\x83\0\0\0\0two\x81\x84\0\0\0\0last", 28);
        client_expect_text(self, "one");
        client_expect_text(self, "two");
        atomic_store(&let_go, 1);
        client_expect_text(self, "last");
    }
    client_farewell(self);
    CHECK_OK(portal_server_close(server));
}

static atomic_int full;

static int32_t count_full(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    const portal_status status = portal_send(websocket, type, data, len);

    (void)user_data;
    atomic_fetch_add(&full, status == PORTAL_STATUS_FULL);
    return status;
}

static void who_sends_one_reply_for_each_message_never_meets_a_full_queue(void)
{
    enum { MESSAGES = 250, PAYLOAD = 120 };
    static uint8_t frames[MESSAGES][6 + PAYLOAD];

    for (int i = 0; i < MESSAGES; ++i) {
        frames[i][0] = 0x82;
        frames[i][1] = 0x80 | PAYLOAD;
    }
    for (int64_t max_queued = 64; max_queued <= 65536; max_queued *= 4) {
        const portal_server server = SERVE({ PORTAL_OPTION_DISPATCH, PORTAL_DISPATCH_PER_CLIENT },
                                           { PORTAL_OPTION_MAX_QUEUED, max_queued });
        client *self = client_connect(portal_server_port(server), "/count");

        client_send_bytes(self, frames, sizeof frames);
        for (int i = 0; i < MESSAGES; ++i)
            client_expect(self, BINARY, &frames[0][6], PAYLOAD);
        client_farewell(self);
        CHECK_OK(portal_server_close(server));
        CHECK_NUMBER(atomic_load(&full), 0);
    }
}

static void *flood(void *self)
{
    static const char much[100000];

    for (int i = 0; i < 1000; ++i)
        client_send(self, BINARY, much, sizeof much);
    return NULL;
}

static void what_a_blocked_handler_does_not_take_waits_at_the_client(void)
{
    const portal_server server = SERVE({ PORTAL_OPTION_DISPATCH, PORTAL_DISPATCH_PER_CLIENT });
    client *self = client_connect(portal_server_port(server), "/block");
    pthread_t writer;
    uint64_t before = 1, after = 0;

    atomic_store(&let_go, 0);
    CHECK(pthread_create(&writer, NULL, flood, self) == 0);
    /* The server stops reading long before 100 MB have come. */
    while (after != before) {
        before = after;
        pause_ms(500);
        after = portal_server_metric(server, PORTAL_METRIC_BYTES_IN);
    }
    CHECK(after < 50 * 1000 * 1000);
    atomic_store(&let_go, 1);
    for (int i = 0; i < 1000; ++i)
        CHECK_NUMBER(client_read(self).len, 100000);
    CHECK(pthread_join(writer, NULL) == 0);
    client_farewell(self);
    CHECK_OK(portal_server_close(server));
}

static int32_t leave_slowly(portal_websocket websocket, uint32_t code, const char *reason, void *user_data)
{
    atomic_store((atomic_int *)user_data, 1);
    EVENTUALLY(atomic_load(&let_go));
    atomic_store((atomic_int *)user_data, 2);
    return 0;
}

static void *let_go_soon(void *leaving)
{
    EVENTUALLY(atomic_load((atomic_int *)leaving) == 1);
    atomic_store(&let_go, 1);
    return NULL;
}

static void closing_waits_for_handlers_that_run(void)
{
    atomic_int leaving = 0;
    const portal_handlers handlers = { .size = sizeof handlers, .disconnect = leave_slowly };

    define("/slow", &handlers, &leaving);
    for (uint32_t dispatch = PORTAL_DISPATCH_IO; dispatch <= PORTAL_DISPATCH_PER_CLIENT; ++dispatch) {
        const portal_server server = SERVE({ PORTAL_OPTION_DISPATCH, dispatch }, { PORTAL_OPTION_CLOSE_TIMEOUT, 100 });
        client *self = client_connect(portal_server_port(server), "/slow");
        pthread_t helper;

        atomic_store(&let_go, 0);
        atomic_store(&leaving, 0);
        CHECK(pthread_create(&helper, NULL, let_go_soon, &leaving) == 0);
        client_destroy(self);
        CHECK_OK(portal_server_close(server));
        CHECK_NUMBER(atomic_load(&leaving), 2);
        CHECK(pthread_join(helper, NULL) == 0);
    }
    CHECK_OK(portal_undefine_path("/slow"));
}

int main(void)
{
    const portal_handlers telling = { .size = sizeof telling, .message = tell_thread };
    const portal_handlers blocking = { .size = sizeof blocking, .message = block };
    const portal_handlers counting = { .size = sizeof counting, .message = count_full };
    const portal_handlers blocking_last = { .size = sizeof blocking_last, .message = block_at_the_last };

    define("/thread", &telling, NULL);
    define("/block", &blocking, NULL);
    define("/last", &blocking_last, NULL);
    define("/count", &counting, NULL);
    define_echo("/echo");
    RUN(one_loop_serves_all_on_one_thread);
    RUN(four_loops_share_the_websockets);
    RUN(per_client_gives_each_websocket_its_thread);
    RUN(zero_threads_is_one_per_processor);
    RUN(a_blocking_handler_holds_up_nobody_else);
    RUN(an_answer_does_not_wait_for_a_later_handler_that_blocks);
    RUN(who_sends_one_reply_for_each_message_never_meets_a_full_queue);
    RUN(what_a_blocked_handler_does_not_take_waits_at_the_client);
    RUN(closing_waits_for_handlers_that_run);
    return 0;
}
