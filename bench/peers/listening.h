/* The listener of both floors. */

#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

static int listen_on(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, SOMAXCONN)
        || getsockname(listener, (struct sockaddr *)&address, &size))
        err(1, "cannot listen");
    printf("listening on ws://localhost:%d/\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}
