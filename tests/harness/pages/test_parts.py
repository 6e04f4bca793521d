"""Parts of reports: numbers, charts, layers and thumbnails; exports as Markdown, tables and image files."""

from __future__ import annotations

import base64
import csv
import io
import itertools
import json
import math
import re
from functools import cache, partial
from importlib import resources
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import altair
import matplotlib
import pytest
from PIL import Image, ImageFont

from harness.pages import charts, render, study_charts
from harness.pages.render import _code, _sentence
from harness.pages.study_facts import StudyFacts, read_study
from harness.pages.study_page import _COLUMNS, _table_rows, study_summary, write_figures, write_tables
from harness.spaces.network import MNIST, Task, analyse
from harness.spaces.notation import parse_network
from harness.system.errors import UsageError
from harness.system.files import Workspace
from harness.system.terminal import counted
from tests.harness.pages.conftest import facts_of, network

FONT = cache(partial(ImageFont.truetype, f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf"))
STYLE = resources.files("harness.pages").joinpath("page.css").read_text(encoding="utf-8")


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_missing_and_non_finite_numbers_are_en_dashes(value: float | None):
    texts = [render.count(value), render._decimal(value, 2), render._pct(value), render._short(value)]

    assert {*texts, render._duration(value), render._mean_and_deviation(value, value)} == {"\u2013"}


@pytest.mark.parametrize(
    ("rendered", "text"),
    [
        (render.count(12088), "12,088"),
        (render._pct(99.4), "99.40 %"),
        (render._short(99.4), "99.4"),
        (render._spread([99.4, 99.5]), "99.45 \u00b1 0.07"),
        (render._spread([99.4]), "99.40"),
        (render._duration(59.6), "1 min"),
        (render._duration(61), "1 min 1 s"),
        (render._duration(9000), "2 h 30 min"),
        (counted(1, "seed"), "1 seed"),
        (counted(1200, "seed"), "1,200 seeds"),
    ],
)
def test_numbers_are_rounded_grouped_and_have_units(rendered: str, text: str):
    assert rendered == text


# Charts and layers ----------------------------------------------------------------------------------------------------


def test_style_sheet_maps_all_chart_colours():
    light = dict(re.findall(r"--(\w+): (#\w+);", STYLE.partition("@media")[0]))

    for colour in charts.Colour:
        assert colour in light.values()
        for paint in ("fill", "stroke"):
            [name] = re.findall(rf'\[{paint}="{colour}"\] \{{ {paint}: var\(--(\w+)\); \}}', STYLE)
            assert light[name] == colour


def text_boxes(svg: str) -> list[tuple[float, float, float, float]]:
    """Return left, top, right and bottom of each visible text, with the widths of DejaVu Sans, a wide font."""
    boxes: list[tuple[float, float, float, float]] = []

    def walk(element: ElementTree.Element, x: float, y: float) -> None:
        if float(element.get("opacity", "1")) == 0:
            return
        transform = element.get("transform", "")
        for across, down in re.findall(r"translate\(([-\d.e]+),([-\d.e]+)\)", transform):
            x += float(across)
            y += float(down)
        if element.tag.endswith("text") and element.text:
            size = float(element.get("font-size", "").removesuffix("px"))
            width = FONT(size).getlength(element.text)
            left = x - width * {"start": 0, "middle": 0.5, "end": 1}[element.get("text-anchor", "start")]
            boxes.append((y - size, x, y, x) if "rotate" in transform else (left, y - 0.8 * size, left + width, y))
        for child in element:
            walk(child, x, y)

    walk(ElementTree.fromstring(svg), 0, 0)
    return boxes


@pytest.mark.parametrize(
    ("registry", "name"), [("theme", "dark"), ("data_transformers", "json"), ("data_transformers", "vegafusion")]
)
def test_settings_of_altair_do_not_change_a_chart(registry: str, name: str, workspace: Path):
    chart = study_charts._bars([("first", 1), ("second", 2)], "proposals", "a chart")
    expected = render.specification(chart)

    with getattr(altair, registry).enable(name):
        assert render.specification(chart) == expected
        assert getattr(altair, registry).active == name
    assert not [*workspace.iterdir()]


@pytest.mark.parametrize("count", [1, 2, 7, 30])
@pytest.mark.parametrize("length", [5, 60])
def test_texts_of_charts_do_not_overlap(count: int, length: int):
    bars = [(f"{'x' * length}{number}", 10 * number) for number in range(count)]
    chart = study_charts._bars(bars, "proposals", "a chart")
    for width in (360, 760):
        boxes = text_boxes(charts.svg(chart, width))
        assert len(boxes) > count
        overlaps = [
            pair
            for pair in itertools.combinations(boxes, 2)
            if all(pair[0][side] < pair[1][side + 2] and pair[1][side] < pair[0][side + 2] for side in (0, 1))
        ]
        assert overlaps == []


def test_learning_curves_have_the_contrast_of_graphics(realistic_facts: StudyFacts):
    opacity = study_charts._learning_curves(realistic_facts).mark.opacity

    red, green, blue = (1 - opacity * (1 - value / 255) for value in bytes.fromhex(charts.Colour.GREY[1:]))
    luminance = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2  # of the lightest colour, on white
    assert 1.05 / (luminance + 0.05) >= 3  # WCAG 2.2, criterion 1.4.11


def test_seeds_outside_of_the_chart_have_a_label_per_network_and_kind(new_study: Any, home: Workspace):
    study = new_study()
    for width, errors in ((8, [50, 60, 1_500, 1_000]), (9, [55, 60]), (10, [55, 60]), (11, [55, 2_000])):
        proposal = study.propose(network(width, 8, 8))
        study.finish(proposal, 50)
        study.confirm(proposal, errors)
    facts = read_study(study.write(), home)

    document = study_charts._seeds_of_networks(facts).to_dict(validate=False)

    rows = itertools.chain.from_iterable(document["datasets"].values())
    words = [row["words"] for row in rows if {"seed", "words"} <= {*row}]
    assert words == ["85.00 to 90.00, outside", "80.00, outside"]


PLAIN = parse_network("conv3x3(8) bn relu | maxpool | conv3x3(16) bn relu | gap | linear(10)")
TIED = parse_network(
    "conv3x3(8, poses=4) relu | avgpool | conv3x3(8, tie=t1) | res(conv1x1(8) conv3x3(8, tie=t1)) relu "
    "| res(conv3x3(8, tie=t1)) | gap | linear(10)"
)


def test_bar_has_edge_and_channels_of_output_of_convolution():
    assert [(bar.edge, bar.channels, bar.sum_index) for bar in render._bars(PLAIN, MNIST)] == [
        (28, 8, 0), (14, 16, 0), (1, 10, 0)
    ]  # fmt: skip
    assert [bar.kind for bar in render._bars(TIED, MNIST)] == ["posed", "tied-1", "own", "tied-1", "tied-1", "linear"]
    assert [bar.sum_index for bar in render._bars(TIED, MNIST)] == [0, 0, 1, 1, 2, 0]
    thumbnail = render._thumbnail(TIED, MNIST)
    assert thumbnail.count('class="sum"') == 2
    assert 'aria-label="5 convolutions, 3 kernels; maps with edges of 28, 14 pixels"' in thumbnail
    names = {name for words in re.findall(r'class="([^"]*)"', thumbnail) for name in words.split()}
    assert {name for name in names if f".{name} " not in STYLE} == set()


def test_columns_include_all_parameters_and_ops():
    columns = render._columns_of(analyse(TIED, MNIST))

    assert sum(column.parameters for column in columns) == analyse(TIED, MNIST).parameters
    assert [column.followers for column in columns] == ["relu", "", "", "relu", "", "", ""]
    assert [column.kind for column in columns] == ["shared", "plain", "shared", "shared", "shared", "plain", "kernel"]


def test_image_uri_is_png_with_sixteen_shades():
    address = render._image_uri(bytes([0, 255, 128, 16, 32, 64]), (2, 3))

    image = Image.open(io.BytesIO(base64.b64decode(address.removeprefix("data:image/png;base64,"))))
    assert (image.size, [*image.convert("L").tobytes()]) == ((3, 2), [0, 255, 136, 17, 34, 68])


# Markdown -------------------------------------------------------------------------------------------------------------


def tables(text: str) -> list[list[list[str]]]:
    """Return the cells of each Markdown table; like GitHub, separate cells at bars without a preceding backslash."""
    rows: list[list[list[str]]] = [[]]
    for line in text.splitlines():
        if line.startswith("|"):
            rows[-1].append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif rows[-1]:
            rows.append([])
    return [table for table in rows if table]


@pytest.mark.parametrize(("channels", "steps"), [(1, 2), (1, 150), (3, 3_000), (6, 100_000)])
def test_series_are_drawn_as_lines_within_page_width(channels: int, steps: int):
    values = [[(7 * step) % 256 for step in range(steps)] for _ in range(channels)]

    drawing = base64.b64decode(render.series_svg([values] * 12).partition(",")[2]).decode()

    size = re.search(r'width="(\d+)" height="(\d+)"', drawing)
    points = [[float(x) for x in re.findall(r"([\d.]+),", line)] for line in re.findall(r'points="([^"]*)"', drawing)]
    assert size is not None
    assert int(size[1]) < 2_000
    assert len(points) == 12 * channels
    assert all(len(line) <= 150 and line == sorted(line) and line[-1] <= int(size[1]) for line in points)


@pytest.mark.parametrize("shape", [(28, 28), (8, 8), (480, 640), (1, 3_000), (3_000, 1), (2, 900)])
def test_image_size_is_limited(shape: tuple[int, int]):
    width, height = render._image_size(shape)

    assert 1 <= min(width, height) <= max(width, height) <= 112
    assert shape != (28, 28) or (width, height) == (56, 56)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 96, 64), (2, 1, 500)])
def test_strip_stays_within_column(shape: tuple[int, int, int]):
    task = Task(shape, 3)
    analysis = analyse(parse_network("conv1x1(4) bn relu | gap | linear(3)", task), task)
    template = "{% import 'layers.html' as l with context %}{{ l.strip(analysis) }}"

    strip = render._environment("harness.pages").from_string(template).render(analysis=analysis)

    for x, y, width, height in re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', strip):
        left, right = float(x), float(x) + float(width)
        top, bottom = float(y), float(y) + float(height)
        assert 0 <= left < right <= 104
        assert (86 <= top < bottom <= 170) or (200 <= top < bottom <= 270) or (280 <= top < bottom <= 336)


def test_special_characters_of_class_names_are_kept():
    template = "{% import 'macros.html' as m with context %}{% call m.table('t', '', [], names=names) %}{% endcall %}"
    names = [">50K", "#1", "~", "<b>"]

    table = render._environment("harness.pages").from_string(template).render(names=names)

    assert re.findall(r"<bdi>(.*?)</bdi>", table) == ["&gt;50K", "#1", "~", "&lt;b&gt;"]


def test_study_summary_states_answer_and_verification_command(realistic_facts: StudyFacts):
    text, answer = study_summary(realistic_facts), realistic_facts.answer

    assert answer is not None
    start = f"### Proved: `{realistic_facts.name}`\n\nProved (verified): {answer.parameters:,} parameters, mean test "
    assert text.startswith(start)
    facts, networks = tables(text)
    values = dict(facts[2:])
    assert (values["network"], values["tier"]) == (f"`{answer.hash}`", "verified")
    # Errors 55, 58, 52, 61, 57, 54: deviation 3.189; 99.43833 - 2.75651 (t of 0.98, 5 degrees) * 0.03189 / sqrt(6).
    assert values["mean test accuracy"].startswith(
        "99.438 \u00b1 0.032 % over 6 seeds, lower bound 99.402 % (confidence 98 %)"
    )
    assert len(networks) == 2 + 8
    command = f"harness verify {answer.hash} --recipe fast --dataset mnist --target 99.4 --seeds 6"
    assert f"```console\nharness search --budget 20000\n{command}\n```" in text


def test_rows_of_markdown_table_have_as_many_cells_as_head(new_study: Any, home: Workspace):
    study = new_study(name="a | b \\| c")
    study.propose(network(4, 6, 8), origin="x | y")
    summary = study_summary(read_study(study.write(), home))

    assert summary.startswith("### Not reached yet: ")
    assert tables(summary)
    for table in tables(summary):
        assert {len(row) for row in table} == {len(table[0])}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a`b", "``a`b``"),
        ("`", "`` ` ``"),
        ("a``b`", "``` a``b` ```"),
        ("two\nlines\t\x00here", "`two lines here`"),
        ("x" * 400, f"`{'x' * 300}\u2026`"),
        ("\udcff", "\u2013"),
        ("@user #1 <b>", "`@user #1 <b>`"),
    ],
)
def test_foreign_text_is_quoted_in_code_span(text: str, code: str):
    assert _code(text) == code


@pytest.mark.parametrize("text", ["<script>", "*bold*", "_x_", "[a](http://b)", "# head", "`x`", "a\nb", "~~x~~"])
def test_markup_and_mentions_in_sentence_are_escaped(text: str):
    sentence = _sentence(text)

    assert not re.search(r"(?<!\\)[<*_\[\]`#~]|\n", sentence)
    assert re.sub(r"\\(.)", r"\1", sentence) == text.replace("\n", " ")
    assert "@" not in _sentence("mail @somebody")


# Tables and figures ---------------------------------------------------------------------------------------------------


def test_csv_and_json_have_all_networks_in_order_of_report(realistic_facts: StudyFacts, tmp_path: Path):
    table, document = (path.read_text(encoding="utf-8") for path in write_tables(realistic_facts, tmp_path))

    rows, entries = list(csv.DictReader(io.StringIO(table, newline=""))), json.loads(document)["networks"]
    assert [row["hash"] for row in rows] == [item.hash for item in realistic_facts.networks]
    assert tuple(rows[0]) == tuple(entries[0]) == _COLUMNS
    for row, entry in zip(rows, entries, strict=True):
        assert float(row["parameters"]) == entry["parameters"]
        cell = row["validation_accuracy_pct"]
        assert (float(cell) if cell else None) == entry["validation_accuracy_pct"]
        assert row["reached"] == str(entry["reached"]).lower()
    assert entries[0]["mean_test_accuracy_pct"] == pytest.approx(100 - (55 + 58 + 52 + 61 + 57 + 54) / 6 / 100)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError):
        write_tables(realistic_facts, tmp_path / "file")


def test_tables_have_macs_of_all_networks_and_escape_formulas(new_study: Any, home: Workspace):
    study = new_study()
    # Multiply-adds: 9 x 8 weights at 28 x 28 positions, then 10 x 8; the second network has 12 channels.
    study.finish(study.propose(parse_network("conv3x3(8) | gap | linear(10)"), origin="=cmd|' /C calc'!A0"), 50)
    study.propose(parse_network("conv3x3(12) | gap | linear(10)"))
    info = read_study(study.write(), home)

    assert [line["macs"] for line in _table_rows(info)] == [28 * 28 * 9 * 8 + 80, 28 * 28 * 9 * 12 + 120]
    assert [line["tier"] for line in _table_rows(info)] == ["searched", None]
    assert "'=cmd" in write_tables(info, home.root)[0].read_text(encoding="utf-8")


def test_charts_are_written_as_svg_and_png(realistic_facts: StudyFacts, tmp_path: Path):
    for info in (realistic_facts, facts_of()):
        paths = write_figures(info, tmp_path)
        assert [path.name for path in paths] == [
            f"{name}.{kind}" for name in ("accuracy", "budget", "proposals") for kind in ("svg", "png")
        ]
        for path in paths:
            assert path.read_bytes().startswith(b"\x89PNG" if path.suffix == ".png" else b"<svg")
