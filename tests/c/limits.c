/* Who is not let in: too many, too many from one address, from elsewhere, without a common language. */
#include "check.h"
#include "client.h"
#include "process.h"
#include "serve.h"

static uint32_t port;

static int knock(const char *more_headers)
{
    return client_status(port, "/echo", more_headers);
}

static void over_max_connections_answers_503(void)
{
    const portal_server server = SERVE({ PORTAL_OPTION_MAX_CONNECTIONS, 2 });
    client *one, *two;

    port = portal_server_port(server);
    one = client_connect(port, "/echo");
    two = client_connect(port, "/echo");
    CHECK_NUMBER(knock(""), 503);
    client_farewell(one);
    EVENTUALLY(portal_server_metric(server, PORTAL_METRIC_CONNECTIONS) == 1);
    EVENTUALLY(knock("") == 101);
    client_farewell(two);
    CHECK_OK(portal_server_close(server));
}

static void over_max_connections_per_ip_answers_429(void)
{
    const portal_server server = SERVE({ PORTAL_OPTION_MAX_CONNECTIONS_PER_IP, 2 });
    client *one, *two;

    port = portal_server_port(server);
    one = client_connect(port, "/echo");
    two = client_connect(port, "/echo");
    CHECK_NUMBER(knock(""), 429);
    client_farewell(one);
    EVENTUALLY(knock("") == 101);
    client_farewell(two);
    CHECK_OK(portal_server_close(server));
}

static void who_is_over_a_limit_holds_no_descriptor(void)
{
    enum { CLIENTS = 200, SOME = 20 };
    static const struct {
        uint32_t option;
        int status;
    } limits[] = { { PORTAL_OPTION_MAX_CONNECTIONS, 503 }, { PORTAL_OPTION_MAX_CONNECTIONS_PER_IP, 429 } };

    for (size_t i = 0; i < COUNT(limits); ++i) {
        const portal_server server = SERVE({ limits[i].option, 1 }, { PORTAL_OPTION_CLOSE_TIMEOUT, 600 * 1000 });
        client *inside, *clients[CLIENTS];
        int before;

        port = portal_server_port(server);
        inside = client_connect(port, "/echo");
        before = count_descriptors();
        /* They say nothing, and do not go. */
        for (int n = 0; n < CLIENTS; ++n)
            clients[n] = client_dial(port);
        for (int n = 0; n < CLIENTS; ++n)
            CHECK_NUMBER(client_response(clients[n]).status, limits[i].status);
        EVENTUALLY(count_descriptors() <= before + CLIENTS + SOME);
        CHECK_NUMBER(portal_server_metric(server, PORTAL_METRIC_REJECTED_TOTAL), CLIENTS);
        client_say(inside, "inside");
        client_expect_text(inside, "inside");
        for (int n = 0; n < CLIENTS; ++n)
            client_destroy(clients[n]);
        client_farewell(inside);
        EVENTUALLY(knock("") == 101);
        CHECK_OK(portal_server_close(server));
    }
}

static void another_origin_answers_403(void)
{
    const portal_server server = SERVE({ PORTAL_OPTION_ORIGINS, .text = "https://example.org, http://localhost:8080" });

    port = portal_server_port(server);
    CHECK_NUMBER(knock(""), 101);
    CHECK_NUMBER(knock("Origin: https://example.org\r\n"), 101);
    CHECK_NUMBER(knock("Origin: http://localhost:8080\r\n"), 101);
    CHECK_NUMBER(knock("Origin: HTTPS://Example.org\r\n"), 101);
    CHECK_NUMBER(knock("Origin: https://example.org/\r\n"), 403);
    CHECK_NUMBER(knock("Origin: http://example.org\r\n"), 403);
    CHECK_NUMBER(knock("Origin: https://example.org:444\r\n"), 403);
    CHECK_NUMBER(knock("Origin: https://example.org.evil.test\r\n"), 403);
    CHECK_NUMBER(knock("Origin: http://localhost\r\n"), 403);
    CHECK_NUMBER(knock("Origin: null\r\n"), 403);
    CHECK_OK(portal_server_close(server));
}

static void a_schemes_own_port_is_the_same_as_none(void)
{
    const portal_server server = SERVE({ PORTAL_OPTION_ORIGINS,
        .text = "https://a.example:443, http://b.example:80, https://c.example, http://d.example:443" });

    port = portal_server_port(server);
    CHECK_NUMBER(knock("Origin: https://a.example\r\n"), 101);
    CHECK_NUMBER(knock("Origin: https://a.example:443\r\n"), 101);
    CHECK_NUMBER(knock("Origin: http://b.example\r\n"), 101);
    CHECK_NUMBER(knock("Origin: https://c.example:443\r\n"), 101);
    CHECK_NUMBER(knock("Origin: http://d.example:443\r\n"), 101);
    CHECK_NUMBER(knock("Origin: http://a.example\r\n"), 403);
    CHECK_NUMBER(knock("Origin: https://a.example:80\r\n"), 403);
    CHECK_NUMBER(knock("Origin: https://b.example\r\n"), 403);
    CHECK_NUMBER(knock("Origin: http://d.example\r\n"), 403);
    CHECK_OK(portal_server_close(server));
}

static void expect_choice(const char *offer, const char *choice)
{
    client *self = client_dial(port);
    struct response response;

    client_request(self, "/echo", offer);
    response = client_response(self);
    CHECK_NUMBER(response.status, 101);
    if (choice != NULL)
        CHECK(response_has(&response, choice));
    else
        CHECK(strstr(response.head, "Protocol:") == NULL && strstr(response.head, "protocol:") == NULL);
    client_destroy(self);
}

static void the_servers_first_subprotocol_that_is_offered_is_chosen(void)
{
    const portal_server server = SERVE({ PORTAL_OPTION_SUBPROTOCOLS, .text = "chat.v2, chat.v1" });

    port = portal_server_port(server);
    expect_choice("Sec-WebSocket-Protocol: chat.v1, chat.v2\r\n", "Sec-WebSocket-Protocol: chat.v2");
    expect_choice("Sec-WebSocket-Protocol: soap\r\nSec-WebSocket-Protocol: chat.v1\r\n",
        "Sec-WebSocket-Protocol: chat.v1");
    expect_choice("Sec-WebSocket-Protocol: soap\r\n", NULL);
    expect_choice("", NULL);
    CHECK_OK(portal_server_close(server));
}

static void the_server_header_is_sent_when_set(void)
{
    static const char *const values[] = { "", "Portal" };

    for (size_t i = 0; i < COUNT(values); ++i) {
        const portal_server server = SERVE({ PORTAL_OPTION_SERVER_HEADER, .text = values[i] });
        client *self = client_dial(portal_server_port(server));
        struct response response;

        client_request(self, "/nowhere", "");
        response = client_response(self);
        CHECK_NUMBER(response_has(&response, "Server: Portal"), i == 1);
        CHECK_NUMBER(strstr(response.head, "Server:") != NULL, i == 1);
        client_destroy(self);
        CHECK_OK(portal_server_close(server));
    }
}

static void a_message_may_be_as_large_as_allowed_and_no_larger(void)
{
    const portal_server server = SERVE({ PORTAL_OPTION_MAX_MESSAGE_SIZE, 1000 });
    char words[1001];
    client *self;

    memset(words, 'x', sizeof words);
    self = client_connect(portal_server_port(server), "/echo");
    client_send(self, TEXT, words, 1000);
    client_expect(self, TEXT, words, 1000);
    client_send_frame(self, TEXT, words, 600);
    client_send_frame(self, 0x80 | CONTINUATION, words, 401);
    client_expect_close(self, 1009, NULL);
    client_destroy(self);
    CHECK_OK(portal_server_close(server));
}

/* ---- ways to go ---- */

static void expect_status(client *self, int status)
{
    CHECK_NUMBER(client_response(self).status, status);
    client_destroy(self);
}

static void without_a_word(client *self)
{
    client_destroy(self);
}

static void in_the_middle_of_a_request(client *self)
{
    client_send_bytes(self, "GET /echo HT", 12);
    client_hang_up(self);
}

static void with_another_protocol(client *self)
{
    client_send_bytes(self, "no request\r\n\r\n", 14);
    expect_status(self, 400);
}

static void with_tls(client *self)
{
    client_send_bytes(self, "\x16\x03\x01", 3);
    client_hear_out(self);
    client_destroy(self);
}

static void to_nowhere(client *self)
{
    client_request(self, "/nowhere", "");
    expect_status(self, 404);
}

static void rejected(client *self)
{
    client_request(self, "/reject", "");
    expect_status(self, 403);
}

static void because_upgrade_failed(client *self)
{
    client_request(self, "/fail", "");
    expect_status(self, 500);
}

static void aborted_by_upgrade(client *self)
{
    client_request(self, "/abort", "");
    client_expect_end(self);
    client_destroy(self);
}

static void with_a_page(client *self)
{
    static const char request[] = "GET /page HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

    client_send_bytes(self, request, strlen(request));
    expect_status(self, 200);
}

static void by_a_close(client *self)
{
    client_shake_hands(self, "/echo", "");
    client_farewell(self);
}

static void by_a_reset(client *self)
{
    client_shake_hands(self, "/echo", "");
    client_hang_up(self);
}

static void by_a_broken_rule(client *self)
{
    client_shake_hands(self, "/echo", "");
    client_send_frame(self, 0x8f, "", 0);
    client_expect_close(self, 1002, NULL);
    client_destroy(self);
}

static void however_a_client_goes_it_makes_room_for_another(void)
{
    static void (*const ways_to_go[])(client *) = { without_a_word, in_the_middle_of_a_request, with_another_protocol, with_tls,
        to_nowhere, rejected, because_upgrade_failed, aborted_by_upgrade, with_a_page, by_a_close, by_a_reset, by_a_broken_rule };
    /* One for the client, and two that those before it may not have left yet. */
    const int64_t most = 3;
    const portal_server server = SERVE({ PORTAL_OPTION_MAX_CONNECTIONS, most },
        { PORTAL_OPTION_MAX_CONNECTIONS_PER_IP, most });

    port = portal_server_port(server);
    for (size_t i = 0; i < COUNT(ways_to_go); ++i) {
        for (int64_t time = 0; time < most; ++time) {
            EVENTUALLY(knock("") == 101);
            ways_to_go[i](client_dial(port));
        }
        EVENTUALLY(knock("") == 101);
    }
    CHECK_OK(portal_server_close(server));
}

/* Whether a handshake succeeds; it may be too late, too. */
static int is_let_in(void)
{
    client *self = client_dial(port);
    int let_in;

    client_request(self, "/echo", "");
    let_in = client_hears_anything(self) && client_response(self).status == 101;
    client_destroy(self);
    return let_in;
}

static void who_has_nothing_more_to_say_makes_room_for_another(void)
{
    static const char *const last_words[] = { "", "GET /echo HT", "GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n" };
    enum { CLIENTS = 3 };
    const portal_server server = SERVE({ PORTAL_OPTION_MAX_CONNECTIONS, CLIENTS },
        { PORTAL_OPTION_MAX_CONNECTIONS_PER_IP, CLIENTS }, { PORTAL_OPTION_HANDSHAKE_TIMEOUT, 500 },
        { PORTAL_OPTION_PAGE_KEEP_ALIVE, 500 });

    port = portal_server_port(server);
    for (size_t i = 0; i < COUNT(last_words); ++i) {
        client *clients[CLIENTS];

        EVENTUALLY(portal_server_metric(server, PORTAL_METRIC_CONNECTIONS) == 0);
        for (int n = 0; n < CLIENTS; ++n) {
            clients[n] = client_dial(port);
            client_send_bytes(clients[n], last_words[i], strlen(last_words[i]));
        }
        for (int n = 0; n < CLIENTS; ++n) {
            client_hear_out(clients[n]);
            client_destroy(clients[n]);
        }
        EVENTUALLY(is_let_in());
    }
    CHECK_OK(portal_server_close(server));
}

static int32_t reject(portal_websocket websocket, portal_request *request, void *user_data)
{
    return 403;
}

static int32_t fail(portal_websocket websocket, portal_request *request, void *user_data)
{
    return -1;
}

static int32_t abort_it(portal_websocket websocket, portal_request *request, void *user_data)
{
    return portal_abort(websocket);
}

static void define_upgrade(const char *path, int32_t (*upgrade)(portal_websocket, portal_request *, void *))
{
    const portal_handlers handlers = { .size = sizeof handlers, .upgrade = upgrade };
    define(path, &handlers, NULL);
}

int main(void)
{
    define_echo("/echo");
    define_upgrade("/reject", reject);
    define_upgrade("/fail", fail);
    define_upgrade("/abort", abort_it);
    CHECK_OK(portal_define_page("/page", "text/plain", "page", 4));
    for (enum way way = BY_LOOP; way <= BY_PULL; ++way) {
        serve_by(way);
        RUN(over_max_connections_answers_503);
        RUN(over_max_connections_per_ip_answers_429);
        RUN(who_is_over_a_limit_holds_no_descriptor);
        RUN(another_origin_answers_403);
        RUN(a_schemes_own_port_is_the_same_as_none);
        RUN(the_servers_first_subprotocol_that_is_offered_is_chosen);
        RUN(the_server_header_is_sent_when_set);
        RUN(a_message_may_be_as_large_as_allowed_and_no_larger);
        RUN(however_a_client_goes_it_makes_room_for_another);
        RUN(who_has_nothing_more_to_say_makes_room_for_another);
    }
    serve_by(BY_LOOP);
    return 0;
}
