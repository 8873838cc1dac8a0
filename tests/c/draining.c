/* portal_server_stop_accepting: nobody comes any more, and who is there is served. */
#include "check.h"
#include "client.h"
#include "port.h"
#include "serve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

static atomic_int complaints; /* lines of the log at level 2 or above */

static void count_complaint(uint32_t level, const char *message, void *user_data)
{
    printf("log %u: %s\n", level, message);
    atomic_fetch_add(&complaints, 1);
}

static void expect_echo(client *self)
{
    client_say(self, "words");
    client_expect_text(self, "words");
}

/* What connecting comes to: 0, or the error. */
static int try_connect(uint32_t port)
{
    const struct sockaddr_in address
        = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = { htonl(INADDR_LOOPBACK) } };
    const int self = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int failed = connect(self, (const struct sockaddr *)&address, sizeof address);
    const int error = failed ? errno : 0;

    close(self);
    return error;
}

static portal_status start_on(uint32_t port, const char *host, portal_server *server)
{
    portal_options *options = options_with((const struct setting[]){ { PORTAL_OPTION_HOST, .text = host }, { 0 } });
    const portal_status status = portal_server_start(port, options, server);

    portal_options_destroy(options);
    return status;
}

/* ---- portal_server_stop_accepting ---- */

static void nobody_comes_after_it_and_who_is_there_is_served(int64_t threads)
{
    const portal_server server = SERVE({ PORTAL_OPTION_THREADS, threads });
    const uint32_t port = portal_server_port(server);
    client *clients[3];

    for (size_t i = 0; i < COUNT(clients); ++i)
        expect_echo(clients[i] = client_connect(port, "/echo"));
    CHECK_OK(portal_server_stop_accepting(server));
    CHECK_NUMBER(try_connect(port), ECONNREFUSED);
    CHECK_OK(portal_server_stop_accepting(server));
    CHECK_NUMBER(portal_server_port(server), port);
    for (size_t i = 0; i < COUNT(clients); ++i)
        expect_echo(clients[i]);
    CHECK_NUMBER(portal_server_metric(server, PORTAL_METRIC_CONNECTIONS), COUNT(clients));
    client_farewell(clients[0]);
    CHECK_NUMBER(try_connect(port), ECONNREFUSED);
    client_farewell(clients[1]);
    client_farewell(clients[2]);
    CHECK_OK(portal_server_close(server));
    CHECK_STATUS(portal_server_stop_accepting(server), PORTAL_STATUS_GONE);
    CHECK_NUMBER(atomic_load(&complaints), 0);
}

static void by_one_loop(void)
{
    nobody_comes_after_it_and_who_is_there_is_served(1);
}

static void by_three_loops(void)
{
    nobody_comes_after_it_and_who_is_there_is_served(3);
}

static void the_next_server_has_the_port_at_once(void)
{
    uint32_t port;
    const int reservation = reserve_port(&port);
    portal_server server, next;
    client *self, *late;

    CHECK_OK(start_on(port, "::", &server));
    self = client_connect(port, "/echo");
    CHECK_OK(portal_server_stop_accepting(server));
    CHECK_OK(start_on(port, "::", &next));
    late = client_connect(port, "/echo");
    expect_echo(late);
    expect_echo(self);
    client_farewell(late);
    client_farewell(self);
    CHECK_OK(portal_server_close(next));
    CHECK_OK(portal_server_close(server));
    close(reservation);
}

static void the_next_server_has_the_socket_file_at_once(void)
{
    char folder[] = "/tmp/portal-draining-XXXXXX", path[64], host[80];
    portal_server server, next;
    client *self, *late;

    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/socket", folder);
    snprintf(host, sizeof host, "unix:%s", path);
    server = SERVE({ PORTAL_OPTION_HOST, .text = host });
    self = client_dial_unix(path);
    client_shake_hands(self, "/echo", "");
    CHECK_OK(portal_server_stop_accepting(server));
    CHECK(access(path, F_OK) != 0);
    CHECK_OK(start_on(0, host, &next));
    late = client_dial_unix(path);
    client_shake_hands(late, "/echo", "");
    expect_echo(late);
    expect_echo(self);
    client_farewell(self);
    CHECK_OK(portal_server_close(server));
    expect_echo(late);
    client_farewell(late);
    CHECK_OK(portal_server_close(next));
    CHECK(access(path, F_OK) != 0);
    CHECK(rmdir(folder) == 0);
}

static void who_waits_to_be_accepted_is_not_left_waiting(void)
{
    const portal_server server = SERVE({ PORTAL_OPTION_DISPATCH, PORTAL_DISPATCH_HOST });
    const uint32_t port = portal_server_port(server);
    client *self = client_dial(port); /* nobody serves: it waits in the backlog */

    CHECK_OK(portal_server_stop_accepting(server));
    client_expect_end(self);
    client_destroy(self);
    CHECK_NUMBER(try_connect(port), ECONNREFUSED);
    while (portal_server_poll(server, 0) > 0)
        continue;
    CHECK_OK(portal_server_begin_close(server));
    CHECK_OK(portal_server_stop_accepting(server));
    CHECK_OK(portal_server_close(server));
    CHECK_STATUS(portal_server_stop_accepting(server), PORTAL_STATUS_GONE);
    CHECK_NUMBER(atomic_load(&complaints), 0);
}

/* ---- while clients come ---- */

static atomic_int stopped;
static uint32_t busy_port;

static void *come_and_go(void *unused)
{
    while (!atomic_load(&stopped))
        try_connect(busy_port);
    return unused;
}

static void *stop(void *server)
{
    CHECK_OK(portal_server_stop_accepting(*(portal_server *)server));
    CHECK_NUMBER(try_connect(busy_port), ECONNREFUSED);
    atomic_store(&stopped, 1);
    return NULL;
}

static void several_may_stop_it_while_clients_come(void)
{
    portal_server server = SERVE({ PORTAL_OPTION_THREADS, 2 });
    pthread_t coming[2], stopping[2];
    client *self;

    busy_port = portal_server_port(server);
    self = client_connect(busy_port, "/echo");
    atomic_store(&stopped, 0);
    for (size_t i = 0; i < COUNT(coming); ++i)
        CHECK(pthread_create(&coming[i], NULL, come_and_go, NULL) == 0);
    for (size_t i = 0; i < COUNT(stopping); ++i)
        CHECK(pthread_create(&stopping[i], NULL, stop, &server) == 0);
    for (size_t i = 0; i < COUNT(stopping); ++i)
        CHECK(pthread_join(stopping[i], NULL) == 0 && pthread_join(coming[i], NULL) == 0);
    expect_echo(self);
    client_farewell(self);
    CHECK_OK(portal_server_close(server));
    CHECK_NUMBER(atomic_load(&complaints), 0);
}

int main(void)
{
    define_echo("/echo");
    CHECK_OK(portal_set_log(2, count_complaint, NULL));
    for (enum way way = BY_LOOP; way <= BY_PULL; ++way) {
        serve_by(way);
        RUN(by_one_loop);
        RUN(by_three_loops);
        RUN(the_next_server_has_the_port_at_once);
        RUN(the_next_server_has_the_socket_file_at_once);
        RUN(several_may_stop_it_while_clients_come);
    }
    serve_by(BY_LOOP);
    RUN(who_waits_to_be_accepted_is_not_left_waiting);
    return 0;
}
