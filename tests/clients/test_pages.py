"""A page, asked for by Python's own HTTP client."""

import http.client
import os
import socket

import pytest

from program import running

DEADLINE = 10


@pytest.fixture
def connection(echo):
    connection = http.client.HTTPConnection("localhost", echo.port, timeout=DEADLINE)
    yield connection
    connection.close()


def ask(connection, method="GET", **headers):
    connection.request(method, "/", headers=headers)
    response = connection.getresponse()
    return response, response.read()


def test_one_connection_serves_many_requests(connection):
    _, first = ask(connection)
    source = connection.sock.getsockname()
    for _ in range(20):
        response, body = ask(connection)
        assert (response.status, body) == (200, first)
    response, body = ask(connection, "HEAD")
    assert (response.status, body, response.length) == (200, b"", 0)
    assert int(response.headers["Content-Length"]) == len(first)
    assert connection.sock.getsockname() == source


def test_a_page_that_the_client_has_is_not_sent_again(connection):
    response, _ = ask(connection)
    etag = response.headers["ETag"]
    response, body = ask(connection, **{"If-None-Match": etag})
    assert (response.status, body, response.headers["ETag"]) == (304, b"", etag)
    response, body = ask(connection, **{"If-None-Match": '"another"'})
    assert response.status == 200 and body


def test_who_wants_to_leave_is_told_goodbye(connection):
    response, body = ask(connection, Connection="close")
    assert response.headers["Connection"] == "close" and body
    assert connection.sock is None


def test_requests_sent_ahead_are_answered_once(echo):
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.create_connection(("localhost", echo.port), timeout=DEADLINE) as ahead:
        ahead.sendall(request * 100)
        answer = b""
        while piece := ahead.recv(65536):
            answer += piece
    assert answer.count(b"HTTP/1.1 200 OK") == 1
    assert b"\r\nConnection: close\r\n" in answer


def test_a_client_that_asks_for_nothing_more_is_let_go():
    with running([os.environ["SECURE_SERVER"], "PAGE_KEEP_ALIVE=500"]) as program:
        connection = http.client.HTTPConnection("localhost", program.port, timeout=DEADLINE)
        ask(connection)
        assert connection.sock.recv(1) == b""
        connection.close()
        program.stop()
