/* A second file of the same program: what the header defines must not clash. What is declared here is
   hidden, as in a library that exports little; the header's functions are not, or this would not link. */
#include <stddef.h>
#include <stdint.h>
#pragma GCC visibility push(hidden)
#include <portal.h>
#pragma GCC visibility pop

extern const char *const version_elsewhere;
const char *const version_elsewhere = PORTAL_VERSION;

extern uint32_t number_elsewhere(void);
uint32_t number_elsewhere(void)
{
    return portal_version_number();
}
