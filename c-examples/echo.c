/* echo: greets every client and sends back each of its messages.
 *
 *   echo [port]        then open http://localhost:4433/ and send messages
 */
#include <portal.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "echo_page.h"

static int32_t greet(portal_websocket websocket, const portal_request *request, void *user_data)
{
    static const char welcome[] = "Welcome to echo server.";

    (void)request, (void)user_data;
    return portal_send(websocket, PORTAL_MESSAGE_TEXT, welcome, strlen(welcome));
}

static int32_t echo(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    (void)user_data;
    return portal_send(websocket, type, data, len);
}

static void must(portal_status status, const char *what)
{
    if (status == PORTAL_STATUS_OK)
        return;
    fprintf(stderr, "echo: cannot %s: %s\n", what, portal_status_text(status));
    exit(EXIT_FAILURE);
}

int main(int argc, char **argv)
{
    const portal_handlers handlers = { .size = sizeof handlers, .connect = greet, .message = echo };
    const uint32_t port = argc > 1 ? (uint32_t)atoi(argv[1]) : 4433;
    portal_server server;
    sigset_t stop;
    int received;

    /* Blocked in every thread, so that sigwait receives them. */
    sigemptyset(&stop);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &stop, NULL);

    must(portal_define_page("/", "text/html; charset=utf-8", echo_page, strlen(echo_page)), "define the page");
    must(portal_define_path("/echo", &handlers, NULL), "define the path");
    must(portal_server_start(port, NULL, &server), "start");
    printf("listening on ws://localhost:%u/echo\n", (unsigned)portal_server_port(server));
    fflush(stdout);

    sigwait(&stop, &received);
    must(portal_server_close(server), "close");
    return EXIT_SUCCESS;
}
