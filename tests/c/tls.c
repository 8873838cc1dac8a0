/* Servers that speak TLS. Clients are connected through processes of openssl, which know no Portal. */
#include "check.h"
#include "client.h"
#include "serve.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static char folder[] = "/tmp/portal-tls-XXXXXX";

/* ---- openssl ---- */

static pid_t spawn(char *const *command, int stream)
{
    posix_spawn_file_actions_t actions;
    pid_t process;
    int error;

    CHECK(posix_spawn_file_actions_init(&actions) == 0);
    CHECK(posix_spawn_file_actions_adddup2(&actions, stream, 0) == 0);
    CHECK(posix_spawn_file_actions_adddup2(&actions, stream, 1) == 0);
    CHECK(posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0) == 0);
    if ((error = posix_spawnp(&process, command[0], &actions, NULL, command, environ)) != 0)
        FAIL("cannot run %s: %s", command[0], strerror(error));
    CHECK(posix_spawn_file_actions_destroy(&actions) == 0);
    return process;
}

/* `openssl` with these arguments, up to a NULL. */
static pid_t openssl(int stream, const char *const *arguments)
{
    char *command[32] = { "openssl" };
    size_t count = 1;

    for (; *arguments != NULL; ++arguments, ++count) {
        CHECK(count + 1 < COUNT(command));
        command[count] = (char *)*arguments;
    }
    return spawn(command, stream);
}

static void openssl_once(const char *const *arguments)
{
    const int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    int status;

    CHECK(nothing >= 0);
    CHECK(waitpid(openssl(nothing, arguments), &status, 0) > 0);
    CHECK_NUMBER(status, 0);
    close(nothing);
}

#define OPENSSL(...) openssl_once((const char *const[]){ __VA_ARGS__, NULL })

static const char *file(const char *name, const char *ending)
{
    static char paths[8][64];
    static size_t next;
    char *path = paths[next++ % COUNT(paths)];

    snprintf(path, sizeof paths[0], "%s/%s.%s", folder, name, ending);
    return path;
}

static void make_pair(const char *name, const char *algorithm, const char *parameter)
{
    OPENSSL("genpkey", "-algorithm", algorithm, "-out", file(name, "key"), parameter == NULL ? NULL : "-pkeyopt", parameter);
    OPENSSL("req", "-x509", "-new", "-key", file(name, "key"), "-subj", "/CN=localhost", "-days", "2", "-out",
        file(name, "pem"));
}

struct secured {
    client *client;
    pid_t process;
};

/* A client whose bytes a process of openssl encrypts. */
static struct secured dial(portal_server server, const char *const *settings)
{
    const char *arguments[32] = { "s_client", "-quiet", "-no_ign_eof", "-nocommands", "-connect" };
    size_t count = 5;
    char address[32];
    int ends[2];
    struct secured self;

    snprintf(address, sizeof address, "127.0.0.1:%u", (unsigned)portal_server_port(server));
    arguments[count++] = address;
    for (; *settings != NULL; ++settings)
        arguments[count++] = *settings;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    self.process = openssl(ends[1], arguments);
    self.client = client_over(ends[0]);
    close(ends[1]);
    return self;
}

#define DIAL(server, ...) dial(server, (const char *const[]){ __VA_ARGS__, NULL })

static void farewell(struct secured self)
{
    client_farewell(self.client);
    CHECK(waitpid(self.process, NULL, 0) == self.process);
}

static portal_server serve_with(const char *pair, const char *authority)
{
    return SERVE({ PORTAL_OPTION_TLS_CERTIFICATE, .text = file(pair, "pem") },
        { PORTAL_OPTION_TLS_KEY, .text = file(pair, "key") },
        { PORTAL_OPTION_TLS_CLIENT_CA, .text = authority == NULL ? "" : file(authority, "pem") });
}

/* ---- what is known of a client ---- */

enum { FACTS = 6 };

static char facts[FACTS][4096];

static int32_t note_facts(portal_websocket websocket, portal_request *request, void *user_data)
{
    for (uint32_t what = 0; what < FACTS; ++what) {
        const char *fact = portal_request_tls(request, what);

        CHECK(portal_request_tls(request, what) == fact);
        CHECK(snprintf(facts[what], sizeof facts[what], "%s", fact) < (int)sizeof facts[what]);
    }
    CHECK_TEXT(portal_request_tls(request, FACTS), "");
    CHECK_TEXT(portal_request_tls(request, UINT32_MAX), "");
    CHECK_TEXT(portal_request_tls(NULL, PORTAL_TLS_VERSION), "");
    return 0;
}

/* ---- tests ---- */

static void converse(struct secured self)
{
    static char message[100000];

    client_shake_hands(self.client, "/echo", "");
    client_say(self.client, "hello");
    client_expect_text(self.client, "hello");
    memset(message, 'x', sizeof message);
    client_send(self.client, BINARY, message, sizeof message);
    client_expect(self.client, BINARY, message, sizeof message);
    farewell(self);
}

static void every_kind_of_key_is_served_in_both_versions(void)
{
    static const char *const pairs[] = { "p256", "p384", "p521", "ed25519", "rsa" };

    for (size_t i = 0; i < COUNT(pairs); ++i) {
        const portal_server server = serve_with(pairs[i], NULL);

        converse(DIAL(server, "-tls1_2"));
        converse(DIAL(server, "-tls1_3"));
        CHECK_OK(portal_server_close(server));
    }
}

static void every_cipher_and_group_is_spoken(void)
{
    static const char *const ciphers[] = { "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256" };
    static const char *const groups[] = { "X25519", "P-256", "P-384" };
    const portal_server server = serve_with("p256", NULL);

    for (size_t i = 0; i < COUNT(ciphers); ++i)
        converse(DIAL(server, "-tls1_3", "-ciphersuites", ciphers[i], "-groups", groups[i]));
    converse(DIAL(server, "-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"));
    CHECK_OK(portal_server_close(server));
}

/* A certificate for a client, which this pair signs. */
static void make_client(const char *signer)
{
    OPENSSL("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", file("client", "key"));
    OPENSSL("req", "-new", "-key", file("client", "key"), "-subj", "/O=Portal/CN=client", "-out", file("client", "csr"));
    OPENSSL("x509", "-req", "-in", file("client", "csr"), "-CA", file(signer, "pem"), "-CAkey", file(signer, "key"),
        "-set_serial", "1", "-extfile", file("client", "ext"), "-out", file("client", "pem"));
}

static void clients_show_certificates_of_every_kind(void)
{
    static const char *const pairs[] = { "p256", "p384", "p521", "ed25519", "rsa" };

    for (size_t i = 0; i < COUNT(pairs); ++i) {
        const portal_server server = serve_with("p256", pairs[i]);

        make_client(pairs[i]);
        converse(DIAL(server, "-cert", file("client", "pem"), "-key", file("client", "key")));
        CHECK_OK(portal_server_close(server));
    }
}

static void a_handler_is_told_of_the_encryption(void)
{
    portal_server server = serve_with("p256", "p256");
    struct secured known;
    client *plain;

    make_client("p256");
    known = DIAL(server, "-tls1_2", "-servername", "Name.Example", "-cert", file("client", "pem"), "-key",
        file("client", "key"));
    client_shake_hands(known.client, "/facts", "");
    CHECK_TEXT(facts[0], "");
    CHECK_TEXT(facts[PORTAL_TLS_VERSION], "TLSv1.2");
    CHECK(strncmp(facts[PORTAL_TLS_CIPHER], "TLS_ECDHE_ECDSA_WITH_", 21) == 0);
    CHECK_TEXT(facts[PORTAL_TLS_SERVER_NAME], "name.example");
    CHECK(strncmp(facts[PORTAL_TLS_CLIENT_CERTIFICATE], "-----BEGIN CERTIFICATE-----\n", 28) == 0);
    CHECK_TEXT(facts[PORTAL_TLS_CLIENT_SUBJECT], "CN=client,O=Portal");
    farewell(known);
    CHECK_OK(portal_server_close(server));

    server = serve(NULL);
    plain = client_connect(portal_server_port(server), "/facts");
    for (size_t what = 0; what < FACTS; ++what)
        CHECK_TEXT(facts[what], "");
    client_farewell(plain);
    CHECK_OK(portal_server_close(server));
}

static void a_certificate_is_chosen_by_name(void)
{
    portal_options *options = portal_options_create();
    portal_server server;

    CHECK_OK(portal_options_set_text(options, PORTAL_OPTION_HOST, "127.0.0.1"));
    CHECK_OK(portal_options_add_certificate(options, file("named", "pem"), file("named", "key")));
    CHECK_NUMBER(portal_server_start(0, options, &server), PORTAL_STATUS_TLS);
    CHECK_OK(portal_options_set_text(options, PORTAL_OPTION_TLS_CERTIFICATE, file("p256", "pem")));
    CHECK_OK(portal_options_set_text(options, PORTAL_OPTION_TLS_KEY, file("p256", "key")));
    CHECK_OK(portal_server_start(0, options, &server));
    portal_options_destroy(options);
    CHECK_OK(portal_server_reload_tls(server));
    CHECK(portal_server_metric(server, PORTAL_METRIC_CERTIFICATE_EXPIRES) > (uint64_t)time(NULL));
    /* Only one of the two certificates is verified. */
    converse(DIAL(server, "-servername", "one.named.example", "-verify_return_error", "-verify_hostname",
        "one.named.example", "-CAfile", file("named", "pem")));
    converse(DIAL(server, "-servername", "other.example", "-verify_return_error", "-CAfile", file("p256", "pem")));
    CHECK_OK(portal_server_close(server));
}

static void a_reload_shows_the_pair_again(void)
{
    const portal_server server = serve_with("p256", NULL);

    CHECK_OK(portal_server_reload_tls(server));
    converse(DIAL(server, "-tls1_3"));
    CHECK_OK(portal_server_close(server));
}

static void what_is_no_tls_is_refused(void)
{
    const portal_server server = serve_with("p256", NULL);
    client *plain = client_dial(portal_server_port(server));
    client *strange = client_dial(portal_server_port(server));
    struct secured hasty = DIAL(server, "-tls1_3");

    client_request(plain, "/echo", "");
    CHECK_NUMBER(client_response(plain).status, 400);
    client_send_bytes(strange, "\x16\x03\x01\xff\xff", 5);
    client_hear_out(strange);
    client_shake_hands(hasty.client, "/echo", "");
    client_destroy(hasty.client);
    CHECK(waitpid(hasty.process, NULL, 0) == hasty.process);
    client_destroy(plain);
    client_destroy(strange);
    CHECK_OK(portal_server_close(server));
}

static void remove_folder(void)
{
    char command[64];

    snprintf(command, sizeof command, "rm -r %s", folder);
    CHECK(system(command) == 0);
}

int main(void)
{
    FILE *extensions;

    CHECK(mkdtemp(folder) != NULL);
    atexit(remove_folder);
    make_pair("p256", "EC", "ec_paramgen_curve:P-256");
    make_pair("p384", "EC", "ec_paramgen_curve:P-384");
    make_pair("p521", "EC", "ec_paramgen_curve:P-521");
    make_pair("ed25519", "ED25519", NULL);
    make_pair("rsa", "RSA", "rsa_keygen_bits:2048");
    CHECK((extensions = fopen(file("client", "ext"), "w")) != NULL);
    CHECK(fputs("extendedKeyUsage=clientAuth\n", extensions) >= 0 && fclose(extensions) == 0);
    OPENSSL("genpkey", "-algorithm", "ED25519", "-out", file("named", "key"));
    OPENSSL("req", "-x509", "-new", "-key", file("named", "key"), "-subj", "/CN=named", "-days", "2", "-addext",
        "subjectAltName=DNS:*.named.example", "-out", file("named", "pem"));
    define_echo("/echo");
    define("/facts", &(portal_handlers){ .size = sizeof(portal_handlers), .upgrade = note_facts }, NULL);

    RUN(every_kind_of_key_is_served_in_both_versions);
    RUN(every_cipher_and_group_is_spoken);
    RUN(clients_show_certificates_of_every_kind);
    RUN(a_handler_is_told_of_the_encryption);
    RUN(a_certificate_is_chosen_by_name);
    RUN(a_reload_shows_the_pair_again);
    RUN(what_is_no_tls_is_refused);
    return 0;
}
