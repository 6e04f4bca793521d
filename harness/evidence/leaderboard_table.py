"""The leaderboard: rows of records, claims and studies, ranked and written as ``leaderboard.csv``.

The file is safe to open in a spreadsheet; reading returns exactly the rows that were written.
"""

from __future__ import annotations

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from importlib import resources
from itertools import chain, groupby
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from harness.data.datasets import DATASETS, dataset, dataset_of, task_or_mnist
from harness.evidence import bounds, ledger
from harness.evidence.bounds import VERIFIED_SEEDS
from harness.evidence.ledger import Attempt, AttemptResult, Ledger
from harness.evidence.record import Record, RowKey, SeedRun, read_all, report_damage
from harness.spaces.catalog import name_of
from harness.spaces.network import Architecture, Task, analyse
from harness.spaces.space import Metric, measured
from harness.spaces.space_errors import SearchSpaceError
from harness.studies.events import Verified
from harness.studies.log import read_state
from harness.studies.standing import Outcome, Standing
from harness.studies.study_state import StudyState
from harness.system import files, statistics
from harness.system.document import WrittenNetwork, csv_text, read_as, read_each, strict_json, unguarded
from harness.system.errors import ContentError, reason
from harness.system.files import Workspace
from harness.system.terminal import counted
from harness.training.result import (
    PROTOCOL_VERSION,
    Environment,
    Errors,
    Purpose,
    Result,
    Status,
    finite,
)

_SCHEMA_VERSION = 3
_CLAIMS = ("claims.json", "public_claims.json")  # measurements/claims_page.py writes the second file


# Reads of the records until the ledger does not change; each verification changes the ledger.
_MAX_READS = 10
_T = TypeVar("_T")
_NO_LEDGER = Ledger()


@strict_json
@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderboardRow:
    """A row of the leaderboard; the field names are the columns of the CSV, in this order.

    Attributes:
        reached: Whether the evidence shows that the mean reaches the target; tiers from ``at the target`` up.
        stored_numbers: Number of parameters and BN statistics.
        receptive_field: Shorter edge of the receptive field before the first global op, in input pixels.
        mean_test_accuracy_pct: Mean over seeds; for a claim the claimed figure, explained in ``note``.
        recipe_hash: Empty for a claim, and for trainings with the recipe of the repository that makes the claim.
        lower_bound_pct: One-sided lower bound over seeds (for grouped test images over groups, too) that decides the
            tier, at ``confidence``: of the certification for a certified row, otherwise of the verification.
        lower_bound_images_pct: 99 % lower bound over seeds and images; decides nothing.
        seeds_at_target: Seeds whose own accuracy reaches the target; None if the test set was not read.
        diverged: Number of diverged seeds, whose errors count.
        attempts: Certification attempts at the target on the data set, over all networks.
        teacher_seconds: Always 0 or None; a column of schema 3 from a removed feature.
        search_seconds: Wall-clock time of the search that found the network.
    """

    rank: int = 0
    name: str = ""
    tier: Standing
    target_pct: float
    reached: bool
    parameters: int
    stored_numbers: int | None = None
    macs: int
    receptive_field: int
    mean_test_accuracy_pct: float | None = None
    std_test_accuracy_pct: float | None = None
    min_test_accuracy_pct: float | None = None
    lower_bound_pct: float | None = None
    lower_bound_images_pct: float | None = None
    test_errors_mean: float | None = None
    best_epoch_test_accuracy_pct: float | None = None
    seeds: int = 0
    seeds_at_target: int | None = None
    diverged: int = 0
    attempts: int = 0
    confidence: float | None = None
    validation_accuracy_pct: float | None = None
    validation_seeds: int = 0
    epochs: int | None = None
    train_seconds: float | None = None
    teacher_seconds: float | None = None
    search_seconds: float | None = None
    dataset: str
    recipe: str
    recipe_hash: str = ""
    device: str = ""
    architecture: WrittenNetwork
    hash: str
    study: str = ""
    commit: str = ""
    date_utc: str = ""
    note: str = ""
    protocol_version: int
    schema_version: int = _SCHEMA_VERSION

    @classmethod
    def of(cls, record: Record, entries: Ledger = _NO_LEDGER) -> LeaderboardRow:
        """Return the row of a record; ``entries`` is the whole ledger."""
        goal = (record.dataset, record.target_pct)
        attempts = sum((attempt.dataset, attempt.target_pct) == goal for attempt in entries.attempts)
        summary = record.search_summary
        columns = ("validation_accuracy_pct", "validation_seeds", "search_seconds", "study")
        of_search = {} if summary is None else {column: getattr(summary, column) for column in columns}
        return cls(
            name=record.name or name_of(record.hash) or "",
            target_pct=record.target_pct,
            attempts=attempts,
            epochs=record.recipe.epochs,
            teacher_seconds=record.teacher_seconds,
            dataset=record.dataset,
            recipe=record.recipe_name,
            recipe_hash=record.recipe_hash,
            note="; ".join(_notes_of(record, entries)),
            protocol_version=record.protocol_version,
            **_columns_of(record.architecture, dataset(record.dataset).task),
            **_columns_of_decision(record, entries),
            **_columns_of_seeds(record.seeds, record.target_pct, dataset(record.dataset).test_group_sizes),
            **of_search,
        )

    @property
    def accuracy_words(self) -> str:
        """Mean and standard deviation of the test accuracy; empty without a mean.

        A row that was only searched has its validation accuracy, marked "v"; "c" marks an unchecked claim.
        """
        if self.tier is Standing.SEARCHED:
            return f"{self.validation_accuracy_pct:.2f} v"
        if self.mean_test_accuracy_pct is None:  # of seeds that failed
            return ""
        if self.tier is Standing.CLAIMED:
            return f"{self.mean_test_accuracy_pct:.2f} c"
        deviation = "" if self.std_test_accuracy_pct is None else f" ± {self.std_test_accuracy_pct:.3f}"
        return f"{self.mean_test_accuracy_pct:.3f}{deviation}"

    @property
    def bound_words(self) -> str:
        """As in "lower bound 99.412 % (confidence 98 %)"; empty below two seeds."""
        if self.lower_bound_pct is None or self.confidence is None:
            return ""
        return f"lower bound {self.lower_bound_pct:.3f} % (confidence {100 * self.confidence:g} %)"

    @property
    def tier_words(self) -> str:
        """Limits of a proven tier, or the reason why a row at the target is not verified; else empty."""
        if self.tier.is_proven:
            return bounds.seeds_warning(self.seeds)
        return f"not verified: {self.bound_words} is below the target" if self.tier is Standing.AT_TARGET else ""

    @property
    def outcome(self) -> Outcome | None:
        """Verdict on the target; None for a row without seeds tested here."""
        if self.tier in (Standing.SEARCHED, Standing.CLAIMED) or self.mean_test_accuracy_pct is None:
            return None
        is_at_target = statistics.reaches(self.mean_test_accuracy_pct, self.target_pct)
        return self.tier.outcome if is_at_target else Outcome.NOT_REACHED

    def cost(self, minimise: Metric, weight_bits: int) -> int:
        """Return the cost of the network in a metric, with ``weight_bits`` bits per weight."""
        return measured(analyse(self.architecture, dataset(self.dataset).task, weight_bits=weight_bits), minimise)

    def arguments(self, command: str, *further: str) -> tuple[str, ...]:
        """Return the arguments of a command for the network of the row (``RowKey.arguments``)."""
        return self.key[0].arguments(command, self.recipe, *further)

    @property
    def key(self) -> tuple[RowKey, bool]:
        """Identity of the row: the key of the record, and whether the row is a claim, which has no record."""
        is_claim = self.tier is Standing.CLAIMED
        return (RowKey.of(self), is_claim)


def _columns_of(architecture: Architecture, task: Task) -> dict[str, Any]:
    analysis = analyse(architecture, task)
    return {
        "architecture": architecture,
        "hash": architecture.hash,
        "parameters": analysis.parameters,
        "stored_numbers": analysis.stored_numbers,
        "macs": analysis.macs,
        "receptive_field": analysis.receptive_field,
    }


@dataclass(frozen=True)
class Evidence:
    """All records of a workspace, shipped records included, with the ledger at the same time."""

    workspace: Workspace
    records: tuple[Record, ...]
    entries: Ledger

    def record(self, key: RowKey) -> Record | None:
        """Return the record of a row, or None."""
        return next((record for record in self.records if record.key == key), None)

    @cached_property
    def indices(self) -> dict[RowKey, set[int]]:
        """Seed indices that were run or declared, by row."""
        indices = defaultdict[RowKey, set[int]](set)
        for record in self.records:
            indices[record.key].update(run.index for run in record.seeds)
        for entry in self.entries.seed_declarations:
            indices[entry.key].update(entry.indices)
        return indices

    def tested_before(self, record: Record) -> list[str]:
        """Return further data sets on which equal weights had been tested before the seeds of a record.

        Equal weights follow from equal training images, so the test images of these data sets may overlap, too.
        """
        with_weights = [run for run in record.seeds if run.weights_sha256 is not None]
        begun_utc: dict[str | None, str] = {run.weights_sha256: run.started_utc for run in with_weights}
        names: set[str] = set()
        for item in self.records:
            if item.dataset != record.dataset:
                names |= {item.dataset for run in item.seeds if run.started_utc < begun_utc.get(run.weights_sha256, "")}
        return sorted(names)


class Survey(NamedTuple):
    """Sources of the leaderboard.

    Attributes:
        damage: Faults of documents that are left out, and lacking declarations.
    """

    records: tuple[Record, ...]
    rows: tuple[LeaderboardRow, ...]
    damage: tuple[ContentError, ...]
    entries: Ledger


@dataclass(frozen=True, slots=True)
class Rerun:
    """A recorded seed that was run again.

    Attributes:
        identical: Whether the weights are equal bit for bit; None if different weights are allowed, because a different
            machine, torch or build of the engine made the recorded weights.
    """

    index: int
    test_errors: int
    recorded_test_errors: int
    identical: bool | None


@dataclass(frozen=True, slots=True)
class Verification:
    """Verdict on a network by its record.

    Attributes:
        runs: Seeds of a verification in order, as run now or as recorded.
        is_contradicted: Whether the reruns are worse than allowed (``bounds.is_worse``).
        row: Row of the leaderboard, computed from all seeds ever run.
        lacks_declaration: Whether the ledger lacks the declaration of a seed of the row.
        has_open_attempt: Whether seeds that have not been run belong to a certification attempt.
    """

    record: Record
    row: LeaderboardRow
    runs: tuple[SeedRun, ...]
    reruns: tuple[Rerun, ...] = ()
    is_contradicted: bool = False
    attempt: Attempt | None = None
    lacks_seeds: bool = False
    lacks_declaration: bool = False
    has_open_attempt: bool = False

    @classmethod
    def of(cls, record: Record, entries: Ledger) -> Verification:
        """Return the verdict on the network of a record; ``entries`` is the whole ledger."""
        indices = {run.index for run in record.seeds}
        lacking = {*chain.from_iterable(entries.declared_indices(record.key, indices))} - indices
        return cls(
            record=record,
            row=LeaderboardRow.of(record, entries),
            runs=record.seeds,
            lacks_seeds=bool(lacking),
            lacks_declaration=bool(_undeclared_seeds(record, entries)),
            has_open_attempt=any(each.key == record.key and lacking & {*each.indices} for each in entries.attempts),
        )

    @property
    def machines(self) -> list[tuple[str, int]]:
        """Kinds of machines that trained the seeds, each with the number of seeds.

        On machines of a kind, equal seeds give equal bits (``Environment.gives_bits_of``).
        """
        counts = Counter[Environment]()
        for run in self.runs:
            kind = next((each for each in counts if each.gives_bits_of(run.environment)), run.environment)
            counts[kind] += 1
        return [
            (f"{kind.device}, {kind.instructions}, {kind.engine}, torch {kind.torch}, Python {kind.python}", count)
            for kind, count in counts.items()
        ]

    @property
    def is_open(self) -> bool:
        """Whether further seeds, or a declaration, decide about the target."""
        is_undecided = self.lacks_seeds or self.lacks_declaration or self.row.seeds < VERIFIED_SEEDS
        return is_undecided and not self.passed and not self.is_contradicted

    @property
    def passed(self) -> bool:
        """Whether the target is reached; a failed certification has failed whatever the mean of the row."""
        if self.attempt is not None:
            return self.attempt.outcome is AttemptResult.CERTIFIED
        return self.row.reached and not self.is_contradicted

    @property
    def outcome(self) -> Outcome:
        """Verdict on the target."""
        return self.event.outcome(self.row.target_pct)

    @property
    def event(self) -> Verified:
        """The verdict as an event of a study."""
        fields = ("hash", "recipe_hash", "tier", "mean_test_accuracy_pct", "seeds")
        passed = self.passed or (None if self.is_open else False)
        return Verified(passed=passed, **{name: getattr(self.row, name) for name in fields})


def read_verdicts(workspace: Workspace, keys: Container[RowKey | None]) -> dict[RowKey, Verification]:
    """Return the verdicts on the networks of a workspace with these keys of the record, by key.

    Damaged documents are left out and reported once.
    """
    evidence = read_evidence(workspace)
    attempts = evidence.entries.attempts
    valid_records = [item for item in evidence.records if item.key in keys and _ledger_fault(item, attempts) is None]
    return {item.key: Verification.of(item, evidence.entries) for item in valid_records}


def _columns_of_decision(record: Record, entries: Ledger) -> dict[str, Any]:
    if not record.seeds or _undeclared_seeds(record, entries):
        return {"tier": Standing.MEASURED, "reached": False}
    for attempt in entries.attempts:
        if attempt.key == record.key and attempt.is_certified(record):
            return {
                "tier": Standing.CERTIFIED,
                "reached": True,
                "confidence": attempt.confidence,
                "lower_bound_pct": attempt.bound_pct(record),
            }
    errors = {run.index: run.test_errors for run in record.seeds}
    indices = entries.declared_indices(record.key, errors)
    images = record.seeds[0].test_size
    groups = record.group_errors
    confidence = 1 - entries.look_alpha(record.key)
    standing, bound = bounds.standing_of(
        errors, images, record.target_pct, indices, confidence=confidence, groups=groups
    )
    return {
        "tier": Standing.MEASURED if standing is Standing.MISSED else standing,
        "reached": standing is Standing.AT_TARGET or standing.is_proven,
        "confidence": None if bound is None else confidence,
        "lower_bound_pct": bound,
    }


def _undeclared_count(record: Record) -> int:
    """Return the number of first seeds of a record that were run before declarations existed (commit e842376a)."""
    counts: dict[str, int] = json.loads((resources.files("harness.evidence") / "undeclared-seeds.json").read_text())
    return counts.get(" ".join(map(str, record.key)), 0)


def _undeclared_seeds(record: Record, entries: Ledger) -> list[int]:
    """The row of seeds without a declaration in the ledger is held back."""
    indices = {index for item in entries.seed_declarations if item.key == record.key for index in item.indices}
    indices |= {*range(_undeclared_count(record))}
    return [run.index for run in record.seeds if run.index not in indices]


def _columns_of_seeds(seeds: Sequence[SeedRun], target_pct: float, group_sizes: Sequence[int]) -> dict[str, Any]:
    size = seeds[0].test_size if seeds else 1
    fewest_errors = [run.best_test_errors for run in seeds if run.best_test_errors is not None]
    wrong_images = [[image for image, _ in run.wrong] for run in seeds]
    return {
        **_columns_of_errors([run.test_errors for run in seeds], fewest_errors, size, target_pct),
        "lower_bound_images_pct": bounds.over_images(wrong_images, size, group_sizes),
        "diverged": sum(run.status is Status.DIVERGED for run in seeds),
        "train_seconds": finite(statistics.mean([run.train_seconds for run in seeds])),
        "device": _joined(run.environment.device for run in seeds),
        "commit": _joined(_commit(run.environment) for run in seeds),
        "date_utc": max((run.started_utc for run in seeds), default=""),
    }


def _columns_of_errors(errors: Sequence[int], fewest: Sequence[int], size: int, target_pct: float) -> dict[str, Any]:
    """``fewest`` are the wrong test images of each seed after the best epoch; empty if not known."""
    accuracies = [Errors(wrong, size).accuracy_pct for wrong in errors]
    return {
        "mean_test_accuracy_pct": finite(statistics.mean(accuracies)),
        "std_test_accuracy_pct": finite(statistics.standard_deviation(accuracies)),
        "min_test_accuracy_pct": min(accuracies, default=None),
        "test_errors_mean": finite(statistics.mean(errors)),
        "best_epoch_test_accuracy_pct": 100 - 100 * statistics.mean(fewest) / size if fewest else None,
        "seeds": len(errors),
        "seeds_at_target": sum(statistics.reaches(value, target_pct) for value in accuracies),
    }


def _notes_of(record: Record, entries: Ledger) -> Iterator[str]:
    if record.assumed:
        yield f"recipe fields assumed: {', '.join(record.assumed)}"
    if warning := bounds.group_warning(dataset(record.dataset)):
        yield warning
    for attempt in entries.attempts:
        if attempt.key == record.key and attempt.outcome is AttemptResult.CERTIFIED:
            outcome, bound = attempt.result(record)
            if outcome is AttemptResult.FAILED:
                text = "none" if bound is None else f"{bound:.3f} %"
                yield f"attempt {attempt.number} was certified by an earlier bound over groups; the bound now is {text}"
    subject = (record.hash, record.recipe_hash, record.dataset, record.protocol_version)
    for item in entries.registrations:
        if item.errors and item.subject == subject:
            mean = 100 - 100 * statistics.mean(item.errors) / item.images
            over_seeds = item.lower_bound_pct
            over_images = item.lower_bound_images_pct
            text = f"on {item.on}: {mean:.3f} % over {counted(len(item.errors), 'seed')}"
            if over_seeds is not None and over_images is not None:
                text += f" (99 % lower bound {over_seeds:.3f} over seeds, {over_images:.3f} over images too)"
            yield text


# A live page requests the rows of all studies repeatedly, and most studies do not change.
@lru_cache(maxsize=1024)
def _folded_rows(folder: Path, *file_states: tuple[int, int] | None) -> list[LeaderboardRow]:
    return _rows_of_study(read_state(folder))


def _rows_of_study(study: StudyState) -> list[LeaderboardRow]:
    # A search may train a network for several numbers of epochs; each recipe is a separate group.
    runs: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for result in study.results:
        runs[result.hash, result.recipe_hash].append(result)
    groups = filter(None, map(validation_runs, runs.values()))
    front = pareto_front(
        groups, lambda group: (group[0].parameters, -statistics.mean(validation_accuracies_pct(group)), group[0].hash)
    )
    return [_searched_row(group, study.config.target_pct) for group in front]


def validation_runs(results: Iterable[Result]) -> list[Result]:
    """Return the runs that represent a network with a recipe; empty if none is complete.

    The first run is left out if there are fresh seeds, because the search selected the network by this run. Diverged
    runs count with their errors. Runs that were stopped early are not comparable.
    """
    scored_results = [
        result
        for result in results
        if result.status in (Status.COMPLETE, Status.DIVERGED) and result.validation_accuracy_pct is not None
    ]
    if not any(result.status is Status.COMPLETE for result in scored_results):
        return []
    return [result for result in scored_results if result.purpose is Purpose.CONFIRM] or scored_results


def validation_accuracies_pct(results: Iterable[Result]) -> tuple[float, ...]:
    """Return the validation accuracies of the runs that have one."""
    accuracies = (result.validation_accuracy_pct for result in results)
    return tuple(accuracy for accuracy in accuracies if accuracy is not None)


def pareto_front(rows: Iterable[_T], order: Callable[[_T], tuple[float, float, str]]) -> list[_T]:
    """Return the rows with fewer errors than all rows of equal or lower cost.

    Of rows with equal cost and errors, the first hash remains.

    Args:
        order: Function that returns cost, errors (or a number that falls with the quality) and hash of a row.
    """
    front: list[_T] = []
    for row in sorted(rows, key=order):
        if not front or order(row)[1] < order(front[-1])[1]:
            front.append(row)
    return front


def _searched_row(results: list[Result], target_pct: float) -> LeaderboardRow:
    first_result = results[0]
    environments = [] if first_result.environment is None else [first_result.environment]
    return LeaderboardRow(
        name=name_of(first_result.hash) or "",
        tier=Standing.SEARCHED,
        target_pct=target_pct,
        reached=False,
        validation_accuracy_pct=statistics.mean(validation_accuracies_pct(results)),
        validation_seeds=len(results),
        epochs=first_result.recipe.epochs,
        train_seconds=statistics.mean([result.train_seconds for result in results]),
        dataset=first_result.dataset,
        recipe=first_result.recipe_name,
        recipe_hash=first_result.recipe_hash,
        device=_joined(each.device for each in environments),
        **_columns_of(first_result.architecture, dataset_of(first_result.dataset, f"study {first_result.study}").task),
        study=first_result.study or "",
        commit=_joined(map(_commit, environments)),
        date_utc=max(result.started_utc for result in results),
        note="validation only",
        protocol_version=first_result.protocol_version,
    )


@strict_json
@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """Trainings of a claimed network with the recipe of the source; no seed was declared.

    ``best_test_errors`` are the errors after the epoch with the fewest.
    """

    test_errors: tuple[int, ...]
    best_test_errors: tuple[int, ...]
    test_size: int


@strict_json
@dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    name: str
    architecture: WrittenNetwork
    test_accuracy_pct: float
    metric: str
    runs: int
    epochs: int | None
    recipe: str
    source: str
    dataset: str = "mnist"
    target_pct: float = 99.4
    protocol_version: int = PROTOCOL_VERSION
    measured: _Measured | None = None


def claim_paths(workspace: Workspace) -> list[Path]:
    """Return the paths of all files of claims; a file may not exist."""
    return [folder / name for folder in (files.SHIPPED / "records", workspace.records) for name in _CLAIMS]


def read_claims(path: Path) -> list[LeaderboardRow]:
    """Return the rows of a file of claims, none if the file does not exist.

    A claim has a row ``claimed``, and a row ``measured`` if trained with the recipe of the source. Neither counts as
    reached.

    Raises:
        ContentError: The file is damaged, or the network of a claim does not fit its data set.
    """
    rows = []
    for claim in read_as(list[_Claim], path, f"the file of claims {path}") if path.exists() else []:
        try:
            columns = _columns_of(claim.architecture, dataset(claim.dataset).task)
        except SearchSpaceError as error:
            raise ContentError(f"{path}: the network of claim {claim.name!r}: {error.message}") from error
        row = LeaderboardRow(
            name=claim.name,
            tier=Standing.CLAIMED,
            target_pct=claim.target_pct,
            reached=False,
            mean_test_accuracy_pct=claim.test_accuracy_pct,
            seeds=claim.runs,
            epochs=claim.epochs,
            dataset=claim.dataset,
            recipe=claim.recipe,
            **columns,
            note=f"{claim.metric}; {claim.source}",
            protocol_version=claim.protocol_version,
        )
        rows.append(row)
        if claim.measured is not None:
            runs = claim.measured
            figures = _columns_of_errors(runs.test_errors, runs.best_test_errors, runs.test_size, row.target_pct)
            note = f"seeds were not declared; {claim.source}"
            rows.append(replace(row, tier=Standing.MEASURED, **figures, note=note))
    return rows


def survey(workspace: Workspace, known_study: StudyState | None = None) -> Survey:
    """Return the shipped evidence and the evidence of a workspace; damaged documents are left out and listed.

    Rows of searches whose studies are not shipped are taken from the shipped table. ``known_study`` is a study of the
    workspace that has been read, such as the study of a running search, and is not read again.
    """
    damage: list[ContentError] = []

    def rows_of(read_rows: Callable[[Path], list[LeaderboardRow]], paths: Iterable[Path]) -> Iterable[LeaderboardRow]:
        documents, faults = read_each(read_rows, paths)
        damage.extend(faults)
        return chain(*documents)

    def rows_in_folder(folder: Path) -> list[LeaderboardRow]:
        if known_study is not None and folder == known_study.folder:
            return _rows_of_study(known_study)
        return _folded_rows(folder, *(files.file_state(folder / name) for name in ("config.json", "log.jsonl")))

    evidence = read_evidence(workspace, damage)
    entries = evidence.entries
    records = []
    rows = []
    for item in evidence.records:
        if (fault := _ledger_fault(item, entries.attempts)) is not None:
            damage.append(ContentError(f"{workspace.ledger}: {fault}"))
            continue
        records.append(item)
        rows.append(LeaderboardRow.of(item, entries))
        if indices := _undeclared_seeds(item, entries):
            seeds = ", ".join(map(str, indices))
            fault = f"declaration of seeds {seeds} of {item.hash}: lacking; the row counts as measured"
            damage.append(ContentError(f"{workspace.ledger}: {fault}"))
    rows += rows_of(read_claims, claim_paths(workspace))
    rows += rows_of(rows_in_folder, workspace.studies())
    rows += rows_of(_searched_elsewhere, filter(Path.exists, [shipped_table()]))
    # Records have priority over claims and studies, and studies over the shipped table.
    first_rows: dict[Any, LeaderboardRow] = {}
    for row in rows:
        first_rows.setdefault(row.key, row)
    ranking = tuple(ranked(list(first_rows.values())))
    return Survey(tuple(records), ranking, tuple(damage), entries)


def read_evidence(workspace: Workspace, damage: list[ContentError] | None = None) -> Evidence:
    """Return the evidence; damaged documents are left out: added to ``damage``, or else reported once.

    The records are read again if the ledger has changed in between, up to ``_MAX_READS`` times.
    """
    entries = ledger.read(workspace.ledger, [])
    for _ in range(_MAX_READS):
        earlier_entries = entries
        faults: list[ContentError] = []
        records = read_all(workspace.records, faults)
        entries = ledger.read(workspace.ledger, faults)
        if entries == earlier_entries:
            break
    report_damage(faults, damage)
    return Evidence(workspace, tuple(records), entries)


def shipped_table() -> Path:
    """Return the path of the leaderboard in the package; in a clone, of the file in the repository."""
    return (files.SHIPPED / "leaderboard.csv").resolve()


def _searched_elsewhere(path: Path) -> list[LeaderboardRow]:
    rows = []
    for row in read(path):
        if row.tier is Standing.SEARCHED:
            try:
                columns = _columns_of(row.architecture, task_or_mnist(row.dataset))
            except SearchSpaceError as error:
                raise ContentError(f"{path}: the network of {row.hash}: {error.message}") from error
            rows.append(replace(row, **columns, reached=False, seeds=0, mean_test_accuracy_pct=None))
    return rows


def _ledger_fault(record: Record, attempts: Iterable[Attempt]) -> str | None:
    own_attempts = [attempt for attempt in attempts if attempt.key == record.key]
    for attempt in own_attempts:
        if (fault := attempt.contradiction(record)) is not None:
            return fault
    for number in {run.attempt for run in record.seeds} - {None, *(attempt.number for attempt in own_attempts)}:
        return f"attempt {number}: lacking, but {record.hash} has seeds of the attempt"
    return None


def collect(workspace: Workspace) -> list[LeaderboardRow]:
    """Return all rows of a workspace, ranked; damaged documents are reported once."""
    standings = survey(workspace)
    report_damage(standings.damage)
    return list(standings.rows)


def ranked(rows: list[LeaderboardRow]) -> list[LeaderboardRow]:
    """Return the rows in the order of the leaderboard, ranked separately for each data set and target."""
    groups = groupby(sorted(rows, key=_order), key=lambda row: (row.dataset, row.target_pct))
    return [replace(row, rank=rank) for _, group in groups for rank, row in enumerate(group, start=1)]


def refresh(workspace: Workspace) -> list[LeaderboardRow]:
    """Rewrite the CSV of a workspace from all sources, under a lock, and return the rows."""
    with files.locked(workspace.runs / ".leaderboard.lock"):
        rows = collect(workspace)
        files.sweep(workspace.leaderboard.parent, workspace.leaderboard.name)
        files.write_text(workspace.leaderboard, to_csv(rows))
    return rows


def _order(row: LeaderboardRow) -> tuple[Any, ...]:
    """Return the sort key: known data sets first, high targets first, then by evidence, size and accuracy.

    Rows of a tier with an accuracy (test, else validation) at the target or above are ordered by size; the remaining
    rows follow by accuracy, because the smallest networks of a search are far below the target and would precede its
    best networks.
    """
    accuracies = (row.mean_test_accuracy_pct, row.validation_accuracy_pct, 0.0)
    accuracy = next(each for each in accuracies if each is not None)
    is_at_target = statistics.reaches(accuracy, row.target_pct)
    return (
        [*DATASETS, row.dataset].index(row.dataset),
        row.dataset,
        -row.target_pct,
        not row.reached,
        list(Standing).index(row.tier),
        not is_at_target,
        row.parameters if is_at_target else 0,
        -accuracy,
        row.parameters,
        row.hash,
        row.recipe_hash,
        row.protocol_version,
    )


def _commit(environment: Environment) -> str:
    if environment.commit is None:
        return ""
    return environment.commit[:12] + ("+changes" if environment.dirty else "")


def _joined(words: Iterable[str]) -> str:
    return " ".join(sorted({word for word in words if word}))


def to_csv(rows: Iterable[LeaderboardRow]) -> str:
    """Return the rows as CSV: numbers in the shortest exact form, empty cells for None."""
    columns = [item.name for item in fields(LeaderboardRow)]
    return csv_text(columns, ([getattr(row, column) for column in columns] for row in rows))


def read(path: Path) -> list[LeaderboardRow]:
    """Read a CSV of ``to_csv``.

    Raises:
        ContentError: The file cannot be read, is of a different schema version, or has an invalid cell.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            columns, *table = list(csv.reader(file)) or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ContentError(f"cannot read the leaderboard {path}: {reason(error)}") from error
    defaults = {item.name: item.default for item in fields(LeaderboardRow)}
    if columns != list(defaults):
        raise ContentError(f"{path} is not a leaderboard of schema {_SCHEMA_VERSION}")
    rows = []
    for number, cells in enumerate(table, start=2):
        location = f"{path}, line {number}"
        if len(cells) != len(columns):
            raise ContentError(f"{location}: {len(cells)} cells, expected {len(columns)}")
        values = {
            name: None if cell == "" and defaults[name] is None else unguarded(cell)
            for name, cell in zip(columns, cells, strict=True)
        }
        document = json.dumps(values | {"schema_version": _SCHEMA_VERSION})
        rows.append(read_as(LeaderboardRow, document, location, is_table=True))
    return rows
