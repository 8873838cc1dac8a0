/* HOST fd:N and fd:systemd: sockets that listened before, and that other processes may have, too. */
#include "check.h"
#include "client.h"
#include "serve.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { OF_SYSTEMD = 3 };

static char host[32];
static char last_line[512]; /* of the log, on the thread that starts a server */

static void keep_line(uint32_t level, const char *message, void *user_data)
{
    snprintf(last_line, sizeof last_line, "%s", message);
}

/* ---- threads that cannot be created ---- */

static atomic_int threads_left = -1; /* negative: as many as there may be */

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument)
{
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

    *(void **)&real = dlsym(RTLD_NEXT, "pthread_create"); /* POSIX's own way */
    if (atomic_load(&threads_left) >= 0 && atomic_fetch_sub(&threads_left, 1) <= 0) {
        atomic_store(&threads_left, 0);
        return EAGAIN;
    }
    return real(thread, attributes, start, argument);
}

/* ---- descriptors ---- */

static int is_open(int descriptor)
{
    return fcntl(descriptor, F_GETFD) >= 0;
}

/* What tells a socket from another of its number, which a thread that is still starting may open. 0: closed. */
static ino_t inode_of(int descriptor)
{
    struct stat status;

    return fstat(descriptor, &status) == 0 ? status.st_ino : 0;
}

static uint32_t port_of(int descriptor)
{
    struct sockaddr_in address;
    socklen_t size = sizeof address;

    CHECK(getsockname(descriptor, (struct sockaddr *)&address, &size) == 0);
    return ntohs(address.sin_port);
}

static int bind_inet(int type)
{
    const struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    const int descriptor = socket(AF_INET, type, 0);

    CHECK(descriptor >= 0);
    CHECK(bind(descriptor, (const struct sockaddr *)&address, sizeof address) == 0);
    return descriptor;
}

/* A socket that listens, as another program would leave it to us: it blocks, and is not closed on exec. */
static int listen_inet(void)
{
    const int descriptor = bind_inet(SOCK_STREAM);

    CHECK(listen(descriptor, 64) == 0);
    return descriptor;
}

/* The socket of somebody else who has the same one. */
static int share(int descriptor)
{
    const int shared = dup(descriptor);

    CHECK(shared >= 0);
    return shared;
}

static const char *host_of(int descriptor)
{
    snprintf(host, sizeof host, "fd:%d", descriptor);
    return host;
}

static portal_status try_start(uint32_t port, const char *name, portal_server *server)
{
    portal_options *options = options_with((const struct setting[]){ { PORTAL_OPTION_HOST, .text = name }, { 0 } });
    const portal_status status = portal_server_start(port, options, server);

    portal_options_destroy(options);
    return status;
}

static void expect_refusal(uint32_t port, const char *name, portal_status status, const char *reason)
{
    portal_server server = 1;

    last_line[0] = 0;
    CHECK_STATUS(try_start(port, name, &server), status);
    CHECK_NUMBER(server, 0);
    if (strstr(last_line, reason) == NULL)
        FAIL("\"%s\" does not say \"%s\"", last_line, reason);
}

static void expect_echo(client *self)
{
    client_say(self, "words");
    client_expect_text(self, "words");
}

/* Takes what has been left to us, as the other process does that accepts from the same socket. */
static client *accept_from(int shared)
{
    struct pollfd waiting = { shared, POLLIN, 0 };

    CHECK_NUMBER(poll(&waiting, 1, PATIENCE_MS), 1);
    return client_over(accept(shared, NULL, NULL));
}

/* ---- serving ---- */

static void it_is_served_and_only_closed(void)
{
    const int descriptor = listen_inet(), shared = share(descriptor);
    const uint32_t port = port_of(descriptor);
    const portal_server server = SERVE({ PORTAL_OPTION_HOST, .text = host_of(descriptor) }, { PORTAL_OPTION_THREADS, 2 });
    int no_delay = 0;
    socklen_t size = sizeof no_delay;
    client *self, *other;

    CHECK_NUMBER(portal_server_port(server), port);
    CHECK(fcntl(descriptor, F_GETFD) & FD_CLOEXEC);
    CHECK(fcntl(shared, F_GETFL) & O_NONBLOCK);
    CHECK(getsockopt(shared, IPPROTO_TCP, TCP_NODELAY, &no_delay, &size) == 0 && no_delay);
    for (int i = 0; i < 4; ++i) {
        self = client_connect(port, "/echo");
        expect_echo(self);
        client_farewell(self);
    }
    CHECK_OK(portal_server_close(server));
    CHECK(!is_open(descriptor));

    /* It listens on, for us. */
    self = client_dial(port);
    other = accept_from(shared);
    client_destroy(self);
    client_destroy(other);
    close(shared);
}

static void its_port_may_be_named(void)
{
    const int descriptor = listen_inet();
    const uint32_t port = port_of(descriptor);
    portal_server server;

    expect_refusal(port == 1 ? 2 : 1, host_of(descriptor), PORTAL_STATUS_ARGUMENT, "its port is");
    CHECK(is_open(descriptor));
    CHECK_OK(try_start(port, host_of(descriptor), &server));
    CHECK_NUMBER(portal_server_port(server), port);
    CHECK_OK(portal_server_close(server));
    CHECK(!is_open(descriptor));
}

static void after_a_stop_connections_are_the_others(void)
{
    const int descriptor = listen_inet(), shared = share(descriptor);
    const uint32_t port = port_of(descriptor);
    const portal_server server = SERVE({ PORTAL_OPTION_HOST, .text = host_of(descriptor) }, { PORTAL_OPTION_THREADS, 2 });
    const ino_t inode = inode_of(descriptor);
    client *self = client_connect(port, "/echo"), *late, *other;

    CHECK_OK(portal_server_stop_accepting(server));
    EVENTUALLY(inode_of(descriptor) != inode);
    late = client_dial(port);
    other = accept_from(shared);
    client_send_bytes(other, "\x81\x02hi", 4);
    client_expect_text(late, "hi");
    expect_echo(self);
    CHECK_NUMBER(portal_server_metric(server, PORTAL_METRIC_CONNECTIONS_TOTAL), 1);
    client_destroy(late);
    client_destroy(other);
    client_farewell(self);
    CHECK_OK(portal_server_close(server));
    close(shared);
}

/* No client and no timeout wakes the loops: only the stop does. */
static void after_a_stop_it_is_closed_without_delay(void)
{
    const int descriptor = listen_inet();
    const portal_server server = SERVE({ PORTAL_OPTION_HOST, .text = host_of(descriptor) }, { PORTAL_OPTION_THREADS, 2 });
    const ino_t inode = inode_of(descriptor);

    pause_ms(20); /* for the loops to fall asleep; without it this tests less, and does not fail */
    CHECK_OK(portal_server_stop_accepting(server));
    EVENTUALLY(inode_of(descriptor) != inode);
    CHECK_OK(portal_server_close(server));
}

/* A closed descriptor whose socket somebody else has goes on waking whoever polls it, unless he stops that before. */
static void after_a_stop_its_connections_wake_nobody(void)
{
    const int descriptor = listen_inet(), shared = share(descriptor);
    const uint32_t port = port_of(descriptor);
    const portal_server server = SERVE({ PORTAL_OPTION_HOST, .text = host_of(descriptor) },
        { PORTAL_OPTION_DISPATCH, PORTAL_DISPATCH_HOST });
    struct pollfd waiting = { portal_server_fd(server), POLLIN, 0 };
    client *late;

    CHECK(waiting.fd >= 0);
    CHECK_OK(portal_server_stop_accepting(server));
    EVENTUALLY(portal_server_poll(server, 0) == 0 && !is_open(descriptor));
    EVENTUALLY(portal_server_poll(server, 0) == 0 && poll(&waiting, 1, 0) == 0);
    late = client_dial(port);
    CHECK_NUMBER(poll(&waiting, 1, 200), 0);
    client_destroy(accept_from(shared));
    client_destroy(late);
    CHECK_OK(portal_server_close(server));
    close(shared);
}

/* ---- what is no socket to listen on ---- */

static void what_cannot_be_used_is_refused_and_left_alone(void)
{
    int pair[2], pipes[2];
    const int datagrams = bind_inet(SOCK_DGRAM), silent = bind_inet(SOCK_STREAM), closed = share(datagrams);
    const struct { int descriptor; const char *reason; } unusable[] = {
        { pipe(pipes) == 0 ? pipes[0] : -1, "not a socket" },
        { datagrams, "not a stream socket" },
        { silent, "not listening" },
        { socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 ? pair[0] : -1, "not listening" },
    };

    for (size_t i = 0; i < COUNT(unusable); ++i) {
        const int descriptor = unusable[i].descriptor;
        CHECK(is_open(descriptor));
        for (int time = 0; time < 2; ++time)
            expect_refusal(0, host_of(descriptor), PORTAL_STATUS_ADDRESS, unusable[i].reason);
        CHECK(is_open(descriptor));
        CHECK(!(fcntl(descriptor, F_GETFD) & FD_CLOEXEC) && !(fcntl(descriptor, F_GETFL) & O_NONBLOCK));
    }
    close(closed);
    expect_refusal(0, host_of(closed), PORTAL_STATUS_ADDRESS, "not open");
    expect_refusal(0, "fd:2147483647", PORTAL_STATUS_ADDRESS, "not open");
    close(datagrams), close(silent);
    close(pair[0]), close(pair[1]);
    close(pipes[0]), close(pipes[1]);
}

static void two_servers_cannot_have_the_same(void)
{
    const int descriptor = listen_inet();
    const uint32_t port = port_of(descriptor);
    portal_server server;
    client *self;
    int next;

    CHECK_OK(try_start(0, host_of(descriptor), &server));
    expect_refusal(0, host_of(descriptor), PORTAL_STATUS_ADDRESS, "another server");
    self = client_connect(port, "/echo");
    expect_echo(self);
    client_farewell(self);
    CHECK_OK(portal_server_close(server));

    /* Another of the same number is another. */
    next = listen_inet();
    CHECK(dup2(next, descriptor) == descriptor);
    CHECK_OK(try_start(0, host_of(descriptor), &server));
    CHECK_NUMBER(portal_server_port(server), port_of(next));
    CHECK_OK(portal_server_close(server));
    close(next);
}

static void after_a_failed_start_it_is_ours(void)
{
    const int descriptor = listen_inet();
    const uint32_t port = port_of(descriptor);
    portal_options *options = options_with((const struct setting[]){
        { PORTAL_OPTION_HOST, .text = host_of(descriptor) }, { PORTAL_OPTION_TLS_CERTIFICATE, .text = "/nowhere" }, { 0 } });
    portal_server server = 1;
    client *self;

    CHECK_STATUS(portal_server_start(0, options, &server), PORTAL_STATUS_TLS);
    portal_options_destroy(options);
    CHECK(is_open(descriptor));
    CHECK_OK(try_start(0, host_of(descriptor), &server));
    self = client_connect(port, "/echo");
    expect_echo(self);
    client_farewell(self);
    CHECK_OK(portal_server_close(server));
    CHECK(!is_open(descriptor));
}

static void without_threads_it_is_ours_too(void)
{
    for (int threads = 0; threads < 3; ++threads) {
        const int descriptor = listen_inet();
        const ino_t inode = inode_of(descriptor);
        portal_options *options = options_with((const struct setting[]){
            { PORTAL_OPTION_HOST, .text = host_of(descriptor) }, { PORTAL_OPTION_THREADS, 3 }, { 0 } });
        portal_server server = 1;

        atomic_store(&threads_left, threads);
        CHECK_STATUS(portal_server_start(0, options, &server), PORTAL_STATUS_IO);
        CHECK_NUMBER(server, 0);
        atomic_store(&threads_left, -1);
        /* Those of its threads that there were let go of it. */
        EVENTUALLY(portal_server_start(0, options, &server) == PORTAL_STATUS_OK);
        portal_options_destroy(options);
        CHECK(inode_of(descriptor) == inode);
        CHECK_OK(portal_server_close(server));
        CHECK(inode_of(descriptor) != inode);
    }
}

/* ---- Unix sockets ---- */

static void a_unix_socket_keeps_its_file(void)
{
    char folder[] = "/tmp/portal-inherited-XXXXXX";
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    const int descriptor = socket(AF_UNIX, SOCK_STREAM, 0);
    portal_server server;
    client *self;

    CHECK(mkdtemp(folder) != NULL);
    snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", folder);
    CHECK(bind(descriptor, (struct sockaddr *)&address, sizeof address) == 0 && listen(descriptor, 8) == 0);
    expect_refusal(1, host_of(descriptor), PORTAL_STATUS_ARGUMENT, "its port is 0");
    server = SERVE({ PORTAL_OPTION_HOST, .text = host_of(descriptor) });
    CHECK_NUMBER(portal_server_port(server), 0);
    self = client_dial_unix(address.sun_path);
    client_shake_hands(self, "/echo", "");
    expect_echo(self);
    client_farewell(self);
    CHECK_OK(portal_server_close(server));
    CHECK(!is_open(descriptor));
    CHECK(unlink(address.sun_path) == 0);
    CHECK(rmdir(folder) == 0);
}

/* ---- systemd ---- */

/* Passes the first socket of systemd; or none, but its number is taken. */
static uint32_t pass_to_ourselves(void)
{
    const int descriptor = listen_inet();
    char number[20];

    CHECK(dup2(descriptor, OF_SYSTEMD) == OF_SYSTEMD);
    close(descriptor);
    snprintf(number, sizeof number, "%d", (int)getpid());
    CHECK(setenv("LISTEN_PID", number, 1) == 0 && setenv("LISTEN_FDS", "1", 1) == 0);
    return port_of(OF_SYSTEMD);
}

static void keep_its_number(void)
{
    const int nothing = open("/dev/null", O_RDONLY);

    CHECK(nothing >= 0);
    CHECK(dup2(nothing, OF_SYSTEMD) == OF_SYSTEMD);
    if (nothing != OF_SYSTEMD)
        close(nothing);
}

static void the_first_of_systemd_is_served(void)
{
    const uint32_t port = pass_to_ourselves();
    const portal_server server = SERVE({ PORTAL_OPTION_HOST, .text = "fd:systemd" });
    client *self = client_connect(port, "/echo");

    CHECK_NUMBER(portal_server_port(server), port);
    expect_echo(self);
    client_farewell(self);
    expect_refusal(0, "fd:systemd", PORTAL_STATUS_ADDRESS, "another server");
    CHECK_OK(portal_server_close(server));
    CHECK(!is_open(OF_SYSTEMD));
    keep_its_number();
}

static void what_systemd_has_passed_to_somebody_else_is_not_ours(void)
{
    pass_to_ourselves();
    CHECK(setenv("LISTEN_PID", "1", 1) == 0);
    expect_refusal(0, "fd:systemd", PORTAL_STATUS_ADDRESS, "LISTEN_PID is \"1\"");
    CHECK(unsetenv("LISTEN_PID") == 0);
    expect_refusal(0, "fd:systemd", PORTAL_STATUS_ADDRESS, "LISTEN_PID is not set");
    pass_to_ourselves();
    CHECK(setenv("LISTEN_FDS", "0", 1) == 0);
    expect_refusal(0, "fd:systemd", PORTAL_STATUS_ADDRESS, "LISTEN_FDS is \"0\"");
    CHECK(unsetenv("LISTEN_FDS") == 0);
    expect_refusal(0, "fd:systemd", PORTAL_STATUS_ADDRESS, "LISTEN_FDS is not set");
    CHECK(is_open(OF_SYSTEMD));
    keep_its_number();
}

int main(void)
{
    keep_its_number();
    define_echo("/echo");
    CHECK_OK(portal_set_log(1, keep_line, NULL));
    for (enum way way = BY_LOOP; way <= BY_PULL; ++way) {
        serve_by(way);
        RUN(it_is_served_and_only_closed);
        RUN(after_a_stop_connections_are_the_others);
        RUN(after_a_stop_it_is_closed_without_delay);
        RUN(a_unix_socket_keeps_its_file);
        RUN(the_first_of_systemd_is_served);
    }
    serve_by(BY_LOOP);
    RUN(its_port_may_be_named);
    RUN(after_a_stop_its_connections_wake_nobody);
    RUN(what_cannot_be_used_is_refused_and_left_alone);
    RUN(two_servers_cannot_have_the_same);
    RUN(after_a_failed_start_it_is_ours);
    RUN(without_threads_it_is_ours_too);
    RUN(what_systemd_has_passed_to_somebody_else_is_not_ours);
    return 0;
}
