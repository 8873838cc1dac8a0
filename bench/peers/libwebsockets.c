/* A server with libwebsockets: received messages are queued until the library reports that it can send. */

#include <libwebsockets.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE = 64 * 1024 };

struct message {
    struct message *next;
    bool text;
    size_t length, room;
    unsigned char bytes[]; /* the first LWS_PRE are reserved for the library */
};

struct client {
    struct lws *websocket;
    struct client *following;
    struct message *first, **end; /* messages to send */
    struct message *sent;         /* may still be read until the next can be sent: the library compresses incrementally */
    struct message *coming;       /* the incomplete message */
};

static bool broadcast;
static struct client *everyone;

/* Grows a message by more bytes; creates it if NULL. */
static struct message *extend(struct message *message, size_t more)
{
    size_t length = message ? message->length : 0;
    if (message && message->room >= length + more)
        return message;
    size_t room = message ? 2 * (length + more) : more;
    struct message *moved = realloc(message, sizeof *moved + LWS_PRE + room);
    if (!moved)
        abort();
    moved->next = NULL;
    moved->length = length;
    moved->room = room;
    return moved;
}

static void append(struct message *message, const void *bytes, size_t length)
{
    memcpy(message->bytes + LWS_PRE + message->length, bytes, length);
    message->length += length;
}

static void queue(struct client *client, struct message *message)
{
    *client->end = message;
    client->end = &message->next;
    lws_callback_on_writable(client->websocket);
}

/* The library writes into what it sends, so each client gets a copy. */
static void tell_all(struct message *message)
{
    for (struct client *client = everyone; client; client = client->following) {
        struct message *copy = extend(NULL, message->length);
        append(copy, message->bytes + LWS_PRE, message->length);
        copy->text = message->text;
        queue(client, copy);
    }
    free(message);
}

static void receive(struct lws *websocket, struct client *client, const void *bytes, size_t length)
{
    struct message *message = client->coming = extend(client->coming, length);
    append(message, bytes, length);
    message->text = !lws_frame_is_binary(websocket);
    if (!lws_is_final_fragment(websocket) || lws_remaining_packet_payload(websocket))
        return;
    client->coming = NULL;
    if (broadcast)
        tell_all(message);
    else
        queue(client, message);
}

/* Sends while the socket accepts data; false when the client has disconnected. */
static bool send_queued(struct lws *websocket, struct client *client)
{
    while (client->first && !lws_send_pipe_choked(websocket)) {
        struct message *message = client->first;
        client->first = message->next;
        if (!client->first)
            client->end = &client->first;
        free(client->sent);
        client->sent = message;
        int type = message->text ? LWS_WRITE_TEXT : LWS_WRITE_BINARY;
        if (lws_write(websocket, message->bytes + LWS_PRE, message->length, type) < 0)
            return false;
    }
    if (client->first)
        lws_callback_on_writable(websocket);
    return true;
}

static void enter(struct lws *websocket, struct client *client)
{
    /* Buffers of 64 KiB for compression: with the default of 1 KiB, messages are sent in pieces. */
    lws_set_extension_option(websocket, "permessage-deflate", "rx_buf_size", "16");
    lws_set_extension_option(websocket, "permessage-deflate", "tx_buf_size", "16");
    client->websocket = websocket;
    client->end = &client->first;
    client->following = everyone;
    everyone = client;
}

static void leave(struct client *client)
{
    struct client **link = &everyone;
    while (*link != client)
        link = &(*link)->following;
    *link = client->following;
    while (client->first) {
        struct message *message = client->first;
        client->first = message->next;
        free(message);
    }
    free(client->sent);
    free(client->coming);
}

static int callback(struct lws *websocket, enum lws_callback_reasons reason, void *user, void *bytes, size_t length)
{
    struct client *client = user;
    switch (reason) {
    case LWS_CALLBACK_ESTABLISHED:
        enter(websocket, client);
        return 0;
    case LWS_CALLBACK_RECEIVE:
        receive(websocket, client, bytes, length);
        return 0;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return send_queued(websocket, client) ? 0 : -1;
    case LWS_CALLBACK_CLOSED:
        leave(client);
        return 0;
    default:
        return 0;
    }
}

static const struct lws_protocols protocols[] = {
    {"echo", callback, sizeof(struct client), PIECE, 0, NULL, 0},
    {NULL, NULL, 0, 0, 0, NULL, 0},
};

static const struct lws_extension extensions[] = {
    {"permessage-deflate", lws_extension_callback_pm_deflate,
     "permessage-deflate; server_no_context_takeover; client_no_context_takeover"},
    {NULL, NULL, NULL},
};

int main(int count, char **arguments)
{
    if (count != 3) {
        fputs("usage: libwebsockets PORT echo|deflate|tls|broadcast\n", stderr);
        return 2;
    }
    const char *mode = arguments[2];
    broadcast = !strcmp(mode, "broadcast");
    lws_set_log_level(LLL_ERR, NULL);

    struct lws_context_creation_info info = {
        .port = atoi(arguments[1]),
        .iface = "127.0.0.1",
        .protocols = protocols,
        .options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS,
        .pt_serv_buf_size = PIECE,
    };
    if (!strcmp(mode, "deflate"))
        info.extensions = extensions;
    if (!strcmp(mode, "tls")) {
        info.options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
        info.ssl_cert_filepath = getenv("BENCH_CERTIFICATE");
        info.ssl_private_key_filepath = getenv("BENCH_KEY");
    }
    struct lws_context *context = lws_create_context(&info);
    struct lws_vhost *host = context ? lws_create_vhost(context, &info) : NULL;
    if (!host)
        return 1;
    printf("listening on ws://localhost:%d/\n", lws_get_vhost_listen_port(host));
    fflush(stdout);
    while (lws_service(context, 0) >= 0)
        ;
    return 1;
}
