"""The handover example: systemd starts it with a socket, and it is replaced without a gap. HANDOVER_PROGRAM names it."""

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect, unix_connect

from program import DEADLINE

HANDOVER = Path(os.environ["HANDOVER_PROGRAM"]).resolve()
UNITS = Path(__file__).parents[2] / "packaging" / "systemd"

REQUEST = (b"GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")


def eventually(condition, what):
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


class Service:
    """A server that is started as systemd does it: the socket is its descriptor 3, and it says who serves."""

    def __init__(self, program, folder):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port = self.listener.getsockname()[1]
        self.notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notified.bind(str(folder / "notify"))
        self.notified.settimeout(DEADLINE)
        self.log = open(folder / "log", "w+")
        environment = {**os.environ, "LISTEN_FDS": "1", "NOTIFY_SOCKET": str(folder / "notify")}
        # The number of the process that the shell becomes is the shell's.
        command = ["bash", "-c", 'exec 3<&"$1" || exit; export LISTEN_PID=$$; exec "$0" fd:systemd', program]
        descriptor = self.listener.fileno()
        self.process = subprocess.Popen([*command, str(descriptor)], pass_fds=[descriptor], env=environment,
                                        stdout=subprocess.DEVNULL, stderr=self.log)
        self.pids = []

    def next_pid(self):
        """Waits until a process says that it serves; returns its number."""
        ready, number = self.notified.recv(1000).decode().split("\n")
        assert ready == "READY=1"
        self.pids.append(int(number.removeprefix("MAINPID=")))
        return self.pids[-1]

    def url(self):
        return f"ws://127.0.0.1:{self.port}/echo"

    def hand_over(self):
        os.kill(self.pids[-1], signal.SIGHUP)
        return self.next_pid()

    def serves(self, pid):
        """Whether the process has not ended."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        return False

    def close(self):
        for pid in self.pids:
            if self.serves(pid):
                os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        for part in (self.listener, self.notified, self.log):
            part.close()


@pytest.fixture
def program(tmp_path):
    """A copy of the program, which a test may replace."""
    return Path(shutil.copy(HANDOVER, tmp_path / "handover"))


@pytest.fixture
def service(program, tmp_path):
    with contextlib.closing(Service(program, tmp_path)) as service:
        assert service.next_pid() == service.process.pid
        yield service


def visit(port):
    """Connects, is echoed and leaves; raises an OSError otherwise."""
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as client:
        def read(end):
            received = b""
            while not received.endswith(end):
                piece = client.recv(1)
                if not piece:
                    raise ConnectionResetError(f"the end of the stream after {received!r}")
                received += piece
            return received

        client.sendall(REQUEST)
        if not read(b"\r\n\r\n").startswith(b"HTTP/1.1 101 "):
            raise ConnectionRefusedError("no handshake")
        client.sendall(b"\x81\x85\0\0\0\0hello")
        read(b"\x81\x05hello")
        client.sendall(b"\x88\x82\0\0\0\0\x03\xe8")
        read(b"\x88\x02\x03\xe8")


class Visitors:
    """A client that comes every 5 ms, until the block ends."""

    def __init__(self, port):
        self.port, self.count, self.failures = port, 0, []
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self.come) for _ in range(4)]

    def come(self):
        # Each of the four comes every 20 ms, or at once if it is late.
        due = time.monotonic()
        while not self.stopped.is_set():
            try:
                visit(self.port)
                self.count += 1
            except OSError as error:
                self.failures.append(error)
            due = max(due + 0.02, time.monotonic() - 1)
            self.stopped.wait(max(0, due - time.monotonic()))

    def __enter__(self):
        for number, thread in enumerate(self.threads):
            thread.start()
            self.stopped.wait(0.005 if number < 3 else 0)
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join()

    def some_more(self):
        """Waits until fifty more have been served."""
        goal = self.count + 50
        eventually(lambda: self.count >= goal or self.failures, "nobody is served")


def test_nobody_is_refused_while_a_process_replaces_another(service):
    with Visitors(service.port) as visitors:
        visitors.some_more()
        with connect(service.url(), open_timeout=DEADLINE) as old_client:
            for handover in range(2):
                old = service.pids[-1]
                new = service.hand_over()
                assert new != old
                visitors.some_more()
                # Whoever was there before is served by the old process.
                old_client.send("still here")
                assert old_client.recv(DEADLINE) == "still here"
            assert service.serves(service.pids[0]), "it has ended before its clients"
            eventually(lambda: not service.serves(service.pids[1]), "it has no clients and does not end")
        assert service.process.wait(DEADLINE) == 0
        visitors.some_more()
    assert visitors.failures == []
    with connect(service.url(), open_timeout=DEADLINE) as client:
        os.kill(service.pids[-1], signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(DEADLINE)
        assert closed.value.rcvd.code == 1012
    eventually(lambda: not service.serves(service.pids[-1]), "it does not end")


def test_a_process_that_drains_closes_its_clients_when_it_is_told_to(service):
    with connect(service.url(), open_timeout=DEADLINE) as client:
        service.hand_over()
        os.kill(service.pids[0], signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(DEADLINE)
        assert closed.value.rcvd.code == 1012
    assert service.process.wait(DEADLINE) == 0
    visit(service.port)


@pytest.mark.parametrize("successor", ["#!/bin/sh\nexit 1\n", None])
def test_without_a_successor_nothing_changes(service, program, successor):
    program.unlink()
    if successor is not None:
        program.write_text(successor)
        program.chmod(0o755)
    with Visitors(service.port) as visitors:
        visitors.some_more()
        os.kill(service.pids[0], signal.SIGHUP)
        log = Path(service.log.name)
        eventually(lambda: "cannot start; serving on" in log.read_text(), "it says nothing")
        visitors.some_more()
    assert visitors.failures == []
    assert service.process.poll() is None


def test_systemd_s_own_program_starts_it_at_the_first_connection(tmp_path):
    path = tmp_path / "socket"
    command = ["systemd-socket-activate", "-l", str(path), str(HANDOVER), "fd:systemd"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        eventually(path.exists, "systemd-socket-activate does not listen")
        with unix_connect(str(path), "ws://localhost/echo", open_timeout=DEADLINE) as client:
            client.send("hello")
            assert client.recv(DEADLINE) == "hello"
            readable, _, _ = select.select([process.stdout], [], [], DEADLINE)
            assert readable and process.stdout.readline() == "listening on ws://localhost:0/echo\n"
            process.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(DEADLINE)
            assert closed.value.rcvd.code == 1012
        assert process.wait(DEADLINE) == 0
        assert path.exists()  # it is systemd's
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_without_systemd_it_says_so():
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LISTEN_")}
    ended = subprocess.run([HANDOVER], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                           timeout=DEADLINE)
    assert ended.returncode == 1
    assert "LISTEN_PID is not set" in ended.stderr


def test_systemd_understands_the_units(tmp_path):
    for unit in UNITS.iterdir():
        text = unit.read_text().replace("/usr/local/bin/portal-handover", str(HANDOVER))
        (tmp_path / unit.name).write_text(text)
    units = sorted(path for path in tmp_path.iterdir())
    assert [unit.name for unit in units] == ["portal-example.service", "portal-example.socket"]
    checked = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=DEADLINE)
    # Of other units on this machine it may complain, too.
    complaints = [line for line in checked.stdout.splitlines() if "portal-example" in line]
    assert complaints == []
