/* A server that runs out of descriptors goes on serving, does not spin, accepts again by itself when some
   are free, and logs the beginning and the end of that. */
#include "check.h"
#include "child.h"
#include "client.h"
#include "process.h"
#include "serve.h"

#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>

enum { CLIENTS = 40, ROOM = 20 };

static atomic_int *lines; /* of the child's log */

static void count_line(uint32_t level, const char *message, void *user_data)
{
    atomic_fetch_add(lines, 1);
}

static portal_server start(void)
{
    portal_server server;
    struct rlimit limit;

    define_echo("/echo");
    server = serve(NULL);
    CHECK_OK(portal_set_log(2, count_line, NULL));
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = (rlim_t)count_descriptors() + ROOM;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    return server;
}

static void check_served(client *self)
{
    client_say(self, "served");
    client_expect_text(self, "served");
}

int main(void)
{
    client *clients[CLIENTS];
    struct child child;
    long used;

    lines = mmap(NULL, sizeof *lines, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(lines != MAP_FAILED);
    child = child_begin(start);
    /* More than there is room for: the last ones wait in the backlog. */
    for (int i = 0; i < CLIENTS; ++i) {
        clients[i] = client_dial(child.port);
        client_request(clients[i], "/echo", "");
    }
    for (int i = 0; i < ROOM / 2; ++i) {
        CHECK_NUMBER(client_response(clients[i]).status, 101);
        check_served(clients[i]);
    }

    used = child_time_ms(child);
    pause_ms(1000);
    CHECK(child_time_ms(child) - used < 300); /* of a second, while others wait */
    check_served(clients[0]);
    CHECK_NUMBER(atomic_load(lines), 1);

    /* Each that leaves makes room for one that waits. */
    for (int i = 0; i < CLIENTS; ++i) {
        if (i >= ROOM / 2)
            CHECK_NUMBER(client_response(clients[i]).status, 101);
        check_served(clients[i]);
        client_farewell(clients[i]);
    }
    EVENTUALLY(atomic_load(lines) == 2);
    child_end(child);
    CHECK_NUMBER(atomic_load(lines), 2);
    return 0;
}
