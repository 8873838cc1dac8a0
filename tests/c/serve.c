#include "serve.h"

#include "check.h"

portal_options *options_with(const struct setting *settings)
{
    portal_options *options = portal_options_create();

    CHECK(options != NULL);
#ifdef SERVE_BACKEND
    CHECK_OK(portal_options_set_number(options, PORTAL_OPTION_BACKEND, SERVE_BACKEND));
#endif
    for (; settings != NULL && settings->option != 0; ++settings)
        if (settings->text != NULL)
            CHECK_OK(portal_options_set_text(options, settings->option, settings->text));
        else
            CHECK_OK(portal_options_set_number(options, settings->option, settings->number));
    return options;
}

portal_server serve(const struct setting *settings)
{
    portal_options *options = options_with(settings);
    portal_server server = 0;

    CHECK_OK(portal_server_start(0, options, &server));
    CHECK(server != 0);
    portal_options_destroy(options);
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
