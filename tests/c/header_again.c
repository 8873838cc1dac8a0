/* A second file of the same program: what the header defines must not clash. */
#include <portal.h>

extern const char *const version_elsewhere;
const char *const version_elsewhere = PORTAL_VERSION;
