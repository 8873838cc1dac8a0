#include "client.h"

#include "check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* The example of RFC 6455, section 1.3. */
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

struct client {
    int socket;
    size_t read, filled, room; /* of the buffer: taken, received, allocated */
    uint8_t *buffer;
    uint8_t *payload;
    size_t payload_room;
};

/* ---- connecting ---- */

client *client_over(int socket)
{
    client *self = calloc(1, sizeof *self);

    CHECK(self != NULL && socket >= 0);
    self->socket = socket;
    return self;
}

static client *dial(int family, const void *address, socklen_t size)
{
    client *self = client_over(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int yes = 1;

    if (connect(self->socket, address, size) != 0)
        FAIL("cannot connect: %s", strerror(errno));
    if (family != AF_UNIX)
        CHECK(setsockopt(self->socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) == 0);
    return self;
}

client *client_dial(uint32_t port)
{
    return client_dial_address("127.0.0.1", port);
}

client *client_dial_address(const char *address, uint32_t port)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };

    if (inet_pton(AF_INET, address, &v4.sin_addr) == 1)
        return dial(AF_INET, &v4, sizeof v4);
    CHECK(inet_pton(AF_INET6, address, &v6.sin6_addr) == 1);
    return dial(AF_INET6, &v6, sizeof v6);
}

client *client_dial_unix(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    CHECK(strlen(path) < sizeof address.sun_path);
    strcpy(address.sun_path, path);
    return dial(AF_UNIX, &address, sizeof address);
}

client *client_connect(uint32_t port, const char *path)
{
    client *self = client_dial(port);
    client_shake_hands(self, path, "");
    return self;
}

void client_shake_hands(client *self, const char *path, const char *more_headers)
{
    struct response response;

    client_request(self, path, more_headers);
    response = client_response(self);
    if (response.status != 101)
        FAIL("%s answered %d", path, response.status);
    CHECK(response_has(&response, ACCEPT));
}

void client_destroy(client *self)
{
    if (self == NULL)
        return;
    close(self->socket);
    free(self->buffer);
    free(self->payload);
    free(self);
}

int client_socket(const client *self)
{
    return self->socket;
}

/* ---- bytes ---- */

/* Waits until the socket is ready; the deadline is for each wait, not for a whole message. */
static void await(const client *self, short what, const char *purpose)
{
    struct pollfd ready = { .fd = self->socket, .events = what };
    int answer;

    do
        answer = poll(&ready, 1, PATIENCE_MS);
    while (answer < 0 && errno == EINTR);
    if (answer != 1)
        FAIL("the client waited too long to %s", purpose);
}

void client_send_bytes(client *self, const void *data, size_t len)
{
    const uint8_t *rest = data;

    while (len > 0) {
        ssize_t sent;
        await(self, POLLOUT, "send");
        sent = send(self->socket, rest, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (sent < 0)
            return; /* the server has ended the connection, which the reader will find out */
        rest += sent;
        len -= (size_t)sent;
    }
}

/* Receives more. Returns 0 at the end of the stream and after a reset. */
static int receive(client *self)
{
    ssize_t got;

    if (self->read == self->filled)
        self->read = self->filled = 0;
    if (self->room - self->filled < 32768 && self->read > self->filled / 2) {
        self->filled -= self->read;
        memmove(self->buffer, self->buffer + self->read, self->filled);
        self->read = 0;
    }
    if (self->room - self->filled < 32768) {
        self->room = self->room * 2 + 65536;
        self->buffer = realloc(self->buffer, self->room + 1);
        CHECK(self->buffer != NULL);
    }
    do {
        await(self, POLLIN, "receive");
        got = recv(self->socket, self->buffer + self->filled, self->room - self->filled, MSG_DONTWAIT);
    } while (got < 0 && (errno == EAGAIN || errno == EINTR));
    if (got <= 0)
        return 0;
    self->filled += (size_t)got;
    return 1;
}

/* Returns `len` bytes that stay where they are until the next receive. */
static const uint8_t *take(client *self, size_t len)
{
    const uint8_t *taken;

    while (self->filled - self->read < len)
        if (!receive(self))
            FAIL("the server ended the connection in the middle");
    taken = self->buffer + self->read;
    self->read += len;
    return taken;
}

/* ---- the opening handshake ---- */

void client_request(client *self, const char *path, const char *more_headers)
{
    char *request;

    CHECK(asprintf(&request,
              "GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
              "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n%s\r\n",
              path, more_headers) > 0);
    client_send_bytes(self, request, strlen(request));
    free(request);
}

struct response client_response(client *self)
{
    struct response response = { .body = "" };
    char *start, *end;

    while ((end = memmem(self->buffer + self->read, self->filled - self->read, "\r\n\r\n", 4)) == NULL)
        if (!receive(self))
            FAIL("the server ended the connection without an answer");
    response.head = start = (char *)self->buffer + self->read;
    if (strncmp(start, "HTTP/1.1 ", 9) != 0)
        FAIL("no answer of HTTP/1.1: %.40s", start);
    response.status = atoi(start + 9);
    if (response.status != 101) {
        const size_t head = self->read, body = (size_t)(end + 4 - (char *)self->buffer);
        while (receive(self))
            continue;
        response.head = (char *)self->buffer + head;
        response.body = (char *)self->buffer + body;
        response.body_len = self->filled - body;
        self->buffer[self->filled] = 0;
        end = (char *)self->buffer + body - 4;
    }
    end[2] = 0;
    self->read = (size_t)(end + 4 - (char *)self->buffer);
    return response;
}

int client_status(uint32_t port, const char *path, const char *more_headers)
{
    client *self = client_dial(port);
    int status;

    client_request(self, path, more_headers);
    status = client_response(self).status;
    client_destroy(self);
    return status;
}

int response_has(const struct response *response, const char *header_line)
{
    const size_t len = strlen(header_line);

    for (const char *line = strstr(response->head, "\r\n"); line != NULL; line = strstr(line + 2, "\r\n"))
        if (strncasecmp(line + 2, header_line, len) == 0 && line[2 + len] == '\r')
            return 1;
    return 0;
}

/* ---- frames ---- */

void client_send_frame(client *self, unsigned first_byte, const void *data, size_t len)
{
    static const uint8_t mask[4] = { 0x37, 0xfa, 0x21, 0x3d };
    const uint8_t *payload = data;
    uint8_t *frame = malloc(len + 14);
    size_t size = 0;

    CHECK(frame != NULL);
    frame[size++] = (uint8_t)first_byte;
    if (len < 126) {
        frame[size++] = (uint8_t)(0x80 | len);
    } else if (len < 65536) {
        frame[size++] = 0x80 | 126;
        frame[size++] = (uint8_t)(len >> 8);
        frame[size++] = (uint8_t)len;
    } else {
        frame[size++] = 0x80 | 127;
        for (int shift = 56; shift >= 0; shift -= 8)
            frame[size++] = (uint8_t)((uint64_t)len >> shift);
    }
    memcpy(frame + size, mask, sizeof mask);
    size += sizeof mask;
    for (size_t i = 0; i < len; ++i)
        frame[size + i] = payload[i] ^ mask[i % 4];
    client_send_bytes(self, frame, size + len);
    free(frame);
}

void client_send(client *self, enum opcode opcode, const void *data, size_t len)
{
    client_send_frame(self, 0x80 | opcode, data, len);
}

void client_say(client *self, const char *text)
{
    client_send(self, TEXT, text, strlen(text));
}

void client_close(client *self, uint32_t code, const char *reason)
{
    uint8_t payload[125] = { (uint8_t)(code >> 8), (uint8_t)code };
    const size_t len = strlen(reason);

    CHECK(len <= 123);
    memcpy(payload + 2, reason, len);
    client_send(self, CLOSE, payload, code == 0 ? 0 : 2 + len);
}

void client_hang_up(client *self)
{
    const struct linger at_once = { .l_onoff = 1, .l_linger = 0 };

    CHECK(setsockopt(self->socket, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0);
    client_destroy(self);
}

void client_half_close(client *self)
{
    CHECK(shutdown(self->socket, SHUT_WR) == 0);
}

struct frame client_read(client *self)
{
    struct frame frame;
    const uint8_t *bytes = take(self, 2);
    const unsigned first = bytes[0];
    uint64_t len = bytes[1];

    CHECK(len < 128); /* a server does not mask */
    CHECK((first & 0x70) == 0);
    if (len >= 126) {
        const unsigned size = len == 126 ? 2 : 8;
        bytes = take(self, size);
        len = 0;
        for (unsigned i = 0; i < size; ++i)
            len = len << 8 | bytes[i];
        CHECK(len >= (size == 2 ? 126u : 65536u)); /* minimal */
    }
    if (self->payload_room < len + 1) {
        self->payload = realloc(self->payload, len + 1);
        self->payload_room = len + 1;
        CHECK(self->payload != NULL);
    }
    for (size_t have = 0; have < len;) {
        size_t piece = self->filled - self->read;
        if (piece == 0 && !receive(self))
            FAIL("the server ended the connection in the middle of a frame");
        piece = self->filled - self->read;
        piece = piece < len - have ? piece : len - have;
        memcpy(self->payload + have, take(self, piece), piece);
        have += piece;
    }
    self->payload[len] = 0;
    frame = (struct frame){ first & 15, first >> 7, len, self->payload };
    return frame;
}

void client_expect(client *self, enum opcode opcode, const void *data, size_t len)
{
    const struct frame frame = client_read(self);

    if (frame.opcode != opcode || !frame.final || frame.len != len)
        FAIL("a frame of kind %u and %zu bytes came, not of kind %u and %zu", frame.opcode, frame.len, opcode, len);
    CHECK(len == 0 || memcmp(frame.payload, data, len) == 0);
}

void client_expect_text(client *self, const char *text)
{
    const struct frame frame = client_read(self);

    CHECK_NUMBER(frame.opcode, TEXT);
    CHECK_TEXT((const char *)frame.payload, text);
}

void client_expect_close(client *self, uint32_t code, const char *reason)
{
    const struct frame frame = client_read(self);

    CHECK_NUMBER(frame.opcode, CLOSE);
    CHECK_NUMBER(frame.len < 2 ? 0 : frame.payload[0] << 8 | frame.payload[1], code);
    if (reason != NULL && frame.len >= 2)
        CHECK_TEXT((const char *)frame.payload + 2, reason);
}

void client_expect_end(client *self)
{
    if (client_hears_anything(self))
        FAIL("there is more where the end was expected");
}

int client_hears_anything(client *self)
{
    return self->read != self->filled || receive(self);
}

int client_has_heard(client *self)
{
    struct pollfd ready = { .fd = self->socket, .events = POLLIN };

    return self->read != self->filled || poll(&ready, 1, 0) == 1;
}

void client_hear_out(client *self)
{
    while (client_hears_anything(self))
        self->read = self->filled;
}

void client_farewell(client *self)
{
    client_close(self, 1000, "");
    client_expect_close(self, 1000, NULL);
    client_expect_end(self);
    client_destroy(self);
}
