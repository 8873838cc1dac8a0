/* What a server holds for clients that read nothing goes back to the system when they have left. */
#include "check.h"
#include "child.h"
#include "client.h"
#include "serve.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

enum { CLIENTS = 64, MAX_QUEUED = 4 << 20, PAYLOAD = 60000 };
static const size_t margin = 16 << 20;

/* One message, as it goes over the wire; mask and payload are zeros. */
static uint8_t frame[8 + PAYLOAD] = { 0x82, 0x80 | 126, PAYLOAD >> 8, PAYLOAD & 255 };

static portal_server start(void)
{
    define_echo("/echo");
    return SERVE({ PORTAL_OPTION_MAX_QUEUED, MAX_QUEUED }, { PORTAL_OPTION_CLOSE_TIMEOUT, 200 });
}

/* Sends until the server reads no more, because the echoes fill the client's queue. */
static void stuff(client *self)
{
    struct pollfd writable = { .fd = client_socket(self), .events = POLLOUT };

    for (size_t sent = 0; poll(&writable, 1, 50) == 1;) {
        const size_t at = sent % sizeof frame;
        const ssize_t more = send(client_socket(self), frame + at, sizeof frame - at, MSG_DONTWAIT | MSG_NOSIGNAL);

        CHECK(more > 0 || errno == EAGAIN);
        sent += more > 0 ? (size_t)more : 0;
    }
}

static void visit(const struct child child)
{
    client *clients[CLIENTS];

    for (int i = 0; i < CLIENTS; ++i)
        clients[i] = client_connect(child.port, "/echo");
    for (int i = 0; i < CLIENTS; ++i)
        stuff(clients[i]);
    for (int i = 0; i < CLIENTS; ++i)
        client_destroy(clients[i]);
}

int main(void)
{
    const struct child child = child_begin(start);
    client *small = client_connect(child.port, "/echo");
    size_t before, most = 0;

    client_say(small, "warm");
    client_expect_text(small, "warm");
    before = child_memory(child);
    visit(child);
    most = child_memory(child);
    printf("grew by %zu MiB\n", (most - before) >> 20);
    CHECK(most > before + CLIENTS * (size_t)MAX_QUEUED / 4);
    EVENTUALLY(child_memory(child) < before + margin);
    client_say(small, "still here");
    client_expect_text(small, "still here");
    client_farewell(small);
    child_end(child);
    return 0;
}
