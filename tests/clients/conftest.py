"""What the Python tests share: the echo program, whose path is in ECHO_PROGRAM."""

import os

import pytest

from program import running


@pytest.fixture(scope="module")
def echo():
    """The echo program, shared by the tests of a file."""
    with running([os.environ["ECHO_PROGRAM"], "0"]) as program:
        yield program
        program.stop()


@pytest.fixture
def own_echo():
    """An echo program of the test's own, which it may stop."""
    with running([os.environ["ECHO_PROGRAM"], "0"]) as program:
        yield program
        program.stop()
