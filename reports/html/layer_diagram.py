"""A network drawn to scale: each map with its true edge, its channels, its cost, and how much of a digit it sees.

Ops that compute each value from the one in its place (bn, activations, dropout) are drawn with the op before them.
Each column is a picture by itself, so that a narrow screen can wrap them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from reports.html import svg
from reports.html.page import Html, element, joined, paragraph, text
from reports.numbers import count
from search_spaces.cost import Analysis, Layer, is_global, is_pointwise
from search_spaces.network import Architecture
from search_spaces.op_specs import op_text
from search_spaces.ops import Conv, Linear, Op, kernels
from search_spaces.task import Shape, shape_text

# The style sheet gives these widths in the size of the type.
_COLUMN, _NAMES = 104, 116
_HEIGHT = 334
# Pixels of the drawing for a pixel of a map, and for a pixel of the digit below it.
_SCALE = 3
_DIGIT_SCALE = 2
_MAPS, _BARS, _DIGITS = 100, 186, 252
# A drawn seven on MNIST's grid: its size is what counts, so no image of the data is needed.
_EDGE = 28
_SEVEN = "M7 7H20.5C17 12 14 17 12.5 23"


@dataclass(frozen=True, slots=True)
class Block:
    """What is drawn as one column.

    Attributes:
        op: canonical text; ``followers`` that of the ops drawn with it.
        shape: of its output.
        parameters: of all its ops together; so with ``macs``.
        receptive_field: in input pixels, not clipped; None from the first global op on, which sees everything.
        kind: ``shared`` where a kernel is used again or in several poses, ``kernel`` where each is used once, else
            ``plain``.
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


def blocks(analysis: Analysis) -> tuple[Block, ...]:
    """Return the columns of a network's strip."""
    found: list[Block] = []
    shape: Shape = analysis.task.input_shape
    seen_all = False
    for layer in analysis.layers:
        seen_all = seen_all or is_global(layer.op, shape)
        if is_pointwise(layer.op) and found:
            found[-1] = _joined(found[-1], layer)
        else:
            field = None if seen_all else layer.receptive_field
            made = Block(
                op_text(layer.op), "", layer.output_shape, layer.parameters, layer.macs, field, _kind(layer.op)
            )
            found.append(made)
        shape = layer.output_shape
    return tuple(_repeats_joined(found))


def _kind(op: Op) -> str:
    used = kernels((op,))
    if any(kernel.tie or (isinstance(kernel, Conv) and kernel.poses > 1) for kernel in used):
        return "shared"
    return "kernel" if used or isinstance(op, Linear) else "plain"


def _repeats_joined(found: Sequence[Block]) -> list[Block]:
    """Return the blocks with equal residual sums in a row as one."""
    merged: list[Block] = []
    for block in found:
        last = merged[-1] if merged else None
        if last is not None and block.op.startswith("res") and (last.op, last.shape) == (block.op, block.shape):
            merged[-1] = replace(
                block,
                followers=last.followers,
                parameters=last.parameters + block.parameters,
                macs=last.macs + block.macs,
                times=last.times + 1,
            )
        else:
            merged.append(block)
    return merged


def draw(analysis: Analysis, identifier: str) -> Html:
    """Return the strip of a network; ``identifier`` makes the names on the page unique."""
    columns = blocks(analysis)
    words = f"{identifier}-strip-text"
    widest = max([block.shape[0] for block in columns], default=1)
    most = max([block.parameters for block in columns], default=1), max([block.macs for block in columns], default=1)
    strip = element(
        "div",
        _picture(_NAMES, _names(), class_="names"),
        _picture(_COLUMN, _input(widest, analysis.task.input_shape)),
        *(_picture(_COLUMN, _column(block, widest, most)) for block in columns),
        class_="strip",
        role="img",
        aria_label="Layers to scale",
        aria_describedby=words,
    )
    return joined([strip, element("p", text(description(columns, analysis.task.input_shape)), id=words, hidden="")])


def _picture(width: int, parts: Html, class_: str | None = None) -> Html:
    return element("svg", parts, viewBox=f"0 0 {width} {_HEIGHT}", class_=class_, aria_hidden="true")


def description(columns: Sequence[Block], image: Shape) -> str:
    """Return what the strip shows, in words."""
    times = [f"{block.times} times " if block.times > 1 else "" for block in columns]
    steps = ", ".join(
        f"{often}{each.op} to {shape_text(each.shape)}" for often, each in zip(times, columns, strict=True)
    )
    fields = [block.receptive_field for block in columns if block.receptive_field is not None]
    return (
        f"From {shape_text(image)}: {steps}. The receptive field grows to "
        f"{fields[-1] if fields else image[1]} pixels. The table below has every figure."
    )


def _joined(block: Block, layer: Layer) -> Block:
    return replace(
        block,
        followers=f"{block.followers} {op_text(layer.op)}".strip(),
        shape=layer.output_shape,
        parameters=block.parameters + layer.parameters,
        macs=block.macs + layer.macs,
    )


def _names() -> Html:
    rows = (
        (_BARS, "parameters"),
        (_BARS + 34, "multiply-adds"),
        (_DIGITS + 32, "pixels that one"),
        (_DIGITS + 48, "output sees"),
    )
    return joined(svg.label(4, y, words, class_="title") for y, words in rows)


def _input(widest: int, image: Shape) -> Html:
    x = _COLUMN / 2
    return joined(
        [
            svg.label(x, 16, "image", "middle"),
            _map(x, image, widest),
            svg.label(x, _MAPS + 58, shape_text(image), "middle"),
            _digit(x, 1),
        ],
        "",
    )


def _column(block: Block, widest: int, most: tuple[int, int]) -> Html:
    x = _COLUMN / 2
    name, bracket, arguments = block.op.partition("(")
    name += f" x{block.times}" if block.times > 1 else ""
    lines = [(16, name, None), (31, bracket + arguments, "small"), (46, block.followers, "title small")]
    parts = [
        *(svg.label(x, y, _cut(words), "middle", kind) for y, words, kind in lines if words),
        _map(x, block.shape, widest, block.kind),
        svg.label(x, _MAPS + 58, shape_text(block.shape), "middle"),
        _bar(x, _BARS, block.parameters, most[0], "parameter-bar"),
        _bar(x, _BARS + 34, block.macs, most[1], "mac-bar"),
        _digit(x, block.receptive_field),
    ]
    return joined(parts, "")


def _map(x: float, shape: Shape, widest: int, kind: str = "plain") -> Html:
    """Return a map as a block: its edge upright, its channels across; a vector is a flat line."""
    edge = shape[1] if len(shape) == 3 else 1
    width = max(3.0, min(2.0, 84 / widest) * shape[0])
    return element(
        "rect",
        x=x - width / 2,
        y=float(_MAPS - edge * _SCALE / 2),
        width=width,
        height=edge * _SCALE,
        class_=f"map {kind}" if edge > 1 else f"map vector {kind}",
    )


def _bar(x: float, y: float, value: int, most: int, kind: str) -> Html:
    left = x - 42
    inside = element("rect", x=left, y=y + 4, width=max(84 * value / max(most, 1), 1.0), height=6, class_=kind)
    return joined([svg.label(left, y, count(value)), inside], "") if value else Html("")


def _digit(x: float, field: int | None) -> Html:
    """Return the digit with the square that one value sees; all of it is lit where that is everything."""
    size = _EDGE * _DIGIT_SCALE
    left, top = x - size / 2, float(_DIGITS)
    seen = min(field, _EDGE) if field is not None else _EDGE
    square = seen * _DIGIT_SCALE
    start = (size - square) / 2
    words = "all of it" if field is None else f"{field} px" if field > 1 else "1 px"
    return joined(
        [
            element("rect", x=left, y=top, width=size, height=size, class_="retina"),
            element("rect", x=left + start, y=top + start, width=square, height=square, class_="field"),
            element(
                "path", d=_SEVEN, class_="digit", transform=f"translate({left:.1f} {top:.1f}) scale({_DIGIT_SCALE})"
            ),
            svg.label(x, top + size + 16, words, "middle"),
        ],
        "",
    )


def _cut(words: str) -> str:
    # Of the small type so many letters fit into a column.
    return words if len(words) <= 15 else f"{words[:14]}\N{HORIZONTAL ELLIPSIS}"


def note(architecture: Architecture) -> Html:
    """Return how to read the strip, with what is special in it."""
    words = [
        "A block is as tall as its map and wider for more channels. The square on the digit is its receptive field."
    ]
    used = kernels(architecture.ops)
    if any(kernel.tie or (isinstance(kernel, Conv) and kernel.poses > 1) for kernel in used):
        words.append("Purple blocks use a kernel several times.")
    if any(isinstance(kernel, Conv) and kernel.poses > 1 for kernel in used):
        words.append(
            "Poses are rotated or mirrored copies of one kernel that share its weights, as in p4 and p4m group "
            "convolutions."
        )
    return paragraph(*words, class_="note")
