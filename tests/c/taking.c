/* Time and control frames while a client is busy receiving: who takes bytes lives, who takes none dies. */
#include "check.h"
#include "client.h"
#include "crew.h"
#include "journal.h"
#include "serve.h"

#include <sys/socket.h>
#include <sys/time.h>

enum { SIZE = 64 << 10, MESSAGES = 128 };

/* Who is busy receiving takes something at least once in this time, also on a busy machine. */
enum { SILENCE_MS = 2000 };

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

/* Reads one frame after the other, for three times as long as a client may be silent, and answers pings at once.
 * Returns what follows the messages. */
static struct frame read_slowly(client *self)
{
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
        pause_ms(3 * SILENCE_MS / MESSAGES);
    }
}

static void who_reads_slowly_and_answers_pings_stays(void)
{
    portal_websocket websocket;
    const portal_server server = SERVE({ PORTAL_OPTION_PING_INTERVAL, SILENCE_MS });
    client *self = enter(server, &websocket);

    CHECK_OK(portal_ping(websocket, "mark", 4)); /* ahead of what is queued */
    portal_send(websocket, PORTAL_MESSAGE_TEXT, "end", 3);
    CHECK_NUMBER(read_slowly(self).opcode, TEXT);
    CHECK_TEXT(journal_expect(PORTAL_EVENT_PONG).data, "mark");
    leave(self);
    CHECK_OK(portal_server_close(server));
}

static void who_takes_nothing_is_gone(void)
{
    portal_websocket websocket;
    const portal_server server = SERVE({ PORTAL_OPTION_PING_INTERVAL, SILENCE_MS });
    const long long began = now_ms();
    client *self = enter(server, &websocket);

    CHECK_NUMBER(journal_expect(PORTAL_EVENT_DISCONNECT).type, 1006);
    CHECK(now_ms() - began >= SILENCE_MS);
    client_destroy(self);
    CHECK_OK(portal_server_close(server));
}

static void control_frames_do_not_wait_behind_messages(void)
{
    portal_websocket websocket;
    const portal_server server = serve(NULL);
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
    const portal_server server = serve(NULL);
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
    const portal_server server = SERVE({ PORTAL_OPTION_CLOSE_TIMEOUT, SILENCE_MS });
    client *self = enter(server, &websocket);
    const uint32_t code = by_server ? 1001 : 4000;
    struct frame last;

    if (by_server)
        CHECK_OK(portal_server_begin_close(server));
    else
        CHECK_OK(portal_close(websocket, code, NULL));
    last = read_slowly(self);
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
    const portal_server server = SERVE({ PORTAL_OPTION_CLOSE_TIMEOUT, SILENCE_MS / 2 });
    client *self = enter(server, &websocket);
    const long long began = now_ms();
    char drops[4 << 10];
    size_t taken = 0;
    ssize_t count;

    CHECK_OK(portal_close(websocket, 4000, NULL));
    while (journal_count(PORTAL_EVENT_DISCONNECT) < journal_count(PORTAL_EVENT_CONNECT)) {
        count = recv(client_socket(self), drops, sizeof drops, MSG_DONTWAIT);
        CHECK(count != 0);
        taken += count > 0 ? (size_t)count : 0;
        CHECK(now_ms() < began + PATIENCE_MS);
        pause_ms(20);
    }
    CHECK(taken < MESSAGES * SIZE / 2);
    CHECK_NUMBER(journal_expect(PORTAL_EVENT_DISCONNECT).type, 1006);
    client_destroy(self);
    CHECK_OK(portal_server_close(server));
}

static void who_takes_nothing_before_a_close_is_ended_in_time(void)
{
    portal_websocket websocket;
    const portal_server server = SERVE({ PORTAL_OPTION_CLOSE_TIMEOUT, 500 });
    client *self = enter(server, &websocket);

    pause_ms(500); /* its buffers are full by now, or else it takes a little more */
    CHECK_OK(portal_server_close(server));
    CHECK_NUMBER(journal_expect(PORTAL_EVENT_DISCONNECT).type, 1006);
    client_destroy(self);
}

/* ---- pages ---- */

/* Hears a whole answer, for longer than a client may be silent. */
static size_t hear_slowly(client *self)
{
    static char piece[SIZE];
    const int small = SIZE;
    const struct timeval patience = { .tv_sec = PATIENCE_MS / 1000 };
    const long long began = now_ms();
    size_t heard = 0;
    ssize_t got;

    CHECK(setsockopt(client_socket(self), SOL_SOCKET, SO_RCVBUF, &small, sizeof small) == 0);
    CHECK(setsockopt(client_socket(self), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
    while ((got = recv(client_socket(self), piece, sizeof piece, 0)) > 0) {
        heard += (size_t)got;
        pause_ms(SILENCE_MS / 128);
    }
    CHECK(got == 0);
    CHECK(now_ms() - began > SILENCE_MS);
    return heard;
}

static void who_takes_a_page_slowly_gets_it_whole(void)
{
    static const char *const headers[] = { "", "Connection: close\r\n" };
    const portal_server server = SERVE({ PORTAL_OPTION_HANDSHAKE_TIMEOUT, SILENCE_MS },
        { PORTAL_OPTION_CLOSE_TIMEOUT, SILENCE_MS });
    const size_t len = 256 * SIZE;
    char *body = calloc(1, len);

    CHECK(body != NULL);
    CHECK_OK(portal_define_page("/slow", "text/plain", body, len));
    for (size_t i = 0; i < COUNT(headers); ++i) {
        client *self = client_dial(portal_server_port(server));
        char request[100];

        snprintf(request, sizeof request, "GET /slow HTTP/1.1\r\nHost: localhost\r\n%s\r\n", headers[i]);
        client_send_bytes(self, request, strlen(request));
        CHECK(hear_slowly(self) > len);
        client_destroy(self);
    }
    CHECK_OK(portal_undefine_page("/slow"));
    CHECK_OK(portal_server_close(server));
    free(body);
}

static const struct crew_test tests[] = {
    CREW_TEST(who_reads_slowly_and_answers_pings_stays),
    CREW_TEST(who_takes_nothing_is_gone),
    CREW_TEST(control_frames_do_not_wait_behind_messages),
    CREW_TEST(pings_that_have_left_make_room_for_others_while_messages_wait),
    CREW_TEST(a_close_waits_for_who_takes_what_is_before_it),
    CREW_TEST(a_server_s_close_waits_for_who_takes_what_is_before_it),
    CREW_TEST(who_drips_holds_a_close_up_for_twelve_timeouts_at_most),
    CREW_TEST(who_takes_nothing_before_a_close_is_ended_in_time),
    CREW_TEST(who_takes_a_page_slowly_gets_it_whole),
};

int main(void)
{
    static const enum way ways[] = { BY_LOOP, BY_POLL };
    portal_handlers much = recording;
    struct crew crew = { 2 * COUNT(tests), 0, 0 };

    much.connect = send_much;
    define("/much", &much, NULL);
    for (size_t i = 0; i < COUNT(ways); ++i)
        for (size_t j = 0; j < COUNT(tests); ++j)
            if (crew_fork(&crew)) {
                serve_by(ways[i]);
                crew_run(&tests[j]);
                CHECK(journal_is_empty());
                exit(0);
            }
    return crew_wait(&crew) > 0;
}
