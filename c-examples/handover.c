/* handover: an echo server that a new process of its own replaces without a gap.
 *
 *   handover [fd:systemd | fd:N]       serves /echo on a socket that listens already
 *
 * SIGHUP starts the program anew, from the file that is there now, with the same socket. Once the successor serves, this
 * process accepts no clients any more, serves those that it has until they have left, and ends. If the successor cannot
 * start, nothing changes. SIGTERM and SIGINT close at once. packaging/systemd has units for it.
 */
#define _GNU_SOURCE /* pipe2 */
#include <portal.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What a successor finds: the socket, and where it says that it serves. systemd's first socket is 3, too. */
enum { SOCKET = 3, READY = 4 };

enum { HANDSHAKE_MS = 5000, DRAIN_MS = 60000, START_MS = 30000 };

static int32_t echo(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    (void)user_data;
    return portal_send(websocket, type, data, len);
}

static void log_line(uint32_t level, const char *message, void *user_data)
{
    (void)level, (void)user_data;
    fprintf(stderr, "handover %d: %s\n", (int)getpid(), message);
}

static void must(portal_status status, const char *what)
{
    if (status == PORTAL_STATUS_OK)
        return;
    fprintf(stderr, "handover: cannot %s: %s\n", what, portal_status_text(status));
    exit(EXIT_FAILURE);
}

static void start(const char *host, portal_server *server)
{
    const portal_handlers handlers = { sizeof handlers, .message = echo };
    portal_options *options = portal_options_create();

    must(portal_set_log(2, log_line, NULL), "log");
    must(portal_define_path("/echo", &handlers, NULL), "define the path");
    must(portal_options_set_text(options, PORTAL_OPTION_HOST, host), "use the socket");
    must(portal_options_set_number(options, PORTAL_OPTION_HANDSHAKE_TIMEOUT, HANDSHAKE_MS), "set the timeout");
    must(portal_options_set_number(options, PORTAL_OPTION_CLOSE_CODE, 1012), "set the close code"); /* service restart */
    must(portal_server_start(0, options, server), "start");
    portal_options_destroy(options);
}

/* Tells systemd, if that has started us, which process is the service now: sd_notify(3). */
static void notify(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char state[64];
    int notifier;

    if (path == NULL || strlen(path) >= sizeof address.sun_path)
        return;
    strcpy(address.sun_path, path);
    if (path[0] == '@')
        address.sun_path[0] = 0;
    snprintf(state, sizeof state, "READY=1\nMAINPID=%d", (int)getpid());
    notifier = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sendto(notifier, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address,
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path)));
    close(notifier);
}

/* Another descriptor for the same, whose number a successor needs for nothing else; -1 if there is none. */
static int keep(int descriptor)
{
    return fcntl(descriptor, F_DUPFD_CLOEXEC, READY + 1);
}

/* Starts a successor. Returns 1 when it serves; 0 if it cannot. */
static int hand_over(const char *program, int listener)
{
    struct pollfd ready = { .events = POLLIN };
    pid_t successor;
    int ends[2], kept, served;
    char byte;

    if (pipe2(ends, O_CLOEXEC) != 0)
        return 0;
    ready.fd = ends[0];
    kept = keep(ends[1]);
    close(ends[1]);
    successor = fork();
    if (successor == 0) {
        if (dup2(listener, SOCKET) == SOCKET && dup2(kept, READY) == READY)
            execlp(program, program, "fd:3", "successor", (char *)NULL);
        _exit(EXIT_FAILURE);
    }
    close(kept);
    served = successor > 0 && poll(&ready, 1, START_MS) == 1 && read(ready.fd, &byte, 1) == 1;
    close(ready.fd);
    if (successor > 0 && !served) {
        kill(successor, SIGKILL);
        waitpid(successor, NULL, 0);
    }
    return served;
}

static long now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Serves who is there until all have left. Whoever was accepted last still has the time for a handshake. */
static void drain(portal_server server, const sigset_t *signals)
{
    const struct timespec pause = { .tv_nsec = 100 * 1000 * 1000 };
    const long began = now_ms();

    must(portal_server_stop_accepting(server), "stop accepting");
    for (;;) {
        const long passed = now_ms() - began;
        const int received = sigtimedwait(signals, NULL, &pause);

        if (received == SIGTERM || received == SIGINT || passed >= DRAIN_MS)
            return;
        if (passed >= HANDSHAKE_MS && portal_server_metric(server, PORTAL_METRIC_CONNECTIONS) == 0)
            return;
    }
}

int main(int argc, char **argv)
{
    const char *host = argc > 1 ? argv[1] : "fd:systemd";
    const int descriptor = strcmp(host, "fd:systemd") == 0 ? SOCKET : atoi(host + (strncmp(host, "fd:", 3) == 0 ? 3 : 0));
    portal_server server;
    sigset_t signals;
    int received, listener;

    /* Blocked in every thread, so that sigwait receives them. */
    sigemptyset(&signals);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);

    start(host, &server);
    listener = keep(descriptor); /* the server closes its own */
    printf("listening on ws://localhost:%u/echo\n", (unsigned)portal_server_port(server));
    fflush(stdout);
    notify();
    if (argc > 2) {
        if (write(READY, "", 1) != 1)
            return EXIT_FAILURE;
        close(READY);
    }

    for (;;) {
        sigwait(&signals, &received);
        if (received != SIGHUP)
            break;
        if (hand_over(argv[0], listener)) {
            close(listener);
            drain(server, &signals);
            break;
        }
        fprintf(stderr, "handover: the successor cannot start; serving on\n");
    }
    must(portal_server_close(server), "close");
    return EXIT_SUCCESS;
}
