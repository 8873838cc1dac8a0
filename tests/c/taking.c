/* Time and control frames while a client is busy receiving: who takes bytes lives, who takes none dies. */
#include "check.h"
#include "client.h"
#include "crew.h"
#include "journal.h"
#include "serve.h"

#include <sys/socket.h>

enum { SIZE = 64 << 10, MESSAGES = 128, SHORT_MS = 500 };

static char block[SIZE];

/* More than the system's own buffers hold. */
static int32_t send_much(portal_websocket websocket, const portal_request *request, void *user_data)
{
    for (uint32_t number = 0; number < MESSAGES; ++number) {
        memcpy(block, &number, sizeof number);
        CHECK_OK(portal_send(websocket, PORTAL_MESSAGE_BINARY, block, sizeof block));
    }
    return record_connect(websocket, request, user_data);
}

/* A client whose system takes little ahead of it. */
static client *enter(portal_server server, portal_websocket *websocket)
{
    client *self = client_dial(portal_server_port(server));
    const int little = 32 << 10;

    CHECK(setsockopt(client_socket(self), SOL_SOCKET, SO_RCVBUF, &little, sizeof little) == 0);
    client_shake_hands(self, "/much", "");
    *websocket = journal_expect(PORTAL_EVENT_CONNECT).websocket;
    return self;
}

/* The closing handshake of a client that may be pinged meanwhile. */
static void leave(client *self)
{
    struct frame frame;

    client_close(self, 1000, "");
    do
        frame = client_read(self);
    while (frame.opcode == PING);
    CHECK_NUMBER(frame.opcode, CLOSE);
    client_destroy(self);
    CHECK_NUMBER(journal_expect(PORTAL_EVENT_DISCONNECT).type, 1000);
}

/* Reads one frame after the other, with pauses for the first `slow_ms`, and answers pings at once. Returns what
 * follows the messages. */
static struct frame read_slowly(client *self, long slow_ms)
{
    const long long end = now_ms() + slow_ms;
    uint32_t expected = 0;

    for (;;) {
        const struct frame frame = client_read(self);
        if (frame.opcode == PING) {
            client_send(self, PONG, frame.payload, frame.len);
            continue;
        }
        if (frame.opcode != BINARY) {
            CHECK_NUMBER(expected, MESSAGES);
            return frame;
        }
        CHECK_NUMBER(frame.len, SIZE);
        CHECK(memcmp(frame.payload, &expected, sizeof expected) == 0);
        ++expected;
        if (now_ms() < end)
            pause_ms(20);
    }
}

static void who_reads_slowly_and_answers_pings_stays(void)
{
    portal_websocket websocket;
    const portal_server server = SERVE({ PORTAL_OPTION_PING_INTERVAL, SHORT_MS });
    client *self = enter(server, &websocket);

    CHECK_OK(portal_ping(websocket, "mark", 4)); /* ahead of what is queued */
    portal_send(websocket, PORTAL_MESSAGE_TEXT, "end", 3);
    CHECK_NUMBER(read_slowly(self, 5 * SHORT_MS).opcode, TEXT);
    CHECK_TEXT(journal_expect(PORTAL_EVENT_PONG).data, "mark");
    leave(self);
    CHECK_OK(portal_server_close(server));
}

static void who_takes_nothing_is_gone(void)
{
    portal_websocket websocket;
    const portal_server server = SERVE({ PORTAL_OPTION_PING_INTERVAL, SHORT_MS });
    const long long began = now_ms();
    client *self = enter(server, &websocket);

    CHECK_NUMBER(journal_expect(PORTAL_EVENT_DISCONNECT).type, 1006);
    CHECK(now_ms() - began >= SHORT_MS);
    client_destroy(self);
    CHECK_OK(portal_server_close(server));
}

static void control_frames_do_not_wait_behind_messages(void)
{
    portal_websocket websocket;
    const portal_server server = SERVE({ PORTAL_OPTION_PING_INTERVAL, 0 });
    client *self = enter(server, &websocket);
    int messages = 0, pinged = 0, ponged = 0;

    uint64_t request;

    EVENTUALLY((request = portal_server_metric(server, PORTAL_METRIC_BYTES_IN)) > 0);
    CHECK_OK(portal_ping(websocket, "1", 1));
    CHECK_OK(portal_ping(websocket, "2", 1));
    client_send(self, PING, "old", 3);
    client_send(self, PING, "new", 3);
    EVENTUALLY(portal_server_metric(server, PORTAL_METRIC_BYTES_IN) == request + 2 * (2 + 4 + 3));
    while (!pinged || !ponged || messages < MESSAGES) {
        const struct frame frame = client_read(self);
        if (frame.opcode == BINARY) {
            ++messages;
        } else if (frame.opcode == PING) {
            CHECK_NUMBER(frame.payload[0], pinged == 0 ? '1' : '2');
            pinged += 1;
        } else {
            CHECK_NUMBER(frame.opcode, PONG);
            ponged = strcmp((const char *)frame.payload, "new") == 0;
        }
        if (messages == MESSAGES)
            CHECK(pinged == 2 && ponged);
    }
    leave(self);
    CHECK_OK(portal_server_close(server));
}

/* Else who sends without a pause could ping 64 times, and never again. */
static void pings_that_have_left_make_room_for_others_while_messages_wait(void)
{
    portal_websocket websocket;
    const portal_server server = SERVE({ PORTAL_OPTION_PING_INTERVAL, 0 });
    client *self = enter(server, &websocket);

    for (int messages = 0; messages < 800;) {
        if (client_read(self).opcode != BINARY)
            continue;
        CHECK_OK(portal_send(websocket, PORTAL_MESSAGE_BINARY, block, sizeof block));
        if (++messages % 4 == 0)
            CHECK_OK(portal_ping(websocket, "", 0));
    }
    client_destroy(self);
    CHECK_NUMBER(journal_expect(PORTAL_EVENT_DISCONNECT).type, 1006);
    CHECK_OK(portal_server_close(server));
}

static void expect_a_close_to_wait(int by_server)
{
    portal_websocket websocket;
    const portal_server server = SERVE({ PORTAL_OPTION_CLOSE_TIMEOUT, SHORT_MS * 2 });
    client *self = enter(server, &websocket);
    const uint32_t code = by_server ? 1001 : 4000;
    struct frame last;

    if (by_server)
        CHECK_OK(portal_server_begin_close(server));
    else
        CHECK_OK(portal_close(websocket, code, NULL));
    last = read_slowly(self, SHORT_MS * 5);
    CHECK_NUMBER(last.opcode, CLOSE);
    CHECK_NUMBER(last.payload[0] << 8 | last.payload[1], code);
    client_close(self, code, "");
    client_expect_end(self);
    client_destroy(self);
    CHECK_NUMBER(journal_expect(PORTAL_EVENT_DISCONNECT).type, code);
    portal_server_close(server);
}

static void a_close_waits_for_who_takes_what_is_before_it(void) { expect_a_close_to_wait(0); }
static void a_server_s_close_waits_for_who_takes_what_is_before_it(void) { expect_a_close_to_wait(1); }

static void who_drips_holds_a_close_up_for_twelve_timeouts_at_most(void)
{
    portal_websocket websocket;
    const portal_server server = SERVE({ PORTAL_OPTION_CLOSE_TIMEOUT, SHORT_MS / 2 });
    client *self = enter(server, &websocket);
    const long long began = now_ms();
    char drops[4 << 10];
    ssize_t count;

    CHECK_OK(portal_close(websocket, 4000, NULL));
    while (journal_count(PORTAL_EVENT_DISCONNECT) < journal_count(PORTAL_EVENT_CONNECT)) {
        count = recv(client_socket(self), drops, sizeof drops, MSG_DONTWAIT);
        CHECK(count != 0);
        CHECK(now_ms() < began + PATIENCE_MS);
        pause_ms(20);
    }
    CHECK_NUMBER(journal_expect(PORTAL_EVENT_DISCONNECT).type, 1006);
    client_destroy(self);
    CHECK_OK(portal_server_close(server));
}

static void who_takes_nothing_before_a_close_is_ended_in_time(void)
{
    portal_websocket websocket;
    const portal_server server = SERVE({ PORTAL_OPTION_CLOSE_TIMEOUT, SHORT_MS }, { PORTAL_OPTION_PING_INTERVAL, 0 });
    client *self = enter(server, &websocket);

    pause_ms(SHORT_MS); /* its buffers are full by now, or else it takes a little more */
    CHECK_OK(portal_server_close(server));
    CHECK_NUMBER(journal_expect(PORTAL_EVENT_DISCONNECT).type, 1006);
    client_destroy(self);
}

#define TEST(test) { #test, test }

static const struct test {
    const char *name;
    void (*run)(void);
} tests[] = {
    TEST(who_reads_slowly_and_answers_pings_stays),
    TEST(who_takes_nothing_is_gone),
    TEST(control_frames_do_not_wait_behind_messages),
    TEST(pings_that_have_left_make_room_for_others_while_messages_wait),
    TEST(a_close_waits_for_who_takes_what_is_before_it),
    TEST(a_server_s_close_waits_for_who_takes_what_is_before_it),
    TEST(who_drips_holds_a_close_up_for_twelve_timeouts_at_most),
    TEST(who_takes_nothing_before_a_close_is_ended_in_time),
};

static _Noreturn void run(const struct test *test, enum way way)
{
    portal_handlers much = recording;

    serve_by(way);
    much.connect = send_much;
    define("/much", &much, NULL);
    printf("%s\n", test->name);
    fflush(stdout);
    test->run();
    CHECK(journal_is_empty());
    exit(0);
}

int main(void)
{
    static const enum way ways[] = { BY_LOOP, BY_POLL };
    struct crew crew = { COUNT(tests), 0, 0 };

    for (size_t i = 0; i < COUNT(ways); ++i)
        for (size_t j = 0; j < COUNT(tests); ++j)
            if (crew_fork(&crew))
                run(&tests[j], ways[i]);
    return crew_wait(&crew) > 0;
}
