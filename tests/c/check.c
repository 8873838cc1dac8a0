/* The one thing that every check shares: to say where and stop. */
#include "check.h"

#include <stdarg.h>
#include <unistd.h>

/* Leaves at once: threads of the server may still run, and must not be torn down under them. */
_Noreturn void check_fail(const char *file, int line, const char *format, ...)
{
    va_list arguments;

    fprintf(stderr, "%s:%d: ", file, line);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    fflush(NULL);
    _exit(1);
}
