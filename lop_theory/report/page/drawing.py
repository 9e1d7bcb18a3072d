"""Networks and the graph of claims as SVG, laid out level by level."""

from collections.abc import Mapping, Sequence
from html import escape

from lop_theory.graph.counterexamples import Counterexample

_COLOURS = ("#2f6fb2", "#b5532a", "#3d8a4f", "#7a4fa3", "#8a6d1d")
_STEP_X, _STEP_Y, _RADIUS = 110, 54, 16


def network(example: Counterexample) -> str:
    """The counterexample: units of a block share a colour, edges carry their weights."""
    places = _levels(_sources(example))
    colour = {unit: _COLOURS[k % len(_COLOURS)] for k, block in enumerate(example.blocks) for unit in block.split()}
    edges = [edge.split() for edge in example.edges.split(",")]
    lines = [_edge(places[u], places[v], w) for u, v, w in edges]
    dots = [_unit(name, place, colour.get(name, "#777")) for name, place in places.items()]
    width, height = (max(p[k] for p in places.values()) + 44 for k in (0, 1))
    title = f"Counterexample {example.name}: without {example.dropped.replace('_', ' ')}"
    return _svg(width, height, title, [*lines, *dots])


def _sources(example: Counterexample) -> dict[str, list[str]]:
    """Node → the nodes that feed it, in the order of their first mention."""
    found: dict[str, list[str]] = {}
    for edge in example.edges.split(","):
        u, v, _ = edge.split()
        found.setdefault(u, [])
        found.setdefault(v, []).append(u)
    return found


def _levels(sources: Mapping[str, Sequence[str]]) -> dict[str, tuple[int, int]]:
    """A place for every node: its longest path from a source across, its turn within the level down."""
    level: dict[str, int] = {}

    def depth(name: str) -> int:
        if name not in level:
            level[name] = 1 + max((depth(u) for u in sources[name]), default=-1)
        return level[name]

    taken: dict[int, int] = {}
    places = {}
    for name in sources:
        column = depth(name)
        row = taken[column] = taken.get(column, -1) + 1
        places[name] = 30 + _STEP_X * column, 30 + _STEP_Y * row
    return places


def _edge(a: tuple[int, int], b: tuple[int, int], weight: str) -> str:
    """A line with its weight; one that passes over a level is bent, so as not to run through the units between."""
    bend = 18 * (b[0] - a[0] > _STEP_X)
    share = 0.3 + 0.2 * (b[1] // _STEP_Y % 3)  # edges into neighbours carry their weights at different places
    x, y = (a[k] + share * (b[k] - a[k]) for k in (0, 1))
    middle = f"{(a[0] + b[0]) / 2:.0f},{(a[1] + b[1]) / 2 + 2 * bend:.0f}"
    line = f'<path d="M{a[0]},{a[1]} Q{middle} {b[0]},{b[1]}" class="edge"/>'
    return f'{line}<text x="{x:.0f}" y="{y - 3 + 1.6 * bend:.0f}" class="weight">{escape(weight)}</text>'


def _unit(name: str, place: tuple[int, int], colour: str) -> str:
    circle = f'<circle cx="{place[0]}" cy="{place[1]}" r="{_RADIUS}" fill="{colour}"/>'
    return f'{circle}<text x="{place[0]}" y="{place[1] + 4}" class="unit">{escape(name)}</text>'


def _svg(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    role = "group" if any("<a " in part for part in parts) else "img"  # links inside an image would be out of reach
    head = f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="{role}" aria-label="{escape(title)}">'
    return head + f"<title>{escape(title)}</title>" + "".join(parts) + "</svg>"


def claims_graph(uses: Mapping[str, Sequence[str]]) -> str:
    """Which claim rests on which: arrows from a claim to those that it uses, as links to their cards."""
    linked = {name for name, used in uses.items() if used} | {u for used in uses.values() for u in used}
    sources = {name: [u for u in uses[name] if u in uses] for name in uses if name in linked}
    places = {name: (x * 2.1, y * 0.62) for name, (x, y) in _levels(sources).items()}
    lines = [_link(places[u], places[v]) for v, used in sources.items() for u in used]
    names = [_name(name, place) for name, place in places.items()]
    width, height = (max((p[k] for p in places.values()), default=0) + (220, 30)[k] for k in (0, 1))
    return _svg(width, height, "Which claim uses which", [*lines, *names])


def _link(a: tuple[float, float], b: tuple[float, float]) -> str:
    return f'<path d="M{a[0] + 150:.0f},{a[1]:.0f} L{b[0]:.0f},{b[1]:.0f}" class="edge"/>'


def _name(name: str, place: tuple[float, float]) -> str:
    return f'<a href="#{name}"><text x="{place[0]:.0f}" y="{place[1] + 4:.0f}" class="claim">{escape(name)}</text></a>'
