"""Runs of a search for TensorBoard and MLflow: functions that are told each event of a study."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.evidence.events import Confirmed, Event, RunEnded, Verified
from harness.system.errors import require

LOGS = ("tensorboard", "mlflow")


def log_of(kind: str, folder: Path) -> Callable[[Event], None]:
    """Return a function that writes the events of the study in ``folder`` there, by trial.

    Raises:
        DeviceError: the package is not installed.
    """
    require("logs", (kind,), f"--log {kind}")
    return _tensorboard(folder / "tensorboard") if kind == "tensorboard" else _mlflow(folder)


def _scalars(event: Event) -> tuple[int | None, dict[str, float]]:
    """Return the trial of an event, and what is worth a curve."""
    if isinstance(event, RunEnded):
        run = event.run
        accuracy = run.validation_accuracy_pct
        return run.trial, {"parameters": run.parameters} | ({} if accuracy is None else {"validation_pct": accuracy})
    if isinstance(event, Confirmed):
        return event.trial, {"confirmed_parameters": event.parameters}
    if isinstance(event, Verified) and event.mean_test_accuracy_pct is not None:
        return None, {"test_pct": event.mean_test_accuracy_pct}
    return None, {}


def _tensorboard(folder: Path) -> Callable[[Event], None]:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder))

    def tensorboard(event: Event) -> None:
        trial, values = _scalars(event)
        for name, value in values.items():
            writer.add_scalar(name, value, trial or 0)
        writer.flush()

    return tensorboard


def _mlflow(folder: Path) -> Callable[[Event], None]:
    import mlflow as library

    store: Any = library
    store.set_experiment(folder.name)

    def mlflow(event: Event) -> None:
        trial, values = _scalars(event)
        if values:
            with store.start_run(run_name="verification" if trial is None else f"trial {trial}"):
                store.log_metrics(values, step=trial or 0)

    return mlflow
