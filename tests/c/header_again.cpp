// The second file, seen by a C++ compiler.
#include "header_again.c"
