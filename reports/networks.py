"""The networks of a study: what each one is, how far it got, and which figures speak for it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from harness.data.datasets import dataset
from harness.evidence.events import Confirmed, FailedConfirmation, Proposal, RungReached, WinnerChosen
from harness.evidence.leaderboard import LeaderboardRow, pareto_front, validation_runs
from harness.evidence.study import Study
from harness.search.race import why_refuted
from harness.system import statistics
from harness.training.result import Purpose, Result, Status
from reports.numbers import count, plural
from search_spaces.catalog import network_name
from search_spaces.network import Architecture, analyse
from search_spaces.space import Metric, measured

# The best ones: to name and to draw a network takes time, and a search rewrites its report again and again.
MOST_NAMED = 100
# Of the hash, beside a name.
DIGITS = 6


class State(StrEnum):
    """How far a network got in the search, best first."""

    WINNER = "winner"
    CONFIRMED = "confirmed"
    REFUTED = "failed confirmation"
    TRAINED = "trained"
    PRUNED = "pruned"
    FAILED = "failed"
    UNFINISHED = "unfinished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One network of a study; its figures are None where there are none.

    Attributes:
        cost: what its study minimises.
        label: a name from form and size, such as ``posed-1462``, and first digits of the hash, or these alone.
        validation_accuracies_pct: at the last epoch, one a seed; fresh seeds only, where there are any (``fresh``).
            That of a pruned network comes from the epoch at which it was stopped. ``accuracy_pct`` is their mean.
        errors: wrong validation images of ``validation_size``, the mean of its seeds.
        fresh_pct: validation accuracies of all its fresh seeds.
        first: the run that the search began with. ``first_pct`` is the accuracy that the search chose it by, which luck
            has raised; None before a whole training.
        row: what its test accuracy has earned.
        remark: which of its runs ended early, for a pruned one with the best accuracy that was predicted, and why its
            confirmation failed; empty where neither is so.
        epochs: of the training that the figures speak of, None where the journal does not say.
        runs: all that have finished, those of this training first; ``trials`` are those of all.
    """

    hash: str
    architecture: Architecture
    parameters: int
    cost: int
    label: str
    trial: int
    trials: frozenset[int | None]
    origin: str
    state: State
    validation_accuracies_pct: tuple[float, ...] = ()
    accuracy_pct: float | None = None
    errors: float | None = None
    validation_size: int | None = None
    fresh: bool = False
    fresh_pct: tuple[float, ...] = ()
    first: Result | None = None
    first_pct: float | None = None
    row: LeaderboardRow | None = None
    remark: str = ""
    epochs: int | None = None
    runs: tuple[Result, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether the figures are those of a whole training."""
        return self.state in (State.WINNER, State.CONFIRMED, State.REFUTED, State.TRAINED)


def networks(study: Study, rows: Mapping[str, LeaderboardRow]) -> tuple[Network, ...]:
    """Return all networks that a study has decided to train, best first.

    Reached targets come first, then what meets the threshold (a lower cost is better), then the other trained networks
    and the pruned ones (more accurate is better), then those without any figure.

    Args:
        study: what has happened.
        rows: what test accuracies have earned, by the hash of a network.
    """
    runs, proposals = defaultdict[str, list[Result]](list), defaultdict[str, list[Proposal]](list)
    for result in study.results:
        runs[result.hash].append(result)
    for proposal in study.proposals.values():
        proposals[proposal.hash].append(proposal)
    rungs = [entry.event for entry in study.of_kind(RungReached)]
    hoped = {event.trial: event.predicted_pct for event in rungs if event.pruned}
    decided = _decided(study)
    made = [_network(study, each, runs[key], decided.get(key), rows.get(key), hoped) for key, each in proposals.items()]
    made.sort(key=lambda network: _order(network, study.config.threshold_pct))
    for place, item in enumerate(made[:MOST_NAMED]):
        made[place] = replace(item, label=f"{network_name(item.architecture, item.parameters)} {item.label}".strip())
    return tuple(made)


def front_of(of: Iterable[Network]) -> list[Network]:
    """Return the trained networks that beat every one of equal or lower cost on validation, the lowest cost first."""
    trained = [network for network in of if network.complete and network.accuracy_pct is not None]
    return pareto_front(trained, lambda network: (network.cost, -(network.accuracy_pct or 0.0), network.hash))


# What the search has decided about a network, in which of its trials, and why.
_Decision = tuple[State, int, str]


def _decided(study: Study) -> dict[str, _Decision]:
    """Return what the search has decided about networks; the last word counts, and there is one winner."""
    states: dict[str, _Decision] = {}
    for event in (entry.event for entry in study.entries):
        match event:
            case Confirmed(hash=key, trial=trial):
                states[key] = (State.CONFIRMED, trial, "")
            case FailedConfirmation(hash=key, trial=trial, validation_seeds=seeds):
                why = why_refuted(seeds or 0, stood=key in states and states[key][0] is State.CONFIRMED)
                states[key] = (State.REFUTED, trial, f"({plural(seeds or 0, 'fresh seed')}; {why})")
            case WinnerChosen(hash=key, trial=trial):
                for other, (state, before, _) in list(states.items()):
                    if state is State.WINNER:
                        states[other] = (State.CONFIRMED, before, "")
                states[key] = (State.WINNER, trial, "")
    return states


def _network(
    study: Study,
    proposals: Sequence[Proposal],
    results: Sequence[Result],
    decided: _Decision | None,
    row: LeaderboardRow | None,
    hoped: Mapping[int, float | None],
) -> Network:
    by_length: dict[int, list[Result]] = defaultdict(list)
    for result in results:
        by_length[result.recipe.epochs].append(result)

    def weight(epochs: int) -> tuple[bool, bool, int]:
        """What was decided about speaks for a network, else the longest of its whole trainings."""
        runs = by_length[epochs]
        return decided is not None and decided[1] in {run.trial for run in runs}, bool(validation_runs(runs)), epochs

    epochs = max(by_length, key=weight, default=None)
    ours = by_length[epochs] if epochs is not None else []
    others = [result for result in results if result.recipe.epochs != epochs]
    proposal = next((each for each in proposals if ours and each.trial == ours[0].trial), proposals[-1])
    state, remark, speaking = _progress(ours, hoped)
    accuracies = _accuracies(speaking)
    mean = statistics.mean(accuracies) if accuracies else None
    size = next((run.validation_size for run in ours if run.validation_size), None)
    first = next((run for run in ours if run.purpose is Purpose.SEARCH), None)
    stopped = [f"(pruned {_where_pruned(run, hoped)})" for run in others if run.status is Status.PRUNED]
    cost, config = proposal.parameters, study.config
    if config.minimise is not Metric.PARAMETERS:
        cost = measured(analyse(proposal.architecture, dataset(config.dataset).task), config.minimise)
    made = Network(
        hash=proposal.hash,
        architecture=proposal.architecture,
        parameters=proposal.parameters,
        cost=cost,
        label=proposal.hash[:DIGITS],
        trial=proposal.trial,
        trials=frozenset({proposal.trial, *(run.trial for run in results)}),
        origin=proposal.origin,
        state=decided[0] if decided else state,
        validation_accuracies_pct=accuracies,
        accuracy_pct=mean,
        errors=None if mean is None or size is None else (100 - mean) / 100 * size,
        validation_size=size,
        fresh=any(result.purpose is Purpose.CONFIRM for result in speaking),
        fresh_pct=_accuracies([run for run in ours if run.purpose is Purpose.CONFIRM]),
        first=first,
        row=row,
        remark=" ".join(filter(None, [decided[2] if decided else "", remark, *stopped])),
        epochs=epochs if ours else proposal.epochs,
        runs=(*ours, *others),
    )
    return replace(made, first_pct=first.validation_accuracy_pct) if first and made.complete else made


def _accuracies(runs: Iterable[Result]) -> tuple[float, ...]:
    return tuple(pct for run in runs if (pct := run.validation_accuracy_pct) is not None)


def _progress(results: list[Result], hoped: Mapping[int, float | None]) -> tuple[State, str, list[Result]]:
    """Return the state that the runs alone give, what ended them early, and the runs whose figures count.

    Args:
        results: of one length.
        hoped: the highest validation accuracy that was predicted for a pruned run, by trial.
    """
    speaking = validation_runs(results)
    if speaking:
        early = sum(result.status is not Status.COMPLETE for result in results)
        return State.TRAINED, f"({early} of {plural(len(results), 'run')} ended early)" if early else "", speaking
    pruned = [result for result in results if result.status is Status.PRUNED]
    if pruned:
        return State.PRUNED, _where_pruned(pruned[0], hoped), pruned
    if results:
        return State.FAILED, results[0].status.replace("_", " "), []
    return State.UNFINISHED, "", []


def _where_pruned(run: Result, hoped: Mapping[int, float | None]) -> str:
    """Return when a run was stopped, with which errors, and with how many one in ten would end."""
    where = f"in trial {run.trial} at epoch {len(run.history)} of {run.recipe.epochs}"
    best = hoped.get(-1 if run.trial is None else run.trial)
    if best is None or run.validation_errors is None or run.validation_size is None:
        return where
    # Rounded up: what was stopped for 70.3 errors is not to look as if it had been allowed.
    end = count(math.ceil((100 - best) / 100 * run.validation_size - 1e-9))
    return f"{where}: {plural(run.validation_errors, 'error')} then; one training in ten ends below {end}"


def _order(network: Network, threshold_pct: float) -> tuple[int, float, float, str]:
    accuracy = network.accuracy_pct
    if network.row is not None and network.row.reached:
        return (0, network.cost, 0.0, network.hash)
    if accuracy is None:
        return (4, network.cost, 0.0, network.hash)
    if not network.complete:
        return (3, -accuracy, network.cost, network.hash)
    if accuracy >= threshold_pct:
        return (1, network.cost, -accuracy, network.hash)
    return (2, -accuracy, network.cost, network.hash)
