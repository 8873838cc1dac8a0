/* The programs in c-examples do what they say. Called with the folder they were built in. */
#include "check.h"
#include "client.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *folder;

struct example {
    pid_t process;
    FILE *out;
    int in; /* what we type */
    uint32_t port;
};

/* Starts a program on a port, with its `output`, 1 or 2, for us to read. */
static struct example start(const char *name, uint32_t port, int output)
{
    char path[4096], number[20];
    int in[2], out[2];
    struct example example = { 0 };

    snprintf(path, sizeof path, "%s/%s", folder, name);
    snprintf(number, sizeof number, "%u", (unsigned)port);
    CHECK(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
    example.process = fork();
    CHECK(example.process >= 0);
    if (example.process == 0) {
        dup2(in[0], 0);
        dup2(out[1], output);
        execl(path, path, number, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    example.in = in[1];
    example.out = fdopen(out[0], "r");
    return example;
}

static struct example run(const char *name)
{
    struct example example = start(name, 0, 1);
    char line[200];
    unsigned port;

    CHECK(fgets(line, sizeof line, example.out) != NULL);
    CHECK(sscanf(line, "listening on ws://localhost:%u/", &port) == 1);
    CHECK(port > 0 && port < 65536);
    example.port = port;
    return example;
}

static void expect_success(struct example example)
{
    int status;

    CHECK(waitpid(example.process, &status, 0) == example.process);
    CHECK_NUMBER(status, 0);
    close(example.in);
    fclose(example.out);
}

static void type(struct example example, const char *line)
{
    CHECK(write(example.in, line, strlen(line)) == (ssize_t)strlen(line));
}

static void check_greeting_and_echo(const char *name, int end_signal)
{
    const struct example example = run(name);
    client *self = client_connect(example.port, "/echo");

    client_expect_text(self, "Welcome to echo server.");
    client_say(self, "Grüße");
    client_expect_text(self, "Grüße");
    client_send(self, BINARY, "\0\xff", 2);
    client_expect(self, BINARY, "\0\xff", 2);
    CHECK(kill(example.process, end_signal) == 0);
    client_expect_close(self, 1001, NULL); /* it closes in order */
    client_close(self, 1001, "");
    client_expect_end(self);
    client_destroy(self);
    expect_success(example);
}

static void echo_greets_echoes_and_ends_in_order(void)
{
    check_greeting_and_echo("echo", SIGTERM);
    check_greeting_and_echo("echo", SIGINT);
}

static void echo_in_cpp_does_the_same(void)
{
    check_greeting_and_echo("echo++", SIGTERM);
    check_greeting_and_echo("echo++", SIGINT);
}

static void echo_has_a_page(void)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    const struct example example = run("echo");
    client *self = client_dial(example.port);
    struct response response;

    client_send_bytes(self, request, strlen(request));
    response = client_response(self);
    CHECK_NUMBER(response.status, 200);
    CHECK(response_has(&response, "Content-Type: text/html; charset=utf-8"));
    CHECK(strstr(response.body, "new WebSocket(") != NULL);
    client_destroy(self);
    CHECK(kill(example.process, SIGTERM) == 0);
    expect_success(example);
}

/* The next line in the room; the time may be told in between. */
static void expect_line(client *self, const char *line)
{
    struct frame frame;

    do
        frame = client_read(self);
    while (strncmp((const char *)frame.payload, "clock: ", 7) == 0);
    CHECK_TEXT((const char *)frame.payload, line);
}

static void expect_time(client *self)
{
    while (strncmp((const char *)client_read(self).payload, "clock: ", 7) != 0)
        continue;
}

static void broadcast_tells_everybody_and_the_time(void)
{
    const struct example example = run("broadcast");
    client *ann = client_connect(example.port, "/room/Ann"), *ben;

    expect_line(ann, "Ann: (enters)");
    ben = client_connect(example.port, "/room/Ben%20B.");
    expect_line(ann, "Ben B.: (enters)");
    expect_line(ben, "Ben B.: (enters)");
    client_say(ben, "hello");
    expect_line(ann, "Ben B.: hello");
    expect_line(ben, "Ben B.: hello");
    client_close(ben, 1000, "");
    client_hear_out(ben);
    client_destroy(ben);
    expect_line(ann, "Ben B.: (leaves)");
    expect_time(ann);
    type(example, "\n");
    client_expect_close(ann, 1001, NULL);
    client_close(ann, 1001, "");
    client_destroy(ann);
    expect_success(example);
}

static void poll_serves_and_obeys_on_one_thread(void)
{
    const struct example example = run("poll");
    char line[100];
    client *self;

    type(example, "clients\n");
    CHECK(fgets(line, sizeof line, example.out) != NULL);
    CHECK_TEXT(line, "0\n");
    self = client_connect(example.port, "/echo");
    client_say(self, "words");
    client_expect_text(self, "words");
    type(example, "clients\nclients\n");
    for (int i = 0; i < 2; ++i) {
        CHECK(fgets(line, sizeof line, example.out) != NULL);
        CHECK_TEXT(line, "1\n");
    }
    type(example, "quit\n");
    client_expect_close(self, 1001, NULL);
    client_close(self, 1001, "");
    client_destroy(self);
    expect_success(example);
}

static void one_that_cannot_listen_says_why_and_fails(void)
{
    static const char *const names[] = { "echo", "echo++", "broadcast", "poll" };
    const struct example taken = run("echo");

    for (size_t i = 0; i < sizeof names / sizeof *names; ++i) {
        const struct example example = start(names[i], taken.port, 2);
        char line[200];
        int status;

        CHECK(fgets(line, sizeof line, example.out) != NULL);
        CHECK(strstr(line, names[i]) != NULL && strstr(line, "in use") != NULL);
        CHECK(waitpid(example.process, &status, 0) == example.process);
        CHECK_NUMBER(status, EXIT_FAILURE << 8);
        close(example.in);
        fclose(example.out);
    }
    CHECK(kill(taken.process, SIGTERM) == 0);
    expect_success(taken);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    folder = argv[1];
    RUN(echo_greets_echoes_and_ends_in_order);
    RUN(echo_in_cpp_does_the_same);
    RUN(echo_has_a_page);
    RUN(broadcast_tells_everybody_and_the_time);
    RUN(poll_serves_and_obeys_on_one_thread);
    RUN(one_that_cannot_listen_says_why_and_fails);
    return 0;
}
