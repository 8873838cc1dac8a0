/* bench-sends: the cost of a send from another thread to its caller, and how often it wakes the loop.
 *
 *   bench-sends THREADS MESSAGES [OPTION=VALUE...]
 *
 * A server with one loop, and one client that reads whatever comes. THREADS send MESSAGES of 20 bytes
 * each, at full speed; one that finds the queue full waits for `drain`. Options are two numbers, as for
 * bench-portal. Prints figures as JSON.
 */
#define _GNU_SOURCE /* gettid */
#include <portal.h>

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 20, FRAME = SIZE + 2, MAX_THREADS = 64 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
/* Protected by the lock: the websocket, the loop's thread, and the number of drains. */
static portal_websocket client;
static pid_t loop;
static unsigned drains;

static unsigned long messages;

static void must(int right, const char *what)
{
    if (right)
        return;
    fprintf(stderr, "bench-sends: cannot %s\n", what);
    exit(EXIT_FAILURE);
}

static int32_t on_connect(portal_websocket websocket, const portal_request *request, void *user_data)
{
    (void)request, (void)user_data;
    pthread_mutex_lock(&lock);
    client = websocket;
    loop = gettid();
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    return 0;
}

static void on_drain(portal_websocket websocket, void *user_data)
{
    (void)websocket, (void)user_data;
    pthread_mutex_lock(&lock);
    __atomic_add_fetch(&drains, 1, __ATOMIC_RELEASE);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static double now(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

/* Sends its share; stores the nanoseconds of processor time in `argument`. */
static void *send_all(void *argument)
{
    static const char payload[SIZE] = "twenty bytes of text";
    double *spent = argument;
    const double began = now(CLOCK_THREAD_CPUTIME_ID);

    for (unsigned long sent = 0; sent < messages;) {
        const unsigned seen = __atomic_load_n(&drains, __ATOMIC_ACQUIRE);
        const portal_status status = portal_send(client, PORTAL_MESSAGE_TEXT, payload, SIZE);
        if (status == PORTAL_STATUS_OK) {
            sent++;
            continue;
        }
        must(status == PORTAL_STATUS_FULL, "send");
        pthread_mutex_lock(&lock);
        while (drains == seen)
            pthread_cond_wait(&changed, &lock);
        pthread_mutex_unlock(&lock);
    }
    *spent = now(CLOCK_THREAD_CPUTIME_ID) - began;
    return NULL;
}

static int open_client(uint32_t port)
{
    static const char request[] =
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    const struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    const struct timeval patience = { .tv_sec = 20 };
    const int stream = socket(AF_INET, SOCK_STREAM, 0);
    char answer[1024] = "";
    size_t taken = 0;

    must(connect(stream, (const struct sockaddr *)&address, sizeof address) == 0, "connect");
    setsockopt(stream, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    must(write(stream, request, sizeof request - 1) == sizeof request - 1, "ask for a websocket");
    while (!strstr(answer, "\r\n\r\n")) {
        const ssize_t got = read(stream, answer + taken, sizeof answer - 1 - taken);
        must(got > 0, "read the answer");
        taken += (size_t)got;
        answer[taken] = '\0';
    }
    return stream;
}

/* The number of voluntary context switches of a thread of this process. */
static unsigned long waits(pid_t thread)
{
    char path[64], line[256];
    unsigned long count = 0;

    snprintf(path, sizeof path, "/proc/self/task/%d/status", (int)thread);
    FILE *status = fopen(path, "r");
    must(status != NULL, "read what the system knows of the loop");
    while (fgets(line, sizeof line, status))
        if (sscanf(line, "voluntary_ctxt_switches: %lu", &count) == 1)
            break;
    fclose(status);
    return count;
}

static portal_server start(int count, char **settings)
{
    const portal_handlers handlers = { .size = sizeof handlers, .connect = on_connect, .drain = on_drain };
    portal_options *options = portal_options_create();
    portal_server server;

    must(portal_define_path("/", &handlers, NULL) == PORTAL_STATUS_OK, "define the path");
    for (int index = 0; index < count; index++) {
        char *value;
        const uint32_t option = (uint32_t)strtoul(settings[index], &value, 10);
        must(*value == '=', "read an option");
        must(portal_options_set_number(options, option, atoll(value + 1)) == PORTAL_STATUS_OK, "set an option");
    }
    must(portal_server_start(0, options, &server) == PORTAL_STATUS_OK, "start");
    portal_options_destroy(options);
    return server;
}

int main(int argc, char **argv)
{
    pthread_t threads[MAX_THREADS];
    double spent[MAX_THREADS], sum = 0;
    char buffer[1 << 16];

    const int count = argc > 2 ? atoi(argv[1]) : 0;
    if (count < 1 || count > MAX_THREADS) {
        fprintf(stderr, "usage: bench-sends THREADS MESSAGES [OPTION=VALUE...]\n");
        return 2;
    }
    messages = strtoul(argv[2], NULL, 10);
    const portal_server server = start(argc - 3, argv + 3);
    const int stream = open_client(portal_server_port(server));
    pthread_mutex_lock(&lock);
    while (!client)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);

    const unsigned long before = waits(loop);
    const double began = now(CLOCK_MONOTONIC);
    for (int index = 0; index < count; index++)
        must(pthread_create(&threads[index], NULL, send_all, &spent[index]) == 0, "start a thread");
    for (unsigned long missing = (unsigned long)count * messages * FRAME; missing > 0;) {
        const ssize_t got = read(stream, buffer, sizeof buffer);
        must(got > 0 && (unsigned long)got <= missing, "read what was sent");
        missing -= (unsigned long)got;
    }
    const double took = now(CLOCK_MONOTONIC) - began;
    const unsigned long woken = waits(loop) - before;
    for (int index = 0; index < count; index++) {
        pthread_join(threads[index], NULL);
        sum += spent[index];
    }

    const double all = (double)count * (double)messages;
    printf("{\"thing\":\"send\",\"count\":%.0f,\"seconds\":%.6f,\"per_second\":%.0f,"
           "\"caller\":{\"ns\":%.2f},\"loop\":{\"waits\":%.6f}}\n",
           all, took / 1e9, all / (took / 1e9), sum / all, (double)woken / all);
    close(stream);
    must(portal_server_close(server) == PORTAL_STATUS_OK, "close");
    return EXIT_SUCCESS;
}
