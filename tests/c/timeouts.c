/* Each timeout ends what it is for, and not before its time. The exact ticks are tested beside the code, with a
 * clock that is handed in. */
#include "check.h"
#include "client.h"
#include "crew.h"
#include "journal.h"
#include "serve.h"

/* A time that runs out, and one within which a client of a busy machine does something. */
enum { SHORT_MS = 300, LONG_MS = 2000 };

static long long began;

/* To be called before what starts the timeout: then what comes in between makes no end look too early. */
static void begin(void)
{
    began = now_ms();
}

static void check_not_early(void)
{
    const long long took = now_ms() - began;

    if (took < SHORT_MS / 2)
        FAIL("it took %lld ms, not about %d", took, SHORT_MS);
}

static void a_handshake_that_takes_too_long_is_ended(void)
{
    static const char *const beginnings[] = { "", "GET / HTTP/1.1\r\nHost: lo" };
    const portal_server server = SERVE({ PORTAL_OPTION_HANDSHAKE_TIMEOUT, SHORT_MS });

    for (size_t i = 0; i < COUNT(beginnings); ++i) {
        client *self;

        begin();
        self = client_dial(portal_server_port(server));
        client_send_bytes(self, beginnings[i], strlen(beginnings[i]));
        client_hears_anything(self);
        check_not_early();
        client_destroy(self);
    }
    CHECK_OK(portal_server_close(server));
}

static void the_handshake_s_deadline_does_not_move_with_each_byte(void)
{
    const portal_server server = SERVE({ PORTAL_OPTION_HANDSHAKE_TIMEOUT, SHORT_MS });
    client *self = client_dial(portal_server_port(server));

    begin();
    client_send_bytes(self, "GET / HTTP/1.1\r\nX: ", 19);
    while (!client_has_heard(self)) {
        CHECK(now_ms() < began + PATIENCE_MS);
        client_send_bytes(self, "x", 1);
        pause_ms(20);
    }
    if (client_hears_anything(self))
        CHECK_NUMBER(client_response(self).status, 408);
    client_destroy(self);
    CHECK_OK(portal_server_close(server));
}

static void an_idle_client_is_closed_with_1001(void)
{
    const portal_server server = SERVE({ PORTAL_OPTION_IDLE_TIMEOUT, SHORT_MS });
    client *self;

    begin();
    self = client_connect(portal_server_port(server), "/record");
    client_expect_close(self, 1001, NULL);
    check_not_early();
    client_close(self, 1001, "");
    client_expect_end(self);
    client_destroy(self);
    journal_expect(PORTAL_EVENT_CONNECT);
    CHECK_NUMBER(journal_expect(PORTAL_EVENT_DISCONNECT).type, 1001); /* and no error */
    CHECK_OK(portal_server_close(server));
}

static void a_client_that_talks_is_not_idle(void)
{
    const portal_server server = SERVE({ PORTAL_OPTION_IDLE_TIMEOUT, LONG_MS });
    client *self = client_connect(portal_server_port(server), "/echo");

    begin();
    while (now_ms() < began + LONG_MS * 3) {
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
    client *self;

    begin();
    self = client_connect(portal_server_port(server), "/record");
    journal_expect(PORTAL_EVENT_CONNECT);
    CHECK_NUMBER(client_read(self).opcode, PING);
    CHECK_NUMBER(journal_expect(PORTAL_EVENT_DISCONNECT).type, 1006);
    check_not_early();
    client_destroy(self);
    CHECK_OK(portal_server_close(server));
}

static void a_client_that_answers_pings_stays_and_the_application_is_not_told(void)
{
    const portal_server server = SERVE({ PORTAL_OPTION_PING_INTERVAL, LONG_MS });
    client *self = client_connect(portal_server_port(server), "/record");

    journal_expect(PORTAL_EVENT_CONNECT);
    for (int i = 0; i < 3; ++i) {
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
    check_not_early();
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
    check_not_early();
    CHECK_NUMBER(journal_expect(PORTAL_EVENT_DISCONNECT).type, 1006);
    client_expect_close(self, 1001, NULL);
    client_destroy(self);
}

/* A handler that is busy for long: what its client does not say meanwhile is not held against it. */
static int32_t be_busy(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    pause_ms(LONG_MS * 3);
    return portal_send(websocket, type, data, len);
}

static void expect_patience_with_a_busy_handler(uint32_t dispatch)
{
    const portal_server server = SERVE({ PORTAL_OPTION_DISPATCH, dispatch }, { PORTAL_OPTION_PING_INTERVAL, LONG_MS });
    portal_handlers handlers = recording;
    struct frame frame;
    client *self;

    handlers.message = be_busy;
    define("/busy", &handlers, NULL);
    self = client_connect(portal_server_port(server), "/busy");
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

static void a_handler_that_holds_up_the_loop_is_not_held_against_the_client(void)
{
    expect_patience_with_a_busy_handler(PORTAL_DISPATCH_IO);
}

static void a_handler_that_holds_up_its_thread_is_not_held_against_the_client(void)
{
    expect_patience_with_a_busy_handler(PORTAL_DISPATCH_PER_CLIENT);
}

int main(void)
{
    const struct crew_test tests[] = {
        CREW_TEST(a_handshake_that_takes_too_long_is_ended),
        CREW_TEST(the_handshake_s_deadline_does_not_move_with_each_byte),
        CREW_TEST(an_idle_client_is_closed_with_1001),
        CREW_TEST(a_client_that_talks_is_not_idle),
        CREW_TEST(a_client_that_answers_no_ping_is_gone),
        CREW_TEST(a_client_that_answers_pings_stays_and_the_application_is_not_told),
        CREW_TEST(a_client_that_does_not_answer_a_close_is_ended),
        CREW_TEST(closing_a_server_does_not_wait_longer_for_the_silent),
        CREW_TEST(a_handler_that_holds_up_the_loop_is_not_held_against_the_client),
        CREW_TEST(a_handler_that_holds_up_its_thread_is_not_held_against_the_client),
    };
    struct crew crew = { COUNT(tests), 0, 0 };

    define("/record", &recording, NULL);
    define_echo("/echo");
    for (size_t i = 0; i < COUNT(tests); ++i)
        if (crew_fork(&crew)) {
            crew_run(&tests[i]);
            exit(0);
        }
    return crew_wait(&crew) > 0;
}
