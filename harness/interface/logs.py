"""Loggers that write the runs of a search to TensorBoard or MLflow, event by event.

Each curve has a value per trial; the step of a point is the number of the trial. A trial may be trained with several
fresh seeds, so there is an accuracy curve for each index of a fresh seed.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.studies.events import Confirmed, Event, Proposal, RunEnded, Verified
from harness.system.errors import UsageError, require
from harness.system.user_code import guarding_user_code
from harness.training.result import Purpose


def logger_of(kind: str, folder: Path, past: Iterable[Event] = ()) -> _TensorBoard | _MLflow:
    """Return the logger of a study, which is called with each event; its ``close`` writes pending points.

    Args:
        kind: ``tensorboard`` or ``mlflow``.
        folder: Folder of the study. TensorBoard files are written there; the MLflow experiment gets the same name.
        past: Events of earlier sessions, not written again; needed for the trial of a network verified now.

    Raises:
        DeviceError: The package is not installed.
        UsageError: The files cannot be written, or the server does not answer.
    """
    require("logs", (kind,), f"the log {kind}")
    curves = _Curves()
    for event in past:
        curves.points(event)
    with guarding_user_code(f"log {kind}", error_type=UsageError):
        return _TensorBoard(folder / "tensorboard", curves) if kind == "tensorboard" else _MLflow(folder.name, curves)


class _Curves:
    """Converts events to points of curves; finds the trial of a verification by the hash of the network."""

    def __init__(self) -> None:
        self._trials: dict[str, int] = {}

    def points(self, event: Event) -> tuple[int, dict[str, float]]:
        """Return the trial of an event, and the values that the event adds to the curves, by curve name.

        An event without values gives (0, {}). A proposal is remembered, because the event of a verification names only
        the hash of the network.
        """
        match event:
            case Proposal():
                self._trials[event.hash] = event.trial
            case RunEnded(run=run) if run.trial is not None:
                values: dict[str, float] = {}
                accuracy_curve = f"fresh_validation_pct/seed_{run.seed_index}"
                if run.purpose is Purpose.SEARCH:
                    values["parameters"] = run.parameters
                    accuracy_curve = "validation_pct"
                if run.validation_accuracy_pct is not None:
                    values[accuracy_curve] = run.validation_accuracy_pct
                return run.trial, values
            case Confirmed():
                return event.trial, {"confirmed_parameters": event.parameters}
            case Verified(mean_test_accuracy_pct=float(accuracy)) if event.hash in self._trials:
                return self._trials[event.hash], {"test_pct": accuracy}
        return 0, {}


class _TensorBoard:
    def __init__(self, folder: Path, curves: _Curves) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder))
        self._curves = curves

    def __call__(self, event: Event) -> None:
        trial, values = self._curves.points(event)
        for name, value in values.items():
            self._writer.add_scalar(name, value, trial)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class _MLflow:
    """Writes an MLflow run per trial with a separate client; the caller's active experiment and run do not change.

    A later session starts a new run for a trial that gets further points.
    """

    def __init__(self, experiment: str, curves: _Curves) -> None:
        from mlflow import MlflowClient

        self._client: Any = MlflowClient()
        stored = self._client.get_experiment_by_name(experiment)
        self._experiment_id = self._client.create_experiment(experiment) if stored is None else stored.experiment_id
        self._curves = curves
        self._run_ids: dict[int, str] = {}  # by trial

    def __call__(self, event: Event) -> None:
        trial, values = self._curves.points(event)
        if not values:
            return
        if trial not in self._run_ids:
            self._run_ids[trial] = self._client.create_run(self._experiment_id, run_name=f"trial {trial}").info.run_id
        for name, value in values.items():
            self._client.log_metric(self._run_ids[trial], name, value, step=trial)

    def close(self) -> None:
        for run_id in self._run_ids.values():
            self._client.set_terminated(run_id)
