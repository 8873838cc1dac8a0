/* 200 servers on the same port, one after the other, leave no descriptor and no thread behind. */
#include "check.h"
#include "client.h"
#include "port.h"
#include "process.h"
#include "serve.h"

#include <unistd.h>

enum { RESTARTS = 200 };

static void serve_once(uint32_t port, uint32_t dispatch, int64_t threads)
{
    portal_options *options = options_with((struct setting[]){
        { PORTAL_OPTION_DISPATCH, dispatch }, { PORTAL_OPTION_THREADS, threads }, { 0 } });
    portal_server server;
    client *self;

    CHECK_OK(portal_server_start(port, options, &server));
    portal_options_destroy(options);
    CHECK_NUMBER(portal_server_port(server), port);
    if (dispatch == PORTAL_DISPATCH_HOST) {
        CHECK_OK(portal_server_close(server));
        return;
    }
    self = client_connect(port, "/echo");
    client_say(self, "hello");
    client_expect_text(self, "hello");
    CHECK_OK(portal_server_begin_close(server));
    client_expect_close(self, 1001, NULL);
    client_close(self, 1001, "");
    client_expect_end(self);
    client_destroy(self);
    portal_server_wait(server);
    CHECK_STATUS(portal_server_close(server), PORTAL_STATUS_GONE);
}

int main(void)
{
    static const struct { uint32_t dispatch; int64_t threads; } ways[] = {
        { PORTAL_DISPATCH_IO, 1 }, { PORTAL_DISPATCH_IO, 4 }, { PORTAL_DISPATCH_PER_CLIENT, 1 },
        { PORTAL_DISPATCH_HOST, 2 }
    };

    define_echo("/echo");
    for (size_t i = 0; i < COUNT(ways); ++i) {
        uint32_t port;
        const int reservation = reserve_port(&port);
        int descriptors;

        serve_once(port, ways[i].dispatch, ways[i].threads);
        descriptors = count_descriptors();
        for (int restart = 0; restart < RESTARTS; ++restart)
            serve_once(port, ways[i].dispatch, ways[i].threads);
        CHECK_NUMBER(count_descriptors(), descriptors);
        /* The kernel lists a thread for a moment after it could be joined. */
        EVENTUALLY(count_threads() == 1);
        close(reservation);
    }
    return 0;
}
