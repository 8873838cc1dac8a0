/* echo-client: connects to the conformance suite's server for one case after the other, and sends back what it hears.
 *
 *   echo-client ws://127.0.0.1:9001 [deflate [dispatch [backend]]]
 *
 * The others are PORTAL_OPTION_DEFLATE, PORTAL_OPTION_DISPATCH and PORTAL_OPTION_BACKEND, if not the library's own
 * defaults; with a dispatch, a server without a listener serves the connections.
 */
#define _GNU_SOURCE
#include "../server.h"

#include <semaphore.h>

static portal_server server; /* 0: the library's own loop */
static portal_options *options;
static sem_t released;
static int cases;

static int32_t count_cases(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    (void)websocket, (void)type, (void)len, (void)user_data;
    cases = atoi(data);
    return 0;
}

static void note_release(void *user_data)
{
    (void)user_data;
    sem_post(&released);
}

static void *serve_as_host(void *unused)
{
    must(portal_server_run(server), "run");
    return unused;
}

/* Connects, and returns when the connection has ended. */
static void connect_once(const char *url, const portal_handlers *handlers)
{
    portal_websocket websocket;

    must(portal_connect(server, url, options, handlers, NULL, &websocket), "connect");
    sem_wait(&released);
}

int main(int argc, char **argv)
{
    const portal_handlers counting = { .size = sizeof counting, .message = count_cases, .release = note_release };
    const portal_handlers echoing = { .size = sizeof echoing, .message = echo, .release = note_release };
    const char *base = argc > 1 ? argv[1] : "ws://127.0.0.1:9001";
    const int64_t dispatch = argc > 3 ? atoi(argv[3]) : -1;
    char url[256];
    pthread_t host;

    sem_init(&released, 0, 0);
    options = portal_options_create();
    if (argc > 2)
        must(portal_options_set_number(options, PORTAL_OPTION_DEFLATE, atoi(argv[2])), "compress so");
    must(portal_options_set_number(options, PORTAL_OPTION_MAX_MESSAGE_SIZE, 64 << 20), "set a limit");
    if (dispatch >= 0) {
        must(portal_options_set_text(options, PORTAL_OPTION_HOST, "none"), "be without a listener");
        must(portal_options_set_number(options, PORTAL_OPTION_DISPATCH, dispatch), "dispatch so");
        if (argc > 4)
            must(portal_options_set_number(options, PORTAL_OPTION_BACKEND, atoi(argv[4])), "talk to the system so");
        must(portal_server_start(0, options, &server), "start");
        if (dispatch == PORTAL_DISPATCH_HOST)
            pthread_create(&host, NULL, serve_as_host, NULL);
    }
    snprintf(url, sizeof url, "%s/getCaseCount", base);
    connect_once(url, &counting);
    for (int number = 1; number <= cases; ++number) {
        snprintf(url, sizeof url, "%s/runCase?case=%d&agent=portal", base, number);
        connect_once(url, &echoing);
    }
    snprintf(url, sizeof url, "%s/updateReports?agent=portal", base);
    connect_once(url, &counting);
    if (server != 0)
        must(portal_server_close(server), "close");
    if (dispatch == PORTAL_DISPATCH_HOST)
        pthread_join(host, NULL);
    portal_options_destroy(options);
    return cases > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
