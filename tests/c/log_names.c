/* Each line of the log about a connection begins with who that is: `websocket ID peer ADDRESS: `. */
#include "check.h"
#include "client.h"
#include "serve.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <regex.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SHORT_MS = 300 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char lines[64 * 1024];

static void collect(uint32_t level, const char *message, void *unused)
{
    pthread_mutex_lock(&lock);
    CHECK(strlen(lines) + strlen(message) + 2 < sizeof lines);
    strcat(strcat(lines, message), "\n");
    pthread_mutex_unlock(&lock);
}

static int has_line(const char *pattern)
{
    regex_t compiled;
    int found;

    CHECK(regcomp(&compiled, pattern, REG_EXTENDED | REG_NEWLINE | REG_NOSUB) == 0);
    pthread_mutex_lock(&lock);
    found = regexec(&compiled, lines, 0, NULL, 0) == 0;
    pthread_mutex_unlock(&lock);
    regfree(&compiled);
    return found;
}

/* Waits for a line with this text about the peer. `id` is a pattern, too. */
static void expect_line_of(const char *id, const char *peer, const char *text)
{
    const long long deadline = now_ms() + PATIENCE_MS;
    char pattern[256];

    snprintf(pattern, sizeof pattern, "^websocket %s peer %s: %s", id, peer, text);
    while (!has_line(pattern)) {
        if (now_ms() > deadline)
            FAIL("no line `%s` in\n%s", pattern, lines);
        pause_ms(1);
    }
}

/* As the server names it: its address and port. */
static const char *name_of(const client *self)
{
    static char name[64];
    struct sockaddr_in address = { 0 };
    socklen_t len = sizeof address;

    CHECK(getsockname(client_socket(self), (struct sockaddr *)&address, &len) == 0);
    snprintf(name, sizeof name, "127.0.0.1:%u", (unsigned)ntohs(address.sin_port));
    return name;
}

static void expect_line(const client *self, const char *text)
{
    expect_line_of("[1-9][0-9]*", name_of(self), text);
}

static void begin(void)
{
    lines[0] = 0;
    CHECK_OK(portal_set_log(4, collect, NULL));
}

/* Closes the server. No line was about a connection without a name. */
static void end(portal_server server)
{
    CHECK_OK(portal_server_close(server));
    CHECK_OK(portal_set_log(1, NULL, NULL));
    for (char *line = strtok(lines, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        static const char *const others[] = { "websocket ", "listening on ", "closing the server on ", "io_uring " };
        size_t which = 0;

        while (which < COUNT(others) && strncmp(line, others[which], strlen(others[which])) != 0)
            ++which;
        if (which == COUNT(others))
            FAIL("a line without a name: %s", line);
    }
}

static int32_t reject(portal_websocket websocket, portal_request *request, void *user_data)
{
    return *(int32_t *)user_data;
}

static int32_t fail_on_message(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    return 77;
}

static void each_refused_request(void)
{
    static const struct {
        const char *path, *headers, *line;
    } requests[] = {
        { "/nowhere", "", "request refused: 404 " },
        { "/echo", "Origin: https://elsewhere.example\r\n", "request refused: 403 " },
        { "/rejecting", "", "request refused: 451 " },
        { "/failing", "", "request refused: 500 " },
        { "/failing", "", "the `upgrade` handler of path /failing returned -5; " },
    };
    static int32_t rejection = 451, failure = -5;
    const portal_handlers handlers = { .size = sizeof handlers, .upgrade = reject };
    portal_server server;
    client *self;

    define("/rejecting", &handlers, &rejection);
    define("/failing", &handlers, &failure);
    begin();
    server = SERVE({ PORTAL_OPTION_ORIGINS, .text = "https://example.org" });
    for (size_t i = 0; i < COUNT(requests); ++i) {
        self = client_dial(portal_server_port(server));
        client_request(self, requests[i].path, requests[i].headers);
        CHECK(client_response(self).status >= 400);
        expect_line(self, requests[i].line);
        client_destroy(self);
    }
    self = client_dial(portal_server_port(server));
    client_send_bytes(self, "no request at all\r\n\r\n", 21);
    CHECK_NUMBER(client_response(self).status, 400);
    expect_line(self, "request refused: 400 ");
    client_destroy(self);

    self = client_dial(portal_server_port(server));
    client_send_bytes(self, "\x16\x03\x01\x00\x01\x01", 6);
    client_hear_out(self);
    expect_line(self, "TLS handshake on a port without TLS");
    client_destroy(self);

    self = client_dial(portal_server_port(server));
    client_send_bytes(self, "GET /", 5);
    client_half_close(self);
    client_expect_end(self);
    expect_line(self, "left during the handshake");
    client_destroy(self);
    end(server);
}

static void who_is_over_a_limit(void)
{
    static const struct {
        uint32_t option;
        const char *line;
    } limits[] = {
        { PORTAL_OPTION_MAX_CONNECTIONS, "request refused: 503 " },
        { PORTAL_OPTION_MAX_CONNECTIONS_PER_IP, "request refused: 429 " },
    };

    for (size_t i = 0; i < COUNT(limits); ++i) {
        portal_server server;
        client *inside, *outside;

        begin();
        server = SERVE({ limits[i].option, 1 });
        inside = client_connect(portal_server_port(server), "/echo");
        outside = client_dial(portal_server_port(server));
        CHECK(client_response(outside).status >= 400);
        /* It never got an id. */
        expect_line_of("0", name_of(outside), limits[i].line);
        client_destroy(outside);
        client_farewell(inside);
        end(server);
    }
}

static void each_timeout(void)
{
    portal_server server;
    client *self;

    begin();
    server = SERVE({ PORTAL_OPTION_HANDSHAKE_TIMEOUT, SHORT_MS });
    self = client_dial(portal_server_port(server));
    client_expect_end(self);
    expect_line(self, "handshake timed out: it sent no request");
    client_destroy(self);
    self = client_dial(portal_server_port(server));
    client_send_bytes(self, "GET /echo HTTP/1.1\r\n", 20);
    client_expect_end(self);
    expect_line(self, "handshake timed out: its request is incomplete");
    client_destroy(self);
    end(server);

    begin();
    server = SERVE({ PORTAL_OPTION_PING_INTERVAL, SHORT_MS });
    self = client_connect(portal_server_port(server), "/echo");
    expect_line(self, "ping timed out");
    expect_line(self, "disconnected with 1006");
    client_destroy(self);
    end(server);

    begin();
    server = SERVE({ PORTAL_OPTION_IDLE_TIMEOUT, SHORT_MS }, { PORTAL_OPTION_CLOSE_TIMEOUT, SHORT_MS });
    self = client_connect(portal_server_port(server), "/echo");
    expect_line(self, "idle timed out");
    expect_line(self, "close timed out");
    client_destroy(self);
    end(server);
}

static void each_failed_connection(void)
{
    portal_server server;
    client *self;

    begin();
    server = SERVE({ PORTAL_OPTION_MAX_MESSAGE_SIZE, 10 }, { PORTAL_OPTION_CLOSE_TIMEOUT, SHORT_MS });
    self = client_connect(portal_server_port(server), "/echo");
    expect_line(self, "connected to \"/echo\"");
    client_send_frame(self, 0x8f, "", 0);
    client_expect_close(self, 1002, NULL);
    expect_line(self, "failing connection: 1002, ");
    client_destroy(self);

    self = client_connect(portal_server_port(server), "/echo");
    client_say(self, "more than ten bytes");
    client_expect_close(self, 1009, NULL);
    expect_line(self, "failing connection: 1009, ");
    client_destroy(self);

    self = client_connect(portal_server_port(server), "/echo");
    client_say(self, "\xff");
    client_expect_close(self, 1007, NULL);
    expect_line(self, "failing connection: 1007, ");
    expect_line(self, "disconnected with 1007");
    client_destroy(self);
    end(server);
}

static void who_resets_its_connection(void)
{
    portal_server server;
    client *self;
    char name[64];

    begin();
    server = serve(NULL);
    self = client_connect(portal_server_port(server), "/echo");
    snprintf(name, sizeof name, "%s", name_of(self));
    client_hang_up(self);
    expect_line_of("[1-9][0-9]*", name, "connection failed: ");
    expect_line_of("[1-9][0-9]*", name, "disconnected with 1006");
    end(server);
}

static portal_websocket connected;

static int32_t note_connected(portal_websocket websocket, const portal_request *request, void *user_data)
{
    __atomic_store_n(&connected, websocket, __ATOMIC_SEQ_CST);
    return 0;
}

static void what_the_application_does(void)
{
    const portal_handlers handlers = { .size = sizeof handlers, .connect = note_connected, .message = fail_on_message };
    portal_server server;
    client *self;
    char id[32];

    define("/failing", &handlers, NULL);
    begin();
    connected = 0;
    server = serve(NULL);
    self = client_connect(portal_server_port(server), "/failing");
    EVENTUALLY(__atomic_load_n(&connected, __ATOMIC_SEQ_CST) != 0);
    client_say(self, "words");
    snprintf(id, sizeof id, "%llu", (unsigned long long)connected);
    expect_line_of(id, name_of(self), "the `message` handler of path /failing returned 77; ");
    CHECK_OK(portal_abort(connected));
    expect_line_of(id, name_of(self), "aborted");
    client_destroy(self);
    end(server);
}

static void a_peer_at_a_unix_socket(void)
{
    portal_server server;
    client *self;
    char path[64], host[80];

    snprintf(path, sizeof path, "/tmp/portal-log-names-%d", (int)getpid());
    snprintf(host, sizeof host, "unix:%s", path);
    begin();
    server = SERVE({ PORTAL_OPTION_HOST, .text = host });
    self = client_dial_unix(path);
    client_request(self, "/nowhere", "");
    CHECK_NUMBER(client_response(self).status, 404);
    expect_line_of("[1-9][0-9]*", "unix", "request refused: 404 ");
    client_destroy(self);
    end(server);
}

/* At a lower level nothing is noted of a connection when it comes; its socket is asked. */
static void a_warning_alone(void)
{
    const portal_handlers handlers = { .size = sizeof handlers, .message = fail_on_message };
    portal_server server;
    client *self;

    define("/failing", &handlers, NULL);
    begin();
    CHECK_OK(portal_set_log(2, collect, NULL));
    server = serve(NULL);
    self = client_connect(portal_server_port(server), "/failing");
    client_say(self, "words");
    expect_line(self, "the `message` handler of path /failing returned 77; ");
    client_farewell(self);
    end(server);
}

int main(void)
{
    static const enum way ways[] = { BY_LOOP, BY_CLIENT_THREADS, BY_RUN };

    define_echo("/echo");
    for (size_t i = 0; i < COUNT(ways); ++i) {
        serve_by(ways[i]);
        RUN(each_refused_request);
        RUN(each_failed_connection);
        RUN(who_resets_its_connection);
        RUN(what_the_application_does);
        RUN(a_warning_alone);
    }
    serve_by(BY_LOOP);
    RUN(who_is_over_a_limit);
    RUN(each_timeout);
    RUN(a_peer_at_a_unix_socket);
    return 0;
}
