/* Where a handler fails, a debugger stops if it was asked to, before `error` is told. */
#include "check.h"
#include "client.h"
#include "serve.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static portal_server server;

static int32_t fail_or_end(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    return strcmp(data, "end") == 0 ? portal_server_begin_close(server) : -1;
}

static void say_told(portal_websocket websocket, const portal_error *error, void *user_data)
{
    CHECK_OK(portal_send(websocket, PORTAL_MESSAGE_TEXT, "told", 4));
}

/* What is debugged: it serves on its only thread. */
static void be_debugged(int port_out, int traced, int stops)
{
    const portal_handlers handlers = { .size = sizeof handlers, .message = fail_or_end, .error = say_told };
    uint32_t port;

    if (traced)
        CHECK(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
    CHECK_OK(portal_set_debug_on_error(stops));
    define("/fail", &handlers, NULL);
    server = SERVE({ PORTAL_OPTION_DISPATCH, PORTAL_DISPATCH_HOST });
    port = portal_server_port(server);
    CHECK(write(port_out, &port, sizeof port) == sizeof port);
    CHECK_OK(portal_server_run(server));
    exit(EXIT_SUCCESS);
}

/* Waits for the process to stop or to end. */
static int status_of(pid_t process)
{
    int status;
    pid_t waited;

    do
        waited = waitpid(process, &status, 0);
    while (waited < 0 && errno == EINTR);
    CHECK(waited == process);
    return status;
}

static int is_silent(client *self)
{
    struct pollfd readable = { .fd = client_socket(self), .events = POLLIN };
    return poll(&readable, 1, 0) == 0;
}

static void debug(int traced, int stops)
{
    int pipes[2], status;
    uint32_t port;
    pid_t process;
    client *self;

    CHECK(pipe(pipes) == 0);
    process = fork();
    CHECK(process >= 0);
    if (process == 0)
        be_debugged(pipes[1], traced, stops);
    CHECK(read(pipes[0], &port, sizeof port) == sizeof port);
    self = client_connect(port, "/fail");
    client_say(self, "fail");
    if (traced && stops) {
        status = status_of(process);
        CHECK(WIFSTOPPED(status));
        CHECK_NUMBER(WSTOPSIG(status), SIGTRAP);
        CHECK(is_silent(self));
        CHECK(ptrace(PTRACE_CONT, process, NULL, NULL) == 0);
    }
    client_expect_text(self, "told");
    client_say(self, "end");
    client_expect_close(self, 1001, NULL);
    client_destroy(self);
    status = status_of(process);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS);
    close(pipes[0]);
    close(pipes[1]);
}

static void a_debugger_stops_where_a_handler_fails(void)
{
    debug(1, 1);
}

static void it_does_not_unless_it_was_asked_to(void)
{
    debug(1, 0);
}

static void without_a_debugger_nothing_stops(void)
{
    debug(0, 1);
}

int main(void)
{
    RUN(a_debugger_stops_where_a_handler_fails);
    RUN(it_does_not_unless_it_was_asked_to);
    RUN(without_a_debugger_nothing_stops);
    return 0;
}
