"""Runs of a search for TensorBoard and MLflow: what is told each event of a study.

A curve is a quantity of the trials: its step is the number of a trial, and no step has two values. What is measured of
a trial more than once, on fresh seeds, is a curve a seed.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from harness.studies.events import Confirmed, Event, Proposal, RunEnded, Verified
from harness.system.errors import require
from harness.training.result import Purpose


class Log(Protocol):
    """What is called with each event of a study; ``close`` ends it."""

    def __call__(self, event: Event) -> None:
        """Write what is worth a curve."""

    def close(self) -> None:
        """Write what is left, and close the files."""


def log_of(kind: str, folder: Path, past: Iterable[Event] = ()) -> Log:
    """Return what writes the events of the study in ``folder`` there; ``past`` holds those of earlier sessions."""
    require("logs", (kind,), f"--log {kind}")
    curves = _Curves()
    for event in past:
        curves.points(event)
    return _TensorBoard(folder / "tensorboard", curves) if kind == "tensorboard" else _MLflow(folder.name, curves)


class _Curves:
    """Knows the trials of a study by the hashes of their networks, as a verification names them."""

    def __init__(self) -> None:
        self._trials: dict[str, int] = {}

    def points(self, event: Event) -> tuple[int, dict[str, float]]:
        """Return the trial of an event, and what is worth a point of a curve at it, by the name of the curve."""
        match event:
            case Proposal():
                self._trials.setdefault(event.hash, event.trial)
            case RunEnded(run=run):
                accuracy = run.validation_accuracy_pct
                first = run.purpose is Purpose.SEARCH
                values: dict[str, float] = {"parameters": run.parameters} if first else {}
                if accuracy is not None:
                    values["validation_pct" if first else f"fresh_validation_pct/seed_{run.seed_index}"] = accuracy
                return run.trial or 0, values
            case Confirmed():
                return event.trial, {"confirmed_parameters": event.parameters}
            case Verified(mean_test_accuracy_pct=float(accuracy)) if event.hash in self._trials:
                return self._trials[event.hash], {"test_pct": accuracy}
        return 0, {}


class _TensorBoard:
    def __init__(self, folder: Path, curves: _Curves) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer, self._curves = SummaryWriter(str(folder)), curves

    def __call__(self, event: Event) -> None:
        trial, values = self._curves.points(event)
        for name, value in values.items():
            self._writer.add_scalar(name, value, trial)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class _MLflow:
    """Writes a run a trial by a client of its own: the experiment and the run of who calls stay what they are."""

    def __init__(self, experiment: str, curves: _Curves) -> None:
        from mlflow import MlflowClient

        self._client: Any = MlflowClient()
        entry = self._client.get_experiment_by_name(experiment)
        self._experiment = self._client.create_experiment(experiment) if entry is None else entry.experiment_id
        self._curves, self._runs = curves, dict[int, str]()

    def __call__(self, event: Event) -> None:
        trial, values = self._curves.points(event)
        if not values:
            return
        if trial not in self._runs:
            self._runs[trial] = self._client.create_run(self._experiment, run_name=f"trial {trial}").info.run_id
        for name, value in values.items():
            self._client.log_metric(self._runs[trial], name, value, step=trial)

    def close(self) -> None:
        for run in self._runs.values():
            self._client.set_terminated(run)
