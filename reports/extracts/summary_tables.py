"""The networks of a study as a table for other programs: raw numbers, one line a network, CSV and JSON alike."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from harness.data.datasets import dataset
from harness.system import files, statistics
from harness.system.document import csv_text
from harness.training.result import finite
from reports.study.networks import Network
from reports.study.study_info import StudyInfo
from search_spaces.cost import analyse
from search_spaces.task import Task

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkLine:
    """One network; the names of the fields are the columns, in this order. What is not known is None.

    ``place`` is that of the report's table, best first; ``macs`` is younger than the others, and so stands last.
    """

    place: int
    hash: str
    parameters: int
    tier: str | None
    state: str
    remark: str
    epochs: int | None
    validation_accuracy_pct: float | None
    validation_std_pct: float | None
    validation_seeds: int
    validation_fresh: bool
    mean_test_accuracy_pct: float | None
    std_test_accuracy_pct: float | None
    lower_bound_pct: float | None
    test_seeds: int
    reached: bool
    trial: int | None
    origin: str
    architecture: str
    macs: int


def lines(info: StudyInfo) -> list[NetworkLine]:
    """Return a line a network, best first."""
    task = dataset(info.config.dataset).task
    return [_line(place, network, task) for place, network in enumerate(info.networks, start=1)]


def write_tables(info: StudyInfo, folder: Path) -> list[Path]:
    """Write ``networks.csv`` and ``networks.json`` and return their paths.

    Raises:
        UsageError: the folder cannot be written.
    """
    columns = [item.name for item in fields(NetworkLine)]
    rows = [[getattr(line, column) for column in columns] for line in lines(info)]
    document = {
        "study": info.name.encode(errors="replace").decode(),
        "dataset": info.config.dataset,
        "target_pct": info.config.target_pct,
        "threshold_pct": info.config.threshold_pct,
        "networks": [dict(zip(columns, _plain(row), strict=True)) for row in rows],
        "schema_version": SCHEMA_VERSION,
    }
    made = {
        folder / "networks.csv": csv_text(columns, map(_plain, rows)),
        folder / "networks.json": json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
    }
    files.write_together({path: words.encode() for path, words in made.items()})
    return list(made)


def _line(place: int, network: Network, task: Task) -> NetworkLine:
    row, accuracies = network.row, network.validation_accuracies_pct
    return NetworkLine(
        place=place,
        hash=network.hash,
        parameters=network.parameters,
        tier=row.tier if row else "searched" if network.complete else None,
        state=network.state,
        remark=network.remark,
        epochs=network.epochs,
        validation_accuracy_pct=finite(network.accuracy_pct),
        validation_std_pct=finite(statistics.standard_deviation(accuracies)),
        validation_seeds=len(accuracies),
        validation_fresh=network.fresh,
        mean_test_accuracy_pct=finite(row.mean_test_accuracy_pct) if row else None,
        std_test_accuracy_pct=finite(row.std_test_accuracy_pct) if row else None,
        lower_bound_pct=finite(row.lower_bound_pct) if row else None,
        test_seeds=row.seeds if row else 0,
        reached=row.reached if row else False,
        trial=network.trial,
        origin=network.origin,
        architecture=str(network.architecture),
        macs=analyse(network.architecture, task).macs,
    )


def _plain(row: list[Any]) -> list[Any]:
    """Return values that UTF-8 can hold; a lone surrogate, which a journal may hide, cannot be written."""
    return [value.encode(errors="replace").decode() if isinstance(value, str) else value for value in row]
