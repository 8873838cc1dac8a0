/* The floor with io_uring: multishot accept and receive into buffers that the kernel selects; one system call
 * submits sends and waits. */

#include <err.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "listening.h"

enum { GROUP, ENTRIES = 4096, PIECES = 4096, PIECE = 16 * 1024 };

/* The kind of a completion: the low bits of its user data; the upper bits are the client. */
enum operation { ACCEPT, RECEIVE, SEND, OPERATION_BITS };

/* A client and the buffers to send to it, in order and one at a time. */
struct client {
    int socket;
    bool receiving, left;
    int first, last; /* -1 when there are none */
};

/* A buffer in use by a client: its content, and how much of it was sent. */
struct piece {
    int next;
    unsigned length, sent;
};

static struct io_uring ring;
static struct io_uring_buf_ring *spare;
static char (*bytes)[PIECE];
static struct piece pieces[PIECES];

static struct io_uring_sqe *begin(void)
{
    struct io_uring_sqe *entry = io_uring_get_sqe(&ring);
    if (!entry) {
        io_uring_submit(&ring);
        entry = io_uring_get_sqe(&ring);
    }
    if (!entry)
        errx(1, "the submission queue is full");
    return entry;
}

static void mark(struct io_uring_sqe *entry, struct client *client, enum operation operation)
{
    io_uring_sqe_set_data64(entry, (uintptr_t)client | operation);
}

static void begin_accepting(int listener)
{
    struct io_uring_sqe *entry = begin();
    io_uring_prep_multishot_accept(entry, listener, NULL, NULL, 0);
    mark(entry, NULL, ACCEPT);
}

static void begin_receiving(struct client *client)
{
    struct io_uring_sqe *entry = begin();
    io_uring_prep_recv_multishot(entry, client->socket, NULL, 0, 0);
    entry->flags |= IOSQE_BUFFER_SELECT;
    entry->buf_group = GROUP;
    mark(entry, client, RECEIVE);
    client->receiving = true;
}

static void begin_sending(struct client *client)
{
    struct piece *piece = &pieces[client->first];
    struct io_uring_sqe *entry = begin();
    io_uring_prep_send(entry, client->socket, bytes[client->first] + piece->sent, piece->length - piece->sent,
                       MSG_NOSIGNAL);
    mark(entry, client, SEND);
}

static void give_back(int index)
{
    io_uring_buf_ring_add(spare, bytes[index], PIECE, index, io_uring_buf_ring_mask(PIECES), 0);
    io_uring_buf_ring_advance(spare, 1);
}

static void welcome(int socket)
{
    struct client *client = calloc(1, sizeof *client);
    if (!client)
        err(1, "no memory");
    client->socket = socket;
    client->first = -1;
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    begin_receiving(client);
}

static void queue(struct client *client, int index, unsigned length)
{
    pieces[index] = (struct piece){.next = -1, .length = length};
    if (client->first < 0) {
        client->first = client->last = index;
        begin_sending(client);
    } else {
        pieces[client->last].next = index;
        client->last = index;
    }
}

static void received(struct client *client, const struct io_uring_cqe *completion)
{
    client->receiving = completion->flags & IORING_CQE_F_MORE;
    if (completion->flags & IORING_CQE_F_BUFFER && completion->res > 0)
        queue(client, completion->flags >> IORING_CQE_BUFFER_SHIFT, completion->res);
    else if (completion->res != -ENOBUFS)
        client->left = true;
    /* Receives again, at once or when the client's pending buffers have been sent. */
    if (!client->receiving && !client->left && client->first < 0)
        begin_receiving(client);
}

static void sent(struct client *client, int result)
{
    struct piece *piece = &pieces[client->first];
    if (result < 0)
        client->left = true;
    else if ((piece->sent += result) < piece->length) {
        begin_sending(client);
        return;
    }
    do {
        int index = client->first;
        client->first = pieces[index].next;
        give_back(index);
    } while (client->left && client->first >= 0);
    if (client->first >= 0)
        begin_sending(client);
    if (!client->receiving && !client->left)
        begin_receiving(client);
}

static void complete(int listener, const struct io_uring_cqe *completion)
{
    uint64_t data = io_uring_cqe_get_data64(completion);
    struct client *client = (struct client *)(uintptr_t)(data & ~(uint64_t)OPERATION_BITS);
    switch (data & OPERATION_BITS) {
    case ACCEPT:
        if (completion->res < 0)
            errx(1, "cannot accept: %s", strerror(-completion->res));
        welcome(completion->res);
        if (!(completion->flags & IORING_CQE_F_MORE))
            begin_accepting(listener);
        return;
    case RECEIVE:
        received(client, completion);
        break;
    case SEND:
        sent(client, completion->res);
        break;
    }
    if (client->left && !client->receiving && client->first < 0) {
        close(client->socket);
        free(client);
    }
}

static void set_up(void)
{
    struct io_uring_params parameters = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
        .cq_entries = 4 * ENTRIES,
    };
    int failure = io_uring_queue_init_params(ENTRIES, &ring, &parameters);
    if (failure)
        errx(1, "no io_uring: %s", strerror(-failure));
    bytes = aligned_alloc(4096, PIECES * sizeof *bytes);
    spare = aligned_alloc(4096, PIECES * sizeof(struct io_uring_buf));
    if (!bytes || !spare)
        err(1, "no memory");
    struct io_uring_buf_reg group = {.ring_addr = (uintptr_t)spare, .ring_entries = PIECES, .bgid = GROUP};
    failure = io_uring_register_buf_ring(&ring, &group, 0);
    if (failure)
        errx(1, "no buffers: %s", strerror(-failure));
    io_uring_buf_ring_init(spare);
    for (int i = 0; i < PIECES; i++)
        give_back(i);
}

int main(int count, char **arguments)
{
    if (count != 3 || strcmp(arguments[2], "echo"))
        errx(2, "usage: floor_uring PORT echo");
    set_up();
    int listener = listen_on(atoi(arguments[1]));
    begin_accepting(listener);
    for (;;) {
        io_uring_submit_and_wait(&ring, 1);
        struct io_uring_cqe *completion;
        unsigned head, seen = 0;
        io_uring_for_each_cqe(&ring, head, completion) {
            complete(listener, completion);
            seen++;
        }
        io_uring_cq_advance(&ring, seen);
    }
}
