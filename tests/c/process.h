/* What this process holds of the system. */
#ifndef PROCESS_H
#define PROCESS_H

#include "check.h"

#include <dirent.h>

/* Entries of a folder under /proc/self. */
static inline int count_entries(const char *path)
{
    DIR *folder = opendir(path);
    int count = 0;

    CHECK(folder != NULL);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count;
}

static inline int count_descriptors(void)
{
    return count_entries("/proc/self/fd");
}

static inline int count_threads(void)
{
    return count_entries("/proc/self/task");
}

#endif
