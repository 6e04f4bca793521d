"""The facts of a comparison of networks: their costs, their accuracies, the mistakes that they share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from harness.data.datasets import dataset
from harness.evidence import leaderboard, ledger, record
from harness.evidence.leaderboard import LeaderboardRow
from harness.evidence.record import Record
from harness.evidence.study import Study
from harness.system.files import Workspace
from harness.training.inspection import Inspection
from harness.training.result import Result
from reports.comparison.comparison import Quantity, accuracy_sentence, known, more_or_fewer, of_known, plain, quantity
from reports.numbers import count, decimal, duration, plural, short, spread
from reports.study.answer import CONFIRMED_LABEL_ERRORS
from reports.study.mistakes import Mistakes as AllMistakes
from reports.study.mistakes import SharedMistake, shared_mistakes
from reports.study.mistakes import mistakes as all_mistakes
from reports.study.networks import accuracy_words
from reports.study.provenance import shown
from reports.study.study_files import inspections_of
from search_spaces.catalog import network_names
from search_spaces.cost import Analysis, analyse, stored_numbers
from search_spaces.network import Architecture
from search_spaces.task import MNIST


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSide:
    """One network of a comparison.

    Attributes:
        name: what people call it, else the one that follows from its form and size.
        record: the evidence of its best row on the test set, None where there is none; ``row`` is that row.
        further_rows: how many more rows it has, with other recipes, data sets or targets.
        validation_pct: accuracies in the searches here, one a seed; fresh seeds only, where there are any.
        inspections: what verifications on this machine have left of the recorded weights, one a seed.
    """

    name: str
    architecture: Architecture
    analysis: Analysis
    record: Record | None = None
    row: LeaderboardRow | None = None
    further_rows: int = 0
    validation_pct: tuple[float, ...] = ()
    inspections: tuple[Inspection, ...] = ()

    @property
    def test_pct(self) -> tuple[float, ...]:
        """Test accuracy of each seed, per cent."""
        return self.record.accuracies_pct if self.record else ()


@dataclass(frozen=True, slots=True)
class Mistakes:
    """Test images that a network gets wrong with at least half of its seeds.

    Attributes:
        images: their indices.
        alone: those that no other network of the comparison gets wrong so; ``pictures`` has those with known pixels.
        mislabelled: those whose label most raters rejected; None where that is not known of the data set.
    """

    images: frozenset[int]
    alone: frozenset[int]
    mislabelled: int | None
    pictures: tuple[SharedMistake, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkComparison:
    """All facts of the page.

    Attributes:
        mistakes: one a side; empty unless all were measured on one data set.
        shared: test images that all get wrong with at least half of their seeds; ``pictures`` has those with known
            pixels.
        recipes: the fields of the recipes in which the measured rows differ.
        notes: what keeps figures from being compared.
    """

    sides: tuple[NetworkSide, ...]
    sentences: tuple[str, ...]
    quantities: tuple[Quantity, ...]
    mistakes: tuple[Mistakes, ...]
    shared: frozenset[int]
    pictures: tuple[SharedMistake, ...]
    recipes: tuple[Quantity, ...]
    notes: tuple[str, ...]


def read_networks(named: Sequence[tuple[str, Architecture]], workspace: Workspace) -> list[NetworkSide]:
    """Return what the workspace knows of some networks, each given with a name that may be empty.

    Raises:
        ContentError: a record, the ledger or a study does not hold together.
    """
    names = network_names((architecture, analyse(architecture, MNIST).parameters) for _, architecture in named)
    entered = ledger.read(workspace.ledger)
    rows = [
        (leaderboard.row_of_record(evidence, entered), evidence)
        for evidence in record.read_all(workspace.records)
        if evidence.hash in names
    ]
    ranked = {row.key: row.rank for row in leaderboard.ranked([row for row, _ in rows])}
    runs: dict[str, list[Result]] = defaultdict(list)
    for folder in sorted(path.parent for path in workspace.runs.glob("*/config.json")):
        for result in Study.read(folder).results:
            if result.hash in names:
                runs[result.hash].append(result)
    return [
        _side(
            name,
            architecture,
            sorted(
                (pair for pair in rows if pair[0].hash == architecture.hash),
                key=lambda pair: (not pair[0].reached, ranked[pair[0].key], pair[0].dataset),
            ),
            runs[architecture.hash],
            names[architecture.hash],
            workspace,
        )
        for name, architecture in named
    ]


def network_comparison(sides: Sequence[NetworkSide]) -> NetworkComparison:
    """Return the facts of a comparison of networks; ratios are to the first."""
    alike = len({(side.row.dataset, side.row.target_pct) for side in sides if side.row}) == 1
    measured = alike and all(side.record for side in sides)
    seen = [all_mistakes(side.record, side.inspections) for side in sides if side.record]
    mistakes = (
        _mistakes(seen, CONFIRMED_LABEL_ERRORS.get(sides[0].row.dataset if sides[0].row else "")) if measured else ()
    )
    shared = frozenset.intersection(*(item.images for item in mistakes)) if mistakes else frozenset()
    return NetworkComparison(
        sides=tuple(sides),
        sentences=tuple(_sentence(sides[0], side, alike=alike) for side in sides[1:]),
        quantities=tuple(known(_quantities(sides))),
        mistakes=mistakes,
        shared=shared,
        pictures=shared_mistakes(shared, seen),
        recipes=tuple(_recipes(sides)),
        notes=tuple(_notes(sides, alike=alike)),
    )


def _side(
    name: str,
    architecture: Architecture,
    rows: list[tuple[LeaderboardRow, Record]],
    runs: list[Result],
    derived_name: str,
    workspace: Workspace,
) -> NetworkSide:
    row, evidence = rows[0] if rows else (None, None)
    accuracies = [result.validation_accuracy_pct for result in leaderboard.validation_runs(runs)]
    return NetworkSide(
        name=name or (row.name if row else "") or derived_name,
        architecture=architecture,
        analysis=analyse(architecture, dataset(row.dataset).task if row else MNIST),
        record=evidence,
        row=row,
        further_rows=max(0, len(rows) - 1),
        validation_pct=tuple(value for value in accuracies if value is not None),
        inspections=inspections_of(evidence, workspace) if evidence else (),
    )


def _sentence(first: NetworkSide, other: NetworkSide, *, alike: bool) -> str:
    sizes = first.analysis.parameters, other.analysis.parameters
    said = (
        f"{other.name} has {plural(sizes[1], 'parameter')}, {more_or_fewer(sizes[1] / max(sizes[0], 1))} {first.name}. "
        f"An image takes {count(other.analysis.macs)} multiply-adds, "
        f"{more_or_fewer(other.analysis.macs / max(first.analysis.macs, 1))} with {first.name}."
    )
    if first.record and other.record and not alike:
        return f"{said} Their accuracies are of different data sets or targets and cannot be compared."
    return f"{said} {accuracy_sentence((first.name, other.name), (first.test_pct, other.test_pct))}"


def _quantities(sides: Sequence[NetworkSide]) -> list[Quantity]:
    rows = [side.row for side in sides]
    machines = {row.device for row in rows if row}
    return [
        plain("hash", [side.architecture.hash for side in sides]),
        quantity("parameters", [side.analysis.parameters for side in sides]),
        quantity("stored numbers", [stored_numbers(side.architecture, side.analysis.task) for side in sides]),
        quantity("multiply-adds an image", [side.analysis.macs for side in sides]),
        quantity("receptive field, pixels", [side.analysis.receptive_field for side in sides]),
        quantity("ops", [len(side.analysis.layers) for side in sides]),
        of_known("tier", rows, lambda row: row.tier),
        of_known("mean test accuracy, %", rows, accuracy_words),
        of_known("99 % lower bound, %", rows, lambda row: decimal(row.lower_bound_pct, 3)),
        of_known("99 % lower bound over images too, %", rows, lambda row: decimal(row.lower_bound_images_pct, 3)),
        of_known("worst seed, %", rows, lambda row: decimal(row.min_test_accuracy_pct, 2)),
        quantity(
            "mean test errors", [row.test_errors_mean if row else None for row in rows], lambda value: decimal(value, 1)
        ),
        of_known("seeds on the test set", rows, lambda row: row.seeds),
        of_known("seeds at the target", rows, lambda row: row.seeds_at_target),
        plain("validation accuracy, %", [spread(side.validation_pct) if side.validation_pct else "" for side in sides]),
        plain("seeds on validation", [len(side.validation_pct) or "" for side in sides]),
        quantity("epochs", [row.epochs if row else None for row in rows]),
        quantity(
            "training a seed",
            [row.train_seconds if row else None for row in rows],
            duration,
            comparable=len(machines) == 1 and len({_engines(side) for side in sides if side.record}) == 1,
        ),
        of_known("recipe", rows, lambda row: row.recipe),
        of_known("data set and target", rows, lambda row: f"{row.dataset}, {short(row.target_pct)} %"),
        of_known("found by study", rows, lambda row: row.study),
        of_known("device", rows, lambda row: row.device),
    ]


def _engines(side: NetworkSide) -> tuple[str, ...]:
    runs = side.record.seeds if side.record else ()
    return tuple(sorted({run.environment.engine for run in runs}))


def _recipes(sides: Sequence[NetworkSide]) -> list[Quantity]:
    measured = [side.record for side in sides]
    tables = [asdict(evidence.recipe) if evidence else {} for evidence in measured]
    names = next((list(table) for table in tables if table), [])
    lines = [(name, [table.get(name, "") for table in tables]) for name in names]
    return [
        plain(name, [shown(value) for value in values])
        for name, values in lines
        if len({str(value) for value, table in zip(values, tables, strict=True) if table}) > 1
    ]


def _mistakes(seen: Sequence[AllMistakes], suspects: frozenset[int] | None) -> tuple[Mistakes, ...]:
    often = [frozenset(item.image for item in side.mistakes if 2 * item.seeds >= side.seeds) for side in seen]
    found = []
    for place, images in enumerate(often):
        alone = images.difference(*often[:place], *often[place + 1 :])
        mislabelled = None if suspects is None else len(images & suspects)
        found.append(Mistakes(images, alone, mislabelled, shared_mistakes(alone, seen)))
    return tuple(found)


def _notes(sides: Sequence[NetworkSide], *, alike: bool) -> list[str]:
    notes = []
    unmeasured = [side.name for side in sides if side.row is None]
    if unmeasured:
        notes.append(f"Without a record on the test set: {', '.join(unmeasured)}; harness verify measures a network.")
    if not alike and len(unmeasured) < len(sides) - 1:
        notes.append("The rows are of different data sets or targets: accuracies and errors cannot be compared.")
    if len({side.row.recipe_hash for side in sides if side.row}) > 1:
        notes.append("The recipes differ, so a difference in accuracy is one of network and recipe together.")
    further = [f"{side.name} has {plural(side.further_rows, 'more row')}" for side in sides if side.further_rows]
    if further:
        notes.append(f"The page shows the best row of each network; {', '.join(further)}.")
    if any(side.row and side.row.seeds < 2 for side in sides):
        notes.append("A single seed says little: seeds of one network differ by about 0.06 points.")
    return notes
