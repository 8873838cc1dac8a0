/* Who is not let in: too many, too many from one address, from elsewhere, without a common language. */
#include "check.h"
#include "client.h"
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
    EVENTUALLY(portal_server_stat(server, PORTAL_STAT_CONNECTIONS) == 1);
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

static void another_origin_answers_403(void)
{
    const portal_server server = SERVE({ PORTAL_OPTION_ORIGINS, .text = "https://example.org, http://localhost:8080" });

    port = portal_server_port(server);
    CHECK_NUMBER(knock(""), 101);
    CHECK_NUMBER(knock("Origin: https://example.org\r\n"), 101);
    CHECK_NUMBER(knock("Origin: http://localhost:8080\r\n"), 101);
    CHECK_NUMBER(knock("Origin: http://example.org\r\n"), 403);
    CHECK_NUMBER(knock("Origin: https://example.org:444\r\n"), 403);
    CHECK_NUMBER(knock("Origin: https://example.org.evil.test\r\n"), 403);
    CHECK_NUMBER(knock("Origin: http://localhost\r\n"), 403);
    CHECK_NUMBER(knock("Origin: null\r\n"), 403);
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

int main(void)
{
    define_echo("/echo");
    RUN(over_max_connections_answers_503);
    RUN(over_max_connections_per_ip_answers_429);
    RUN(another_origin_answers_403);
    RUN(the_servers_first_subprotocol_that_is_offered_is_chosen);
    RUN(the_server_header_is_sent_when_set);
    RUN(a_message_may_be_as_large_as_allowed_and_no_larger);
    return 0;
}
