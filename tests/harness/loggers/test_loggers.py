"""Loggers of TensorBoard and MLflow: curves, runs, failures."""

from __future__ import annotations

import importlib
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from harness.studies.events import Entry, RunEnded, Verified
from harness.studies.study_state import StudyState
from harness.system.errors import UsageError
from harness.system.user_code import Listener
from harness.training.result import Purpose
from tests import searches
from tests.factories import make_job_result, make_proposal


def run_ended(trial: int, purpose: Purpose = Purpose.SEARCH, seed_index: int = 0) -> RunEnded:
    plain_job = searches.first_job(make_proposal(trial, _NETWORKS[trial]))
    job = replace(plain_job, purpose=purpose, seed_index=seed_index)
    return RunEnded(run=make_job_result(job, lambda parameters, seed: 99.25, 8))


_NETWORKS = [f"conv3x3({channels}) relu gap linear(10)" for channels in (4, 3, 2)]
_PROPOSED = [make_proposal(trial, network) for trial, network in enumerate(_NETWORKS)]
_LOGGED = [
    *map(run_ended, range(3)),
    *(run_ended(2, Purpose.CONFIRM, seed_index) for seed_index in (0, 1)),
    Verified(hash=_PROPOSED[2].hash, mean_test_accuracy_pct=99.5),
    Verified(hash="of no trial", mean_test_accuracy_pct=99.5),
]
# Steps of each curve; a trial has at most one value per curve.
_CURVES = {
    "parameters": [0, 1, 2],
    "validation_pct": [0, 1, 2],
    "fresh_validation_pct/seed_0": [2],
    "fresh_validation_pct/seed_1": [2],
    "test_pct": [2],
}


def study(folder: Path) -> StudyState:
    """Return the state of a study with the proposals of an earlier session."""
    state = StudyState(folder, searches.config())
    for proposal in _PROPOSED:
        state.apply(Entry(0.0, proposal))
    return state


def mlflow_logger(library: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the factory of the logger, with a library in place of MLflow."""
    monkeypatch.setitem(sys.modules, "mlflow", library)
    monkeypatch.delitem(sys.modules, "harness.loggers.mlflow", raising=False)
    return importlib.import_module("harness.loggers.mlflow").mlflow


def write(log: Listener) -> None:
    for event in _LOGGED:
        log.on_entry(None, SimpleNamespace(event=event))
    log.close()


def test_tensorboard_reads_logged_curves(tmp_path: Path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    tensorboard = importlib.import_module("harness.loggers.tensorboard").tensorboard
    messages: list[str] = []
    write(tensorboard(study(tmp_path), messages.append, ""))
    reader = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    reader.Reload()
    assert {name: [at.step for at in reader.Scalars(name)] for name in reader.Tags()["scalars"]} == _CURVES
    assert reader.Scalars("test_pct")[0].value == pytest.approx(99.5)
    assert [point.value for point in reader.Scalars("parameters")] == [each.parameters for each in _PROPOSED]
    assert {point.value for point in reader.Scalars("validation_pct")} == {99.25}
    log = tensorboard(study(tmp_path), messages.append, "")
    shutil.rmtree(tmp_path / "tensorboard")
    write(log)
    assert re.fullmatch(r"log tensorboard failed and is not called again: .*", messages.pop())
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"^log tensorboard failed: \w+Error: .*"):
        tensorboard(study(tmp_path / "file"), messages.append, "")


def test_failure_of_mlflow_names_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    mlflow = SimpleNamespace(get_tracking_uri=lambda: "http://ann:secret@server:5000")
    logger = mlflow_logger(mlflow, monkeypatch)
    with pytest.raises(UsageError, match=r"^log mlflow at http://ann:\*\*\*@server:5000 failed: \w+Error: "):
        logger(study(tmp_path), print, "")


def test_mlflow_experiment_is_created_with_the_first_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    client = MagicMock()
    client.get_experiment_by_name.return_value = None
    mlflow = SimpleNamespace(get_tracking_uri=lambda: "sqlite:///runs.db", MlflowClient=lambda: client)
    logger = mlflow_logger(mlflow, monkeypatch)
    log = logger(study(tmp_path), print, "")
    assert not client.create_experiment.called
    write(log)
    client.create_experiment.assert_called_once_with(tmp_path.name)


def test_mlflow_gets_a_run_per_trial_and_run_of_caller_stays_active(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    mlflow = pytest.importorskip("mlflow")
    logger = mlflow_logger(mlflow, monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri(str(tmp_path / "runs"))
    mlflow.set_experiment("of the caller")
    with mlflow.start_run() as caller_run:
        for _session in range(2):
            write(logger(study(tmp_path / "study"), print, ""))
        assert mlflow.active_run().info.run_id == caller_run.info.run_id
    with mlflow.start_run() as next_run:
        assert next_run.info.experiment_id == caller_run.info.experiment_id
    experiment = mlflow.get_experiment_by_name("study").experiment_id
    client = mlflow.MlflowClient()
    runs = [run for run in client.search_runs([experiment]) if run.info.run_name == "trial 2"]
    assert [run.info.status for run in runs] == ["FINISHED"] * 2
    for run in runs:
        steps = {name: [point.step for point in client.get_metric_history(run.info.run_id, name)] for name in _CURVES}
        assert steps == {name: [2] for name in _CURVES}
