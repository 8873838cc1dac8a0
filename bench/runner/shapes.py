"""What is measured: one shape of load after the other."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """A load that each server which has `mode` is put under."""

    key: str
    title: str
    # What a server is started for, and how the load program is called.
    mode: str
    load: tuple
    # Which of the load's figures is compared: less is better.
    figure: str = "server.ns"
    unit: str = "ns"
    # Whether it belongs to the quick run; whether the floor takes part.
    quick: bool = False
    floor: bool = False


def size_name(size):
    for unit, factor in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor:
            return f"{size // factor} {unit}"
    return f"{size} B"


def echo(clients, size, depth, quick=False):
    under_way = f", {depth} under way each" if depth > 1 else ""
    return Shape(
        f"echo-{clients}x{size}-d{depth}",
        f"{clients:,} client{'s' * (clients > 1)} × {size_name(size)}{under_way}",
        "echo",
        ("echo", "--clients", clients, "--size", size, "--depth", depth),
        quick=quick,
        floor=True,
    )


SHAPES = [
    echo(1, 20, 1),
    echo(64, 20, 1, quick=True),
    echo(64, 20, 16, quick=True),
    echo(64, 512, 1),
    echo(500, 1 << 10, 1, quick=True),
    echo(200, 16 << 10, 1, quick=True),
    echo(4, 1 << 20, 1),
    echo(1, 16 << 20, 1),
]
