"""How a search went: its proposals, its budget, its runs, its time and its seeds, each as plain facts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import zip_longest

from harness.evidence.events import (
    Confirmed,
    Entry,
    Event,
    FailedConfirmation,
    Proposal,
    RunEnded,
    RungReached,
    SessionBegan,
)
from harness.evidence.leaderboard import cost_of
from harness.evidence.study import StudyConfig
from harness.search.nearest_miss import allowed_errors
from harness.system import statistics
from harness.training.result import Purpose, Result, Status
from reports.numbers import count
from reports.study.networks import DIGITS, Network, State, front_of
from reports.study.study_files import StudyFiles
from search_spaces.catalog import network_name
from search_spaces.space import OBJECTIVES, Metric

_MOST_REASONS = 12
# The words of the log, for people; others are shown as they are.
_REASONS = {
    "parameters": "too many parameters",
    "macs": "too many multiply-adds",
    "receptive_field": "receptive field outside the condition of the space",
    "shape": "ops that do not fit together",
}
_MOST_GHOSTS = 3
_MOST_CURVES = 300
_MOST_SEED_ROWS = 20


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a whole: how often it came, or how much it is."""

    name: str
    count: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounting:
    """Every proposal, counted once; a proposal is a network with one length of its training.

    Attributes:
        rejections: by reason, most frequent first; rare ones beyond the first dozen are summed up in the last.
        to_train: proposals chosen for training; ``trained`` have a first run that has ended with an accuracy.
        repeated: proposals of a network that was known already.
        outcomes: finished runs by how they ended.
        steps: how many proposals are left after each step of the search.
    """

    rejections: tuple[Share, ...]
    rejected: int
    to_train: int
    trained: int
    repeated: int
    outcomes: tuple[Share, ...]
    runs: int
    steps: tuple[Share, ...]

    @property
    def proposed(self) -> int:
        """All proposals."""
        return self.rejected + self.to_train + self.repeated


def accounting(files: StudyFiles, of: Sequence[Network]) -> Accounting:
    """Return where the proposals of a study went."""
    words = Counter[str]()
    for word, number in files.study.rejected.items():
        words[_REASONS.get(word, word)] += number
    reasons = [Share(name, words[name]) for name in sorted(words, key=lambda name: (-words[name], name))]
    if len(reasons) > _MOST_REASONS:
        rest = reasons[_MOST_REASONS - 1 :]
        summed = Share(f"{len(rest)} other reasons", sum(share.count for share in rest))
        reasons = [*reasons[: _MOST_REASONS - 1], summed]
    outcomes = Counter(result.status for result in files.results)
    first = [result for result in files.results if result.purpose is Purpose.SEARCH]
    trained = [result for result in first if result.validation_errors is not None]
    whole = [result.validation_accuracy_pct or 0.0 for result in trained if result.status is Status.COMPLETE]
    # A result whose entry in the log is lost was proposed all the same.
    to_train = len(files.study.proposals)
    repeated = files.study.repeated
    confirmed = [network for network in of if network.state in (State.WINNER, State.CONFIRMED)]
    steps = {
        "proposed": words.total() + to_train + repeated,
        "within the limits": to_train + repeated,
        "trained": len(trained),
        "not pruned": len(whole),
        "reached the threshold": sum(statistics.reaches(value, files.config.threshold_pct) for value in whole),
        "confirmed": len(confirmed),
        "verified": sum(network.row is not None and network.row.reached for network in confirmed),
    }
    return Accounting(
        rejections=tuple(reasons),
        rejected=words.total(),
        to_train=to_train,
        trained=len(trained),
        repeated=repeated,
        outcomes=tuple(Share(status.replace("_", " "), outcomes[status]) for status in Status if outcomes[status]),
        runs=len(files.results),
        steps=tuple(Share(name, number) for name, number in steps.items()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A network that was put to the test of fresh validation seeds.

    Attributes:
        elapsed: seconds of the study, all sessions together.
        cost: what it has of what is minimised.
        stands: it was confirmed; False where it failed.
        budget: the effective budget from then on.
    """

    elapsed: float
    hash: str
    cost: int
    stands: bool
    validation_accuracy_pct: float | None
    validation_seeds: int | None
    budget: int


@dataclass(frozen=True, slots=True)
class EffectiveBudget:
    """The budget over time: ``first`` at the beginning, then as the trials say, until ``elapsed`` seconds.

    Attributes:
        unit: what is counted.
    """

    first: int
    trials: tuple[Trial, ...]
    elapsed: float
    unit: str = OBJECTIVES[Metric.PARAMETERS]

    @property
    def last(self) -> int:
        """The budget at the end."""
        return self.trials[-1].budget if self.trials else self.first


def effective_budget(files: StudyFiles, of: Sequence[Network]) -> EffectiveBudget:
    """Return how the effective budget of a study fell."""
    config = files.config
    budget, costs = config.ceiling, {network.hash: network.cost for network in of}
    smallest: str | None = None
    trials = []
    decided = [entry for entry in files.study.entries if isinstance(entry.event, Confirmed | FailedConfirmation)]
    for entry, following in zip_longest(decided, decided[1:]):
        match entry.event:
            case Confirmed(hash=smallest, budget=left):
                budget = left or budget
            case FailedConfirmation(hash=network) if network == smallest and not _at_once(entry, following):
                # The only confirmed network has fallen, so the whole budget is open again.
                budget, smallest = config.ceiling, None
        event = entry.event
        assert isinstance(event, Confirmed | FailedConfirmation)
        trials.append(
            Trial(
                elapsed=entry.elapsed,
                hash=event.hash,
                cost=costs.get(event.hash, event.parameters),
                stands=isinstance(event, Confirmed),
                validation_accuracy_pct=event.validation_accuracy_pct,
                validation_seeds=event.validation_seeds,
                budget=budget,
            )
        )
    return EffectiveBudget(config.ceiling, tuple(trials), files.elapsed, OBJECTIVES[config.minimise])


def _at_once(entry: Entry[Event], following: Entry[Event] | None) -> bool:
    """Tell whether another network took the place of one that failed in the same moment."""
    if following is None or not isinstance(following.event, Confirmed):
        return False
    return following.elapsed - entry.elapsed < 1.0


def first_ends(files: StudyFiles, of: Sequence[Network]) -> dict[int, float]:
    """Return after how many seconds the first run of a network ended, by its place in their order."""
    numbers = _numbers(of)
    found: dict[int, float] = {}
    for entry in files.entries_of(RunEnded):
        number = numbers.get(entry.event.run.trial)
        if number is not None and entry.event.run.purpose is Purpose.SEARCH:
            found.setdefault(number, entry.elapsed)
    return found


def _numbers(of: Sequence[Network]) -> dict[int | None, int]:
    """Return the place of a network in their order by its trials."""
    found = {run.trial: number for number, network in enumerate(of) for run in network.other_runs}
    return found | {network.trial: number for number, network in enumerate(of) if network.trial is not None}


class Kind(StrEnum):
    """What a point of the picture is."""

    TRAINED = "trained"
    PRUNED = "pruned"
    TESTED = "tested"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Point:
    """One network in the picture of cost against accuracy.

    Attributes:
        number: place of the network in the order of the study's networks.
        deviation_pct: standard deviation over the seeds, None below two seeds.
        cost: what the network has of what the study minimises.
        on_front: no network of equal or lower cost is as accurate on validation.
        reached: its test accuracy is at the target.
    """

    kind: Kind
    number: int
    label: str
    cost: int
    accuracy_pct: float
    deviation_pct: float | None
    on_front: bool = False
    reached: bool = False


@dataclass(frozen=True, slots=True)
class _Ghost:
    """A network of the leaderboard that this study did not find, with its mean test accuracy."""

    label: str
    cost: int
    accuracy_pct: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyPicture:
    """What a study minimises (by default parameters) against accuracy.

    Attributes:
        ghosts: the networks of the leaderboard that reach the target at the lowest cost.
    """

    points: tuple[_Point, ...]
    config: StudyConfig
    ghosts: tuple[_Ghost, ...] = ()

    @property
    def front(self) -> list[_Point]:
        """The Pareto front, the lowest cost first."""
        return sorted((point for point in self.points if point.on_front), key=lambda point: point.cost)

    @property
    def unit(self) -> str:
        """What is minimised."""
        return OBJECTIVES[self.config.minimise]

    @property
    def bound_words(self) -> str:
        """The bound, as it is called."""
        return f"{'budget' if self.config.minimise is Metric.PARAMETERS else 'at most'} {count(self.config.ceiling)}"


def accuracy_picture(files: StudyFiles, of: Sequence[Network]) -> AccuracyPicture:
    """Return what the picture of a study shows."""
    config = files.config
    front = {network.hash for network in front_of(of)}
    points = []
    for number, network in enumerate(of):
        accuracies, row = network.validation_accuracies_pct, network.row
        if network.parameters > 0 and accuracies:
            points.append(
                _Point(
                    kind=Kind.PRUNED if network.state is State.PRUNED else Kind.TRAINED,
                    number=number,
                    label=network.label,
                    cost=network.cost,
                    accuracy_pct=statistics.mean(accuracies),
                    deviation_pct=statistics.standard_deviation(accuracies) if len(accuracies) > 1 else None,
                    on_front=network.hash in front,
                )
            )
        if network.parameters > 0 and row is not None and row.mean_test_accuracy_pct is not None:
            points.append(
                _Point(
                    kind=Kind.TESTED,
                    number=number,
                    label=network.label,
                    cost=network.cost,
                    accuracy_pct=row.mean_test_accuracy_pct,
                    deviation_pct=row.std_test_accuracy_pct,
                    reached=row.reached,
                )
            )
    known = {network.hash for network in of}
    others = {
        row.hash: row
        for row in files.rows
        if row.reached and (row.dataset, row.target_pct) == (config.dataset, config.target_pct)
    }
    best = sorted(
        (row for row in others.values() if row.hash not in known), key=lambda row: cost_of(row, config.minimise)
    )
    ghosts = [
        _Ghost(
            network_name(row.architecture, row.parameters) or row.hash[:DIGITS],
            cost_of(row, config.minimise),
            row.mean_test_accuracy_pct,
        )
        for row in best[:_MOST_GHOSTS]
        if row.mean_test_accuracy_pct is not None
    ]
    return AccuracyPicture(points=tuple(points), config=config, ghosts=tuple(ghosts))


@dataclass(frozen=True, slots=True)
class Curve:
    """One run.

    Attributes:
        number: place of its network in the order of the study's networks.
        ended: how the run did.
        points: (epoch, validation accuracy in per cent), in order; the last is that of its end.
    """

    number: int
    ended: Status
    points: tuple[tuple[int, float], ...]


def learning_curves(of: Sequence[Network]) -> tuple[Curve, ...]:
    """Return the first runs of the best networks that were looked at during training."""
    found = []
    for number, network in enumerate(of):
        points = _curve_points(network.first)
        if network.first is not None and points:
            found.append(Curve(number, network.first.status, points))
    return tuple(found[:_MOST_CURVES])


def _curve_points(run: Result | None) -> tuple[tuple[int, float], ...]:
    if run is None or not run.validation_size:
        return ()
    size = run.validation_size
    read = {
        item.epoch: item.validation_errors for item in run.history if item.validation_errors is not None and item.epoch
    }
    if run.validation_errors is not None and run.history:
        read[run.history[-1].epoch] = run.validation_errors
    return tuple((epoch, 100 - 100 * read[epoch] / size) for epoch in sorted(read))


@dataclass(frozen=True, slots=True, kw_only=True)
class _SeedRow:
    """The seeds of one network, per cent.

    Attributes:
        number: place of the network in the order of the study's networks.
        fresh: validation accuracies of fresh seeds.
        test: test accuracies of verification seeds.
    """

    number: int
    network: Network
    fresh: tuple[float, ...]
    test: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedSpread:
    """The networks that were trained on several seeds, the lowest cost first.

    Attributes:
        pooled_points: deviation within networks over fresh and test seeds together, None where no network has two.
    """

    rows: tuple[_SeedRow, ...]
    pooled_points: float | None
    left_out: int = 0


def seed_spread(files: StudyFiles, of: Sequence[Network]) -> SeedSpread:
    """Return how far the seeds of a study's networks lie apart."""
    test = {item.record.hash: item.record.accuracies_pct for item in reversed(files.measured)}
    found = [
        _SeedRow(number=number, network=network, fresh=network.fresh_pct, test=test.get(network.hash, ()))
        for number, network in enumerate(of)
    ]
    several = [row for row in found if len(row.fresh) + len(row.test) > 1]
    several.sort(key=lambda row: (row.network.cost, row.network.hash))
    pooled, freedom = statistics.pooled_deviation([group for row in several for group in (row.fresh, row.test)])
    return SeedSpread(
        rows=tuple(several[:_MOST_SEED_ROWS]),
        pooled_points=pooled if freedom else None,
        left_out=max(0, len(several) - _MOST_SEED_ROWS),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeSpent:
    """Where the time of all workers together went, in seconds.

    Attributes:
        spared_seconds: what the pruned runs would have trained on for, at their own pace; ``spared_runs`` counts them.
    """

    spent: tuple[Share, ...]
    spared_seconds: float
    spared_runs: int


def time_spent(files: StudyFiles) -> TimeSpent:
    """Return where the time of a study went."""
    seconds: dict[str, float] = dict.fromkeys(
        ("first runs to the end", "first runs that were pruned", "first runs that ended early otherwise"), 0.0
    )
    whole, pruned, early = seconds
    kinds = {Status.COMPLETE: whole, Status.PRUNED: pruned}
    for run in files.results:
        kind = kinds.get(run.status, early) if run.purpose is Purpose.SEARCH else "fresh seeds, to confirm"
        seconds[kind] = seconds.get(kind, 0.0) + run.train_seconds
    own = [item.record for item in files.measured if item.record.found and item.record.found.study == files.name]
    seconds["verification on the test set"] = sum(run.train_seconds for record in own for run in record.seeds)
    sessions = files.entries_of(SessionBegan)
    ends = [*(entry.elapsed for entry in sessions[1:]), files.elapsed]
    if sessions and all(entry.event.workers is not None for entry in sessions):
        # Each session lasts until the next one begins.
        wall = sum(
            max(0.0, end - entry.elapsed) * (entry.event.workers or 0)
            for entry, end in zip(sessions, ends, strict=True)
        )
        seconds["evaluation, starting, waiting and all else"] = max(0.0, wall - sum(seconds.values()))
    stopped = [run for run in files.results if run.status is Status.PRUNED and run.history]
    return TimeSpent(
        spent=tuple(Share(name, value) for name, value in seconds.items() if value > 0),
        spared_seconds=sum(
            run.train_seconds / len(run.history) * max(0, run.recipe.epochs - len(run.history)) for run in stopped
        ),
        spared_runs=len(stopped),
    )


@dataclass(frozen=True, slots=True)
class Running:
    """A run that goes on.

    Attributes:
        fresh: on a fresh seed.
        seconds: since it began.
        epochs: of its whole length; ``epoch`` is the last after which it was validated, None before the first.
    """

    network: Network
    fresh: bool
    seconds: float
    epochs: int
    epoch: int | None
    errors: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a search stands.

    Attributes:
        elapsed: seconds until the last event; ``limit_seconds`` is all that it may take, None where that is not known.
        smallest: the lowest cost of a confirmed network, None while there is none.
        nearest: the trained network with the fewest validation errors of those that are not confirmed and would be
            smaller; ``allowed`` is the most errors that meet the threshold.
        running: what its workers do now.
    """

    searching: bool
    elapsed: float
    limit_seconds: float | None
    smallest: int | None
    nearest: Network | None
    allowed: int
    running: tuple[Running, ...]


def progress(files: StudyFiles, of: Sequence[Network]) -> Progress:
    """Return where a search stands."""
    costs = [network.cost for network in of if network.state in (State.CONFIRMED, State.WINNER)]
    smallest = min(costs, default=None)
    missed = [
        item
        for item in of
        if item.state in (State.TRAINED, State.REFUTED)
        and item.errors is not None
        and (smallest is None or item.cost < smallest)
    ]
    nearest = max(missed, key=lambda item: (item.accuracy_pct or 0.0, -item.cost), default=None)
    return Progress(
        searching=files.searching,
        elapsed=files.elapsed,
        limit_seconds=files.time_limit,
        smallest=smallest,
        nearest=nearest,
        allowed=allowed_errors(files.config.threshold_pct, nearest.validation_size or 0) if nearest else 0,
        running=tuple(_running(files, of)) if files.searching else (),
    )


def _running(files: StudyFiles, of: Sequence[Network]) -> list[Running]:
    """Return the runs that have begun and not ended.

    The log enters no begin. A first run begins when its network is proposed; a worker without one trains a network that
    has met the threshold on a fresh seed, since that network's last run.
    """
    numbers = _numbers(of)
    sessions = files.entries_of(SessionBegan)
    began = sessions[-1].elapsed if sessions else 0.0
    ended: dict[int | None, float] = {entry.event.run.trial: entry.elapsed for entry in files.entries_of(RunEnded)}
    looks = {entry.event.trial: entry.event for entry in files.entries_of(RungReached)}
    proposed: Mapping[int | None, float] = {entry.event.trial: entry.elapsed for entry in files.entries_of(Proposal)}
    spans = [(trial, max(at, began), False) for trial, at in proposed.items() if trial not in ended]
    decided = {entry.event.trial for entry in files.entries_of(Confirmed)}
    decided |= {entry.event.trial for entry in files.entries_of(FailedConfirmation)}
    passed = [
        run
        for run in files.results
        if run.purpose is Purpose.SEARCH
        and run.trial not in decided
        and run.trial in ended
        and run.status is Status.COMPLETE
        and statistics.reaches(run.validation_accuracy_pct or 0.0, files.config.threshold_pct)
    ]
    workers = max((entry.event.workers or 0 for entry in sessions), default=0)
    waiting = sorted(passed, key=lambda run: run.parameters)[: max(0, workers - len(spans))]
    spans += [(run.trial, ended[run.trial], True) for run in waiting]
    found = []
    for trial, begin, fresh in spans:
        if trial not in numbers:
            continue
        network = of[numbers[trial]]
        look = None if fresh or trial is None else looks.get(trial)
        found.append(
            Running(
                network=network,
                fresh=fresh,
                seconds=max(0.0, files.elapsed - begin),
                epochs=files.config.recipe_of(network.epochs)[0].epochs,
                epoch=look.epoch if look else None,
                errors=look.validation_errors if look else None,
            )
        )
    return found
