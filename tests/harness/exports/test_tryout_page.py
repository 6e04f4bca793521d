"""Page for trying a network: integer logits equal NumPy, and drawings, pictures and keys give an answer."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw

import harness
from harness.data.other_images import pictures_at
from harness.data.testset import read_test_set
from harness.data.training_images import load
from harness.exports import tryout_page
from harness.exports.c_library import Library
from harness.exports.integer_plan_json import integer_plan_json, page_json
from harness.spaces.network import MNIST, Task
from harness.spaces.notation import parse_network
from harness.training.integer import IntegerNetwork, integer_logits
from tests import axe, browser
from tests.conftest import REPOSITORY
from tests.harness.exports.test_c_library import NETWORKS, SERIES_POOLS, dataset_of, library_of, trained

IMAGES = 200
POSED = parse_network(NETWORKS[0])
COLOURS = Task((3, 8, 8), 4)
SERIES = Task((2, 1, 40), 3)
# A slope of 0.001 is rounded to 0, so that negative numbers become 0.
TASKS = [
    *((text, MNIST) for text in [*NETWORKS, "conv3x3(4) leaky(0.001) gap linear(10)"]),
    (SERIES_POOLS, SERIES),
    ("conv3x3(6) bn relu conv3x3(4) | gap | linear(4)", COLOURS),
    ("conv1x3(6) bn relu conv1x3(4) | gap | linear(3)", SERIES),
]


def flat(pixels: npt.NDArray[np.uint8]) -> list[list[int]]:
    """Return the pixels of each image in the order of the page: rows, columns, channels."""
    lists: list[list[int]] = pixels.transpose(0, 2, 3, 1).reshape(len(pixels), -1).tolist()
    return lists


@pytest.mark.parametrize(("text", "task"), TASKS)
def test_logits_of_script_equal_numpy(text: str, task: Task):
    node = browser.find_program(("node",), "the script of the integers")
    _, images, integers = trained(parse_network(text, task), task)
    pixels = images.pixels.numpy()
    data = json.dumps({"data": {"plan": integer_plan_json(integers)}})
    source = (REPOSITORY / "harness" / "exports" / "integer.js").read_text(encoding="utf-8")
    answer = f"console.log(JSON.stringify({json.dumps(flat(pixels))}.map((image) => run(image).logits)));"

    program = f"const page = {data};\n{source}\n{answer}"
    run = subprocess.run([node, "-"], input=program, capture_output=True, text=True, check=True)

    assert np.array_equal(json.loads(run.stdout), integer_logits(integers, pixels))


def library(text: str, task: Task, **changes: Any) -> Library:
    _, images, integers = trained(parse_network(text, task), task)
    example = library_of(integers, task, images.pixels.numpy())
    return replace(example, dataset=replace(dataset_of(task), **changes))


def write(library: Library, folder: Path) -> Path:
    path = folder / "try.html"
    path.write_text(tryout_page.render(page_json(library)), encoding="utf-8")
    return path


def test_page_offers_inputs_suitable_for_data(tmp_path: Path):
    hostile = ("</script><script>window.broken = 1</script>", "b", "c", "d")
    pages = {
        "digits": tryout_page.render(page_json(library(NETWORKS[0], MNIST))),
        "own digits": tryout_page.render(page_json(library(NETWORKS[0], MNIST, sha256="0"))),
        "colours": tryout_page.render(page_json(library(*TASKS[-2], sha256="0", class_names=hostile))),
        "series": tryout_page.render(page_json(library(*TASKS[-1], sha256="0"))),
        # For data of these ranges the scale of the bytes of a picture is unknown.
        "fractions": tryout_page.render(page_json(library(*TASKS[-2], sha256="0", low=(0.0,) * 3, high=(1.0,) * 3))),
        "16 bits": tryout_page.render(page_json(library(*TASKS[-2], sha256="0", low=(9.0,) * 3, high=(61_425.0,) * 3))),
    }

    assert ['id="pad"' in text for text in pages.values()] == [True, False, False, False, False, False]
    assert ['id="picture"' in text for text in pages.values()] == [False, True, True, False, False, False]
    assert hostile[0] not in pages["colours"]


def test_c_export_has_page_and_counts_size_of_page(workspace: Path):
    result = harness.export("conv3x3(4) bn relu | gap | linear(10)", c="net", recipe="smoke", dataset="mnist-5k")

    text = (workspace / "net" / "try.html").read_text(encoding="utf-8")
    assert 'id="pad"' in text
    check = result.facts["files"][0]["check"]
    accuracy_pct = 100 * (1 - check["integer_errors"] / check["images"])
    assert f"{check['images']:,} training images: {accuracy_pct:.2f} %" in text
    sizes = [path.stat().st_size for path in (workspace / "net").rglob("*") if path.is_file()]
    assert result.facts["files"][0]["size_bytes"] == sum(sizes)


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "pages"), [("int8", 1), ("fp32", 0)])
def test_search_with_integer_recipe_writes_page_of_answer(workspace: Path, precision: str, pages: int):
    (workspace / "one.space").write_text("net = conv3x3(4) bn relu | maxpool(4) | linear(10)")
    (workspace / "short.toml").write_text(f'epochs = 1\nprecision = "{precision}"')
    options: dict[str, Any] = {"space": "@one.space", "recipe": "@short.toml", "time": "1m", "study": "mine"}

    harness.search("mnist-5k", **options, target_pct=30, trials=1, workers=1)

    folder = workspace / "runs" / "mine"
    names = [path.name for path in folder.glob("try-*.html")]
    assert names == re.findall(r'href="(try-[^"]+)"', (folder / "report.html").read_text(encoding="utf-8"))
    assert len(names) == pages
    assert all('id="pad"' in (folder / name).read_text(encoding="utf-8") for name in names)


def answer(page: browser.Page) -> str:
    text: str = page.evaluate("document.getElementById('answer').textContent")
    return text


@pytest.mark.browser
def test_logits_of_200_test_images_equal_numpy(tab: browser.Page, mnist_folder: Path, tmp_path: Path):
    pixels, _ = read_test_set(load("mnist", mnist_folder), purpose="test", log=tmp_path / "test_reads.jsonl")
    sample = pixels[:IMAGES].numpy()
    _, _, integers = trained(POSED, MNIST)
    tab.open(write(library_of(integers, MNIST, sample), tmp_path))

    logits = tab.evaluate(f"{json.dumps(flat(sample))}.map((image) => run(image).logits)")

    assert np.array_equal(logits, integer_logits(integers, sample))
    assert len(logits) == IMAGES


@pytest.mark.browser
@pytest.mark.parametrize("case", [0, len(TASKS) - 2, len(TASKS) - 1])
def test_page_is_accessible_in_both_themes_and_on_phone(tab: browser.Page, tmp_path: Path, case: int):
    text, task = TASKS[case]
    path = write(library(text, task, sha256="" if task == MNIST else "0"), tmp_path)
    for dark in (False, True):
        tab.open(path, dark=dark)
        assert axe.violations(tab) == []
        for width in (360, 1280):
            tab.send("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
        tab.send("Emulation.clearDeviceMetricsOverride")


def best(integers: IntegerNetwork, pixels: list[int], shape: tuple[int, int, int]) -> str:
    channels, rows, columns = shape
    image = np.array(pixels, np.uint8).reshape(1, rows, columns, channels).transpose(0, 3, 1, 2)
    return str(integer_logits(integers, image)[0].argmax())


@pytest.mark.browser
def test_drawing_by_mouse_and_keys_and_examples_give_answers(tab: browser.Page, tmp_path: Path):
    example = library(NETWORKS[0], MNIST)
    tab.open(write(example, tmp_path))
    scores_visible = "getComputedStyle(document.getElementById('scores')).visibility === 'visible'"
    tab.evaluate("document.querySelector('[data-example=\"\"]').click()")
    assert answer(tab) == "no image"
    assert not tab.evaluate(scores_visible)

    x, y, edge = tab.evaluate("(({x, y, width}) => [x, y, width])(board.getBoundingClientRect())")
    points = [(x + edge * right, y + edge * down) for right, down in ((0.3, 0.2), (0.6, 0.2), (0.4, 0.8))]
    for kind, (right, down) in zip(("mousePressed", "mouseMoved", "mouseMoved"), points, strict=True):
        tab.send("Input.dispatchMouseEvent", type=kind, x=right, y=down, button="left", buttons=1, clickCount=1)
    tab.send("Input.dispatchMouseEvent", type="mouseReleased", x=points[2][0], y=points[2][1], button="left")
    assert tab.evaluate(scores_visible)
    assert answer(tab) == best(example.network, tab.evaluate("digit()"), (1, 28, 28))

    tab.evaluate("document.querySelector('[data-example=\"3\"]').click()")
    assert tab.evaluate("digit()") is None
    assert answer(tab) == best(example.network, flat(example.examples)[3], (1, 28, 28))
    tab.evaluate("document.querySelector('[data-example=\"\"]').click(); board.focus()")
    for _ in range(8):
        tab.press("ArrowDown")
    upright = np.array(tab.evaluate("digit()")).reshape(28, 28)
    assert upright.any(axis=1).sum() > upright.any(axis=0).sum()


@pytest.mark.browser
def test_drawing_is_preprocessed_as_in_evaluate(tab: browser.Page, tmp_path: Path):
    example = library(NETWORKS[0], MNIST)
    tab.open(write(example, tmp_path))
    points = [(30, 40), (110, 30), (60, 90), (120, 150)]
    picture = Image.new("L", (tryout_page._PAD_EDGE, tryout_page._PAD_EDGE))
    ImageDraw.Draw(picture).line(points, fill=255, width=14, joint="curve")
    picture.save(tmp_path / "drawing.png")
    [image], _ = pictures_at(tmp_path / "drawing.png", example.dataset)
    tab.evaluate(f"(board.getContext('2d').clearRect(0, 0, 168, 168), {json.dumps(np.asarray(picture).tolist())})"
    ".forEach((line, y) => line.forEach((shade, x) => { const context = board.getContext('2d');"
    " context.fillStyle = `rgb(255 255 255 / ${shade / 255})`; context.fillRect(x, y, 1, 1); }))")  # fmt: skip

    shades = np.array(tab.evaluate("digit()")).reshape(28, 28)

    # Browser and Pillow smooth differently. A drawing shifted by a pixel differs by more than twice as much.
    def distance(pixels: npt.NDArray[np.int64]) -> float:
        return float(np.abs(pixels - image.pixels[0].astype(int)).mean())

    assert distance(shades) < 3
    assert min(distance(np.roll(shades, step, axis)) for step in (-1, 1) for axis in (0, 1)) > 2 * distance(shades)


@pytest.mark.browser
def test_picture_is_stretched_to_input_shape_and_keeps_values(tab: browser.Page, tmp_path: Path):
    example = library(*TASKS[-2], sha256="0", low=(0.0,) * 3, high=(255.0,) * 3)
    tab.open(write(example, tmp_path))
    bitmap = "new OffscreenCanvas(30, 20)"
    paint = "context.fillStyle = 'rgb(51 60 150)'; context.fillRect(0, 0, 30, 20);"

    pixels = tab.evaluate(f"(() => {{ const canvas = {bitmap}; const context = canvas.getContext('2d'); {paint}"
    " return fitted(canvas.transferToImageBitmap()); })()")  # fmt: skip

    assert pixels == [51, 60, 150] * 64
    tab.evaluate(f"show({json.dumps(pixels)})")
    assert answer(tab) == best(example.network, pixels, COLOURS.input_shape)
