"""The echo program, as clients written with Python's `websockets` see it."""

import asyncio
import contextlib
import http.client
import itertools

import pytest
import websockets.asyncio.client
import websockets.sync.client
from websockets.exceptions import ConnectionClosed, InvalidStatus

from program import DEADLINE

GREETING = "Welcome to echo server."
MIB = 1024 * 1024
SIZES = [0, 1, 125, 126, 65_535, 65_536, MIB, 15 * MIB]


def connect(program, path="/echo"):
    """A client that takes messages of any size and waits for nothing longer than the deadline."""
    return websockets.sync.client.connect(
        program.url(path), proxy=None, max_size=None, open_timeout=DEADLINE, close_timeout=DEADLINE
    )


@contextlib.contextmanager
def greeted(program):
    """A client that has already heard the greeting."""
    with connect(program) as client:
        assert client.recv(DEADLINE) == GREETING
        yield client


def text_of(size):
    """ASCII and characters of two, three and four bytes, `size` bytes in all."""
    words = "Grüße, 世界 👋 "
    whole, rest = divmod(size, len(words.encode()))
    return words * whole + "." * rest


def bytes_of(size):
    """Every byte value in turn, `size` bytes in all."""
    return bytes(itertools.islice(itertools.cycle(range(251)), size))


def test_a_client_is_greeted(echo):
    with connect(echo) as client:
        assert client.recv(DEADLINE) == GREETING


@pytest.mark.parametrize("size", SIZES)
def test_text_of_any_size_comes_back(echo, size):
    with greeted(echo) as client:
        text = text_of(size)
        client.send(text)
        assert client.recv(DEADLINE) == text


@pytest.mark.parametrize("size", SIZES)
def test_binary_of_any_size_comes_back(echo, size):
    with greeted(echo) as client:
        data = bytes_of(size)
        client.send(data)
        assert client.recv(DEADLINE) == data


def test_messages_come_back_in_order(echo):
    with greeted(echo) as client:
        texts = [f"message {number}" for number in range(1000)]
        for text in texts:
            client.send(text)
        assert [client.recv(DEADLINE) for _ in texts] == texts


def test_a_message_in_fragments_comes_back_whole(echo):
    with greeted(echo) as client:
        data = bytes_of(100_000)
        client.send(data[at : at + 999] for at in range(0, len(data), 999))
        assert client.recv(DEADLINE) == data


def test_text_may_be_cut_inside_a_character(echo):
    with greeted(echo) as client:
        text = text_of(1000)
        client.send((bytes([byte]) for byte in text.encode()), text=True)
        assert client.recv(DEADLINE) == text


def test_a_ping_is_answered(echo):
    with greeted(echo) as client:
        assert client.ping(b"are you there?").wait(DEADLINE)


def test_a_ping_between_two_fragments_is_answered_at_once(echo):
    with greeted(echo) as client:

        def fragments():
            yield "before "
            assert client.ping().wait(DEADLINE)
            yield "and after"

        client.send(fragments())
        assert client.recv(DEADLINE) == "before and after"


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4999])
def test_a_close_is_answered_with_its_own_code(echo, code):
    with greeted(echo) as client:
        client.close(code, "bye")
        assert client.protocol.close_rcvd.code == code


@pytest.mark.parametrize(
    "kind, message, code",
    [
        ("text that is not UTF-8", b"caf\xe9", 1007),
        ("text that is too long", b"." * (16 * MIB + 1), 1009),
    ],
)
def test_a_broken_rule_closes_with_its_code(echo, kind, message, code):
    with greeted(echo) as client:
        with pytest.raises(ConnectionClosed) as closed:
            client.send(message, text=True)
            client.recv(DEADLINE)
        assert closed.value.rcvd.code == code, kind


def test_an_unknown_path_is_refused_with_404(echo):
    with pytest.raises(InvalidStatus) as refused, connect(echo, "/nowhere"):
        pass
    assert refused.value.response.status_code == 404


@pytest.mark.parametrize("path, status", [("/", 200), ("/echo", 426), ("/nowhere", 404)])
def test_a_plain_get_is_answered(echo, path, status):
    plain = http.client.HTTPConnection("localhost", echo.port, timeout=DEADLINE)
    plain.request("GET", path)
    assert plain.getresponse().status == status
    plain.close()


def connect_many(program, count):
    """As many clients at once, as an async context manager each."""
    return [
        websockets.asyncio.client.connect(
            program.url("/echo"), proxy=None, open_timeout=DEADLINE, close_timeout=DEADLINE
        )
        for _ in range(count)
    ]


def test_each_of_many_clients_hears_its_own_messages(echo):
    async def talk(connecting, name):
        async with connecting as client:
            assert await client.recv() == GREETING
            for number in range(50):
                text = f"{name}, message {number}"
                await client.send(text)
                assert await client.recv() == text

    async def all_talk():
        clients = connect_many(echo, 200)
        async with asyncio.timeout(3 * DEADLINE):
            await asyncio.gather(*(talk(client, f"client {n}") for n, client in enumerate(clients)))

    asyncio.run(all_talk())


def test_ctrl_c_closes_every_client_with_1001(own_echo):
    async def interrupt_in_the_middle():
        async with asyncio.timeout(3 * DEADLINE):
            clients = await asyncio.gather(*connect_many(own_echo, 100))
            for client in clients:
                assert await client.recv() == GREETING
            own_echo.interrupt()
            await asyncio.gather(*(client.wait_closed() for client in clients))
            return {client.protocol.close_rcvd.code for client in clients}

    assert asyncio.run(interrupt_in_the_middle()) == {1001}
    assert own_echo.exit_status() == 0
    with pytest.raises(ConnectionRefusedError), connect(own_echo):
        pass
