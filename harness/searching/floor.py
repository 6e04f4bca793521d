"""The floor of a search: networks that cost nothing to train, before anything is searched.

A search without them can name a convolutional network where a linear layer is smaller and better.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from harness.searching.time_budget import TimeLeft
from harness.studies.candidate import FLOOR, Candidate, is_linear
from harness.training.result import Result, Status
from search_spaces.errors import SearchSpaceError
from search_spaces.network import Architecture, Task, analyse
from search_spaces.notation import parse_network

# A linear layer on the map as it stands and on pooled ones; then what a few kernels add to it, for pictures and series.
_TEXTS = (
    "linear({classes})",
    "avgpool | linear({classes})",
    "avgpool(4) | linear({classes})",
    "conv3x3(4) bn relu | avgpool | linear({classes})",
    "conv1x3(4, stride=2) bn relu conv1x3(4, stride=2) bn relu | linear({classes})",
    "conv1x3(8, stride=2) bn relu conv1x3(8, stride=2) bn relu | gap | linear({classes})",
)
# One of them takes no more than this share of the time of a search, or of an hour where that is less.
_SHARE_OF_TIME = 0.003
_MOST_SECONDS = 3600.0


def floor_networks(task: Task) -> list[Architecture]:
    """Return the networks of the floor that images of this shape allow, linear ones first."""
    is_series = task.input_shape[1] == 1
    networks = []
    for text in _TEXTS:
        if ("conv1x3" in text and not is_series) or ("conv3x3" in text and is_series):
            continue
        try:
            network = parse_network(text.format(classes=task.classes), task)
            analyse(network, task)
        except SearchSpaceError:
            continue
        networks.append(network)
    return networks


def floor_epochs(network_work: float, lengths: Iterable[int], time_left: TimeLeft) -> int:
    """Return how many epochs a network of the floor trains: the most that cost next to nothing, else the fewest."""
    seconds = time_left.passed + time_left.left
    free_seconds = _SHARE_OF_TIME * min(seconds, _MOST_SECONDS)
    free = [epochs for epochs in lengths if time_left.takes(epochs, network_work) <= free_seconds]
    return max(free, default=min(lengths))


def trials_beside_floor(candidates: Iterable[Candidate]) -> int:
    """Return how many trials count against a limit of them: what costs nothing does not."""
    return len([candidate for candidate in candidates if candidate.proposal.origin != FLOOR])


def best_linear(candidates: Iterable[Candidate]) -> Result | None:
    """Return the training of the linear model that makes the fewest errors on validation images; None without one."""
    runs = [
        candidate.first
        for candidate in candidates
        if is_linear(candidate.proposal.origin, candidate.proposal.architecture)
    ]
    complete = [run for run in runs if run is not None and run.status is Status.COMPLETE]
    return min(complete, key=lambda run: run.validation_errors or 0, default=None)


def linear_document(run: Result | None) -> dict[str, Any] | None:
    """Return the best linear model of a floor by its one training as plain JSON values; None without one."""
    if run is None:
        return None
    accuracy = run.validation_accuracy_pct
    return {"hash": run.hash, "parameters": run.parameters, "validation_accuracy_pct": accuracy}
