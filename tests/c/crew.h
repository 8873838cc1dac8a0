/* Tests in processes of their own, several at a time: for those that wait most of the time. */
#ifndef CREW_H
#define CREW_H

#include "check.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct crew {
    int at_once; /* how many processes at a time */
    int running;
    int failed;
};

static inline void crew_wait_for_one(struct crew *self)
{
    int status;

    CHECK(wait(&status) > 0);
    self->failed += status != 0;
    self->running -= 1;
}

/* Is this the process that does the next piece of work? It ends with exit(0) if all was well. To be called
 * before this process starts a server. */
static inline int crew_fork(struct crew *self)
{
    pid_t process;

    if (self->running == self->at_once)
        crew_wait_for_one(self);
    fflush(stdout);
    process = fork();
    CHECK(process >= 0);
    if (process == 0)
        CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
    else
        self->running += 1;
    return process == 0;
}

/* ---- tests with names ---- */

struct crew_test {
    const char *name;
    void (*run)(void);
};

#define CREW_TEST(test) { #test, test }

/* Runs one, in the process that crew_fork has made for it, and says so. */
static inline void crew_run(const struct crew_test *test)
{
    printf("%s\n", test->name);
    fflush(stdout);
    test->run();
}

/* Waits for all. Returns how many failed. */
static inline int crew_wait(struct crew *self)
{
    while (self->running > 0)
        crew_wait_for_one(self);
    return self->failed;
}

#endif
