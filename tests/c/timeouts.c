/* Each timeout ends what it is for, and not before its time. */
#include "check.h"
#include "client.h"
#include "journal.h"
#include "serve.h"


enum { SHORT_MS = 300, LATE_MS = 5000 };

static long long began;

static void begin(void)
{
    began = now_ms();
}

static void check_in_time(void)
{
    const long long took = now_ms() - began;

    if (took < SHORT_MS / 2 || took > LATE_MS)
        FAIL("it took %lld ms, not about %d", took, SHORT_MS);
}

static void a_handshake_that_takes_too_long_is_ended(void)
{
    static const char *const beginnings[] = { "", "GET / HTTP/1.1\r\nHost: lo" };
    const portal_server server = SERVE({ PORTAL_OPTION_HANDSHAKE_TIMEOUT, SHORT_MS });

    for (size_t i = 0; i < COUNT(beginnings); ++i) {
        client *self = client_dial(portal_server_port(server));
        begin();
        client_send_bytes(self, beginnings[i], strlen(beginnings[i]));
        client_hears_anything(self);
        check_in_time();
        client_destroy(self);
    }
    CHECK_OK(portal_server_close(server));
}

static void the_handshake_s_deadline_does_not_move_with_each_byte(void)
{
    const portal_server server = SERVE({ PORTAL_OPTION_HANDSHAKE_TIMEOUT, SHORT_MS });
    client *self = client_dial(portal_server_port(server));
    struct response response;

    begin();
    client_send_bytes(self, "GET / HTTP/1.1\r\nX: ", 19);
    while (now_ms() < began + SHORT_MS * 4) {
        client_send_bytes(self, "x", 1);
        pause_ms(20);
    }
    client_send_bytes(self, "\r\n\r\n", 4);
    if (client_hears_anything(self)) {
        response = client_response(self);
        CHECK_NUMBER(response.status, 408);
    }
    client_destroy(self);
    CHECK_OK(portal_server_close(server));
}

static void an_idle_client_is_closed_with_1001(void)
{
    const portal_server server = SERVE({ PORTAL_OPTION_IDLE_TIMEOUT, SHORT_MS }, { PORTAL_OPTION_PING_INTERVAL, 0 });
    client *self = client_connect(portal_server_port(server), "/record");

    begin();
    client_expect_close(self, 1001, NULL);
    check_in_time();
    client_close(self, 1001, "");
    client_expect_end(self);
    client_destroy(self);
    journal_expect(PORTAL_EVENT_CONNECT);
    CHECK_NUMBER(journal_expect(PORTAL_EVENT_DISCONNECT).type, 1001); /* and no error */
    CHECK_OK(portal_server_close(server));
}

static void a_client_that_talks_is_not_idle(void)
{
    const portal_server server = SERVE({ PORTAL_OPTION_IDLE_TIMEOUT, SHORT_MS * 2 },
        { PORTAL_OPTION_PING_INTERVAL, 0 });
    client *self = client_connect(portal_server_port(server), "/echo");

    begin();
    while (now_ms() < began + SHORT_MS * 6) {
        client_say(self, "still here");
        client_expect_text(self, "still here");
        pause_ms(20);
    }
    client_farewell(self);
    CHECK_OK(portal_server_close(server));
}

static void a_client_that_answers_no_ping_is_gone(void)
{
    const portal_server server = SERVE({ PORTAL_OPTION_PING_INTERVAL, SHORT_MS });
    client *self = client_connect(portal_server_port(server), "/record");

    begin();
    journal_expect(PORTAL_EVENT_CONNECT);
    CHECK_NUMBER(client_read(self).opcode, PING);
    CHECK_NUMBER(journal_expect(PORTAL_EVENT_DISCONNECT).type, 1006);
    check_in_time();
    client_destroy(self);
    CHECK_OK(portal_server_close(server));
}

static void a_client_that_answers_pings_stays_and_the_application_is_not_told(void)
{
    const portal_server server = SERVE({ PORTAL_OPTION_PING_INTERVAL, SHORT_MS });
    client *self = client_connect(portal_server_port(server), "/record");

    journal_expect(PORTAL_EVENT_CONNECT);
    for (int i = 0; i < 5; ++i) {
        const struct frame ping = client_read(self);
        CHECK_NUMBER(ping.opcode, PING);
        client_send(self, PONG, ping.payload, ping.len);
    }
    client_farewell(self);
    CHECK_NUMBER(journal_expect(PORTAL_EVENT_DISCONNECT).type, 1000);
    CHECK_OK(portal_server_close(server));
}

static void a_client_that_does_not_answer_a_close_is_ended(void)
{
    const portal_server server = SERVE({ PORTAL_OPTION_CLOSE_TIMEOUT, SHORT_MS });
    client *self = client_connect(portal_server_port(server), "/record");
    const portal_websocket websocket = journal_expect(PORTAL_EVENT_CONNECT).websocket;

    begin();
    CHECK_OK(portal_close(websocket, 4000, "bye"));
    client_expect_close(self, 4000, "bye");
    CHECK_NUMBER(journal_expect(PORTAL_EVENT_DISCONNECT).type, 1006);
    check_in_time();
    client_destroy(self);
    CHECK_OK(portal_server_close(server));
}

static void closing_a_server_does_not_wait_longer_for_the_silent(void)
{
    const portal_server server = SERVE({ PORTAL_OPTION_CLOSE_TIMEOUT, SHORT_MS });
    client *self = client_connect(portal_server_port(server), "/record");

    journal_expect(PORTAL_EVENT_CONNECT);
    begin();
    CHECK_OK(portal_server_close(server));
    check_in_time();
    CHECK_NUMBER(journal_expect(PORTAL_EVENT_DISCONNECT).type, 1006);
    client_expect_close(self, 1001, NULL);
    client_destroy(self);
}

/* A handler that is busy for long: what its client does not say meanwhile is not held against it. */
static int32_t be_busy(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    pause_ms(SHORT_MS * 5);
    return portal_send(websocket, type, data, len);
}

static void a_busy_handler_is_not_held_against_the_client(void)
{
    static const uint32_t dispatches[] = { PORTAL_DISPATCH_IO, PORTAL_DISPATCH_PER_CLIENT };
    portal_handlers handlers = recording;

    handlers.message = be_busy;
    define("/busy", &handlers, NULL);
    for (size_t i = 0; i < COUNT(dispatches); ++i) {
        const portal_server server = SERVE({ PORTAL_OPTION_DISPATCH, dispatches[i] },
            { PORTAL_OPTION_PING_INTERVAL, SHORT_MS });
        client *self = client_connect(portal_server_port(server), "/busy");
        struct frame frame;

        journal_expect(PORTAL_EVENT_CONNECT);
        client_say(self, "wait");
        while ((frame = client_read(self)).opcode == PING)
            client_send(self, PONG, frame.payload, frame.len);
        CHECK_TEXT((const char *)frame.payload, "wait");
        client_close(self, 1000, "");
        while (client_read(self).opcode == PING)
            continue;
        client_destroy(self);
        CHECK_NUMBER(journal_expect(PORTAL_EVENT_DISCONNECT).type, 1000);
        CHECK_OK(portal_server_close(server));
    }
}

int main(void)
{
    define("/record", &recording, NULL);
    define_echo("/echo");
    RUN(a_handshake_that_takes_too_long_is_ended);
    RUN(the_handshake_s_deadline_does_not_move_with_each_byte);
    RUN(an_idle_client_is_closed_with_1001);
    RUN(a_client_that_talks_is_not_idle);
    RUN(a_client_that_answers_no_ping_is_gone);
    RUN(a_client_that_answers_pings_stays_and_the_application_is_not_told);
    RUN(a_client_that_does_not_answer_a_close_is_ended);
    RUN(closing_a_server_does_not_wait_longer_for_the_silent);
    RUN(a_busy_handler_is_not_held_against_the_client);
    return 0;
}
