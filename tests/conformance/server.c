/* echo-server: sends back what it hears and says nothing else. For the conformance suite and the
 * benches, which need an echo without a greeting.
 *
 *   echo-server [port [deflate [dispatch [backend]]]]
 *
 * Port 0, the default, lets the system choose. The others are PORTAL_OPTION_DEFLATE,
 * PORTAL_OPTION_DISPATCH and PORTAL_OPTION_BACKEND, if not the library's own defaults.
 */
#define _GNU_SOURCE
#include "../server.h"

static portal_server server;

static void *serve_as_host(void *unused)
{
    must(portal_server_run(server), "run");
    return unused;
}

int main(int argc, char **argv)
{
    const portal_handlers handlers = { .size = sizeof handlers, .message = echo };
    const uint32_t port = argc > 1 ? (uint32_t)atoi(argv[1]) : 0;
    const int64_t dispatch = argc > 3 ? atoi(argv[3]) : PORTAL_DISPATCH_IO;
    const sigset_t stop = hold_back_stop();
    portal_options *options = portal_options_create();
    pthread_t host;
    int received;

    must(portal_define_path("/", &handlers, NULL), "define the path");
    if (argc > 2)
        must(portal_options_set_number(options, PORTAL_OPTION_DEFLATE, atoi(argv[2])), "compress so");
    must(portal_options_set_number(options, PORTAL_OPTION_DISPATCH, dispatch), "dispatch so");
    if (argc > 4)
        must(portal_options_set_number(options, PORTAL_OPTION_BACKEND, atoi(argv[4])), "talk to the system so");
    must(portal_server_start(port, options, &server), "start");
    portal_options_destroy(options);
    print_address(server);
    if (dispatch == PORTAL_DISPATCH_HOST)
        pthread_create(&host, NULL, serve_as_host, NULL);
    sigwait(&stop, &received);
    must(portal_server_close(server), "close");
    if (dispatch == PORTAL_DISPATCH_HOST)
        pthread_join(host, NULL);
    return EXIT_SUCCESS;
}
