"""What recording a table would take: facts, and the text that says them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from harness.bench.tables.recording import Key, Recording, keys_of
from harness.bench.tables.sample import SampledNetworks
from harness.bench.tables.table import engine_kind
from harness.data.datasets import dataset
from harness.search.clock import PACES, Timing, add_timing, slowdown, taught, training_seconds
from harness.search.features import work
from harness.system.terminal import duration_text
from harness.training.result import Result
from search_spaces.network import Architecture


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingPlan:
    """What a recording is and what is left of it.

    Attributes:
        considered: distinct networks that were chosen from; all of the space where ``enumerated``.
        seconds_an_epoch: estimated training time of each network on one core, by its text.
        seconds_left: estimated, with the recording's workers side by side.
        measured: the estimate is corrected by runs that have ended here.
    """

    recording: Recording
    enumerated: bool
    considered: int
    parameters: tuple[int, float, int]
    mean_macs: float
    runs: int
    ended: int
    seconds_an_epoch: Mapping[Architecture, float]
    seconds_left: float
    measured: bool


def planned(recording: Recording, chosen: SampledNetworks, ended: Mapping[Key, Result]) -> RecordingPlan:
    """Return the facts of a recording of which these runs have ended."""
    data = dataset(recording.dataset)
    pace = taught(PACES[engine_kind(recording.machine)], recording.recipe, data.task)
    timing = Timing(data.train_size, pace)
    for run in ended.values():
        add_timing(timing, run, work(run.architecture, data.task))
    slow = slowdown(timing)
    each = {
        network.architecture: training_seconds(1, data.train_size, work(network.architecture, data.task), pace)
        * (slow or 1.0)
        for network in chosen.networks
    }
    keys = keys_of(recording, ended)
    left = [network for network, key in keys if key not in ended]
    epochs, workers = recording.recipe.epochs, recording.machine.workers
    sizes = sorted(network.parameters for network in chosen.networks)
    return RecordingPlan(
        recording=recording,
        enumerated=chosen.enumerated,
        considered=chosen.considered,
        parameters=(sizes[0], statistics.median(sizes), sizes[-1]),
        mean_macs=statistics.fmean(network.macs for network in chosen.networks),
        runs=len(keys),
        ended=len(keys) - len(left),
        seconds_an_epoch=each,
        seconds_left=sum(each[network] for network in left) * epochs / workers,
        measured=slow is not None,
    )


def plan_document(plan: RecordingPlan) -> dict[str, Any]:
    """Return the plan as plain JSON values; what a table holds in full is named by its hash."""
    recording = plan.recording
    low, median, high = plan.parameters
    return {
        "name": recording.name,
        "space": recording.space_name,
        "networks": len(recording.networks),
        "considered": plan.considered,
        "enumerated": plan.enumerated,
        "parameters": {"low": low, "median": median, "high": high},
        "mean_macs": plan.mean_macs,
        "seeds": recording.seeds,
        "near": None if recording.near is None else asdict(recording.near),
        "rungs": list(recording.rungs),
        "recipe": recording.recipe_name,
        "recipe_hash": recording.recipe.hash,
        "dataset": recording.dataset,
        "runs": plan.runs,
        "ended": plan.ended,
        "workers": recording.machine.workers,
        "engine": recording.machine.environment.engine,
        "estimated_seconds_left": plan.seconds_left,
        "estimate_is_measured": plan.measured,
    }


def plan_text(plan: RecordingPlan) -> str:
    """Return the plan for people."""
    recording = plan.recording
    low, middle, high = plan.parameters
    count = len(recording.networks)
    if plan.enumerated and count == plan.considered:
        chosen = f"all {count:,} networks of the space"
    else:
        source = "distinct networks" if plan.enumerated else "distinct draws"
        chosen = f"{count:,} of {plan.considered:,} {source} from the space"
    limit = recording.sample.budget
    guess = "measured here" if plan.measured else "a guess until runs have ended here"
    return "\n".join(
        (
            f"table {recording.name}: {chosen} {recording.space_name!r}"
            + ("" if limit is None else f" of at most {limit:,} parameters"),
            f"  {low:,} to {high:,} parameters, median {middle:,.0f}; {plan.mean_macs:,.0f} multiply-adds in the mean",
            f"  {recording.seeds} seeds each{_near_text(recording)}, {recording.dataset}, "
            f"recipe {recording.recipe_name} "
            f"({recording.recipe.epochs} epochs, batch {recording.recipe.batch_size}), validation accuracy after "
            f"epochs {', '.join(map(str, recording.rungs))}; the test set is not read",
            f"  {plan.runs:,} runs, {plan.ended:,} of them ended; {recording.machine.workers} at a time on "
            f"{recording.machine.processor} ({recording.machine.environment.engine})",
            f"  about {duration_text(plan.seconds_left)} left, {guess}",
        )
    )


def _near_text(recording: Recording) -> str:
    near = recording.near
    if near is None:
        return ""
    return f", then {near.seeds} of those within {near.within_pct:g} points of {near.target_pct:g} %"
