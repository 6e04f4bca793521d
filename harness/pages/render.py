"""Rendering of pages: Jinja templates, number formats and small SVG pictures.

Each page is a single HTML file that works offline. All printed values are escaped, and the content security policy of a
page allows only the embedded scripts.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from itertools import chain, groupby
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup, escape

from harness.data.datasets import DATASETS, dataset
from harness.evidence import bounds, ledger
from harness.spaces.network import Analysis, Architecture, Task, walk
from harness.spaces.ops import Conv, DepthwiseConv, Op, Role, Shape, kernels, shape_text
from harness.spaces.space import OBJECTIVES
from harness.system import statistics
from harness.system.errors import as_command
from harness.system.terminal import counted, duration_text

_PACKAGE = "harness.pages"
DASH = "\N{EN DASH}"
# Forbidden in HTML; lone surrogates cannot be written as UTF-8.
_FORBIDDEN = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff\ud800-\udfff]")
_PER_CENT = re.compile(r"(?<=\d) %")


def page(
    template: str,
    *,
    package: str = _PACKAGE,
    charts: Mapping[str, Any] | None = None,
    styles: Sequence[str] = (),
    scripts: Sequence[str] = (),
    data: Mapping[str, object] | None = None,
    rows_by_name: Mapping[str, Sequence[Mapping[str, object]]] | None = None,
    **facts: object,
) -> str:
    """Return the page of a template.

    Args:
        template: Name of a file in the folder ``templates`` of ``package`` that extends ``base.html``.
        charts: Altair charts by the name that the template passes to ``figure``; None is left out. A named table of
            rows is embedded once, also if several charts use it.
        rows_by_name: Further tables of rows, which the scripts read as ``page.datasets``.
    """
    from altair import Undefined

    specs = {}
    tables = dict(rows_by_name or {})
    for name, chart in (charts or {}).items():
        if chart is None:
            continue
        # In ``to_dict``, Altair would check every value.
        rows = chart._get("datasets")
        bare = chart.copy(deep=False)
        bare.datasets = Undefined
        specs[name] = specification(bare)
        tables |= specs[name].pop("datasets", {})  # Altair moves inline rows to "datasets"
        tables |= {} if rows is Undefined else rows
    texts = [_vega()] if specs else []
    texts.append(_resource(_PACKAGE, "page.js"))
    texts += [_resource(package, name) for name in scripts]
    sheets = [_resource(_PACKAGE, "page.css"), *(_resource(package, name) for name in styles)]
    columns = {name: _by_column(rows) for name, rows in tables.items()}
    embedded_data = {"charts": specs, "datasets": columns, "data": data or {}}
    return (
        _environment(package)
        .get_template(template)
        .render(
            policy=_policy(texts),
            styles=[Markup(text) for text in sheets],
            scripts=[Markup(text) for text in texts],
            # "</script>" in a text would end the script element.
            page_data=Markup(json.dumps(embedded_data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")),
            descriptions={name: spec.get("description", "") for name, spec in specs.items()},
            heights={name: spec.get("height", 0) for name, spec in specs.items()},
            **facts,
        )
    )


def specification(chart: Any) -> dict[str, Any]:
    """Return the Vega-Lite document of an Altair chart, regardless of the caller's theme and data transformer."""
    from altair import data_transformers, theme

    with theme.enable("default"), data_transformers.enable("default"):
        result: dict[str, Any] = chart.to_dict(validate=False)
    return result


def _by_column(rows: Sequence[Mapping[str, object]]) -> dict[str, list[object]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def markdown(template: str, **facts: object) -> str:
    """Return the text of a Markdown template, which escapes values with filters."""
    # The no-break spaces of ``_printable`` are for HTML.
    return _environment(_PACKAGE).get_template(template).render(**facts).replace("\N{NO-BREAK SPACE}%", " %")


def _policy(scripts: Sequence[str]) -> str:
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    sources = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {sources}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


@cache
def _environment(package: str) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(package), jinja2.PackageLoader(_PACKAGE)]),
        autoescape=lambda name: name is None or name.endswith(".html"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_printable,
    )
    # Templates use the names without the underscore.
    numbers = (count, _decimal, _pct, _short, _spread, _mean_and_deviation, _duration)
    filters: tuple[Any, ...] = (*numbers, counted, shape_text, _code, _sentence, _fenced)
    environment.filters.update({each.__name__.lstrip("_"): each for each in filters})
    functions = (dataset, _columns_of, _strip_text, _thumbnail, _image_uri, _image_size)
    environment.globals.update({each.__name__.lstrip("_"): each for each in functions})
    environment.globals.update(dash=DASH, bounds=bounds, ledger=ledger, objectives=OBJECTIVES)
    environment.globals["seed_condition"] = statistics.SEED_CONDITION
    environment.globals.update(as_command=as_command, known_datasets=DATASETS)
    return environment


def _printable(value: object) -> object:
    if isinstance(value, Markup | jinja2.Undefined):
        return value
    return _PER_CENT.sub("\N{NO-BREAK SPACE}%", _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", str(value)))


@cache
def _resource(package: str, name: str) -> str:
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")


@cache
def _vega() -> str:
    import vl_convert

    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return bundle


# Number formats -------------------------------------------------------------------------------------------------------

# Pages round here only. Missing and infinite numbers are printed as an en dash.


def _number(value: float | None, number_format: str) -> str:
    if value is None or not math.isfinite(value):
        return DASH
    return format(value, number_format)


def _decimal(value: float | None, digits: int) -> str:
    return _number(value, f",.{digits}f")


def count(value: float | None) -> str:
    """Return a rounded number with a thousands separator."""
    return _decimal(value, 0)


def _pct(value: float | None, digits: int = 2) -> str:
    text = _number(value, f".{digits}f")
    return text if text == DASH else f"{text} %"


def _short(value: float | None) -> str:
    return _number(value, ".6g")  # at most six significant digits, without trailing zeros


def _spread(values: Sequence[float], digits: int = 2) -> str:
    """Return mean and standard deviation, the mean alone of a single value, a dash without values."""
    return _mean_and_deviation(statistics.mean(values), statistics.standard_deviation(values), digits)


def _mean_and_deviation(mean: float | None, deviation: float | None, digits: int = 2) -> str:
    if deviation is None or not math.isfinite(deviation):
        return _decimal(mean, digits)
    return f"{_decimal(mean, digits)} \N{PLUS-MINUS SIGN} {_decimal(deviation, digits)}"


def _duration(seconds: float | None) -> str:
    """Return a duration in its two largest units, such as ``2 h 5 min``."""
    if seconds is None or not math.isfinite(seconds):
        return DASH
    return duration_text(seconds).removesuffix(" 0 s").removesuffix(" 0 min")


# Pictures of a network: a strip of layers to scale, and a thumbnail -------------------------------------------------

# The strip has a column per op; elementwise ops (bn, activations, dropout) share the column of the preceding op. The
# thumbnail has a bar per convolution, as high as the output, and a bar of the least height per linear layer; bars of a
# shared kernel have the same colour. The colours are in page.css.

_COLUMN_WIDTH = 16  # characters of the text in a column of the strip
_TIE_COLOURS = 3  # further ties start again with the first colour
_THUMBNAIL_HEIGHT = 30  # SVG units
_MIDDLE = 17.0  # SVG units, vertical centre of the bars
_TALLEST_BAR = 24.0  # SVG units, height of a bar as high as the input image
_LOWEST_BAR = 3.0  # SVG units
_NARROWEST_BAR = 3  # SVG units, width of a bar of one channel; each doubling of the channels adds a unit
_GAP = 1.5  # SVG units, gap between two bars


@dataclass(frozen=True, slots=True)
class _StripColumn:
    """Column of the strip.

    Attributes:
        followers: Canonical text of the elementwise ops in the same column.
        receptive_field: Shorter edge of the receptive field in input pixels (columns for a series), not clipped to the
            image; None from the first global op on.
        kind: ``shared`` if a convolution of the op has a tie or several poses, ``kernel`` for other convolutions, for
            residual sums with other convolutions and for linear layers, else ``plain``.
        times: Number of equal residual sums, with at most elementwise ops between them, that are drawn as this column.
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
        _, bracket, arguments = self.op.partition("(")
        argument_lines = textwrap.wrap(bracket + arguments, _COLUMN_WIDTH, max_lines=3)
        return argument_lines, textwrap.wrap(self.followers, _COLUMN_WIDTH, max_lines=4 - len(argument_lines))


def _columns_of(analysis: Analysis) -> tuple[_StripColumn, ...]:
    columns: list[_StripColumn] = []
    shape: Shape = analysis.task.input_shape
    is_global = False
    for layer in analysis.costed_ops:
        op = layer.op
        is_global = is_global or (op.is_global and len(shape) == 3)
        shape = layer.output_shape
        receptive_field = None if is_global else layer.receptive_field
        column = columns[-1] if columns else None
        if column is not None and op.works_in_place:  # an elementwise op
            columns[-1] = replace(column, followers=f"{column.followers} {op}".strip(), shape=shape)
        elif column is not None and op.role is Role.SUM and (column.op, column.shape) == (str(op), shape):
            columns[-1] = replace(column, receptive_field=receptive_field, times=column.times + 1)
        else:
            columns.append(_StripColumn(str(op), "", shape, 0, 0, receptive_field, _kind(op)))
        column = columns[-1]
        columns[-1] = replace(column, parameters=column.parameters + layer.parameters, macs=column.macs + layer.macs)
    return tuple(columns)


def _kind(op: Op) -> str:
    kernel_ops = kernels((op,))
    if any(kernel.tie or kernel.poses > 1 for kernel in kernel_ops):
        return "shared"
    return "kernel" if kernel_ops or op.role in (Role.CONVOLUTION, Role.LINEAR) else "plain"


def _strip_text(columns: tuple[_StripColumn, ...], image: Shape) -> str:
    texts = []
    for column in columns:
        times = f"{column.times} times " if column.times > 1 else ""
        texts.append(f"{times}{column.op} to {shape_text(column.shape)}")
    steps = ", ".join(texts)
    image_edge = max(image[1:])
    fields = [column.receptive_field for column in columns if column.receptive_field is not None]
    final_field = min(fields[-1] if fields else 1, image_edge)
    return f"From {shape_text(image)}: {steps}. The receptive field grows to {final_field} of {image_edge} pixels."


class _Bar(NamedTuple):
    """Bar of the thumbnail: a convolution or a linear layer.

    Attributes:
        edge: Rows of the output.
        kind: ``own`` (kernel used once), ``posed`` (several orientations), ``tied-1`` to ``tied-3`` (tied kernel) or
            ``linear``.
        sum_index: Index of the residual sum that contains the op, counted from 1; 0 if no sum contains the op.
    """

    edge: int
    channels: int
    kind: str
    sum_index: int = 0


def _bars(architecture: Architecture, task: Task) -> tuple[_Bar, ...]:
    ties: dict[str, int] = {}
    bars: list[_Bar] = []
    shape: Shape = task.input_shape
    sums = 0
    for op in architecture.ops:
        sums += op.role is Role.SUM
        for inner, before in walk((op,), shape):
            if inner.role is Role.LINEAR:
                bars.append(_Bar(1, inner.shape(before)[0], "linear"))
            elif isinstance(inner, Conv | DepthwiseConv):
                kind = "posed" if inner.poses > 1 else "own"
                if inner.tie is not None:
                    kind = f"tied-{ties.setdefault(inner.tie, len(ties)) % _TIE_COLOURS + 1}"
                channels, edge, _ = inner.shape(before)
                bars.append(_Bar(edge, channels, kind, sums if op.role is Role.SUM else 0))
        shape = op.shape(shape)
    return tuple(bars)


def _thumbnail(architecture: Architecture, task: Task) -> Markup:
    bars = _bars(architecture, task)
    # To keep the page small: a report shows a hundred networks.
    outlines: dict[str, str] = {}
    sum_ranges: dict[int, tuple[float, float]] = {}  # left and right end, by ``sum_index``
    x = 1.0
    for bar in bars:
        width = round(_NARROWEST_BAR + math.log2(max(bar.channels, 1)), 1)
        height = round(max(_LOWEST_BAR, _TALLEST_BAR * bar.edge / task.input_shape[1]), 1)
        outline = f"M{x:g} {_MIDDLE - height / 2:g}h{width:g}v{height:g}h-{width:g}z"
        outlines[bar.kind] = outlines.get(bar.kind, "") + outline
        if bar.sum_index:
            x_left, _ = sum_ranges.get(bar.sum_index, (x, x))
            sum_ranges[bar.sum_index] = x_left, x + width
        x = round(x + width + _GAP, 1)
    paths = "".join(f'<path d="{outline}" class="{kind}"/>' for kind, outline in outlines.items())
    paths += "".join(f'<path d="M{x_left:g} 2H{right:g}" class="sum"/>' for x_left, right in sum_ranges.values())
    convolutions = [bar for bar in bars if bar.kind != "linear"]
    description = counted(len(convolutions), "convolution")
    ties = [kernel.tie for kernel in kernels(architecture.ops) if kernel.tie is not None]
    shared_count = len(ties) - len(set(ties))
    if shared_count:
        description += f", {len(convolutions) - shared_count} kernels"
    edges = ", ".join(str(edge) for edge, _ in groupby(bar.edge for bar in convolutions))
    if edges:
        description += f"; maps with edges of {edges} pixels"
    box = f'viewBox="0 0 {math.ceil(x)} {_THUMBNAIL_HEIGHT}" class="thumbnail" role="img"'
    return Markup(f'<svg {box} aria-label="{escape(description)}">{paths}</svg>')


_MAX_SIDE = 112  # CSS pixels, of a shown image
_SERIES_SIZE = (112, 48)  # CSS pixels, width and height
_SERIES_GAP = 8  # CSS pixels at the right of each series, part of the width
_POINTS = 120  # most points of a drawn series


def series_svg(series: Sequence[Sequence[Sequence[int]]]) -> str:
    """Return series side by side as an SVG data URI, with a line per channel.

    ``series`` has values 0 to 255, (series, channels, steps). A series of more than ``_POINTS`` / 2 steps is cut into
    stretches of equal length (the last may be shorter), each drawn as two points, the minimum and then the maximum.
    """
    width, height = _SERIES_SIZE
    lines = []
    for number, channels in enumerate(series):
        for values in channels:
            length = max(1, math.ceil(2 * len(values) / _POINTS))  # steps of a stretch
            line = values
            if length > 1:
                stretches = (values[start : start + length] for start in range(0, len(values), length))
                line = list(chain.from_iterable((min(stretch), max(stretch)) for stretch in stretches))
            step = (width - _SERIES_GAP) / max(1, len(line) - 1)
            points = []
            for index, value in enumerate(line):
                points.append(f"{number * width + step * index:.1f},{(255 - value) * height / 255:.1f}")
            lines.append(f'<polyline points="{" ".join(points)}"/>')
    box = f'xmlns="http://www.w3.org/2000/svg" width="{width * len(series)}" height="{height}"'
    text = f'<svg {box} fill="none" stroke="#777" stroke-width="1.2">{"".join(lines)}</svg>'
    return "data:image/svg+xml;base64," + base64.b64encode(text.encode()).decode("ascii")


def _image_size(shape: tuple[int, int]) -> tuple[int, int]:
    """Return displayed width and height in CSS pixels; ``shape`` is (rows, columns)."""
    if 1 in shape:
        return _SERIES_SIZE
    scale = min(2.0, _MAX_SIDE / max(shape))
    return max(1, round(scale * shape[1])), max(1, round(scale * shape[0]))


def _image_uri(pixels: bytes, shape: tuple[int, int]) -> str:
    """Return grey pixels (bytes, row by row) as a PNG data URI with 16 shades; a series as an SVG line."""
    from PIL import Image

    if 1 in shape:
        return series_svg([[list(pixels)]])
    content = io.BytesIO()
    image = Image.frombytes("P", shape[::-1], bytes(pixel >> 4 for pixel in pixels))
    image.putpalette([17 * shade for shade in range(16) for _ in range(3)])
    image.save(content, "PNG", bits=4, optimize=True)
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode("ascii")


# Markdown -------------------------------------------------------------------------------------------------------------

# Foreign text, such as names of users, is put into code spans, in which Markdown has no effect.


def _code(text: str, longest: int = 300) -> str:
    """Return foreign text as a code span on a single line; a dash if empty."""
    line = _one_line(text)
    line = line if len(line) <= longest else f"{line[:longest]}\N{HORIZONTAL ELLIPSIS}"
    # The macro ``row`` of summary.md escapes each bar as ``\|``, because a bar ends the cell of a table even inside a
    # span. A backslash before a bar would cancel the escape.
    line = re.sub(r"\\(?=\|)", "\\\\ ", line)
    # A run of as many backticks in the text would end the span.
    fence = "`" * (max((len(run) for run in re.findall("`+", line)), default=0) + 1)
    padding = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{padding}{line}{padding}{fence}" if line else DASH


def _sentence(text: str) -> str:
    # GitHub would notify the account "@name".
    return re.sub(r"([\\`*_{}\[\]<>#~&!])", r"\\\1", _one_line(text)).replace("@", "&#64;")


def _fenced(lines: Sequence[str]) -> str:
    text = "\n".join(lines)
    fence = "`" * max(3, max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    return f"{fence}console\n{text}\n{fence}"


def _one_line(text: str) -> str:
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff]+", " ", text).strip()
