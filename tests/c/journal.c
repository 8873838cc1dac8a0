#include "journal.h"

#include "check.h"

#include <errno.h>
#include <pthread.h>

static struct happening *happenings;
static size_t written, unread, room;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

const portal_handlers recording = {
    .size = sizeof(portal_handlers),
    .connect = record_connect,
    .message = record_message,
    .disconnect = record_disconnect,
    .error = record_error,
    .drain = record_drain,
    .pong = record_pong,
};

static void record(struct happening happening, const void *data)
{
    const size_t kept = happening.len < sizeof happening.data ? happening.len : sizeof happening.data - 1;

    memcpy(happening.data, data, kept);
    happening.data[kept] = 0;
    happening.state = portal_state_of(happening.websocket);
    pthread_mutex_lock(&lock);
    if (written == room) {
        room = room * 2 + 64;
        happenings = realloc(happenings, room * sizeof *happenings);
        CHECK(happenings != NULL);
    }
    happenings[written++] = happening;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

int32_t record_connect(portal_websocket websocket, const portal_request *request, void *user_data)
{
    const char *target = portal_request_target(request);

    record((struct happening){ .event = PORTAL_EVENT_CONNECT, .websocket = websocket, .len = strlen(target) }, target);
    return 0;
}

int32_t record_message(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    record((struct happening){ .event = PORTAL_EVENT_MESSAGE, .websocket = websocket, .type = type, .len = len }, data);
    return 0;
}

int32_t record_disconnect(portal_websocket websocket, uint32_t code, const char *reason, void *user_data)
{
    record((struct happening){ .event = PORTAL_EVENT_DISCONNECT, .websocket = websocket, .type = code,
               .len = strlen(reason) }, reason);
    return 0;
}

void record_error(portal_websocket websocket, const portal_error *error, void *user_data)
{
    record((struct happening){ .event = PORTAL_EVENT_ERROR, .websocket = websocket, .len = strlen(error->message),
               .status = error->status, .failed_event = error->event, .code = error->code,
               .close_code = error->close_code }, error->message);
}

void record_drain(portal_websocket websocket, void *user_data)
{
    record((struct happening){ .event = PORTAL_EVENT_DRAIN, .websocket = websocket }, "");
}

void record_pong(portal_websocket websocket, const void *data, size_t len, void *user_data)
{
    record((struct happening){ .event = PORTAL_EVENT_PONG, .websocket = websocket, .len = len }, data);
}

/* Takes the next one; `wanted` is what to name when nothing comes in time. */
static struct happening next(uint32_t wanted)
{
    struct timespec deadline;
    struct happening happening;

    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += PATIENCE_MS / 1000;
    pthread_mutex_lock(&lock);
    while (unread == written)
        if (pthread_cond_timedwait(&changed, &lock, &deadline) == ETIMEDOUT)
            FAIL("event %u never came", wanted);
    happening = happenings[unread++];
    pthread_mutex_unlock(&lock);
    return happening;
}

struct happening journal_expect(uint32_t event)
{
    const struct happening happening = next(event);

    if (happening.event != event)
        FAIL("event %u came, not %u: \"%s\"", happening.event, event, happening.data);
    return happening;
}

struct happening journal_await(uint32_t event)
{
    struct happening happening;

    do
        happening = next(event);
    while (happening.event != event);
    return happening;
}

size_t journal_count(uint32_t event)
{
    size_t count = 0;

    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < written; ++i)
        count += happenings[i].event == event;
    pthread_mutex_unlock(&lock);
    return count;
}

int journal_is_empty(void)
{
    int empty;

    pthread_mutex_lock(&lock);
    empty = unread == written;
    pthread_mutex_unlock(&lock);
    return empty;
}
