"""The servers that are compared, and running one of them."""

import contextlib
import json
import os
import random
import shlex
import signal
import socket
import subprocess
import time
from dataclasses import dataclass

from runner.comparing import is_floor

DEADLINE = 120  # seconds until a server must listen

ALL_MODES = frozenset(("echo", "deflate", "tls", "broadcast"))


@dataclass(frozen=True)
class Server:
    name: str
    # With {port}, and with {mode} if it has more than one.
    command: str
    modes: frozenset = ALL_MODES
    version: str = ""
    # It sends each byte back unchanged, without WebSocket.
    raw: bool = False


def portal(name, program, version, *options):
    return Server(name, " ".join([shlex.quote(str(program)), "{port} {mode}", *options]), version=version)


def from_argument(argument):
    """A server from NAME=COMMAND."""
    name, equals, command = argument.partition("=")
    if not equals or "{port}" not in command:
        raise SystemExit(f"run: --peer wants NAME='COMMAND {{port}} {{mode}}', not {argument!r}")
    return Server(name, command, ALL_MODES if "{mode}" in command else frozenset(("echo",)))


def from_file(path):
    """The servers in a peers.json; those that are named floors are raw."""
    return [
        Server(name, peer["command"], frozenset(peer["modes"]), peer.get("version", ""), raw=is_floor(name))
        for name, peer in json.loads(path.read_text()).items()
    ]


@dataclass
class Running:
    process: subprocess.Popen
    port: int


@contextlib.contextmanager
def running(server, mode, processor, environment):
    """The server, listening, pinned to a processor; killed at the end of the block."""
    port = free_port()
    command = shlex.split(server.command.format(port=port, mode=mode))
    # In a session of its own, so that Ctrl-C does not reach it and its whole process group can be killed.
    process = subprocess.Popen(
        ["taskset", "-c", str(processor), *command],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
    )
    try:
        wait_until_listening(server, process, port)
        yield Running(process, port)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()


def free_port():
    """A port below the ephemeral ones, where sockets in TIME_WAIT could block it."""
    for port in random.sample(range(10_000, 32_000), 1_000):
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::", port))
            return port
    raise RuntimeError("no port is free")


def wait_until_listening(server, process, port):
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        if process.poll() is not None:
            said = process.stderr.read().decode(errors="replace").strip()
            raise RuntimeError(f"{server.name} ended with status {process.returncode}: {said}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"{server.name} does not listen on port {port}")
