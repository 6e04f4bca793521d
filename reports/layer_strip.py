"""A network drawn to scale: each map with its true edge, its channels, its cost, and how much of a digit it sees.

Ops that keep the shape and hold no kernel (bn, relu, dropout) are drawn with the op before them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports import svg
from reports.numbers import count
from reports.page import Html, element, joined
from search_spaces.architecture import Architecture, BatchNorm, Dropout, Dropout2d, ReLU, op_text
from search_spaces.cost import Analysis, Layer, analyse
from search_spaces.shapes import INPUT_SHAPE, Shape, is_global, shape_text

_COLUMN = 104
# Room for the names of the rows.
_LEFT = 116
_EDGE = INPUT_SHAPE[1]
# Pixels of the drawing for a pixel of a map, and for a pixel of the digit below it.
_SCALE = 3
_DIGIT_SCALE = 2
_MAPS, _BARS, _DIGITS = 100, 186, 252
# A drawn seven on the grid of the data set: its size is what counts, so no image of the data is needed.
_SEVEN = "M7 7H20.5C17 12 14 17 12.5 23"


@dataclass(frozen=True, slots=True)
class Block:
    """What is drawn as one column.

    Attributes:
        op: canonical text; ``followers`` that of the ops drawn with it.
        shape: of its output.
        parameters: of all its ops together; so with ``macs``.
        receptive_field: in input pixels, not clipped; None from the first global op on, which sees everything.
    """

    op: str
    followers: str
    shape: Shape
    parameters: int
    macs: int
    receptive_field: int | None


def blocks(analysis: Analysis) -> tuple[Block, ...]:
    """Return the columns of a network's strip."""
    found: list[Block] = []
    shape, seen_all = INPUT_SHAPE, False
    for layer in analysis.layers:
        seen_all = seen_all or is_global(layer.op, shape)
        if isinstance(layer.op, BatchNorm | ReLU | Dropout | Dropout2d) and found:
            found[-1] = _joined(found[-1], layer)
        else:
            field = None if seen_all else layer.receptive_field
            found.append(Block(op_text(layer.op), "", layer.output_shape, layer.parameters, layer.macs, field))
        shape = layer.output_shape
    return tuple(found)


def draw(architecture: Architecture, identifier: str) -> Html:
    """Return the strip of a network; ``identifier`` makes the names on the page unique."""
    columns = blocks(analyse(architecture))
    area = svg.Frame(
        max(_LEFT + _COLUMN * (len(columns) + 1) + 8, 1120), 334, svg.Axis(0, 1, 0, 1), svg.Axis(0, 1, 0, 1)
    )
    widest = max([shape_[0] for shape_ in (block.shape for block in columns)], default=1)
    most = max([block.parameters for block in columns], default=1), max([block.macs for block in columns], default=1)
    drawn = [_column(place + 1, block, widest, most) for place, block in enumerate(columns)]
    return svg.picture(
        area,
        f"{identifier}-strip",
        "Layers to scale",
        description(columns),
        _labels(),
        _input(widest),
        *drawn,
    )


def description(columns: Sequence[Block]) -> str:
    """Return what the strip shows, in words."""
    steps = ", ".join(f"{block.op} to {shape_text(block.shape)}" for block in columns)
    fields = [block.receptive_field for block in columns if block.receptive_field is not None]
    return (
        f"From {shape_text(INPUT_SHAPE)}: {steps}. The receptive field grows to "
        f"{fields[-1] if fields else _EDGE} pixels. The table below has every figure."
    )


def _joined(block: Block, layer: Layer) -> Block:
    return Block(
        block.op,
        f"{block.followers} {op_text(layer.op)}".strip(),
        layer.output_shape,
        block.parameters + layer.parameters,
        block.macs + layer.macs,
        block.receptive_field,
    )


def _labels() -> Html:
    rows = (
        (_BARS, "parameters"),
        (_BARS + 34, "multiply-adds"),
        (_DIGITS + 32, "what one value"),
        (_DIGITS + 48, "of the map sees"),
    )
    return joined(svg.label(4, y, words, class_="title") for y, words in rows)


def _input(widest: int) -> Html:
    x = _LEFT + _COLUMN / 2
    return joined(
        [
            svg.label(x, 16, "image", "middle"),
            _map(x, INPUT_SHAPE, widest),
            svg.label(x, _MAPS + 58, shape_text(INPUT_SHAPE), "middle"),
            _digit(x, 1),
        ],
        "",
    )


def _column(place: int, block: Block, widest: int, most: tuple[int, int]) -> Html:
    x = _LEFT + _COLUMN * (place + 0.5)
    name, _, arguments = block.op.partition("(")
    lines = [(16, name, None), (31, f"({arguments}" if arguments else "", None), (46, block.followers, "title")]
    parts = [
        *(svg.label(x, y, _cut(words), "middle", kind) for y, words, kind in lines if words),
        _map(x, block.shape, widest),
        svg.label(x, _MAPS + 58, shape_text(block.shape), "middle"),
        _bar(x, _BARS, block.parameters, most[0], "parameter-bar"),
        _bar(x, _BARS + 34, block.macs, most[1], "mac-bar"),
        _digit(x, block.receptive_field),
    ]
    return joined(parts, "")


def _map(x: float, shape: Shape, widest: int) -> Html:
    """Return a map as a block: its edge upright, its channels across; a vector is a flat line."""
    edge = shape[1] if len(shape) == 3 else 1
    width = max(3.0, min(2.0, 84 / widest) * shape[0])
    return element(
        "rect",
        x=x - width / 2,
        y=float(_MAPS - edge * _SCALE / 2),
        width=width,
        height=edge * _SCALE,
        class_="map" if edge > 1 else "map vector",
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
    return words if len(words) <= 17 else f"{words[:16]}\N{HORIZONTAL ELLIPSIS}"
