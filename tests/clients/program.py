"""Starts a server program, reads the address that it prints, and stops it as Ctrl-C would."""

import contextlib
import re
import select
import signal
import subprocess

DEADLINE = 120  # seconds, for everything that should take a moment

# Settings of secure-server, for every way of serving.
WAYS = {
    "on its own thread": [],
    "on four": ["THREADS=4"],
    "a thread for each client": ["DISPATCH=1"],
    "on the host's thread": ["DISPATCH=2"],
    "by pulling": ["DISPATCH=2", "PULL=1"],
}


class Program:
    """A running server program; `port` is the one that it was given by the system."""

    def __init__(self, command, stderr=None):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
        self.port = None

    def read_port(self):
        """Waits for the line `listening on ws://localhost:PORT/PATH`."""
        readable, _, _ = select.select([self.process.stdout], [], [], DEADLINE)
        line = self.process.stdout.readline() if readable else ""
        found = re.fullmatch(r"listening on ws://localhost:(\d+)/\S*\n", line)
        assert found, f"the program printed {line!r} instead of its address"
        self.port = int(found[1])

    def url(self, path):
        return f"ws://localhost:{self.port}{path}"

    def interrupt(self):
        """What Ctrl-C does; returns at once."""
        self.process.send_signal(signal.SIGINT)

    def exit_status(self):
        """Waits for the program's end."""
        return self.process.wait(DEADLINE)

    def stop(self):
        """Ends the program in order."""
        self.interrupt()
        assert self.exit_status() == 0


@contextlib.contextmanager
def running(command, stderr=None):
    """The program, for as long as the block runs at most: if it has not ended by then, it is killed."""
    program = Program(command, stderr)
    try:
        program.read_port()
        yield program
    finally:
        program.process.kill()
        program.process.wait()
        program.process.stdout.close()
