/* Each allocation that Portal makes is refused once, and each with all that follow it: the process lives
 * on, what is refused is told politely, and others are served as before.
 *
 * A run is a process of its own: a server, clients and an allocator that refuses the n-th request of one
 * phase. The runs that abort are counted, and compared with what the file in the first argument allows.
 * For people who look for one: a second argument names one phase, two more the first allocation that is
 * refused and the first that is not. */
#include "check.h"
#include "crew.h"

#include <arpa/inet.h>
#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- an allocator that refuses ---- */

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

static atomic_bool armed;
static atomic_long asked, refuse_from, refuse_to;

static int is_refused(void)
{
    long number;

    if (!atomic_load(&armed))
        return 0;
    number = atomic_fetch_add(&asked, 1) + 1;
    if (number < atomic_load(&refuse_from) || number >= atomic_load(&refuse_to))
        return 0;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t size) { return is_refused() ? NULL : __libc_malloc(size); }
void *calloc(size_t count, size_t size) { return is_refused() ? NULL : __libc_calloc(count, size); }
void *realloc(void *old, size_t size) { return is_refused() ? NULL : __libc_realloc(old, size); }
void *memalign(size_t alignment, size_t size) { return is_refused() ? NULL : __libc_memalign(alignment, size); }
void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }

/* Large blocks are mapped. */
void *mmap(void *address, size_t len, int protection, int flags, int descriptor, off_t offset)
{
    if (descriptor == -1 && is_refused())
        return MAP_FAILED;
    return (void *)syscall(SYS_mmap, address, len, protection, flags, descriptor, offset);
}

void *mremap(void *old, size_t old_len, size_t len, int flags, ...)
{
    return len > old_len && is_refused() ? MAP_FAILED : (void *)syscall(SYS_mremap, old, old_len, len, flags);
}

int posix_memalign(void **place, size_t alignment, size_t size)
{
    void *block = memalign(alignment, size);

    if (block == NULL)
        return ENOMEM;
    *place = block;
    return 0;
}

/* ---- clients without an allocation ---- */

enum { LARGE = 100000 };

static uint8_t large[LARGE + 64];

/* A handler's call was refused, or `error` was told: there need not be an answer. */
static atomic_int handled;

/* The websocket that has connected last. */
static _Atomic portal_websocket newest;

/* A server of dispatch HOST, which is driven while something is waited for. */
static portal_server hosted;

static void drive(void)
{
    portal_pulled events[8];

    if (hosted == 0)
        return;
    const int32_t count = portal_server_pull(hosted, 0, events, COUNT(events), sizeof *events);
    for (int32_t i = 0; i < count; ++i)
        if (events[i].event == PORTAL_EVENT_CONNECT)
            atomic_store(&newest, events[i].websocket);
        else if (events[i].event == PORTAL_EVENT_ERROR
            || (events[i].event == PORTAL_EVENT_MESSAGE
                && portal_send(events[i].websocket, events[i].type, events[i].data, events[i].len) != PORTAL_STATUS_OK))
            atomic_store(&handled, 1);
}

static int dial(uint32_t port)
{
    const struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                                         .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    const int socket_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK(socket_ >= 0);
    CHECK(connect(socket_, (const struct sockaddr *)&address, sizeof address) == 0);
    return socket_;
}

/* Says it, unless the other end has gone. */
static void say(int self, const void *bytes, size_t len)
{
    const char *from = bytes;

    while (len > 0) {
        const ssize_t sent = send(self, from, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN)
            return;
        if (sent < 0) {
            drive();
            poll(&(struct pollfd){ self, POLLOUT, 0 }, 1, 1);
            continue;
        }
        from += sent;
        len -= (size_t)sent;
    }
}

static void say_frame(int self, unsigned first, const void *payload, size_t len)
{
    uint8_t head[14] = { (uint8_t)first };
    size_t at = 2;

    head[1] = 0x80 | (uint8_t)(len < 126 ? len : len < 65536 ? 126 : 127);
    if (len >= 126)
        for (int byte = len < 65536 ? 1 : 7; byte >= 0; --byte)
            head[at++] = (uint8_t)((uint64_t)len >> (8 * byte));
    /* The mask is zero: the payload goes as it is. */
    say(self, head, at + 4);
    say(self, payload, len);
}

/* What a wait for bytes has come to. */
enum { HEARD, ENDED, SILENT };

/* Waits for a byte, which is left. */
static int hear(int self, int patience_ms, const atomic_int *or_this)
{
    const long long deadline = now_ms() + patience_ms;

    for (;;) {
        struct pollfd one = { self, POLLIN, 0 };
        char byte;
        drive();
        if (poll(&one, 1, 1) > 0) {
            const ssize_t count = recv(self, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
            if (count != -1 || errno != EAGAIN)
                return count > 0 ? HEARD : ENDED;
        }
        if (or_this != NULL && atomic_load(or_this))
            return SILENT;
        if (now_ms() > deadline) {
            if (or_this != NULL)
                FAIL("neither an answer nor an end");
            return SILENT;
        }
    }
}

/* Reads exactly these bytes. */
static void expect(int self, const void *bytes, size_t len)
{
    const uint8_t *expected = bytes;
    uint8_t heard[4096];

    while (len > 0) {
        if (hear(self, PATIENCE_MS, NULL) != HEARD)
            FAIL("%zu bytes were not heard", len);
        const ssize_t count = recv(self, heard, len < sizeof heard ? len : sizeof heard, 0);
        CHECK(count > 0 && memcmp(heard, expected, (size_t)count) == 0);
        expected += count;
        len -= (size_t)count;
    }
}

/* Reads whatever comes; for good, or as long as something comes. */
static void hear_out(int self, int to_the_end)
{
    uint8_t heard[65536];

    for (;;) {
        if (hear(self, to_the_end ? PATIENCE_MS : 20, NULL) != HEARD) {
            return;
        }
        if (recv(self, heard, sizeof heard, MSG_DONTWAIT) <= 0)
            return;
    }
}

#define REQUEST(path, more) \
    "GET " path " HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" more "\r\n"
#define COMPRESSED "Sec-WebSocket-Extensions: permessage-deflate\r\n"

static const char plain[] = REQUEST("/room/blue?x=y", "Cookie: a=b\r\nCookie: c=d\r\nSec-WebSocket-Protocol: one, two\r\n");
static const char squeezed[] = REQUEST("/room/blue", COMPRESSED);

/* Reads an answer's head. */
static void expect_head(int self)
{
    static const char end[] = "\r\n\r\n";
    char byte;

    for (int matched = 0; matched < 4;) {
        CHECK(hear(self, PATIENCE_MS, NULL) == HEARD);
        CHECK(recv(self, &byte, 1, 0) == 1);
        matched = byte == end[matched] ? matched + 1 : byte == end[0];
    }
}

static int join(uint32_t port, const char *request)
{
    static const char good[] = "HTTP/1.1 101 ";
    const int self = dial(port);

    say(self, request, strlen(request));
    expect(self, good, sizeof good - 1);
    expect_head(self);
    return self;
}

static void expect_echo(int self)
{
    say_frame(self, 0x81, "well?", 5);
    expect(self, "\x81\x05well?", 7);
}

/* ---- the application ---- */

static int32_t remember(portal_websocket websocket, const portal_request *request, void *user_data)
{
    CHECK(portal_request_param(request, "name") != NULL);
    atomic_store(&newest, websocket);
    return 0;
}

static int32_t answer(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    const char *text = data;
    int32_t status = PORTAL_STATUS_OK;

    if (len == 4 && memcmp(text, "ping", 4) == 0)
        status = portal_ping(websocket, "p", 1);
    else if (len == 5 && memcmp(text, "close", 5) == 0)
        status = portal_close(websocket, 1000, "enough");
    else if (len == 5 && memcmp(text, "large", 5) == 0)
        status = portal_send(websocket, PORTAL_MESSAGE_BINARY, large, LARGE);
    else
        status = portal_send(websocket, type, data, len);
    if (status != PORTAL_STATUS_OK && status != PORTAL_STATUS_MEMORY && status != PORTAL_STATUS_GONE)
        FAIL("a handler's call answers %s", portal_status_name(status));
    return status;
}

static void count_error(portal_websocket websocket, const portal_error *error, void *user_data)
{
    atomic_store(&handled, 1);
}

static int32_t define_room(void)
{
    const portal_handlers handlers = { .size = sizeof handlers, .connect = remember, .message = answer, .error = count_error };
    return portal_define_path("/room/{name}", &handlers, NULL);
}

/* ---- phases ---- */

struct run {
    uint32_t dispatch;
    uint32_t deflate;
    portal_server server;
    uint32_t port;
    int bystander;
};

static void arm(void) { atomic_store(&armed, 1); }
static void disarm(void) { atomic_store(&armed, 0); }

static int32_t polite(int32_t status)
{
    if (status != PORTAL_STATUS_OK && status != PORTAL_STATUS_MEMORY)
        FAIL("%s", portal_status_name(status));
    return status;
}

/* What was taken comes, or the client's connection ends. */
static void expect_if_ok(int self, int32_t sent)
{
    if (polite(sent) == PORTAL_STATUS_OK && hear(self, PATIENCE_MS, NULL) == SILENT)
        FAIL("a message that was taken has not come");
    hear_out(self, 0);
}

static int32_t start(struct run *run)
{
    portal_options *options = portal_options_create();
    int32_t status;

    if (options == NULL)
        return PORTAL_STATUS_MEMORY;
    status = portal_options_set_number(options, PORTAL_OPTION_DISPATCH, run->dispatch);
    if (status == PORTAL_STATUS_OK)
        status = portal_options_set_number(options, PORTAL_OPTION_DEFLATE, run->deflate);
    if (status == PORTAL_STATUS_OK)
        status = portal_options_set_text(options, PORTAL_OPTION_SUBPROTOCOLS, "two,one");
    if (status == PORTAL_STATUS_OK)
        status = portal_server_start(0, options, &run->server);
    portal_options_destroy(options);
    return status;
}

static void begin(struct run *run)
{
    CHECK_OK(define_room());
    CHECK_OK(start(run));
    run->port = portal_server_port(run->server);
    if (run->dispatch == PORTAL_DISPATCH_HOST)
        hosted = run->server;
    run->bystander = join(run->port, plain);
    expect_echo(run->bystander);
}

static void pull_to_the_end(void)
{
    while (hosted != 0) {
        portal_pulled event;
        if (portal_server_pull(hosted, 20, &event, 1, sizeof event) == PORTAL_STATUS_GONE)
            hosted = 0;
    }
}

/* Of a server that has begun to close, and may have ended. */
static void expect_closed(int32_t status)
{
    if (status != PORTAL_STATUS_OK && status != PORTAL_STATUS_GONE)
        FAIL("%s", portal_status_name(status));
}

/* All is as ever: for one who was there, and for one who comes. */
static void end(struct run *run)
{
    disarm();
    expect_echo(run->bystander);
    const int newcomer = join(run->port, run->deflate ? squeezed : plain);
    expect_echo(newcomer);
    close(newcomer);
    close(run->bystander);
    CHECK_OK(portal_server_begin_close(run->server));
    pull_to_the_end();
    expect_closed(portal_server_close(run->server));
}

static void definition(struct run *run)
{
    static char path[5000] = "/";

    memset(path + 1, 'p', sizeof path - 2);
    arm();
    polite(define_room());
    polite(define_room());
    polite(portal_define_page("/page", "text/plain", large, 5000));
    const portal_handlers handlers = { .size = sizeof handlers };
    if (polite(portal_define_path(path, &handlers, NULL)) == PORTAL_STATUS_OK)
        polite(portal_undefine_path(path));
    polite(portal_define_path("/files/{*rest}", &handlers, NULL));
    disarm();
    begin(run);
    end(run);
}

static void long_definition(struct run *run)
{
    static char path[300000] = "/";

    memset(path + 1, 'p', sizeof path - 2);
    for (size_t at = 100000; at < sizeof path - 1; at += 100000)
        path[at] = '/';
    const portal_handlers handlers = { .size = sizeof handlers };
    arm();
    if (polite(portal_define_path(path, &handlers, NULL)) == PORTAL_STATUS_OK)
        polite(portal_undefine_path(path));
    disarm();
    begin(run);
    end(run);
}

static void starting(struct run *run)
{
    CHECK_OK(define_room());
    arm();
    const int32_t status = start(run);
    disarm();
    if (status == PORTAL_STATUS_OK)
        CHECK_OK(portal_server_close(run->server));
    else if (status != PORTAL_STATUS_MEMORY && status != PORTAL_STATUS_IO)
        FAIL("%s", portal_status_name(status));
    begin(run);
    end(run);
}

static void handshake(struct run *run)
{
    begin(run);
    const int self = dial(run->port);
    arm();
    say(self, plain, 40);
    hear(self, 5, NULL);
    say(self, plain + 40, sizeof plain - 41);
    /* While memory is refused nobody is accepted. */
    hear(self, 300, NULL);
    disarm();
    hear(self, PATIENCE_MS, NULL);
    close(self);
    end(run);
}

/* By another thread, and in a handler. */
static void sending(struct run *run)
{
    begin(run);
    const portal_websocket websocket = atomic_load(&newest);
    arm();
    expect_if_ok(run->bystander, portal_send(websocket, PORTAL_MESSAGE_TEXT, "word", 4));
    expect_if_ok(run->bystander, portal_send(websocket, PORTAL_MESSAGE_BINARY, large, LARGE));
    if (run->dispatch != PORTAL_DISPATCH_HOST) {
        say_frame(run->bystander, 0x81, "large", 5);
        hear(run->bystander, PATIENCE_MS, &handled);
    }
    hear_out(run->bystander, 0);
    disarm();
    if (hear(run->bystander, 0, NULL) == ENDED) {
        close(run->bystander);
        run->bystander = join(run->port, plain);
    }
    else
        EVENTUALLY((drive(), hear_out(run->bystander, 0), portal_queued(websocket) == 0));
    end(run);
}

/* Cut messages, fragments, and more than is read at once. */
static void receipt(struct run *run)
{
    begin(run);
    const int self = join(run->port, plain);
    expect_echo(self);
    arm();
    say(self, "\x81\x85\0\0\0\0wo", 8);
    hear(self, 5, NULL);
    say(self, "rds", 3);
    say_frame(self, 0x01, "frag", 4);
    say_frame(self, 0x80, "ment", 4);
    say_frame(self, 0x82, large, 3000);
    hear(self, 300, &handled);
    hear_out(self, 0);
    say_frame(self, 0x82, large, LARGE);
    hear(self, PATIENCE_MS, &handled);
    hear_out(self, 0);
    disarm();
    close(self);
    end(run);
}

static void pings(struct run *run)
{
    begin(run);
    const portal_websocket websocket = atomic_load(&newest);
    arm();
    polite(portal_ping(websocket, "p", 1));
    hear_out(run->bystander, 0);
    say_frame(run->bystander, 0x8a, "p", 1);
    say_frame(run->bystander, 0x89, "q", 1);
    hear_out(run->bystander, 0);
    if (run->dispatch != PORTAL_DISPATCH_HOST) {
        say_frame(run->bystander, 0x81, "ping", 4);
        hear(run->bystander, PATIENCE_MS, &handled);
    }
    hear_out(run->bystander, 0);
    disarm();
    if (hear(run->bystander, 0, NULL) == ENDED) {
        close(run->bystander);
        run->bystander = join(run->port, plain);
    }
    end(run);
}

static void closing(struct run *run)
{
    begin(run);
    const int by_thread = join(run->port, plain);
    expect_echo(by_thread);
    const portal_websocket websocket = atomic_load(&newest);
    const int by_handler = join(run->port, plain), by_client = join(run->port, plain);
    expect_echo(by_client);
    arm();
    const int32_t closed = polite(portal_close(websocket, 1000, "enough"));
    if (run->dispatch != PORTAL_DISPATCH_HOST)
        say_frame(by_handler, 0x81, "close", 5);
    say_frame(by_client, 0x88, "\x03\xe8", 2);
    hear_out(by_client, 1);
    if (closed == PORTAL_STATUS_OK) {
        hear(by_thread, PATIENCE_MS, NULL);
        say_frame(by_thread, 0x88, "\x03\xe8", 2);
        hear_out(by_thread, 1);
        close(by_thread);
        EVENTUALLY((drive(), portal_state_of(websocket) == PORTAL_STATE_CLOSED));
    }
    hear_out(by_handler, 0);
    disarm();
    if (closed != PORTAL_STATUS_OK)
        close(by_thread);
    close(by_handler);
    close(by_client);
    end(run);
}

/* The server's close while memory is refused. */
static void ending(struct run *run)
{
    begin(run);
    const int self = join(run->port, plain);
    arm();
    CHECK_OK(portal_server_begin_close(run->server));
    hear(self, PATIENCE_MS, NULL);
    close(self);
    close(run->bystander);
    pull_to_the_end();
    const int32_t status = portal_server_close(run->server);
    disarm();
    expect_closed(status);
}

/* Compressed messages in both directions. */
static void compressed(struct run *run)
{
    static const uint8_t stored[] = "\x00\x05\x00\xfa\xff" "words\x00";
    static char text[3000];

    begin(run);
    const int self = join(run->port, squeezed);
    expect_echo(self);
    const portal_websocket websocket = atomic_load(&newest);
    memset(text, 't', sizeof text);
    arm();
    expect_if_ok(self, portal_send(websocket, PORTAL_MESSAGE_TEXT, text, sizeof text));
    say_frame(self, 0xc1, stored, sizeof stored - 1);
    hear(self, PATIENCE_MS, &handled);
    say_frame(self, 0x82, text, sizeof text);
    hear_out(self, 0);
    disarm();
    close(self);
    end(run);
}

static const struct phase {
    const char *name;
    void (*work)(struct run *);
    uint32_t dispatch;
    uint32_t deflate;
} phases[] = {
    { "definition", definition, PORTAL_DISPATCH_IO, 1 },
    { "long_definition", long_definition, PORTAL_DISPATCH_IO, 1 },
    { "start", starting, PORTAL_DISPATCH_IO, 1 },
    { "start_host", starting, PORTAL_DISPATCH_HOST, 1 },
    { "handshake", handshake, PORTAL_DISPATCH_IO, 1 },
    { "handshake_per_client", handshake, PORTAL_DISPATCH_PER_CLIENT, 1 },
    { "handshake_pull", handshake, PORTAL_DISPATCH_HOST, 1 },
    { "send", sending, PORTAL_DISPATCH_IO, 1 },
    { "send_per_client", sending, PORTAL_DISPATCH_PER_CLIENT, 1 },
    { "send_pull", sending, PORTAL_DISPATCH_HOST, 1 },
    { "receipt", receipt, PORTAL_DISPATCH_IO, 1 },
    { "receipt_per_client", receipt, PORTAL_DISPATCH_PER_CLIENT, 1 },
    { "receipt_pull", receipt, PORTAL_DISPATCH_HOST, 1 },
    { "ping", pings, PORTAL_DISPATCH_IO, 1 },
    { "ping_per_client", pings, PORTAL_DISPATCH_PER_CLIENT, 1 },
    { "close", closing, PORTAL_DISPATCH_IO, 1 },
    { "close_per_client", closing, PORTAL_DISPATCH_PER_CLIENT, 1 },
    { "close_pull", closing, PORTAL_DISPATCH_HOST, 1 },
    { "end", ending, PORTAL_DISPATCH_IO, 1 },
    { "end_per_client", ending, PORTAL_DISPATCH_PER_CLIENT, 1 },
    { "end_pull", ending, PORTAL_DISPATCH_HOST, 1 },
    { "compressed", compressed, PORTAL_DISPATCH_IO, 1 },
    { "compressed_takeover", compressed, PORTAL_DISPATCH_IO, 2 },
    { "compressed_takeover_per_client", compressed, PORTAL_DISPATCH_PER_CLIENT, 2 },
};

/* ---- runs ---- */

struct count {
    int runs, aborts, wrong;
};

static void run_once(const struct phase *phase, long from, long to, int report)
{
    struct run run = { phase->dispatch, phase->deflate, 0, 0, -1 };
    const struct rlimit none = { 0, 0 };
    long counted;

    setrlimit(RLIMIT_CORE, &none);
    alarm(3 * PATIENCE_MS / 1000);
    atomic_store(&refuse_from, from);
    atomic_store(&refuse_to, to);
    phase->work(&run);
    counted = atomic_load(&asked);
    CHECK(write(report, &counted, sizeof counted) == sizeof counted);
    _exit(0);
}

/* Runs a phase with these allocations refused. Answers how many were asked for, or what went wrong. */
enum { ABORTED = -1, WRONG = -2 };

static long run_apart(const struct phase *phase, long from, long to)
{
    int ends[2], status;
    long counted = ABORTED;
    pid_t process;

    CHECK(pipe(ends) == 0);
    process = fork();
    CHECK(process >= 0);
    if (process == 0)
        run_once(phase, from, to, ends[1]);
    close(ends[1]);
    CHECK(waitpid(process, &status, 0) == process);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        CHECK(read(ends[0], &counted, sizeof counted) == sizeof counted);
    else if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT) {
        fprintf(stderr, "%s %ld %ld: status %x\n", phase->name, from, to, (unsigned)status);
        counted = WRONG;
    }
    close(ends[0]);
    return counted;
}

static struct count run_phase(const struct phase *phase, int lasting)
{
    struct count count = { 0, 0, 0 };

    /* An abort hides how many would have been asked for: three beyond the last that was known end it. */
    for (long number = 1, beyond = 0; beyond < 3; ++number) {
        const long counted = run_apart(phase, number, lasting ? INT32_MAX : number + 1);
        count.runs += 1;
        count.aborts += counted == ABORTED;
        count.wrong += counted == WRONG;
        beyond = counted >= 0 && counted < number ? beyond + 1 : 0;
        CHECK(count.runs < 2000);
    }
    return count;
}

static int allowed(FILE *file, const char *name, const char *manner)
{
    char line[256], known[64], known_manner[64];
    int aborts;

    rewind(file);
    while (fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "%63s %63s %d", known, known_manner, &aborts) == 3 && strcmp(known, name) == 0
            && strcmp(known_manner, manner) == 0)
            return aborts;
    return 0;
}

/* Runs one phase in one manner. Ends the process, with 0 if nothing was wrong. */
static _Noreturn void judge(const struct phase *phase, int lasting, FILE *file)
{
    const char *manner = lasting ? "lasting" : "single";
    const struct count count = run_phase(phase, lasting);
    const int limit = allowed(file, phase->name, manner);

    printf("%-32s %-8s %4d runs, %4d aborts, %4d allowed, %d wrong\n", phase->name, manner, count.runs,
           count.aborts, limit, count.wrong);
    CHECK(fclose(file) == 0);
    exit(count.aborts > limit || count.wrong > 0);
}

/* A run waits most of the time, for silence or an end. */
enum { AT_ONCE = 6 };

int main(int argc, char **argv)
{
    struct crew crew = { AT_ONCE, 0, 0 };

    CHECK(argc >= 2);
    for (size_t job = 0; job < 2 * COUNT(phases); ++job) {
        const struct phase *phase = &phases[job / 2];
        const int lasting = job % 2 == 1;
        if (argc > 2 && strcmp(argv[2], phase->name) != 0)
            continue;
        if (argc == 5)
            run_once(phase, atol(argv[3]), atol(argv[4]), STDERR_FILENO);
        if (crew_fork(&crew)) {
            FILE *file = fopen(argv[1], "r");
            CHECK(file != NULL);
            judge(phase, lasting, file);
        }
    }
    return crew_wait(&crew) > 0;
}
