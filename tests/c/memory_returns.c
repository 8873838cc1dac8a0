/* What a server holds for clients that read nothing goes back to the system when they have left. */
#include "check.h"
#include "child.h"
#include "client.h"
#include "serve.h"

#include <errno.h>
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

/* Sends what the server takes at once; `sent` counts all that went to this client's socket. */
static void stuff(client *self, size_t *sent)
{
    for (;;) {
        const size_t at = *sent % sizeof frame;
        const ssize_t more = send(client_socket(self), frame + at, sizeof frame - at, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (more < 0) {
            CHECK(errno == EAGAIN);
            return;
        }
        *sent += (size_t)more;
    }
}

/* Clients come, read no echo until the server holds much for them, and go. */
static void visit(const struct child child, size_t before)
{
    client *clients[CLIENTS];
    size_t sent[CLIENTS] = { 0 };
    const long long deadline = now_ms() + PATIENCE_MS;

    for (int i = 0; i < CLIENTS; ++i)
        clients[i] = client_connect(child.port, "/echo");
    while (child_memory(child) < before + CLIENTS * (size_t)MAX_QUEUED / 4) {
        CHECK(now_ms() < deadline);
        for (int i = 0; i < CLIENTS; ++i)
            stuff(clients[i], &sent[i]);
        pause_ms(1);
    }
    for (int i = 0; i < CLIENTS; ++i)
        client_destroy(clients[i]);
}

int main(void)
{
    const struct child child = child_begin(start);
    client *small = client_connect(child.port, "/echo");
    size_t before;

    client_say(small, "warm");
    client_expect_text(small, "warm");
    before = child_memory(child);
    visit(child, before);
    EVENTUALLY(child_memory(child) < before + margin);
    client_say(small, "still here");
    client_expect_text(small, "still here");
    client_farewell(small);
    child_end(child);
    return 0;
}
