"""Loggers that write the runs of a search to TensorBoard or MLflow, event by event.

Each curve has a value per trial; the step of a point is the number of the trial. A trial may be trained with several
fresh seeds, so there is an accuracy curve for each index of a fresh seed.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from harness.studies.events import Confirmed, Event, Proposal, RunEnded, Verified
from harness.studies.mirror import without_passwords, without_secrets
from harness.system.errors import UsageError
from harness.system.user_code import Listener, guarding_user_code
from harness.training.progress import Reporter
from harness.training.result import Purpose


def logger_of(kind: str, folder: Path, progress: Reporter, past: Iterable[Event] = ()) -> Listener:
    """Return the logger of a study, which writes the points of each event on a separate thread.

    Args:
        kind: ``tensorboard`` or ``mlflow``.
        folder: Folder of the study. TensorBoard files are written there; the MLflow experiment gets the same name.
        progress: Shows that the logger is being opened, and prints a failure.
        past: Events of earlier sessions, not written again; needed for the trial of a network verified now.

    Raises:
        UsageError: The files cannot be written, or the server does not answer within 60 s.
    """
    trials = {event.hash: event.trial for event in past if isinstance(event, Proposal)}
    name = f"log {kind}"
    uri = ""
    if kind == "mlflow":
        with guarding_user_code(name, error_type=UsageError):
            from mlflow import get_tracking_uri

            uri = get_tracking_uri()
            name += f" at {without_passwords(uri)}"

    def clean(text: str) -> str:
        return without_secrets(text, uri) if "://" in uri else text

    progress.show(f"opening the {name}")
    with guarding_user_code(name, error_type=UsageError, clean=clean):
        log = _TensorBoard(folder / "tensorboard") if kind == "tensorboard" else _MLflow(folder.name)

    def write(event: Event) -> None:
        for curve, value, trial in _points(event, trials):
            log.write(curve, value, trial)

    return Listener(name, write, lambda line: progress.say(clean(line)), log.close)


def _points(event: Event, trials: dict[str, int]) -> Iterator[tuple[str, float, int]]:
    """Yield the points that an event adds: name of the curve, value and trial.

    Args:
        event: Event of the study.
        trials: Trial of each network by hash, because a verification names only the hash; a proposal adds an item.
    """
    match event:
        case Proposal():
            trials[event.hash] = event.trial
        case RunEnded(run=run) if run.trial is not None:
            accuracy_curve = f"fresh_validation_pct/seed_{run.seed_index}"
            if run.purpose is Purpose.SEARCH:
                accuracy_curve = "validation_pct"
                yield "parameters", run.parameters, run.trial
            if run.validation_accuracy_pct is not None:
                yield accuracy_curve, run.validation_accuracy_pct, run.trial
        case Confirmed():
            yield "confirmed_parameters", event.parameters, event.trial
        case Verified(mean_test_accuracy_pct=float(accuracy)) if event.hash in trials:
            yield "test_pct", accuracy, trials[event.hash]


class _TensorBoard:
    """Appends each point to a file; ``SummaryWriter`` has a thread that prints a traceback if the disk is full."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"events.out.tfevents.{time.time_ns()}.{os.getpid()}"
        self._append(file_version="brain.Event:2")

    def _append(self, **fields: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event as FileEvent
        from tensorboard.summary.writer.record_writer import RecordWriter

        with self._path.open("ab") as file:
            RecordWriter(file).write(FileEvent(wall_time=time.time(), **fields).SerializeToString())

    def write(self, curve: str, value: float, trial: int) -> None:
        self._append(step=trial, summary={"value": [{"tag": curve, "simple_value": value}]})

    def close(self) -> None:
        pass


class _MLflow:
    """Writes an MLflow run per trial with a separate client; the caller's active experiment and run do not change.

    A later session starts a new run for a trial that gets further points.
    """

    def __init__(self, experiment: str) -> None:
        from mlflow import MlflowClient

        self._client: Any = MlflowClient()
        self._experiment = experiment
        self._client.get_experiment_by_name(experiment)  # raises an exception if the server does not answer
        self._run_ids: dict[int, str] = {}  # by trial

    @functools.cached_property
    def _experiment_id(self) -> Any:
        # Created before the first point, so that a search that fails at the start leaves no empty experiment.
        stored = self._client.get_experiment_by_name(self._experiment)
        return self._client.create_experiment(self._experiment) if stored is None else stored.experiment_id

    def write(self, curve: str, value: float, trial: int) -> None:
        if trial not in self._run_ids:
            self._run_ids[trial] = self._client.create_run(self._experiment_id, run_name=f"trial {trial}").info.run_id
        self._client.log_metric(self._run_ids[trial], curve, value, step=trial)

    def close(self) -> None:
        for run_id in self._run_ids.values():
            self._client.set_terminated(run_id)
