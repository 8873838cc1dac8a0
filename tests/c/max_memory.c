/* MAX_MEMORY bounds what a server holds, whatever its clients do, and a bystander is served all the while. */
#include "check.h"
#include "child.h"
#include "client.h"
#include "serve.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum { MIB = 1 << 20, LIMIT = 256 * MIB, MARGIN = 64 * MIB, PIECE = 256 * 1024 };

static client *clients[3000];
static struct child child;
static client *bystander;
static size_t most;
static long long longest_ms;

static portal_server start(void)
{
    define_echo("/echo");
    return SERVE({ PORTAL_OPTION_MAX_MEMORY, LIMIT }, { PORTAL_OPTION_DEFLATE, 2 }, { PORTAL_OPTION_CLOSE_TIMEOUT, 500 });
}

/* Looks how much the server holds, and whether it still serves. */
static void look(void)
{
    const long long before = now_ms();
    const size_t now = child_memory(child);
    long long ms;

    most = now > most ? now : most;
    client_say(bystander, "well?");
    client_expect_text(bystander, "well?");
    ms = now_ms() - before;
    longest_ms = ms > longest_ms ? ms : longest_ms;
}

/* Sends, as long as the server takes it; 0 when it has ended the connection. */
static int send_to(client *self, const uint8_t *bytes, size_t len)
{
    while (len > 0) {
        const ssize_t sent = send(client_socket(self), bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (sent > 0) {
            bytes += sent;
            len -= (size_t)sent;
        } else if (errno == EAGAIN) {
            return 1;
        } else {
            return 0;
        }
    }
    return 1;
}

static void come(size_t count, const char *headers)
{
    for (size_t i = 0; i < count; ++i) {
        clients[i] = client_dial(child.port);
        client_shake_hands(clients[i], "/echo", headers);
    }
}

static void leave(size_t count)
{
    for (size_t i = 0; i < count; ++i)
        client_destroy(clients[i]);
}

/* The beginning of a message of `len` bytes; a mask of zeros. */
static size_t write_head(uint8_t *head, uint8_t first, uint64_t len)
{
    head[0] = first;
    head[1] = 0x80 | 127;
    for (int i = 0; i < 8; ++i)
        head[2 + i] = (uint8_t)(len >> (56 - 8 * i));
    memset(head + 10, 0, 4);
    return 14;
}

/* A hundred clients send 12 MiB each of a message that does not end. */
static void unfinished_messages(void)
{
    static const uint8_t zeros[PIECE];
    uint8_t head[14];
    const size_t count = 100;

    come(count, "");
    for (size_t i = 0; i < count; ++i)
        send_to(clients[i], head, write_head(head, 0x02, 15 * MIB));
    for (size_t sent = 0; sent < 12 * MIB; sent += sizeof zeros) {
        for (size_t i = 0; i < count; ++i)
            send_to(clients[i], zeros, sizeof zeros);
        look();
    }
    leave(count);
}

/* Appends bits, the lowest first. */
static void add_bits(uint8_t *bytes, size_t *at, unsigned bits, int count)
{
    for (int i = 0; i < count; ++i, ++*at)
        bytes[*at / 8] |= (uint8_t)((bits >> i & 1) << *at % 8);
}

/* Fifty clients send the beginning of a compressed message that inflates to 15 MiB. */
static void unfinished_compressed_messages(void)
{
    static uint8_t deflated[128 * 1024];
    uint8_t head[14];
    const size_t count = 50;
    size_t bits = 0;

    add_bits(deflated, &bits, 2, 3);       /* a block with fixed codes (RFC 1951 section 3.2.6) */
    add_bits(deflated, &bits, 0x0c, 8);    /* a zero */
    for (size_t made = 1; made < 15 * MIB; made += 258) {
        add_bits(deflated, &bits, 0xa3, 8); /* 258 bytes */
        add_bits(deflated, &bits, 0, 5);    /* from one byte before */
    }
    come(count, "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n");
    for (size_t i = 0; i < count; ++i) {
        send_to(clients[i], head, write_head(head, 0x42, sizeof deflated));
        send_to(clients[i], deflated, bits / 8);
        look();
    }
    leave(count);
}

/* Two hundred clients send messages and do not read the echoes. */
static void unread_echoes(void)
{
    static uint8_t message[14 + PIECE];
    const size_t count = 200;
    static size_t sent[200];

    write_head(message, 0x82, PIECE);
    come(count, "");
    memset(sent, 0, sizeof sent);
    for (int round = 0; round < 48; ++round) {
        for (size_t i = 0; i < count; ++i) {
            const size_t at = sent[i] % sizeof message;
            const ssize_t more = send(client_socket(clients[i]), message + at, sizeof message - at, MSG_NOSIGNAL | MSG_DONTWAIT);
            sent[i] += more > 0 ? (size_t)more : 0;
        }
        look();
    }
    leave(count);
}

/* Three thousand clients have contexts in both directions. */
static void contexts(void)
{
    static uint8_t text[6 + 5 + 1000 + 1];
    const size_t count = COUNT(clients);

    /* A stored block (RFC 1951 section 3.2.4) and the beginning of the empty one behind it. */
    memset(text, 't', sizeof text);
    memcpy(text, (uint8_t[]){ 0, 1000 & 255, 1000 >> 8, ~1000 & 255, (~1000 >> 8) & 255 }, 5);
    text[5 + 1000] = 0;
    for (size_t i = 0; i < count; ++i) {
        clients[i] = client_dial(child.port);
        client_request(clients[i], "/echo", "Sec-WebSocket-Extensions: permessage-deflate\r\n");
        client_send_frame(clients[i], 0xc2, text, 5 + 1000 + 1);
        if (i % 50 == 0)
            look();
    }
    look();
    leave(count);
}

static void withstand(const char *name, void (*attack)(void))
{
    struct rlimit descriptors;

    CHECK(getrlimit(RLIMIT_NOFILE, &descriptors) == 0);
    descriptors.rlim_cur = descriptors.rlim_max;
    CHECK(setrlimit(RLIMIT_NOFILE, &descriptors) == 0);
    most = 0;
    longest_ms = 0;
    child = child_begin(start);
    bystander = client_connect(child.port, "/echo");
    attack();
    printf("%s: %zu MiB at most, an echo within %lld ms\n", name, most / MIB, longest_ms);
    fflush(stdout);
    CHECK(most < LIMIT + MARGIN);
    client_farewell(bystander);
    child_end(child);
}

int main(void)
{
    withstand("unfinished messages", unfinished_messages);
    withstand("unfinished compressed messages", unfinished_compressed_messages);
    withstand("unread echoes", unread_echoes);
    withstand("contexts", contexts);
    return 0;
}
