"""Logger of runs to the tracking server or the database of MLflow."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import mlflow as library

from harness.loggers.curves import listener
from harness.studies.study_state import StudyState
from harness.system.errors import UsageError
from harness.system.passwords import without_passwords, without_secrets
from harness.system.user_code import Listener, guarding_user_code


def mlflow(state: StudyState, say: Callable[[str], None], address: str) -> Listener:
    """Return an observer that writes to an experiment with the name of the study.

    Raises:
        UsageError: The server does not answer within 60 s.
    """
    with guarding_user_code("log mlflow", error_type=UsageError):
        uri = library.get_tracking_uri()
    name = f"log mlflow at {without_passwords(uri)}"

    def clean(text: str) -> str:
        return without_secrets(text, uri) if "://" in uri else text

    with guarding_user_code(name, error_type=UsageError, clean=clean):
        log = _MLflow(state.folder.name)
    return listener(name, log, state, lambda line: say(clean(line)))


class _MLflow:
    """Writes an MLflow run per trial with a separate client; the caller's active experiment and run do not change.

    A later session starts a new run for a trial that gets further points.
    """

    def __init__(self, experiment: str) -> None:
        self._client: Any = library.MlflowClient()
        self._experiment = experiment
        self._client.get_experiment_by_name(experiment)  # raises if the server does not answer
        self._run_ids: dict[int, str] = {}  # by trial

    @functools.cached_property
    def _experiment_id(self) -> Any:
        # Only now, so that a search that fails at the start leaves no empty experiment.
        stored = self._client.get_experiment_by_name(self._experiment)
        return self._client.create_experiment(self._experiment) if stored is None else stored.experiment_id

    def write(self, curve: str, value: float, trial: int) -> None:
        if trial not in self._run_ids:
            self._run_ids[trial] = self._client.create_run(self._experiment_id, run_name=f"trial {trial}").info.run_id
        self._client.log_metric(self._run_ids[trial], curve, value, step=trial)

    def close(self) -> None:
        for run_id in self._run_ids.values():
            self._client.set_terminated(run_id)
