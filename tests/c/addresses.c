/* Where a server listens: IPv4 and IPv6, Unix sockets, an address only once, or nowhere. */
#include "check.h"
#include "client.h"
#include "port.h"
#include "serve.h"

#include <dlfcn.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- a resolver that knows one name more: portal.test is an IPv4 and an IPv6 address of this machine ---- */

typedef int resolver(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
    resolver *real;
    int failed;

    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo"); /* POSIX's own way */
    if (name == NULL || strcmp(name, "portal.test") != 0)
        return real(name, service, hints, found);
    failed = real("127.0.0.1", service, hints, found);
    if (failed == 0)
        failed = real("::1", service, hints, &(*found)->ai_next);
    return failed;
}

/* ---- a chmod that looks at the file before ---- */

static mode_t mode_of(const char *path)
{
    struct stat status;

    CHECK(stat(path, &status) == 0);
    return status.st_mode & 07777;
}

static mode_t mode_before; /* of a file that was changed since this was 07777 */

int chmod(const char *path, mode_t mode)
{
    int (*real)(const char *, mode_t);

    *(void **)&real = dlsym(RTLD_NEXT, "chmod");
    mode_before = mode_of(path);
    return real(path, mode);
}

static int32_t tell_peer(portal_websocket websocket, const portal_request *request, void *user_data)
{
    const char *peer = portal_request_peer(request);
    return portal_send(websocket, PORTAL_MESSAGE_TEXT, peer, strlen(peer));
}

static void expect_peer(client *self, const char *beginning)
{
    struct frame frame;

    client_shake_hands(self, "/peer", "");
    frame = client_read(self);
    if (strncmp((const char *)frame.payload, beginning, strlen(beginning)) != 0)
        FAIL("%s does not begin with %s", (const char *)frame.payload, beginning);
    client_farewell(self);
}

static portal_status try_start(uint32_t port, const char *host, portal_server *server)
{
    portal_options *options = portal_options_create();
    portal_status status = portal_options_set_text(options, PORTAL_OPTION_HOST, host);

    if (status == PORTAL_STATUS_OK)
        status = portal_server_start(port, options, server);
    portal_options_destroy(options);
    return status;
}

static void by_default_ipv4_and_ipv6_are_served(void)
{
    const portal_server server = serve(NULL);
    const uint32_t port = portal_server_port(server);

    CHECK(port != 0);
    expect_peer(client_dial_address("127.0.0.1", port), "127.0.0.1:");
    expect_peer(client_dial_address("::1", port), "[::1]:");
    CHECK_OK(portal_server_close(server));
    CHECK_NUMBER(portal_server_port(server), 0);
}

static void a_host_may_be_an_address_or_a_name(void)
{
    static const struct { const char *host, *dial; } hosts[] = {
        { "127.0.0.1", "127.0.0.1" }, { "0.0.0.0", "127.0.0.1" }, { "::1", "::1" }, { "[::1]", "::1" },
        { "127.0.0.2", "127.0.0.2" }
    };
    portal_server server;

    for (size_t i = 0; i < COUNT(hosts); ++i) {
        CHECK_OK(try_start(0, hosts[i].host, &server));
        expect_peer(client_dial_address(hosts[i].dial, portal_server_port(server)), "");
        CHECK_OK(portal_server_close(server));
    }
    CHECK_OK(try_start(0, "localhost", &server));
    CHECK_OK(portal_server_close(server));
}

static void every_address_of_a_name_is_served(void)
{
    for (enum way way = BY_LOOP; way <= BY_POLL; ++way) {
        portal_server server;
        uint32_t port;

        serve_by(way);
        server = SERVE({ PORTAL_OPTION_HOST, .text = "portal.test" }, { PORTAL_OPTION_THREADS, 2 });
        port = portal_server_port(server);
        CHECK(port != 0);
        for (int time = 0; time < 3; ++time) {
            expect_peer(client_dial_address("::1", port), "[::1]:");
            expect_peer(client_dial_address("127.0.0.1", port), "127.0.0.1:");
        }
        CHECK_OK(portal_server_close(server));
    }
    serve_by(BY_LOOP);
}

static void an_address_of_a_name_that_is_taken_is_not_passed_over(void)
{
    static const char *const taken[] = { "127.0.0.1", "::1" };

    for (size_t i = 0; i < COUNT(taken); ++i) {
        portal_server first, second = 1;
        uint32_t port;
        const int reservation = reserve_port(&port);

        CHECK_OK(try_start(port, taken[i], &first));
        CHECK_STATUS(try_start(port, "portal.test", &second), PORTAL_STATUS_ADDRESS);
        CHECK_NUMBER(second, 0);
        CHECK_OK(portal_server_close(first));
        CHECK_OK(try_start(port, "portal.test", &second)); /* free at once, both */
        CHECK_NUMBER(portal_server_port(second), port);
        CHECK_OK(portal_server_close(second));
        close(reservation);
    }
}

static void two_servers_cannot_share_an_address(void)
{
    static const char *const hosts[] = { "::", "0.0.0.0", "127.0.0.1" };
    uint32_t port;
    const int reservation = reserve_port(&port);
    portal_server first, second = 1;

    CHECK_OK(try_start(port, "::", &first));
    for (size_t i = 0; i < COUNT(hosts); ++i) {
        CHECK_STATUS(try_start(port, hosts[i], &second), PORTAL_STATUS_ADDRESS);
        CHECK_NUMBER(second, 0);
        second = 1;
    }
    CHECK_OK(portal_server_close(first));
    CHECK_OK(try_start(port, "::", &second)); /* free at once */
    CHECK_NUMBER(portal_server_port(second), port);
    CHECK_OK(portal_server_close(second));
    close(reservation);
}

static void an_address_of_another_machine_is_refused(void)
{
    portal_server server = 1;

    CHECK_STATUS(try_start(0, "192.0.2.1", &server), PORTAL_STATUS_ADDRESS);
    CHECK_NUMBER(server, 0);
}

/* ---- no listener ---- */

static void check_without_a_listener(void)
{
    const portal_server server = SERVE({ PORTAL_OPTION_HOST, .text = "none" }, { PORTAL_OPTION_THREADS, 2 });

    CHECK(server != 0);
    CHECK_NUMBER(portal_server_port(server), 0);
    CHECK_NUMBER(portal_server_metric(server, PORTAL_METRIC_CONNECTIONS_TOTAL), 0);
    CHECK_OK(portal_server_stop_accepting(server));
    CHECK_OK(portal_server_close(server));
    CHECK_STATUS(portal_server_close(server), PORTAL_STATUS_GONE);
}

static void a_server_may_have_no_listener(void)
{
    for (enum way way = BY_LOOP; way <= BY_PULL; ++way) {
        serve_by(way);
        for (int time = 0; time < 10; ++time) /* a host begins to serve while the server ends */
            check_without_a_listener();
    }
    serve_by(BY_LOOP);
}

static void without_a_listener_there_is_no_port_and_no_page(void)
{
    portal_options *options;
    portal_server server = 1;

    CHECK_STATUS(try_start(4433, "none", &server), PORTAL_STATUS_ARGUMENT);
    CHECK_NUMBER(server, 0);
    server = 1;
    options = options_with((const struct setting[]){
        { PORTAL_OPTION_HOST, .text = "none" }, { PORTAL_OPTION_METRICS_PATH, .text = "/metrics" }, { 0 } });
    CHECK_STATUS(portal_server_start(0, options, &server), PORTAL_STATUS_ARGUMENT);
    CHECK_NUMBER(server, 0);
    portal_options_destroy(options);
}

/* ---- Unix sockets ---- */

static char folder[] = "/tmp/portal-addresses-XXXXXX";
static char socket_path[64], host[80];

static void leave_a_stale_socket(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strcpy(address.sun_path, socket_path);
    CHECK(bind(listener, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(listen(listener, 1) == 0);
    close(listener);
    CHECK(access(socket_path, F_OK) == 0);
}

static void a_unix_socket_is_served_and_removed(void)
{
    portal_server server;

    CHECK_OK(try_start(0, host, &server));
    CHECK_NUMBER(portal_server_port(server), 0);
    expect_peer(client_dial_unix(socket_path), "unix");
    CHECK_OK(portal_server_close(server));
    CHECK(access(socket_path, F_OK) != 0);
}

static void a_stale_socket_is_replaced(void)
{
    portal_server server;

    leave_a_stale_socket();
    CHECK_OK(try_start(0, host, &server));
    expect_peer(client_dial_unix(socket_path), "unix");
    CHECK_OK(portal_server_close(server));
}

static void a_socket_in_use_is_refused(void)
{
    portal_server first, second = 1;

    CHECK_OK(try_start(0, host, &first));
    CHECK_STATUS(try_start(0, host, &second), PORTAL_STATUS_ADDRESS);
    CHECK_NUMBER(second, 0);
    expect_peer(client_dial_unix(socket_path), "unix");
    CHECK_OK(portal_server_close(first));
}

static void a_file_that_is_no_socket_is_left_alone(void)
{
    portal_server server = 1;
    FILE *file = fopen(socket_path, "w");

    CHECK(file != NULL);
    fclose(file);
    CHECK_STATUS(try_start(0, host, &server), PORTAL_STATUS_ADDRESS);
    CHECK_NUMBER(server, 0);
    CHECK(unlink(socket_path) == 0);
}

static void its_file_has_the_mode_that_was_asked_for_and_never_more(void)
{
    static const struct { int64_t wanted; mode_t umask, at_first, at_last; } modes[] = {
        { 0, 022, 0755, 0755 }, { 0, 077, 0700, 0700 }, { 0, 0, 0777, 0777 },
        { 0660, 0, 0660, 0660 }, { 0660, 022, 0640, 0660 }, { 0660, 077, 0600, 0660 }, { 0777, 077, 0700, 0777 },
        { 0600, 0, 0600, 0600 }, { 0600, 0777, 0, 0600 }, { 07, 022, 05, 07 }
    };

    for (enum way way = BY_LOOP; way <= BY_PULL; ++way) {
        serve_by(way);
        for (size_t i = 0; i < COUNT(modes); ++i) {
            const mode_t before = umask(modes[i].umask);
            portal_server server;

            mode_before = 07777;
            server = SERVE({ PORTAL_OPTION_HOST, .text = host }, { PORTAL_OPTION_UNIX_MODE, modes[i].wanted });
            umask(before);
            CHECK_NUMBER(mode_of(socket_path), modes[i].at_last);
            CHECK_NUMBER(mode_before, modes[i].at_first == modes[i].at_last ? 07777 : modes[i].at_first);
            CHECK_OK(portal_server_close(server));
            CHECK(access(socket_path, F_OK) != 0);
        }
    }
    serve_by(BY_LOOP);
}

static void the_mode_of_a_socket_file_matters_to_no_other_host(void)
{
    portal_options *options = options_with(NULL);
    portal_server server;

    CHECK_STATUS(portal_options_set_number(options, PORTAL_OPTION_UNIX_MODE, -1), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_options_set_number(options, PORTAL_OPTION_UNIX_MODE, 01000), PORTAL_STATUS_ARGUMENT);
    portal_options_destroy(options);
    server = SERVE({ PORTAL_OPTION_UNIX_MODE, 0600 });
    expect_peer(client_dial(portal_server_port(server)), "127.0.0.1:");
    CHECK_OK(portal_server_close(server));
}

int main(void)
{
    const portal_handlers handlers = { .size = sizeof handlers, .connect = tell_peer };

    CHECK(mkdtemp(folder) != NULL);
    snprintf(socket_path, sizeof socket_path, "%s/socket", folder);
    snprintf(host, sizeof host, "unix:%s", socket_path);
    define("/peer", &handlers, NULL);

    RUN(by_default_ipv4_and_ipv6_are_served);
    RUN(a_host_may_be_an_address_or_a_name);
    RUN(every_address_of_a_name_is_served);
    RUN(an_address_of_a_name_that_is_taken_is_not_passed_over);
    RUN(two_servers_cannot_share_an_address);
    RUN(an_address_of_another_machine_is_refused);
    RUN(a_server_may_have_no_listener);
    RUN(without_a_listener_there_is_no_port_and_no_page);
    RUN(a_unix_socket_is_served_and_removed);
    RUN(a_stale_socket_is_replaced);
    RUN(a_socket_in_use_is_refused);
    RUN(a_file_that_is_no_socket_is_left_alone);
    RUN(its_file_has_the_mode_that_was_asked_for_and_never_more);
    RUN(the_mode_of_a_socket_file_matters_to_no_other_host);
    CHECK(rmdir(folder) == 0);
    return 0;
}
