"""Tables and progress on the terminal."""

import sys

from runner.comparing import COLUMNS, best_peer, compared, number, times


def progress(text):
    """Shows the progress, if the output is a terminal."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def table(shape, results):
    """One shape's results as text."""
    best = best_peer(results, shape.figure)
    medians = {name: result["median"] for name, result in results.items() if "median" in result}
    columns = [column for column in COLUMNS if any(column[1] in median for median in medians.values())]
    rows = [["", "each", "quartiles", "to best", "to floor", *(heading for heading, *_ in columns)]]
    for name, median in medians.items():
        value = median[shape.figure]
        quartiles = " to ".join(map(number, results[name]["quartiles"][shape.figure]))
        ratios = [times(compared(results, name, base, shape.figure)) for base in (best, "floor")]
        rows.append([name, f"{number(value)} {shape.unit}", quartiles, *ratios])
        rows[-1] += [show(median[figure]) if figure in median else "" for _, figure, show in columns]
    failures = [f"  {name} failed: {result['error']}" for name, result in results.items() if "error" in result]
    return "\n".join(["", shape.title, *aligned(rows), *failures])


def aligned(rows):
    """Lines of text: the first column left-aligned, the others right-aligned; without empty ones."""
    columns = [column for column in zip(*rows) if any(column[1:])]
    widths = [max(map(len, column)) for column in columns]
    for cells in zip(*columns):
        first, *rest = cells
        line = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:]))]
        yield ("  " + "  ".join(line)).rstrip()
