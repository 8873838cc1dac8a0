/* In a child forked after a start all ids are dead; the parent goes on as if nothing had happened. */
#include "check.h"
#include "client.h"
#include "journal.h"
#include "serve.h"

#include <sys/wait.h>
#include <unistd.h>

static void check_child(portal_server server, portal_server host, portal_websocket websocket)
{
    portal_pulled event;
    portal_server another = 1;

    CHECK_NUMBER(portal_server_port(server), 0);
    CHECK_NUMBER(portal_server_metric(server, PORTAL_METRIC_CONNECTIONS), 0);
    CHECK_STATUS(portal_server_stop_accepting(server), PORTAL_STATUS_GONE);
    CHECK_STATUS(portal_server_begin_close(server), PORTAL_STATUS_GONE);
    CHECK_STATUS(portal_server_close(server), PORTAL_STATUS_GONE);
    CHECK_STATUS(portal_server_wait(server), PORTAL_STATUS_GONE);
    CHECK_STATUS(portal_server_wake(server), PORTAL_STATUS_GONE);
    CHECK_STATUS(portal_server_run(host), PORTAL_STATUS_GONE);
    CHECK_STATUS(portal_server_poll(host, 0), PORTAL_STATUS_GONE);
    CHECK_STATUS(portal_server_pull(host, 0, &event, 1, sizeof event), PORTAL_STATUS_GONE);
    CHECK_STATUS(portal_server_fd(host), PORTAL_STATUS_GONE);
    CHECK_STATUS(portal_send(websocket, PORTAL_MESSAGE_TEXT, "words", 5), PORTAL_STATUS_GONE);
    CHECK_STATUS(portal_ping(websocket, "", 0), PORTAL_STATUS_GONE);
    CHECK_STATUS(portal_close(websocket, 1000, NULL), PORTAL_STATUS_GONE);
    CHECK_STATUS(portal_flush(websocket), PORTAL_STATUS_GONE);
    CHECK_STATUS(portal_abort(websocket), PORTAL_STATUS_GONE);
    CHECK_STATUS(portal_set_data(websocket, NULL), PORTAL_STATUS_GONE);
    CHECK(portal_data(websocket) == NULL);
    CHECK_NUMBER(portal_state_of(websocket), PORTAL_STATE_CLOSED);
    CHECK_NUMBER(portal_queued(websocket), 0);
    CHECK_STATUS(portal_server_start(0, NULL, &another), PORTAL_STATUS_UNSUPPORTED);
    CHECK_NUMBER(another, 0);
}

int main(void)
{
    portal_handlers handlers = recording;
    portal_server server, host;
    portal_websocket websocket;
    client *self;
    pid_t child;
    int status;

    handlers.message = echo_message;
    define("/echo", &handlers, NULL);
    server = serve(NULL);
    host = SERVE({ PORTAL_OPTION_DISPATCH, PORTAL_DISPATCH_HOST });
    self = client_connect(portal_server_port(server), "/echo");
    websocket = journal_expect(PORTAL_EVENT_CONNECT).websocket;

    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        check_child(server, host, websocket);
        /* Another program says that all went well: valgrind would take for lost what the parent's
           threads, of which there are none here, still use. */
        execlp("true", "true", (char *)NULL);
        _exit(127);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK_NUMBER(status, 0);

    client_say(self, "still here");
    client_expect_text(self, "still here");
    CHECK_OK(portal_send(websocket, PORTAL_MESSAGE_TEXT, "so am I", 7));
    client_expect_text(self, "so am I");
    client_farewell(self);
    CHECK_OK(portal_server_close(host));
    CHECK_OK(portal_server_close(server));
    return 0;
}
