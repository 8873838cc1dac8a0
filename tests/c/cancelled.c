/* A host's thread that is cancelled inside Portal ends in a wait of run, poll or pull, or after the call: it
   never takes the process along, and what it served is served by the next. */
#include "check.h"
#include "client.h"
#include "serve.h"

#include <pthread.h>
#include <stdatomic.h>

static portal_server server;

/* ---- in a wait ---- */

static void *run(void *unused)
{
    portal_server_run(server);
    return unused;
}

static void *poll_on(void *unused)
{
    while (portal_server_poll(server, -1) >= 0)
        continue;
    return unused;
}

static void *pull(void *unused)
{
    portal_pulled events[4];
    int32_t count;

    while ((count = portal_server_pull(server, -1, events, COUNT(events), sizeof *events)) >= 0)
        for (int32_t i = 0; i < count; ++i)
            if (events[i].event == PORTAL_EVENT_MESSAGE)
                CHECK_OK(portal_send(events[i].websocket, events[i].type, events[i].data, events[i].len));
    return unused;
}

static void *(*const ways[])(void *) = { run, poll_on, pull };

static pthread_t begin(void *(*work)(void *))
{
    pthread_t thread;

    CHECK(pthread_create(&thread, NULL, work, NULL) == 0);
    return thread;
}

static void cancel(pthread_t thread)
{
    void *answer;

    CHECK(pthread_cancel(thread) == 0);
    CHECK(pthread_join(thread, &answer) == 0);
    CHECK(answer == PTHREAD_CANCELED);
}

static void check_served(client *self)
{
    client_say(self, "served");
    client_expect_text(self, "served");
}

static void a_wait_can_be_cancelled_and_the_next_thread_goes_on(void)
{
    for (size_t i = 0; i < COUNT(ways); ++i) {
        pthread_t thread;
        client *self, *other;

        /* One place, so the second thread is let in only if the first has given it back. */
        server = SERVE({ PORTAL_OPTION_DISPATCH, PORTAL_DISPATCH_HOST });
        thread = begin(ways[i]);
        self = client_connect(portal_server_port(server), "/echo");
        check_served(self);
        cancel(thread);
        thread = begin(ways[i]);
        check_served(self);
        other = client_connect(portal_server_port(server), "/echo");
        check_served(other);
        client_destroy(other);
        client_destroy(self);
        cancel(thread);
        CHECK_OK(portal_server_close(server));
    }
}

static void threads_are_cancelled_at_any_moment(void)
{
    enum { ROUNDS = 100 };

    server = SERVE({ PORTAL_OPTION_DISPATCH, PORTAL_DISPATCH_HOST });
    for (int round = 0; round < ROUNDS; ++round) {
        const pthread_t thread = begin(ways[round % 2]);
        client *self = client_dial(portal_server_port(server));

        /* The client comes, and goes, while its server's thread does. */
        client_request(self, "/echo", "");
        if (round % 4 > 1)
            client_half_close(self);
        cancel(thread);
        client_destroy(self);
    }
    CHECK_OK(portal_server_close(server));
}

/* ---- not in a wait ---- */

static atomic_int inside, released, went_on;

static int32_t stay_inside(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    atomic_store(&inside, 1);
    EVENTUALLY(atomic_load(&released));
    pthread_testcancel();
    pause_ms(1); /* a place where threads are cancelled, too */
    atomic_store(&went_on, 1);
    return portal_send(websocket, type, data, len);
}

static void a_handler_is_not_cancelled_but_what_follows_it(void)
{
    for (size_t i = 0; i < 2; ++i) {
        pthread_t thread;
        client *self;
        void *answer;

        atomic_store(&inside, 0);
        atomic_store(&released, 0);
        atomic_store(&went_on, 0);
        server = SERVE({ PORTAL_OPTION_DISPATCH, PORTAL_DISPATCH_HOST });
        thread = begin(ways[i]);
        self = client_connect(portal_server_port(server), "/slow");
        client_say(self, "served");
        EVENTUALLY(atomic_load(&inside));
        CHECK(pthread_cancel(thread) == 0);
        atomic_store(&released, 1);
        CHECK(pthread_join(thread, &answer) == 0);
        CHECK(answer == PTHREAD_CANCELED);
        CHECK(atomic_load(&went_on));
        client_expect_text(self, "served");
        client_destroy(self);
        CHECK_OK(portal_server_close(server));
    }
}

static atomic_int closed, is_closing;

static void *close_server(void *unused)
{
    atomic_store(&is_closing, 1);
    CHECK_OK(portal_server_close(server));
    atomic_store(&closed, 1);
    pthread_testcancel();
    return unused;
}

static void a_close_is_done_before_its_thread_is_cancelled(void)
{
    static const uint32_t dispatches[] = { PORTAL_DISPATCH_IO, PORTAL_DISPATCH_PER_CLIENT, PORTAL_DISPATCH_HOST };

    for (size_t i = 0; i < COUNT(dispatches); ++i) {
        pthread_t closer = 0, host = 0;
        client *self;
        void *answer;

        atomic_store(&inside, 0);
        atomic_store(&released, 0);
        atomic_store(&closed, 0);
        atomic_store(&is_closing, 0);
        server = SERVE({ PORTAL_OPTION_DISPATCH, dispatches[i] });
        if (dispatches[i] == PORTAL_DISPATCH_HOST)
            host = begin(run);
        self = client_connect(portal_server_port(server), "/slow");
        client_say(self, "served");
        EVENTUALLY(atomic_load(&inside));
        closer = begin(close_server);
        EVENTUALLY(atomic_load(&is_closing));
        CHECK(pthread_cancel(closer) == 0);
        atomic_store(&released, 1);
        /* What the handler has said comes first, unless the close was quicker. */
        while (client_read(self).opcode != CLOSE)
            continue;
        client_close(self, 1001, "");
        client_half_close(self);
        CHECK(pthread_join(closer, &answer) == 0);
        CHECK(answer == PTHREAD_CANCELED);
        CHECK(atomic_load(&closed));
        if (dispatches[i] == PORTAL_DISPATCH_HOST)
            CHECK(pthread_join(host, NULL) == 0);
        client_destroy(self);
    }
}

/* ---- the caller's own choice ---- */

static void *run_uncancelled(void *unused)
{
    int before;

    CHECK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before) == 0);
    CHECK_OK(portal_server_run(server));
    CHECK(pthread_setcancelstate(before, &before) == 0);
    CHECK_NUMBER(before, PTHREAD_CANCEL_DISABLE);
    atomic_store(&went_on, 1);
    return unused;
}

static void a_thread_may_forbid_that_it_is_cancelled(void)
{
    pthread_t thread;
    client *self;

    atomic_store(&went_on, 0);
    server = SERVE({ PORTAL_OPTION_DISPATCH, PORTAL_DISPATCH_HOST });
    thread = begin(run_uncancelled);
    self = client_connect(portal_server_port(server), "/echo");
    CHECK(pthread_cancel(thread) == 0);
    check_served(self);
    client_destroy(self);
    CHECK_OK(portal_server_close(server));
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(atomic_load(&went_on));
}

int main(void)
{
    const portal_handlers slow = { .size = sizeof slow, .message = stay_inside };

    define_echo("/echo");
    define("/slow", &slow, NULL);
    RUN(a_wait_can_be_cancelled_and_the_next_thread_goes_on);
    RUN(threads_are_cancelled_at_any_moment);
    RUN(a_handler_is_not_cancelled_but_what_follows_it);
    RUN(a_close_is_done_before_its_thread_is_cancelled);
    RUN(a_thread_may_forbid_that_it_is_cancelled);
    return 0;
}
