// The same promises, seen by a C++ compiler.
#include "header.c"
