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

static struct guest { struct guest *next; portal_websocket websocket; char name[]; } *guests;
static pthread_mutex_t door = PTHREAD_MUTEX_INITIALIZER; /* guards the list; main broadcasts the time on its own thread */

static void tell_all(const char *who, const char *words)
{
    char *line = malloc(strlen(who) + strlen(words) + sizeof ": ");
    sprintf(line, "%s: %s", who, words);
    pthread_mutex_lock(&door);
    for (struct guest *guest = guests; guest != NULL; guest = guest->next)
        portal_send(guest->websocket, PORTAL_MESSAGE_TEXT, line, strlen(line)); /* a client that is too slow misses it */
    pthread_mutex_unlock(&door);
    free(line);
}

static int32_t enter(portal_websocket websocket, const portal_request *request, void *user_data)
{
    const char *name = portal_request_param(request, "name");
    struct guest *guest = malloc(sizeof *guest + strlen(name) + 1);

    (void)user_data;
    guest->websocket = websocket;
    strcpy(guest->name, name);
    pthread_mutex_lock(&door);
    guest->next = guests;
    guests = guest;
    pthread_mutex_unlock(&door);
    tell_all(name, "(enters)");
    return portal_set_data(websocket, guest);
}

static int32_t say(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    const struct guest *guest = portal_data(websocket);

    (void)type, (void)len, (void)user_data;
    tell_all(guest->name, data); /* a NUL follows every message */
    return 0;
}

static int32_t leave(portal_websocket websocket, uint32_t code, const char *reason, void *user_data)
{
    struct guest *guest = portal_data(websocket), **link = &guests;

    (void)code, (void)reason, (void)user_data;
    pthread_mutex_lock(&door);
    while (*link != guest)
        link = &(*link)->next;
    *link = guest->next;
    pthread_mutex_unlock(&door);
    tell_all(guest->name, "(leaves)");
    free(guest);
    return 0;
}

int main(int argc, char **argv)
{
    const portal_handlers handlers = { sizeof handlers, .connect = enter, .message = say, .disconnect = leave };
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
        tell_all("clock", ctime(&(time_t){ time(NULL) }));
    return portal_server_close(server);
}
