"""The chart: the costs of Portal, the best peers and the floor for each load, as bars."""

from collections import Counter
from html import escape

from runner import machine
from runner.comparing import best_peer, compared, is_floor, is_ours
from runner.shapes import SHAPES

WIDTH, LABELS, RIGHT = 860, 220, 60
TOP, BOTTOM = 92, 34
BAR, GAP, BETWEEN = 11, 2, 12
# Number of peers in the chart.
PEERS = 3
# Maximum length of a bar, in multiples of the best peer's cost; the number beside it is exact.
MOST = 2.5

STYLE = """
  .page { fill: #ffffff }
  text { font: 12px system-ui, sans-serif; fill: #1f2328 }
  .title { font-size: 17px; font-weight: 600 }
  .quiet { fill: #59636e; font-size: 11px }
  .grid { stroke: #d1d9e0 }
  .best { stroke: #59636e; stroke-dasharray: 3 3 }
  .c0 { fill: #0969da } .c1 { fill: #bf8700 } .c2 { fill: #8250df } .c3 { fill: #1a7f37 } .c4 { fill: #cf222e } .c5 { fill: #0a7c8c }
  .floor { fill: #afb8c1 }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 }
    text { fill: #f0f6fc }
    .quiet { fill: #9198a1 }
    .grid { stroke: #3d444d }
    .best { stroke: #9198a1 }
    .c0 { fill: #4493f8 } .c1 { fill: #d29922 } .c2 { fill: #ab7df8 } .c3 { fill: #3fb950 } .c4 { fill: #f85149 } .c5 { fill: #39c5cf }
    .floor { fill: #656c76 }
  }
"""


def draw(results):
    """The whole SVG."""
    groups = [(shape, ratios(shape, results["shapes"].get(shape.key, {}))) for shape in SHAPES if shape.short]
    groups = [(shape, found) for shape, found in groups if found]
    shown = series(groups)
    drawn, y = [], TOP
    for shape, found in groups:
        bars = [(name, found[name]) for name in shown if name in found]
        height = len(bars) * (BAR + GAP)
        drawn.append(text(LABELS - 12, y + height / 2 + 3, shape.short, anchor="end"))
        for index, (name, value) in enumerate(bars):
            drawn += bar(y + index * (BAR + GAP), value, shown[name], name)
        y += height + BETWEEN
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + BOTTOM}" role="img">',
        f"<style>{STYLE}</style>",
        '<rect class="page" width="100%" height="100%" rx="6"/>',
        text(16, 28, "What a server computes for each message, times what the best peer does", "title"),
        text(16, 48, "Clients × size of a message. Shorter is better. Of memory: anonymous bytes for each client.", "quiet"),
        *legend(shown),
        *grid(y),
    ]
    foot = [text(16, y + BOTTOM - 10, machine.line(results["machine"]), "quiet"), "</svg>", ""]
    return "\n".join(head + drawn + foot)


def ratios(shape, found):
    """Each server's cost as a multiple of the best peer's; empty where there is no peer."""
    best = best_peer(found, shape.figure)
    values = {name: compared(found, name, best, shape.figure) for name in found}
    return {name: value for name, value in values.items() if value is not None}


def series(groups):
    """The servers in the chart and their colours: ours, the peers that are most often the best, and the floor."""
    names = list(dict.fromkeys(name for _, found in groups for name in found))
    ours = [name for name in names if is_ours(name)]
    wins = Counter(name for _, found in groups for name in found
                   if found[name] == 1 and not is_ours(name) and not is_floor(name))
    best = [name for name, _ in wins.most_common(PEERS)]
    shown = {name: f"c{index}" for index, name in enumerate(ours + best)}
    return shown | {name: "floor" for name in names if name == "floor"}


def position(value):
    return LABELS + min(value, MOST) / MOST * (WIDTH - LABELS - RIGHT)


def bar(y, value, style, name):
    end = position(value)
    return [
        f'<rect class="{style}" x="{LABELS}" y="{y}" width="{end - LABELS:.1f}" height="{BAR}" rx="1.5">'
        f"<title>{escape(name)}</title></rect>",
        text(end + 5, y + BAR - 2, f"{value:.2f}" + (" →" if value > MOST else ""), "quiet"),
    ]


def legend(shown):
    x = 16
    for name, style in shown.items():
        yield f'<rect class="{style}" x="{x}" y="62" width="11" height="11" rx="1.5"/>'
        yield text(x + 17, 72, name)
        x += 40 + 7.2 * len(name)


def grid(bottom):
    for step in range(int(MOST * 2) + 1):
        x, style = position(step / 2), "best" if step == 2 else "grid"
        yield f'<line class="{style}" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 6}" y2="{bottom - 4}"/>'


def text(x, y, words, style="", anchor="start"):
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
