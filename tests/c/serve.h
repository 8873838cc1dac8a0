/* Servers for tests: on a free port, with settings in one line, and checked at every step. */
#ifndef SERVE_H
#define SERVE_H

#include <portal.h>

struct setting {
    uint32_t option;
    int64_t number;
    const char *text; /* NULL for an option that is a number */
};

/* SERVE({ PORTAL_OPTION_THREADS, 4 }, { PORTAL_OPTION_HOST, .text = "::1" }) */
#define SERVE(...) serve((const struct setting[]){ __VA_ARGS__, { 0 } })

/* The settings end with one that has option 0; NULL: none. What is not set is as by default, but that handshakes
 * may take long and that Portal sends no pings. */
portal_server serve(const struct setting *settings);
portal_server serve_on(uint32_t port, const struct setting *settings);

/* Who runs the callbacks of servers that are started from now on: Portal's loop, which is so without
 * this, a thread for each client, or a thread of the test's that hosts. BY_PULL only echoes messages. */
enum way { BY_LOOP, BY_CLIENT_THREADS, BY_RUN, BY_POLL, BY_PULL };
void serve_by(enum way);

portal_options *options_with(const struct setting *settings);
void define(const char *path, const portal_handlers *, void *user_data);

/* Sends back what comes. */
int32_t echo_message(portal_websocket, uint32_t type, const void *data, size_t len, void *user_data);
void define_echo(const char *path);

#endif
