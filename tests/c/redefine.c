/* Paths may be redefined and undefined while their clients talk; `release` says when it is over. */
#include "check.h"
#include "client.h"
#include "serve.h"

#include <pthread.h>
#include <stdatomic.h>

/* A definition's user_data: it counts what is done with it, and must outlive that. */
struct definition {
    int number;
    atomic_int running;
    atomic_int released;
};

static uint32_t port;

static int32_t answer(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    struct definition *definition = user_data;
    char number[16];
    int32_t status;

    atomic_fetch_add(&definition->running, 1);
    CHECK_NUMBER(atomic_load(&definition->released), 0);
    snprintf(number, sizeof number, "%d", definition->number);
    status = portal_send(websocket, PORTAL_MESSAGE_TEXT, number, strlen(number));
    CHECK_NUMBER(atomic_load(&definition->released), 0);
    atomic_fetch_sub(&definition->running, 1);
    return status;
}

static void release(void *user_data)
{
    struct definition *definition = user_data;

    CHECK_NUMBER(atomic_load(&definition->running), 0);
    CHECK_NUMBER(atomic_fetch_add(&definition->released, 1), 0);
}

static const portal_handlers handlers = { .size = sizeof handlers, .message = answer, .release = release };

static void ask(client *self, int expected)
{
    char number[16];

    snprintf(number, sizeof number, "%d", expected);
    client_say(self, "who?");
    client_expect_text(self, number);
}

static void the_next_event_goes_to_the_newest_definition(void)
{
    struct definition first = { .number = 1 }, second = { .number = 2 };
    client *self;

    define("/path", &handlers, &first);
    self = client_connect(port, "/path");
    ask(self, 1);
    define("/path", &handlers, &second);
    ask(self, 2);
    EVENTUALLY(first.released == 1);
    ask(self, 2);
    CHECK_NUMBER(second.released, 0);
    client_farewell(self);
    CHECK_OK(portal_undefine_path("/path"));
    EVENTUALLY(second.released == 1);
    CHECK_NUMBER(first.released, 1);
}

static void clients_of_an_undefined_path_keep_its_last_definition(void)
{
    struct definition last = { .number = 3 };
    client *self;

    define("/path", &handlers, &last);
    self = client_connect(port, "/path");
    ask(self, 3);
    CHECK_OK(portal_undefine_path("/path"));
    CHECK_NUMBER(client_status(port, "/path", ""), 404);
    ask(self, 3);
    CHECK_NUMBER(last.released, 0);
    client_farewell(self);
    EVENTUALLY(last.released == 1);
}

static void a_failed_define_releases_nothing(void)
{
    struct definition never = { .number = 4 };
    portal_handlers wrong = handlers;

    wrong.size = 1;
    CHECK_STATUS(portal_define_path("/path", &wrong, &never), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_define_path("path", &handlers, &never), PORTAL_STATUS_ARGUMENT);
    CHECK_NUMBER(never.released, 0);
}

static void a_definition_that_nobody_used_is_released(void)
{
    struct definition unused = { .number = 5 }, again = { .number = 6 };

    define("/unused", &handlers, &unused);
    define("/unused", &handlers, &again);
    EVENTUALLY(unused.released == 1);
    CHECK_OK(portal_undefine_path("/unused"));
    EVENTUALLY(again.released == 1);
    CHECK_NUMBER(unused.released, 1);
}

/* A handler that waits until the test lets it go. */
static atomic_int inside, let_go;

static int32_t hold(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    atomic_store(&inside, 1);
    EVENTUALLY(atomic_load(&let_go));
    return answer(websocket, type, data, len, user_data);
}

static void release_waits_for_a_running_handler(void)
{
    struct definition held = { .number = 7 }, next = { .number = 8 };
    portal_handlers holding = handlers;
    client *self;

    holding.message = hold;
    atomic_store(&inside, 0);
    atomic_store(&let_go, 0);
    define("/path", &holding, &held);
    self = client_connect(port, "/path");
    client_say(self, "who?");
    EVENTUALLY(atomic_load(&inside));
    define("/path", &handlers, &next); /* does not wait for the handler */
    CHECK_NUMBER(held.released, 0);
    atomic_store(&let_go, 1);
    client_expect_text(self, "7");
    EVENTUALLY(held.released == 1);
    ask(self, 8);
    client_farewell(self);
    CHECK_OK(portal_undefine_path("/path"));
    EVENTUALLY(next.released == 1);
}

/* A handler that defines its own path anew, each time with a higher number. */
static struct definition chain[6];

static int32_t succeed(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    struct definition *definition = user_data;
    portal_handlers succeeding = handlers;

    succeeding.message = succeed;
    if (definition->number < (int)COUNT(chain) - 1)
        define("/chain", &succeeding, definition + 1);
    else
        CHECK_OK(portal_undefine_path("/chain"));
    return answer(websocket, type, data, len, definition);
}

static void a_handler_may_redefine_and_undefine_its_own_path(void)
{
    portal_handlers succeeding = handlers;
    client *self;

    succeeding.message = succeed;
    for (int i = 0; i < (int)COUNT(chain); ++i)
        chain[i] = (struct definition){ .number = i };
    define("/chain", &succeeding, &chain[0]);
    self = client_connect(port, "/chain");
    for (int i = 0; i < (int)COUNT(chain); ++i) {
        ask(self, i);
        if (i > 0)
            EVENTUALLY(chain[i - 1].released == 1);
    }
    client_farewell(self);
    EVENTUALLY(chain[COUNT(chain) - 1].released == 1);
}

/* ---- under load ---- */

enum { DEFINITIONS = 300, TALKERS = 4 };

static struct definition many[DEFINITIONS];
static atomic_int stop_talking;

static void *talk(void *unused)
{
    client *self = client_connect(port, "/busy");
    int newest = 0;

    while (!atomic_load(&stop_talking)) {
        struct frame frame;
        client_say(self, "who?");
        frame = client_read(self);
        CHECK(atoi((const char *)frame.payload) >= newest); /* never back to an older one */
        newest = atoi((const char *)frame.payload);
    }
    client_farewell(self);
    return unused;
}

static void redefining_under_load_is_safe(void)
{
    pthread_t talkers[TALKERS];

    atomic_store(&stop_talking, 0);
    for (int i = 0; i < DEFINITIONS; ++i)
        many[i] = (struct definition){ .number = i };
    define("/busy", &handlers, &many[0]);
    for (int i = 0; i < TALKERS; ++i)
        CHECK(pthread_create(&talkers[i], NULL, talk, NULL) == 0);
    for (int i = 1; i < DEFINITIONS; ++i) {
        define("/busy", &handlers, &many[i]);
        if (i % 10 == 0)
            EVENTUALLY(many[i - 1].released == 1);
    }
    atomic_store(&stop_talking, 1);
    for (int i = 0; i < TALKERS; ++i)
        CHECK(pthread_join(talkers[i], NULL) == 0);
    CHECK_OK(portal_undefine_path("/busy"));
    for (int i = 0; i < DEFINITIONS; ++i)
        EVENTUALLY(many[i].released == 1);
}

int main(void)
{
    static const struct { uint32_t dispatch, threads; } ways[] = {
        { PORTAL_DISPATCH_IO, 1 }, { PORTAL_DISPATCH_IO, 4 }, { PORTAL_DISPATCH_PER_CLIENT, 1 }
    };

    for (size_t i = 0; i < COUNT(ways); ++i) {
        const portal_server server = SERVE({ PORTAL_OPTION_DISPATCH, ways[i].dispatch },
            { PORTAL_OPTION_THREADS, ways[i].threads });
        port = portal_server_port(server);

        RUN(the_next_event_goes_to_the_newest_definition);
        RUN(clients_of_an_undefined_path_keep_its_last_definition);
        RUN(a_failed_define_releases_nothing);
        RUN(a_definition_that_nobody_used_is_released);
        RUN(release_waits_for_a_running_handler);
        RUN(a_handler_may_redefine_and_undefine_its_own_path);
        RUN(redefining_under_load_is_safe);
        CHECK_OK(portal_server_close(server));
    }
    return 0;
}
