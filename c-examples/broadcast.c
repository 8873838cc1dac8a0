/* broadcast: a chat room that sends every message, and the time every two seconds, to all clients.
 *
 *   broadcast [port]        then connect to ws://localhost:4433/room/Ann, /room/Ben, ...; Enter ends it
 */
#include <portal.h>

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct client { struct client *next; portal_websocket websocket; char name[]; } *clients;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* protects the list: main broadcasts on another thread */

static void broadcast(const char *name, const char *text)
{
    char *line = malloc(strlen(name) + strlen(text) + sizeof ": ");
    sprintf(line, "%s: %s", name, text);
    pthread_mutex_lock(&lock);
    for (struct client *client = clients; client != NULL; client = client->next)
        portal_send(client->websocket, PORTAL_MESSAGE_TEXT, line, strlen(line)); /* lost when its queue is full */
    pthread_mutex_unlock(&lock);
    free(line);
}

static int32_t on_connect(portal_websocket websocket, const portal_request *request, void *user_data)
{
    const char *name = portal_request_param(request, "name");
    struct client *client = malloc(sizeof *client + strlen(name) + 1);

    (void)user_data;
    client->websocket = websocket;
    strcpy(client->name, name);
    pthread_mutex_lock(&lock);
    client->next = clients;
    clients = client;
    pthread_mutex_unlock(&lock);
    broadcast(name, "(enters)");
    return portal_set_data(websocket, client);
}

static int32_t on_message(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    const struct client *client = portal_data(websocket);

    (void)type, (void)len, (void)user_data;
    broadcast(client->name, data); /* a NUL follows every message */
    return 0;
}

static int32_t on_disconnect(portal_websocket websocket, uint32_t code, const char *reason, void *user_data)
{
    struct client *client = portal_data(websocket), **link = &clients;

    (void)code, (void)reason, (void)user_data;
    pthread_mutex_lock(&lock);
    while (*link != client)
        link = &(*link)->next;
    *link = client->next;
    pthread_mutex_unlock(&lock);
    broadcast(client->name, "(leaves)");
    free(client);
    return 0;
}

int main(int argc, char **argv)
{
    const portal_handlers handlers = {
        sizeof handlers, .connect = on_connect, .message = on_message, .disconnect = on_disconnect
    };
    struct pollfd input = { .fd = 0, .events = POLLIN };
    portal_server server;
    portal_status status = portal_define_path("/room/{name}", &handlers, NULL);

    if (status == PORTAL_STATUS_OK)
        status = portal_server_start(argc > 1 ? (uint32_t)atoi(argv[1]) : 4433, NULL, &server);
    if (status != PORTAL_STATUS_OK) {
        fprintf(stderr, "broadcast: cannot start: %s\n", portal_status_text(status));
        return EXIT_FAILURE;
    }
    printf("listening on ws://localhost:%u/room/{name}\n", (unsigned)portal_server_port(server));
    fflush(stdout);
    while (poll(&input, 1, 2000) == 0)
        broadcast("clock", ctime(&(time_t){ time(NULL) }));
    return portal_server_close(server);
}
