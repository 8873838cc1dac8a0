"""Comparison of results."""

import statistics


def is_ours(name):
    return name.startswith("portal")


def is_floor(name):
    return name.startswith("floor")


def cost(results, name, figure):
    """A server's median; None if it has none."""
    return results.get(name, {}).get("median", {}).get(figure)


def best_peer(results, figure):
    """The name of the cheapest server that is neither ours nor a floor; None if there is none."""
    costs = {name: cost(results, name, figure) for name in results if not is_ours(name) and not is_floor(name)}
    costs = {name: value for name, value in costs.items() if value is not None}
    return min(costs, key=costs.get, default=None)


def compared(results, name, base, figure):
    """A server's cost in another's: the median of the rounds' ratios, since what disturbs a round often
    disturbs both. None if there is none."""
    ours, theirs = (results.get(one, {}).get("rounds", []) for one in (name, base))
    ratios = [one[figure] / other[figure] for one, other in zip(ours, theirs)]
    return statistics.median(ratios) if ratios else None


def number(value):
    """A number with its significant digits."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{1 if value >= 100 else 2 if value >= 10 else 3}f}"


def times(ratio):
    return "" if ratio is None else f"×{ratio:.2f}"


# Heading, figure and format of each column.
COLUMNS = [
    ("user", "server.user_ns", number),
    ("system", "server.system_ns", number),
    ("GB per processor second", "server.bytes_per_second", lambda rate: number(rate / 1e9)),
    ("per second", "per_second", number),
    ("busy", "server.busy", "{:.0%}".format),
    ("waits", "server.waits", "{:.4f}".format),
    ("preemptions", "server.preemptions", "{:.4f}".format),
    ("waits of the loop", "loop.waits", "{:.6f}".format),
    ("p50 µs", "latency_us.p50", number),
    ("p99 µs", "latency_us.p99", number),
    ("p99.9 µs", "latency_us.p99.9", number),
    ("resident KiB", "server.resident_bytes", lambda size: number(size / 1024)),
]
