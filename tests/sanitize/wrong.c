/* Does on purpose what a sanitizer is to report: lends Portal memory that is freed, or that another thread
 * writes to meanwhile.
 *
 *   wrong address|thread
 */
#include <portal.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 1 << 16 };

static atomic_int done;

static void *write_on(void *content)
{
    while (!atomic_load_explicit(&done, memory_order_relaxed))
        ((volatile char *)content)[SIZE / 2] ^= 1;
    return NULL;
}

int main(int argc, char **argv)
{
    char *content = calloc(1, SIZE);
    pthread_t writer;

    if (argc != 2 || content == NULL)
        return 2;
    if (strcmp(argv[1], "address") == 0) {
        free(content);
        portal_define_page("/wrong", "text/plain", content, SIZE);
        return 0;
    }
    if (pthread_create(&writer, NULL, write_on, content) != 0)
        return 2;
    for (int round = 0; round < 1000; ++round)
        portal_define_page("/wrong", "text/plain", content, SIZE);
    atomic_store(&done, 1);
    pthread_join(writer, NULL);
    free(content);
    return 0;
}
