/* bench-portal: Portal's server in the benchmark.
 *
 *   bench-portal PORT MODE [OPTION=VALUE...]
 *
 * MODE is echo, deflate, tls (files named by BENCH_CERTIFICATE and BENCH_KEY) or broadcast: each
 * message goes to all clients. OPTION=VALUE are two numbers, such as 3=1 for
 * PORTAL_OPTION_DISPATCH, PER_CLIENT. One loop, all else as it is by default.
 */
#include <portal.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(portal_status status, const char *what)
{
    if (status == PORTAL_STATUS_OK)
        return;
    fprintf(stderr, "bench-portal: cannot %s: %s\n", what, portal_status_text(status));
    exit(EXIT_FAILURE);
}

static int32_t echo(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    (void)user_data;
    return portal_send(websocket, type, data, len);
}

/* The clients of a broadcast. Used only on the loop's thread. */
static portal_websocket *listeners;
static size_t listening, room;

static int32_t join(portal_websocket websocket, const portal_request *request, void *user_data)
{
    (void)request, (void)user_data;
    if (listening == room) {
        room = room ? 2 * room : 1024;
        listeners = realloc(listeners, room * sizeof *listeners);
        if (!listeners)
            abort();
    }
    listeners[listening++] = websocket;
    return 0;
}

static int32_t broadcast(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    (void)websocket, (void)user_data;
    for (size_t index = 0; index < listening; index++)
        portal_send(listeners[index], type, data, len);
    return 0;
}

static int32_t leave(portal_websocket websocket, uint32_t code, const char *reason, void *user_data)
{
    (void)code, (void)reason, (void)user_data;
    for (size_t index = 0; index < listening; index++) {
        if (listeners[index] == websocket) {
            listeners[index] = listeners[--listening];
            break;
        }
    }
    return 0;
}

static void set_mode(portal_options *options, const char *mode)
{
    portal_handlers handlers = { .size = sizeof handlers, .message = echo };

    if (strcmp(mode, "broadcast") == 0) {
        handlers.connect = join;
        handlers.message = broadcast;
        handlers.disconnect = leave;
    } else if (strcmp(mode, "deflate") == 0) {
        must(portal_options_set_number(options, PORTAL_OPTION_DEFLATE, 1), "compress");
    } else if (strcmp(mode, "tls") == 0) {
        must(portal_options_set_text(options, PORTAL_OPTION_TLS_CERTIFICATE, getenv("BENCH_CERTIFICATE")), "take the certificate");
        must(portal_options_set_text(options, PORTAL_OPTION_TLS_KEY, getenv("BENCH_KEY")), "take the key");
    } else if (strcmp(mode, "echo") != 0) {
        must(PORTAL_STATUS_ARGUMENT, "serve in this mode");
    }
    must(portal_define_path("/", &handlers, NULL), "define the path");
}

int main(int argc, char **argv)
{
    portal_options *options = portal_options_create();
    portal_server server;
    sigset_t stop;
    int received;

    if (argc < 3) {
        fprintf(stderr, "usage: bench-portal PORT MODE [OPTION=VALUE...]\n");
        return 2;
    }
    /* Blocked in every thread, so that sigwait receives them. */
    sigemptyset(&stop);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &stop, NULL);

    /* As the other servers: IPv4 over IPv6 sockets costs more. */
    must(portal_options_set_text(options, PORTAL_OPTION_HOST, "127.0.0.1"), "choose the address");
    /* The load does not answer pings, and its idle clients stay connected for long. */
    must(portal_options_set_number(options, PORTAL_OPTION_PING_INTERVAL, 0), "send no pings");
    set_mode(options, argv[2]);
    for (int index = 3; index < argc; index++) {
        char *value;
        const uint32_t option = (uint32_t)strtoul(argv[index], &value, 10);
        must(*value == '=' ? PORTAL_STATUS_OK : PORTAL_STATUS_ARGUMENT, "read an option");
        must(portal_options_set_number(options, option, atoll(value + 1)), "set an option");
    }
    must(portal_server_start((uint32_t)atoi(argv[1]), options, &server), "start");
    portal_options_destroy(options);

    sigwait(&stop, &received);
    return EXIT_SUCCESS;
}
