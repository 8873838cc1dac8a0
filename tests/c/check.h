/* Checks that stop the program at the line that failed, and deadlines so that no wait is endless. */
#ifndef CHECK_H
#define CHECK_H

#include <portal.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* How long anything may take that ought to happen at once: ample, for busy machines and valgrind. */
#define PATIENCE_MS 120000

#define FAIL(...) check_fail(__FILE__, __LINE__, __VA_ARGS__)
#define CHECK(condition) ((condition) ? (void)0 : FAIL("not so: %s", #condition))
#define CHECK_NUMBER(actual, expected) check_number(__FILE__, __LINE__, #actual, (long long)(actual), (long long)(expected))
#define CHECK_STATUS(actual, expected) check_status(__FILE__, __LINE__, #actual, actual, expected)
#define CHECK_OK(actual) CHECK_STATUS(actual, PORTAL_STATUS_OK)
#define CHECK_TEXT(actual, expected) check_text(__FILE__, __LINE__, #actual, actual, expected)

/* Looks again and again until the condition holds. */
#define EVENTUALLY(condition) \
    do { \
        const long long eventually_deadline = now_ms() + PATIENCE_MS; \
        while (!(condition)) { \
            if (now_ms() > eventually_deadline) \
                FAIL("never so: %s", #condition); \
            pause_ms(1); \
        } \
    } while (0)

/* Runs one test and says so. */
#define RUN(test) \
    do { \
        printf("%s\n", #test); \
        fflush(stdout); \
        test(); \
    } while (0)

#define COUNT(array) (sizeof(array) / sizeof *(array))

static inline long long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static inline void pause_ms(long ms)
{
    const struct timespec pause = { ms / 1000, ms % 1000 * 1000000 };
    nanosleep(&pause, NULL);
}

_Noreturn void check_fail(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));

static inline void check_number(const char *file, int line, const char *what, long long actual, long long expected)
{
    if (actual != expected)
        check_fail(file, line, "%s is %lld, not %lld", what, actual, expected);
}

static inline void check_status(const char *file, int line, const char *what, int32_t actual, int32_t expected)
{
    if (actual != expected)
        check_fail(file, line, "%s is %s, not %s", what, portal_status_name(actual), portal_status_name(expected));
}

static inline void check_text(const char *file, int line, const char *what, const char *actual, const char *expected)
{
    if (actual == NULL || strcmp(actual, expected) != 0)
        check_fail(file, line, "%s is \"%s\", not \"%s\"", what, actual != NULL ? actual : "(NULL)", expected);
}

#endif
