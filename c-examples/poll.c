/* poll: an echo server inside the program's own event loop, on one thread, which also reads standard input.
 *
 *   poll [port]        then type "clients" or "quit"
 */
#include <portal.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int32_t echo(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    (void)user_data;
    return portal_send(websocket, type, data, len);
}

static portal_status start(uint32_t port, portal_server *server)
{
    const portal_handlers handlers = { sizeof handlers, .message = echo };
    portal_options *options = portal_options_create();
    portal_status status = portal_define_path("/echo", &handlers, NULL);

    if (status == PORTAL_STATUS_OK)
        status = portal_options_set_number(options, PORTAL_OPTION_DISPATCH, PORTAL_DISPATCH_HOST);
    if (status == PORTAL_STATUS_OK)
        status = portal_server_start(port, options, server);
    portal_options_destroy(options);
    return status;
}

/* Executes one line of input. Returns 0 to stop. */
static int execute(portal_server server)
{
    char line[100];

    if (fgets(line, sizeof line, stdin) == NULL || strcmp(line, "quit\n") == 0)
        return 0;
    if (strcmp(line, "clients\n") == 0)
        printf("%llu\n", (unsigned long long)portal_server_metric(server, PORTAL_METRIC_CONNECTIONS));
    else
        printf("clients or quit?\n");
    fflush(stdout);
    return 1;
}

int main(int argc, char **argv)
{
    enum { SERVER, INPUT };
    struct pollfd sources[2] = { [INPUT] = { .fd = 0, .events = POLLIN } };
    portal_server server;
    portal_status status = start(argc > 1 ? (uint32_t)atoi(argv[1]) : 4433, &server);

    if (status != PORTAL_STATUS_OK) {
        fprintf(stderr, "poll: cannot start: %s\n", portal_status_text(status));
        return EXIT_FAILURE;
    }
    printf("listening on ws://localhost:%u/echo\n", (unsigned)portal_server_port(server));
    fflush(stdout);
    setvbuf(stdin, NULL, _IONBF, 0); /* unbuffered, so that poll sees every line */
    sources[SERVER] = (struct pollfd){ .fd = portal_server_fd(server), .events = POLLIN };

    while (poll(sources, 2, -1) > 0 || errno == EINTR) {
        if (sources[SERVER].revents != 0)
            portal_server_poll(server, 0);
        if (sources[INPUT].revents != 0 && !execute(server))
            break;
    }
    return portal_server_close(server);
}
