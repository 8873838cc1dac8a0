"""WebSockets over TLS, as Python's `websockets`, curl and a proxy that counts records see them."""

import contextlib
import os
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
from pathlib import Path

import pycurl
import pytest
import websockets.sync.client
from websockets.exceptions import ConnectionClosed, ConnectionClosedError

from certificates import Authority
from program import DEADLINE, WAYS, running
from tickets import read_tickets, wait_readable

SERVER = os.environ["SECURE_SERVER"]
MIB = 1024 * 1024
UPGRADE = (b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    """An authority, and what makes a server show a certificate of it."""
    authority = Authority(tmp_path_factory.mktemp("certificates"))
    certificate, key = authority.sign("localhost")
    return authority, [f"TLS_CERTIFICATE={certificate}", f"TLS_KEY={key}"]


@pytest.fixture(scope="module")
def servers(secured):
    """A server for each way of serving, and one that does not speak TLS."""
    with contextlib.ExitStack() as stack:
        programs = {way: stack.enter_context(running([SERVER, *secured[1], *settings]))
                    for way, settings in WAYS.items()}
        programs["plain"] = stack.enter_context(running([SERVER]))
        yield programs
        for program in programs.values():
            program.stop()


@pytest.fixture
def server(servers):
    return servers["on its own thread"]


@pytest.fixture(scope="module")
def context(secured):
    return ssl.create_default_context(cafile=secured[0].certificate)


def connect(server, context, path="/", **settings):
    plain = socket.create_connection(("localhost", server.port), DEADLINE)
    secure = context.wrap_socket(plain, server_hostname="localhost")
    read_tickets(secure)
    # The socket speaks TLS already, so the address must not ask for it.
    return websockets.sync.client.connect(
        f"ws://localhost:{server.port}{path}", sock=secure, proxy=None, max_size=None, open_timeout=DEADLINE,
        close_timeout=DEADLINE, **settings)


# ---- clients that people use ----


@pytest.mark.parametrize("compression", ["deflate", None])
@pytest.mark.parametrize("way", WAYS)
def test_messages_of_every_size_come_back(servers, context, way, compression):
    with connect(servers[way], context, compression=compression) as client:
        for size in [0, 1, 125, 126, 16_384, 65_535, 65_536, 70_000, 3 * MIB, 16 * MIB]:
            message = os.urandom(min(size, 4096)) * (size // 4096) + bytes(size % 4096)
            client.send(message)
            assert client.recv(DEADLINE) == message
        client.send("Grüße, 世界 👋" * 1000)
        assert client.recv(DEADLINE) == "Grüße, 世界 👋" * 1000
    assert client.close_code == 1000


def test_a_thousand_messages_may_be_under_way(server, context):
    with connect(server, context) as client:
        for number in range(1000):
            client.send(str(number) * (number % 50))
        for number in range(1000):
            assert client.recv(DEADLINE) == str(number) * (number % 50)


def masked(opcode, payload):
    """A client's frame whose mask changes nothing."""
    assert len(payload) < 126 or len(payload) >= 65_536
    length = struct.pack("!B", 0x80 | len(payload)) if len(payload) < 126 else struct.pack("!BQ", 0xff, len(payload))
    return bytes([0x80 | opcode]) + length + bytes(4) + payload


def split_frames(stream):
    """The opcodes and payloads of a server's frames, the last of which may be cut."""
    at = 0
    while len(stream) >= at + 2:
        length = stream[at + 1]
        head = {126: 4, 127: 10}.get(length, 2)
        if head > 2:
            length = int.from_bytes(stream[at + 2:at + head], "big")
        if len(stream) < at + head + length:
            return
        yield stream[at] & 15, stream[at + head:at + head + length]
        at += head + length


@pytest.mark.parametrize("way", WAYS)
def test_pongs_stand_between_messages_wherever_sealed_bytes_were_cut(servers, context, way):
    # On a busy machine all messages may have left before a ping is read.
    deadline = time.monotonic() + DEADLINE
    while not pongs_between_messages(servers[way], context):
        assert time.monotonic() < deadline, "no pong came before the last message"


def pongs_between_messages(server, context):
    """Checks what comes when a client pings while many messages wait for it; returns the pongs among them."""
    messages = [bytes([number]) * 256 * 1024 for number in range(24)]
    plain = socket.create_connection(("localhost", server.port), DEADLINE)
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
    with context.wrap_socket(plain, server_hostname="localhost") as client:
        read_tickets(client)
        client.settimeout(DEADLINE)
        client.sendall(UPGRADE)
        received = bytearray(client.recv(65_536))
        head = received.index(b"\r\n\r\n") + 4
        for message in messages:
            client.sendall(masked(2, message))
        pings = 0
        while len(list(split_frames(received[head:]))) < len(messages) // 2:
            pings += 1
            client.sendall(masked(9, str(pings).encode()))
            for _ in range(20):
                received += client.recv(16_384)
        while sum(opcode == 2 for opcode, _ in split_frames(received[head:])) < len(messages):
            for _ in range(50):
                received += client.recv(16_384)
                if len(received) > sum(map(len, messages)):
                    break
        frames = list(split_frames(received[head:]))
    assert [payload for opcode, payload in frames if opcode == 2] == messages
    assert {opcode for opcode, _ in frames} <= {2, 10}
    pongs = [int(payload) for opcode, payload in frames if opcode == 10]
    assert pongs == sorted(set(pongs))
    return pongs


def test_curl_speaks_to_it(server, servers, secured):
    """libcurl's WebSocket support, with and without TLS."""
    for url in [f"wss://localhost:{server.port}/", f"ws://localhost:{servers['plain'].port}/"]:
        curl = pycurl.Curl()
        curl.setopt(pycurl.URL, url)
        curl.setopt(pycurl.CAINFO, secured[0].certificate)
        curl.setopt(pycurl.NOPROXY, "*")
        curl.setopt(pycurl.TIMEOUT, DEADLINE)
        curl.setopt(pycurl.CONNECT_ONLY, 2)  # a WebSocket, for ws_send and ws_recv
        curl.perform()
        for message in [b"hello", b"", bytes(range(256)) * 4]:
            curl.ws_send(message, pycurl.WS_BINARY)
            assert receive(curl, len(message)) == message
        curl.close()


def receive(curl, size):
    """One message; the socket does not block."""
    message = b""
    while True:
        asleep = socket.socket(fileno=os.dup(curl.getinfo(pycurl.ACTIVESOCKET)))
        try:
            data, meta = curl.ws_recv(65536)
        except (BlockingIOError, pycurl.error) as error:
            if isinstance(error, pycurl.error) and error.args[0] != pycurl.E_AGAIN:
                raise
            wait_readable(asleep)
            continue
        finally:
            asleep.close()
        message += data
        if meta.bytesleft == 0 and len(message) >= size:
            return message


# ---- what is on the wire ----


class Proxy:
    """Hands bytes on, counts the records of application data that the server sends, and keeps its bytes."""

    def __init__(self, port):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.target = port
        self.from_server = b""
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        client, _ = self.listener.accept()
        server = socket.create_connection(("127.0.0.1", self.target), timeout=DEADLINE)
        other = threading.Thread(target=self.hand_on, args=(client, server), daemon=True)
        other.start()
        while piece := server.recv(65536):
            self.from_server += piece
            client.sendall(piece)
        client.shutdown(socket.SHUT_WR)
        other.join(DEADLINE)
        client.close()
        server.close()
        self.listener.close()

    @staticmethod
    def hand_on(source, target):
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)

    def lengths(self):
        """The lengths of the server's records of application data."""
        lengths, at = [], 0
        while at + 5 <= len(self.from_server):
            kind, length = struct.unpack_from("!BxxH", self.from_server, at)
            lengths += [length] if kind == 23 else []
            at += 5 + length
        return lengths


def test_messages_that_leave_together_share_records(server, context):
    proxy = Proxy(server.port)
    with connect(proxy, context, "/burst", compression=None) as client:
        for number in range(1000):
            assert client.recv(DEADLINE) == str(number)
    proxy.thread.join(DEADLINE)
    # In them: the end of the handshake, the 101, a thousand messages, the close and a goodbye.
    assert len(proxy.lengths()) < 12


def test_large_messages_fill_records_and_nothing_is_in_the_clear(server, context):
    proxy = Proxy(server.port)
    message = b"a secret " * (MIB // 9)
    with connect(proxy, context, compression=None) as client:
        client.send(message)
        assert client.recv(DEADLINE) == message
    proxy.thread.join(DEADLINE)
    full = [length for length in proxy.lengths() if length > 16_384]
    assert len(full) >= len(message) // 16_384
    assert len(proxy.lengths()) < len(full) + 12
    assert b"secret" not in proxy.from_server and b"HTTP" not in proxy.from_server


@pytest.mark.parametrize("way", [way for way in WAYS if way != "by pulling"])  # it calls no handler
def test_a_slow_reader_costs_no_more_than_the_queue_and_gets_every_byte(secured, context, tmp_path, way):
    log = tmp_path / "log"
    settings = [*secured[1], *WAYS[way], "MAX_QUEUED=1048576", "DEFLATE=0"]
    with log.open("w") as stderr, running([SERVER, *settings], stderr=stderr) as server:
        with connect(server, context, "/flood", compression=None, max_queue=1) as client:
            for number, message in enumerate(client):
                assert message == bytes([number % 256]) * 65_536
        assert number == 511
        server.stop()
    most = int(log.read_text().split("at most ")[1].split(" bytes")[0])
    assert MIB <= most < 2 * MIB


# ---- ends ----


def test_a_server_that_closes_says_so_over_tls(secured, context):
    with running([SERVER, *secured[1]]) as server, connect(server, context) as client:
        server.interrupt()
        with pytest.raises(ConnectionClosed):
            client.recv(DEADLINE)
        assert client.close_code == 1001
        assert server.exit_status() == 0


def test_an_abort_is_no_orderly_end(server, context):
    with connect(server, context, "/abort") as client:
        client.send("x")
        with pytest.raises(ConnectionClosedError):
            client.recv(DEADLINE)
        assert client.close_code == 1006


def test_a_handler_may_read_the_certificate_again(server, servers, context):
    with connect(server, context, "/reload") as client:
        client.send("x")
        assert client.recv(DEADLINE) == "PORTAL_STATUS_OK"
    with websockets.sync.client.connect(servers["plain"].url("/reload"), proxy=None) as client:
        client.send("x")
        assert client.recv(DEADLINE) == "PORTAL_STATUS_TLS"


# ---- memory ----


def anonymous_memory(program):
    """Bytes of the program's own, that no file holds."""
    for line in Path(f"/proc/{program.process.pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no such line")


def test_an_idle_client_is_small(secured, context):
    """What each of 300 clients costs that sent a message and is quiet now."""
    with running([SERVER, *secured[1]]) as server, contextlib.ExitStack() as stack:
        def enter():
            plain = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE))
            client = stack.enter_context(context.wrap_socket(plain, server_hostname="localhost"))
            client.sendall(UPGRADE)
            assert client.recv(65536).startswith(b"HTTP/1.1 101 ")
            client.sendall(b"\x82\xfe\x03\xe8" + bytes(4) + bytes(1000))
            assert client.recv(65536) == b"\x82\x7e\x03\xe8" + bytes(1000)

        for _ in range(200):
            enter()
        before = anonymous_memory(server)
        for _ in range(300):
            enter()
        each = (anonymous_memory(server) - before) / 300
    # 3.6 KB as measured; a buffer of one record alone would be over it.
    assert each < 8192, each


def test_what_follows_a_goodbye_costs_nothing(secured, context):
    """A client that reads nothing says goodbye, and then sends on and on."""
    with running([SERVER, *secured[1]]) as server, \
            socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as plain, \
            context.wrap_socket(plain.dup(), server_hostname="localhost") as client:
        # Else the system may make room for all of it.
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        client.sendall(UPGRADE)
        assert client.recv(65536).startswith(b"HTTP/1.1 101 ")
        # Its echo is more than sockets hold, so the server still has to send when the goodbye comes.
        client.sendall(b"\x82\xff" + struct.pack("!Q", 7 * MIB) + bytes(4 + 7 * MIB) + b"\x88\x80" + bytes(4))
        with contextlib.suppress(OSError):
            client.unwrap()
        before = most = anonymous_memory(server)
        for _ in range(32):
            plain.sendall(bytes(MIB))
            most = max(most, anonymous_memory(server))
    assert most < before + 4 * MIB


def test_what_comes_together_with_a_goodbye_is_ignored(secured, context):
    """A server that could not read for a while gets close frame, goodbye and much that follows at once."""
    with running([SERVER, *secured[1]]) as server, \
            socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as plain:
        received, sealed = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context.wrap_bio(received, sealed, server_hostname="localhost")

        def until_done(step):
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    plain.sendall(sealed.read())
                    received.write(plain.recv(65536))

        until_done(client.do_handshake)
        client.write(UPGRADE)
        assert until_done(lambda: client.read(65536)).startswith(b"HTTP/1.1 101 ")
        # By a large message the system learns to make room for much.
        client.write(b"\x82\xff" + struct.pack("!Q", 8 * MIB) + bytes(4 + 8 * MIB))
        missing = 10 + 8 * MIB
        while missing:
            missing -= len(until_done(lambda: client.read(65536)))
        client.write(b"\x88\x80" + bytes(4))
        with contextlib.suppress(ssl.SSLWantReadError):
            client.unwrap()
        server.process.send_signal(signal.SIGSTOP)
        try:
            plain.sendall(sealed.read() + bytes(200 * 1024))
        finally:
            server.process.send_signal(signal.SIGCONT)
        answer = bytearray()
        # The server has nothing to wait for, and may be gone before it has read everything.
        with contextlib.suppress(ConnectionResetError):
            while piece := plain.recv(65536):
                answer += piece
    # A close frame and the server's goodbye; an alert would be alone.
    assert answer.count(b"\x17\x03\x03") == 2, bytes(answer)


def test_the_certificate_is_what_openssl_verifies(server, secured):
    command = ["openssl", "s_client", "-connect", f"localhost:{server.port}", "-servername", "localhost",
               "-verify_return_error", "-verify_hostname", "localhost", "-CAfile", secured[0].certificate]
    done = subprocess.run(command, input="Q\n", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=DEADLINE)
    assert done.returncode == 0 and "Verification: OK" in done.stdout
