"""The measured shapes of load."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """A load, and the figure by which servers are compared under it."""

    key: str
    # In full, and for the chart; empty if it is not in the chart.
    title: str
    short: str
    # The server's mode, and the arguments of the load program.
    mode: str
    load: tuple
    # The figure that is compared; less is better.
    figure: str = "server.ns"
    unit: str = "ns"
    # Whether it belongs to the quick run; whether the floors take part.
    quick: bool = False
    floor: bool = False
    # Variants of Portal that are compared, by their options, without other servers.
    variants: tuple = ()
    # Variants of Portal that are compared with other servers.
    also: tuple = ()
    # A program that measures itself, in place of server and load.
    program: str = ""
    # A factor for the duration, longer with more concurrency.
    patience: float = 1.0
    # Size of a large message, for which the throughput is reported, too.
    size: int = 0


def plural(count, noun):
    return f"{count:,} {noun}{'s' * (count != 1)}"


def size_name(size):
    for unit, factor in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor:
            return f"{size // factor} {unit}"
    return f"{size} B"


def echo(clients, size, depth=1, **more):
    under_way = f", {depth} in flight each" if depth > 1 else ""
    return Shape(
        f"echo-{clients}x{size}-d{depth}",
        f"Echo: {plural(clients, 'client')} × {size_name(size)}{under_way}",
        f"{clients:,} × {size_name(size)}{under_way}",
        "echo",
        ("echo", "--clients", clients, "--size", size, "--depth", depth),
        floor=True,
        size=size if size >= 1 << 20 else 0,
        **more,
    )


def broadcast(depth):
    return Shape(
        f"broadcast-1000-d{depth}",
        f"Broadcast to 1,000 clients: {plural(depth, 'message')} of 64 B at once; for each delivery",
        f"broadcast, {depth} at once",
        "broadcast",
        ("broadcast", "--clients", 1000, "--size", 64, "--depth", depth),
    )


def idle(when, figure):
    return Shape(
        f"idle-{when}",
        f"Memory: 19,000 idle clients, {when} each has sent a message; for each client",
        f"idle memory, {when} a message",
        "echo",
        ("idle", "--clients", 19_000),
        figure,
        "bytes",
    )


def sends(threads):
    return Shape(
        f"sends-{threads}",
        f"Portal alone: portal_send of 20 B from {plural(threads, 'other thread')}; the caller's time",
        "",
        "echo",
        (threads, 2_000_000 // threads),
        "caller.ns",
        variants=(("portal", ()),),
        program="sends",
    )


# PORTAL_OPTION_DEFLATE_LEVEL: zlib's default.
LEVEL = (("portal-level-6", ("18=6",)),)

# PORTAL_OPTION_DISPATCH.
DISPATCH = (("portal", ()), ("portal-per-client", ("3=1",)))

MANY = (1_000, 9_000, 19_000)

SHAPES = [
    echo(1, 20),
    echo(64, 20, quick=True),
    echo(64, 20, 16, quick=True),
    echo(64, 512),
    echo(500, 1 << 10, quick=True),
    echo(200, 16 << 10),
    echo(4, 1 << 20),
    echo(1, 16 << 20, patience=2),
    *(echo(clients, 20, patience=1 + clients / 19_000) for clients in MANY),
    Shape("handshake", "Connect, upgrade and close; per connection",
          "connect, upgrade, close", "echo", ("handshake", "--clients", 64)),
    Shape("deflate", "Echo: 64 clients × 1 KiB of JSON, compressed",
          "64 × 1 KiB, compressed", "deflate", ("echo", "--deflate", "--clients", 64, "--size", 1024),
          also=LEVEL),
    Shape("tls", "Echo: 64 clients × 1 KiB over TLS",
          "64 × 1 KiB, TLS", "tls", ("echo", "--clients", 64, "--size", 1024)),
    Shape("tls-handshake", "Connect, full TLS handshake, upgrade and close; per connection",
          "connect, TLS, upgrade, close", "tls", ("handshake", "--clients", 64)),
    broadcast(1),
    broadcast(64),
    idle("before", "server.anonymous_bytes_before"),
    idle("after", "server.anonymous_bytes_after"),
    Shape("dispatch", "Portal alone: echo of 64 clients × 20 B, dispatch IO and PER_CLIENT",
          "", "echo", ("echo", "--clients", 64), variants=DISPATCH),
    sends(1),
    sends(4),
]

# Echoes of 20 B with one in flight: how the cost grows with the number of clients.
GROWTH = (64, *MANY)


def growth_key(clients):
    return f"echo-{clients}x20-d1"
