/* A port that stays the test's own while no server listens on it: however many programs ask the system for a
 * free one meanwhile, it is given to none. */
#ifndef PORT_H
#define PORT_H

#include "check.h"

#include <netinet/in.h>
#include <sys/socket.h>

/* Returns a socket that holds the port until it is closed, and does not listen. */
static inline int reserve_port(uint32_t *port)
{
    const int reservation = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT };
    socklen_t size = sizeof address;
    const int yes = 1;

    CHECK(reservation >= 0);
    CHECK(setsockopt(reservation, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0);
    CHECK(bind(reservation, (const struct sockaddr *)&address, size) == 0);
    CHECK(getsockname(reservation, (struct sockaddr *)&address, &size) == 0);
    *port = ntohs(address.sin6_port);
    return reservation;
}

#endif
