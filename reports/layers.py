"""A network as a strip of layers to scale, and as a picture as small as a word. No library draws these.

In the strip each map has its true edge, its channels, its cost, and how much of a digit it sees; ops that compute each
value from the one in its place (bn, activations, dropout) stand with the op before them. The small picture is a bar a
convolution, as high as its map; shared kernels have one colour. ``templates/layers.html`` draws the strip; colours
stand in ``page.css``.
"""

from __future__ import annotations

import base64
import io
import math
import textwrap
from dataclasses import dataclass, replace
from itertools import groupby
from typing import NamedTuple

from markupsafe import Markup, escape

from reports.numbers import plural
from search_spaces.network import Analysis, Architecture, Task, walk
from search_spaces.ops import Conv, DepthwiseConv, Linear, Op, Residual, Shape, kernels, op_text, shape_text

# Of the small picture. A network with more tied kernels than colours begins anew.
_TIES, _SMALL, _MIDDLE, _TALLEST, _GAP = 3, 30, 17.0, 24.0, 1.5


@dataclass(frozen=True, slots=True)
class _Block:
    """What the strip draws as one column: an op, and the ``followers`` drawn with it, in canonical text.

    Attributes:
        receptive_field: in input pixels, not clipped; None from the first global op on, which sees everything.
        kind: ``shared`` where a kernel is used again or rotated, ``kernel`` where each is used once, else ``plain``.
        times: so many equal residual sums one after the other, drawn as one.
    """

    op: str
    followers: str
    shape: Shape
    parameters: int
    macs: int
    receptive_field: int | None
    kind: str
    times: int = 1

    @property
    def lines(self) -> tuple[list[str], list[str]]:
        """Arguments and followers, cut into lines that fit the column; four at most."""
        _, bracket, arguments = self.op.partition("(")
        first = textwrap.wrap(bracket + arguments, 16, max_lines=3) if bracket else []
        return first, textwrap.wrap(self.followers, 16, max_lines=4 - len(first))


def blocks(analysis: Analysis) -> tuple[_Block, ...]:
    """Return the columns of a network's strip."""
    found: list[_Block] = []
    shape: Shape = analysis.task.input_shape
    seen_all = False
    for layer in analysis.layers:
        seen_all = seen_all or (layer.op.is_global and len(shape) == 3)
        shape = layer.output_shape
        words, field = op_text(layer.op), None if seen_all else layer.receptive_field
        last = found[-1] if found else None
        if last is not None and _is_pointwise(layer.op):
            found[-1] = replace(last, followers=f"{last.followers} {words}".strip(), shape=shape)
        elif last is not None and words.startswith("res") and (last.op, last.shape) == (words, shape):
            found[-1] = replace(last, receptive_field=field, times=last.times + 1)
        else:
            used = kernels((layer.op,))
            shared = any(kernel.tie or (isinstance(kernel, Conv) and kernel.poses > 1) for kernel in used)
            kind = "shared" if shared else "kernel" if used or isinstance(layer.op, Linear) else "plain"
            found.append(_Block(words, "", shape, 0, 0, field, kind))
        last = found[-1]
        found[-1] = replace(last, parameters=last.parameters + layer.parameters, macs=last.macs + layer.macs)
    return tuple(found)


def _is_pointwise(op: Op) -> bool:
    return not isinstance(op, Residual) and op.window() is None and not op.is_global


def description(columns: tuple[_Block, ...], image: Shape) -> str:
    """Return what a strip shows, in words."""
    steps = ", ".join(
        f"{f'{block.times} times ' if block.times > 1 else ''}{block.op} to {shape_text(block.shape)}"
        for block in columns
    )
    fields = [block.receptive_field for block in columns if block.receptive_field is not None]
    grown = fields[-1] if fields else image[1]
    return f"From {shape_text(image)}: {steps}. The receptive field grows to {grown} pixels."


class _Bar(NamedTuple):
    """One convolution of the small picture, or the linear layer at the end: rows and channels of its output.

    ``kind`` is ``own`` for a kernel used once, ``posed`` for one in several orientations, ``tied-1`` to ``tied-3`` for
    one that other bars of this kind use too, ``linear``; ``sum`` the number of its residual sum, 0 outside one.
    """

    edge: int
    channels: int
    kind: str
    sum: int = 0


def bars(architecture: Architecture, task: Task) -> tuple[_Bar, ...]:
    """Return the bars of the small picture in order of execution.

    Raises:
        ShapeError: two ops do not fit together.
    """
    ties: dict[str, int] = {}
    found: list[_Bar] = []
    shape: Shape = task.input_shape
    sums = 0
    for op in architecture.ops:
        sums += isinstance(op, Residual)
        for inner, before in walk((op,), shape):
            if isinstance(inner, Linear):
                found.append(_Bar(1, inner.out_features, "linear"))
            elif isinstance(inner, Conv | DepthwiseConv):
                kind = "posed" if isinstance(inner, Conv) and inner.poses > 1 else "own"
                if inner.tie is not None:
                    kind = f"tied-{ties.setdefault(inner.tie, len(ties)) % _TIES + 1}"
                channels, edge, _ = inner.shape(before)
                found.append(_Bar(edge, channels, kind, sums if isinstance(op, Residual) else 0))
        shape = op.shape(shape)
    return tuple(found)


def thumbnail(architecture: Architecture, task: Task) -> Markup:
    """Return the small picture, which says its convolutions to those who do not see it."""
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
    paths = "".join(f'<path d="{outline}" class="{kind}"/>' for kind, outline in outlines.items())
    for number, group in groupby(range(len(found)), key=lambda place: found[place].sum):
        inside = list(group)
        if number:
            end = places[inside[-1]][0] + places[inside[-1]][1]
            paths += f'<path d="M{places[inside[0]][0]:g} 2H{end:g}" class="sum"/>'
    kept = [bar for bar in found if bar.kind != "linear"]
    names = [op.tie for op in kernels(architecture.ops)]
    learned = len(kept) - len(names) + names.count(None) + len({name for name in names if name is not None})
    words = plural(len(kept), "convolution") + (f", {learned} kernels" if learned < len(kept) else "")
    edges = ", ".join(str(edge) for edge, _ in groupby(bar.edge for bar in kept))
    words += f"; maps with edges of {edges} pixels" if edges else ""
    box = f'viewBox="0 0 {math.ceil(x)} {_SMALL}" class="thumbnail" role="img" aria-label="{escape(words)}"'
    return Markup(f"<svg {box}>{paths}</svg>")


def image_uri(pixels: bytes, shape: tuple[int, int]) -> str:
    """Return grey pixels, a byte each, row by row, as an address that holds a PNG of 16 shades."""
    from PIL import Image

    content = io.BytesIO()
    image = Image.frombytes("P", shape[::-1], bytes(pixel >> 4 for pixel in pixels))
    image.putpalette([17 * shade for shade in range(16) for _ in range(3)])
    image.save(content, "PNG", bits=4, optimize=True)
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode("ascii")
