/* Which request meets which path, and how those that meet none are answered. */
#include "check.h"
#include "client.h"
#include "serve.h"

static uint32_t port;

/* Tells the client which definition it met, and with which parameters. */
static int32_t tell(portal_websocket websocket, const portal_request *request, void *user_data)
{
    static const char *const names[] = { "name", "rest", "x", "y" };
    char line[1024];
    int len = snprintf(line, sizeof line, "%s", (const char *)user_data);

    for (size_t i = 0; i < COUNT(names); ++i) {
        const char *value = portal_request_param(request, names[i]);
        if (value != NULL)
            len += snprintf(line + len, sizeof line - (size_t)len, " %s=%s", names[i], value);
    }
    return portal_send(websocket, PORTAL_MESSAGE_TEXT, line, (size_t)len);
}

static void define_telling(char *path)
{
    const portal_handlers handlers = { .size = sizeof handlers, .connect = tell };
    define(path, &handlers, path);
}

static void expect_meeting(const char *target, const char *line)
{
    client *self = client_connect(port, target);

    client_expect_text(self, line);
    client_farewell(self);
}

static void exact_beats_parameter_beats_catch_all(void)
{
    define_telling("/room/lobby");
    define_telling("/room/{name}");
    define_telling("/room/{*rest}");
    expect_meeting("/room/lobby", "/room/lobby");
    expect_meeting("/room/Ann", "/room/{name} name=Ann");
    expect_meeting("/room/Ann/door", "/room/{*rest} rest=Ann/door");
}

static void parameters_may_stand_anywhere(void)
{
    define_telling("/{x}/to/{y}");
    expect_meeting("/Rome/to/Paris", "/{x}/to/{y} x=Rome y=Paris");
}

static void the_query_is_no_part_of_the_path(void)
{
    define_telling("/query");
    expect_meeting("/query?", "/query");
    expect_meeting("/query?a=/b/c&d=%zz", "/query");
}

static void escapes_are_decoded_after_splitting(void)
{
    expect_meeting("/room/l%6Fbby", "/room/lobby");
    expect_meeting("/room/a%2Fb", "/room/{name} name=a/b");
    expect_meeting("/room/a%2fb%20c", "/room/{name} name=a/b c");
    expect_meeting("/room/Gr%C3%BC%C3%9Fe", "/room/{name} name=Grüße");
    expect_meeting("/room/100%25", "/room/{name} name=100%");
    expect_meeting("/room/a+b", "/room/{name} name=a+b");
}

static void a_doubled_brace_is_a_brace(void)
{
    define_telling("/brace/{{x}}");
    expect_meeting("/brace/%7Bx%7D", "/brace/{{x}}");
    CHECK_NUMBER(client_status(port, "/brace/y", ""), 404);
}

static void nothing_is_normalised(void)
{
    static const char *const others[] = { "/Query", "/query/", "//query", "/./query", "/a/../query", "/",
        "/room", "/room/" };

    for (size_t i = 0; i < COUNT(others); ++i) {
        const int status = client_status(port, others[i], "");
        if (status != 404)
            FAIL("%s answered %d", others[i], status);
    }
}

/* A request's query is cut off and its fragment is never sent, so neither would be met. */
static void a_query_or_a_fragment_in_a_path_is_an_argument(void)
{
    static const char *const refused[] = { "/e?x=1", "/g#f", "/?", "/#", "/room/{name}?x", "/files/{*rest}#x", "/a/{x?}" };
    const portal_handlers handlers = { .size = sizeof handlers };

    for (size_t i = 0; i < COUNT(refused); ++i) {
        if (portal_define_path(refused[i], &handlers, NULL) != PORTAL_STATUS_ARGUMENT)
            FAIL("%s was taken for a path", refused[i]);
        if (portal_define_page(refused[i], "text/plain", "x", 1) != PORTAL_STATUS_ARGUMENT)
            FAIL("%s was taken for a page's path", refused[i]);
    }
}

static char told[200];
static size_t told_count;

static void hear(uint32_t level, const char *line, void *user_data)
{
    CHECK_NUMBER(level, 2);
    snprintf(told, sizeof told, "%s", line);
    ++told_count;
}

static void what_other_routers_take_for_a_pattern_is_literal_and_logged(void)
{
    static const struct { const char *path, *hint; } literal[] = {
        { "/a/:id", "{id}" }, { "/:id/b", "{id}" }, { "/room/*", "{*rest}" }, { "/room/*any", "{*any}" },
    };
    static const char *const unsuspicious[] = { "/a/:", "/a/b:c", "/a*/b", "/a/{x}", "/a/{*x}", "/a/{{*}}" };
    const portal_handlers handlers = { .size = sizeof handlers };

    CHECK_OK(portal_set_log(2, hear, NULL));
    for (size_t i = 0; i < COUNT(literal); ++i) {
        told_count = 0;
        define(literal[i].path, &handlers, NULL);
        CHECK_NUMBER(told_count, 1);
        CHECK(strstr(told, literal[i].path) != NULL && strstr(told, literal[i].hint) != NULL);
        CHECK_OK(portal_define_page(literal[i].path, "text/plain", "x", 1));
        CHECK_NUMBER(told_count, 2);
        CHECK_NUMBER(client_status(port, literal[i].path, ""), 101);
        CHECK_OK(portal_undefine_page(literal[i].path));
        CHECK_OK(portal_undefine_path(literal[i].path));
    }
    told_count = 0;
    for (size_t i = 0; i < COUNT(unsuspicious); ++i) {
        define(unsuspicious[i], &handlers, NULL);
        CHECK_OK(portal_undefine_path(unsuspicious[i]));
    }
    CHECK_NUMBER(told_count, 0);
    CHECK_OK(portal_set_log(1, NULL, NULL));
}

static void malformed_escapes_answer_400(void)
{
    static const char *const malformed[] = { "/room/%", "/room/%4", "/room/%zz", "/room/%00", "/room/a%00b",
        "/room/%ff", "/room/%C3", "/unknown/%zz" };

    for (size_t i = 0; i < COUNT(malformed); ++i) {
        const int status = client_status(port, malformed[i], "");
        if (status != 400)
            FAIL("%s answered %d", malformed[i], status);
    }
}

/* Sends `request` as it is, checks the status and that a refusal is complete, and looks for `header`. */
static void expect_answer(const char *request, int status, const char *header)
{
    client *self = client_dial(port);
    struct response response;

    client_send_bytes(self, request, strlen(request));
    response = client_response(self);
    if (response.status != status)
        FAIL("%d, not %d, was the answer to:\n%s", response.status, status, request);
    if (status == 405)
        CHECK(strstr(response.head, "\r\nAllow: ") != NULL);
    if (header != NULL && !response_has(&response, header))
        FAIL("%s is missing in:\n%s", header, response.head);
    CHECK(strstr(response.head, "\r\nConnection: close") != NULL);
    CHECK(response.body_len > 0);
    client_destroy(self);
}

#define HOST "Host: localhost\r\n"
#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\n"

static void other_methods_answer_405(void)
{
    static const char *const methods[] = { "POST", "PUT", "DELETE", "OPTIONS", "PATCH" };
    char request[200];

    for (size_t i = 0; i < COUNT(methods); ++i) {
        snprintf(request, sizeof request, "%s /query HTTP/1.1\r\n" HOST "\r\n", methods[i]);
        expect_answer(request, 405, NULL);
    }
}

static void what_is_no_upgrade_answers_426(void)
{
    expect_answer("GET /query HTTP/1.1\r\n" HOST "\r\n", 426, "Upgrade: websocket");
    expect_answer("GET /query HTTP/1.1\r\n" HOST UPGRADE KEY "Sec-WebSocket-Version: 8\r\n\r\n", 426,
        "Sec-WebSocket-Version: 13");
}

static void requests_that_are_no_http_answer_400(void)
{
    expect_answer("GET /query HTTP/1.1\n" HOST UPGRADE KEY VERSION "\r\n", 400, NULL);
    expect_answer("GET /query HTTP/1.1\r\n" UPGRADE KEY VERSION "\r\n", 400, NULL);
    expect_answer("GET /query HTTP/1.1\r\n" HOST HOST UPGRADE KEY VERSION "\r\n", 400, NULL);
    expect_answer("GET /query HTTP/1.1\r\n" HOST UPGRADE VERSION "\r\n", 400, NULL);
    expect_answer("GET /query HTTP/1.1\r\n" HOST UPGRADE KEY KEY VERSION "\r\n", 400, NULL);
    expect_answer("GET /query HTTP/1.1\r\n" HOST UPGRADE "Sec-WebSocket-Key: short\r\n" VERSION "\r\n", 400, NULL);
    expect_answer("GET /query HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "Folded: a\r\n b\r\n\r\n", 400, NULL);
    expect_answer("GET /query HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "Space : a\r\n\r\n", 400, NULL);
    expect_answer("GET /query HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "Content-Length: 3\r\n\r\nabc", 400, NULL);
    expect_answer("GET /query HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, NULL);
    expect_answer("GET query HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "\r\n", 400, NULL);
    expect_answer("what is this?\r\n\r\n", 400, NULL);
}

static void a_request_that_is_too_large_answers_431(void)
{
    static char many[64 * 1024];
    int len = snprintf(many, sizeof many, "GET /query HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "X-Long: ");

    memset(many + len, 'x', 20000);
    strcpy(many + len + 20000, "\r\n\r\n");
    expect_answer(many, 431, NULL);

    len = snprintf(many, sizeof many, "GET /query HTTP/1.1\r\n" HOST UPGRADE KEY VERSION);
    for (int i = 0; i < 5000; ++i)
        len += snprintf(many + len, sizeof many - (size_t)len, "X: %d\r\n", i);
    strcpy(many + len, "\r\n");
    expect_answer(many, 431, NULL);
}

static void nothing_after_a_refused_request_is_read(void)
{
    expect_answer("GET /nowhere HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "\r\n"
                  "GET /query HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "\r\n", 404, NULL);
}

static void header_names_and_tokens_have_no_case(void)
{
    static const char request[] = "GET /query HTTP/1.1\r\nhost: localhost\r\nUPGRADE: h2c, WebSocket\r\n"
        "connection: keep-alive, upgrade\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nSEC-WEBSOCKET-VERSION: 13\r\n\r\n";
    client *self = client_dial(port);

    client_send_bytes(self, request, strlen(request));
    CHECK_NUMBER(client_response(self).status, 101);
    client_expect_text(self, "/query");
    client_farewell(self);
}

static void frames_in_the_packet_of_the_request_are_processed(void)
{
    static const char request[] = "GET /echo HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "\r\n\x81\x82\0\0\0\0Hi";
    client *self = client_dial(port);

    define_echo("/echo");
    client_send_bytes(self, request, sizeof request - 1);
    CHECK_NUMBER(client_response(self).status, 101);
    client_expect_text(self, "Hi");
    client_farewell(self);
}

int main(void)
{
    const portal_server server = serve(NULL);

    port = portal_server_port(server);
    RUN(exact_beats_parameter_beats_catch_all);
    RUN(parameters_may_stand_anywhere);
    RUN(the_query_is_no_part_of_the_path);
    RUN(escapes_are_decoded_after_splitting);
    RUN(a_doubled_brace_is_a_brace);
    RUN(nothing_is_normalised);
    RUN(a_query_or_a_fragment_in_a_path_is_an_argument);
    RUN(what_other_routers_take_for_a_pattern_is_literal_and_logged);
    RUN(malformed_escapes_answer_400);
    RUN(other_methods_answer_405);
    RUN(what_is_no_upgrade_answers_426);
    RUN(requests_that_are_no_http_answer_400);
    RUN(a_request_that_is_too_large_answers_431);
    RUN(nothing_after_a_refused_request_is_read);
    RUN(header_names_and_tokens_have_no_case);
    RUN(frames_in_the_packet_of_the_request_are_processed);
    CHECK_OK(portal_server_close(server));
    return 0;
}
