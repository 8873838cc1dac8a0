/* A client that asks for a gigabyte of echoes and does not read them costs the server no more than
   its send queue. */
#include "check.h"
#include "child.h"
#include "client.h"
#include "serve.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

enum { MAX_QUEUED = 4 << 20, PAYLOAD = 60000 };
static const size_t gigabyte = 1 << 30;

/* One message, as it goes over the wire; mask and payload are zeros. */
static uint8_t frame[8 + PAYLOAD] = { 0x82, 0x80 | 126, PAYLOAD >> 8, PAYLOAD & 255 };

static portal_server start(void)
{
    define_echo("/echo");
    return SERVE({ PORTAL_OPTION_MAX_QUEUED, MAX_QUEUED }, { PORTAL_OPTION_CLOSE_TIMEOUT, 200 });
}

/* Sends what the server takes at once, beginning inside the frame where the last call ended. */
static size_t send_some(client *self, size_t sent)
{
    const size_t at = sent % sizeof frame;
    const ssize_t more = send(client_socket(self), frame + at, sizeof frame - at, MSG_DONTWAIT | MSG_NOSIGNAL);

    CHECK(more > 0 || errno == EAGAIN);
    return more > 0 ? (size_t)more : 0;
}

static int is_stuck(client *self)
{
    struct pollfd writable = { .fd = client_socket(self), .events = POLLOUT };
    return poll(&writable, 1, 20) == 0;
}

int main(void)
{
    const struct child child = child_begin(start);
    client *self = client_connect(child.port, "/echo");
    size_t before, most = 0, sent = 0, heard = 0;

    client_send(self, BINARY, "warm", 4);
    client_expect(self, BINARY, "warm", 4);
    before = child_memory(child);
    while (sent < gigabyte) {
        size_t now;
        if (!is_stuck(self))
            sent += send_some(self, sent);
        else
            for (int i = 0; i < 64 && heard + sizeof frame < sent; ++i, heard += sizeof frame)
                client_expect(self, BINARY, frame + 8, PAYLOAD);
        now = child_memory(child);
        most = now > most ? now : most;
    }
    printf("grew by %zu KiB at most; the queue may hold %d KiB\n", (most - before) / 1024, MAX_QUEUED / 1024);
    CHECK(heard > 0); /* the server did stop reading */
    /* As much again may be buffered on its way in, and as much of what was freed is kept for a while. */
    CHECK(most < before + 3 * MAX_QUEUED);
    client_destroy(self);
    child_end(child);
    return 0;
}
