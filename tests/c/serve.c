#include "serve.h"

#include "check.h"

#include <pthread.h>

/* ---- hosting ---- */

static enum way way;
static pthread_t host;
static int hosts;

static void *run(void *server)
{
    const portal_status status = portal_server_run(*(portal_server *)server);

    CHECK(status == PORTAL_STATUS_OK || status == PORTAL_STATUS_GONE); /* it may have been closed before */
    return NULL;
}

static void *poll_on(void *server)
{
    int32_t count;

    while ((count = portal_server_poll(*(portal_server *)server, -1)) >= 0)
        continue;
    CHECK_STATUS(count, PORTAL_STATUS_GONE);
    return NULL;
}

static void *pull(void *server)
{
    portal_pulled events[16];
    int32_t count;

    while ((count = portal_server_pull(*(portal_server *)server, -1, events, COUNT(events), sizeof *events)) >= 0)
        for (int32_t i = 0; i < count; ++i)
            if (events[i].event == PORTAL_EVENT_MESSAGE)
                portal_send(events[i].websocket, events[i].type, events[i].data, events[i].len);
    CHECK_STATUS(count, PORTAL_STATUS_GONE);
    return NULL;
}

static const struct {
    const char *name;
    uint32_t dispatch;
    void *(*work)(void *server);
} ways[] = {
    [BY_LOOP] = { "by a loop", PORTAL_DISPATCH_IO, NULL },
    [BY_CLIENT_THREADS] = { "by a thread for each client", PORTAL_DISPATCH_PER_CLIENT, NULL },
    [BY_RUN] = { "by run", PORTAL_DISPATCH_HOST, run },
    [BY_POLL] = { "by poll", PORTAL_DISPATCH_HOST, poll_on },
    [BY_PULL] = { "by pull", PORTAL_DISPATCH_HOST, pull },
};

/* Waits for the end of a host whose server has been closed. */
static void join_host(void)
{
    if (hosts)
        CHECK(pthread_join(host, NULL) == 0);
    hosts = 0;
}

static void begin_hosting(portal_server server)
{
    static portal_server hosted;

    if (way < BY_RUN)
        return;
    join_host();
    hosted = server;
    CHECK(pthread_create(&host, NULL, ways[way].work, &hosted) == 0);
    hosts = 1;
}

void serve_by(enum way wanted)
{
    join_host();
    way = wanted;
    printf("%s:\n", ways[way].name);
}

/* ---- servers ---- */

portal_options *options_with(const struct setting *settings)
{
    portal_options *options = portal_options_create();

    CHECK(options != NULL);
#ifdef SERVE_BACKEND
    CHECK_OK(portal_options_set_number(options, PORTAL_OPTION_BACKEND, SERVE_BACKEND));
#endif
    /* On a busy machine the defaults might strike where no test expects it. */
    CHECK_OK(portal_options_set_number(options, PORTAL_OPTION_HANDSHAKE_TIMEOUT, 10 * PATIENCE_MS));
    CHECK_OK(portal_options_set_number(options, PORTAL_OPTION_CLOSE_TIMEOUT, 10 * PATIENCE_MS));
    CHECK_OK(portal_options_set_number(options, PORTAL_OPTION_PING_INTERVAL, 0));
    for (; settings != NULL && settings->option != 0; ++settings)
        if (settings->text != NULL)
            CHECK_OK(portal_options_set_text(options, settings->option, settings->text));
        else
            CHECK_OK(portal_options_set_number(options, settings->option, settings->number));
    return options;
}

portal_server serve(const struct setting *settings)
{
    return serve_on(0, settings);
}

portal_server serve_on(uint32_t port, const struct setting *settings)
{
    portal_options *options = options_with(settings);
    portal_server server = 0;

    if (way != BY_LOOP)
        CHECK_OK(portal_options_set_number(options, PORTAL_OPTION_DISPATCH, ways[way].dispatch));
    CHECK_OK(portal_server_start(port, options, &server));
    CHECK(server != 0);
    portal_options_destroy(options);
    begin_hosting(server);
    return server;
}

void define(const char *path, const portal_handlers *handlers, void *user_data)
{
    CHECK_OK(portal_define_path(path, handlers, user_data));
}

int32_t echo_message(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    return portal_send(websocket, type, data, len);
}

void define_echo(const char *path)
{
    const portal_handlers handlers = { .size = sizeof handlers, .message = echo_message };
    define(path, &handlers, NULL);
}
