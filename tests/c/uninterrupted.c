/* A thread that has started a server and waits for something else is not interrupted when the server closes,
   whatever that asks of the system: a ring of io_uring that ends interrupts the thread that made it. */
#include "check.h"
#include "client.h"
#include "serve.h"

#include <errno.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <unistd.h>

static portal_server server;
static int done[2], epoll;

static void *close_server(void *unused)
{
    CHECK_OK(portal_server_close(server));
    /* The system takes its time to end a ring. */
    pause_ms(100);
    CHECK(write(done[1], "", 1) == 1);
    return unused;
}

static void closing_interrupts_nobody(int64_t backend)
{
    enum { ROUNDS = 10 };

    for (int round = 0; round < ROUNDS; ++round) {
        struct epoll_event event;
        pthread_t closer;
        client *self;
        char nothing;

        server = SERVE({ PORTAL_OPTION_BACKEND, backend });
        self = client_connect(portal_server_port(server), "/echo");
        client_say(self, "served");
        client_expect_text(self, "served");
        client_destroy(self);
        CHECK(pthread_create(&closer, NULL, close_server, NULL) == 0);
        /* Of all waits this is the one that the system does not take up again by itself. */
        if (epoll_wait(epoll, &event, 1, PATIENCE_MS) != 1)
            FAIL("the wait ended early: %s", strerror(errno));
        CHECK(read(done[0], &nothing, 1) == 1);
        CHECK(pthread_join(closer, NULL) == 0);
    }
}

int main(void)
{
    CHECK(pipe(done) == 0);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    CHECK(epoll >= 0);
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, done[0], &(struct epoll_event){ .events = EPOLLIN }) == 0);
    define_echo("/echo");
    for (int64_t backend = 0; backend <= 2; ++backend)
        closing_interrupts_nobody(backend);
    return 0;
}
