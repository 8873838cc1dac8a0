/* What a callback is given is never NULL, and a NUL that is not counted stands behind every text. */
#include "check.h"
#include "client.h"
#include "serve.h"

static int marker;

static int32_t check_message(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    const char *text = data;
    size_t inner = 0;

    CHECK(text != NULL);
    if (type == PORTAL_MESSAGE_TEXT)
        CHECK_NUMBER(text[len], 0);
    for (size_t i = 0; i < len; ++i)
        inner += text[i] == 0;
    CHECK(user_data == &marker);
    return portal_send(websocket, PORTAL_MESSAGE_BINARY, &inner, sizeof inner);
}

static void pong(portal_websocket websocket, const void *data, size_t len, void *user_data)
{
    CHECK(data != NULL);
    portal_send(websocket, PORTAL_MESSAGE_TEXT, data, len);
}

static void expect_inner(client *self, size_t inner)
{
    client_expect(self, BINARY, &inner, sizeof inner);
}

int main(void)
{
    const portal_handlers handlers = { .size = sizeof handlers, .message = check_message, .pong = pong };
    portal_server server;
    client *self;

    define("/check", &handlers, &marker);
    server = serve(NULL);
    self = client_connect(portal_server_port(server), "/check");
    for (size_t len = 0; len < 300; ++len) {
        char words[300];
        memset(words, 'x', sizeof words);
        /* Two at once, so that something stands right behind the first. */
        client_send(self, TEXT, words, len);
        client_send(self, TEXT, words, len);
        expect_inner(self, 0);
        expect_inner(self, 0);
    }
    client_send(self, TEXT, "a\0b", 3); /* U+0000 is a character like any other */
    expect_inner(self, 1);
    client_send(self, BINARY, "", 0);
    expect_inner(self, 0);
    client_send(self, PONG, "", 0);
    client_expect(self, TEXT, "", 0);
    client_farewell(self);
    CHECK_OK(portal_server_close(server));
    return 0;
}
