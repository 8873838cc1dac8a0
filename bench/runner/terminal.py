"""The table on the terminal, and the line that tells how far it is."""

import sys


def progress(text):
    """Shows what is going on, if somebody watches."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def number(value):
    """Three or four digits that matter."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{1 if value >= 100 else 2 if value >= 10 else 3}f}"


def ratio(value, base):
    return f"×{value / base:.2f}" if base else ""


def best_peer(results, figure):
    """The least figure of a server that is neither ours nor the floor."""
    costs = [
        result["median"][figure]
        for name, result in results.items()
        if "median" in result and not name.startswith("portal") and name != "floor"
    ]
    return min(costs, default=None)


HEADINGS = ("", "each", "quartiles", "user", "system", "per second", "busy", "p50", "p99", "p99.9 µs", "to best", "to floor")


def table(shape, results):
    """One shape's results as text."""
    best = best_peer(results, shape.figure)
    floor = results.get("floor", {}).get("median", {}).get(shape.figure)
    rows = [HEADINGS]
    failures = []
    for name, result in results.items():
        if "error" in result:
            failures.append(f"  {name} failed: {result['error']}")
        if "median" in result:
            rows.append(row(name, result, shape, best, floor))
    widths = [max(len(cells[column]) for cells in rows) for column in range(len(HEADINGS))]
    lines = [f"\n{shape.title}"]
    for cells in rows:
        first, *rest = (cell.rjust(width) if column else cell.ljust(width)
                        for column, (cell, width) in enumerate(zip(cells, widths)))
        lines.append("  ".join(["  " + first, *rest]).rstrip())
    return "\n".join(lines + failures)


def row(name, result, shape, best, floor):
    median = result["median"]
    cost = median[shape.figure]
    quartiles = " to ".join(map(number, result["quartiles"][shape.figure]))

    def cell(figure, show=number):
        return show(median[figure]) if figure in median else ""

    return (
        name,
        f"{number(cost)} {shape.unit}",
        quartiles,
        cell("server.user_ns"),
        cell("server.system_ns"),
        cell("per_second"),
        cell("server.busy", lambda share: f"{share:.0%}"),
        cell("latency_us.p50"),
        cell("latency_us.p99"),
        cell("latency_us.p99.9"),
        ratio(cost, best),
        ratio(cost, floor),
    )
