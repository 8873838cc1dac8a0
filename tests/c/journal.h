/* What the server told, in order and from whichever thread, so that a test can wait for it. */
#ifndef JOURNAL_H
#define JOURNAL_H

#include <portal.h>

struct happening {
    uint32_t event;
    portal_websocket websocket;
    uint32_t type;         /* MESSAGE: text or binary; DISCONNECT: the close code */
    size_t len;            /* of the payload, the reason or the error's message */
    char data[256];        /* its beginning, and a NUL */
    uint32_t state;        /* portal_state_of, as the callback saw it */
    portal_status status;  /* ERROR: as the library filled it */
    uint32_t failed_event;
    int32_t code;
    uint32_t close_code;
};

/* Handlers that write down all that they are told, and nothing else; copy and change them. */
extern const portal_handlers recording;

/* For handlers that do something of their own. */
int32_t record_connect(portal_websocket, const portal_request *, void *user_data);
int32_t record_message(portal_websocket, uint32_t type, const void *data, size_t len, void *user_data);
int32_t record_disconnect(portal_websocket, uint32_t code, const char *reason, void *user_data);
void record_error(portal_websocket, const portal_error *, void *user_data);
void record_drain(portal_websocket, void *user_data);
void record_pong(portal_websocket, const void *data, size_t len, void *user_data);

/* Waits for what comes next; fails the test when it is something else, or nothing in time. */
struct happening journal_expect(uint32_t event);
/* Waits for the next event of that kind and passes over others. */
struct happening journal_await(uint32_t event);
/* How many of that kind were written down since the start, whether read or not. */
size_t journal_count(uint32_t event);
/* Whether nothing is left to read. */
int journal_is_empty(void);

#endif
