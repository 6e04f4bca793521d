"""Baseline networks, trained at the start of each search at negligible cost.

Without these, a search could answer with a convolutional network although a linear model is smaller and better.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from harness.spaces.network import Architecture, Task, analyse
from harness.spaces.notation import parse_network
from harness.spaces.space_errors import SearchSpaceError
from harness.studies.candidate import BASELINE, Candidate, is_linear
from harness.training.result import Result, Status

if TYPE_CHECKING:
    from harness.searching.acquisition import NetworkOption
    from harness.searching.time_budget import TimeLeft

# Linear layers on the full and on pooled images, then a few kernels before a linear layer: ``conv3x3`` for images,
# ``conv1x3`` for series, which have a single row.
_TEXTS = (
    "linear({classes})",
    "avgpool | linear({classes})",
    "avgpool(4) | linear({classes})",
    "conv3x3(4) bn relu | avgpool | linear({classes})",
    "conv1x3(4, stride=2) bn relu conv1x3(4, stride=2) bn relu | linear({classes})",
    "conv1x3(8, stride=2) bn relu conv1x3(8, stride=2) bn relu | gap | linear({classes})",
)
_SHARE_OF_TIME = 0.003  # of the time limit of the search, for the training of one network
_MAX_SECONDS = 3600.0  # s; longer time limits, and no limit, count as this value


def baseline_networks(task: Task) -> list[Architecture]:
    """Return the baseline networks for the input shape of a task, linear models first."""
    is_series = task.input_shape[1] == 1
    networks = []
    for text in _TEXTS:
        if ("conv1x3" in text) != is_series and text != _TEXTS[0]:
            continue
        try:
            network = parse_network(text.format(classes=task.classes), task)
            analyse(network, task)
        except SearchSpaceError:
            continue
        networks.append(network)
    return networks


def baseline_epochs(option: NetworkOption, lengths: Iterable[int], time_left: TimeLeft) -> int:
    """Return the epochs of a baseline network: of ``lengths``, the most at negligible cost, else the fewest."""
    time_limit = time_left.elapsed + time_left.seconds_left
    free_seconds = _SHARE_OF_TIME * min(time_limit, _MAX_SECONDS)
    free = [epochs for epochs in lengths if option.seconds(epochs, time_left) <= free_seconds]
    return max(free, default=min(lengths))


def trials_beside_baselines(candidates: Iterable[Candidate]) -> int:
    """Return the number of trials that count towards ``Effort.trials``."""
    return len([candidate for candidate in candidates if candidate.proposal.origin != BASELINE])


def best_linear(candidates: Iterable[Candidate]) -> Result | None:
    """Return the complete run of a linear baseline with the fewest validation errors; else None."""
    linear = [each for each in candidates if is_linear(each.proposal.origin, each.proposal.architecture)]
    runs = [each.first_run for each in linear if each.first_run is not None]
    complete = [run for run in runs if run.status is Status.COMPLETE and run.validation is not None]
    return max(complete, key=lambda run: run.required_validation.accuracy_pct, default=None)


def linear_lines(run: Result | None) -> list[str]:
    """Return the line on the linear baseline; empty for None."""
    if run is None:
        return []
    accuracy = f"validation accuracy {run.required_validation.accuracy_pct:.2f} %"
    return [f"linear baseline: {run.parameters:,} parameters, {accuracy}"]


def linear_document(run: Result | None) -> dict[str, Any] | None:
    """Return the run of a linear baseline as JSON values; None for None."""
    if run is None:
        return None
    return {"hash": run.hash, "parameters": run.parameters, "validation_accuracy_pct": run.validation_accuracy_pct}
