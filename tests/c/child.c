#include "child.h"

#include "check.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static _Noreturn void serve_until_the_end(portal_server (*start)(void), int port_out, int lifeline)
{
    const portal_server server = start();
    const uint32_t port = portal_server_port(server);
    char nothing;

    CHECK(write(port_out, &port, sizeof port) == sizeof port);
    CHECK(read(lifeline, &nothing, 1) == 0);
    CHECK_OK(portal_server_close(server));
    exit(0);
}

struct child child_begin(portal_server (*start)(void))
{
    int port_pipe[2], lifeline[2];
    struct child child;

    CHECK(pipe(port_pipe) == 0 && pipe(lifeline) == 0);
    child.process = fork();
    CHECK(child.process >= 0);
    if (child.process == 0) {
        /* Not even a server that cannot be closed any more outlives the test. */
        CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
        close(lifeline[1]);
        serve_until_the_end(start, port_pipe[1], lifeline[0]);
    }
    close(port_pipe[1]);
    close(lifeline[0]);
    child.lifeline = lifeline[1];
    CHECK(read(port_pipe[0], &child.port, sizeof child.port) == sizeof child.port);
    close(port_pipe[0]);
    return child;
}

void child_end(struct child child)
{
    int status;

    close(child.lifeline);
    CHECK(waitpid(child.process, &status, 0) == child.process);
    CHECK_NUMBER(status, 0);
}

size_t child_memory(struct child child)
{
    char path[64];
    unsigned long total, resident;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/statm", (int)child.process);
    file = fopen(path, "r");
    CHECK(file != NULL);
    CHECK(fscanf(file, "%lu %lu", &total, &resident) == 2);
    fclose(file);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

long child_time_ms(struct child child)
{
    char path[64];
    unsigned long user, system;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)child.process);
    file = fopen(path, "r");
    CHECK(file != NULL);
    CHECK(fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) == 2);
    fclose(file);
    return (long)(user + system) * 1000 / sysconf(_SC_CLK_TCK);
}
