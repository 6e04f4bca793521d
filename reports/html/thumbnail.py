"""A network as a picture as small as a word: a bar a convolution, as high as its map; shared kernels have one colour.

``layer_diagram`` draws the same network with all its figures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from reports.html import svg
from reports.html.page import Html, element
from reports.numbers import plural
from search_spaces.cost import output_shape
from search_spaces.network import Architecture
from search_spaces.ops import Conv, Kernel, Linear, Op, Residual, kernels
from search_spaces.task import Shape, Task

# Colours of tied kernels; a network with more of them begins anew.
TIES = 3
_HEIGHT, _MIDDLE, _TALLEST, _GAP = 30, 17.0, 24.0, 1.5


@dataclass(frozen=True, slots=True)
class Bar:
    """One convolution, or the linear layer at the end.

    Attributes:
        edge: rows of its output, 1 for a vector.
        channels: of its output.
        kind: ``own`` for a kernel used once, ``posed`` for one in several orientations, ``tied-1`` to ``tied-3`` for
            one that other bars of this kind use too, ``linear``.
        sum: number of the residual sum that it is part of, 0 outside one.
    """

    edge: int
    channels: int
    kind: str
    sum: int = 0


def bars(architecture: Architecture, task: Task) -> tuple[Bar, ...]:
    """Return the bars of a network in order of execution.

    Raises:
        ShapeError: two ops do not fit together.
    """
    ties: dict[str, int] = {}
    found: list[Bar] = []
    shape: Shape = task.input_shape
    sums = 0
    for op in architecture.ops:
        sums += isinstance(op, Residual)
        for inner, after in _walk(op, shape):
            if isinstance(inner, Linear):
                found.append(Bar(1, inner.out_features, "linear"))
            elif isinstance(inner, Kernel):
                edge = after[1] if len(after) == 3 else 1
                found.append(Bar(edge, after[0], _kind(inner, ties), sums if isinstance(op, Residual) else 0))
        shape = output_shape(op, shape)
    return tuple(found)


def description(architecture: Architecture, task: Task) -> str:
    """Return what the picture shows, in words."""
    found = [bar for bar in bars(architecture, task) if bar.kind != "linear"]
    ties = [op.tie for op in kernels(architecture.ops)]
    learned = len(found) - len(ties) + ties.count(None) + len({tie for tie in ties if tie is not None})
    edges = ", ".join(str(edge) for edge, _ in groupby(bar.edge for bar in found))
    shared = f", {learned} kernels" if learned < len(found) else ""
    return f"{plural(len(found), 'convolution')}{shared}" + (f"; maps with edges of {edges} pixels" if edges else "")


def draw(architecture: Architecture, task: Task) -> Html:
    """Return the picture; its colours stand in ``page.css``."""
    found = bars(architecture, task)
    places: list[tuple[float, float]] = []
    # One path a kind: a report shows a hundred networks.
    outlines: dict[str, str] = {}
    x = 1.0
    for bar in found:
        width = round(3 + math.log2(max(bar.channels, 1)), 1)
        height = round(max(3.0, _TALLEST * bar.edge / task.input_shape[1]), 1)
        outline = f"M{x:g} {_MIDDLE - height / 2:g}h{width:g}v{height:g}h-{width:g}z"
        outlines[bar.kind] = outlines.get(bar.kind, "") + outline
        places.append((x, width))
        x = round(x + width + _GAP, 1)
    return element(
        "svg",
        *(element("path", d=outline, class_=kind) for kind, outline in outlines.items()),
        *_sums(found, places),
        viewBox=f"0 0 {math.ceil(x)} {_HEIGHT}",
        class_="thumbnail",
        role="img",
        aria_label=description(architecture, task),
    )


def _walk(op: Op, before: Shape) -> Iterator[tuple[Op, Shape]]:
    """Yield an op with the shape of its output; a residual's ops one after the other."""
    if not isinstance(op, Residual):
        yield op, output_shape(op, before)
        return
    for inner in op.ops:
        yield from _walk(inner, before)
        before = output_shape(inner, before)


def _kind(kernel: Kernel, ties: dict[str, int]) -> str:
    if kernel.tie is not None:
        return f"tied-{ties.setdefault(kernel.tie, len(ties)) % TIES + 1}"
    return "posed" if isinstance(kernel, Conv) and kernel.poses > 1 else "own"


def _sums(found: Sequence[Bar], places: Sequence[tuple[float, float]]) -> Iterator[Html]:
    """Yield a bracket over the bars of each residual sum."""
    for number, group in groupby(range(len(found)), key=lambda place: found[place].sum):
        inside = list(group)
        if number:
            end = places[inside[-1]][0] + places[inside[-1]][1]
            yield svg.line(places[inside[0]][0], 2, end, 2, "sum")
