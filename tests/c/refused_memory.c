/* When the system refuses memory for a message, the caller is told and nothing else is changed; a page's
 * client is let go. */
#include "check.h"
#include "client.h"
#include "serve.h"

#include <stdatomic.h>
#include <sys/resource.h>
#include <unistd.h>

enum { HUGE_SIZE = 1 << 27, LEFT = 1 << 26 };

static uint8_t *huge;
static _Atomic portal_websocket candidate;

static int32_t remember(portal_websocket websocket, const portal_request *request, void *user_data)
{
    atomic_store(&candidate, websocket);
    return 0;
}

static int32_t answer_hugely(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    CHECK_OK(portal_send(websocket, type, "before", 6));
    CHECK_STATUS(portal_send(websocket, PORTAL_MESSAGE_BINARY, huge, HUGE_SIZE), PORTAL_STATUS_MEMORY);
    return portal_send(websocket, type, "after", 5);
}

/* From now on the system gives this process little more memory than it has. */
static void be_given_little(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    struct rlimit limit;
    unsigned long pages;

    CHECK(file != NULL && fscanf(file, "%lu", &pages) == 1);
    fclose(file);
    CHECK(getrlimit(RLIMIT_AS, &limit) == 0);
    limit.rlim_cur = pages * (unsigned long)sysconf(_SC_PAGESIZE) + LEFT;
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
}

static void ask_for_a_huge_page(uint32_t port)
{
    static const char request[] = "GET /huge HTTP/1.1\r\nHost: localhost\r\n\r\n";
    client *self = client_dial(port);

    client_send_bytes(self, request, strlen(request));
    client_expect_end(self);
    client_destroy(self);
}

int main(void)
{
    const portal_handlers handlers = { .size = sizeof handlers, .connect = remember, .message = answer_hugely };
    portal_server server;
    portal_websocket websocket;
    client *self;

    huge = calloc(1, HUGE_SIZE);
    CHECK(huge != NULL);
    define("/huge", &handlers, NULL);
    CHECK_OK(portal_define_page("/huge", "text/plain", huge, HUGE_SIZE));
    server = serve(NULL);
    self = client_connect(portal_server_port(server), "/huge");
    EVENTUALLY(atomic_load(&candidate) != 0);
    websocket = atomic_load(&candidate);
    be_given_little();

    CHECK_STATUS(portal_send(websocket, PORTAL_MESSAGE_BINARY, huge, HUGE_SIZE), PORTAL_STATUS_MEMORY);
    CHECK_NUMBER(portal_queued(websocket), 0);
    CHECK_OK(portal_send(websocket, PORTAL_MESSAGE_TEXT, "elsewhere", 9));
    client_expect_text(self, "elsewhere");

    ask_for_a_huge_page(portal_server_port(server));
    client_say(self, "answer");
    client_expect_text(self, "before");
    client_expect_text(self, "after");
    EVENTUALLY(portal_queued(websocket) == 0);
    CHECK_NUMBER(portal_server_metric(server, PORTAL_METRIC_MESSAGES_OUT), 3);

    client_farewell(self);
    CHECK_OK(portal_server_close(server));
    free(huge);
    return 0;
}
