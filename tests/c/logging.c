/* The log callback: what it is told, and that it is silent when it has been taken away. */
#include "check.h"
#include "client.h"
#include "serve.h"

#include <pthread.h>
#include <stdatomic.h>

static atomic_int lines, running;

static void count_lines(uint32_t level, const char *message, void *user_data)
{
    CHECK(level >= 1 && level <= 5);
    CHECK(message != NULL && message[0] != 0);
    CHECK(user_data == &lines);
    atomic_fetch_add(&running, 1);
    atomic_fetch_add(&lines, 1);
    /* A callback may call back; what that logs is dropped. */
    CHECK_STATUS(portal_server_close(0), PORTAL_STATUS_GONE);
    atomic_fetch_sub(&running, 1);
}

static void make_noise(void)
{
    const portal_server server = serve(NULL);
    client *self = client_connect(portal_server_port(server), "/echo");

    client_say(self, "words");
    client_expect_text(self, "words");
    client_send_frame(self, 0x8f, "", 0);
    client_expect_close(self, 1002, NULL);
    client_destroy(self);
    self = client_dial(portal_server_port(server));
    client_send_bytes(self, "no request at all\r\n\r\n", 21);
    CHECK_NUMBER(client_response(self).status, 400);
    client_destroy(self);
    CHECK_OK(portal_server_close(server));
}

static void everything_is_told_at_level_5(void)
{
    CHECK_OK(portal_set_log(5, count_lines, &lines));
    make_noise();
    CHECK(atomic_load(&lines) > 0);
}

static void nothing_is_told_after_it_was_taken_away(void)
{
    int before;

    CHECK_OK(portal_set_log(1, NULL, NULL));
    CHECK_NUMBER(atomic_load(&running), 0);
    before = atomic_load(&lines);
    make_noise();
    CHECK_NUMBER(atomic_load(&lines), before);
}

static atomic_int stop;

static void *make_much_noise(void *unused)
{
    while (!atomic_load(&stop))
        make_noise();
    return unused;
}

/* Its user_data says whether it may run. */
static void check_allowed(uint32_t level, const char *message, void *allowed)
{
    CHECK(atomic_load((atomic_int *)allowed));
}

static void a_callback_may_be_changed_under_load(void)
{
    pthread_t noise;
    atomic_int allowed;

    atomic_store(&stop, 0);
    CHECK(pthread_create(&noise, NULL, make_much_noise, NULL) == 0);
    for (int i = 0; i < 2000; ++i) {
        atomic_store(&allowed, 1);
        CHECK_OK(portal_set_log(5, check_allowed, &allowed));
        CHECK_OK(portal_set_log(1, NULL, NULL));
        atomic_store(&allowed, 0); /* it does not run any more */
    }
    atomic_store(&stop, 1);
    CHECK(pthread_join(noise, NULL) == 0);
}

static void take_itself_away(uint32_t level, const char *message, void *times)
{
    atomic_fetch_add((atomic_int *)times, 1);
    CHECK_OK(portal_set_log(1, NULL, NULL));
}

static void a_callback_may_take_itself_away(void)
{
    atomic_int times = 0;

    CHECK_OK(portal_set_log(5, take_itself_away, &times));
    make_noise();
    CHECK(atomic_load(&times) >= 1);
}

int main(void)
{
    define_echo("/echo");
    for (enum way way = BY_LOOP; way <= BY_PULL; ++way) {
        serve_by(way);
        RUN(everything_is_told_at_level_5);
        RUN(nothing_is_told_after_it_was_taken_away);
    }
    serve_by(BY_LOOP);
    RUN(a_callback_may_be_changed_under_load);
    RUN(a_callback_may_take_itself_away);
    return 0;
}
