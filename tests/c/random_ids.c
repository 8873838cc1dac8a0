/* A million random ids, given to every function, do nothing at all. */
#include "check.h"
#include "client.h"
#include "journal.h"
#include "nobody.h"
#include "serve.h"

static uint64_t next_random(uint64_t random)
{
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    return random;
}

int main(void)
{
    portal_handlers handlers = recording;
    portal_server server;
    portal_websocket websocket;
    uint64_t random = 0x9e3779b97f4a7c15;
    client *self;

    handlers.message = echo_message;
    define("/echo", &handlers, NULL);
    server = serve(NULL);
    self = client_connect(portal_server_port(server), "/echo");
    websocket = journal_expect(PORTAL_EVENT_CONNECT).websocket;

    for (int i = 0; i < 1000000; ++i) {
        uint64_t id = random = next_random(random);
        if (i % 4 == 1)
            id >>= 11; /* as small as ids are */
        if (i % 4 == 2)
            id = server ^ 1ull << random % 64; /* but for one bit the server */
        if (i % 4 == 3)
            id = websocket ^ 1ull << random % 64;
        check_no_server(id);
        check_no_websocket(id);
    }

    client_say(self, "untouched");
    client_expect_text(self, "untouched");
    client_farewell(self);
    CHECK_NUMBER(journal_count(PORTAL_EVENT_CONNECT), 1);
    CHECK_OK(portal_server_close(server));
    return 0;
}
