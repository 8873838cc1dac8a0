"""Writes the results into docs/benchmarks.md, between two marks, and the chart beside it."""

from pathlib import Path

from runner import chart, machine
from runner.comparing import COLUMNS, best_peer, compared, cost, number, times
from runner.shapes import GROWTH, SHAPES, growth_key

PAGE = Path(__file__).resolve().parents[2] / "docs/benchmarks.md"
BEGIN, END = "<!-- written by bench/run report -->\n", "<!-- end -->\n"


def write(results):
    before, _, rest = PAGE.read_text().partition(BEGIN)
    behind = rest.partition(END)[2]
    PAGE.write_text(before + BEGIN + "\n" + page(results) + "\n" + END + behind)
    PAGE.with_suffix(".svg").write_text(chart.draw(results))


def merged(runs):
    """The results of several runs as one; for a shape that was measured again, the latest."""
    results = {**runs[0], "servers": {}, "shapes": {}}
    for run in runs:
        results["servers"] |= run["servers"]
        results["shapes"] |= run["shapes"]
    return results


def page(results):
    measured = [(shape, results["shapes"][shape.key]) for shape in SHAPES if shape.key in results["shapes"]]
    versions = ", ".join(f"{name} {version}".strip() for name, version in results["servers"].items())
    parts = [
        f"{machine.line(results['machine'])}; commit {results['machine']['commit']}; "
        "medians of interleaved rounds.",
        f"Measured: {versions}.",
        "![What servers cost beside the best peer](benchmarks.svg)",
        overview(measured),
        growth(results["shapes"], list(results["servers"])),
        *(details(shape, found) for shape, found in measured),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def overview(measured):
    rows = [["Load", "Portal", "Best peer", "", "Portal to best peer", "Portal to floor"]]
    for shape, found in measured:
        best, ours = best_peer(found, shape.figure), cost(found, "portal", shape.figure)
        if not shape.short or ours is None:
            continue
        theirs = f"{number(cost(found, best, shape.figure))} {shape.unit}" if best else ""
        ratios = [times(compared(found, "portal", base, shape.figure)) for base in (best, "floor")]
        rows.append([shape.title, f"{number(ours)} {shape.unit}", theirs, best or "", *ratios])
    return "### Portal beside the best of the others\n\n" + markdown(rows)


def growth(shapes, names):
    """How the cost of an echo grows with the number of clients, compared with the floor's."""
    costs = {
        name: [cost(shapes.get(growth_key(clients), {}), name, "server.ns") for clients in GROWTH]
        for name in names
    }
    costs = {name: values for name, values in costs.items() if all(values)}
    if not costs:
        return ""
    rows = [["20 B echoes, ns", *(f"{clients:,} clients" for clients in GROWTH), "growth", "growth to the floor's"]]
    floor = costs.get("floor")
    for name, values in costs.items():
        grown = values[-1] / values[0]
        to_floor = times(grown / (floor[-1] / floor[0])) if floor else ""
        rows.append([name, *map(number, values), times(grown), to_floor])
    return "### More clients\n\n" + markdown(rows)


def details(shape, found):
    best = best_peer(found, shape.figure)
    medians = {name: result["median"] for name, result in found.items() if "median" in result}
    columns = [column for column in COLUMNS if any(column[1] in median for median in medians.values())]
    rows = [["", shape.unit, "quartiles", "to best peer", "to floor", *(heading for heading, *_ in columns)]]
    for name, median in sorted(medians.items(), key=lambda pair: pair[1][shape.figure]):
        value = median[shape.figure]
        quartiles = " to ".join(map(number, found[name]["quartiles"][shape.figure]))
        ratios = [times(compared(found, name, base, shape.figure)) for base in (best, "floor")]
        rows.append([name, number(value), quartiles, *ratios])
        rows[-1] += [show(median[figure]) if figure in median else "" for _, figure, show in columns]
    failures = [f"{name} failed." for name, result in found.items() if "error" in result]
    count = max((len(result["rounds"]) for result in found.values()), default=0)
    told = [f"Rounds: {count}.", markdown(rows)] if medians else []
    return "\n\n".join([f"### {shape.title}", *told, *failures])


def markdown(rows):
    """A table; columns without a value are left out."""
    columns = [column for column in zip(*rows) if any(column[1:])]
    heading, *rest = zip(*columns)
    lines = [heading, ["---"] + ["---:"] * (len(heading) - 1), *rest]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
