"""The standings: rows made from records, claims and local studies, ranked and written as ``leaderboard.csv``."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, TypeVar

from harness.data.datasets import DATASETS, dataset
from harness.evidence import bounds, claims, leaderboard_csv, ledger, record
from harness.evidence.leaderboard_csv import PROVEN, LeaderboardRow, Tier, cost_of, read, standings_file, to_csv
from harness.evidence.ledger import Attempt, Ledger, Outcome, Registration
from harness.evidence.record import Record
from harness.evidence.study import finished_results, read_config
from harness.system import files, statistics
from harness.system.document import read_each
from harness.system.errors import ContentError
from harness.system.files import Workspace
from harness.training.result import Purpose, Result, Status, finite
from search_spaces.catalog import name_of

# The row and its file are part of what this module offers.
__all__ = ["PROVEN", "LeaderboardRow", "Tier", "cost_of", "read", "to_csv"]

VERIFIED_SEEDS = 5
# Whose one-sided bound must reach the target; a mean alone that does is only "at the target" (docs/decisions.md#20).
VERIFIED_CONFIDENCE = 0.90
REACHED = (*PROVEN, Tier.AT_TARGET)
_NO_LEDGER = Ledger()


@dataclass(frozen=True, slots=True)
class Survey:
    """What the sources of the standings hold.

    Attributes:
        records: the evidence that holds together.
        rows: ranked, of all that holds together.
        damage: a file each that does not, and is left out.
    """

    records: tuple[Record, ...]
    rows: tuple[LeaderboardRow, ...]
    damage: tuple[ContentError, ...]


class Sized(Protocol):
    """A network of known size."""

    @property
    def parameters(self) -> int:
        """Number of its parameters."""

    @property
    def hash(self) -> str:
        """Hash of its canonical text."""


_Sized = TypeVar("_Sized", bound=Sized)


def tier_of(evidence: Record, entered: Ledger) -> Tier:
    """Return the tier that a record's seeds, certification attempts and declared verifications have earned."""
    attempts = [attempt for attempt in entered.attempts if attempt.key == evidence.key]
    if bounds.is_certified(attempts, evidence):
        return Tier.CERTIFIED
    accuracies = evidence.accuracies_pct
    run = {item.index for item in evidence.seeds}
    declared = {index for item in entered.declarations if item.key == evidence.key for index in item.indices}
    # While a declared seed has not been run nothing is verified.
    if len(accuracies) < VERIFIED_SEEDS or declared - run:
        return Tier.MEASURED
    if not statistics.reaches(statistics.mean(accuracies), evidence.target_pct):
        return Tier.MEASURED
    bound = statistics.lower_bound(accuracies, VERIFIED_CONFIDENCE)
    return Tier.VERIFIED if statistics.reaches(bound, evidence.target_pct) else Tier.AT_TARGET


def row_of_record(evidence: Record, entered: Ledger = _NO_LEDGER) -> LeaderboardRow:
    """Return the row that a record makes, with the whole ledger beside it."""
    accuracies = evidence.accuracies_pct
    own = [attempt for attempt in entered.attempts if attempt.key == evidence.key]
    tier = tier_of(evidence, entered)
    parts = bounds.components([[image for image, _ in run.wrong] for run in evidence.seeds], _test_size(evidence))
    subject = (evidence.hash, evidence.recipe_hash, evidence.dataset, evidence.protocol_version)
    said = [f"recipe fields assumed: {', '.join(evidence.assumed)}"] if evidence.assumed else []
    said += [_elsewhere_text(item) for item in entered.registrations if item.errors and item.subject == subject]
    best = [run.best_test_errors for run in evidence.seeds if run.best_test_errors is not None]
    size = _test_size(evidence)
    found = evidence.found
    return LeaderboardRow(
        name=evidence.name or name_of(evidence.hash) or "",
        tier=tier,
        target_pct=evidence.target_pct,
        reached=tier in REACHED,
        mean_test_accuracy_pct=finite(statistics.mean(accuracies)),
        std_test_accuracy_pct=finite(statistics.standard_deviation(accuracies)),
        min_test_accuracy_pct=min(accuracies, default=None),
        lower_bound_pct=finite(statistics.lower_bound(accuracies, ledger.CONFIDENCE)),
        lower_bound_images_pct=None if parts is None else finite(parts.lower_bound_pct(ledger.CONFIDENCE)),
        test_errors_mean=finite(statistics.mean([run.test_errors for run in evidence.seeds])),
        best_epoch_test_accuracy_pct=100 - 100 * statistics.mean(best) / size if best else None,
        seeds=len(evidence.seeds),
        seeds_at_target=sum(statistics.reaches(value, evidence.target_pct) for value in accuracies),
        diverged=sum(run.status is Status.DIVERGED for run in evidence.seeds),
        attempts=sum(
            (item.dataset, item.target_pct) == (evidence.dataset, evidence.target_pct) for item in entered.attempts
        ),
        confidence=next((1 - item.alpha for item in own if item.outcome is Outcome.CERTIFIED), None),
        validation_accuracy_pct=found.validation_accuracy_pct if found else None,
        validation_seeds=found.validation_seeds if found else 0,
        epochs=evidence.recipe.epochs,
        train_seconds=finite(statistics.mean([run.train_seconds for run in evidence.seeds])),
        teacher_seconds=evidence.teacher_seconds,
        search_seconds=found.search_seconds if found else None,
        dataset=evidence.dataset,
        recipe=evidence.recipe_name,
        recipe_hash=evidence.recipe_hash,
        device=_joined(run.environment.device for run in evidence.seeds),
        **leaderboard_csv.columns_of(evidence.architecture, dataset(evidence.dataset).task),
        study=found.study if found else "",
        commit=_joined(_commit(run.environment.commit, run.environment.dirty) for run in evidence.seeds),
        date_utc=max((run.started_utc for run in evidence.seeds), default=""),
        note="; ".join(said),
        protocol_version=evidence.protocol_version,
    )


def _test_size(evidence: Record) -> int:
    return evidence.seeds[0].test_size if evidence.seeds else 1


def _elsewhere_text(item: Registration) -> str:
    """Return how seeds did on other images, in words."""
    mean = 100 - 100 * statistics.mean(item.errors) / item.images
    bounds = (
        f" (99 % lower bound {item.lower_bound_pct:.3f} over seeds, {item.lower_bound_images_pct:.3f} over images too)"
        if item.lower_bound_pct is not None and item.lower_bound_images_pct is not None
        else ""
    )
    return f"on {item.on}: {mean:.3f} % over {len(item.errors)} seed{'s' if len(item.errors) > 1 else ''}{bounds}"


def rows_of_study(folder: Path) -> list[LeaderboardRow]:
    """Return the rows of a study's networks that no other of the study beats in both size and validation accuracy."""
    config = read_config(folder)
    # A search may train a network for several lengths; each is a training of its own.
    runs: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for result in finished_results(folder):
        runs[result.hash, result.recipe_hash].append(result)
    speaking = {key: found for key, results in runs.items() if (found := validation_runs(results))}
    accuracy = {key: _validation_mean_pct(found) for key, found in speaking.items()}
    firsts = [found[0] for found in speaking.values()]
    front = pareto_front(firsts, lambda first: accuracy[first.hash, first.recipe_hash])
    return [_searched_row(speaking[first.hash, first.recipe_hash], config.target_pct) for first in front]


def validation_runs(results: Iterable[Result]) -> list[Result]:
    """Return those of a network's runs by one recipe that speak for it; none where none is complete.

    Where there are fresh seeds, the run that the search chose by is left out: it was picked for its luck. A diverged
    run counts with its errors, one that was stopped early cannot be compared.
    """
    ended = [
        result
        for result in results
        if result.status in (Status.COMPLETE, Status.DIVERGED) and result.validation_accuracy_pct is not None
    ]
    if not any(result.status is Status.COMPLETE for result in ended):
        return []
    return [result for result in ended if result.purpose is Purpose.CONFIRM] or ended


def pareto_front(
    rows: Iterable[_Sized],
    accuracy: Callable[[_Sized], float],
    cost: Callable[[_Sized], int] = lambda row: row.parameters,
) -> list[_Sized]:
    """Return those that are more accurate than all of equal or lower cost, the lowest cost first."""
    front: list[_Sized] = []
    for row in sorted(rows, key=lambda row: (cost(row), -accuracy(row), row.hash)):
        if not front or accuracy(row) > accuracy(front[-1]):
            front.append(row)
    return front


def survey(workspace: Workspace) -> Survey:
    """Return what the sources of a workspace give; what does not hold together is left out and named.

    Rows of studies that are on another machine are kept from the CSV that is there.
    """
    entered = ledger.read_sound(workspace.ledger)
    attempts = entered.attempts
    readable, damage = record.read_sound(workspace.records)
    faults = [ledger_fault(item, attempts, workspace.ledger) for item in readable]
    records = [item for item, fault in zip(readable, faults, strict=True) if fault is None]
    contradicted = [fault for fault in faults if fault is not None]
    claimed, unclear = read_each(claims.read, [workspace.records / "claims.json"])
    folders = sorted(path.parent for path in workspace.runs.glob("*/config.json"))
    searched, broken = read_each(rows_of_study, folders)
    before, torn = read_each(read, [workspace.leaderboard] if workspace.leaderboard.exists() else [])
    made = chain(
        (row_of_record(item, entered) for item in records),
        map(claims.row_of_claim, chain(*claimed)),
    )
    rows = {row.key: row for row in made}
    elsewhere, forged = leaderboard_csv.searched_elsewhere(workspace, chain(*before))
    for row in (*chain(*searched), *elsewhere):
        rows.setdefault(row.key, row)
    found = (*entered.damage, *damage, *contradicted, *unclear, *broken, *torn, *forged)
    return Survey(tuple(records), tuple(ranked(list(rows.values()))), found)


def ledger_fault(evidence: Record, attempts: Iterable[Attempt], path: Path) -> ContentError | None:
    """Return how a record and the attempts of its row contradict each other; None where they do not."""
    own = [attempt for attempt in attempts if attempt.key == evidence.key]
    for attempt in own:
        if (fault := bounds.contradiction(attempt, evidence)) is not None:
            return ContentError(f"{path}: {fault}", hint="bring back the ledger and the record that belong together")
    entered = {attempt.number for attempt in own}
    for run in evidence.seeds:
        if run.attempt is not None and run.attempt not in entered:
            return ContentError(
                f"{path} lacks attempt {run.attempt}, for which seeds of {evidence.hash} were run; an attempt is never "
                "taken out of the ledger",
                hint="bring the ledger back that belongs to the records",
            )
    return None


def collect(workspace: Workspace) -> list[LeaderboardRow]:
    """Return all rows of a workspace, ranked; nothing may be left out of what is written or built upon.

    Raises:
        ContentError: a record, the ledger, the claims, a study or the CSV does not hold together.
    """
    found = survey(workspace)
    if found.damage:
        raise found.damage[0]
    return list(found.rows)


def ranked(rows: list[LeaderboardRow]) -> list[LeaderboardRow]:
    """Return the rows in the order of the standings, each with its rank.

    Only rows on one data set with one target can be compared, so they stand together and are ranked among themselves.
    """
    ranks: Counter[tuple[str, float]] = Counter()
    made = []
    for row in sorted(rows, key=_order):
        ranks[row.dataset, row.target_pct] += 1
        made.append(replace(row, rank=ranks[row.dataset, row.target_pct]))
    return made


def refresh(workspace: Workspace, *, publish: bool = False) -> list[LeaderboardRow]:
    """Rewrite the CSV from its sources, under a lock, and return its rows; ``publish`` also writes what git keeps."""
    with files.locked(workspace.runs / ".leaderboard.lock"):
        rows = collect(workspace)
        path = workspace.leaderboard if publish else standings_file(workspace)
        files.sweep(path.parent, path.name)
        files.write_text(path, to_csv(rows))
    return rows


def _searched_row(results: list[Result], target_pct: float) -> LeaderboardRow:
    first = results[0]
    environment = first.environment
    return LeaderboardRow(
        name=name_of(first.hash) or "",
        tier=Tier.SEARCHED,
        target_pct=target_pct,
        reached=False,
        validation_accuracy_pct=_validation_mean_pct(results),
        validation_seeds=len(results),
        epochs=first.recipe.epochs,
        train_seconds=statistics.mean([result.train_seconds for result in results]),
        dataset=first.dataset,
        recipe=first.recipe_name,
        recipe_hash=first.recipe_hash,
        device=environment.device if environment else "",
        **leaderboard_csv.columns_of(first.architecture, dataset(first.dataset).task),
        study=first.study or "",
        commit=_commit(environment.commit, environment.dirty) if environment else "",
        date_utc=max(result.started_utc for result in results),
        note="validation only",
        protocol_version=first.protocol_version,
    )


def _validation_mean_pct(results: list[Result]) -> float:
    return statistics.mean([result.validation_accuracy_pct or 0.0 for result in results])


def _order(row: LeaderboardRow) -> tuple[Any, ...]:
    accuracy = row.mean_test_accuracy_pct if row.mean_test_accuracy_pct is not None else row.validation_accuracy_pct
    known = list(DATASETS)
    return (
        known.index(row.dataset) if row.dataset in known else len(known),
        row.dataset,
        -row.target_pct,
        not row.reached,
        list(Tier).index(row.tier),
        row.parameters,
        -(accuracy or 0.0),
        row.hash,
        row.recipe_hash,
        row.protocol_version,
    )


def _commit(commit: str | None, dirty: bool | None) -> str:
    return "" if commit is None else commit[:12] + ("+changes" if dirty else "")


def _joined(words: Iterable[str]) -> str:
    return " ".join(sorted({word for word in words if word}))
