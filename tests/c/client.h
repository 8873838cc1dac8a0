/* A small blocking WebSocket client: enough to drive every test, and to break every rule on purpose. */
#ifndef CLIENT_H
#define CLIENT_H

#include <stddef.h>
#include <stdint.h>

enum opcode { CONTINUATION = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

typedef struct client client;

struct frame {
    unsigned opcode;
    int final;
    size_t len;
    const uint8_t *payload; /* a NUL stands behind it; valid until the next read */
};

struct response {
    int status;
    const char *head; /* status line and headers; valid until the next read */
    const char *body; /* what came by the end of the connection; "" after a 101 */
    size_t body_len;
};

/* Connecting. Every function here fails the test when it cannot do its work in time. */
client *client_dial(uint32_t port);                       /* 127.0.0.1 */
client *client_dial_address(const char *address, uint32_t port);
client *client_dial_unix(const char *path);
client *client_over(int socket);                          /* a stream that leads to the server already */
client *client_connect(uint32_t port, const char *path);  /* dials and shakes hands */
void client_shake_hands(client *, const char *path, const char *more_headers);
void client_destroy(client *);                            /* NULL is fine */

/* The opening handshake by hand. */
void client_request(client *, const char *path, const char *more_headers); /* asks for an upgrade */
struct response client_response(client *);
int client_status(uint32_t port, const char *path, const char *more_headers); /* of an upgrade, all in one */
int response_has(const struct response *, const char *header_line);            /* "Name: value" */

/* Saying. */
void client_send_bytes(client *, const void *data, size_t len);   /* as they are */
void client_send_frame(client *, unsigned first_byte, const void *data, size_t len);
void client_send(client *, enum opcode, const void *data, size_t len);
void client_say(client *, const char *text);
void client_close(client *, uint32_t code, const char *reason);   /* sends a Close frame; code 0: an empty one */
void client_hang_up(client *);                                    /* a reset, without a word */
void client_half_close(client *);                                 /* no more will be said */

/* Hearing. */
struct frame client_read(client *);
void client_expect(client *, enum opcode, const void *data, size_t len);
void client_expect_text(client *, const char *text);
void client_expect_close(client *, uint32_t code, const char *reason); /* code 0: an empty one; reason NULL: any */
void client_expect_end(client *);                                 /* end of stream, or a reset */
int client_hears_anything(client *);                               /* waits; 0 at the end of stream or a reset */
int client_has_heard(client *);                                    /* does not wait: something, or the end, has come */
void client_hear_out(client *);                                   /* whatever comes, until the end */
void client_farewell(client *);     /* the whole closing handshake, then client_destroy */
int client_socket(const client *);

#endif
