/* CLOSE_CODE: what a closing server tells its clients. */
#include "check.h"
#include "client.h"
#include "journal.h"
#include "serve.h"

static int told; /* whether callbacks run */

static void expect_close_code(const struct setting *settings, uint32_t code)
{
    const portal_server server = serve(settings);
    client *self = client_connect(portal_server_port(server), "/record");

    if (told)
        journal_expect(PORTAL_EVENT_CONNECT);
    CHECK_OK(portal_server_begin_close(server));
    client_expect_close(self, code, "");
    client_close(self, code, "");
    client_expect_end(self);
    client_destroy(self);
    if (told)
        CHECK_NUMBER(journal_expect(PORTAL_EVENT_DISCONNECT).type, code);
}

static void clients_are_told_the_close_code(void)
{
    static const uint32_t codes[] = { 1001, 1012, 1013, 3000, 4999 };

    expect_close_code(NULL, 1001);
    for (size_t i = 0; i < COUNT(codes); ++i)
        expect_close_code((const struct setting[]){ { PORTAL_OPTION_CLOSE_CODE, codes[i] }, { 0 } }, codes[i]);
}

static void no_other_code_can_be_set(void)
{
    static const int64_t codes[] = { -1, 0, 1000, 1002, 1005, 1006, 1011, 1014, 1015, 2999, 5000, 66537 };
    portal_options *options = options_with(NULL);

    for (size_t i = 0; i < COUNT(codes); ++i)
        CHECK_STATUS(portal_options_set_number(options, PORTAL_OPTION_CLOSE_CODE, codes[i]), PORTAL_STATUS_ARGUMENT);
    CHECK_STATUS(portal_options_set_text(options, PORTAL_OPTION_CLOSE_CODE, "1012"), PORTAL_STATUS_ARGUMENT);
    portal_options_destroy(options);
}

static void who_is_idle_is_told_1001_all_the_same(void)
{
    const portal_server server = SERVE({ PORTAL_OPTION_CLOSE_CODE, 1012 }, { PORTAL_OPTION_IDLE_TIMEOUT, 50 });
    client *self = client_connect(portal_server_port(server), "/record");

    client_expect_close(self, 1001, "");
    client_close(self, 1001, "");
    client_expect_end(self);
    client_destroy(self);
    if (told) {
        journal_expect(PORTAL_EVENT_CONNECT);
        CHECK_NUMBER(journal_expect(PORTAL_EVENT_DISCONNECT).type, 1001);
    }
    CHECK_OK(portal_server_close(server));
}

int main(void)
{
    define("/record", &recording, NULL);
    for (enum way way = BY_LOOP; way <= BY_PULL; ++way) {
        serve_by(way);
        told = way != BY_PULL;
        RUN(clients_are_told_the_close_code);
        RUN(who_is_idle_is_told_1001_all_the_same);
    }
    serve_by(BY_LOOP);
    RUN(no_other_code_can_be_set);
    CHECK(journal_is_empty());
    return 0;
}
