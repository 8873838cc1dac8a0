/* Pages answer plain GET and HEAD, beside or without a path of the same name. */
#include "check.h"
#include "client.h"
#include "serve.h"

static uint32_t port;

static struct response ask(client *self, const char *method, const char *target)
{
    char request[200];

    snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", method, target);
    client_send_bytes(self, request, strlen(request));
    return client_response(self);
}

static void expect_page(const char *target, const char *type, const char *body)
{
    const size_t len = strlen(body);
    char type_line[100], length_line[100];
    client *self = client_dial(port);
    struct response response = ask(self, "GET", target);

    snprintf(type_line, sizeof type_line, "Content-Type: %s", type);
    snprintf(length_line, sizeof length_line, "Content-Length: %zu", len);
    CHECK_NUMBER(response.status, 200);
    CHECK(response_has(&response, type_line));
    CHECK(response_has(&response, length_line));
    CHECK_NUMBER(response.body_len, len);
    CHECK_TEXT(response.body, body);
    client_destroy(self);

    self = client_dial(port);
    response = ask(self, "HEAD", target);
    CHECK_NUMBER(response.status, 200);
    CHECK(response_has(&response, type_line));
    CHECK(response_has(&response, length_line));
    CHECK_NUMBER(response.body_len, 0);
    client_destroy(self);
}

static void expect_status(const char *target, int status)
{
    client *self = client_dial(port);

    CHECK_NUMBER(ask(self, "GET", target).status, status);
    client_destroy(self);
}

static void a_page_is_served(void)
{
    CHECK_OK(portal_define_page("/health", "text/plain", "well", 4));
    expect_page("/health", "text/plain", "well");
    expect_page("/health?now", "text/plain", "well");
}

static void a_page_may_be_redefined_and_undefined(void)
{
    CHECK_OK(portal_define_page("/health", "text/html; charset=utf-8", "", 0));
    expect_page("/health", "text/html; charset=utf-8", "");
    CHECK_OK(portal_undefine_page("/health"));
    CHECK_STATUS(portal_undefine_page("/health"), PORTAL_STATUS_ARGUMENT);
    expect_status("/health", 404);
}

static void a_page_and_a_path_may_share_a_name(void)
{
    client *self;

    define_echo("/both");
    expect_status("/both", 426);
    CHECK_OK(portal_define_page("/both", "text/plain", "page", 4));
    expect_page("/both", "text/plain", "page");
    self = client_connect(port, "/both");
    client_say(self, "path");
    client_expect_text(self, "path");
    client_farewell(self);
    CHECK_OK(portal_undefine_path("/both"));
    expect_page("/both", "text/plain", "page");
    CHECK_NUMBER(client_status(port, "/both", ""), 404);
    CHECK_OK(portal_undefine_page("/both"));
}

/* The whole answer comes although nothing more will be asked. */
static void ask_and_half_close(const char *target, const char *more_headers, size_t len)
{
    char request[200];
    client *self = client_dial(port);
    struct response response;

    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", target, more_headers);
    client_send_bytes(self, request, strlen(request));
    client_half_close(self);
    response = client_response(self);
    CHECK_NUMBER(response.status, 200);
    CHECK_NUMBER(response.body_len, len);
    client_destroy(self);
}

static void a_big_page_arrives_whole(void)
{
    const size_t len = 16 << 20; /* more than sockets hold */
    char *body = malloc(len + 1);

    CHECK(body != NULL);
    for (size_t i = 0; i < len; ++i)
        body[i] = (char)('a' + i % 26);
    body[len] = 0;
    CHECK_OK(portal_define_page("/big", "text/plain", body, len));
    expect_page("/big", "text/plain", body);
    ask_and_half_close("/big", "Connection: close\r\n", len);
    ask_and_half_close("/big", "", len);
    CHECK_OK(portal_undefine_page("/big"));
    free(body);
}

/* Older proxies and health checks speak HTTP/1.0; the end of the connection is the end of the answer. */
static void http_1_0_is_answered_and_closed(void)
{
    static const struct { const char *request; int status; size_t len; } cases[] = {
        { "GET /old HTTP/1.0\r\n\r\n", 200, 4 },
        { "HEAD /old HTTP/1.0\r\n\r\n", 200, 0 },
        { "GET /old HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n", 200, 4 },
        { "GET /old?now HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n", 200, 4 },
        { "GET /old HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400, 0 },
        { "GET /old HTTP/1.0\r\nHost: a b\r\n\r\n", 400, 0 },
        { "POST /old HTTP/1.0\r\n\r\n", 405, 0 },
        { "GET /nowhere HTTP/1.0\r\n\r\n", 404, 0 },
        { "GET /only-path HTTP/1.0\r\n\r\n", 426, 0 },
        { "GET /old HTTP/0.9\r\n\r\n", 400, 0 },
        { "GET /old HTTP/1.1\r\n\r\n", 400, 0 },
    };

    CHECK_OK(portal_define_page("/old", "text/plain", "page", 4));
    define_echo("/only-path");
    for (size_t i = 0; i < COUNT(cases); ++i) {
        client *self = client_dial(port);
        struct response response;

        client_send_bytes(self, cases[i].request, strlen(cases[i].request));
        response = client_response(self);
        if (response.status != cases[i].status)
            FAIL("%d, not %d, was the answer to:\n%s", response.status, cases[i].status, cases[i].request);
        CHECK(strstr(response.head, "\r\nConnection: close") != NULL);
        if (response.status == 200)
            CHECK_NUMBER(response.body_len, cases[i].len);
        client_destroy(self);
    }
    CHECK_OK(portal_undefine_page("/old"));
    CHECK_OK(portal_undefine_path("/only-path"));
}

/* RFC 9110 section 7.8: in HTTP/1.0 nothing can be upgraded. */
static void a_handshake_in_http_1_0_is_refused(void)
{
    static const char request[] = "GET /%s HTTP/1.0\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    static const struct { const char *name; int status; } cases[] = { { "path", 400 }, { "page", 200 }, { "both", 200 } };

    define_echo("/path");
    define_echo("/both");
    CHECK_OK(portal_define_page("/page", "text/plain", "page", 4));
    CHECK_OK(portal_define_page("/both", "text/plain", "page", 4));
    for (size_t i = 0; i < COUNT(cases); ++i) {
        char filled[300];
        client *self = client_dial(port);
        struct response response;

        snprintf(filled, sizeof filled, request, cases[i].name);
        client_send_bytes(self, filled, strlen(filled));
        response = client_response(self);
        CHECK_NUMBER(response.status, cases[i].status);
        CHECK(response_has(&response, "Connection: close"));
        client_destroy(self);
    }
    CHECK_OK(portal_undefine_page("/page"));
    CHECK_OK(portal_undefine_page("/both"));
    CHECK_OK(portal_undefine_path("/path"));
    CHECK_OK(portal_undefine_path("/both"));
}

int main(void)
{
    for (enum way way = BY_LOOP; way <= BY_PULL; ++way) {
        portal_server server;

        serve_by(way);
        server = serve(NULL);
        port = portal_server_port(server);
        RUN(a_page_is_served);
        RUN(a_page_may_be_redefined_and_undefined);
        RUN(a_page_and_a_path_may_share_a_name);
        RUN(a_big_page_arrives_whole);
        RUN(http_1_0_is_answered_and_closed);
        RUN(a_handshake_in_http_1_0_is_refused);
        CHECK_OK(portal_server_close(server));
    }
    serve_by(BY_LOOP);
    return 0;
}
