"""Statistics of a finished or running search: proposals, budget, runs, time and seeds."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any, NamedTuple

from harness.pages.study_facts import PageNetwork, StudyFacts
from harness.searching.baselines import best_linear, linear_document
from harness.spaces.counting import clopper_pearson
from harness.studies import candidate
from harness.studies.candidate import NetworkState
from harness.studies.events import NO_TIME, Proposal, RunEnded, RungReached
from harness.system import statistics
from harness.training.result import Purpose, Result, Status

_MAX_REASONS = 12  # reasons of rejections in a chart
_MAX_CURVES = 300  # runs in a chart
# By the words with which the log counts rejected proposals. A word without an entry, such as a further metric, is shown
# as in the log.
_REJECTION_TEXTS = {
    "parameters": "too many parameters",
    "macs": "too many multiply-adds",
    "receptive_field": "receptive field outside the condition of the space",
    "front": "no improvement of the front",
    "shape": "ops that do not fit together",
    NO_TIME: "too little time for the training",
}

_LabelledValues = list[tuple[str, float]]


def accounting(info: StudyFacts) -> dict[str, Any]:
    """Return counts of the proposals of a study; a network proposed with two numbers of epochs counts twice.

    ``proposed`` is the sum of ``rejected`` (before any training), ``repeated`` and ``to_train``. ``trained`` first runs
    have ended with a validation accuracy. ``rejections`` are the reasons with counts, most frequent first, and
    ``steps`` the proposals left after each step.
    """
    ends = (Status.COMPLETE, Status.SHORTENED)
    runs_without_pruning = [run for run in info.results if run.purpose is Purpose.SEARCH and run.status in ends]
    runs_at_threshold = [run for run in runs_without_pruning if _reached(run, info.config.threshold_pct)]
    proposal_count = info.study.proposal_count
    rejected_count = info.study.rejected.total()
    confirmations = [each for each in info.networks if each.state.is_verified or each.state is NetworkState.CONFIRMED]
    counts = {"proposed": proposal_count, "rejected": rejected_count, "repeated": info.study.repeat_count}
    counts |= {"to_train": len(info.study.proposals), "trained": info.study.trained_count}
    steps = [
        ("proposed", proposal_count),
        ("within the limits", proposal_count - rejected_count),
        ("trained", info.study.trained_count),
        ("not pruned", len(runs_without_pruning)),
        ("reached the threshold", len(runs_at_threshold)),
        ("confirmed", len(confirmations)),
        ("verified", sum(network.row is not None and network.row.reached for network in confirmations)),
    ]
    return counts | {"rejections": _rejections(info), "steps": steps}


def _rejections(info: StudyFacts) -> _LabelledValues:
    reasons = Counter[str]()
    for word, number in info.study.rejected.items():
        reasons[_REJECTION_TEXTS.get(word, word)] += number
    rejections: _LabelledValues = sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))
    if len(rejections) > _MAX_REASONS:
        tail = rejections[_MAX_REASONS - 1 :]
        rejections[_MAX_REASONS - 1 :] = [(f"{len(tail)} further reasons", sum(number for _, number in tail))]
    return rejections


def budget_steps(info: StudyFacts) -> list[tuple[float, int]]:
    """Return (seconds, effective budget) at each change of the budget and at the last event."""
    steps = [(0.0, info.config.limits[0]), *((item.elapsed, item.max_cost) for item in info.study.decisions)]
    return [*steps, (info.elapsed, steps[-1][1])]


def first_ends(info: StudyFacts) -> dict[int, float]:
    """Return the seconds at the end of the first run of each network, by index in ``info.networks``."""
    indices = _index_by_trial(info)
    ends: dict[int, float] = {}
    for entry in info.study.of_kind(RunEnded):
        index = indices.get(entry.event.run.trial)
        if index is not None and entry.event.run.purpose is Purpose.SEARCH:
            ends.setdefault(index, entry.elapsed)
    return ends


def _index_by_trial(info: StudyFacts) -> dict[int | None, int]:
    return {trial: index for index, network in enumerate(info.networks) for trial in network.trials}


def learning_curves(info: StudyFacts) -> list[tuple[int, Result, list[tuple[int, float]]]]:
    """Return the first runs of the best networks that were validated during training.

    Each item has the index in ``info.networks``, the run, and points (epoch, validation accuracy in per cent). The last
    point is the end of the run.
    """
    curves = []
    for index, network in enumerate(info.networks):
        run = network.first_run
        if run is None or not run.validation_size or not run.history:
            continue
        errors_by_epoch = {
            item.epoch: item.validation_errors for item in run.history if item.validation_errors is not None
        }
        if run.validation_errors is not None:
            errors_by_epoch[run.history[-1].epoch] = run.validation_errors
        points = [(epoch, 100 - 100 * wrong / run.validation_size) for epoch, wrong in sorted(errors_by_epoch.items())]
        if points:
            curves.append((index, run, points))
    return curves[:_MAX_CURVES]


class _SeedRow(NamedTuple):
    network: PageNetwork
    fresh_pct: tuple[float, ...]
    test_pct: tuple[float, ...]


def seed_spread(info: StudyFacts) -> tuple[list[_SeedRow], float | None]:
    """Return the networks that were trained with several seeds, lowest cost first, and the pooled standard deviation.

    The deviation is pooled over validation and test accuracies of all networks; None if no network has two seeds of the
    same kind.
    """
    # The first record of a network wins.
    test_pct = {item.record.hash: item.record.accuracies_pct for item in reversed(info.measured)}
    rows = [_SeedRow(network, network.fresh_pct, test_pct.get(network.hash, ())) for network in info.networks]
    rows = [row for row in rows if len(row.fresh_pct) + len(row.test_pct) > 1]
    rows.sort(key=lambda row: (row.network.cost, row.network.hash))
    deviation, freedom = statistics.pooled_deviation([group for row in rows for group in (row.fresh_pct, row.test_pct)])
    return rows, deviation if freedom else None


def time_spent(info: StudyFacts) -> _LabelledValues:
    """Return the seconds of all workers together, by activity."""
    label_of_status = {each: f"first runs, {each}" for each in (Status.COMPLETE, Status.PRUNED, Status.SHORTENED)}
    label_of_status[Status.COMPLETE] = "first runs, completed"
    other = "first runs, diverged or failed"
    seconds = dict.fromkeys((*label_of_status.values(), other), 0.0)
    for run in info.results:
        label = "confirmation on fresh seeds"
        if run.purpose is Purpose.SEARCH:
            label = label_of_status.get(run.status, other)
        seconds[label] = seconds.get(label, 0.0) + run.train_seconds
    summaries = ((item.record, item.record.search_summary) for item in info.measured)
    records = [record for record, summary in summaries if summary is not None and summary.study == info.name]
    seconds["verification on the test set"] = sum(run.train_seconds for record in records for run in record.seeds)
    worker_seconds = _worker_seconds(info)
    if worker_seconds is not None:
        seconds["evaluation, process starts, waiting and overhead"] = max(0.0, worker_seconds - sum(seconds.values()))
    return [(name, value) for name, value in seconds.items() if value > 0]


def _worker_seconds(info: StudyFacts) -> float | None:
    """None if a session does not record the number of workers."""
    seconds = 0.0
    # Each session lasts until the next session begins.
    ends = [*(entry.elapsed for entry in info.sessions[1:]), info.elapsed]
    for entry, end in zip(info.sessions, ends, strict=False):
        if entry.event.workers is None:
            return None
        seconds += entry.event.workers * max(0.0, end - entry.elapsed)
    return seconds


def saved_by_pruning(info: StudyFacts) -> tuple[int, float]:
    """Return the number of pruned runs and the saved training seconds, at each run's mean seconds per epoch."""
    pruned_runs = [run for run in info.results if run.status is Status.PRUNED and run.history]
    savings = [run.train_seconds / run.trained_epochs * (run.recipe.epochs - run.trained_epochs) for run in pruned_runs]
    return len(pruned_runs), sum(savings)


def progress(info: StudyFacts) -> dict[str, Any]:
    """Return the state of a search.

    ``smallest`` is the lowest cost of a confirmed network. ``nearest`` is the unconfirmed trained network of lower cost
    with the fewest errors, ``allowed`` the number of errors with which it meets the threshold (else 0), ``running`` the
    first runs in progress, ``linear`` the best linear baseline. Missing networks are None.
    """
    networks = info.networks
    smallest = min((item.cost for item in networks if item.state.is_confirmed), default=None)
    states = (NetworkState.TRAINED, NetworkState.REFUTED)
    unconfirmed = [item for item in networks if item.state in states and item.errors is not None]
    cheaper = [item for item in unconfirmed if smallest is None or item.cost < smallest]
    nearest = max(cheaper, key=lambda item: (item.accuracy_pct or 0.0, -item.cost), default=None)
    limit = candidate.allowed_errors(info.config.threshold_pct, nearest.validation_size or 0) if nearest else 0
    runs = _running(info) if info.is_searching else []
    linear = linear_document(best_linear(info.study.candidates.values()))
    return {"smallest": smallest, "nearest": nearest, "allowed": limit, "running": runs, "linear": linear}


def _running(info: StudyFacts) -> list[dict[str, Any]]:
    """Return the first runs in progress, with seconds since the start.

    A first run starts when the network is proposed, as the log has no event for the start.
    """
    study = info.study
    indices = _index_by_trial(info)
    session_start = info.sessions[-1].elapsed if info.sessions else 0.0
    ended_trials = {entry.event.run.trial for entry in study.of_kind(RunEnded)}
    last_rungs = {entry.event.trial: entry.event for entry in study.of_kind(RungReached)}
    runs = []
    for entry in study.of_kind(Proposal):
        trial = entry.event.trial
        if trial in ended_trials or trial not in indices:
            continue
        # A resumed run continues when the last session began.
        seconds = max(0.0, info.elapsed - max(entry.elapsed, session_start))
        epochs = info.config.recipe_of(entry.event.epochs)[0].epochs
        run = {"network": info.networks[indices[trial]], "seconds": seconds, "epochs": epochs}
        runs.append(run | {"rung": last_rungs.get(trial)})
    return runs


def _reached(run: Result | None, threshold_pct: float) -> bool | None:
    """False if diverged, None if missing, failed or ended at a rung."""
    if run is None or run.status not in (Status.COMPLETE, Status.DIVERGED):
        return None
    errors = run.validation
    if run.status is Status.DIVERGED or errors is None:
        return False
    return candidate.reaches_threshold(errors.wrong, errors.images, threshold_pct)


def pruning(info: StudyFacts) -> list[dict[str, Any]]:
    """Return an estimate of the share of pruned runs that would have reached the threshold, per number of epochs.

    Only exempt networks, a random 10 % (``harness/searching/scheduler.py``), show the end of runs that pruning would
    have stopped. Each item has ``epochs``, ``pruned``, ``spared`` (exempt networks that failed a rung), ``reached``
    (spared networks that reached the threshold) and ``interval``, the 95 % Clopper-Pearson interval of reached /
    spared.
    """
    first_runs = {run.trial: run for run in info.results if run.purpose is Purpose.SEARCH}
    pruned_trials = defaultdict[int, set[int]](set)  # by number of epochs
    reached_by_spared_trial = defaultdict[int, dict[int, bool]](dict)  # by number of epochs
    for entry in info.study.of_kind(RungReached):
        event = entry.event
        if event.purpose != Purpose.SEARCH:
            continue
        network = info.study.candidates.get(event.trial)
        run = first_runs.get(event.trial)
        epochs = info.config.recipe.epochs
        if run is not None:
            epochs = run.recipe.epochs
        elif network is not None and network.proposal.epochs:
            epochs = network.proposal.epochs
        if event.pruned:
            pruned_trials[epochs].add(event.trial)
        # The final accuracy is unknown.
        elif event.exempt and (is_at_threshold := _reached(run, info.config.threshold_pct)) is not None:
            reached_by_spared_trial[epochs][event.trial] = is_at_threshold
    items = []
    for epochs in sorted(pruned_trials.keys() | reached_by_spared_trial.keys()):
        spared_count = len(reached_by_spared_trial[epochs])
        reached_count = sum(reached_by_spared_trial[epochs].values())
        interval = clopper_pearson(reached_count, spared_count, 0.95) if spared_count else None
        counts = {"pruned": len(pruned_trials[epochs]), "spared": spared_count, "reached": reached_count}
        items.append({"epochs": epochs, "interval": interval, **counts})
    return items
