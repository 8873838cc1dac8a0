"""What clients of a server see through the proxies that people put in front of it."""

import asyncio
import contextlib
import csv
import random
import socket
import time

import pytest
import websockets.asyncio.client
import websockets.sync.client
from websockets.exceptions import ConnectionClosed

from conftest import serving
from program import DEADLINE
from proxy import PROXIES, proxying

MIB = 1024 * 1024


def connect(proxy, **settings):
    return websockets.sync.client.connect(
        proxy.url("/"), proxy=None, max_size=None, open_timeout=DEADLINE, close_timeout=DEADLINE, **settings)


def eventually(answer, *arguments, until):
    """Asks until the answer is as it should be."""
    deadline = time.monotonic() + DEADLINE
    while not until(told := answer(*arguments)):
        assert time.monotonic() < deadline, told
        time.sleep(0.01)


# ---- messages ----


def test_messages_come_back(proxy):
    with connect(proxy) as client:
        for size in [0, 1, 125, 126, 65_535, 65_536]:
            text = "é" * (size // 2) + "e" * (size % 2)
            data = random.Random(size).randbytes(size)
            client.send(text)
            assert client.recv(DEADLINE) == text
            client.send(data)
            assert client.recv(DEADLINE) == data


@pytest.mark.parametrize("compression", ["deflate", None])
def test_a_big_message_comes_back(proxy, compression):
    with connect(proxy, compression=compression) as client:
        for data in [bytes(8 * MIB), random.Random(1).randbytes(8 * MIB)]:
            client.send(data)
            assert client.recv(DEADLINE) == data


def test_a_message_in_fragments_comes_back_whole(proxy):
    with connect(proxy) as client:
        client.send(["one ", "two ", "three"])
        assert client.recv(DEADLINE) == "one two three"


def test_pings_are_answered(proxy):
    with connect(proxy) as client:
        assert client.ping(b"are you there?").wait(DEADLINE)


def test_messages_sent_one_behind_the_other_come_back_in_order(proxy):
    with connect(proxy, compression=None) as client:
        for number in range(100):
            client.send(str(number))
        assert [client.recv(DEADLINE) for _ in range(100)] == [str(number) for number in range(100)]


def test_many_clients_are_served_at_once(proxy):
    clients, messages = 100, 20

    async def converse(number, all_connected):
        async with websockets.asyncio.client.connect(
                proxy.url("/"), proxy=None, open_timeout=DEADLINE, close_timeout=DEADLINE, ping_interval=None) as client:
            await all_connected.wait()
            for turn in range(messages):
                await client.send(f"{number} {turn}")
                assert await client.recv() == f"{number} {turn}"

    async def converse_all():
        all_connected = asyncio.Barrier(clients)
        await asyncio.gather(*(converse(number, all_connected) for number in range(clients)))

    asyncio.run(asyncio.wait_for(converse_all(), 3 * DEADLINE))


# ---- the end ----


def how_the_last_ended(proxy):
    status, body = proxy.ask("/last")
    assert status == 200
    return body.decode()


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4001])
def test_the_clients_close_code_and_reason_reach_the_server(proxy, code):
    with connect(proxy) as client:
        client.close(code, f"bye-{code}")
        assert client.close_code == code
    eventually(how_the_last_ended, proxy, until=lambda told: told == f"{code} bye-{code}")


@pytest.mark.parametrize("code", [1000, 1013, 3999, 4002])
def test_the_servers_close_code_and_reason_reach_the_client(proxy, code):
    with connect(proxy) as client:
        client.send(f"close {code} farewell-{code}")
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(DEADLINE)
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (code, f"farewell-{code}")
        assert closed.value.rcvd_then_sent


def test_a_broken_rule_is_closed_with_its_code(proxy):
    with connect(proxy, compression=None) as client:
        client.send(b"caf\xe9", text=True)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(DEADLINE)
        assert closed.value.rcvd.code == 1007


def test_a_client_that_vanishes_is_missed(proxy):
    with connect(proxy) as client:
        client.close(1000, "another")
    eventually(how_the_last_ended, proxy, until=lambda told: told == "1000 another")
    with connect(proxy) as client:
        client.send("here")
        assert client.recv(DEADLINE) == "here"
        client.socket.shutdown(socket.SHUT_RDWR)
    eventually(how_the_last_ended, proxy, until=lambda told: told == "1006 ")


@pytest.mark.parametrize("name", PROXIES)
def test_a_server_that_closes_says_so(name):
    with serving("TCP") as server, proxying(name, server) as proxy, connect(proxy) as client:
        client.send("here")
        assert client.recv(DEADLINE) == "here"
        server.interrupt()
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(DEADLINE)
        assert closed.value.rcvd.code == 1001
        assert server.exit_status() == 0


# ---- pages ----


def test_the_health_page_is_served(proxy):
    for _ in range(3):
        assert proxy.ask("/health") == (200, b"well\n")
        assert proxy.ask("/health", "HEAD") == (200, b"")


def test_what_is_not_there_is_not_found(proxy):
    assert proxy.ask("/nowhere")[0] == 404


def of_kind(name):
    """The proxies of this name, over TCP and over a Unix socket."""
    return pytest.mark.parametrize("proxied", [(name, "TCP"), (name, "Unix")], ids="-".join, indirect=True)


@of_kind("nginx")
def test_nginx_may_speak_http_1_0(proxy):
    assert proxy.ask("/health/1.0") == (200, b"well\n")


def state_of_server(proxy):
    """What HAProxy says of the server, and what its check found."""
    _, table = proxy.ask("/stats;csv")
    rows = csv.DictReader(table.decode().removeprefix("# ").splitlines())
    row = next(row for row in rows if row["svname"] == "portal")
    return row["status"], row["check_status"], row["check_code"]


@of_kind("haproxy")
def test_the_check_of_haproxy_finds_the_server_up(proxy):
    eventually(state_of_server, proxy, until=lambda state: state[1] not in ("", "INI", "* INI"))
    assert state_of_server(proxy)[:2] == ("UP", "L7OK")
