/* A server in a process of its own, so that its memory, descriptors and time are its own. */
#ifndef CHILD_H
#define CHILD_H

#include <portal.h>

#include <sys/types.h>

struct child {
    pid_t process;
    uint32_t port;
    int lifeline; /* the child closes its server when this ends */
};

/* Forks, and runs `start` in the child. To be called before this process starts a server. */
struct child child_begin(portal_server (*start)(void));
/* Ends the child and fails the test unless all went well there. */
void child_end(struct child);

size_t child_memory(struct child);     /* resident bytes */
long child_time_ms(struct child);      /* of the processor, used so far */

#endif
