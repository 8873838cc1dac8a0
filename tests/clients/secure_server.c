/* secure-server: a server for the tests of TLS. It listens on a port that the system chooses.
 *
 *   secure-server OPTION=VALUE...     names as in portal.h without PORTAL_OPTION_; PULL=1 serves by pulling,
 *                                     CERTIFICATE=FILE,KEY adds a certificate
 *
 * It prints `listening on ws://localhost:PORT/`, or ends with status 2 when the start fails. The log goes to
 * stderr. On SIGHUP it reads the certificate again and prints what that answered; SIGINT ends it.
 *
 *   /         echoes; GET without an upgrade is answered by a page
 *   /burst    sends a thousand short messages in one callback
 *   /flood    sends 32 MiB as fast as the client takes them, closes, and logs the most that was queued
 *   /reload   answers each message with the status of a reload from inside the callback
 *   /abort    ends the connection at the first message
 *   /tls      tells what is known of the encryption: a header of the response has what `upgrade` saw, and the
 *             first message what `connect` saw, with a vertical bar between two facts
 *   /metric   answers each message, a number, with the metric of that number
 */
#include <portal.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 64 * 1024, BLOCKS = 512 };

static const struct {
    const char *name;
    uint32_t number;
    int is_text;
} names[] = {
    { "TLS_CERTIFICATE", PORTAL_OPTION_TLS_CERTIFICATE, 1 },
    { "TLS_KEY", PORTAL_OPTION_TLS_KEY, 1 },
    { "TLS_CLIENT_CA", PORTAL_OPTION_TLS_CLIENT_CA, 1 },
    { "METRICS_PATH", PORTAL_OPTION_METRICS_PATH, 1 },
    { "TLS_CLIENT_CRL", PORTAL_OPTION_TLS_CLIENT_CRL, 1 },
    { "ORIGINS", PORTAL_OPTION_ORIGINS, 1 },
    { "THREADS", PORTAL_OPTION_THREADS, 0 },
    { "DISPATCH", PORTAL_OPTION_DISPATCH, 0 },
    { "DEFLATE", PORTAL_OPTION_DEFLATE, 0 },
    { "MAX_CONNECTIONS", PORTAL_OPTION_MAX_CONNECTIONS, 0 },
    { "MAX_CONNECTIONS_PER_IP", PORTAL_OPTION_MAX_CONNECTIONS_PER_IP, 0 },
    { "MAX_QUEUED", PORTAL_OPTION_MAX_QUEUED, 0 },
    { "HANDSHAKE_TIMEOUT", PORTAL_OPTION_HANDSHAKE_TIMEOUT, 0 },
    { "CLOSE_TIMEOUT", PORTAL_OPTION_CLOSE_TIMEOUT, 0 },
    { "PROXY_PROTOCOL", PORTAL_OPTION_PROXY_PROTOCOL, 0 },
    { "PAGE_KEEP_ALIVE", PORTAL_OPTION_PAGE_KEEP_ALIVE, 0 },
};

static portal_server server;
static int pulls;
static int blocks_sent;
static size_t most_queued;

static void must(portal_status status, const char *what)
{
    if (status == PORTAL_STATUS_OK)
        return;
    fprintf(stderr, "%s: %s\n", what, portal_status_name(status));
    exit(2);
}

static void log_line(uint32_t level, const char *message, void *user_data)
{
    (void)user_data;
    fprintf(stderr, "log %u: %s\n", (unsigned)level, message);
}

static int32_t echo(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    (void)user_data;
    return portal_send(websocket, type, data, len);
}

static int32_t send_burst(portal_websocket websocket, const portal_request *request, void *user_data)
{
    (void)request, (void)user_data;
    for (int number = 0; number < 1000; number++) {
        char text[8];
        const int len = snprintf(text, sizeof text, "%d", number);

        must(portal_send(websocket, PORTAL_MESSAGE_TEXT, text, (size_t)len), "send");
    }
    return PORTAL_STATUS_OK;
}

static void flood(portal_websocket websocket, void *user_data)
{
    static unsigned char block[BLOCK];

    (void)user_data;
    while (blocks_sent < BLOCKS) {
        portal_status status;

        memset(block, blocks_sent, sizeof block);
        status = portal_send(websocket, PORTAL_MESSAGE_BINARY, block, sizeof block);
        if (portal_queued(websocket) > most_queued)
            most_queued = portal_queued(websocket);
        if (status == PORTAL_STATUS_FULL)
            return;
        must(status, "send");
        blocks_sent++;
    }
    fprintf(stderr, "at most %zu bytes were queued\n", most_queued);
    must(portal_close(websocket, 1000, NULL), "close");
}

static int32_t begin_flood(portal_websocket websocket, const portal_request *request, void *user_data)
{
    (void)request;
    flood(websocket, user_data);
    return PORTAL_STATUS_OK;
}

static int32_t reload(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    const char *answer = portal_status_name(portal_server_reload_tls(server));

    (void)data, (void)len, (void)user_data;
    return portal_send(websocket, type, answer, strlen(answer));
}

static int32_t end(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    (void)type, (void)data, (void)len, (void)user_data;
    return portal_abort(websocket);
}

/* The facts from `first` to `last`. */
static const char *facts(const portal_request *request, uint32_t first, uint32_t last)
{
    static _Thread_local char text[16384];
    int len = 0;

    for (uint32_t what = first; what <= last; what++)
        len += snprintf(text + len, sizeof text - len, "%s%s", what > first ? "|" : "", portal_request_tls(request, what));
    return text;
}

static int32_t tell_in_header(portal_websocket websocket, portal_request *request, void *user_data)
{
    (void)websocket, (void)user_data;
    must(portal_request_set_header(request, "X-TLS", facts(request, PORTAL_TLS_VERSION, PORTAL_TLS_SERVER_NAME)), "header");
    must(portal_request_set_header(request, "X-Subject", portal_request_tls(request, PORTAL_TLS_CLIENT_SUBJECT)), "header");
    return 0;
}

static int32_t tell(portal_websocket websocket, const portal_request *request, void *user_data)
{
    const char *text = facts(request, PORTAL_TLS_VERSION, PORTAL_TLS_CLIENT_SUBJECT);

    (void)user_data;
    return portal_send(websocket, PORTAL_MESSAGE_TEXT, text, strlen(text));
}

static int32_t metric(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    char text[32];

    (void)len, (void)user_data;
    snprintf(text, sizeof text, "%llu", (unsigned long long)portal_server_metric(server, (uint32_t)atoi(data)));
    return portal_send(websocket, type, text, strlen(text));
}

static void define(const char *path, portal_handlers handlers)
{
    handlers.size = sizeof handlers;
    must(portal_define_path(path, &handlers, NULL), "define");
}

static void set(portal_options *options, const char *setting)
{
    const char *value = strchr(setting, '=');

    if (value && strncmp(setting, "PULL", 4) == 0) {
        pulls = 1;
        return;
    }
    if (value && strncmp(setting, "CERTIFICATE", 11) == 0) {
        char *files = strdup(value + 1), *key = strchr(files, ',');

        *key++ = '\0';
        must(portal_options_add_certificate(options, files, key), setting);
        free(files);
        return;
    }
    for (size_t at = 0; value && at < sizeof names / sizeof *names; at++) {
        if (strlen(names[at].name) != (size_t)(value - setting) || strncmp(names[at].name, setting, value - setting))
            continue;
        must(names[at].is_text ? portal_options_set_text(options, names[at].number, value + 1)
                               : portal_options_set_number(options, names[at].number, atoll(value + 1)),
             setting);
        return;
    }
    fprintf(stderr, "secure-server: what is %s?\n", setting);
    exit(2);
}

static void *serve_as_host(void *unused)
{
    portal_pulled events[16];
    int32_t count;

    if (!pulls) {
        must(portal_server_run(server), "run");
        return unused;
    }
    while ((count = portal_server_pull(server, -1, events, 16, sizeof *events)) >= 0)
        for (int32_t at = 0; at < count; at++)
            if (events[at].event == PORTAL_EVENT_MESSAGE)
                portal_send(events[at].websocket, events[at].type, events[at].data, events[at].len);
            else if (events[at].event == PORTAL_EVENT_CONNECT && strcmp(portal_request_path(events[at].request), "/tls") == 0)
                tell(events[at].websocket, events[at].request, NULL);
    return unused;
}

int main(int argc, char **argv)
{
    static const char page[] = "<title>secure</title>secure";
    portal_options *options = portal_options_create();
    int64_t dispatch = 0;
    pthread_t host;
    sigset_t signals;
    int received;

    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);

    must(portal_set_log(4, log_line, NULL), "log");
    define("/", (portal_handlers){ .message = echo });
    define("/burst", (portal_handlers){ .connect = send_burst });
    define("/flood", (portal_handlers){ .connect = begin_flood, .drain = flood });
    define("/reload", (portal_handlers){ .message = reload });
    define("/abort", (portal_handlers){ .message = end });
    define("/tls", (portal_handlers){ .upgrade = tell_in_header, .connect = tell });
    define("/metric", (portal_handlers){ .message = metric });
    must(portal_define_page("/", "text/html", page, sizeof page - 1), "define the page");
    for (int at = 1; at < argc; at++) {
        set(options, argv[at]);
        if (strncmp(argv[at], "DISPATCH=", 9) == 0)
            dispatch = atoll(argv[at] + 9);
    }
    must(portal_server_start(0, options, &server), "start");
    portal_options_destroy(options);
    printf("listening on ws://localhost:%u/\n", (unsigned)portal_server_port(server));
    fflush(stdout);

    if (dispatch == PORTAL_DISPATCH_HOST)
        pthread_create(&host, NULL, serve_as_host, NULL);
    while (sigwait(&signals, &received) == 0 && received == SIGHUP) {
        puts(portal_status_name(portal_server_reload_tls(server)));
        fflush(stdout);
    }
    must(portal_server_close(server), "close");
    if (dispatch == PORTAL_DISPATCH_HOST)
        pthread_join(host, NULL);
    return EXIT_SUCCESS;
}
