"""The client example talks to the echo example. CLIENT_PROGRAM and ECHO_PROGRAM name them."""

import os
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from program import DEADLINE
from test_readme import wait_for_port

CLIENT = Path(os.environ["CLIENT_PROGRAM"]).resolve()
ECHO = Path(os.environ["ECHO_PROGRAM"]).resolve()


def start_echo(port):
    return subprocess.Popen([ECHO, str(port)], stdout=subprocess.DEVNULL)


def start_client(url):
    """Starts the client, whose end is the deadline of all that is read from it."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([CLIENT, url], stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    deadline = threading.Timer(DEADLINE, process.kill)
    deadline.daemon = True
    deadline.start()
    return process


def end(*processes):
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def echo():
    process = start_echo(0)
    try:
        yield wait_for_port(process)
    finally:
        end(process)


def test_the_client_prints_what_comes_sends_its_lines_and_ends_with_its_input(echo):
    client = start_client(f"ws://127.0.0.1:{echo}/echo")
    try:
        assert client.stdout.readline() == "Welcome to echo server.\n"
        client.stdin.write("Grüße\n")
        client.stdin.flush()
        assert client.stdout.readline() == "Grüße\n"
        out, said = client.communicate(timeout=DEADLINE)
    finally:
        end(client)
    assert (client.returncode, out) == (0, "")
    assert f"client: connected to 127.0.0.1:{echo}\n" in said
    assert "client: disconnected: 1000" in said


def test_the_client_says_why_it_is_not_connected_and_tries_again():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    client, echo = start_client(f"ws://127.0.0.1:{port}/echo"), None
    try:
        assert "refused" in client.stderr.readline()
        echo = start_echo(port)
        assert client.stdout.readline() == "Welcome to echo server.\n"
        client.communicate(timeout=DEADLINE)
        assert client.returncode == 0
    finally:
        end(client, *filter(None, [echo]))


def test_the_client_refuses_what_is_no_url():
    ended = subprocess.run([CLIENT, "http://localhost/"], timeout=DEADLINE, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "cannot connect" in ended.stderr
