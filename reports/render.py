"""From facts to one HTML file that works offline: templates, charts and scripts, under a content security policy.

HTML and prose stand in ``templates/`` alone. Whatever a page prints is escaped; no script runs but those of the page.
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
from itertools import groupby
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup, escape

from harness.data.datasets import dataset
from harness.evidence import bounds, leaderboard, ledger
from harness.evidence.leaderboard import LeaderboardRow, Tier
from harness.studies.candidate import allowed_errors
from harness.system import statistics
from harness.system.errors import typed
from search_spaces.catalog import network_name
from search_spaces.network import Analysis, Architecture, Task, walk
from search_spaces.ops import Conv, DepthwiseConv, Op, Residual, Role, Shape, kernels, shape_text
from search_spaces.space import OBJECTIVES, size_text

DASH = "\N{EN DASH}"
# HTML forbids these characters, and lone surrogates cannot be written as UTF-8.
_FORBIDDEN = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff\ud800-\udfff]")
_PER_CENT = re.compile(r"(?<=\d) %")


def page(
    template: str,
    *,
    charts: Mapping[str, Any] | None = None,
    styles: Sequence[str] = (),
    scripts: Sequence[str] = (),
    data: Mapping[str, object] | None = None,
    datasets: Mapping[str, Sequence[Mapping[str, object]]] | None = None,
    **facts: object,
) -> str:
    """Return the page of a template, which prints the facts.

    Args:
        template: the name of a file in ``templates/`` that extends ``base.html``.
        charts: Altair charts by the names under which ``figure`` shows them; None is left out. Data sets that a chart
            names stand in the page once, however many charts use them.
        styles: style sheets of this package beside ``page.css``; ``scripts`` those that run after ``page.js``.
        data: what these scripts read as ``page.data``; ``datasets`` rows that they read beside those of the charts.
        facts: what the template prints.
    """
    from altair import Undefined

    specs = {}
    embedded = dict(datasets or {})
    for name, chart in (charts or {}).items():
        if chart is None:
            continue
        # Rows go around Altair, because it would look at every value of theirs.
        rows = chart._get("datasets")
        bare = chart.copy(deep=False)
        bare.datasets = Undefined
        specs[name] = bare.to_dict(validate=False)
        embedded |= specs[name].pop("datasets", {})  # Altair moves the rows of inline data here
        embedded |= {} if rows is Undefined else rows
    texts = [_vega()] if specs else []
    texts += map(_resource, ("page.js", *scripts))
    columns = {name: _columns(rows) for name, rows in embedded.items()}
    embedded_data = {"charts": specs, "datasets": columns, "data": data or {}}
    return _template(template).render(
        policy=_policy(texts),
        styles=[Markup(_resource(name)) for name in ("page.css", *styles)],
        scripts=[Markup(text) for text in texts],
        # No browser takes this JSON for markup or for a program.
        page_data=Markup(json.dumps(embedded_data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")),
        descriptions={name: spec.get("description", "") for name, spec in specs.items()},
        heights={name: spec.get("height", 0) for name, spec in specs.items()},
        **facts,
    )


def _columns(rows: Sequence[Mapping[str, object]]) -> dict[str, list[object]]:
    """Return rows column by column, because the names of the columns weigh as much as the rows."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def words(name: str, *facts: object) -> str:
    """Return what the macro of this name in ``words.txt`` says of some facts: plain text on one line."""
    text: str = getattr(_template("words.txt").module, name)(*facts)
    return " ".join(text.split())


def markdown(template: str, **facts: object) -> str:
    """Return what a template of Markdown makes of some facts; it escapes by its own filters."""
    return _template(template).render(**facts).replace("\N{NO-BREAK SPACE}%", " %")


def _policy(scripts: Sequence[str]) -> str:
    """Return a policy under which nothing is fetched and nothing runs but these scripts, even if escaping failed."""
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    sources = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {sources}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


@cache
def _template(name: str) -> jinja2.Template:
    return _environment().get_template(name)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reports"),
        autoescape=lambda name: name is None or name.endswith(".html"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_printable,
    )
    numbers = (count, decimal, _pct, short, spread, _mean_and_deviation, duration, accuracy_words, _three_digits)
    filters: tuple[Any, ...] = (*numbers, plural, shape_text, _code, _sentence, _fenced)
    environment.filters.update({each.__name__.lstrip("_"): each for each in filters})
    functions = (allowed_errors, dataset, network_name, _blocks, _description, _thumbnail, _image_uri, _image_size)
    environment.globals.update({each.__name__.lstrip("_"): each for each in functions})
    environment.globals.update(dash=DASH, bounds=bounds, leaderboard=leaderboard, ledger=ledger, objectives=OBJECTIVES)
    environment.globals.update(size_text=size_text, typed=typed, zip=zip)
    return environment


def _printable(value: object) -> object:
    """Return what a template prints without forbidden characters; a number and its per cent sign stay together."""
    if isinstance(value, Markup | jinja2.Undefined):
        return value
    return _PER_CENT.sub("\N{NO-BREAK SPACE}%", _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", str(value)))


@cache
def _resource(name: str) -> str:
    return resources.files("reports").joinpath(name).read_text(encoding="utf-8")


@cache
def _vega() -> str:
    """Return the drawing library; to put it together takes a second."""
    import vl_convert

    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return bundle


# Numbers as people read them, rounded here only; what is missing or not finite is an en dash -------------------------


def decimal(value: float | None, digits: int) -> str:
    """Return a number with a fixed count of decimals and separated thousands."""
    return DASH if value is None or not math.isfinite(value) else f"{value:,.{digits}f}"


def count(value: float | None) -> str:
    """Return a whole number with separated thousands."""
    return decimal(value, 0)


def _pct(value: float | None, digits: int = 2) -> str:
    """Return per cent with the sign."""
    return DASH if value is None or not math.isfinite(value) else f"{value:.{digits}f} %"


def short(value: float | None) -> str:
    """Return a number with as few digits as it needs."""
    return DASH if value is None or not math.isfinite(value) else f"{value:.6g}"


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Return mean and deviation, the mean alone below two values, a dash for none."""
    return _mean_and_deviation(statistics.mean(values), statistics.standard_deviation(values), digits)


def _mean_and_deviation(mean: float | None, deviation: float | None, digits: int = 2) -> str:
    """Return ``mean ± deviation``, the mean alone where there is no deviation."""
    if deviation is None or not math.isfinite(deviation):
        return decimal(mean, digits)
    return f"{decimal(mean, digits)} \N{PLUS-MINUS SIGN} {decimal(deviation, digits)}"


def accuracy_words(row: LeaderboardRow) -> str:
    """Return mean and deviation on the test set, per cent; v marks validation accuracy, c an unchecked claim."""
    match row.tier:
        case Tier.SEARCHED:
            return f"{decimal(row.validation_accuracy_pct, 2)} v"
        case Tier.CLAIMED:
            return f"{decimal(row.mean_test_accuracy_pct, 2)} c"
        case _:
            return _mean_and_deviation(row.mean_test_accuracy_pct, row.std_test_accuracy_pct, 3)


def plural(number: int, noun: str, nouns: str = "") -> str:
    """Return the number with its noun in the right form."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


def duration(seconds: float | None) -> str:
    """Return a length of time in the two units that matter."""
    if seconds is None or not math.isfinite(seconds):
        return DASH
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def _three_digits(ratio: float) -> str:
    """Return a ratio with three digits that matter."""
    if ratio >= 1000:
        return f"{ratio:,.0f}"
    digits = 2 if ratio == 0 else max(0, 2 - math.floor(math.log10(ratio) + 1e-9))
    return f"{ratio:.{digits}f}"


# A network as a strip of layers to scale, and as a picture as small as a word -----------------------------------------

# In the strip each map has its longer side, its channels, its cost, and how much of the image it sees; ops that compute
# each value from the one in its place (bn, activations, dropout) stand with the op before them. The small picture is a
# bar a convolution, as high as its map; shared kernels have one colour. No library draws these; page.css has colours.

# A network with more tied kernels than colours takes the first colour again.
_TIES = 3
# Of the small picture, in units of a page: its height, the middle and the tallest of its bars, and the gap between two.
_SMALL = 30
_MIDDLE = 17.0
_TALLEST = 24.0
_GAP = 1.5


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


def _blocks(analysis: Analysis) -> tuple[_Block, ...]:
    """Return the columns of a network's strip."""
    blocks: list[_Block] = []
    shape: Shape = analysis.task.input_shape
    seen_all = False
    for layer in analysis.layers:
        seen_all = seen_all or (layer.op.is_global and len(shape) == 3)
        shape = layer.output_shape
        words = str(layer.op)
        field = None if seen_all else layer.receptive_field
        last = blocks[-1] if blocks else None
        if last is not None and layer.op.works_in_place:
            blocks[-1] = replace(last, followers=f"{last.followers} {words}".strip(), shape=shape)
        elif last is not None and words.startswith("res") and (last.op, last.shape) == (words, shape):
            blocks[-1] = replace(last, receptive_field=field, times=last.times + 1)
        else:
            blocks.append(_Block(words, "", shape, 0, 0, field, _kind(layer.op)))
        last = blocks[-1]
        blocks[-1] = replace(last, parameters=last.parameters + layer.parameters, macs=last.macs + layer.macs)
    return tuple(blocks)


def _kind(op: Op) -> str:
    used = kernels((op,))
    if any(kernel.tie or kernel.poses > 1 for kernel in used):
        return "shared"
    return "kernel" if used or op.has_weights else "plain"


def _description(columns: tuple[_Block, ...], image: Shape) -> str:
    """Return what a strip shows, in words."""
    steps = ", ".join(
        f"{f'{block.times} times ' if block.times > 1 else ''}{block.op} to {shape_text(block.shape)}"
        for block in columns
    )
    fields = [block.receptive_field for block in columns if block.receptive_field is not None]
    grown = min(fields[-1] if fields else 1, max(image[1:]))
    return f"From {shape_text(image)}: {steps}. The receptive field grows to {grown} of {max(image[1:])} pixels."


class _Bar(NamedTuple):
    """One convolution of the small picture, or the linear layer at the end: rows and channels of its output.

    ``kind`` is ``own`` for a kernel used once, ``posed`` for one in several orientations, ``tied-1`` to ``tied-3`` for
    one that other bars of this kind use too, ``linear``; ``sum`` the number of its residual sum, 0 outside one.
    """

    edge: int
    channels: int
    kind: str
    sum: int = 0


def _bars(architecture: Architecture, task: Task) -> tuple[_Bar, ...]:
    """Return the bars of the small picture in order of execution."""
    ties: dict[str, int] = {}
    bars: list[_Bar] = []
    shape: Shape = task.input_shape
    sums = 0
    for op in architecture.ops:
        sums += isinstance(op, Residual)
        for inner, before in walk((op,), shape):
            if inner.role is Role.LINEAR:
                bars.append(_Bar(1, inner.shape(before)[0], "linear"))
            elif isinstance(inner, Conv | DepthwiseConv):
                kind = "posed" if inner.poses > 1 else "own"
                if inner.tie is not None:
                    kind = f"tied-{ties.setdefault(inner.tie, len(ties)) % _TIES + 1}"
                channels, edge, _ = inner.shape(before)
                bars.append(_Bar(edge, channels, kind, sums if isinstance(op, Residual) else 0))
        shape = op.shape(shape)
    return tuple(bars)


def _thumbnail(architecture: Architecture, task: Task) -> Markup:
    """Return the small picture, which says its convolutions to those who do not see it."""
    bars = _bars(architecture, task)
    places: list[tuple[float, float]] = []
    # Bars of one kind share one path, because a report shows a hundred networks.
    outlines: dict[str, str] = {}
    x = 1.0
    for bar in bars:
        width = round(3 + math.log2(max(bar.channels, 1)), 1)
        height = round(max(3.0, _TALLEST * bar.edge / task.input_shape[1]), 1)
        outline = f"M{x:g} {_MIDDLE - height / 2:g}h{width:g}v{height:g}h-{width:g}z"
        outlines[bar.kind] = outlines.get(bar.kind, "") + outline
        places.append((x, width))
        x = round(x + width + _GAP, 1)
    paths = "".join(f'<path d="{outline}" class="{kind}"/>' for kind, outline in outlines.items())
    for number, group in groupby(range(len(bars)), key=lambda index: bars[index].sum):
        inside = list(group)
        if number:
            end = places[inside[-1]][0] + places[inside[-1]][1]
            paths += f'<path d="M{places[inside[0]][0]:g} 2H{end:g}" class="sum"/>'
    convolutions = [bar for bar in bars if bar.kind != "linear"]
    names = [op.tie for op in kernels(architecture.ops)]
    learned = len(convolutions) - len(names) + names.count(None) + len({name for name in names if name is not None})
    words = plural(len(convolutions), "convolution") + (f", {learned} kernels" if learned < len(convolutions) else "")
    edges = ", ".join(str(edge) for edge, _ in groupby(bar.edge for bar in convolutions))
    words += f"; maps with edges of {edges} pixels" if edges else ""
    box = f'viewBox="0 0 {math.ceil(x)} {_SMALL}" class="thumbnail" role="img" aria-label="{escape(words)}"'
    return Markup(f"<svg {box}>{paths}</svg>")


# Of pictures, in units of a page: the longest side of an image, and the sides of a series.
_LONGEST = 112
_SERIES_SIZE = (112, 48)
# A series is drawn by at most so many points.
_POINTS = 120


def series_svg(series: Sequence[Sequence[Sequence[int]]]) -> str:
    """Return series side by side, a line a channel, as an address that holds an SVG.

    Args:
        series: values 0 to 255, (series, channels, steps); of many steps the extremes of each stretch are drawn.
    """
    width, height = _SERIES_SIZE
    lines = []
    for number, channels in enumerate(series):
        for values in channels:
            stretch = max(1, math.ceil(2 * len(values) / _POINTS))
            parts = [values[start : start + stretch] for start in range(0, len(values), stretch)]
            drawn = [value for part in parts for value in ((min(part), max(part)) if stretch > 1 else part)]
            step = (width - 8) / max(1, len(drawn) - 1)
            points = (f"{number * width + step * at:.1f},{(255 - y) * height / 255:.1f}" for at, y in enumerate(drawn))
            lines.append(f'<polyline points="{" ".join(points)}"/>')
    box = f'xmlns="http://www.w3.org/2000/svg" width="{width * len(series)}" height="{height}"'
    text = f'<svg {box} fill="none" stroke="#777" stroke-width="1.2">{"".join(lines)}</svg>'
    return "data:image/svg+xml;base64," + base64.b64encode(text.encode()).decode("ascii")


def _image_size(shape: tuple[int, int]) -> tuple[int, int]:
    """Return width and height at which a page shows an image of so many rows and columns."""
    if 1 in shape:
        return _SERIES_SIZE
    scale = min(2.0, _LONGEST / max(shape))
    return max(1, round(scale * shape[1])), max(1, round(scale * shape[0]))


def _image_uri(pixels: bytes, shape: tuple[int, int]) -> str:
    """Return grey pixels, a byte each, row by row, as an address that holds a PNG of 16 shades; a series as a line."""
    from PIL import Image

    if 1 in shape:
        return series_svg([[list(pixels)]])
    content = io.BytesIO()
    image = Image.frombytes("P", shape[::-1], bytes(pixel >> 4 for pixel in pixels))
    image.putpalette([17 * shade for shade in range(16) for _ in range(3)])
    image.save(content, "PNG", bits=4, optimize=True)
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode("ascii")


# Markdown -------------------------------------------------------------------------------------------------------------

# In Markdown, what others wrote stands in code spans, where it does nothing.


def _code(words: str, longest: int = 300) -> str:
    """Return foreign words as a code span on one line, cut where they are too long."""
    line = _one_line(words)
    line = line if len(line) <= longest else f"{line[:longest]}\N{HORIZONTAL ELLIPSIS}"
    # A table, which ends its cells at bars even inside a span, would take a backslash before a bar for its own escape.
    line = re.sub(r"\\(?=\|)", "\\\\ ", line)
    # A span ends at as many backticks as began it, so it begins with more than the text has in a row.
    fence = "`" * (max((len(run) for run in re.findall("`+", line)), default=0) + 1)
    padding = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{padding}{line}{padding}{fence}" if line else DASH


def _sentence(words: str) -> str:
    """Return words of ours, which may hold a foreign name, with all that Markdown would take for markup escaped."""
    # An at sign would call a person, so it is no longer one that a program knows.
    return re.sub(r"([\\`*_{}\[\]<>#~&!])", r"\\\1", _one_line(words)).replace("@", "&#64;")


def _fenced(lines: Sequence[str]) -> str:
    """Return commands as a block of code."""
    text = "\n".join(lines)
    fence = "`" * max(3, max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    return f"{fence}console\n{text}\n{fence}"


def _one_line(words: str) -> str:
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff]+", " ", words).strip()
