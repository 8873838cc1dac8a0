/* Behind a proxy: what it says of the client reaches the host, in every way of dispatch and over both backends. */
#include "check.h"
#include "client.h"
#include "serve.h"

#define HEADER "PROXY TCP4 192.0.2.1 198.51.100.2 5000 80\r\n"

/* The first message to each websocket is its peer. */
static int32_t tell_peer(portal_websocket websocket, const portal_request *request, void *user_data)
{
    const char *peer = portal_request_peer(request);

    (void)user_data;
    return portal_send(websocket, PORTAL_MESSAGE_TEXT, peer, strlen(peer));
}

/* Opens a websocket with these bytes first, and with headers. */
static client *begin(portal_server server, const char *first, const char *headers)
{
    client *self = client_dial(portal_server_port(server));

    client_send_bytes(self, first, strlen(first));
    client_shake_hands(self, "/peer", headers);
    return self;
}

static void expect_peer(portal_server server, const char *first, const char *headers, const char *peer)
{
    client *self = begin(server, first, headers);

    client_expect_text(self, peer);
    client_farewell(self);
}

static void a_proxy_header_names_the_client(void)
{
    for (int way = BY_LOOP; way <= BY_POLL; ++way) {
        portal_server server;

        serve_by((enum way)way);
        server = SERVE({ PORTAL_OPTION_PROXY_PROTOCOL, 1 });
        expect_peer(server, HEADER, "", "192.0.2.1:5000");
        expect_peer(server, "PROXY TCP6 2001:db8::1 ::1 9 80\r\n", "", "[2001:db8::1]:9");
        CHECK_OK(portal_server_close(server));
    }
    serve_by(BY_LOOP);
}

static void a_trusted_proxy_names_the_client_of_a_request(void)
{
    const portal_server server = SERVE({ PORTAL_OPTION_PROXY_PROTOCOL, 1 },
                                       { PORTAL_OPTION_TRUSTED_PROXIES, .text = "127.0.0.1, 192.0.2.0/24" });

    expect_peer(server, HEADER, "X-Forwarded-For: 203.0.113.5, 192.0.2.9\r\n", "203.0.113.5");
    expect_peer(server, HEADER, "X-Forwarded-For: 2001:db8::5\r\n", "2001:db8::5");
    expect_peer(server, "PROXY TCP4 203.0.113.9 198.51.100.2 1 80\r\n", "X-Forwarded-For: 1.1.1.1\r\n", "203.0.113.9:1");
    CHECK_OK(portal_server_close(server));
}

static void a_limit_of_one_address_is_the_clients(void)
{
    const portal_server server = SERVE({ PORTAL_OPTION_PROXY_PROTOCOL, 1 }, { PORTAL_OPTION_MAX_CONNECTIONS_PER_IP, 1 });
    client *first = begin(server, HEADER, ""), *second = client_dial(portal_server_port(server));

    client_send_bytes(second, HEADER, strlen(HEADER));
    client_request(second, "/peer", "");
    CHECK_NUMBER(client_response(second).status, 429);
    client_destroy(second);
    client_expect_text(first, "192.0.2.1:5000");
    client_farewell(first);
    CHECK_OK(portal_server_close(server));
}

static void without_a_proxy_header_the_connection_ends(void)
{
    const portal_server server = SERVE({ PORTAL_OPTION_PROXY_PROTOCOL, 1 });
    client *self = client_dial(portal_server_port(server));

    client_request(self, "/peer", "");
    client_expect_end(self);
    client_destroy(self);
    CHECK_OK(portal_server_close(server));
}

static void a_bad_proxy_is_an_argument(void)
{
    portal_options *options = portal_options_create();

    for (const char **bad = (const char *[]){ "localhost", "10.0.0.0/33", "10.0.0.1:80", "10.0.0.1,,", NULL }; *bad; ++bad)
        CHECK_STATUS(portal_options_set_text(options, PORTAL_OPTION_TRUSTED_PROXIES, *bad), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_options_set_number(options, PORTAL_OPTION_PROXY_PROTOCOL, 2), PORTAL_STATUS_ARGUMENT);
    CHECK_OK(portal_options_set_text(options, PORTAL_OPTION_TRUSTED_PROXIES, "unix,forwarded,fe80::/10,10.0.0.1"));
    portal_options_destroy(options);
}

int main(void)
{
    const portal_handlers handlers = { .size = sizeof handlers, .connect = tell_peer };

    define("/peer", &handlers, NULL);
    RUN(a_proxy_header_names_the_client);
    RUN(a_trusted_proxy_names_the_client_of_a_request);
    RUN(a_limit_of_one_address_is_the_clients);
    RUN(without_a_proxy_header_the_connection_ends);
    RUN(a_bad_proxy_is_an_argument);
    return 0;
}
