"""How a search went: its proposals, its budget, its runs, its time and its seeds, each as plain facts."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest

from harness.evidence.events import (
    Confirmed,
    FailedConfirmation,
    Proposal,
    RunEnded,
    RungReached,
    SessionBegan,
)
from harness.search.pruning import rungs_of
from harness.search.trials import allowed_errors
from harness.system import statistics
from harness.training.result import Purpose, Result, Status
from reports.networks import Network, State
from reports.study_facts import StudyFacts
from search_spaces.count import clopper_pearson

_MOST_REASONS, _MOST_CURVES = 12, 300
# The words of the log, for people; others are shown as they are.
_REASONS = {
    "parameters": "too many parameters",
    "macs": "too many multiply-adds",
    "receptive_field": "receptive field outside the condition of the space",
    "shape": "ops that do not fit together",
}
# Of the interval of wrong pruning.
_CONFIDENCE = 0.95

# Fewer networks than this let any choice explain everything.
FEWEST_NETWORKS = 50
SIZE = "parameters"

Shares = list[tuple[str, float]]


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

    rejections: Shares
    rejected: int
    to_train: int
    trained: int
    repeated: int
    outcomes: Shares
    steps: Shares

    @property
    def proposed(self) -> int:
        """All proposals."""
        return self.rejected + self.to_train + self.repeated


def accounting(info: StudyFacts) -> Accounting:
    """Return where the proposals of a study went."""
    files = info.files
    reasons = Counter[str]()
    for word, number in files.study.rejected.items():
        reasons[_REASONS.get(word, word)] += number
    rejected: Shares = sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))
    if len(rejected) > _MOST_REASONS:
        rest = rejected[_MOST_REASONS - 1 :]
        rejected[_MOST_REASONS - 1 :] = [(f"{len(rest)} other reasons", sum(number for _, number in rest))]
    outcomes = Counter(result.status for result in files.results)
    first = [result for result in files.results if result.purpose is Purpose.SEARCH]
    trained = [result for result in first if result.validation_errors is not None]
    whole = [result.validation_accuracy_pct or 0.0 for result in trained if result.status is Status.COMPLETE]
    to_train, repeated = len(files.study.proposals), files.study.repeated
    confirmed = [network for network in info.networks if network.state in (State.WINNER, State.CONFIRMED)]
    return Accounting(
        rejections=rejected,
        rejected=reasons.total(),
        to_train=to_train,
        trained=len(trained),
        repeated=repeated,
        outcomes=[(status.replace("_", " "), outcomes[status]) for status in Status if outcomes[status]],
        steps=[
            ("proposed", reasons.total() + to_train + repeated),
            ("within the limits", to_train + repeated),
            ("trained", len(trained)),
            ("not pruned", len(whole)),
            ("reached the threshold", sum(statistics.reaches(each, files.config.threshold_pct) for each in whole)),
            ("confirmed", len(confirmed)),
            ("verified", sum(network.row is not None and network.row.reached for network in confirmed)),
        ],
    )


@dataclass(frozen=True, slots=True)
class Decided:
    """A network that was put to the test of fresh validation seeds.

    Attributes:
        elapsed: seconds of the study, all sessions together.
        cost: what it has of what is minimised.
        confirmed: False where it failed.
        budget: the effective budget from then on.
    """

    elapsed: float
    cost: int
    confirmed: bool
    budget: int


def decided(info: StudyFacts) -> list[Decided]:
    """Return the decisions about networks of a study, and how its effective budget fell with them."""
    config, costs = info.config, {network.hash: network.cost for network in info.networks}
    budget, smallest, found = config.ceiling, "", []
    tested = [
        (entry.elapsed, entry.event)
        for entry in info.files.study.entries
        if isinstance(entry.event, Confirmed | FailedConfirmation)
    ]
    for (elapsed, event), following in zip_longest(tested, tested[1:]):
        if isinstance(event, Confirmed):
            smallest, budget = event.hash, event.budget or budget
        elif event.hash == smallest and not (
            following and isinstance(following[1], Confirmed) and following[0] - elapsed < 1.0
        ):
            # The only confirmed network has fallen and no other took its place, so the whole budget is open again.
            budget, smallest = config.ceiling, ""
        cost = costs.get(event.hash, event.parameters)
        found.append(Decided(elapsed, cost, isinstance(event, Confirmed), budget))
    return found


def budget_steps(info: StudyFacts) -> list[tuple[float, int]]:
    """Return the effective budget from each second on at which it changed, from the beginning to the last event."""
    steps = [(0.0, info.config.ceiling), *((item.elapsed, item.budget) for item in decided(info))]
    return [*steps, (info.files.elapsed, steps[-1][1])]


def first_ends(info: StudyFacts) -> dict[int, float]:
    """Return after how many seconds the first run of a network ended, by its place in their order."""
    numbers = _numbers(info)
    found: dict[int, float] = {}
    for entry in info.files.entries_of(RunEnded):
        number = numbers.get(entry.event.run.trial)
        if number is not None and entry.event.run.purpose is Purpose.SEARCH:
            found.setdefault(number, entry.elapsed)
    return found


def _numbers(info: StudyFacts) -> dict[int | None, int]:
    """Return the place of a network in their order by its trials."""
    found = {run.trial: number for number, network in enumerate(info.networks) for run in network.other_runs}
    return found | {item.trial: number for number, item in enumerate(info.networks) if item.trial is not None}


def learning_curves(info: StudyFacts) -> list[tuple[int, Result, list[tuple[int, float]]]]:
    """Return the first runs of the best networks that were looked at during training.

    Each with the place of its network and its points (epoch, validation accuracy in per cent), the last at its end.
    """
    found = []
    for number, network in enumerate(info.networks):
        run = network.first
        if run is None or not run.validation_size or not run.history:
            continue
        read = {item.epoch: item.validation_errors for item in run.history if item.validation_errors is not None}
        if run.validation_errors is not None:
            read[run.history[-1].epoch] = run.validation_errors
        size = run.validation_size
        points = [(epoch, 100 - 100 * read[epoch] / size) for epoch in sorted(read) if epoch]
        found += [(number, run, points)] if points else []
    return found[:_MOST_CURVES]


@dataclass(frozen=True, slots=True)
class SeedRow:
    """The accuracies of a network's fresh seeds on validation and of its verification seeds on the test set."""

    network: Network
    fresh: tuple[float, ...]
    test: tuple[float, ...]


def seed_spread(info: StudyFacts) -> tuple[list[SeedRow], float | None]:
    """Return the networks that were trained on several seeds, the lowest cost first.

    With them the deviation within networks over all seeds together, None where no network has two of a kind.
    """
    test = {item.record.hash: item.record.accuracies_pct for item in reversed(info.files.measured)}
    rows = [SeedRow(network, network.fresh_pct, test.get(network.hash, ())) for network in info.networks]
    rows = [row for row in rows if len(row.fresh) + len(row.test) > 1]
    rows.sort(key=lambda row: (row.network.cost, row.network.hash))
    pooled, freedom = statistics.pooled_deviation([group for row in rows for group in (row.fresh, row.test)])
    return rows, pooled if freedom else None


def time_spent(info: StudyFacts) -> Shares:
    """Return where the time of all workers together went, in seconds."""
    files = info.files
    whole, pruned = "first runs to the end", "first runs that were pruned"
    seconds = dict.fromkeys((whole, pruned, "first runs that ended early otherwise"), 0.0)
    kinds = {Status.COMPLETE: whole, Status.PRUNED: pruned}
    for run in files.results:
        kind = kinds.get(run.status, "first runs that ended early otherwise")
        kind = kind if run.purpose is Purpose.SEARCH else "fresh seeds, to confirm"
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
    return [(name, value) for name, value in seconds.items() if value > 0]


def spared(info: StudyFacts) -> tuple[int, float]:
    """Return how many runs were pruned, and the seconds that they would have trained on for, at their own pace."""
    stopped = [run for run in info.files.results if run.status is Status.PRUNED and run.history]
    left = [run.train_seconds / len(run.history) * max(0, run.recipe.epochs - len(run.history)) for run in stopped]
    return len(stopped), sum(left)


@dataclass(frozen=True, slots=True)
class Running:
    """A run that goes on.

    Attributes:
        fresh: on a fresh seed.
        seconds: since it began.
        epochs: of its whole length; ``look`` is the last validation, None before the first.
    """

    network: Network
    fresh: bool
    seconds: float
    epochs: int
    look: RungReached | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a search stands.

    Attributes:
        smallest: the lowest cost of a confirmed network, None while there is none.
        nearest: the trained network with the fewest validation errors of those that are not confirmed and would be
            smaller; ``allowed`` is the most errors that meet the threshold.
        running: what its workers do now.
    """

    smallest: int | None
    nearest: Network | None
    allowed: int
    running: list[Running]


def progress(info: StudyFacts) -> Progress:
    """Return where a search stands."""
    found = info.networks
    smallest = min((item.cost for item in found if item.state in (State.CONFIRMED, State.WINNER)), default=None)
    missed = [
        item
        for item in found
        if item.state in (State.TRAINED, State.REFUTED)
        and item.errors is not None
        and (smallest is None or item.cost < smallest)
    ]
    nearest = max(missed, key=lambda item: (item.accuracy_pct or 0.0, -item.cost), default=None)
    return Progress(
        smallest=smallest,
        nearest=nearest,
        allowed=allowed_errors(info.config.threshold_pct, nearest.validation_size or 0) if nearest else 0,
        running=_running(info) if info.files.searching else [],
    )


def _running(info: StudyFacts) -> list[Running]:
    """Return the runs that have begun and not ended.

    The log enters no begin. A first run begins when its network is proposed; a worker without one trains a network that
    has met the threshold on a fresh seed, since that network's last run.
    """
    files, numbers = info.files, _numbers(info)
    sessions = files.entries_of(SessionBegan)
    began = sessions[-1].elapsed if sessions else 0.0
    ended: dict[int | None, float] = {entry.event.run.trial: entry.elapsed for entry in files.entries_of(RunEnded)}
    looks: Mapping[int | None, RungReached] = {each.event.trial: each.event for each in files.entries_of(RungReached)}
    proposed: Mapping[int | None, float] = {each.event.trial: each.elapsed for each in files.entries_of(Proposal)}
    spans = [(trial, max(at, began), False) for trial, at in proposed.items() if trial not in ended]
    tested = {
        each.event.trial for each in files.study.entries if isinstance(each.event, Confirmed | FailedConfirmation)
    }
    passed = [
        run
        for run in files.results
        if run.purpose is Purpose.SEARCH
        and run.trial not in tested
        and run.trial in ended
        and _reached(run, files.config.threshold_pct)
    ]
    workers = max((entry.event.workers or 0 for entry in sessions), default=0)
    waiting = sorted(passed, key=lambda run: run.parameters)[: max(0, workers - len(spans))]
    spans += [(run.trial, ended[run.trial], True) for run in waiting]
    return [
        Running(
            network=(network := info.networks[numbers[trial]]),
            fresh=fresh,
            seconds=max(0.0, files.elapsed - begin),
            epochs=files.config.recipe_of(network.epochs)[0].epochs,
            look=None if fresh else looks.get(trial),
        )
        for trial, begin, fresh in spans
        if trial in numbers
    ]


def _reached(run: Result | None, threshold_pct: float) -> bool | None:
    """Return whether a run met the threshold at its end; a diverged one did not, others that broke say nothing."""
    if run is None or run.status not in (Status.COMPLETE, Status.DIVERGED):
        return None
    accuracy = run.validation_accuracy_pct
    return run.status is Status.COMPLETE and accuracy is not None and statistics.reaches(accuracy, threshold_pct)


@dataclass(frozen=True, slots=True)
class Pruning:
    """How often pruning ended what would have reached, of the runs of one length.

    One network in ten is exempt from pruning by lot (``harness/search/race.py``). Only these show the fate of what
    pruning ends; all others that went to the end were let through by their validations.

    Attributes:
        pruned: networks that were stopped.
        spared: exempt networks that would have been stopped and have been trained on.
        reached: of these, how many met the threshold at the end, with their first seed.
        interval: of the share of those, 95 % (Clopper and Pearson); None where none was spared.
    """

    epochs: int
    pruned: int
    spared: int
    reached: int
    interval: tuple[float, float] | None


def pruning(info: StudyFacts) -> list[Pruning]:
    """Return what a study says about pruning, for each length of its runs at which one was pruned or spared."""
    files = info.files
    firsts = {run.trial: run for run in files.results if run.purpose is Purpose.SEARCH}
    lengths = {entry.event.trial: entry.event.epochs for entry in files.entries_of(Proposal)}
    stopped: dict[int, set[int]] = defaultdict(set)
    fates: dict[int, dict[int, bool]] = defaultdict(dict)
    for event in (entry.event for entry in files.entries_of(RungReached)):
        run = firsts.get(event.trial)
        epochs = run.recipe.epochs if run else lengths.get(event.trial) or files.config.recipe.epochs
        if event.purpose != Purpose.SEARCH:
            continue
        if event.pruned:
            stopped[epochs].add(event.trial)
        # A run that has not ended, or was broken off by the machine, says nothing yet.
        elif event.exempt and (reached := _reached(run, files.config.threshold_pct)) is not None:
            fates[epochs][event.trial] = reached
    found = []
    for epochs in sorted(stopped.keys() | fates.keys()):
        ends = fates[epochs].values()
        interval = clopper_pearson(sum(ends), len(ends), _CONFIDENCE) if ends else None
        found.append(Pruning(epochs, len(stopped[epochs]), len(ends), sum(ends), interval))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """How much each choice of the search space mattered for accuracy, by Optuna's importances, most first.

    This is association: the sampler repeats what it likes, and choices hang together. So the importance of the size
    stands beside those of the choices.

    Attributes:
        networks: how many were compared: those of the commonest length of a training, ``epochs``.
        epoch: after which the accuracies compared were read, by all networks alike; None for the end of the run.
        importances: name and share; all shares together are 1. ``SIZE`` names the size of the network.
    """

    networks: int
    epochs: int
    epoch: int | None
    importances: list[tuple[str, float]]


def choices(info: StudyFacts) -> Choices | None:
    """Return how much each choice of a study mattered, None where too few networks can be compared."""
    firsts = [run for network in info.networks if (run := network.first) is not None]
    lengths = Counter(run.recipe.epochs for run in firsts)
    # Of equally common lengths the longer says more.
    epochs = max(lengths, key=lambda length: (lengths[length], length), default=info.config.recipe.epochs)
    epoch = next(iter(rungs_of(info.config, epochs)), None)
    read = [(run, _errors(run, epoch)) for run in firsts if run.recipe.epochs == epochs]
    compared = [(run, errors) for run, errors in read if errors is not None]
    if len(compared) < FEWEST_NETWORKS:
        return None
    made: dict[str, dict[int, float]] = {SIZE: {}}
    options: dict[str, int | None] = {SIZE: None}
    for place, (run, _) in enumerate(compared):
        made[SIZE][place] = math.log(max(run.parameters, 1))
        for decision in run.decisions:
            # A choice may be called as the size is.
            name = f"{decision.name} " if decision.name == SIZE else decision.name
            made.setdefault(name, {})[place] = decision.index
            options[name] = decision.size
    # In the logarithm of the errors 99 to 99.5 % is as far as 98 to 99 %.
    values = [math.log(max(errors, 1)) for _, errors in compared]
    # Optuna compares what all trials of a study have; a choice below another is made by some networks only.
    groups: dict[frozenset[int], list[str]] = {}
    for name, by_place in made.items():
        if len(by_place) >= FEWEST_NETWORKS // 2 and len(set(by_place.values())) > 1:
            groups.setdefault(frozenset(by_place), []).append(name)
    found: dict[str, float] = {}
    for places, names in groups.items():
        found |= _importances({name: made[name] for name in names}, options, {at: values[at] for at in places})
    shares = {name: value / sum(found.values()) for name, value in found.items() if value > 0}
    ordered = sorted(shares.items(), key=lambda pair: (-pair[1], pair[0]))
    return Choices(networks=len(compared), epochs=epochs, epoch=epoch, importances=ordered) if ordered else None


def _importances(
    made: Mapping[str, Mapping[int, float]], options: Mapping[str, int | None], values: Mapping[int, float]
) -> dict[str, float]:
    """Return how far the best networks' choices differ from all (PED-ANOVA), by name.

    Args:
        made: by name and network, the index of the option, or a number.
        options: how many there are, None for a number.
        values: by network, what is made small.
    """
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
    from optuna.importance import PedAnovaImportanceEvaluator

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions: dict[str, BaseDistribution] = {
        name: FloatDistribution(min(given.values()), max(given.values()))
        if (size := options[name]) is None
        else CategoricalDistribution(range(size))
        for name, given in made.items()
    }
    study = optuna.create_study(direction="minimize")
    for place, value in values.items():
        params = {name: given[place] for name, given in made.items()}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=value))
    found = PedAnovaImportanceEvaluator().evaluate(study, params=list(made))
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _errors(run: Result, epoch: int | None) -> int | None:
    if epoch is None:
        return run.validation_errors
    return next((item.validation_errors for item in run.history if item.epoch == epoch), None)
