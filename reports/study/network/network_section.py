"""One network's own section: what it is, how it trained, what it gets wrong, and how to run it again."""

from __future__ import annotations

import math

from harness.training.inspection import Inspection
from harness.training.result import Purpose, Result
from reports.html import layer_diagram, png, svg
from reports.html.page import Column, Html, details, element, foreign, items, joined, numeric, paragraph, table, text
from reports.numbers import DASH, count, decimal, duration, plural, short, spread
from reports.study.course.learning_curves import curve_points
from reports.study.network.calibration import calibration_curve
from reports.study.network.mistakes_gallery import gallery
from reports.study.network.network_info import NetworkInfo
from reports.study.standings import accuracy_words, state_tag, tier_tag
from search_spaces.cost import Analysis, stored_numbers
from search_spaces.network import Architecture
from search_spaces.op_specs import op_text
from search_spaces.ops import Conv, kernels
from search_spaces.task import shape_text

MOST_KERNELS = 64
# Beyond this a run has diverged, and its loss would stretch the axis for nothing.
_MOST_LOSS = 1e6
_LAYERS = (
    Column("layer"),
    *numeric("output shape", "parameters", "multiply-adds", "receptive field"),
)
_RUNS = (
    Column("run"),
    *numeric("epochs", "accuracy, %", "errors"),
    Column("training"),
    Column("ended"),
)


def about(network_hash: str) -> str:
    """Return the identifier of a network's section on the page."""
    return f"about-{network_hash}"


def network_section(info: NetworkInfo, *, unfolded: bool = False) -> Html:
    """Return the section, folded away unless it is wanted open."""
    identifier = about(info.network.hash)
    parts = [
        *_layers(info, identifier),
        element("pre", element("code", foreign(str(info.network.architecture)))),
        *_training(info, identifier),
        *_test(info, identifier),
        details("Run it again", _commands(info)),
    ]
    return element(
        "details",
        element("summary", _heading(info)),
        *parts,
        id=identifier,
        class_="about",
        data_n=info.number,
        open="" if unfolded else None,
    )


def _commands(info: NetworkInfo) -> Html:
    return joined(
        element("div", element("pre", element("code", text(command))), paragraph(f"{words}.", class_="note"))
        for command, words in info.commands
    )


def _heading(info: NetworkInfo) -> Html:
    network, row = info.network, info.network.row
    accuracies = network.validation_accuracies_pct
    words = [plural(network.parameters, "parameter")]
    if accuracies:
        words.append(f"validation {spread(accuracies)} %")
    if row is not None:
        words.append(f"test {accuracy_words(row)} %")
    tags = [state_tag(network), *([tier_tag(row.tier)] if row is not None else [])]
    return joined([element("h4", foreign(network.label)), element("span", text(", ".join(words))), *tags], " ")


def _layers(info: NetworkInfo, identifier: str) -> list[Html]:
    return [
        layer_diagram.draw(info.analysis, identifier),
        layer_diagram.note(info.network.architecture),
        details("Every layer", _layer_table(info.network.architecture, info.analysis, identifier)),
    ]


def _layer_table(architecture: Architecture, analysis: Analysis, identifier: str) -> Html:
    rows = [
        [
            element("code", text(f"{number}  {op_text(layer.op)}")),
            text(shape_text(layer.output_shape)),
            text(count(layer.parameters)),
            text(count(layer.macs)),
            text(layer.receptive_field),
        ]
        for number, layer in enumerate(analysis.layers, start=1)
    ]
    total = [
        text("total"),
        text(""),
        text(count(analysis.parameters)),
        text(count(analysis.macs)),
        text(analysis.receptive_field),
    ]
    values = sum(math.prod(layer.output_shape) for layer in analysis.layers)
    caption = (
        f"{plural(len(rows), 'layer')}, {plural(analysis.parameters, 'parameter')} "
        f"({count(stored_numbers(architecture, analysis.task))} stored numbers, with the means and variances of BN), "
        f"{count(analysis.macs)} multiply-adds an image. The total receptive field is that before the first global "
        f"op. In fp32, as torchsummary counts: input {_kib(math.prod(analysis.task.input_shape))}, outputs forward and "
        f"backward {_kib(2 * values)}, parameters {_kib(analysis.parameters)}."
    )
    return table(caption, _LAYERS, [*rows, total], identifier=f"{identifier}-layers")


def _kib(values: int) -> str:
    return f"{decimal(4 * values / 1024, 1)} KiB"


def _training(info: NetworkInfo, identifier: str) -> list[Html]:
    runs = info.network.all_runs
    if not runs:
        return []
    # The run that the search chose by comes first.
    runs = tuple(sorted(runs, key=lambda run: run.purpose is not Purpose.SEARCH))
    rows = [_run_cells(run) for run in runs]
    caption = "Runs of the search, on its training images; accuracy and errors on the validation images."
    shown = joined([_curves(runs, identifier), table(caption, _RUNS, rows, identifier=f"{identifier}-runs")])
    return [details(f"Training: {plural(len(runs), 'run')}", shown)]


def _run_cells(run: Result) -> list[Html]:
    return [
        text(f"{run.purpose} seed {run.seed_index}"),
        text(f"{len(run.history)} of {run.recipe.epochs}"),
        text(decimal(run.validation_accuracy_pct, 2)),
        text(count(run.validation_errors)),
        text(duration(run.train_seconds)),
        foreign(f"{run.status.replace('_', ' ')}{f': {run.message}' if run.message else ''}"),
    ]


def _curves(runs: tuple[Result, ...], identifier: str) -> Html:
    """Return training loss (lines) and validation error (marks) by epoch, both on one logarithmic axis of ratios."""
    losses = [
        [(item.epoch, item.train_loss) for item in run.history if item.train_loss and 0 < item.train_loss < _MOST_LOSS]
        for run in runs
    ]
    values = [loss for curve in losses for _, loss in curve]
    if len(values) < 2:
        return Html("")
    reads = [(epoch, 1 - accuracy / 100) for run in runs for epoch, accuracy in curve_points(run)]
    levels = [*values, *(max(error, 1e-4) for _, error in reads)]
    epochs = max(epoch for curve in losses for epoch, _ in curve)
    area = svg.frame(svg.NARROW, 260, (0.0, float(epochs), False), (min(levels) / 1.3, max(levels) * 1.3, True))
    across = svg.ticks(area.across, count, 6, whole=True)
    up = svg.ticks(area.up, short, 8)
    lines = [
        svg.path([(area.across.position(epoch), area.up.position(loss)) for epoch, loss in curve], "curve whole")
        for curve in losses
        if len(curve) > 1
    ]
    marks = [
        svg.mark("square", area.across.position(epoch), area.up.position(max(error, 1e-4)), "on-front", size=3.5)
        for epoch, error in reads
    ]
    ends = ", ".join(short(curve[-1][1]) for curve in losses if curve)
    image = svg.picture(
        area,
        f"{identifier}-curves",
        "Training loss and validation error by epoch",
        f"{plural(len(runs), 'run')} over up to {plural(epochs, 'epoch')}; training loss at the end {ends}. "
        "The table below has the accuracies.",
        svg.grid(area, across, up, "epoch", "loss, share wrong (logarithmic)"),
        *lines,
        *marks,
        class_="snug",
    )
    legend = [svg.key("line", "curve whole", "training loss, a run")]
    if marks:
        legend.append(svg.key("square", "on-front", "share of validation images wrong"))
    return joined([image, items(legend, class_="legend")])


def _test(info: NetworkInfo, identifier: str) -> list[Html]:
    if info.mistakes is None or info.record is None:
        return []
    errors = ", ".join(f"{run.test_errors}" for run in info.record.seeds)
    parts = [
        paragraph(
            f"Recipe {info.record.recipe_name} on all training images, {plural(len(info.record.seeds), 'seed')}, "
            f"errors by seed: {errors or DASH}."
        ),
        gallery(info.mistakes, identifier),
    ]
    if info.calibration is not None:
        parts.append(calibration_curve(info.calibration, identifier))
    if info.kernels is not None:
        parts.append(_kernels(info.kernels, _first_poses(info)))
    wrong = plural(len(info.mistakes.mistakes), "image")
    return [details(f"On the test set: {wrong} wrong with at least one seed, calibration, kernels", joined(parts))]


def _first_poses(info: NetworkInfo) -> int:
    """Return in how many poses the first op that has kernels uses each of them."""
    first = next(iter(kernels(info.network.architecture.ops)), None)
    return first.poses if isinstance(first, Conv) else 1


def _kernels(inspection: Inspection, poses: int) -> Html:
    largest = max((abs(value) for kernel in inspection.kernels for value in kernel), default=0.0) or 1.0
    edge = inspection.kernel_edge
    pictures = []
    for number, kernel in enumerate(inspection.kernels[:MOST_KERNELS], start=1):
        pixels = bytes(round(127.5 + 127.5 * (value / largest)) for value in kernel)
        values = ", ".join(decimal(value, 2) for value in kernel)
        address = png.data_uri(pixels, edge, edge)
        pictures.append(element("img", src=address, width=48, height=48, alt=f"kernel {number}: {values}"))
    left = len(inspection.kernels) - len(pictures)
    used = f", each used in {poses} poses" if poses > 1 else ""
    words = (
        f"The {plural(len(inspection.kernels), 'kernel')} of the first convolution{used}, "
        f"seed {inspection.seed_index}: "
        f"white is {decimal(largest, 2)}, mid-grey 0, black {decimal(-largest, 2)}."
    )
    return joined(
        [
            items(pictures, class_="kernels"),
            paragraph(words, f"{left} not shown." if left else "", class_="note"),
        ]
    )
