/* Messages of every frame length come back whole, as what they were. */
#include "check.h"
#include "client.h"
#include "serve.h"

static void messages_of_every_size_come_back(uint32_t port)
{
    static const size_t sizes[] = { 0, 1, 2, 3, 4, 5, 124, 125, 126, 127, 128, 65534, 65535, 65536, 65537,
        1 << 20, 16 << 20 };
    client *self = client_connect(port, "/echo");
    char *words = malloc(16 << 20);

    CHECK(words != NULL);
    for (size_t i = 0; i < 16 << 20; ++i)
        words[i] = (char)('a' + i % 23);
    for (size_t i = 0; i < COUNT(sizes); ++i) {
        client_send(self, TEXT, words, sizes[i]);
        client_expect(self, TEXT, words, sizes[i]);
        client_send(self, BINARY, words, sizes[i]);
        client_expect(self, BINARY, words, sizes[i]);
    }
    free(words);
    client_farewell(self);
}

static void fragments_come_back_as_one(uint32_t port)
{
    client *self = client_connect(port, "/echo");

    client_send_frame(self, TEXT, "Hel", 3);
    client_send(self, PING, "between", 7);
    client_send_frame(self, CONTINUATION, "", 0);
    client_send_frame(self, 0x80 | CONTINUATION, "lo", 2);
    client_expect(self, PONG, "between", 7);
    client_expect_text(self, "Hello");
    client_farewell(self);
}

static void many_messages_in_one_packet_come_back_in_order(uint32_t port)
{
    client *self = client_connect(port, "/echo");
    char packet[200 * 16], *end = packet;
    char words[8];

    for (int i = 0; i < 200; ++i) {
        const int len = snprintf(words, sizeof words, "%d", i);
        *end++ = (char)0x81;
        *end++ = (char)(0x80 | len);
        memset(end, 0, 4); /* a mask of zeros */
        memcpy(end + 4, words, (size_t)len);
        end += 4 + len;
    }
    client_send_bytes(self, packet, (size_t)(end - packet));
    for (int i = 0; i < 200; ++i) {
        snprintf(words, sizeof words, "%d", i);
        client_expect_text(self, words);
    }
    client_farewell(self);
}

static void a_message_sent_byte_by_byte_comes_back(uint32_t port)
{
    /* The example of RFC 6455, section 5.7. */
    static const uint8_t frame[] = { 0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58 };
    client *self = client_connect(port, "/echo");

    for (size_t i = 0; i < sizeof frame; ++i)
        client_send_bytes(self, frame + i, 1);
    client_expect_text(self, "Hello");
    client_farewell(self);
}

int main(void)
{
    static const uint32_t dispatches[] = { PORTAL_DISPATCH_IO, PORTAL_DISPATCH_PER_CLIENT };

    define_echo("/echo");
    for (size_t i = 0; i < COUNT(dispatches); ++i) {
        const portal_server server = SERVE({ PORTAL_OPTION_DISPATCH, dispatches[i] });
        const uint32_t port = portal_server_port(server);

        messages_of_every_size_come_back(port);
        fragments_come_back_as_one(port);
        many_messages_in_one_packet_come_back_in_order(port);
        a_message_sent_byte_by_byte_comes_back(port);
        CHECK_OK(portal_server_close(server));
    }
    return 0;
}
