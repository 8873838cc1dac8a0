/* A client that sends without end: its echoes are bounded by what it reads, and others are served. */
#include "check.h"
#include "client.h"
#include "serve.h"

#include <pthread.h>

/* All in all more than the system's buffers hold, so that the server has to stop reading. */
enum { MAX_QUEUED = 128 * 1024, SIZE = 1000, MESSAGES = 60000 };

static uint8_t frame[8 + SIZE] = { 0x82, 0x80 | 126, SIZE >> 8, SIZE & 255 }; /* the mask and all else is 0 */

static size_t most_queued;

static int32_t echo_and_watch(portal_websocket websocket, uint32_t type, const void *data, size_t len, void *user_data)
{
    const size_t queued = portal_queued(websocket);

    most_queued = queued > most_queued ? queued : most_queued;
    CHECK_OK(portal_send(websocket, type, data, len)); /* never FULL: one answer to one message */
    return 0;
}

static void *flood(void *self)
{
    for (int i = 0; i < MESSAGES; ++i)
        client_send_bytes(self, frame, sizeof frame);
    return NULL;
}

int main(void)
{
    const portal_handlers handlers = { .size = sizeof handlers, .message = echo_and_watch };
    portal_server server;
    client *self, *other;
    pthread_t writer;

    define("/flood", &handlers, NULL);
    define_echo("/echo");
    server = SERVE({ PORTAL_OPTION_MAX_QUEUED, MAX_QUEUED });
    self = client_dial(portal_server_port(server));
    client_shake_hands(self, "/flood", "");
    other = client_connect(portal_server_port(server), "/echo");
    CHECK(pthread_create(&writer, NULL, flood, self) == 0);
    for (int i = 0; i < 200; ++i) {
        client_say(other, "meanwhile");
        client_expect_text(other, "meanwhile");
    }
    for (int i = 0; i < MESSAGES; ++i)
        client_expect(self, BINARY, frame + 8, SIZE);
    CHECK(pthread_join(writer, NULL) == 0);
    CHECK(most_queued <= MAX_QUEUED);
    EVENTUALLY(portal_server_metric(server, PORTAL_METRIC_QUEUED_BYTES) == 0);
    client_farewell(self);
    client_farewell(other);
    CHECK_OK(portal_server_close(server));
    return 0;
}
