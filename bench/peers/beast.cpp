// A server on Boost.Beast: one thread, one asynchronous read or write after another.

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/websocket.hpp>
#include <boost/beast/websocket/ssl.hpp>

#include <cstdlib>
#include <deque>
#include <iostream>
#include <memory>
#include <set>
#include <string>
#include <string_view>

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace websocket = beast::websocket;
using boost::system::error_code;
using tcp = asio::ip::tcp;

constexpr std::size_t max_message = 64 * 1024 * 1024;

// Types with a static executor, which saves type erasure per message.
using Executor = asio::io_context::executor_type;
using Socket = asio::basic_stream_socket<tcp, Executor>;
using Acceptor = asio::basic_socket_acceptor<tcp, Executor>;
using Secure = asio::ssl::stream<Socket>;

struct Message {
    std::string bytes;
    bool text;
};

class Listener {
public:
    virtual ~Listener() = default;
    virtual void hear(std::shared_ptr<Message const> message) = 0;
};

// The clients of a broadcast.
using Everyone = std::set<Listener *>;

template <class Stream>
class Session : public std::enable_shared_from_this<Session<Stream>>, Listener {
public:
    template <class... Arguments>
    Session(std::string_view mode, Everyone &everyone, Arguments &&...arguments)
        : mode(mode), everyone(everyone), stream(std::forward<Arguments>(arguments)...)
    {
        stream.read_message_max(max_message);
        stream.auto_fragment(false);
        if (mode == "deflate") {
            websocket::permessage_deflate deflate;
            deflate.server_enable = true;
            deflate.server_no_context_takeover = true;
            deflate.client_no_context_takeover = true;
            stream.set_option(deflate);
        }
    }

    ~Session() override { everyone.erase(this); }

    void start()
    {
        beast::get_lowest_layer(stream).set_option(tcp::no_delay(true));
        if constexpr (std::is_same_v<Stream, Secure>) {
            stream.next_layer().async_handshake(asio::ssl::stream_base::server, then([this] { accept(); }));
        } else {
            accept();
        }
    }

private:
    // The continuation of an operation, unless the client has disconnected; it keeps the session alive.
    template <class Next>
    auto then(Next next)
    {
        return [self = this->shared_from_this(), next](error_code error, std::size_t = 0) {
            if (!error) next();
        };
    }

    void accept()
    {
        stream.async_accept(then([this] {
            if (mode == "broadcast") everyone.insert(this);
            read();
        }));
    }

    void read()
    {
        stream.async_read(buffer, then([this] {
            if (mode == "broadcast") {
                publish();
            } else {
                echo();
            }
        }));
    }

    void echo()
    {
        stream.text(stream.got_text());
        stream.async_write(buffer.data(), then([this] {
            buffer.clear();
            read();
        }));
    }

    void publish()
    {
        auto message = std::make_shared<Message const>(
            Message{beast::buffers_to_string(buffer.data()), stream.got_text()});
        buffer.clear();
        for (Listener *listener : everyone) listener->hear(message);
        read();
    }

    void hear(std::shared_ptr<Message const> message) override
    {
        waiting.push_back(std::move(message));
        if (waiting.size() == 1) write();
    }

    void write()
    {
        stream.text(waiting.front()->text);
        stream.async_write(asio::buffer(waiting.front()->bytes), then([this] {
            waiting.pop_front();
            if (!waiting.empty()) write();
        }));
    }

    std::string_view mode;
    Everyone &everyone;
    websocket::stream<Stream> stream;
    beast::flat_buffer buffer;
    std::deque<std::shared_ptr<Message const>> waiting;
};

class Server {
public:
    Server(asio::io_context &context, unsigned short port, std::string_view mode)
        : mode(mode), acceptor(context, {asio::ip::address_v4::loopback(), port})
    {
        if (mode == "tls") {
            secrets.use_certificate_chain_file(std::getenv("BENCH_CERTIFICATE"));
            secrets.use_private_key_file(std::getenv("BENCH_KEY"), asio::ssl::context::pem);
        }
        std::cout << "listening on ws://localhost:" << acceptor.local_endpoint().port() << "/" << std::endl;
        accept();
    }

private:
    void accept()
    {
        acceptor.async_accept([this](error_code error, Socket socket) {
            if (error) {
                std::cerr << error.message() << "\n";
            } else if (mode == "tls") {
                std::make_shared<Session<Secure>>(mode, everyone, std::move(socket), secrets)->start();
            } else {
                std::make_shared<Session<Socket>>(mode, everyone, std::move(socket))->start();
            }
            accept();
        });
    }

    std::string_view mode;
    Acceptor acceptor;
    asio::ssl::context secrets{asio::ssl::context::tls_server};
    Everyone everyone;
};

int main(int count, char **arguments)
{
    if (count != 3) {
        std::cerr << "usage: beast PORT echo|deflate|tls|broadcast\n";
        return 2;
    }
    asio::io_context context{1};
    Server server{context, static_cast<unsigned short>(std::atoi(arguments[1])), arguments[2]};
    context.run();
}
