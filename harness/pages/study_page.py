"""Report of a study as an offline HTML page, and exports for programs: Markdown summary, CSV, JSON and figures.

A live page reloads itself while the search runs. The CSV and JSON tables have unrounded numbers.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness.evidence.bounds import VERIFIED_SEEDS, ErrorRatio
from harness.evidence.record import Record, SeedRun
from harness.pages import charts, history, render, study_charts
from harness.pages.study_facts import MAX_NAMED, StudyFacts, made_by, read_study, recipe_rows, settings
from harness.searching.ending import verify_arguments
from harness.spaces.network import analyse
from harness.spaces.space import OBJECTIVES, Metric
from harness.studies.study_state import StudyState
from harness.system import files, statistics
from harness.system.document import csv_text
from harness.system.errors import as_command
from harness.system.files import Workspace
from harness.system.statistics import ClassScores
from harness.training.result import Inspection, Status, finite, unpack

_MIN_NETWORKS = 50  # with fewer, the estimate of wrong pruning is too uncertain


def write_report(folder: Path, workspace: Workspace, *, live: bool = False, state: StudyState | None = None) -> Path:
    """Write the report of a study and return the path; a ``live`` page reloads itself.

    ``state`` is the state of the study, if already read.
    """
    path = folder / "report.html"
    files.write_text(path, page(read_study(folder, workspace, state=state), live=live))
    return path


def page(info: StudyFacts, *, live: bool = False) -> str:
    """Return the HTML page of a study."""
    rows = study_charts.networks_rows(info)
    filters = _filters(info)
    scripts = ["study.js", "live.js"] if live else ["study.js"]
    pruning = history.pruning(info) if len(info.networks) >= _MIN_NETWORKS else []
    return render.page(
        "study.html",
        charts=study_charts.charts_of(info, rows),
        styles=["study.css"],
        scripts=scripts,
        rows_by_name={"networks": rows},
        data={
            "study": info.name,
            "verify": {
                str(epochs or ""): as_command("verify", *verify_arguments(info.config, "", epochs)[2:])
                for epochs in (None, *info.config.epoch_choices)
            },
            "minimised": [str(metric) for metric in info.config.minimised],
            "filters": [limits for _, *limits in filters],
            "remarks": {str(number): network.remark for number, network in enumerate(info.networks) if network.remark},
        },
        info=info,
        filters=filters,
        margin=_margin(info),
        progress=history.progress(info),
        accounting=history.accounting(info),
        seeds=history.seed_spread(info),
        spared=history.saved_by_pruning(info),
        pruning=pruning,
        caveats=_caveats(info),
        weights=_weights(info),
        tryout_page=_tryout_page(info),
        commands=_commands(info),
        mistakes=_mistakes(info.proof.record, info.proof.inspections) if info.proof else None,
        analysis=analyse(info.network.architecture, info.study.data.task) if info.network else None,
        tables={"facts": made_by(info).items(), "settings": settings(info), "recipe": recipe_rows(info.config)},
        live=live,
        most_named=MAX_NAMED,
    )


def _filters(info: StudyFacts) -> list[tuple[str, str, str, str]]:
    """Return filters of the table for each minimised metric, the parameters and the validation accuracy.

    A filter is the title, the field of ``networks_rows``, and the names of the input elements of the limits.
    """
    filters = [
        (OBJECTIVES[metric], field, f"least_{field}", f"most_{field}")
        for metric, field in zip(info.config.minimised, ("cost", "second"), strict=False)
        if metric is not Metric.PARAMETERS
    ]
    parameters = ("parameters", "parameters", "smallest", "largest")
    return [*filters, parameters, ("validation, %", "validation_pct", "least", "most")]


def _margin(info: StudyFacts) -> str:
    """Return the origin of the gap between threshold and target; empty if the user set the threshold."""
    config = info.config
    ratio = ErrorRatio.of(info.study.data, config.target_pct)
    if round(ratio.threshold_pct(config.target_pct), 6) != config.threshold_pct:
        return ""
    return "margin for chance" if ratio.relative_error is None else "measured"


# Commands, links and caveats ------------------------------------------------------------------------------------------


def _commands(info: StudyFacts) -> list[str]:
    commands = []
    if info.sessions and info.sessions[0].event.command:
        commands.append(as_command(*info.sessions[0].event.command[1:]))
    if info.row is not None:
        commands.append(as_command(*info.row.arguments("verify", "--seeds", str(info.row.seeds or VERIFIED_SEEDS))))
    elif info.answer is not None:
        epochs = info.study.proposals[info.answer.trial].epochs
        commands.append(as_command(*verify_arguments(info.config, info.answer.hash, epochs)))
    return commands


def _weights(info: StudyFacts) -> str:
    """The path is relative to the study; empty without kept weights."""
    if info.record is None:
        return ""
    folder = info.study.folder
    paths = (info.record.weights_path(folder.parent / "records", run.index) for run in info.record.seeds)
    return next((os.path.relpath(path, folder) for path in paths if path.exists()), "")


def tryout_page_path(folder: Path, record: Record) -> Path:
    """Return the path of the page that runs the network of a record in the browser."""
    return folder / f"try-{record.hash}-{record.recipe_hash}.html"


def _tryout_page(info: StudyFacts) -> str:
    if info.record is None:
        return ""
    path = tryout_page_path(info.study.folder, info.record)
    return path.name if path.exists() else ""


def _caveats(info: StudyFacts) -> dict[str, Any]:
    """Return the facts behind the caveats of a report, with the verification ``seeds`` of the answer.

    ``winner_reads`` and ``workspace_reads`` count reads of the test set for the answer and in total. ``falls`` are the
    percentage points by which the mean of the fresh seeds is below the first run, for networks whose first run reached
    the threshold. ``label_errors``: see ``_label_errors``.
    """
    answer = info.answer
    threshold_pct = info.config.threshold_pct
    seeds = info.record.seeds if info.record else ()
    # A damaged line names no data set, so the read counts for all data sets.
    reads = [purpose for name, purpose in info.test_reads if name in ("", info.config.dataset)]
    falls = []
    for network in info.networks:
        first_pct = network.first_pct
        if network.fresh_pct and first_pct is not None and statistics.reaches(first_pct, threshold_pct):
            falls.append(first_pct - statistics.mean(network.fresh_pct))
    return {
        "winner_reads": sum(answer.hash in purpose.split() for purpose in reads) if answer else 0,
        "workspace_reads": len(reads),
        "seeds": seeds,
        "label_errors": _label_errors(seeds, info.config.dataset),
        "diverged_seeds": sum(seed.status is Status.DIVERGED for seed in seeds),
        "diverged_in_search": sum(result.status is Status.DIVERGED for result in info.results),
        "falls": falls,
    }


def _label_errors(seeds: Sequence[SeedRun], dataset_name: str) -> dict[str, float] | None:
    """Return the number of ``images`` with a confirmed wrong label, and the mean errors of the seeds.

    ``among`` are the errors on these images, ``outside`` the errors on the remaining images, with the accuracy
    ``outside_pct`` in per cent. None without seeds or without a list of wrong labels.
    """
    label_errors = _CONFIRMED_LABEL_ERRORS.get(dataset_name)
    if not seeds or not label_errors:
        return None
    outside = statistics.mean([sum(image not in label_errors for image, _ in seed.wrong) for seed in seeds])
    return {
        "images": len(label_errors),
        "among": statistics.mean([len(seed.wrong) for seed in seeds]) - outside,
        "outside": outside,
        "outside_pct": 100 * (1 - outside / (seeds[0].test_size - len(label_errors))),
    }


# Exports of a study -------------------------------------------------------------------------------------------------


def study_summary(info: StudyFacts) -> str:
    """Return the Markdown summary, short enough for a pull request."""
    facts = {"accounting": history.accounting(info), "code_version": made_by(info)["code"], "commands": _commands(info)}
    return render.markdown("summary.md", study=info, **facts)


# ``place`` is the rank in the table of the report. ``macs`` was added at the end, because programs may read columns by
# position.
_COLUMNS = (
    *("place", "hash", "parameters", "tier", "state", "remark", "epochs", "validation_accuracy_pct"),
    *("validation_std_pct", "validation_seeds", "validation_fresh", "mean_test_accuracy_pct", "std_test_accuracy_pct"),
    *("lower_bound_pct", "test_seeds", "reached", "trial", "origin", "architecture", "macs"),
)


def _table_rows(info: StudyFacts) -> list[dict[str, Any]]:
    task = info.study.data.task
    rows = []
    for rank, network in enumerate(info.networks, start=1):
        row = network.row
        accuracies = network.validation_accuracies_pct
        tier = "searched" if network.is_complete else None
        test_values: tuple[float | bool | None, ...] = (None, None, None, 0, False)
        if row is not None:
            tier = row.tier
            figures = (row.mean_test_accuracy_pct, row.std_test_accuracy_pct, row.lower_bound_pct)
            test_values = (*map(finite, figures), row.seeds, row.reached)
        deviation = statistics.standard_deviation(accuracies)
        values = (
            *(rank, network.hash, network.parameters, tier, network.state, network.remark, network.epochs),
            *(finite(network.accuracy_pct), finite(deviation), len(accuracies), network.is_fresh, *test_values),
            *(network.trial, network.origin, str(network.architecture), analyse(network.architecture, task).macs),
        )
        # A log may contain lone surrogates.
        writable_values = [_writable(value) if isinstance(value, str) else value for value in values]
        rows.append(dict(zip(_COLUMNS, writable_values, strict=True)))
    return rows


def _writable(text: str) -> str:
    return text.encode(errors="replace").decode()


def write_tables(info: StudyFacts, folder: Path) -> list[Path]:
    """Write ``networks.csv`` and ``networks.json`` and return their paths."""
    rows = _table_rows(info)
    goal = {field: getattr(info.config, field) for field in ("dataset", "target_pct", "threshold_pct")}
    document = {"study": _writable(info.name), **goal, "networks": rows, "schema_version": 1}
    contents = {
        folder / "networks.csv": csv_text(_COLUMNS, [list(row.values()) for row in rows]),
        folder / "networks.json": files.json_text(document),
    }
    files.write_together({path: text.encode() for path, text in contents.items()})
    return list(contents)


def write_figures(info: StudyFacts, folder: Path) -> list[Path]:
    """Write the charts of a study as SVG and PNG and return their paths."""
    text = "no data yet"
    no_data = charts.finish(charts.chart_of([{"words": text}]).mark_text(fontSize=14).encode(text="words:N"), text)
    chart_of_name = study_charts.charts_of(info, study_charts.networks_rows(info))
    contents: dict[Path, bytes] = {}
    for file_name, name in (("accuracy", "accuracy"), ("budget", "over-time"), ("proposals", "steps")):
        chart = chart_of_name[name] or no_data
        contents[folder / f"{file_name}.svg"] = charts.svg(chart).encode()
        contents[folder / f"{file_name}.png"] = charts.png(chart)
    files.write_together(contents)
    return list(contents)


# Mistakes on the test set ---------------------------------------------------------------------------------------------

# A record has the indices of the wrongly classified test images and the predicted classes. Labels and pixels come from
# inspections, which a verification writes; this code never reads the test set.

# Indices of MNIST test images whose label most of five raters rejected: Northcutt, Athalye and Mueller 2021 (arXiv
# 2103.14749), data cleanlab/label-errors, mnist_mturk.
_CONFIRMED_LABEL_ERRORS: dict[str, frozenset[int]] = {
    "mnist": frozenset((947, 1621, 1901, 2130, 2462, 2597, 2654, 3520, 3558, 5937, 6651, 6783, 8527, 9679, 9729))
}


class _Mistake(NamedTuple):
    """Test image that ``seeds`` seeds classified wrongly.

    Attributes:
        predictions: Pairs (predicted class, number of seeds), most frequent first.
        pixels: Grey values of the first channel, row by row; None, as ``label``, without an inspection.
    """

    image: int
    label: int | None
    predictions: tuple[tuple[int, int], ...]
    seeds: int
    is_mislabelled: bool
    pixels: bytes | None


class _Mistakes(NamedTuple):
    """Mistakes of a network on the test set over all recorded seeds.

    Attributes:
        mistakes: Sorted by number of wrong seeds, largest first, then by index.
        confusion: Images by label (row) and predicted class (column), over all seeds; None if unknown.
        scores: Scores of each class over all seeds; empty if ``confusion`` is unknown.
        image_shape: Rows and columns of an image; None without an inspection.
        roc_auc: Mean area under the ROC curve over the inspected seeds; None for more than two classes.
    """

    seeds: int
    mistakes: tuple[_Mistake, ...]
    confusion: list[list[int]] | None
    scores: tuple[ClassScores, ...]
    image_shape: tuple[int, int] | None
    roc_auc: float | None


def _mistakes(record: Record, inspections: Sequence[Inspection]) -> _Mistakes:
    predictions_of_image: dict[int, Counter[int]] = defaultdict(Counter)
    for run in record.seeds:
        for image, prediction in run.wrong:
            predictions_of_image[image][prediction] += 1
    # The first inspection wins; all have the same label and pixels.
    missed_images = {image.image: image for inspection in reversed(inspections) for image in inspection.misses}
    labels = {index: image.label for index, image in missed_images.items()}
    pixels = {index: unpack(image.pixels) for index, image in missed_images.items()}
    label_errors = _CONFIRMED_LABEL_ERRORS.get(record.dataset, frozenset())
    items = [
        _Mistake(
            image=image,
            label=labels.get(image),
            predictions=tuple(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))),
            seeds=counts.total(),
            is_mislabelled=image in label_errors,
            pixels=pixels.get(image),
        )
        for image, counts in predictions_of_image.items()
    ]
    areas = [inspection.roc_auc for inspection in inspections if inspection.roc_auc is not None]
    confusion = _confusion(items, inspections[0].label_counts, len(record.seeds)) if inspections else None
    scores = () if confusion is None else statistics.class_scores(confusion, len(record.seeds))
    return _Mistakes(
        seeds=len(record.seeds),
        mistakes=tuple(sorted(items, key=lambda mistake: (-mistake.seeds, mistake.image))),
        confusion=confusion,
        scores=scores,
        image_shape=inspections[0].image_shape if inspections else None,
        roc_auc=statistics.mean(areas) if areas else None,
    )


def _confusion(wrong: Sequence[_Mistake], label_counts: Sequence[int], seeds: int) -> list[list[int]] | None:
    table = [[0] * len(label_counts) for _ in label_counts]
    for mistake in wrong:
        if mistake.label is None:
            return None
        for prediction, count in mistake.predictions:
            table[mistake.label][prediction] += count
    for label, images in enumerate(label_counts):
        table[label][label] = images * seeds - sum(table[label])
    return table
