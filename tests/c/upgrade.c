/* What a handler may do before it accepts a client, and how it refuses one. */
#include "check.h"
#include "client.h"
#include "journal.h"
#include "serve.h"

static uint32_t port;
static int32_t verdict;
static portal_websocket candidate;

/* ---- verdicts ---- */

static int32_t judge(portal_websocket websocket, portal_request *request, void *user_data)
{
    candidate = websocket;
    return verdict;
}

static void zero_accepts(void)
{
    client *self;

    verdict = 0;
    self = client_connect(port, "/judge");
    CHECK(journal_expect(PORTAL_EVENT_CONNECT).websocket == candidate);
    client_farewell(self);
    journal_expect(PORTAL_EVENT_DISCONNECT);
}

static void three_hundred_to_599_rejects_with_it(void)
{
    static const int32_t statuses[] = { 300, 307, 399, 400, 401, 403, 418, 429, 451, 499, 500, 503, 599 };

    for (size_t i = 0; i < COUNT(statuses); ++i) {
        client *self = client_dial(port);
        struct response response;

        verdict = statuses[i];
        client_request(self, "/judge", "");
        response = client_response(self);
        CHECK_NUMBER(response.status, statuses[i]);
        CHECK(response_has(&response, "Connection: close"));
        CHECK(response.body_len > 0);
        client_destroy(self);
        EVENTUALLY(portal_state_of(candidate) == PORTAL_STATE_CLOSED);
    }
    CHECK(journal_is_empty());
}

static void anything_else_is_a_failure_and_answers_500(void)
{
    static const int32_t failures[] = { 1, -1, 200, 299, 600, INT32_MIN, INT32_MAX, PORTAL_STATUS_GONE };

    for (size_t i = 0; i < COUNT(failures); ++i) {
        struct happening error;

        verdict = failures[i];
        CHECK_NUMBER(client_status(port, "/judge", ""), 500);
        error = journal_expect(PORTAL_EVENT_ERROR);
        CHECK_STATUS(error.status, PORTAL_STATUS_HANDLER);
        CHECK_NUMBER(error.failed_event, PORTAL_EVENT_UPGRADE);
        CHECK_NUMBER(error.code, failures[i]);
    }
    CHECK(journal_is_empty());
}

/* ---- what works before the client is in ---- */

static int belongings;

static int32_t try_everything(portal_websocket websocket, portal_request *request, void *user_data)
{
    CHECK_NUMBER(portal_state_of(websocket), PORTAL_STATE_CONNECTING);
    CHECK_STATUS(portal_send(websocket, PORTAL_MESSAGE_TEXT, "early", 5), PORTAL_STATUS_BUSY);
    CHECK_STATUS(portal_ping(websocket, "", 0), PORTAL_STATUS_BUSY);
    CHECK_STATUS(portal_close(websocket, 1000, NULL), PORTAL_STATUS_BUSY);
    CHECK_STATUS(portal_flush(websocket), PORTAL_STATUS_BUSY);
    CHECK(portal_data(websocket) == NULL);
    CHECK_OK(portal_set_data(websocket, &belongings));
    CHECK(portal_data(websocket) == &belongings);
    return 0;
}

static int32_t check_data(portal_websocket websocket, const portal_request *request, void *user_data)
{
    CHECK_NUMBER(portal_state_of(websocket), PORTAL_STATE_OPEN);
    CHECK(portal_data(websocket) == &belongings);
    return record_connect(websocket, request, user_data);
}

static int32_t check_data_at_the_end(portal_websocket websocket, uint32_t code, const char *reason, void *user_data)
{
    CHECK(portal_data(websocket) == &belongings);
    return record_disconnect(websocket, code, reason, user_data);
}

static void data_goes_along_and_sending_is_too_early(void)
{
    portal_handlers handlers = recording;
    client *self;

    handlers.upgrade = try_everything;
    handlers.connect = check_data;
    handlers.disconnect = check_data_at_the_end;
    define("/early", &handlers, NULL);
    self = client_connect(port, "/early");
    journal_expect(PORTAL_EVENT_CONNECT);
    client_farewell(self);
    journal_expect(PORTAL_EVENT_DISCONNECT);
}

static int32_t abort_it(portal_websocket websocket, portal_request *request, void *user_data)
{
    return portal_abort(websocket);
}

static void an_aborted_candidate_still_connects_and_disconnects(void)
{
    portal_handlers handlers = recording;
    client *self = client_dial(port);

    handlers.upgrade = abort_it;
    define("/abort", &handlers, NULL);
    client_request(self, "/abort", "");
    journal_expect(PORTAL_EVENT_CONNECT);
    CHECK_NUMBER(journal_expect(PORTAL_EVENT_DISCONNECT).type, 1006);
    client_destroy(self);
}

/* ---- headers of the answer ---- */

static int32_t add_headers(portal_websocket websocket, portal_request *request, void *user_data)
{
    static const char *const refused[] = { "Connection", "upgrade", "Sec-WebSocket-Accept", "sec-websocket-protocol",
        "Content-Length", "transfer-encoding", "", "two words", "colon:", "line\nbreak", "Ünicode" };

    for (size_t i = 0; i < COUNT(refused); ++i)
        if (portal_request_set_header(request, refused[i], "x") != PORTAL_STATUS_ARGUMENT)
            FAIL("\"%s\" was taken for a header", refused[i]);
    CHECK_STATUS(portal_request_set_header(request, "X-Bad", "a\rb"), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_request_set_header(request, "X-Bad", "a\nb"), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_request_set_header(request, NULL, "x"), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_request_set_header(request, "X-Bad", NULL), PORTAL_STATUS_ARGUMENT);

    CHECK_OK(portal_request_set_header(request, "X-Told", "first"));
    CHECK_OK(portal_request_set_header(request, "x-told", "second"));
    CHECK_OK(portal_request_set_header(request, "Set-Cookie", "a=1"));
    CHECK_OK(portal_request_set_header(request, "set-cookie", "b=2"));
    return verdict;
}

static void headers_are_replaced_and_cookies_added(void)
{
    static const int32_t verdicts[] = { 0, 403 };
    portal_handlers handlers = { .size = sizeof handlers, .upgrade = add_headers };

    define("/headers", &handlers, NULL);
    for (size_t i = 0; i < COUNT(verdicts); ++i) {
        client *self = client_dial(port);
        struct response response;

        verdict = verdicts[i];
        client_request(self, "/headers", "");
        response = client_response(self);
        CHECK_NUMBER(response.status, verdict == 0 ? 101 : 403);
        CHECK(response_has(&response, "X-Told: second"));
        CHECK(!response_has(&response, "X-Told: first"));
        CHECK(response_has(&response, "Set-Cookie: a=1"));
        CHECK(response_has(&response, "Set-Cookie: b=2"));
        CHECK(strstr(response.head, "X-Bad") == NULL);
        client_destroy(self);
    }
}

static int32_t set_too_late(portal_websocket websocket, const portal_request *request, void *user_data)
{
    portal_request *writable = (portal_request *)(uintptr_t)request;

    CHECK_STATUS(portal_request_set_header(writable, "X-Late", "x"), PORTAL_STATUS_BUSY);
    CHECK_STATUS(portal_request_select_subprotocol(writable, "chat"), PORTAL_STATUS_BUSY);
    return portal_send(websocket, PORTAL_MESSAGE_TEXT, "checked", 7);
}

static void the_setters_are_busy_outside_upgrade(void)
{
    const portal_handlers handlers = { .size = sizeof handlers, .connect = set_too_late };
    client *self;

    define("/late", &handlers, NULL);
    self = client_connect(port, "/late");
    client_expect_text(self, "checked");
    client_farewell(self);
}

/* ---- the answer by the websocket's id ---- */

static int32_t redirect(portal_websocket websocket, portal_request *request, void *user_data)
{
    static const char body[] = "{\"moved\":true}";

    CHECK_OK(portal_set_answer_header(websocket, "Location", "wss://other.example/feed"));
    CHECK_OK(portal_set_answer_header(websocket, "X-Told", "first"));
    CHECK_OK(portal_request_set_header(request, "X-Told", "second"));
    CHECK_OK(portal_set_answer_body(websocket, "text/plain", "first", 5));
    CHECK_OK(portal_set_answer_body(websocket, "application/json", body, sizeof body - 1));

    CHECK_STATUS(portal_set_answer_header(websocket, "Upgrade", "x"), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_set_answer_header(websocket, "X-Bad", "a\nb"), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_set_answer_header(websocket, NULL, "x"), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_set_answer_header(websocket, "X-Bad", NULL), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_set_answer_body(websocket, "", "x", 1), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_set_answer_body(websocket, NULL, "x", 1), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_set_answer_body(websocket, "text/plain", NULL, 1), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_set_answer_body(websocket, "text/plain", "x", SIZE_MAX), PORTAL_STATUS_TOO_BIG);
    CHECK_STATUS(portal_set_answer_header(0, "X-Bad", "x"), PORTAL_STATUS_GONE);
    CHECK_STATUS(portal_set_answer_body(websocket + 1, "text/plain", "x", 1), PORTAL_STATUS_GONE);
    return verdict;
}

static void a_rejection_may_have_a_location_and_a_body(void)
{
    static const int32_t verdicts[] = { 307, 401, 304 };
    const portal_handlers handlers = { .size = sizeof handlers, .upgrade = redirect };

    define("/redirect", &handlers, NULL);
    for (size_t i = 0; i < COUNT(verdicts); ++i) {
        client *self = client_dial(port);
        struct response response;

        verdict = verdicts[i];
        client_request(self, "/redirect", "");
        response = client_response(self);
        CHECK_NUMBER(response.status, verdict);
        CHECK(response_has(&response, "Location: wss://other.example/feed"));
        CHECK(response_has(&response, "X-Told: second"));
        CHECK(!response_has(&response, "X-Told: first"));
        CHECK(strstr(response.head, "X-Bad") == NULL);
        if (verdict == 304) {
            CHECK_NUMBER(response.body_len, 0);
            CHECK(strstr(response.head, "Content-") == NULL);
        } else {
            CHECK(response_has(&response, "Content-Type: application/json"));
            CHECK(response_has(&response, "Content-Length: 14"));
            CHECK_TEXT(response.body, "{\"moved\":true}");
        }
        client_destroy(self);
    }
}

static int32_t accept_with_a_body(portal_websocket websocket, portal_request *request, void *user_data)
{
    CHECK_OK(portal_set_answer_header(websocket, "X-Node", "7"));
    return portal_set_answer_body(websocket, "text/plain", "never sent", 10);
}

static int32_t answer_too_late(portal_websocket websocket, const portal_request *request, void *user_data)
{
    CHECK_STATUS(portal_set_answer_header(websocket, "X-Late", "x"), PORTAL_STATUS_BUSY);
    CHECK_STATUS(portal_set_answer_body(websocket, "text/plain", "x", 1), PORTAL_STATUS_BUSY);
    CHECK_STATUS(portal_set_deflate(websocket, 0), PORTAL_STATUS_BUSY);
    return portal_send(websocket, PORTAL_MESSAGE_TEXT, "checked", 7);
}

static void the_body_of_an_accepted_websocket_is_dropped(void)
{
    const portal_handlers handlers = { .size = sizeof handlers, .upgrade = accept_with_a_body, .connect = answer_too_late };
    client *self = client_dial(port);
    struct response response;

    define("/accepted", &handlers, NULL);
    client_request(self, "/accepted", "");
    response = client_response(self);
    CHECK_NUMBER(response.status, 101);
    CHECK(response_has(&response, "X-Node: 7"));
    client_expect_text(self, "checked");
    client_farewell(self);
}

static int32_t mode;

static int32_t restrict_deflate(portal_websocket websocket, portal_request *request, void *user_data)
{
    CHECK_STATUS(portal_set_deflate(websocket, 2), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_set_deflate(websocket, 3), PORTAL_STATUS_ARGUMENT);
    return portal_set_deflate(websocket, (uint32_t)mode);
}

static void compression_may_be_turned_off_for_one_websocket(void)
{
    const portal_handlers handlers = { .size = sizeof handlers, .upgrade = restrict_deflate };

    define("/deflate", &handlers, NULL);
    for (mode = 0; mode <= 1; ++mode) {
        client *self = client_dial(port);
        struct response response;

        client_request(self, "/deflate", "Sec-WebSocket-Extensions: permessage-deflate\r\n");
        response = client_response(self);
        CHECK_NUMBER(response.status, 101);
        CHECK_NUMBER(strstr(response.head, "permessage-deflate") != NULL, mode);
        client_farewell(self);
    }
}

/* ---- subprotocols ---- */

static int32_t choose(portal_websocket websocket, portal_request *request, void *user_data)
{
    CHECK_TEXT(portal_request_subprotocol(request), "");
    CHECK_STATUS(portal_request_select_subprotocol(request, "never offered"), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_request_select_subprotocol(request, "CHAT"), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_request_select_subprotocol(request, NULL), PORTAL_STATUS_ARGUMENT);
    CHECK_OK(portal_request_select_subprotocol(request, "chat"));
    CHECK_TEXT(portal_request_subprotocol(request), "chat");
    return 0;
}

static int32_t tell_choice(portal_websocket websocket, const portal_request *request, void *user_data)
{
    const char *name = portal_request_subprotocol(request);
    return portal_send(websocket, PORTAL_MESSAGE_TEXT, name, strlen(name));
}

static void one_of_the_offered_subprotocols_may_be_chosen(void)
{
    const portal_handlers handlers = { .size = sizeof handlers, .upgrade = choose, .connect = tell_choice };
    client *self = client_dial(port);
    struct response response;

    define("/choose", &handlers, NULL);
    client_request(self, "/choose", "Sec-WebSocket-Protocol: soap, chat\r\nSec-WebSocket-Protocol: wamp\r\n");
    response = client_response(self);
    CHECK_NUMBER(response.status, 101);
    CHECK(response_has(&response, "Sec-WebSocket-Protocol: chat"));
    client_expect_text(self, "chat");
    client_farewell(self);
}

/* ---- the request ---- */

static int32_t check_request(portal_websocket websocket, portal_request *request, void *user_data)
{
    size_t seen = 0;

    CHECK_TEXT(portal_request_target(request), "/request/a%20b?q=%31&r");
    CHECK_TEXT(portal_request_path(request), "/request/a b");
    CHECK_TEXT(portal_request_query(request), "q=%31&r");
    CHECK_TEXT(portal_request_param(request, "word"), "a b");
    CHECK(portal_request_param(request, "other") == NULL);
    CHECK(portal_request_param(request, NULL) == NULL);
    CHECK_TEXT(portal_request_query_param(request, "q"), "1");
    CHECK_TEXT(portal_request_query_param(request, "r"), "");
    CHECK(portal_request_query_param(request, "Q") == NULL);
    CHECK(portal_request_query_param(request, NULL) == NULL);
    CHECK_TEXT(portal_request_cookie(request, "a"), "1");
    CHECK_TEXT(portal_request_cookie(request, "b"), "2 3");
    CHECK(portal_request_cookie(request, "c") == NULL);
    CHECK(portal_request_cookie(request, NULL) == NULL);
    CHECK_TEXT(portal_request_header(request, "host"), "localhost");
    CHECK_TEXT(portal_request_header(request, "X-MANY"), "one, two");
    CHECK_TEXT(portal_request_header(request, "cookie"), "a=1; b=\"2 3\"");
    CHECK_TEXT(portal_request_header(request, "X-Empty"), "");
    CHECK_TEXT(portal_request_header(request, "X-Latin"), "caf\xe9");
    CHECK(portal_request_header(request, "X-Absent") == NULL);
    CHECK(portal_request_header(request, NULL) == NULL);
    CHECK_NUMBER(portal_request_header_count(request), 11);
    for (size_t i = 0; i < portal_request_header_count(request); ++i) {
        CHECK(portal_request_header_value(request, i) != NULL);
        seen += strcmp(portal_request_header_name(request, i), "x-mAnY") == 0;
    }
    CHECK_NUMBER(seen, 2);
    CHECK(portal_request_header_name(request, 11) == NULL);
    CHECK(portal_request_header_value(request, SIZE_MAX) == NULL);
    CHECK(strncmp(portal_request_peer(request), "127.0.0.1:", 10) == 0);
    return 0;
}

static void the_request_shows_what_the_client_sent(void)
{
    const portal_handlers handlers = { .size = sizeof handlers, .upgrade = check_request };
    client *self = client_dial(port);

    define("/request/{word}", &handlers, NULL);
    client_shake_hands(self, "/request/a%20b?q=%31&r",
        "x-mAnY: one\r\nx-mAnY:   two  \r\nCookie: a=1\r\nCookie: b=\"2 3\"\r\nX-Empty:\r\nX-Latin: caf\xe9\r\n");
    client_farewell(self);
}

int main(void)
{
    portal_handlers handlers = recording;

    handlers.upgrade = judge;
    define("/judge", &handlers, NULL);
    for (enum way way = BY_LOOP; way <= BY_POLL; ++way) {
        portal_server server;

        serve_by(way);
        server = serve(NULL);
        port = portal_server_port(server);
        RUN(zero_accepts);
        RUN(three_hundred_to_599_rejects_with_it);
        RUN(anything_else_is_a_failure_and_answers_500);
        RUN(data_goes_along_and_sending_is_too_early);
        RUN(an_aborted_candidate_still_connects_and_disconnects);
        RUN(headers_are_replaced_and_cookies_added);
        RUN(the_setters_are_busy_outside_upgrade);
        RUN(a_rejection_may_have_a_location_and_a_body);
        RUN(the_body_of_an_accepted_websocket_is_dropped);
        RUN(compression_may_be_turned_off_for_one_websocket);
        RUN(one_of_the_offered_subprotocols_may_be_chosen);
        RUN(the_request_shows_what_the_client_sent);
        CHECK_OK(portal_server_close(server));
        CHECK(journal_is_empty());
    }
    serve_by(BY_LOOP);
    return 0;
}
