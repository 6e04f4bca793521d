"""The facts of the index: all studies of a workspace, a line each, those that cannot be read included."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from harness.errors import ContentError
from harness.evidence.leaderboard import LeaderboardRow
from harness.workspace import Workspace
from reports.headline import Outcome
from reports.rungs import Rungs, rungs_by_protocol
from reports.study_files import Standings, read_standings, read_study
from reports.study_info import StudyInfo, study_info


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedStudy:
    """One study of the index.

    Attributes:
        link: address of its report, relative to the folder of all studies; None where it has none.
        parameters: of the network that it answers with, None where it has no answer.
        trained: networks with a finished run.
        last_utc: time of its last event, empty where there is none.
    """

    name: str
    link: str | None
    outcome: Outcome
    verdict: str
    dataset: str
    target_pct: float
    budget: int
    space: str
    parameters: int | None
    mean_test_accuracy_pct: float | None
    std_test_accuracy_pct: float | None
    trained: int
    wall_seconds: float
    last_utc: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A folder that looks like a study and cannot be read, and why."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Index:
    """All facts of the page.

    Attributes:
        studies: the one that was worked on last comes first.
        rungs: what all studies say about early readings, those of one protocol together.
        problem: why the standings cannot be read, empty where they can.
    """

    studies: tuple[IndexedStudy, ...]
    unreadable: tuple[Unreadable, ...]
    rows: tuple[LeaderboardRow, ...]
    problem: str
    rungs: tuple[Rungs, ...] = ()


def read_index(workspace: Workspace) -> Index:
    """Read all studies and the standings of a workspace; what cannot be read is named and stops nothing."""
    problem = ""
    try:
        standings = read_standings(workspace)
    except ContentError as error:
        standings, problem = Standings(), error.message
    studies, unreadable, contents = [], [], []
    for folder in study_folders(workspace):
        try:
            found = read_study(folder, workspace, standings)
            studies.append(_indexed(folder, study_info(found)))
        except ContentError as error:
            unreadable.append(Unreadable(folder.name, error.message))
        else:
            contents.append(found)
    studies.sort(key=lambda item: item.name)
    studies.sort(key=lambda item: item.last_utc, reverse=True)
    return Index(tuple(studies), tuple(unreadable), standings.rows, problem, tuple(rungs_by_protocol(contents)))


def study_folders(workspace: Workspace) -> list[Path]:
    """Return the folders of all studies, in order of their names."""
    return sorted(path.parent for path in workspace.runs.glob("*/config.json"))


def _indexed(folder: Path, info: StudyInfo) -> IndexedStudy:
    answer = info.answer
    row = answer.row if answer else None
    page = folder / "report.html"
    return IndexedStudy(
        name=folder.name,
        link=f"{quote(os.fsencode(folder.name))}/report.html" if page.exists() else None,
        outcome=info.headline.outcome,
        verdict=info.headline.verdict,
        dataset=info.config.dataset,
        target_pct=info.config.target_pct,
        budget=info.config.budget,
        space=info.config.space,
        parameters=answer.parameters if answer else None,
        mean_test_accuracy_pct=row.mean_test_accuracy_pct if row else None,
        std_test_accuracy_pct=row.std_test_accuracy_pct if row else None,
        trained=info.accounting.begun,
        wall_seconds=info.provenance.wall_seconds,
        last_utc=info.provenance.last_utc,
    )
