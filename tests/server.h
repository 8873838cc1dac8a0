/* What the servers for the conformance suite and for the proxies have in common: they echo, print
 * `listening on ws://localhost:PORT/`, and end in order at SIGINT or SIGTERM. */
#ifndef SERVER_H
#define SERVER_H

#include <portal.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static inline void must(portal_status status, const char *what)
{
    if (status == PORTAL_STATUS_OK)
        return;
    fprintf(stderr, "%s: cannot %s: %s\n", program_invocation_short_name, what, portal_status_text(status));
    exit(EXIT_FAILURE);
}

static inline int32_t echo(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    (void)user_data;
    return portal_send(websocket, type, data, len);
}

/* Holds the signals back from every thread, so that sigwait gets them; to be called before there are threads. */
static inline sigset_t hold_back_stop(void)
{
    sigset_t stop;

    sigemptyset(&stop);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &stop, NULL);
    return stop;
}

static inline void print_address(portal_server server)
{
    printf("listening on ws://localhost:%u/\n", (unsigned)portal_server_port(server));
    fflush(stdout);
}

#endif
