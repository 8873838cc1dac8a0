/* A server that may have 250 MB meets 3,000 clients whose compression wants several times that: some of
 * them are failed with 1011, and a bystander is served all the while. */
#include "check.h"
#include "child.h"
#include "client.h"
#include "serve.h"

#include <sys/resource.h>
#include <sys/socket.h>

enum { CLIENTS = 3000, LIMIT = 250 * 1000 * 1000, TEXT_SIZE = 1000 };

static client *clients[CLIENTS];

static void set_limit(int resource, rlim_t wanted)
{
    struct rlimit limit;

    CHECK(getrlimit(resource, &limit) == 0);
    if (limit.rlim_max != RLIM_INFINITY && limit.rlim_max < wanted)
        FAIL("the hard limit of resource %d is %llu, not %llu", resource, (unsigned long long)limit.rlim_max,
             (unsigned long long)wanted);
    limit.rlim_cur = wanted;
    CHECK(setrlimit(resource, &limit) == 0);
}

static portal_server start(void)
{
    set_limit(RLIMIT_AS, LIMIT);
    define_echo("/echo");
    return SERVE({ PORTAL_OPTION_DEFLATE, 2 }, { PORTAL_OPTION_MAX_MEMORY, 10LL * LIMIT });
}

/* Asks for compression and sends a compressed message, whatever is answered. */
static client *come(uint32_t port)
{
    static uint8_t message[5 + TEXT_SIZE + 1];
    client *self = client_dial(port);

    /* A stored block and the beginning of the empty one behind it. */
    memset(message, 't', sizeof message);
    memcpy(message, (uint8_t[]){ 0, TEXT_SIZE & 255, TEXT_SIZE >> 8, ~TEXT_SIZE & 255, (~TEXT_SIZE >> 8) & 255 }, 5);
    message[sizeof message - 1] = 0;
    client_request(self, "/echo", "Sec-WebSocket-Extensions: permessage-deflate\r\n");
    client_send_frame(self, 0xc2, message, sizeof message);
    return self;
}

static void expect_echo(client *self)
{
    client_say(self, "well?");
    client_expect_text(self, "well?");
}

/* Whether what a client has been sent ends in a close frame with 1011. */
static int is_failed(const client *self)
{
    static const uint8_t failed[] = { 0x88, 2, 1011 >> 8, 1011 & 255 };
    static uint8_t heard[1 << 16];
    const ssize_t count = recv(client_socket(self), heard, sizeof heard, MSG_DONTWAIT);

    return count >= (ssize_t)sizeof failed && memcmp(heard + count - sizeof failed, failed, sizeof failed) == 0;
}

static int count_failed(void)
{
    int failed = 0;

    for (int number = 0; number < CLIENTS; ++number)
        failed += is_failed(clients[number]);
    return failed;
}

int main(void)
{
    struct child server;
    client *bystander;
    int failed;

    set_limit(RLIMIT_NOFILE, CLIENTS + 100);
    server = child_begin(start);
    bystander = client_connect(server.port, "/echo");
    for (int number = 0; number < CLIENTS; ++number) {
        clients[number] = come(server.port);
        if (number % 50 == 0)
            expect_echo(bystander);
    }
    expect_echo(bystander);

    EVENTUALLY((expect_echo(bystander), failed = count_failed()) > 0);
    printf("%d of %d were failed with 1011\n", failed, CLIENTS);

    for (int number = 0; number < CLIENTS; ++number)
        client_destroy(clients[number]);
    /* All is as ever. */
    clients[0] = client_connect(server.port, "/echo");
    expect_echo(clients[0]);
    client_farewell(clients[0]);
    client_farewell(bystander);
    child_end(server);
    return 0;
}
