/* The counters of a server count what happened. */
#include "check.h"
#include "client.h"
#include "journal.h"
#include "serve.h"

static portal_server server;

static uint64_t metric_of(uint32_t which)
{
    return portal_server_metric(server, which);
}

static int32_t fail(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    return -4711;
}

static const char request[] = "GET /record HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

static void what_happens_is_counted(void)
{
    portal_websocket websocket;
    struct response response;
    client *one, *two;
    size_t heard;

    server = serve(NULL);
    for (uint32_t which = PORTAL_METRIC_CONNECTIONS; which <= PORTAL_METRIC_HANDLER_ERRORS; ++which)
        CHECK_NUMBER(metric_of(which), 0);
    CHECK_NUMBER(metric_of(0), 0);
    CHECK_NUMBER(metric_of(PORTAL_METRIC_HANDLER_ERRORS + 1), 0);
    CHECK_NUMBER(metric_of(PORTAL_METRIC_CERTIFICATE_EXPIRES), 0);
    CHECK_NUMBER(metric_of(UINT32_MAX), 0);

    one = client_dial(portal_server_port(server));
    client_send_bytes(one, request, strlen(request));
    response = client_response(one);
    CHECK_NUMBER(response.status, 101);
    heard = strlen(response.head) + 2; /* the empty line is cut off */
    websocket = journal_expect(PORTAL_EVENT_CONNECT).websocket;
    client_say(one, "words");
    journal_expect(PORTAL_EVENT_MESSAGE);
    EVENTUALLY(metric_of(PORTAL_METRIC_BYTES_IN) == strlen(request) + 11);
    EVENTUALLY(metric_of(PORTAL_METRIC_MESSAGES_IN) == 1);
    CHECK_OK(portal_send(websocket, PORTAL_MESSAGE_BINARY, "1234567", 7));
    client_expect(one, BINARY, "1234567", 7);
    EVENTUALLY(metric_of(PORTAL_METRIC_BYTES_OUT) == heard + 9);
    EVENTUALLY(metric_of(PORTAL_METRIC_MESSAGES_OUT) == 1);
    EVENTUALLY(metric_of(PORTAL_METRIC_QUEUED_BYTES) == 0);

    two = client_connect(portal_server_port(server), "/fail");
    journal_expect(PORTAL_EVENT_CONNECT);
    EVENTUALLY(metric_of(PORTAL_METRIC_CONNECTIONS) == 2);
    CHECK_NUMBER(metric_of(PORTAL_METRIC_CONNECTIONS_TOTAL), 2);
    CHECK_NUMBER(client_status(portal_server_port(server), "/nowhere", ""), 404);
    EVENTUALLY(metric_of(PORTAL_METRIC_REJECTED_TOTAL) == 1);

    client_say(two, "fail");
    CHECK_NUMBER(journal_expect(PORTAL_EVENT_ERROR).code, -4711);
    EVENTUALLY(metric_of(PORTAL_METRIC_HANDLER_ERRORS) == 1);
    CHECK_NUMBER(metric_of(PORTAL_METRIC_PROTOCOL_ERRORS), 0);

    client_send_frame(one, 0x8f, "", 0);
    client_expect_close(one, 1002, NULL);
    EVENTUALLY(metric_of(PORTAL_METRIC_PROTOCOL_ERRORS) == 1);
    /* Before the other leaves: on threads of their own, their events have no order. */
    journal_expect(PORTAL_EVENT_ERROR);
    client_destroy(one);
    journal_expect(PORTAL_EVENT_DISCONNECT);
    EVENTUALLY(metric_of(PORTAL_METRIC_CONNECTIONS) == 1);
    client_farewell(two);
    journal_expect(PORTAL_EVENT_DISCONNECT);
    EVENTUALLY(metric_of(PORTAL_METRIC_CONNECTIONS) == 0);
    CHECK_NUMBER(metric_of(PORTAL_METRIC_CONNECTIONS_TOTAL), 2);
    CHECK_OK(portal_server_close(server));
    CHECK_NUMBER(metric_of(PORTAL_METRIC_CONNECTIONS_TOTAL), 0);
}

int main(void)
{
    portal_handlers handlers = recording;

    define("/record", &handlers, NULL);
    handlers.message = fail;
    define("/fail", &handlers, NULL);
    for (enum way way = BY_LOOP; way <= BY_POLL; ++way) {
        serve_by(way);
        RUN(what_happens_is_counted);
    }
    serve_by(BY_LOOP);
    return 0;
}
