/* HOST dispatch: the program's own threads serve, by `run`, by `poll`, or when `fd` says so. */
#include "check.h"
#include "client.h"
#include "journal.h"
#include "process.h"
#include "serve.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

static const struct setting host_settings[] = { { PORTAL_OPTION_DISPATCH, PORTAL_DISPATCH_HOST }, { 0 } };
static portal_server server;

static void *run_server(void *unused)
{
    CHECK_OK(portal_server_run(server));
    return unused;
}

/* Talks to the server from a thread of its own, while the test's thread serves. */
static void *talk(void *result)
{
    client *self = client_connect(portal_server_port(server), "/echo");

    for (int i = 0; i < 10; ++i) {
        client_say(self, "hello");
        client_expect_text(self, "hello");
    }
    client_farewell(self);
    atomic_store((atomic_int *)result, 1);
    return NULL;
}

static pthread_t talker;
static atomic_int talked;

static void begin_talk(void)
{
    atomic_store(&talked, 0);
    CHECK(pthread_create(&talker, NULL, talk, &talked) == 0);
}

static void end_talk(void)
{
    CHECK(pthread_join(talker, NULL) == 0);
}

static void the_library_starts_no_thread(void)
{
    server = serve(host_settings);
    CHECK_NUMBER(count_threads(), 1);
    CHECK_OK(portal_server_close(server));
}

static void run_serves_until_the_server_closes(void)
{
    pthread_t runner;

    server = serve(host_settings);
    CHECK(pthread_create(&runner, NULL, run_server, NULL) == 0);
    begin_talk();
    end_talk();
    CHECK_OK(portal_server_close(server));
    CHECK(pthread_join(runner, NULL) == 0);
    CHECK_STATUS(portal_server_run(server), PORTAL_STATUS_GONE);
}

static _Atomic portal_websocket sink;

static int32_t note_websocket(portal_websocket websocket, const portal_request *request, void *user_data)
{
    atomic_store(&sink, websocket);
    return 0;
}

/* The thread that runs the server may look for the loop just while another one has it for a flush. */
static void a_flush_from_another_thread_leaves_the_loop_to_who_serves(void)
{
    const portal_handlers handlers = { .size = sizeof handlers, .connect = note_websocket, .message = echo_message };
    pthread_t runner;
    client *self;

    define("/flushed", &handlers, NULL);
    server = serve(host_settings);
    CHECK(pthread_create(&runner, NULL, run_server, NULL) == 0);
    self = client_connect(portal_server_port(server), "/flushed");
    EVENTUALLY(atomic_load(&sink) != 0);
    for (int i = 0; i < 20000; ++i) {
        CHECK_OK(portal_send(sink, PORTAL_MESSAGE_TEXT, "now", 3));
        CHECK_OK(portal_flush(sink));
        client_expect_text(self, "now");
        if (i % 100 == 0) {
            client_say(self, "still there?");
            client_expect_text(self, "still there?");
        }
    }
    client_farewell(self);
    CHECK_OK(portal_server_close(server));
    CHECK(pthread_join(runner, NULL) == 0);
}

static void poll_serves_one_turn_and_counts_callbacks(void)
{
    portal_handlers handlers = recording;
    int callbacks = 0;

    handlers.message = echo_message;
    define("/echo", &handlers, NULL);
    server = serve(host_settings);
    CHECK_NUMBER(portal_server_poll(server, 0), 0);
    begin_talk();
    while (journal_count(PORTAL_EVENT_DISCONNECT) == 0) {
        const int32_t count = portal_server_poll(server, 50);
        CHECK(count >= 0);
        callbacks += count;
    }
    end_talk();
    CHECK_NUMBER(callbacks, 1 + 10 + 1); /* connect, ten messages, disconnect */
    journal_expect(PORTAL_EVENT_CONNECT);
    journal_expect(PORTAL_EVENT_DISCONNECT);
    define_echo("/echo");
    CHECK_OK(portal_server_close(server));
    CHECK_STATUS(portal_server_poll(server, 0), PORTAL_STATUS_GONE);
}

static void poll_waits_as_long_as_it_is_told(void)
{
    long long began;

    server = serve(host_settings);
    began = now_ms();
    CHECK_NUMBER(portal_server_poll(server, 200), 0);
    CHECK(now_ms() - began >= 190);
    began = now_ms();
    CHECK_NUMBER(portal_server_poll(server, 0), 0);
    CHECK(now_ms() - began < PATIENCE_MS / 2);
    CHECK_OK(portal_server_close(server));
}

static int is_readable(int descriptor, int timeout_ms)
{
    struct pollfd source = { .fd = descriptor, .events = POLLIN };
    return poll(&source, 1, timeout_ms) == 1;
}

static void the_descriptor_tells_when_to_poll(void)
{
    int descriptor;

    server = serve(host_settings);
    descriptor = portal_server_fd(server);
    CHECK(descriptor >= 0);
    while (is_readable(descriptor, 0))
        CHECK(portal_server_poll(server, 0) >= 0);
    begin_talk();
    while (!atomic_load(&talked))
        if (is_readable(descriptor, 50))
            CHECK(portal_server_poll(server, 0) >= 0);
    end_talk();
    CHECK_OK(portal_server_close(server));
}

static void *send_from_elsewhere(void *websocket)
{
    CHECK_OK(portal_send(*(portal_websocket *)websocket, PORTAL_MESSAGE_TEXT, "from elsewhere", 14));
    return NULL;
}

static void the_descriptor_becomes_readable_by_a_send_from_another_thread(void)
{
    portal_websocket websocket;
    pthread_t sender;
    client *self;
    int descriptor;

    server = serve(host_settings);
    descriptor = portal_server_fd(server);
    self = client_dial(portal_server_port(server));
    client_request(self, "/record", "");
    while (journal_is_empty())
        CHECK(portal_server_poll(server, 50) >= 0);
    websocket = journal_expect(PORTAL_EVENT_CONNECT).websocket;
    CHECK_NUMBER(client_response(self).status, 101);
    while (is_readable(descriptor, 0))
        CHECK(portal_server_poll(server, 0) >= 0);

    CHECK(pthread_create(&sender, NULL, send_from_elsewhere, &websocket) == 0);
    CHECK(is_readable(descriptor, PATIENCE_MS));
    CHECK(pthread_join(sender, NULL) == 0);
    CHECK(portal_server_poll(server, 0) >= 0);
    client_expect_text(self, "from elsewhere");
    client_destroy(self);
    CHECK_OK(portal_server_close(server));
    journal_expect(PORTAL_EVENT_DISCONNECT);
}

/* A loop without clients ends before the server does; then its descriptor's number may be a stranger's. */
static void ask_for_the_descriptor_of_an_ending_server(int strangers_count)
{
    int strangers[16], ends[2], descriptor;
    client *self;

    server = SERVE({ PORTAL_OPTION_DISPATCH, PORTAL_DISPATCH_HOST }, { PORTAL_OPTION_THREADS, 2 },
        { PORTAL_OPTION_CLOSE_TIMEOUT, 600000 });
    CHECK(pipe(ends) == 0);
    CHECK(write(ends[1], "x", 1) == 1);
    self = client_dial(portal_server_port(server));
    client_request(self, "/record", "");
    while (journal_is_empty())
        CHECK(portal_server_poll(server, 50) >= 0);
    journal_expect(PORTAL_EVENT_CONNECT);
    CHECK_NUMBER(client_response(self).status, 101);
    CHECK_OK(portal_server_begin_close(server));
    CHECK(portal_server_poll(server, 0) >= 0);
    client_expect_close(self, 1001, NULL);

    for (int i = 0; i < strangers_count; ++i)
        CHECK((strangers[i] = dup(ends[0])) >= 0);
    descriptor = portal_server_fd(server);
    CHECK(descriptor >= 0);
    EVENTUALLY(portal_server_poll(server, 0) == 0 && !is_readable(descriptor, 0));
    client_close(self, 1001, "");
    CHECK(is_readable(descriptor, PATIENCE_MS));
    client_destroy(self);
    EVENTUALLY(portal_server_poll(server, 0) == PORTAL_STATUS_GONE);
    journal_expect(PORTAL_EVENT_DISCONNECT);
    CHECK_STATUS(portal_server_fd(server), PORTAL_STATUS_GONE);
    for (int i = 0; i < strangers_count; ++i)
        CHECK(close(strangers[i]) == 0);
    CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
}

static void the_descriptor_may_be_asked_for_while_a_server_ends(void)
{
    ask_for_the_descriptor_of_an_ending_server(0);
}

static void the_descriptor_shows_no_stranger_that_has_an_ended_loops_number(void)
{
    ask_for_the_descriptor_of_an_ending_server(16);
}

static void a_server_that_begins_to_close_shows_it_by_its_descriptor(void)
{
    struct pollfd source = { .events = POLLIN };

    server = serve(host_settings);
    source.fd = portal_server_fd(server);
    while (is_readable(source.fd, 0))
        CHECK(portal_server_poll(server, 0) >= 0);
    CHECK_OK(portal_server_begin_close(server));
    CHECK(is_readable(source.fd, PATIENCE_MS));
    EVENTUALLY(portal_server_poll(server, 0) == PORTAL_STATUS_GONE);
    CHECK_NUMBER(poll(&source, 1, 0), 1);
    CHECK_NUMBER(source.revents, POLLNVAL); /* it went with the server */
}

static void *wake_server(void *unused)
{
    CHECK_OK(portal_server_wake(server));
    return unused;
}

static void wake_ends_a_wait(void)
{
    pthread_t waker;

    server = serve(host_settings);
    CHECK(pthread_create(&waker, NULL, wake_server, NULL) == 0);
    CHECK_NUMBER(portal_server_poll(server, -1), 0); /* present or next: it cannot come too early */
    CHECK(pthread_join(waker, NULL) == 0);
    CHECK_OK(portal_server_wake(server));
    CHECK_NUMBER(portal_server_poll(server, -1), 0);
    CHECK_OK(portal_server_close(server));
    CHECK_STATUS(portal_server_wake(server), PORTAL_STATUS_GONE);
}

static atomic_int polling;

static void *poll_forever(void *answer)
{
    int32_t count;

    atomic_fetch_add(&polling, 1);
    while ((count = portal_server_poll(server, -1)) >= 0)
        continue;
    *(int32_t *)answer = count;
    return NULL;
}

static void closing_ends_a_wait(void)
{
    pthread_t poller;
    int32_t answer = 0;

    server = serve(host_settings);
    atomic_store(&polling, 0);
    CHECK(pthread_create(&poller, NULL, poll_forever, &answer) == 0);
    EVENTUALLY(atomic_load(&polling) == 1);
    CHECK_OK(portal_server_close(server));
    CHECK(pthread_join(poller, NULL) == 0);
    CHECK_STATUS(answer, PORTAL_STATUS_GONE);
}

/* ---- more than one thread ---- */

static atomic_int inside, released;

static int32_t stay_inside(portal_websocket websocket, const portal_request *request, void *user_data)
{
    atomic_fetch_add(&inside, 1);
    EVENTUALLY(atomic_load(&released));
    return 0;
}

static void *knock(void *path)
{
    client *self = client_connect(portal_server_port(server), path);

    client_expect_close(self, 1001, NULL);
    client_destroy(self);
    return NULL;
}

static void up_to_threads_may_be_inside_and_one_more_is_busy(void)
{
    const portal_handlers handlers = { .size = sizeof handlers, .connect = stay_inside };
    pthread_t pollers[2], knockers[2];
    int32_t answers[2] = { 0, 0 };

    define("/stay", &handlers, NULL);
    atomic_store(&inside, 0);
    atomic_store(&released, 0);
    server = SERVE({ PORTAL_OPTION_DISPATCH, PORTAL_DISPATCH_HOST }, { PORTAL_OPTION_THREADS, 2 },
        { PORTAL_OPTION_CLOSE_TIMEOUT, 200 });
    for (int i = 0; i < 2; ++i)
        CHECK(pthread_create(&pollers[i], NULL, poll_forever, &answers[i]) == 0);
    for (int i = 0; i < 2; ++i) {
        CHECK(pthread_create(&knockers[i], NULL, knock, "/stay") == 0);
        EVENTUALLY(atomic_load(&inside) == i + 1);
    }
    CHECK_STATUS(portal_server_poll(server, 0), PORTAL_STATUS_BUSY);
    atomic_store(&released, 1);
    CHECK_OK(portal_server_close(server));
    for (int i = 0; i < 2; ++i) {
        CHECK(pthread_join(pollers[i], NULL) == 0);
        CHECK(pthread_join(knockers[i], NULL) == 0);
        CHECK_STATUS(answers[i], PORTAL_STATUS_GONE);
    }
    CHECK_OK(portal_undefine_path("/stay"));
}

static void *poll_once(void *unused)
{
    CHECK(portal_server_poll(server, 0) >= 0);
    return unused;
}

static void a_thread_that_ended_gives_its_loop_back(void)
{
    server = serve(host_settings);
    for (int i = 0; i < 20; ++i) {
        pthread_t other;
        CHECK(pthread_create(&other, NULL, poll_once, NULL) == 0);
        CHECK(pthread_join(other, NULL) == 0);
    }
    begin_talk();
    while (!atomic_load(&talked))
        CHECK(portal_server_poll(server, 50) >= 0);
    end_talk();
    CHECK_OK(portal_server_close(server));
}

static void closing_serves_on_the_calling_thread(void)
{
    client *self;

    server = SERVE({ PORTAL_OPTION_DISPATCH, PORTAL_DISPATCH_HOST }, { PORTAL_OPTION_CLOSE_TIMEOUT, 200 });
    self = client_dial(portal_server_port(server));
    client_request(self, "/record", "");
    while (journal_is_empty())
        CHECK(portal_server_poll(server, 50) >= 0);
    journal_expect(PORTAL_EVENT_CONNECT);
    CHECK_NUMBER(client_response(self).status, 101);
    CHECK_OK(portal_server_close(server)); /* nobody else serves */
    journal_expect(PORTAL_EVENT_DISCONNECT);
    client_expect_close(self, 1001, NULL);
    client_destroy(self);
}

int main(void)
{
    define_echo("/echo");
    define("/record", &recording, NULL);
    RUN(the_library_starts_no_thread);
    RUN(run_serves_until_the_server_closes);
    RUN(a_flush_from_another_thread_leaves_the_loop_to_who_serves);
    RUN(poll_serves_one_turn_and_counts_callbacks);
    RUN(poll_waits_as_long_as_it_is_told);
    RUN(the_descriptor_tells_when_to_poll);
    RUN(the_descriptor_becomes_readable_by_a_send_from_another_thread);
    RUN(the_descriptor_may_be_asked_for_while_a_server_ends);
    RUN(the_descriptor_shows_no_stranger_that_has_an_ended_loops_number);
    RUN(a_server_that_begins_to_close_shows_it_by_its_descriptor);
    RUN(wake_ends_a_wait);
    RUN(closing_ends_a_wait);
    RUN(up_to_threads_may_be_inside_and_one_more_is_busy);
    RUN(a_thread_that_ended_gives_its_loop_back);
    RUN(closing_serves_on_the_calling_thread);
    return 0;
}
