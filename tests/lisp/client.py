"""Websocket clients for the tests in Lisp, on Python's `websockets`.

Reads a command a line from standard input and answers each with a line. Messages are in hexadecimal,
after a dot, so that an empty one is seen: `.`. No answer comes later than the deadline.

open NAME PORT PATH [protocol=P,...] [header=NAME:VALUE]...     ok PROTOCOL | status NUMBER
send NAME text|binary MESSAGE                                   ok
send-many NAME COUNT SIZE                                       ok | closed
fragments NAME text|binary SIZE MESSAGE                         ok
receive NAME                                                    text MESSAGE | binary MESSAGE |
                                                                closed CODE REASON | late
ping NAME MESSAGE                                               ok | late
close NAME CODE REASON                                          closed CODE REASON
abort NAME                                                      ok
get PORT PATH                                                   STATUS CONTENT-TYPE BODY
crowd PORT PATH CLIENTS MESSAGES                                ok | wrong WHAT
emacs PORT                                                      ok
quit-debugger                                                   the restarts' names, then: ended
"""

import asyncio
import http.client
import re
import socket
import struct
import sys

import websockets.asyncio.client
import websockets.sync.client
from websockets.exceptions import ConnectionClosed, InvalidStatus

DEADLINE = 120  # seconds

clients = {}


def to_wire(data):
    return "." + (data.encode() if isinstance(data, str) else data).hex()


def from_wire(word):
    return bytes.fromhex(word[1:])


def farewell(client):
    """How the server said goodbye, once it has."""
    received = client.protocol.close_rcvd
    return f"closed {received.code} {to_wire(received.reason)}" if received else "closed 1006 ."


def open_client(name, port, path, *settings):
    protocols, headers = None, []
    for setting in settings:
        key, value = setting.split("=", 1)
        if key == "protocol":
            protocols = value.split(",")
        else:
            headers.append(tuple(value.split(":", 1)))
    try:
        connecting = websockets.sync.client.connect(
            f"ws://127.0.0.1:{port}{path}", proxy=None, max_size=None, ping_interval=None,
            open_timeout=DEADLINE, close_timeout=DEADLINE, subprotocols=protocols,
            additional_headers=headers,
        )
        client = clients[name] = connecting.__enter__()
    except InvalidStatus as refused:
        return f"status {refused.response.status_code}"
    return f"ok {client.subprotocol or '-'}"


def message(kind, word):
    return from_wire(word).decode() if kind == "text" else from_wire(word)


def send(name, kind, word):
    clients[name].send(message(kind, word))
    return "ok"


def send_many(name, count, size):
    try:
        for _ in range(int(count)):
            clients[name].send("x" * int(size))
    except ConnectionClosed:
        return "closed"
    return "ok"


def fragments(name, kind, size, word):
    whole, size = from_wire(word), int(size)
    clients[name].send((whole[at : at + size] for at in range(0, len(whole), size)), text=kind == "text")
    return "ok"


def receive(name):
    try:
        received = clients[name].recv(DEADLINE)
    except ConnectionClosed:
        return farewell(clients[name])
    except TimeoutError:
        return "late"
    return f"{'text' if isinstance(received, str) else 'binary'} {to_wire(received)}"


def ping(name, word):
    return "ok" if clients[name].ping(from_wire(word)).wait(DEADLINE) else "late"


def close(name, code, reason):
    clients[name].close(int(code), from_wire(reason).decode())
    return farewell(clients[name])


def abort(name):
    """Ends the connection with a reset."""
    client = clients[name]
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.socket.shutdown(socket.SHUT_RD)
    client.socket.close()
    return "ok"


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=DEADLINE)
    connection.request("GET", path)
    response = connection.getresponse()
    return f"{response.status} {to_wire(response.getheader('Content-Type', ''))} {to_wire(response.read())}"


def crowd(port, path, count, messages):
    """Many clients at once, each hearing every message of its own come back."""

    async def talk(number):
        async with websockets.asyncio.client.connect(
            f"ws://127.0.0.1:{port}{path}", proxy=None, open_timeout=DEADLINE, close_timeout=DEADLINE
        ) as client:
            for index in range(int(messages)):
                text = f"client {number}, message {index}, Grüße, 世界 👋 " + "x" * (index * 37 % 4000)
                await client.send(text)
                if await client.recv() != text:
                    raise ValueError(f"client {number} heard something else")

    async def all_talk():
        async with asyncio.timeout(6 * DEADLINE):
            await asyncio.gather(*(talk(number) for number in range(int(count))))

    asyncio.run(all_talk())
    return "ok"


class Emacs:
    """As much of SLIME as is needed to press q in its debugger."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", int(port)), DEADLINE)
        self.requests = 0
        self.request("(swank:connection-info)", "t")
        self.wait_for("(:return (:ok (:pid")

    def request(self, form, thread):
        self.requests += 1
        message = f'(:emacs-rex {form} "COMMON-LISP-USER" {thread} {self.requests})'.encode()
        self.socket.sendall(b"%06x%s" % (len(message), message))

    def read(self, length):
        data = b""
        while len(data) < length:
            piece = self.socket.recv(length - len(data))
            if not piece:
                raise EOFError("Lisp has left")
            data += piece
        return data.decode()

    def wait_for(self, beginning):
        """The next message with that beginning; others are passed over."""
        while True:
            message = self.read(int(self.read(6), 16))
            if message.startswith(beginning):
                return message

    def quit_debugger(self):
        message = self.wait_for("(:debug ")
        thread = message.split()[1]
        restarts = re.findall(r'\("(\*?[A-Z-]+)" "', message)
        self.request("(swank:throw-to-toplevel)", thread)
        self.wait_for(f"(:debug-return {thread}")
        return " ".join(restarts) + " ended"


def emacs(port):
    clients["emacs"] = Emacs(port)
    return "ok"


def quit_debugger():
    return clients["emacs"].quit_debugger()


COMMANDS = {
    "emacs": emacs, "quit-debugger": quit_debugger, "send-many": send_many,
    "open": open_client, "send": send, "fragments": fragments, "receive": receive, "ping": ping,
    "close": close, "abort": abort, "get": get, "crowd": crowd,
}

for line in sys.stdin:
    command, *words = line.split()
    try:
        answer = COMMANDS[command](*words)
    except Exception as failure:
        answer = f"wrong {type(failure).__name__}: {failure}"
    print(answer.replace("\n", " "), flush=True)
