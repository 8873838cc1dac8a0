"""Compression (permessage-deflate), as Python's `websockets` and a client by hand see it."""

import base64
import contextlib
import itertools
import os
import random
import socket
import zlib

import pytest
import websockets.sync.client
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from program import DEADLINE, running

MIB = 1024 * 1024
BOTH_WITHOUT = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

# Values of PORTAL_OPTION_DEFLATE and, for the last four, of PORTAL_OPTION_DISPATCH: a thread for each
# client, from which what it sends is mailed, and a thread of the program's.
OFF, WITHOUT_TAKEOVER, WITH_TAKEOVER = "0", "1", "2"
MAILED_WITHOUT, MAILED_WITH = "1 1", "2 1"
HOSTED_WITHOUT, HOSTED_WITH = "1 2", "2 2"
COMPRESSING = [WITHOUT_TAKEOVER, WITH_TAKEOVER, MAILED_WITHOUT, MAILED_WITH, HOSTED_WITHOUT, HOSTED_WITH]


@pytest.fixture(scope="module")
def servers():
    """Servers that only echo, by their settings."""
    with contextlib.ExitStack() as stack:
        programs = {}
        for settings in [OFF, *COMPRESSING]:
            command = [os.environ["ECHO_SERVER"], "0", *settings.split()]
            programs[settings] = stack.enter_context(running(command))
        yield programs
        for program in programs.values():
            program.stop()


def connect(program, **parameters):
    """A client that offers compression with these parameters."""
    return websockets.sync.client.connect(
        program.url("/"), proxy=None, max_size=None, open_timeout=DEADLINE, close_timeout=DEADLINE,
        compression=None, extensions=[ClientPerMessageDeflateFactory(**parameters)],
    )


def json_of(size, seed=0):
    """Text such as programs send, `size` bytes in all."""
    numbers = random.Random(seed)
    items = (f'{{"id":{numbers.randrange(10**6)},"name":"Zoë","ok":true}},' for _ in itertools.count())
    text = ""
    while len(text.encode()) < size:
        text += next(items) * (1 + size // 10_000)
    return text.encode()[:size].decode(errors="ignore").ljust(size - 1, ".")


OFFERS = [
    {},
    {"client_max_window_bits": 9},
    {"server_no_context_takeover": True},
    {"client_no_context_takeover": True},
    {"server_no_context_takeover": True, "client_no_context_takeover": True},
    *({"server_max_window_bits": bits} for bits in range(9, 16)),
    {"server_max_window_bits": 9, "client_max_window_bits": 10, "server_no_context_takeover": True},
]


@pytest.mark.parametrize("mode", COMPRESSING)
@pytest.mark.parametrize("offer", OFFERS, ids=str)
def test_messages_come_back_whatever_was_agreed_on(servers, mode, offer):
    with connect(servers[mode], **offer) as client:
        assert client.protocol.extensions, "compression was not agreed on"
        for number in range(20):
            text = json_of(100 + number**4, number)
            client.send(text)
            assert client.recv(DEADLINE) == text
            data = random.Random(number).randbytes(100 + number**3)
            client.send(data)
            assert client.recv(DEADLINE) == data


@pytest.mark.parametrize("mode", COMPRESSING)
@pytest.mark.parametrize("size", [0, 1, 255, 256, 65_535, 65_536, MIB, 15 * MIB])
def test_a_message_of_any_size_comes_back(servers, mode, size):
    with connect(servers[mode]) as client:
        for data in [bytes(size), random.Random(size).randbytes(size)]:
            client.send(data)
            assert client.recv(DEADLINE) == data


@pytest.mark.parametrize("mode", COMPRESSING)
def test_a_message_in_fragments_comes_back_whole(servers, mode):
    with connect(servers[mode]) as client:
        text = json_of(100_000)
        for _ in range(3):
            client.send(text[at : at + 999] for at in range(0, len(text), 999))
            assert client.recv(DEADLINE) == text


def test_a_server_that_does_not_compress_agrees_on_nothing(servers):
    with connect(servers[OFF]) as client:
        assert not client.protocol.extensions
        client.send("as it is")
        assert client.recv(DEADLINE) == "as it is"


@pytest.mark.parametrize(
    "message, code",
    [(b"." * (16 * MIB + 1), 1009), (b"caf\xe9", 1007)],
    ids=["too long when inflated", "no UTF-8 when inflated"],
)
def test_a_broken_rule_closes_with_its_code(servers, message, code):
    with connect(servers[WITHOUT_TAKEOVER]) as client:
        with pytest.raises(ConnectionClosed) as closed:
            client.send(message, text=True)
            client.recv(DEADLINE)
        assert closed.value.rcvd.code == code


class Raw:
    """A client by hand, which sees the bytes."""

    def __init__(self, program, *offers):
        self.socket = socket.create_connection(("localhost", program.port), DEADLINE)
        self.stream = self.socket.makefile("rb")
        headers = "".join(f"Sec-WebSocket-Extensions: {offer}\r\n" for offer in offers)
        self.socket.sendall(
            f"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}\r\n{headers}\r\n".encode()
        )
        assert self.stream.readline() == b"HTTP/1.1 101 Switching Protocols\r\n"
        self.agreed = None
        while line := self.stream.readline().strip():
            name, _, value = line.decode().partition(": ")
            if name.lower() == "sec-websocket-extensions":
                self.agreed = value

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()
        self.socket.close()

    def send(self, first, payload):
        length = len(payload)
        assert length < 65_536
        head = bytes([first, 0xFE]) + length.to_bytes(2, "big") if length > 125 else bytes([first, 0x80 | length])
        self.socket.sendall(head + bytes(4) + payload)

    def receive(self):
        """The first byte and the payload of the next frame."""
        first, length = self.stream.read(2)
        if length == 126:
            length = int.from_bytes(self.stream.read(2), "big")
        return first, self.stream.read(length)


@pytest.mark.parametrize(
    "offers, mode, agreed",
    [
        (["permessage-deflate"], WITHOUT_TAKEOVER, BOTH_WITHOUT),
        (["permessage-deflate"], WITH_TAKEOVER, "permessage-deflate"),
        (["permessage-deflate; mystery, permessage-deflate"], WITH_TAKEOVER, "permessage-deflate"),
        (["permessage-deflate; server_max_window_bits=8"], WITH_TAKEOVER, None),
        (
            ["permessage-deflate; server_max_window_bits=8", "permessage-deflate; server_max_window_bits=9"],
            WITH_TAKEOVER,
            "permessage-deflate; server_max_window_bits=9",
        ),
        (["permessage-deflate; client_max_window_bits=7"], WITHOUT_TAKEOVER, None),
        (["permessage-deflate; server_max_window_bits="], WITHOUT_TAKEOVER, None),
        (['permessage-deflate; server_max_window_bits="", permessage-deflate'], WITHOUT_TAKEOVER, BOTH_WITHOUT),
        (["permessage-deflate"], OFF, None),
        (["x-webkit-deflate-frame"], WITHOUT_TAKEOVER, None),
    ],
)
def test_the_first_good_offer_is_taken(servers, offers, mode, agreed):
    with Raw(servers[mode], *offers) as client:
        assert client.agreed == agreed
        client.send(0x81, b"hello")
        assert client.receive() == (0x81, b"hello")


@pytest.mark.parametrize("mode", COMPRESSING)
def test_what_is_small_or_does_not_shrink_comes_as_it_is(servers, mode):
    with Raw(servers[mode], "permessage-deflate") as client:
        inflate = zlib.decompressobj(wbits=-15)
        for length in [255, 256, 255, 1000]:
            client.send(0x81, b"a" * length)
            first, payload = client.receive()
            if length == 255:
                assert (first, payload) == (0x81, b"a" * length)
            else:
                assert first == 0xC1 and len(payload) < 30
                assert inflate.decompress(payload + b"\x00\x00\xff\xff") == b"a" * length
            noise = random.Random(length).randbytes(length)
            client.send(0x82, noise)
            assert client.receive() == (0x82, noise)


def test_with_context_takeover_a_repeated_message_costs_next_to_nothing(servers):
    with Raw(servers[WITH_TAKEOVER], "permessage-deflate") as client:
        inflate = zlib.decompressobj(wbits=-15)
        text = json_of(1000).encode()
        lengths = []
        for _ in range(3):
            client.send(0x81, text)
            first, payload = client.receive()
            assert first == 0xC1
            assert inflate.decompress(payload + b"\x00\x00\xff\xff") == text
            lengths.append(len(payload))
        assert lengths[1] < lengths[0] // 4 and lengths[2] < lengths[0] // 4


def memory_of_idle_clients(program, count=400):
    """By how many KiB a server grows for clients that have each had one compressed answer."""

    def in_use():
        with open(f"/proc/{program.process.pid}/smaps_rollup") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith("Rss:"))

    def converse(stack):
        client = stack.enter_context(Raw(program, "permessage-deflate"))
        compress = zlib.compressobj(wbits=-15)
        compressed = compress.compress(b"a" * 1000) + compress.flush(zlib.Z_SYNC_FLUSH)
        plain = client.agreed is None
        client.send(0x81 if plain else 0xC1, b"a" * 1000 if plain else compressed[:-4])
        assert client.receive()[0] == (0x81 if plain else 0xC1)

    with contextlib.ExitStack() as stack:
        converse(stack)
        before = in_use()
        for _ in range(count):
            converse(stack)
        return in_use() - before


def test_without_context_takeover_an_idle_client_costs_no_more_than_a_plain_one(servers):
    plain = memory_of_idle_clients(servers[OFF])
    assert memory_of_idle_clients(servers[WITHOUT_TAKEOVER]) <= plain + 128


def test_with_context_takeover_a_client_costs_at_most_what_the_header_says(servers):
    plain = memory_of_idle_clients(servers[OFF])
    assert memory_of_idle_clients(servers[WITH_TAKEOVER]) <= plain + 400 * 210


@pytest.mark.parametrize(
    "first, payload, code",
    [
        (0xC1, b"\xff\xff\xff", 1007),
        (0xC9, b"", 1002),
        (0xA1, b"", 1002),
        (0xC0, b"", 1002),
    ],
    ids=["no deflate", "a compressed ping", "another reserved bit", "a compressed continuation"],
)
def test_a_frame_that_breaks_the_rules_closes_with_its_code(servers, first, payload, code):
    with Raw(servers[WITHOUT_TAKEOVER], "permessage-deflate") as client:
        client.send(first, payload)
        assert client.receive() == (0x88, code.to_bytes(2, "big"))


def test_a_bomb_closes_with_1009(servers):
    compress = zlib.compressobj(9, wbits=-15)
    bomb = compress.compress(bytes(40 * MIB)) + compress.flush(zlib.Z_SYNC_FLUSH)
    assert len(bomb) < 40 * MIB // 1000 + 100 and len(bomb) < 65_536
    with Raw(servers[WITHOUT_TAKEOVER], "permessage-deflate") as client:
        client.send(0xC2, bomb[:-4])
        assert client.receive() == (0x88, (1009).to_bytes(2, "big"))
