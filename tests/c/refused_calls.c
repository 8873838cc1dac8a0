/* The system refuses a call for good, as a filter of a container does: the server does without, or waits, is not
   busy doing so, and closes. */
#include "check.h"
#include "child.h"
#include "client.h"
#include "serve.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What happens in the child: written here, read by the parent. */
static struct {
    volatile int refuse; /* the parent's wish */
    volatile int refused;
} *shared;

static struct {
    uint32_t backend;
    long call;
    int error;
    int at_once; /* before the start */
} trial;

/* From now on no thread of this process can make the call. */
static void refuse(long call, int error)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = { .len = COUNT(filter), .filter = filter };

    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0);
}

static int32_t refuse_when_told(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    if (shared->refuse && !shared->refused) {
        refuse(trial.call, trial.error);
        shared->refused = 1;
    }
    return portal_send(websocket, type, data, len);
}

static portal_server start(void)
{
    const portal_handlers handlers = { .size = sizeof handlers, .message = refuse_when_told };

    define("/echo", &handlers, NULL);
    if (trial.at_once)
        refuse(trial.call, trial.error);
    return SERVE({ PORTAL_OPTION_BACKEND, trial.backend });
}

static void check_served(client *self)
{
    client_say(self, "served");
    client_expect_text(self, "served");
}

static void check_idle(struct child child)
{
    const long used = child_time_ms(child);

    pause_ms(500);
    CHECK(child_time_ms(child) - used < 150);
}

static void begin_trial(uint32_t backend, long call, int error, int at_once)
{
    trial.backend = backend;
    trial.call = call;
    trial.error = error;
    trial.at_once = at_once;
    shared->refuse = shared->refused = 0;
}

/* ---- accept4 ---- */

static void whoever_cannot_be_accepted_costs_nothing(void)
{
    static const int errors[] = { EPERM, ECONNABORTED, ENOBUFS };

    for (uint32_t backend = 1; backend <= 2; ++backend)
        for (size_t i = 0; i < COUNT(errors); ++i) {
            struct child child;
            client *self, *other;

            begin_trial(backend, SYS_accept4, errors[i], 0);
            child = child_begin(start);
            self = client_connect(child.port, "/echo");
            shared->refuse = 1;
            check_served(self);
            CHECK(shared->refused);
            other = client_dial(child.port);
            client_request(other, "/echo", "");
            check_served(self);
            check_idle(child);
            check_served(self);
            client_destroy(self);
            child_end(child);
            client_destroy(other);
        }
}

/* ---- io_uring ---- */

static void without_io_uring_epoll_serves(long call, int at_once)
{
    static const int errors[] = { EPERM, ENOMEM };

    for (uint32_t backend = 0; backend <= 2; backend += 2)
        for (size_t i = 0; i < COUNT(errors); ++i) {
            enum { CLIENTS = 20 };
            static char words[200 * 1000];
            client *clients[CLIENTS];
            struct child child;

            begin_trial(backend, call, errors[i], at_once);
            child = child_begin(start);
            for (int n = 0; n < CLIENTS; ++n)
                clients[n] = client_connect(child.port, "/echo");
            shared->refuse = !at_once;
            check_served(clients[0]);
            CHECK(at_once || shared->refused);
            for (int round = 0; round < 3; ++round) {
                /* Many at once, and some of them so large that they do not go out at once. */
                for (int n = 0; n < CLIENTS; ++n)
                    client_send(clients[n], BINARY, words, n % 4 == 0 ? sizeof words : 100);
                for (int n = 0; n < CLIENTS; ++n)
                    client_expect(clients[n], BINARY, words, n % 4 == 0 ? sizeof words : 100);
            }
            client_farewell(clients[1]);
            clients[1] = client_connect(child.port, "/echo");
            check_served(clients[1]);
            check_idle(child);
            for (int n = 0; n < CLIENTS; ++n)
                client_farewell(clients[n]);
            child_end(child);
        }
}

static void io_uring_may_be_refused_from_the_beginning(void)
{
    without_io_uring_epoll_serves(SYS_io_uring_setup, 1);
}

static void a_ring_may_be_had_and_not_be_entered(void)
{
    without_io_uring_epoll_serves(SYS_io_uring_enter, 1);
}

static void a_ring_may_be_had_and_not_be_enabled(void)
{
    without_io_uring_epoll_serves(SYS_io_uring_register, 1);
}

static void entering_a_ring_may_be_refused_later(void)
{
    without_io_uring_epoll_serves(SYS_io_uring_enter, 0);
}

int main(void)
{
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    RUN(whoever_cannot_be_accepted_costs_nothing);
    RUN(io_uring_may_be_refused_from_the_beginning);
    RUN(a_ring_may_be_had_and_not_be_entered);
    RUN(a_ring_may_be_had_and_not_be_enabled);
    RUN(entering_a_ring_may_be_refused_later);
    return 0;
}
