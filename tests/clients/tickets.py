"""What TLS 1.3 sends after its handshake."""

import contextlib
import select
import ssl

from program import DEADLINE


def read_tickets(secure):
    """Reads what TLS 1.3 sends after the handshake. Python 3.11 and its kin lose what a thread writes
    while another, as that of `websockets`, reads just this: then nothing is ever sent."""
    secure.setblocking(False)
    while not secure.session.has_ticket:
        wait_readable(secure)
        with contextlib.suppress(ssl.SSLWantReadError):
            raise AssertionError(f"the server said {secure.recv(1)}")
    secure.settimeout(None)


def wait_readable(waited):
    assert select.select([waited], [], [], DEADLINE)[0], "nothing came"
