/* A forked child that lives on holds whatever descriptors the parent had: still the parent's clients learn
   of their end, its port becomes free, and no function hangs in the child on what was locked at the fork. */
#include "check.h"
#include "client.h"
#include "journal.h"
#include "port.h"
#include "serve.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- what the child holds ---- */

struct sleeper {
    pid_t process;
    int lifeline; /* it ends when this does */
};

static struct sleeper begin_sleeper(void)
{
    struct sleeper sleeper;
    int lifeline[2];
    char nothing;

    CHECK(pipe(lifeline) == 0);
    sleeper.process = fork();
    CHECK(sleeper.process >= 0);
    if (sleeper.process == 0) {
        close(lifeline[1]);
        _exit(read(lifeline[0], &nothing, 1) == 0 ? 0 : 1);
    }
    close(lifeline[0]);
    sleeper.lifeline = lifeline[1];
    return sleeper;
}

static void end_sleeper(struct sleeper sleeper)
{
    int status;

    close(sleeper.lifeline);
    CHECK(waitpid(sleeper.process, &status, 0) == sleeper.process);
    CHECK_NUMBER(status, 0);
}

static void an_aborted_client_learns_of_its_end(void)
{
    const portal_server server = serve(NULL);
    client *self = client_connect(portal_server_port(server), "/record");
    const portal_websocket websocket = journal_expect(PORTAL_EVENT_CONNECT).websocket;
    const struct sleeper sleeper = begin_sleeper();

    CHECK_OK(portal_abort(websocket));
    client_expect_end(self);
    journal_expect(PORTAL_EVENT_DISCONNECT);
    client_destroy(self);
    CHECK_OK(portal_server_close(server));
    end_sleeper(sleeper);
}

static void what_was_queued_before_a_close_still_arrives(void)
{
    enum { SIZE = 4 << 20 };
    const portal_server server = serve(NULL);
    client *self = client_connect(portal_server_port(server), "/record");
    const portal_websocket websocket = journal_expect(PORTAL_EVENT_CONNECT).websocket;
    const struct sleeper sleeper = begin_sleeper();
    char *words = calloc(1, SIZE);

    CHECK(words != NULL);
    CHECK_OK(portal_send(websocket, PORTAL_MESSAGE_BINARY, words, SIZE));
    CHECK_OK(portal_close(websocket, 1000, "bye"));
    client_expect(self, BINARY, words, SIZE);
    client_expect_close(self, 1000, "bye");
    client_close(self, 1000, "bye");
    client_expect_end(self);
    client_half_close(self);
    journal_expect(PORTAL_EVENT_DISCONNECT);
    client_destroy(self);
    free(words);
    CHECK_OK(portal_server_close(server));
    end_sleeper(sleeper);
}

static void the_port_is_free_after_the_close_and_serves_anew(void)
{
    uint32_t port;
    const int reservation = reserve_port(&port);
    portal_server server = serve_on(port, NULL);
    const struct sleeper sleeper = begin_sleeper();
    client *self;

    CHECK_OK(portal_server_close(server));
    server = serve_on(port, NULL);
    self = client_connect(port, "/echo");
    client_say(self, "anew");
    client_expect_text(self, "anew");
    client_farewell(self);
    CHECK_OK(portal_server_close(server));
    end_sleeper(sleeper);
    close(reservation);
}

static void a_client_that_waits_to_be_accepted_is_not_left_waiting(void)
{
    portal_server server = SERVE({ PORTAL_OPTION_DISPATCH, PORTAL_DISPATCH_HOST });
    client *self = client_dial(portal_server_port(server)); /* nobody serves: it waits in the backlog */
    const struct sleeper sleeper = begin_sleeper();

    CHECK_OK(portal_server_close(server));
    client_expect_end(self);
    client_destroy(self);
    end_sleeper(sleeper);
}

/* ---- what the child may call ---- */

static void check_child_ends(pid_t child)
{
    int status = 0;

    CHECK(child >= 0);
    CHECK(waitpid(child, &status, 0) == child);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        FAIL("a call hangs in the child");
    CHECK_NUMBER(status, 0);
}

/* Here nothing may be checked by FAIL, which prints: others may have held stdout's lock. */
static _Noreturn void call_everything(void)
{
    const portal_handlers handlers = { .size = sizeof handlers };
    const int32_t answers[] = {
        portal_define_path("/in/a/child", &handlers, NULL),
        portal_undefine_path("/0"),
        portal_define_page("/in/a/child", "text/plain", "x", 1),
        portal_undefine_page("/"),
        portal_set_log(1, NULL, NULL),
        portal_server_start(0, NULL, &(portal_server){ 0 }),
    };

    for (size_t i = 0; i < COUNT(answers); ++i)
        if (answers[i] != PORTAL_STATUS_UNSUPPORTED)
            _exit((int)i + 1);
    if (portal_set_debug_on_error(0) != PORTAL_STATUS_OK || portal_server_close(1) != PORTAL_STATUS_GONE)
        _exit(100);
    _exit(0);
}

static atomic_int defining;

static void *define_and_undefine(void *unused)
{
    const portal_handlers handlers = { .size = sizeof handlers };

    while (atomic_load(&defining)) {
        CHECK_OK(portal_define_path("/now/and/then", &handlers, NULL));
        CHECK_OK(portal_undefine_path("/now/and/then"));
    }
    return unused;
}

static void definitions_in_a_child_do_not_wait_for_a_thread_of_the_parents(void)
{
    enum { PATHS = 1000, CHILDREN = 20 };
    const portal_handlers handlers = { .size = sizeof handlers };
    const portal_server server = serve(NULL);
    char path[16];
    pthread_t definer;

    /* So many that who undefines one is at it for a while. */
    for (int i = 0; i < PATHS; ++i) {
        snprintf(path, sizeof path, "/%d", i);
        CHECK_OK(portal_define_path(path, &handlers, NULL));
    }
    atomic_store(&defining, 1);
    CHECK(pthread_create(&definer, NULL, define_and_undefine, NULL) == 0);
    for (int i = 0; i < CHILDREN; ++i) {
        const pid_t child = fork();

        if (child == 0) {
            alarm(PATIENCE_MS / 1000);
            call_everything();
        }
        check_child_ends(child);
    }
    atomic_store(&defining, 0);
    CHECK(pthread_join(definer, NULL) == 0);
    for (int i = 0; i < PATHS; ++i) {
        snprintf(path, sizeof path, "/%d", i);
        CHECK_OK(portal_undefine_path(path));
    }
    CHECK_OK(portal_server_close(server));
}

static atomic_int telling, told;

static void tell_for_long(uint32_t level, const char *message, void *user_data)
{
    atomic_store(&telling, 1);
    EVENTUALLY(atomic_load(&told));
}

static void *start_and_close(void *unused)
{
    CHECK_OK(portal_server_close(serve(NULL)));
    return unused;
}

static void the_log_in_a_child_does_not_wait_for_a_callback_of_the_parents(void)
{
    const portal_server server = serve(NULL);
    pthread_t teller;
    pid_t child;

    CHECK_OK(portal_set_log(3, tell_for_long, NULL));
    CHECK(pthread_create(&teller, NULL, start_and_close, NULL) == 0);
    EVENTUALLY(atomic_load(&telling));
    child = fork();
    if (child == 0) {
        alarm(PATIENCE_MS / 1000 / 2);
        call_everything();
    }
    check_child_ends(child);
    atomic_store(&told, 1);
    CHECK(pthread_join(teller, NULL) == 0);
    CHECK_OK(portal_set_log(0, NULL, NULL));
    CHECK_OK(portal_server_close(server));
}

/* A child that ends in order gives back nothing of its parent's: neither a place nor a batch. */
static void a_child_that_exits_with_a_batch_leaves_the_parent_its_loop(void)
{
    portal_server server = SERVE({ PORTAL_OPTION_DISPATCH, PORTAL_DISPATCH_HOST });
    client *self = client_dial(portal_server_port(server));
    portal_pulled event = { 0 };
    pid_t child;

    client_request(self, "/echo", "");
    while (event.event != PORTAL_EVENT_CONNECT)
        CHECK(portal_server_pull(server, 50, &event, 1, sizeof event) >= 0);
    child = fork();
    if (child == 0) {
        alarm(PATIENCE_MS / 1000);
        exit(0);
    }
    check_child_ends(child);
    CHECK(portal_server_pull(server, 0, &event, 1, sizeof event) == 0);
    CHECK_NUMBER(client_response(self).status, 101);
    client_say(self, "here");
    while (event.event != PORTAL_EVENT_MESSAGE)
        CHECK(portal_server_pull(server, 50, &event, 1, sizeof event) >= 0);
    client_destroy(self);
    CHECK_OK(portal_server_close(server));
}

int main(void)
{
    define("/record", &recording, NULL);
    define_echo("/echo");
    RUN(an_aborted_client_learns_of_its_end);
    RUN(what_was_queued_before_a_close_still_arrives);
    RUN(the_port_is_free_after_the_close_and_serves_anew);
    RUN(a_client_that_waits_to_be_accepted_is_not_left_waiting);
    RUN(definitions_in_a_child_do_not_wait_for_a_thread_of_the_parents);
    RUN(the_log_in_a_child_does_not_wait_for_a_callback_of_the_parents);
    RUN(a_child_that_exits_with_a_batch_leaves_the_parent_its_loop);
    return 0;
}
