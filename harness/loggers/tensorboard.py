"""Logger of runs to a file of TensorBoard in the folder of the study."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.record_writer import RecordWriter

from harness.loggers.curves import listener
from harness.studies.study_state import StudyState
from harness.system.errors import UsageError
from harness.system.user_code import Listener, guarding_user_code


def tensorboard(state: StudyState, say: Callable[[str], None], address: str) -> Listener:
    """Return an observer that writes to ``tensorboard/`` in the folder of the study.

    Raises:
        UsageError: The file cannot be written.
    """
    name = "log tensorboard"
    with guarding_user_code(name, error_type=UsageError):
        log = _TensorBoard(state.folder / "tensorboard")
    return listener(name, log, state, say)


class _TensorBoard:
    """Appends each point to a file; ``SummaryWriter`` has a thread that prints a traceback if the disk is full."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"events.out.tfevents.{time.time_ns()}.{os.getpid()}"
        self._append(file_version="brain.Event:2")

    def _append(self, **fields: Any) -> None:
        with self._path.open("ab") as file:
            RecordWriter(file).write(Event(wall_time=time.time(), **fields).SerializeToString())

    def write(self, curve: str, value: float, trial: int) -> None:
        self._append(step=trial, summary={"value": [{"tag": curve, "simple_value": value}]})

    def close(self) -> None:
        pass
