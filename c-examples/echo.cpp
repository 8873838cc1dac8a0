// echo, in C++17: handlers are lambdas, and a server closes at the end of its scope.
// Usage: echo++ [port], then connect to ws://localhost:4433/echo
#include <portal.h>

#include <csignal>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string_view>

static void check(portal_status status)
{
    if (status != PORTAL_STATUS_OK)
        throw std::runtime_error(portal_status_text(status));
}

// A path and its handlers. Portal owns it until it is no longer in use.
struct Path {
    std::function<void(portal_websocket)> connect = [](auto) {};
    std::function<void(portal_websocket, uint32_t type, std::string_view)> message = [](auto...) {};

    void define(const char *path) const
    {
        portal_handlers handlers{};
        handlers.size = sizeof handlers;
        handlers.connect = [](portal_websocket websocket, const portal_request *, void *self) {
            return attempt([&] { static_cast<Path *>(self)->connect(websocket); });
        };
        handlers.message = [](portal_websocket websocket, uint32_t type, const void *data, size_t len, void *self) {
            const std::string_view content(static_cast<const char *>(data), len);
            return attempt([&] { static_cast<Path *>(self)->message(websocket, type, content); });
        };
        handlers.release = [](void *self) { delete static_cast<Path *>(self); };
        auto copy = std::make_unique<Path>(*this);
        check(portal_define_path(path, &handlers, copy.get()));
        copy.release(); // Portal owns it now
    }

private:
    // No exception may leave a handler: it becomes a failure of the handler.
    template <class Work> static int32_t attempt(Work work) noexcept
    {
        try { work(); return 0; } catch (...) { return -1; }
    }
};

class Server {
public:
    explicit Server(uint32_t port) { check(portal_server_start(port, nullptr, &id)); }
    ~Server() { portal_server_close(id); }
    Server(const Server &) = delete;
    uint32_t port() const { return portal_server_port(id); }

private:
    portal_server id = 0;
};

static void serve(uint32_t port)
{
    sigset_t stop; // blocked in every thread, so that sigwait receives them
    sigemptyset(&stop);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &stop, nullptr);

    const auto send = [](portal_websocket websocket, uint32_t type, std::string_view content) {
        check(portal_send(websocket, type, content.data(), content.size()));
    };
    Path echo;
    echo.connect = [&](auto websocket) { send(websocket, PORTAL_MESSAGE_TEXT, "Welcome to echo server."); };
    echo.message = send;
    echo.define("/echo");
    const Server server(port);
    std::cout << "listening on ws://localhost:" << server.port() << "/echo" << std::endl;
    int received;
    sigwait(&stop, &received);
}

int main(int argc, char **argv)
try {
    serve(argc > 1 ? static_cast<uint32_t>(std::atoi(argv[1])) : 4433);
    return EXIT_SUCCESS;
} catch (const std::exception &error) {
    std::cerr << "echo++: " << error.what() << std::endl;
    return EXIT_FAILURE;
}
