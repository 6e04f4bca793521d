"""A network as a strip of layers to scale, and as a picture as small as a word. No library draws these.

In the strip each map has its true edge, its channels, its cost, and how much of a digit it sees; ops that compute each
value from the one in its place (bn, activations, dropout) stand with the op before them. The small picture is a bar a
convolution, as high as its map; shared kernels have one colour. Colours stand in ``page.css``.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from markupsafe import Markup, escape

from reports.numbers import count, plural
from search_spaces.cost import Analysis
from search_spaces.network import Architecture
from search_spaces.ops import Conv, DepthwiseConv, Linear, Op, Residual, kernels, op_text
from search_spaces.task import Shape, Task, shape_text

# The style sheet gives these widths in the size of the type.
_COLUMN, _NAMES, _HEIGHT = 104, 116, 362
# Pixels of the drawing for a pixel of a map, and for a pixel of the digit below it.
_SCALE, _DIGIT_SCALE = 3, 2
_MAPS, _BARS, _DIGITS = 128, 214, 280
# A drawn seven on MNIST's grid: its size is what counts, so no image of the data is needed.
_EDGE, _SEVEN = 28, "M7 7H20.5C17 12 14 17 12.5 23"
# Of the small picture. A network with more tied kernels than colours begins anew.
_TIES, _SMALL, _MIDDLE, _TALLEST, _GAP = 3, 30, 17.0, 24.0, 1.5


@dataclass(frozen=True, slots=True)
class Block:
    """What the strip draws as one column.

    Attributes:
        op: canonical text; ``followers`` that of the ops drawn with it.
        shape: of its output.
        parameters: of all its ops together; so with ``macs``.
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
    kind: str = "plain"
    times: int = 1


@dataclass(frozen=True, slots=True)
class Bar:
    """One convolution of the small picture, or the linear layer at the end.

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


def blocks(analysis: Analysis) -> tuple[Block, ...]:
    """Return the columns of a network's strip."""
    found: list[Block] = []
    shape: Shape = analysis.task.input_shape
    seen_all = False
    for layer in analysis.layers:
        seen_all = seen_all or (layer.op.is_global and len(shape) == 3)
        shape = layer.output_shape
        words, field = op_text(layer.op), None if seen_all else layer.receptive_field
        last = found[-1] if found else None
        if last is not None and _is_pointwise(layer.op):
            followers = f"{last.followers} {words}".strip()
            found[-1] = replace(last, followers=followers, shape=shape)
        elif last is not None and words.startswith("res") and (last.op, last.shape) == (words, shape):
            found[-1] = replace(last, receptive_field=field, times=last.times + 1)
        else:
            found.append(Block(words, "", shape, 0, 0, field, _block_kind(layer.op)))
        last = found[-1]
        found[-1] = replace(last, parameters=last.parameters + layer.parameters, macs=last.macs + layer.macs)
    return tuple(found)


def strip(analysis: Analysis) -> Markup:
    """Return the strip of a network: a picture a column, so that a narrow screen can wrap them."""
    columns = blocks(analysis)
    widest = max([block.shape[0] for block in columns], default=1)
    most = max([block.parameters for block in columns], default=1), max([block.macs for block in columns], default=1)
    names = ((_BARS, "parameters"), (_BARS + 34, "multiply-adds"), (_DIGITS + 32, "pixels that one"))
    first = "".join(_label(4, y, words, "title", "start") for y, words in (*names, (_DIGITS + 48, "output sees")))
    image = analysis.task.input_shape
    x = _COLUMN // 2
    second = _label(x, 16, "image") + _map(image, widest, "plain") + _label(x, _MAPS + 58, shape_text(image))
    pictures = [_svg(_NAMES, first, ' class="names"'), _svg(_COLUMN, second + _digit(1))]
    pictures += [_svg(_COLUMN, _column(block, widest, most)) for block in columns]
    words = f'<div class="strip" role="img" aria-label="{escape(description(columns, image))}">'
    return Markup(f"{words}{''.join(pictures)}</div>")


def description(columns: tuple[Block, ...], image: Shape) -> str:
    """Return what a strip shows, in words."""
    steps = ", ".join(
        f"{f'{block.times} times ' if block.times > 1 else ''}{block.op} to {shape_text(block.shape)}"
        for block in columns
    )
    fields = [block.receptive_field for block in columns if block.receptive_field is not None]
    grown = fields[-1] if fields else image[1]
    return f"From {shape_text(image)}: {steps}. The receptive field grows to {grown} pixels."


def bars(architecture: Architecture, task: Task) -> tuple[Bar, ...]:
    """Return the bars of the small picture in order of execution.

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
            elif isinstance(inner, Conv | DepthwiseConv):
                kind = "posed" if isinstance(inner, Conv) and inner.poses > 1 else "own"
                if inner.tie is not None:
                    kind = f"tied-{ties.setdefault(inner.tie, len(ties)) % _TIES + 1}"
                edge = after[1] if len(after) == 3 else 1
                found.append(Bar(edge, after[0], kind, sums if isinstance(op, Residual) else 0))
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
        outlines[bar.kind] = (
            outlines.get(bar.kind, "") + f"M{x:g} {_MIDDLE - height / 2:g}h{width:g}v{height:g}h-{width:g}z"
        )
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


def _is_pointwise(op: Op) -> bool:
    return not isinstance(op, Residual) and op.window() is None and not op.is_global


def _block_kind(op: Op) -> str:
    used = kernels((op,))
    if any(kernel.tie or (isinstance(kernel, Conv) and kernel.poses > 1) for kernel in used):
        return "shared"
    return "kernel" if used or isinstance(op, Linear) else "plain"


def _walk(op: Op, before: Shape) -> Iterator[tuple[Op, Shape]]:
    """Yield an op with the shape of its output; a residual's ops one after the other."""
    if not isinstance(op, Residual):
        yield op, op.shape(before)
        return
    for inner in op.ops:
        yield from _walk(inner, before)
        before = inner.shape(before)


def _svg(width: int, parts: str, attributes: str = "") -> str:
    return f'<svg viewBox="0 0 {width} {_HEIGHT}" aria-hidden="true"{attributes}>{parts}</svg>'


def _label(x: float, y: float, words: str, kind: str = "", anchor: str = "middle") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" class="{kind}">{escape(words)}</text>'


def _column(block: Block, widest: int, most: tuple[int, int]) -> str:
    x = _COLUMN // 2
    name, bracket, arguments = block.op.partition("(")
    parts = _label(x, 16, name + (f" x{block.times}" if block.times > 1 else ""))
    lines = textwrap.wrap(bracket + arguments, 16, max_lines=3) if bracket else []
    for place, words in enumerate(lines + textwrap.wrap(block.followers, 16, max_lines=4 - len(lines))):
        parts += _label(x, 31 + 14 * place, words, "small" if place < len(lines) else "title small")
    parts += _map(block.shape, widest, block.kind) + _label(x, _MAPS + 58, shape_text(block.shape))
    values = ((_BARS, block.parameters, most[0], "parameter-bar"), (_BARS + 34, block.macs, most[1], "mac-bar"))
    for y, value, largest, kind in values:
        if value:
            length = max(84 * value / max(largest, 1), 1.0)
            parts += _label(x - 42, y, count(value), anchor="start")
            parts += f'<rect x="{x - 42}" y="{y + 4}" width="{length:.2f}" height="6" class="{kind}"/>'
    return parts + _digit(block.receptive_field)


def _map(shape: Shape, widest: int, kind: str) -> str:
    """Return a map as a block: its edge upright, its channels across; a vector is a flat line."""
    edge = shape[1] if len(shape) == 3 else 1
    width = max(3.0, min(2.0, 84 / widest) * shape[0])
    place = f'x="{_COLUMN / 2 - width / 2:.2f}" y="{_MAPS - edge * _SCALE / 2:g}"'
    vector = " vector" if edge == 1 else ""
    return f'<rect {place} width="{width:.2f}" height="{edge * _SCALE}" class="map{vector} {kind}"/>'


def _digit(field: int | None) -> str:
    """Return the digit with the square that one value sees; all of it is lit where that is everything."""
    size = _EDGE * _DIGIT_SCALE
    left = (_COLUMN - size) / 2
    square = (min(field, _EDGE) if field is not None else _EDGE) * _DIGIT_SCALE
    start = (size - square) / 2
    return (
        f'<rect x="{left:g}" y="{_DIGITS}" width="{size}" height="{size}" class="retina"/>'
        f'<rect x="{left + start:g}" y="{_DIGITS + start:g}" width="{square}" height="{square}" class="field"/>'
        f'<path d="{_SEVEN}" class="digit" transform="translate({left:g} {_DIGITS}) scale({_DIGIT_SCALE})"/>'
        + _label(_COLUMN // 2, _DIGITS + size + 16, "all of it" if field is None else f"{field} px")
    )
