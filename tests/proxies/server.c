/* proxied-server: what the proxies stand in front of.
 *
 *   proxied-server HOST [PROXY_PROTOCOL TRUSTED_PROXIES]
 *
 *   HOST is an address, which gets a port that the system chooses, or unix:/path.
 *
 *   /          echoes, but closes at the text `close CODE REASON`
 *   /peer      says who the client is
 *   /health    a page
 *   /last      a page that says how the last websocket ended: CODE REASON
 */
#define _GNU_SOURCE
#include "../server.h"

#include <stdlib.h>
#include <string.h>

static int32_t obey_or_echo(portal_websocket client, uint32_t type, const void *data, size_t len, void *user_data)
{
    unsigned code;
    char reason[124];

    if (type == PORTAL_MESSAGE_TEXT && sscanf(data, "close %u %123s", &code, reason) == 2)
        return portal_close(client, code, reason);
    return echo(client, type, data, len, user_data);
}

static int32_t tell_end(portal_websocket client, uint32_t code, const char *reason, void *user_data)
{
    char page[200];

    (void)client, (void)user_data;
    snprintf(page, sizeof page, "%u %s", (unsigned)code, reason);
    return portal_define_page("/last", "text/plain", page, strlen(page));
}

static int32_t keep_peer(portal_websocket client, const portal_request *request, void *user_data)
{
    (void)user_data;
    return portal_set_data(client, strdup(portal_request_peer(request)));
}

static int32_t tell_peer(portal_websocket client, uint32_t type, const void *data, size_t len, void *user_data)
{
    const char *peer = portal_data(client);

    (void)type, (void)data, (void)len, (void)user_data;
    return portal_send(client, PORTAL_MESSAGE_TEXT, peer, strlen(peer));
}

static int32_t forget_peer(portal_websocket client, uint32_t code, const char *reason, void *user_data)
{
    (void)code, (void)reason, (void)user_data;
    free(portal_data(client));
    return 0;
}

int main(int argc, char **argv)
{
    const portal_handlers peer = { .size = sizeof peer, .connect = keep_peer, .message = tell_peer, .disconnect = forget_peer };
    const portal_handlers handlers = { .size = sizeof handlers, .message = obey_or_echo, .disconnect = tell_end };
    const sigset_t stop = hold_back_stop();
    portal_options *options = portal_options_create();
    portal_server server;
    int received;

    must(portal_define_path("/", &handlers, NULL), "define the path");
    must(portal_define_path("/peer", &peer, NULL), "define the path");
    must(portal_define_page("/health", "text/plain", "well\n", 5), "define a page");
    must(portal_define_page("/last", "text/plain", "", 0), "define a page");
    if (argc > 1)
        must(portal_options_set_text(options, PORTAL_OPTION_HOST, argv[1]), "listen there");
    if (argc > 3) {
        must(portal_options_set_number(options, PORTAL_OPTION_PROXY_PROTOCOL, atoi(argv[2])), "expect PROXY headers");
        must(portal_options_set_text(options, PORTAL_OPTION_TRUSTED_PROXIES, argv[3]), "trust proxies");
    }
    must(portal_server_start(0, options, &server), "start");
    portal_options_destroy(options);
    print_address(server);
    sigwait(&stop, &received);
    must(portal_server_close(server), "close");
    return EXIT_SUCCESS;
}
