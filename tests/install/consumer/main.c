/* A program of somebody else: it serves for a moment, with the library that it was compiled against. */
#include <portal.h>

#include <stdio.h>
#include <string.h>

int main(void)
{
    const portal_handlers handlers = { .size = sizeof handlers };
    portal_server server;

    if (strcmp(portal_version(), PORTAL_VERSION) != 0)
        return 1;
    if (portal_define_path("/", &handlers, NULL) != PORTAL_STATUS_OK
        || portal_server_start(0, NULL, &server) != PORTAL_STATUS_OK)
        return 1;
    printf("portal %s on port %u\n", portal_version(), (unsigned)portal_server_port(server));
    return portal_server_close(server) == PORTAL_STATUS_OK ? 0 : 1;
}
