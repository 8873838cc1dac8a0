/* client: prints what a server sends, and sends it each line of the input. It connects again when it is disconnected.
 *
 *   client ws://localhost:4433/echo
 */
#include <portal.h>

#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static sem_t connected, released;

static int32_t on_connect(portal_websocket websocket, const portal_request *request, void *user_data)
{
    (void)websocket, (void)user_data;
    fprintf(stderr, "client: connected to %s\n", portal_request_peer(request));
    sem_post(&connected);
    return 0;
}

static int32_t print(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    (void)websocket, (void)type, (void)user_data;
    fwrite(data, 1, len, stdout);
    putchar('\n');
    fflush(stdout);
    return 0;
}

static int32_t on_disconnect(portal_websocket websocket, uint32_t code, const char *reason, void *user_data)
{
    (void)websocket, (void)user_data;
    fprintf(stderr, "client: disconnected: %u %s\n", (unsigned)code, reason);
    return 0;
}

static void on_error(portal_websocket websocket, const portal_error *error, void *user_data)
{
    (void)websocket, (void)user_data;
    fprintf(stderr, "client: %s\n", error->message);
}

/* The last callback. */
static void on_release(void *user_data)
{
    (void)user_data;
    sem_post(&released);
}

static void must(portal_status status, const char *what)
{
    if (status == PORTAL_STATUS_OK)
        return;
    fprintf(stderr, "client: cannot %s: %s\n", what, portal_status_text(status));
    exit(EXIT_FAILURE);
}

int main(int argc, char **argv)
{
    const portal_handlers handlers = { .size = sizeof handlers, .connect = on_connect, .message = print,
        .disconnect = on_disconnect, .error = on_error, .release = on_release };
    portal_options *options = portal_options_create();
    portal_websocket websocket;
    char *line = NULL;
    size_t size = 0;

    sem_init(&connected, 0, 0), sem_init(&released, 0, 0);
    must(portal_options_set_number(options, PORTAL_OPTION_RECONNECT, 1000), "set an option");
    must(portal_connect(0, argc > 1 ? argv[1] : "ws://localhost:4433/echo", options, &handlers, NULL, &websocket), "connect");
    portal_options_destroy(options);
    sem_wait(&connected);
    while (getline(&line, &size, stdin) > 0)
        if (portal_send(websocket, PORTAL_MESSAGE_TEXT, line, strcspn(line, "\n")) != PORTAL_STATUS_OK)
            fprintf(stderr, "client: not sent: %s", line);
    portal_close(websocket, 0, NULL);
    sem_wait(&released);
    return EXIT_SUCCESS;
}
