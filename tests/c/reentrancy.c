/* A handler may close, abort and flush its own websocket, and close the server or its listener, from inside. */
#include "check.h"
#include "client.h"
#include "journal.h"
#include "serve.h"

#include <pthread.h>

enum deed { CLOSE_IT, ABORT_IT, FLUSH_IT, CLOSE_SERVER, BEGIN_CLOSE_SERVER, STOP_ACCEPTING };

static portal_server server;
static enum deed deed;
static uint32_t deed_event; /* the callback that does it */

static void act(uint32_t event, portal_websocket websocket)
{
    const portal_status gone = event == PORTAL_EVENT_DISCONNECT ? PORTAL_STATUS_GONE : PORTAL_STATUS_OK;

    if (event != deed_event)
        return;
    switch (deed) {
    case CLOSE_IT:
        CHECK_STATUS(portal_close(websocket, 4000, "inside"), gone);
        CHECK_STATUS(portal_send(websocket, PORTAL_MESSAGE_TEXT, "late", 4), PORTAL_STATUS_GONE);
        break;
    case ABORT_IT:
        CHECK_STATUS(portal_abort(websocket), gone);
        CHECK_STATUS(portal_send(websocket, PORTAL_MESSAGE_TEXT, "late", 4), PORTAL_STATUS_GONE);
        break;
    case FLUSH_IT:
        CHECK_STATUS(portal_send(websocket, PORTAL_MESSAGE_TEXT, "flushed", 7), gone);
        CHECK_STATUS(portal_flush(websocket), gone);
        break;
    case CLOSE_SERVER:
        CHECK_OK(portal_server_close(server));
        break;
    case BEGIN_CLOSE_SERVER:
        CHECK_OK(portal_server_begin_close(server));
        break;
    case STOP_ACCEPTING:
        CHECK_OK(portal_server_stop_accepting(server));
        break;
    }
}

static int32_t on_connect(portal_websocket websocket, const portal_request *request, void *user_data)
{
    act(PORTAL_EVENT_CONNECT, websocket);
    return record_connect(websocket, request, user_data);
}

static int32_t on_message(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    act(PORTAL_EVENT_MESSAGE, websocket);
    return record_message(websocket, type, data, len, user_data);
}

static int32_t on_disconnect(portal_websocket websocket, uint32_t code, const char *reason, void *user_data)
{
    CHECK_NUMBER(portal_state_of(websocket), PORTAL_STATE_CLOSED);
    act(PORTAL_EVENT_DISCONNECT, websocket);
    return record_disconnect(websocket, code, reason, user_data);
}

static void on_pong(portal_websocket websocket, const void *data, size_t len, void *user_data)
{
    act(PORTAL_EVENT_PONG, websocket);
    record_pong(websocket, data, len, user_data);
}

static void expect_our_close(client *self)
{
    client_expect_close(self, deed == CLOSE_IT ? 4000 : 1001, deed == CLOSE_IT ? "inside" : NULL);
    client_close(self, 1000, "");
    client_expect_end(self);
}

static void close_ourselves(client *self)
{
    if (deed == FLUSH_IT && deed_event != PORTAL_EVENT_DISCONNECT)
        client_expect_text(self, "flushed");
    client_close(self, 1000, "");
    client_expect_close(self, 1000, NULL);
    client_expect_end(self);
}

/* Makes each callback happen once, or as many as the deed leaves. */
static void visit(uint32_t port)
{
    const int ends_early = deed_event != PORTAL_EVENT_DISCONNECT && deed != FLUSH_IT && deed != STOP_ACCEPTING;
    client *self = client_dial(port);

    client_request(self, "/", "");
    client_send(self, PONG, "", 0);
    client_say(self, "hello");
    if (ends_early && deed == ABORT_IT) {
        client_hear_out(self); /* the abort may overtake even the answer to the request */
    } else {
        CHECK_NUMBER(client_response(self).status, 101);
        if (ends_early)
            expect_our_close(self);
        else
            close_ourselves(self);
    }
    client_destroy(self);
    journal_expect(PORTAL_EVENT_CONNECT);
    journal_await(PORTAL_EVENT_DISCONNECT);
}

static void *run_host(void *unused)
{
    CHECK_OK(portal_server_run(server));
    return unused;
}

static void check_deed(uint32_t dispatch)
{
    const int closes_server = deed == CLOSE_SERVER || deed == BEGIN_CLOSE_SERVER;
    pthread_t host;
    portal_status status;

    server = SERVE({ PORTAL_OPTION_DISPATCH, dispatch });
    if (dispatch == PORTAL_DISPATCH_HOST)
        CHECK(pthread_create(&host, NULL, run_host, NULL) == 0);
    visit(portal_server_port(server));
    status = closes_server ? portal_server_wait(server) : portal_server_close(server);
    CHECK(status == PORTAL_STATUS_OK || (closes_server && status == PORTAL_STATUS_GONE));
    if (dispatch == PORTAL_DISPATCH_HOST)
        CHECK(pthread_join(host, NULL) == 0);
    CHECK(journal_is_empty());
}

int main(void)
{
    static const uint32_t events[] = { PORTAL_EVENT_CONNECT, PORTAL_EVENT_MESSAGE, PORTAL_EVENT_DISCONNECT,
        PORTAL_EVENT_PONG };
    const portal_handlers handlers = { .size = sizeof handlers, .connect = on_connect, .message = on_message,
        .disconnect = on_disconnect, .pong = on_pong, .error = record_error };

    define("/", &handlers, NULL);
    for (uint32_t dispatch = PORTAL_DISPATCH_IO; dispatch <= PORTAL_DISPATCH_HOST; ++dispatch)
        for (size_t i = 0; i < COUNT(events); ++i)
            for (deed = CLOSE_IT; deed <= STOP_ACCEPTING; ++deed) {
                printf("dispatch %u, event %u, deed %d\n", dispatch, events[i], deed);
                fflush(stdout);
                deed_event = events[i];
                check_deed(dispatch);
            }
    return 0;
}
