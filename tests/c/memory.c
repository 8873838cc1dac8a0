/* A client that asks for a gigabyte of echoes and does not read them costs the server no more than
   its send queue: the server runs in a process of its own, whose memory is watched from outside. */
#include "check.h"
#include "client.h"
#include "serve.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_QUEUED = 4 << 20, PAYLOAD = 60000 };
static const size_t gigabyte = 1 << 30;

/* Serves until it is told to end, by the end of the pipe. */
static void serve_in_child(int port_out, int end_in)
{
    portal_server server;
    uint32_t port;
    char nothing;

    define_echo("/echo");
    server = SERVE({ PORTAL_OPTION_MAX_QUEUED, MAX_QUEUED }, { PORTAL_OPTION_CLOSE_TIMEOUT, 200 });
    port = portal_server_port(server);
    CHECK(write(port_out, &port, sizeof port) == sizeof port);
    CHECK(read(end_in, &nothing, 1) == 0);
    CHECK_OK(portal_server_close(server));
}

/* Memory of a process, in bytes. */
static size_t memory_of(pid_t process)
{
    char path[64];
    unsigned long total, resident;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/statm", (int)process);
    file = fopen(path, "r");
    CHECK(file != NULL);
    CHECK(fscanf(file, "%lu %lu", &total, &resident) == 2);
    fclose(file);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

static size_t build_frame(uint8_t *frame)
{
    static const uint8_t head[] = { 0x82, 0x80 | 126, PAYLOAD >> 8, PAYLOAD & 255, 0, 0, 0, 0 };

    memcpy(frame, head, sizeof head);
    memset(frame + sizeof head, 'x', PAYLOAD);
    return sizeof head + PAYLOAD;
}

int main(void)
{
    static uint8_t frame[PAYLOAD + 8];
    const size_t size = build_frame(frame);
    int port_pipe[2], end_pipe[2], status;
    size_t before, most = 0, written = 0, heard = 0;
    uint32_t port;
    client *self;
    pid_t child;

    CHECK(pipe(port_pipe) == 0 && pipe(end_pipe) == 0);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        close(end_pipe[1]);
        serve_in_child(port_pipe[1], end_pipe[0]);
        return 0;
    }
    close(end_pipe[0]);
    CHECK(read(port_pipe[0], &port, sizeof port) == sizeof port);
    self = client_connect(port, "/echo");
    client_send(self, BINARY, "warm", 4);
    client_expect(self, BINARY, "warm", 4);
    before = memory_of(child);

    /* Writes all that the server takes; reads one echo only when it takes no more. */
    while (written < gigabyte) {
        struct pollfd writable = { .fd = client_socket(self), .events = POLLOUT };
        size_t now;

        if (poll(&writable, 1, 20) == 1) {
            const ssize_t sent = send(client_socket(self), frame + written % size, size - written % size, MSG_DONTWAIT | MSG_NOSIGNAL);
            CHECK(sent > 0 || errno == EAGAIN);
            written += sent > 0 ? (size_t)sent : 0;
        } else {
            for (int i = 0; i < 64 && heard + size < written; ++i, heard += size)
                client_expect(self, BINARY, frame + 8, PAYLOAD);
        }
        now = memory_of(child);
        most = now > most ? now : most;
    }
    printf("grew by %zu KiB at most, with %d KiB allowed in the queue\n", (most - before) / 1024, MAX_QUEUED / 1024);
    CHECK(most < before + 2 * MAX_QUEUED);

    client_destroy(self);
    close(end_pipe[1]);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK_NUMBER(status, 0);
    return 0;
}
