/* Clients that arrive while a server closes are its own or nobody's, never a later server's. */
#include "check.h"
#include "client.h"
#include "port.h"
#include "process.h"
#include "serve.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>

enum { ROUNDS = 25, LOOPS = 4, ARRIVALS = 200, LATER = 200 };

static _Atomic int arrived;

static int begin_to_connect(uint32_t port)
{
    const struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port),
        .sin_addr = { htonl(INADDR_LOOPBACK) } };
    const int socket_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    CHECK(socket_ >= 0);
    if (connect(socket_, (const struct sockaddr *)&address, sizeof address) != 0)
        CHECK(errno == EINPROGRESS || errno == ECONNREFUSED);
    return socket_;
}

struct arrivals {
    uint32_t port;
    int sockets[ARRIVALS];
};

static void *arrive(void *arrivals_)
{
    struct arrivals *arrivals = arrivals_;

    for (int i = 0; i < ARRIVALS; ++i) {
        arrivals->sockets[i] = begin_to_connect(arrivals->port);
        atomic_store(&arrived, i + 1);
    }
    return NULL;
}

/* Whether a socket has come to its end, whatever way. */
static int has_ended(int socket_)
{
    char byte;
    const ssize_t count = recv(socket_, &byte, 1, MSG_DONTWAIT);

    return count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR);
}

static void close_while_clients_arrive(int round)
{
    struct arrivals arrivals;
    pthread_t thread;
    /* Else another program's server might have the port by the time the last of them come. */
    const int reservation = reserve_port(&arrivals.port);
    const portal_server server = serve_on(arrivals.port, (struct setting[]){ { PORTAL_OPTION_THREADS, LOOPS }, { 0 } });

    atomic_store(&arrived, 0);
    CHECK(pthread_create(&thread, NULL, arrive, &arrivals) == 0);
    /* Another moment in each round. */
    while (atomic_load(&arrived) < ARRIVALS * (round + 1) / (ROUNDS + 1))
        continue;
    CHECK_OK(portal_server_close(server));
    CHECK(pthread_join(thread, NULL) == 0);

    /* The next server has the loops' places, and no client; it would wait for their requests. */
    const portal_server next = SERVE({ PORTAL_OPTION_THREADS, LOOPS });
    for (int i = 0; i < ARRIVALS; ++i) {
        /* The system may drop a connection of a closed listener without a word, and says so when asked. */
        send(arrivals.sockets[i], "G", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        EVENTUALLY(has_ended(arrivals.sockets[i]));
        close(arrivals.sockets[i]);
    }
    CHECK_NUMBER(portal_server_metric(next, PORTAL_METRIC_CONNECTIONS_TOTAL), 0);
    CHECK_OK(portal_server_close(next));
    close(reservation);
}

/* Loops by the threads that their clients' callbacks run on. */
static pthread_t loops[LOOPS];
static int clients_of_loop[LOOPS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int32_t count_for_loop(portal_websocket websocket, const portal_request *request, void *user_data)
{
    int i = 0;

    pthread_mutex_lock(&lock);
    while (i < LOOPS && clients_of_loop[i] > 0 && !pthread_equal(loops[i], pthread_self()))
        ++i;
    CHECK(i < LOOPS);
    loops[i] = pthread_self();
    ++clients_of_loop[i];
    pthread_mutex_unlock(&lock);
    return 0;
}

static void later_clients_are_dealt_evenly(void)
{
    const portal_server server = SERVE({ PORTAL_OPTION_THREADS, LOOPS });
    client *clients[LATER];

    pthread_mutex_lock(&lock);
    memset(clients_of_loop, 0, sizeof clients_of_loop);
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < LATER; ++i)
        clients[i] = client_connect(portal_server_port(server), "/count");
    /* The 101 leaves after `connect`. */
    pthread_mutex_lock(&lock);
    for (int i = 0; i < LOOPS; ++i)
        CHECK_NUMBER(clients_of_loop[i], LATER / LOOPS);
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < LATER; ++i)
        client_destroy(clients[i]);
    CHECK_OK(portal_server_close(server));
}

int main(void)
{
    const portal_handlers handlers = { .size = sizeof handlers, .connect = count_for_loop };
    int descriptors;

    define("/count", &handlers, NULL);
    close_while_clients_arrive(0);
    descriptors = count_descriptors();
    for (int round = 0; round < ROUNDS; ++round) {
        close_while_clients_arrive(round);
        if (round % 5 == 0)
            later_clients_are_dealt_evenly();
    }
    CHECK_NUMBER(count_descriptors(), descriptors);
    return 0;
}
