/* proxied-server: what the proxies stand in front of.
 *
 *   proxied-server HOST      an address, which gets a port that the system chooses, or unix:/path
 *
 * It prints `listening on ws://localhost:PORT/`. SIGINT ends it.
 *
 *   /          echoes, but closes at the text `close CODE REASON`
 *   /health    a page
 *   /last      a page that says how the last websocket ended: CODE REASON
 */
#include <portal.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(portal_status status, const char *what)
{
    if (status == PORTAL_STATUS_OK)
        return;
    fprintf(stderr, "proxied-server: cannot %s: %s\n", what, portal_status_text(status));
    exit(EXIT_FAILURE);
}

static int32_t echo(portal_websocket client, uint32_t type, const void *data, size_t len, void *user_data)
{
    unsigned code;
    char reason[124];

    (void)user_data;
    if (type == PORTAL_MESSAGE_TEXT && sscanf(data, "close %u %123s", &code, reason) == 2)
        return portal_close(client, code, reason);
    return portal_send(client, type, data, len);
}

static int32_t tell_end(portal_websocket client, uint32_t code, const char *reason, void *user_data)
{
    char page[200];

    (void)client, (void)user_data;
    snprintf(page, sizeof page, "%u %s", (unsigned)code, reason);
    return portal_define_page("/last", "text/plain", page, strlen(page));
}

int main(int argc, char **argv)
{
    const portal_handlers handlers = { .size = sizeof handlers, .message = echo, .disconnect = tell_end };
    portal_options *options = portal_options_create();
    portal_server server;
    sigset_t stop;
    int received;

    /* Held back from every thread, so that sigwait gets them. */
    sigemptyset(&stop);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &stop, NULL);

    must(portal_define_path("/", &handlers, NULL), "define the path");
    must(portal_define_page("/health", "text/plain", "well\n", 5), "define a page");
    must(portal_define_page("/last", "text/plain", "", 0), "define a page");
    if (argc > 1)
        must(portal_options_set_text(options, PORTAL_OPTION_HOST, argv[1]), "listen there");
    must(portal_server_start(0, options, &server), "start");
    portal_options_destroy(options);
    printf("listening on ws://localhost:%u/\n", (unsigned)portal_server_port(server));
    fflush(stdout);

    sigwait(&stop, &received);
    must(portal_server_close(server), "close");
    return EXIT_SUCCESS;
}
