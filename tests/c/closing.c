/* Codes and reasons of the closing handshake, in both directions; `disconnect` is told once. */
#include "check.h"
#include "client.h"
#include "journal.h"
#include "serve.h"

enum { MAX_MESSAGE_SIZE = 4096 };

static uint32_t port;
static const char longer_than_allowed[MAX_MESSAGE_SIZE + 1];

static client *enter(portal_websocket *websocket)
{
    client *self = client_connect(port, "/record");

    *websocket = journal_expect(PORTAL_EVENT_CONNECT).websocket;
    return self;
}

/* A reason of NULL is any. */
static void expect_disconnect(portal_websocket websocket, uint32_t code, const char *reason)
{
    const struct happening happening = journal_expect(PORTAL_EVENT_DISCONNECT);

    CHECK(happening.websocket == websocket);
    CHECK_NUMBER(happening.type, code);
    if (reason != NULL)
        CHECK_TEXT(happening.data, reason);
    CHECK_NUMBER(happening.state, PORTAL_STATE_CLOSED);
}

static void the_client_s_code_and_reason_are_told_and_echoed(void)
{
    static const uint32_t codes[] = { 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014,
        3000, 3999, 4000, 4999 };
    char longest[124];
    portal_websocket websocket;

    for (size_t i = 0; i < COUNT(codes); ++i) {
        client *self = enter(&websocket);
        client_close(self, codes[i], "Grüße");
        client_expect_close(self, codes[i], NULL);
        client_expect_end(self);
        client_destroy(self);
        expect_disconnect(websocket, codes[i], "Grüße");
    }
    memset(longest, 'r', 123);
    longest[123] = 0;
    client *self = enter(&websocket);
    client_close(self, 4000, longest);
    client_expect_close(self, 4000, NULL);
    client_destroy(self);
    expect_disconnect(websocket, 4000, longest);
}

static void a_close_frame_without_a_code_is_1005(void)
{
    portal_websocket websocket;
    client *self = enter(&websocket);

    client_close(self, 0, "");
    client_expect_close(self, 0, NULL);
    client_expect_end(self);
    client_destroy(self);
    expect_disconnect(websocket, 1005, "");
}

static void leaving_without_a_word_is_1006(void)
{
    portal_websocket websocket;

    client_hang_up(enter(&websocket));
    expect_disconnect(websocket, 1006, NULL);
    client_destroy(enter(&websocket));
    expect_disconnect(websocket, 1006, NULL);
}

static void the_application_s_code_and_reason_reach_the_client(void)
{
    static const uint32_t codes[] = { 1000, 1001, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999 };
    portal_websocket websocket;

    for (size_t i = 0; i < COUNT(codes); ++i) {
        client *self = enter(&websocket);
        CHECK_OK(portal_close(websocket, codes[i], "Tschüß"));
        CHECK_NUMBER(portal_state_of(websocket), PORTAL_STATE_CLOSING);
        CHECK_STATUS(portal_send(websocket, PORTAL_MESSAGE_TEXT, "late", 4), PORTAL_STATUS_GONE);
        CHECK_STATUS(portal_close(websocket, 1000, NULL), PORTAL_STATUS_GONE);
        client_expect_close(self, codes[i], "Tschüß");
        client_close(self, codes[i], "");
        client_expect_end(self);
        client_destroy(self);
        expect_disconnect(websocket, codes[i], "");
    }
}

static void code_0_is_1000_without_a_reason(void)
{
    portal_websocket websocket;
    client *self = enter(&websocket);

    CHECK_OK(portal_close(websocket, 0, NULL));
    client_expect_close(self, 1000, "");
    client_close(self, 1000, "");
    client_destroy(self);
    expect_disconnect(websocket, 1000, "");
}

static void the_client_s_answer_is_what_disconnect_is_told(void)
{
    portal_websocket websocket;
    client *self = enter(&websocket);

    CHECK_OK(portal_close(websocket, 4001, "ours"));
    client_expect_close(self, 4001, "ours");
    client_close(self, 4002, "theirs");
    client_expect_end(self);
    client_destroy(self);
    expect_disconnect(websocket, 4002, "theirs");
}

static void both_may_close_at_once(void)
{
    portal_websocket websocket;

    for (int i = 0; i < 50; ++i) {
        client *self = enter(&websocket);
        portal_status status;
        struct frame frame;

        client_close(self, 4003, "theirs");
        status = portal_close(websocket, 4004, "ours");
        CHECK(status == PORTAL_STATUS_OK || status == PORTAL_STATUS_GONE);
        frame = client_read(self);
        CHECK_NUMBER(frame.opcode, CLOSE);
        client_expect_end(self);
        client_destroy(self);
        expect_disconnect(websocket, 4003, "theirs");
    }
}

static void what_was_sent_before_a_close_arrives_before_it(void)
{
    portal_websocket websocket;
    client *self = enter(&websocket);
    char *much = calloc(1, 1 << 20);

    CHECK(much != NULL);
    CHECK_OK(portal_send(websocket, PORTAL_MESSAGE_BINARY, much, 1 << 20));
    CHECK_OK(portal_send(websocket, PORTAL_MESSAGE_TEXT, "last", 4));
    CHECK_OK(portal_close(websocket, 1000, "done"));
    client_expect(self, BINARY, much, 1 << 20);
    client_expect_text(self, "last");
    client_expect_close(self, 1000, "done");
    client_close(self, 1000, "");
    client_destroy(self);
    expect_disconnect(websocket, 1000, "");
    free(much);
}

static void an_abort_ends_at_once_with_1006(void)
{
    portal_websocket websocket;
    client *self = enter(&websocket);

    CHECK_OK(portal_abort(websocket));
    expect_disconnect(websocket, 1006, NULL);
    client_expect_end(self);
    client_destroy(self);
}

/* Sends one forbidden frame and checks the close code with which the server fails the connection. */
static void expect_refusal(unsigned first_byte, const void *data, size_t len, uint32_t code, portal_status status)
{
    portal_websocket websocket;
    client *self = enter(&websocket);
    struct happening error;

    client_send_frame(self, first_byte, data, len);
    client_expect_close(self, code, NULL);
    client_expect_end(self);
    error = journal_expect(PORTAL_EVENT_ERROR);
    CHECK(error.websocket == websocket);
    CHECK_STATUS(error.status, status);
    CHECK_NUMBER(error.close_code, code);
    CHECK_NUMBER(error.code, 0);
    CHECK_NUMBER(error.state, PORTAL_STATE_CLOSING);
    CHECK(error.len > 0);
    client_destroy(self);
    expect_disconnect(websocket, code, NULL);
}

static void a_broken_protocol_is_failed_with_its_code(void)
{
    expect_refusal(0x80 | 3, "", 0, 1002, PORTAL_STATUS_PROTOCOL);          /* reserved opcode */
    expect_refusal(0xc0 | TEXT, "", 0, 1002, PORTAL_STATUS_PROTOCOL);       /* reserved bit */
    expect_refusal(PING, "", 0, 1002, PORTAL_STATUS_PROTOCOL);              /* fragmented control frame */
    expect_refusal(0x80 | CONTINUATION, "", 0, 1002, PORTAL_STATUS_PROTOCOL);
    expect_refusal(0x80 | CLOSE, "\x03", 1, 1002, PORTAL_STATUS_PROTOCOL);  /* half a code */
    expect_refusal(0x80 | CLOSE, "\x03\xed", 2, 1002, PORTAL_STATUS_PROTOCOL); /* 1005 on the wire */
    expect_refusal(0x80 | CLOSE, "\x03\xe8\xff", 3, 1007, PORTAL_STATUS_UTF8);
    expect_refusal(0x80 | TEXT, "\xff", 1, 1007, PORTAL_STATUS_UTF8);
    expect_refusal(TEXT, "\xc3\x28", 2, 1007, PORTAL_STATUS_UTF8);          /* seen before the message ends */
    expect_refusal(0x80 | BINARY, longer_than_allowed, sizeof longer_than_allowed, 1009, PORTAL_STATUS_TOO_BIG);
}

static void too_many_fragments_are_1008(void)
{
    portal_websocket websocket;
    client *self = enter(&websocket);

    client_send_frame(self, TEXT, "a", 1);
    for (int i = 0; i < 16; ++i)
        client_send_frame(self, CONTINUATION, "", 0);
    client_expect_close(self, 1008, NULL);
    client_expect_end(self);
    CHECK_NUMBER(journal_expect(PORTAL_EVENT_ERROR).close_code, 1008);
    client_destroy(self);
    expect_disconnect(websocket, 1008, NULL);
}

static void an_unmasked_frame_is_1002(void)
{
    portal_websocket websocket;
    client *self = enter(&websocket);

    client_send_bytes(self, "\x81\x01x", 3);
    client_expect_close(self, 1002, NULL);
    client_expect_end(self);
    CHECK_STATUS(journal_expect(PORTAL_EVENT_ERROR).status, PORTAL_STATUS_PROTOCOL);
    client_destroy(self);
    expect_disconnect(websocket, 1002, NULL);
}

int main(void)
{
    static const uint32_t dispatches[] = { PORTAL_DISPATCH_IO, PORTAL_DISPATCH_PER_CLIENT };

    define("/record", &recording, NULL);
    for (size_t i = 0; i < COUNT(dispatches); ++i) {
        const portal_server server = SERVE({ PORTAL_OPTION_DISPATCH, dispatches[i] },
            { PORTAL_OPTION_MAX_MESSAGE_SIZE, MAX_MESSAGE_SIZE }, { PORTAL_OPTION_MAX_FRAGMENTS, 16 });
        port = portal_server_port(server);

        RUN(the_client_s_code_and_reason_are_told_and_echoed);
        RUN(a_close_frame_without_a_code_is_1005);
        RUN(leaving_without_a_word_is_1006);
        RUN(the_application_s_code_and_reason_reach_the_client);
        RUN(code_0_is_1000_without_a_reason);
        RUN(the_client_s_answer_is_what_disconnect_is_told);
        RUN(both_may_close_at_once);
        RUN(what_was_sent_before_a_close_arrives_before_it);
        RUN(an_abort_ends_at_once_with_1006);
        RUN(a_broken_protocol_is_failed_with_its_code);
        RUN(too_many_fragments_are_1008);
        RUN(an_unmasked_frame_is_1002);
        CHECK_OK(portal_server_close(server));
        CHECK(journal_is_empty());
        CHECK_NUMBER(journal_count(PORTAL_EVENT_DISCONNECT), journal_count(PORTAL_EVENT_CONNECT));
    }
    return 0;
}
