/* Paths and pages of one server: an administrator's port shows nothing of the public one, nor the other way
   round. */
#include "check.h"
#include "client.h"
#include "serve.h"

static const struct setting apart[] = { { PORTAL_OPTION_SHARED_PATHS, 0 }, { 0 } };

static int released[3];

static void count_release(void *user_data)
{
    ++*(int *)user_data;
}

static int32_t say_public(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    return portal_send(websocket, PORTAL_MESSAGE_TEXT, "public", 6);
}

static int32_t say_own(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    return portal_send(websocket, PORTAL_MESSAGE_TEXT, "own", 3);
}

static void define_own(portal_options *options, const char *path, int *count)
{
    portal_handlers handlers = { .size = sizeof handlers, .message = say_own, .release = count_release };
    CHECK_OK(portal_options_define_path(options, path, &handlers, count));
}

static uint32_t dispatch;

static portal_server start(portal_options *options)
{
    portal_server server;

    CHECK_OK(portal_options_set_number(options, PORTAL_OPTION_DISPATCH, dispatch));
    CHECK_OK(portal_server_start(0, options, &server));
    return server;
}

static void expect_answer(portal_server server, const char *path, const char *answer)
{
    client *self = client_connect(portal_server_port(server), path);

    client_say(self, "who?");
    client_expect_text(self, answer);
    client_farewell(self);
}

/* Of a plain GET. */
static void expect_page(portal_server server, const char *path, int status, const char *body)
{
    client *self = client_dial(portal_server_port(server));
    struct response response;
    char request[200];

    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", path);
    client_send_bytes(self, request, strlen(request));
    response = client_response(self);
    CHECK_NUMBER(response.status, status);
    if (body != NULL)
        CHECK_TEXT(response.body, body);
    client_destroy(self);
}

static void an_administrators_port_shows_nothing_of_the_public_one_nor_the_other_way_round(void)
{
    portal_options *options = options_with(apart);
    portal_server public, own;

    define_own(options, "/admin/{what}", &released[0]);
    CHECK_OK(portal_options_define_page(options, "/status", "text/plain", "own page", 8));
    public = serve(NULL);
    own = start(options);
    portal_options_destroy(options);

    expect_answer(own, "/admin/users", "own");
    expect_page(own, "/status", 200, "own page");
    CHECK_NUMBER(client_status(portal_server_port(own), "/public", ""), 404);
    expect_page(own, "/page", 404, NULL);
    CHECK_NUMBER(client_status(portal_server_port(public), "/admin/users", ""), 404);
    expect_page(public, "/status", 404, NULL);
    expect_answer(public, "/public", "public");
    expect_page(public, "/page", 200, "public page");

    CHECK_NUMBER(released[0], 0);
    CHECK_OK(portal_server_close(own));
    EVENTUALLY(released[0] == 1);
    CHECK_OK(portal_server_close(public));
}

static void a_servers_own_come_before_those_of_the_process(void)
{
    portal_options *options = portal_options_create();
    portal_server server;

    define_own(options, "/public", &released[1]);
    CHECK_OK(portal_options_define_page(options, "/page", "text/plain", "own page", 8));
    server = start(options);
    expect_answer(server, "/public", "own");
    expect_page(server, "/page", 200, "own page");
    expect_answer(server, "/other", "public");
    expect_page(server, "/other", 200, "other page");
    portal_options_destroy(options);
    CHECK_OK(portal_server_close(server));
    EVENTUALLY(released[1] == 1);
}

static void a_server_keeps_what_was_defined_at_its_start(void)
{
    portal_options *options = options_with(apart);
    portal_server first, second;
    client *self;

    define_own(options, "/a", &released[0]);
    first = start(options);
    self = client_connect(portal_server_port(first), "/a");
    define_own(options, "/a", &released[1]);
    define_own(options, "/b", &released[2]);
    second = start(options);
    CHECK_NUMBER(client_status(portal_server_port(first), "/b", ""), 404);
    expect_answer(second, "/b", "own");
    portal_options_destroy(options);
    CHECK_OK(portal_server_close(second));
    EVENTUALLY(released[1] == 1 && released[2] == 1);
    CHECK_NUMBER(released[0], 0);
    client_say(self, "still there?");
    client_expect_text(self, "own");
    client_farewell(self);
    CHECK_OK(portal_server_close(first));
    EVENTUALLY(released[0] == 1);
}

static void bad_arguments_change_nothing(void)
{
    portal_options *options = options_with(apart);
    portal_handlers handlers = { .size = sizeof handlers, .message = say_own, .release = count_release };

    define_own(options, "/room/{name}", &released[0]);
    CHECK_STATUS(portal_options_define_path(options, "/room/{other}", &handlers, &released[1]), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_options_define_path(options, "room", &handlers, &released[1]), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_options_define_path(options, NULL, &handlers, &released[1]), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_options_define_path(options, "/a", NULL, &released[1]), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_options_define_path(NULL, "/a", &handlers, &released[1]), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_options_define_page(options, "/a", "", "x", 1), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_options_define_page(options, "a", "text/plain", "x", 1), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_options_define_page(NULL, "/a", "text/plain", "x", 1), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_options_define_page(options, "/a", "text/plain", NULL, 1), PORTAL_STATUS_ARGUMENT);
    CHECK_NUMBER(released[0], 0);
    portal_options_destroy(options);
    CHECK_NUMBER(released[0], 1);
    CHECK_NUMBER(released[1], 0);
}

static void reset(void)
{
    memset(released, 0, sizeof released);
}

int main(void)
{
    const portal_handlers handlers = { .size = sizeof handlers, .message = say_public };

    define("/public", &handlers, NULL);
    define("/other", &handlers, NULL);
    CHECK_OK(portal_define_page("/page", "text/plain", "public page", 11));
    CHECK_OK(portal_define_page("/other", "text/plain", "other page", 10));
    for (dispatch = PORTAL_DISPATCH_IO; dispatch <= PORTAL_DISPATCH_PER_CLIENT; ++dispatch) {
        reset();
        RUN(an_administrators_port_shows_nothing_of_the_public_one_nor_the_other_way_round);
        reset();
        RUN(a_servers_own_come_before_those_of_the_process);
        reset();
        RUN(a_server_keeps_what_was_defined_at_its_start);
        reset();
        RUN(bad_arguments_change_nothing);
    }
    return 0;
}
