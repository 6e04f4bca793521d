"""Loggers that write the runs of a search to TensorBoard or MLflow, event by event.

Each curve has one value per trial; the step of a point is the number of the trial. A trial is trained with several
fresh seeds, so each fresh seed has an accuracy curve.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from harness.studies.events import Confirmed, Event, Proposal, RunEnded, Verified
from harness.system.errors import require
from harness.training.result import Purpose


class Logger(Protocol):
    """A callable that receives each event of a study."""

    def __call__(self, event: Event) -> None:
        """Write the points that the event adds to the curves."""

    def close(self) -> None:
        """Write pending points, and close the files."""


def logger_of(kind: str, folder: Path, past: Iterable[Event] = ()) -> Logger:
    """Return the logger of a study.

    Args:
        kind: ``tensorboard`` or ``mlflow``.
        folder: Folder of the study. TensorBoard files are written there; its name is the name of the MLflow experiment.
        past: Events of earlier sessions. They are not written again; they tell the trial of a network verified now.

    Raises:
        DeviceError: The package is not installed.
    """
    require("logs", (kind,), f"--log {kind}")
    curves = _Curves()
    for event in past:
        curves.points(event)
    return _TensorBoard(folder / "tensorboard", curves) if kind == "tensorboard" else _MLflow(folder.name, curves)


class _Curves:
    """Converts events to points of curves; finds the trial of a verification by the hash of the network."""

    def __init__(self) -> None:
        self._trials: dict[str, int] = {}

    def points(self, event: Event) -> tuple[int, dict[str, float]]:
        """Return the trial of an event, and the values that the event adds to the curves, by curve name.

        An event without values gives (0, {}).
        """
        match event:
            case Proposal():
                self._trials[event.hash] = event.trial
            case RunEnded(run=run) if run.trial is not None:
                accuracy = run.validation_accuracy_pct
                first = run.purpose is Purpose.SEARCH
                values: dict[str, float] = {"parameters": run.parameters} if first else {}
                curve = "validation_pct" if first else f"fresh_validation_pct/seed_{run.seed_index}"
                if accuracy is not None:
                    values[curve] = accuracy
                return run.trial, values
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
    """Writes one MLflow run per trial with a separate client; the caller's active experiment and run do not change.

    A later session starts a new run for a trial that gets further points.
    """

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
