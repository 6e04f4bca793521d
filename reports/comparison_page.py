"""Comparison pages: two to four networks or studies, with ratios to the first, and search methods on the bench."""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections import defaultdict
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from harness.bench.comparison import AT_THE_END, DEFAULT, LEVEL, OVER_TIME, Comparison, Findings, p_text
from harness.data.datasets import dataset, task_or_mnist
from harness.evidence import bounds, leaderboard_table
from harness.evidence.leaderboard_table import LeaderboardRow
from harness.evidence.record import Record, report_damage
from harness.studies import candidate
from harness.studies.candidate import NetworkState
from harness.studies.config import StudyConfig, settings_of
from harness.studies.log import read_state
from harness.system import files, statistics
from harness.system.errors import as_command
from harness.system.files import Workspace
from harness.training.result import Inspection, Result
from reports import charts, history
from reports.render import DASH, count, decimal, duration, macro_text, page, short, spread
from reports.study_facts import StudyFacts, inspections_of, made_by, read_evidence, read_study, shown
from reports.study_page import CONFIRMED_LABEL_ERRORS, commands, mistakes
from search_spaces.catalog import network_names
from search_spaces.network import MNIST, Analysis, Architecture, analyse


class _Line(NamedTuple):
    """Line of a comparison: text of each side, and ratio of each side to the first (None if undefined)."""

    name: str
    texts: list[str]
    ratios: list[float | None]


def _line(name: str, values: Sequence[Any], show: Callable[[Any], str] | None = None, *, ratios: bool = True) -> _Line:
    """Return a line of numbers formatted by ``show``, or of texts if ``show`` is None; empty texts are a dash.

    Texts have no ratios; ``ratios=False`` suppresses the ratios of numbers that are not comparable.
    """
    if show is None:
        texts = [DASH if text is None or text == "" else str(text) for text in values]
        return _Line(name, texts, [None] * len(texts))
    reference = math.nan if values[0] is None else values[0]
    ratios_to_reference: list[float | None] = [None]
    for value in values[1:]:
        is_defined = ratios and value is not None and 0 < reference < math.inf and 0 <= value < math.inf
        ratios_to_reference.append(value / reference if is_defined else None)
    return _Line(name, [show(value) for value in values], ratios_to_reference)


# Definitions of lines: (name, function from a side to the value, format of numbers or None for texts).
_Definitions = Sequence[tuple[str, Callable[[Any], Any], Callable[[Any], str] | None]]


def _lines(sides: Sequence[object], definitions: _Definitions, without_ratios: str = "") -> list[_Line]:
    """Return the lines that have a value for at least one side; the line named ``without_ratios`` has no ratios."""
    lines = []
    for name, value_of, show in definitions:
        line = _line(name, [value_of(side) for side in sides], show, ratios=name != without_ratios)
        if set(line.texts) != {DASH}:
            lines.append(line)
    return lines


def _of_row(value_of: Callable[[LeaderboardRow], object]) -> Callable[[Any], Any]:
    """Return the function from a side to a value of its leaderboard row; None for a side without a row."""
    return lambda side: None if side.row is None else value_of(side.row)


_TESTED: _Definitions = (
    ("tier", _of_row(lambda row: row.tier), None),
    ("mean test accuracy, %", _of_row(lambda row: row.accuracy_words or DASH), None),
    ("deciding lower bound, %", _of_row(lambda row: decimal(row.lower_bound_pct, 3)), None),
    ("confidence of this bound, %", _of_row(lambda row: row.confidence and f"{100 * row.confidence:g}"), None),
    ("seeds on the test set", _of_row(lambda row: row.seeds), None),
)

# Networks ------------------------------------------------------------------------------------------------------------


class _Side(NamedTuple):
    """Network of a comparison.

    Attributes:
        name: Given name, else the name of the row, else the name made of form and size.
        record: Record of the best row on the test set.
        row: Best row of the leaderboard.
        further_rows: Number of further rows.
        test_pct: Test accuracy of each seed of the record in per cent.
        validation_pct: Validation accuracy per seed in this workspace in per cent; fresh seeds only, if there are any.
        inspections: Inspections of the record on this machine.
    """

    name: str
    architecture: Architecture
    analysis: Analysis
    record: Record | None
    row: LeaderboardRow | None
    further_rows: int
    test_pct: tuple[float, ...]
    validation_pct: tuple[float, ...]
    inspections: tuple[Inspection, ...]


def read_networks(networks: Sequence[tuple[str, Architecture]], workspace: Workspace) -> list[_Side]:
    """Return the evidence of a workspace on ``networks``, pairs of a name (may be empty) and an architecture."""
    hashes = {architecture.hash for _, architecture in networks}
    standings = leaderboard_table.survey(workspace)
    report_damage(standings.damage)
    # A row of a record is no claim.
    record_by_key = {(item.key, False): item for item in standings.records if item.hash in hashes}
    rows = [(row, record_by_key[row.key]) for row in standings.rows if row.key in record_by_key]
    rows.sort(key=lambda pair: not pair[0].reached)
    runs = _runs_of(hashes, workspace)
    tasks = {network_hash: task_or_mnist(results[0].dataset) for network_hash, results in runs.items()}
    tasks |= {item.hash: dataset(item.dataset).task for item in record_by_key.values()}
    sides = []
    for name, architecture in networks:
        analysis = analyse(architecture, tasks.get(architecture.hash, MNIST))
        own_rows = [(row, item) for row, item in rows if row.hash == architecture.hash]
        sides.append(_side(name, architecture, analysis, own_rows, runs.get(architecture.hash, []), workspace))
    names = network_names((side.architecture, side.analysis.parameters) for side in sides)
    return [side._replace(name=side.name or names[side.architecture.hash]) for side in sides]


def _side(
    name: str,
    architecture: Architecture,
    analysis: Analysis,
    rows: Sequence[tuple[LeaderboardRow, Record]],
    runs: Sequence[Result],
    workspace: Workspace,
) -> _Side:
    validation_pct = leaderboard_table.validation_accuracies_pct(leaderboard_table.validation_runs(runs))
    if not rows:
        return _Side(name, architecture, analysis, None, None, 0, (), validation_pct, ())
    row, record = rows[0]
    return _Side(
        name=name or row.name,
        architecture=architecture,
        analysis=analysis,
        record=record,
        row=row,
        further_rows=len(rows) - 1,
        test_pct=record.accuracies_pct,
        validation_pct=validation_pct,
        inspections=inspections_of(record, workspace),
    )


def _runs_of(hashes: Container[str], workspace: Workspace) -> dict[str, list[Result]]:
    """Return the runs of all studies with a hash in ``hashes``, by hash."""
    runs: dict[str, list[Result]] = defaultdict(list)
    for folder in workspace.studies():
        for result in read_state(folder).results:
            if result.hash in hashes:
                runs[result.hash].append(result)
    return runs


def network_comparison(sides: Sequence[_Side]) -> SimpleNamespace:
    """Return the facts of a comparison of networks; ratios are to the first network.

    Besides ``sentences``, ``quantities`` and ``notes``, the facts are ``recipes``, the fields in which the recipes of
    the measured rows differ, and the test images that a network classifies wrongly with at least half of its seeds.
    ``mistakes`` has an item per side: all such ``images``, the images that this side ``alone`` gets wrong, and
    ``mislabelled_count``, the number of ``images`` with a wrong label (None without a list of wrong labels). ``shared``
    are the images that all sides get wrong. Both are empty unless all sides were measured on the same data set and
    target.
    ``seen`` has, by image, pairs of a mistake with known pixels and the shape of the image.
    """
    # Whether all measured sides have the same data set and target.
    is_comparable = len({(side.row.dataset, side.row.target_pct) for side in sides if side.row}) == 1
    notes = macro_text("notes_of_networks", sides, is_comparable)
    records = [side.record for side in sides if side.record is not None]
    environments = [run.environment for item in records for run in item.seeds]
    is_one_machine = len({(each.device, each.engine) for each in environments}) == 1
    return SimpleNamespace(
        sides=sides,
        sentences=[_sentence(sides[0], side, is_comparable) for side in sides[1:]],
        quantities=_lines(sides, _OF_NETWORKS, "" if is_one_machine else "training time per seed"),
        recipes=_recipe_lines(sides),
        notes=notes.split(" ¶ ") if notes else [],
        **_mistakes_apart(sides, is_comparable),
    )


def _mistakes_apart(sides: Sequence[_Side], is_comparable: bool) -> dict[str, Any]:
    """Return ``mistakes``, ``shared`` and ``seen`` of ``network_comparison``."""
    results = [mistakes(side.record, side.inspections) for side in sides if side.record]
    item_by_image = {item.image: (item, side.image_shape) for side in results for item in side.mistakes if item.pixels}
    if not is_comparable or len(results) < len(sides):
        return {"mistakes": [], "shared": frozenset[int](), "seen": item_by_image}
    often = [frozenset(item.image for item in side.mistakes if 2 * item.seeds >= side.seeds) for side in results]
    label_errors = CONFIRMED_LABEL_ERRORS.get(sides[0].row.dataset) if sides[0].row else None
    side_mistakes = []
    for index, images in enumerate(often):
        alone = images.difference(*often[:index], *often[index + 1 :])
        mislabelled_count = None if label_errors is None else len(images & label_errors)
        side_mistakes.append(SimpleNamespace(images=images, alone=alone, mislabelled_count=mislabelled_count))
    return {"mistakes": side_mistakes, "shared": frozenset.intersection(*often), "seen": item_by_image}


def _recipe_lines(sides: Sequence[_Side]) -> list[_Line]:
    """Return a line per field in which the recipes differ."""
    recipes: list[dict[str, Any]] = [{} if side.record is None else asdict(side.record.recipe) for side in sides]
    names = dict.fromkeys(itertools.chain.from_iterable(recipes))
    fields = [_line(name, [shown(recipe.get(name, "")) for recipe in recipes]) for name in names]
    return [line for line in fields if len(set(line.texts) - {DASH}) > 1]


def _sentence(first: _Side, other: _Side, is_comparable: bool) -> str:
    """Return the comparison of a network with the first as sentences."""
    gap = statistics.mean(other.test_pct) - statistics.mean(first.test_pct)  # points; NaN without seeds
    p_value = _welch_p_value(first.test_pct, other.test_pct)
    return macro_text("of_networks", first, other, is_comparable, gap if math.isfinite(gap) else None, p_value)


def _welch_p_value(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """Return the p-value of the two-sided Welch test of equal means; None with fewer than two values on a side."""
    if min(len(ours), len(theirs)) < 2:
        return None
    return min(1.0, 2 * min(statistics.welch_p_value(ours, theirs), statistics.welch_p_value(theirs, ours)))


_OF_NETWORKS: _Definitions = (
    ("hash", lambda side: side.architecture.hash, None),
    ("parameters", lambda side: side.analysis.parameters, count),
    ("stored numbers", lambda side: side.analysis.stored_numbers, count),
    ("multiply-adds per image", lambda side: side.analysis.macs, count),
    ("receptive field, pixels", lambda side: side.analysis.receptive_field, count),
    ("ops", lambda side: len(side.analysis.costed_ops), count),
    *_TESTED,
    ("99 % lower bound over seeds and images, %", _of_row(lambda row: decimal(row.lower_bound_images_pct, 3)), None),
    ("worst seed, %", _of_row(lambda row: decimal(row.min_test_accuracy_pct, 2)), None),
    ("seeds at the target", _of_row(lambda row: row.seeds_at_target), None),
    ("mean test errors", _of_row(lambda row: row.test_errors_mean), lambda value: decimal(value, 1)),
    ("validation accuracy, %", lambda side: spread(side.validation_pct), None),
    ("seeds on validation", lambda side: len(side.validation_pct) or None, None),
    ("epochs", _of_row(lambda row: row.epochs), count),
    ("training time per seed", _of_row(lambda row: row.train_seconds), duration),
    ("recipe", _of_row(lambda row: row.recipe), None),
    ("data set and target", _of_row(lambda row: f"{row.dataset}, {short(row.target_pct)} %"), None),
    ("found by study", _of_row(lambda row: row.study), None),
    ("device", _of_row(lambda row: row.device), None),
)


# Studies -------------------------------------------------------------------------------------------------------------


def _study_comparison(infos: Sequence[StudyFacts]) -> SimpleNamespace:
    """Return the facts of a comparison of studies; ratios are to the first study.

    ``settings`` are the lines of the settings that differ, ``equal`` the names of the settings that are equal.
    """
    tables = [_flat(info.config) for info in infos]
    settings = [_line(name, [table.get(name, "") for table in tables]) for name in tables[0]]
    machines = {(made_by(info)["device"], frozenset(entry.event.workers for entry in info.sessions)) for info in infos}
    notes = macro_text("notes_of_studies", infos, len(machines) > 1, [info.ending.outcome for info in infos])
    return SimpleNamespace(
        infos=infos,
        verdicts=[info.ending.verdict for info in infos],
        sentences=[macro_text("of_studies", infos[0], info) for info in infos[1:]],
        quantities=_lines(infos, _OF_STUDIES),
        settings=[line for line in settings if len(set(line.texts)) > 1],
        equal=[line.name for line in settings if len(set(line.texts)) == 1],
        notes=notes.split(" ¶ "),
    )


def _confirmation_seconds(info: StudyFacts) -> list[float | None]:
    """Return the seconds after which networks were confirmed; a None without a confirmed network."""
    seconds: list[float | None] = [
        item.elapsed for item in info.study.decisions if item.state is NetworkState.CONFIRMED
    ]
    return seconds or [None]


def _in_state(state: NetworkState) -> Callable[[StudyFacts], int]:
    return lambda info: sum(network.state is state for network in info.networks)


_OF_STUDIES: _Definitions = (
    ("outcome", lambda info: info.ending.outcome, None),
    ("network", lambda info: info.answer and info.answer.hash, None),
    ("parameters", lambda info: info.answer and info.answer.parameters, count),
    *_TESTED,
    ("time of all sessions", lambda info: info.elapsed, duration),
    ("training time of all runs", lambda info: sum(run.train_seconds for run in info.results), duration),
    ("first network confirmed after", lambda info: _confirmation_seconds(info)[0], duration),
    ("last reduction of the effective budget after", lambda info: _confirmation_seconds(info)[-1], duration),
    ("effective budget at the end", lambda info: history.budget_steps(info)[-1][1], count),
    ("proposals", lambda info: history.accounting(info).proposed, count),
    ("networks rejected before building", lambda info: history.accounting(info).rejected, count),
    ("networks trained", lambda info: history.accounting(info).trained, count),
    (
        "networks per hour",
        lambda info: 3600 * history.accounting(info).trained / info.elapsed if info.elapsed > 0 else None,
        lambda value: decimal(value, 1),
    ),
    ("finished runs", lambda info: len(info.results), count),
    ("networks pruned", _in_state(NetworkState.PRUNED), count),
    ("networks that failed confirmation", _in_state(NetworkState.REFUTED), count),
)


def _flat(config: StudyConfig) -> dict[str, str]:
    """Return the settings as texts, including the fields of the recipe and the definition of the space."""
    values = settings_of(config)
    recipe = {f"recipe: {name}": value for name, value in values.pop("recipe").items()}
    text = " ".join(values.pop("space_text").split())
    flat = {
        name: short(value) if isinstance(value, float) else shown(value) for name, value in (values | recipe).items()
    }
    return flat | {"definition of the space": text}


# The page -------------------------------------------------------------------------------------------------------------


def write_network_comparison(networks: Sequence[tuple[str, Architecture]], workspace: Workspace) -> Path:
    """Write the comparison of ``networks``, pairs of a name (may be empty) and an architecture; return its path."""
    facts = network_comparison(read_networks(networks, workspace))
    hashes = [architecture.hash for _, architecture in networks]
    return _write_page(hashes, workspace, charts_by_name={}, facts=facts, studies=None)


def write_study_comparison(folders: Sequence[Path], workspace: Workspace) -> Path:
    """Write the comparison of the studies in ``folders`` and of their answers; return its path."""
    studies = read_studies(folders, workspace)
    answers: dict[str, tuple[str, Architecture]] = {}  # by hash, because two studies may have the same answer
    for info in studies.infos:
        if info.network is not None:
            answers.setdefault(info.network.hash, (info.name, info.network.architecture))
    facts = network_comparison(read_networks(list(answers.values()), workspace)) if len(answers) > 1 else None
    names = [folder.name for folder in folders]
    charts_by_name = charts.studies_charts(studies.infos)
    return _write_page(names, workspace, charts_by_name=charts_by_name, facts=facts, studies=studies)


def read_studies(folders: Sequence[Path], workspace: Workspace) -> SimpleNamespace:
    """Return the facts of a comparison of studies; raise ContentError if a file is damaged."""
    evidence = read_evidence(workspace)
    return _study_comparison([read_study(folder, workspace, evidence) for folder in folders])


def _write_page(
    names: Sequence[str],
    workspace: Workspace,
    *,
    charts_by_name: dict[str, Any],
    facts: SimpleNamespace | None,
    studies: SimpleNamespace | None,
) -> Path:
    """Write a comparison page and return its path.

    Args:
        names: Names of the studies or hashes of the networks, for the file name.
        workspace: Workspace of the page.
        charts_by_name: Charts of the studies.
        facts: Result of ``network_comparison``; None for studies with fewer than two different answers.
        studies: Result of ``read_studies``; None for a comparison of networks.
    """

    def verify(side: _Side) -> str:
        if side.row is None:
            return as_command("verify", str(side.architecture), "--seeds", str(bounds.VERIFIED_SEEDS))
        return as_command("verify", side.row.hash, "--seeds", str(side.row.seeds))

    if facts:
        charts_by_name["seeds"] = charts.seeds_side_by_side(facts.sides)
    content = page(
        "comparison.html",
        charts=charts_by_name,
        styles=["comparison.css"],
        facts=facts,
        studies=studies,
        commands=commands,
        verify=verify,
    )
    path = workspace.runs / _file_name(names)
    files.write_text(path, content)
    return path


def _file_name(names: Sequence[str]) -> str:
    """Return the file name of a comparison; long names and special characters are replaced and a digest is appended."""
    stem = "-".join(re.sub(r"[^\w.-]", "_", name, flags=re.ASCII) for name in names)
    if len(stem) <= 120 and stem == "-".join(names):
        return f"comparison-{stem}.html"
    digest = hashlib.sha256("\0".join(names).encode(errors="surrogatepass")).hexdigest()[:12]
    return f"comparison-{stem[:80]}-{digest}.html"


# Search methods -------------------------------------------------------------------------------------------------------


def write_bench_page(folder: Path, comparison: Comparison, findings: Findings) -> Path:
    """Write ``report.html`` and return its path; raise UsageError if the folder is not writable."""
    path = folder / "report.html"
    files.write_text(path, _bench_page(comparison, findings))
    return path


def write_ranks_page(folder: Path, document: Mapping[str, Any]) -> Path:
    """Write ``ranks.html``, the ranking over several tables, and return its path.

    ``document`` is the result of ``ranks_of``. The page links to the page of each table, in a folder named after the
    table.
    """
    path = folder / "ranks.html"
    files.write_text(path, page("ranks.html", facts=document, default=DEFAULT, p_text=p_text))
    return path


def _bench_page(comparison: Comparison, findings: Findings) -> str:
    """Return the HTML page of a comparison of search methods."""
    facts = findings.document
    names = [method["name"] for method in facts["methods"] if not method["is_variant"]]
    return page(
        "bench.html",
        charts={"curves": charts.bench_curves(findings)},
        comparison=comparison,
        facts=facts,
        names=names,
        name_titles=["method", *(f"#{name}" for name in names)],
        size_titles=["method", *(f"#{item['size']:,} parameters" for item in facts["methods"][0]["runtimes"])],
        matrices=[(when, _matrix(facts["pairs"], names, when)) for when in (OVER_TIME, AT_THE_END)],
        default=DEFAULT,
        level_pct=100 * LEVEL,
        confirming=candidate,
        p_text=p_text,
    )


def _matrix(
    pairs: Sequence[Mapping[str, Any]], names: Sequence[str], when: str
) -> list[list[tuple[float, bool] | None]]:
    """Return a matrix over all pairs of methods for the score ``when``.

    A cell is the ratio of the sizes of the row's method to the column's method, and whether the difference is
    significant; None on the diagonal and for untested pairs.
    """
    cells: dict[tuple[str, str], tuple[float, bool]] = {}
    for pair in pairs:
        if pair["when"] == when:
            cells[pair["first"], pair["second"]] = pair["ratio"], pair["differs"]
            cells[pair["second"], pair["first"]] = 1 / pair["ratio"], pair["differs"]
    return [[cells.get((row, column)) for column in names] for row in names]
