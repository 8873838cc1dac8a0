/* The server of the tests in this folder.
 *
 *   server [OPTION=NUMBER...]     numbers as in portal.h
 *
 * It prints its port, echoes on /echo, and closes when its input ends. With DISPATCH HOST (3=2) it serves by run on
 * the thread that has started it. Its log goes to stderr. It ends with 3 when the start fails, with 4 when the server
 * has closed by itself. */
#include <portal.h>

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

static portal_server server;

static void log_line(uint32_t level, const char *message, void *user_data)
{
    (void)user_data;
    fprintf(stderr, "log %u: %s\n", (unsigned)level, message);
}

static int32_t echo(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    (void)user_data;
    return portal_send(websocket, type, data, len);
}

static void *close_at_the_end(void *unused)
{
    char line;

    while (read(0, &line, 1) > 0)
        continue;
    if (portal_server_close(server) != PORTAL_STATUS_OK)
        _exit(4);
    return unused;
}

int main(int argc, char **argv)
{
    const portal_handlers handlers = { .size = sizeof handlers, .message = echo };
    portal_options *options = portal_options_create();
    portal_status status;
    pthread_t closer;
    int hosts = 0;

    /* Whoever may trace at all may trace this. */
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
    portal_set_log(3, log_line, NULL);
    portal_define_path("/echo", &handlers, NULL);
    for (int i = 1; i < argc; ++i) {
        unsigned option;
        long long number;

        if (sscanf(argv[i], "%u=%lld", &option, &number) != 2
            || portal_options_set_number(options, option, number) != PORTAL_STATUS_OK)
            return 2;
        hosts |= option == PORTAL_OPTION_DISPATCH && number == PORTAL_DISPATCH_HOST;
    }
    status = portal_server_start(0, options, &server);
    portal_options_destroy(options);
    if (status != PORTAL_STATUS_OK) {
        fprintf(stderr, "start: %s\n", portal_status_name(status));
        return 3;
    }
    printf("%u\n", (unsigned)portal_server_port(server));
    fflush(stdout);
    if (pthread_create(&closer, NULL, close_at_the_end, NULL) != 0)
        return 5;
    if (hosts)
        portal_server_run(server);
    return pthread_join(closer, NULL) != 0;
}
