/* Calls every function with an id that is none, and checks what it answers. */
#ifndef NOBODY_H
#define NOBODY_H

#include "check.h"

/* Every function that takes the id of a server, given one that is none. */
static inline void check_no_server(portal_server id)
{
    portal_pulled events[4];

    CHECK_NUMBER(portal_server_port(id), 0);
    CHECK_NUMBER(portal_server_metric(id, PORTAL_METRIC_CONNECTIONS), 0);
    CHECK_STATUS(portal_server_stop_accepting(id), PORTAL_STATUS_GONE);
    CHECK_STATUS(portal_server_begin_close(id), PORTAL_STATUS_GONE);
    CHECK_STATUS(portal_server_close(id), PORTAL_STATUS_GONE);
    CHECK_STATUS(portal_server_wait(id), PORTAL_STATUS_GONE);
    CHECK_STATUS(portal_server_run(id), PORTAL_STATUS_GONE);
    CHECK_STATUS(portal_server_poll(id, 0), PORTAL_STATUS_GONE);
    CHECK_STATUS(portal_server_pull(id, 0, events, COUNT(events), sizeof *events), PORTAL_STATUS_GONE);
    CHECK_STATUS(portal_server_fd(id), PORTAL_STATUS_GONE);
    CHECK_STATUS(portal_server_wake(id), PORTAL_STATUS_GONE);
    CHECK_STATUS(portal_server_reload_tls(id), PORTAL_STATUS_GONE);
}

/* Every function that takes the id of a websocket, given one that is none. */
static inline void check_no_websocket(portal_websocket id)
{
    int anything;

    CHECK_STATUS(portal_send(id, PORTAL_MESSAGE_TEXT, "words", 5), PORTAL_STATUS_GONE);
    CHECK_STATUS(portal_ping(id, "", 0), PORTAL_STATUS_GONE);
    CHECK_STATUS(portal_close(id, 1000, "reason"), PORTAL_STATUS_GONE);
    CHECK_STATUS(portal_flush(id), PORTAL_STATUS_GONE);
    CHECK_STATUS(portal_abort(id), PORTAL_STATUS_GONE);
    CHECK_STATUS(portal_set_data(id, &anything), PORTAL_STATUS_GONE);
    CHECK(portal_data(id) == NULL);
    CHECK_NUMBER(portal_state_of(id), PORTAL_STATE_CLOSED);
    CHECK_NUMBER(portal_queued(id), 0);
}

#endif
