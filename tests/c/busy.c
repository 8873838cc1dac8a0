/* What would wait for itself answers BUSY inside a callback. */
#include "check.h"
#include "client.h"
#include "serve.h"

static portal_server server, other;

static void check_busy(portal_server which)
{
    portal_pulled event;

    CHECK_STATUS(portal_server_run(which), PORTAL_STATUS_BUSY);
    CHECK_STATUS(portal_server_poll(which, 0), PORTAL_STATUS_BUSY);
    CHECK_STATUS(portal_server_pull(which, 0, &event, 1, sizeof event), PORTAL_STATUS_BUSY);
    CHECK_STATUS(portal_server_wait(which), PORTAL_STATUS_BUSY);
}

static int32_t check_upgrade(portal_websocket websocket, portal_request *request, void *user_data)
{
    check_busy(server);
    check_busy(other);
    return 0;
}

static int32_t check_connect(portal_websocket websocket, const portal_request *request, void *user_data)
{
    check_busy(server);
    check_busy(other);
    return 0;
}

static int32_t check_message(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    check_busy(server);
    check_busy(other);
    return portal_send(websocket, type, data, len);
}

static int32_t check_disconnect(portal_websocket websocket, uint32_t code, const char *reason, void *user_data)
{
    check_busy(server);
    check_busy(other);
    *(int *)user_data = 1;
    return 0;
}

int main(void)
{
    const portal_handlers handlers = { .size = sizeof handlers, .upgrade = check_upgrade, .connect = check_connect,
        .message = check_message, .disconnect = check_disconnect };
    int disconnected = 0;

    define("/busy", &handlers, &disconnected);
    other = SERVE({ PORTAL_OPTION_DISPATCH, PORTAL_DISPATCH_HOST }, { PORTAL_OPTION_CLOSE_TIMEOUT, 100 });
    for (uint32_t dispatch = PORTAL_DISPATCH_IO; dispatch <= PORTAL_DISPATCH_PER_CLIENT; ++dispatch) {
        client *self;
        server = SERVE({ PORTAL_OPTION_DISPATCH, dispatch });
        disconnected = 0;
        self = client_connect(portal_server_port(server), "/busy");
        client_say(self, "words");
        client_expect_text(self, "words");
        client_farewell(self);
        CHECK_OK(portal_server_close(server));
        CHECK(disconnected);
    }

    /* The host's own thread, inside a turn of `poll`. */
    server = other;
    disconnected = 0;
    client *self = client_dial(portal_server_port(server));
    client_request(self, "/busy", "");
    client_say(self, "words");
    client_close(self, 1000, "");
    EVENTUALLY(portal_server_poll(server, 10) >= 0 && disconnected);
    CHECK_NUMBER(client_response(self).status, 101);
    client_expect_text(self, "words");
    client_expect_close(self, 1000, NULL);
    client_destroy(self);
    CHECK_OK(portal_server_close(server));
    return 0;
}
