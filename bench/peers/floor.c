/* The floor: an echo of bytes on plain TCP with epoll. Its cost is the kernel's, which no server can avoid. */

#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "listening.h"

enum { PIECE = 512 * 1024, EVENTS = 1024 };

/* A client, and pending output: while there is any, the client is not read. */
struct client {
    int socket;
    char *waiting;
    size_t length;
};

static char piece[PIECE];

static void watch(int poll, int operation, struct client *client, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = client};
    if (epoll_ctl(poll, operation, client->socket, &event))
        err(1, "epoll_ctl");
}

static void welcome(int poll, int listener)
{
    struct client *client = calloc(1, sizeof *client);
    if (!client || (client->socket = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) < 0)
        err(1, "cannot accept");
    setsockopt(client->socket, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    watch(poll, EPOLL_CTL_ADD, client, EPOLLIN);
}

static void leave(struct client *client)
{
    close(client->socket);
    free(client->waiting);
    free(client);
}

/* Stores what the socket does not accept; false when memory is refused. */
static bool keep(int poll, struct client *client, const char *bytes, size_t length)
{
    char *waiting = malloc(length);
    if (!waiting)
        return false;
    memcpy(waiting, bytes, length);
    client->waiting = waiting;
    client->length = length;
    watch(poll, EPOLL_CTL_MOD, client, EPOLLOUT);
    return true;
}

/* Sends what the socket accepts and stores the rest; false when the client has disconnected. */
static bool give(int poll, struct client *client, const char *bytes, size_t length)
{
    ssize_t sent = send(client->socket, bytes, length, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        return false;
    size_t taken = sent < 0 ? 0 : sent;
    return taken == length || keep(poll, client, bytes + taken, length - taken);
}

static bool serve(int poll, struct client *client)
{
    if (!client->waiting) {
        ssize_t length = recv(client->socket, piece, PIECE, 0);
        return length > 0 ? give(poll, client, piece, length) : length < 0 && errno == EAGAIN;
    }
    char *waiting = client->waiting;
    client->waiting = NULL;
    bool here = give(poll, client, waiting, client->length);
    free(waiting);
    if (here && !client->waiting)
        watch(poll, EPOLL_CTL_MOD, client, EPOLLIN);
    return here;
}

int main(int count, char **arguments)
{
    if (count != 3 || strcmp(arguments[2], "echo"))
        errx(2, "usage: floor PORT echo");
    struct client listener = {.socket = listen_on(atoi(arguments[1]))};
    int poll = epoll_create1(0);
    watch(poll, EPOLL_CTL_ADD, &listener, EPOLLIN);
    for (;;) {
        static struct epoll_event events[EVENTS];
        int ready = epoll_wait(poll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            struct client *client = events[i].data.ptr;
            if (client == &listener)
                welcome(poll, listener.socket);
            else if (!serve(poll, client))
                leave(client);
        }
    }
}
