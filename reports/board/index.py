"""The facts of the index: all studies of a workspace, a line each, those that cannot be read included."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from harness.evidence.events import SessionBegan
from harness.evidence.study import is_owned
from harness.system.errors import ContentError
from harness.system.workspace import Workspace
from reports.board.leaderboard_info import Group, groups
from reports.board.leaderboard_page import with_weights
from reports.html.numbers import duration
from reports.study.course.rungs import Rungs, rungs_by_protocol
from reports.study.study_files import Standings, StudyFiles, read_standings, read_study
from reports.study.study_info import StudyInfo, study_info


@dataclass(frozen=True, slots=True)
class IndexedStudy:
    """One study of the index.

    Attributes:
        link: address of its report, relative to the folder of all studies; None where it has none.
        state: how far its search has come, in a few words.
    """

    info: StudyInfo
    link: str | None
    state: str


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
        standings: the leaderboard, by data set and target.
        rungs: what all studies say about early readings, those of one protocol together.
        problem: why the standings cannot be read, empty where they can.
        damage: what is wrong with files that the standings lack.
    """

    studies: tuple[IndexedStudy, ...]
    unreadable: tuple[Unreadable, ...]
    standings: tuple[Group, ...]
    problem: str
    rungs: tuple[Rungs, ...] = ()
    damage: tuple[str, ...] = ()

    @property
    def left_out(self) -> list[str]:
        """All that could not be read and why, each once: a damaged study is missing from the standings too."""
        return list(dict.fromkeys([*(item.why for item in self.unreadable), *self.damage]))


def read_index(workspace: Workspace) -> Index:
    """Read all studies and the standings of a workspace; what cannot be read is named and stops nothing."""
    problem = ""
    try:
        standings = read_standings(workspace)
    except ContentError as error:
        standings, problem = Standings(), error.told
    studies, unreadable, contents = [], [], []
    for folder in study_folders(workspace):
        try:
            found = read_study(folder, workspace, standings)
            studies.append(_indexed(folder, found))
        except ContentError as error:
            unreadable.append(Unreadable(folder.name, error.told))
        else:
            contents.append(found)
    # The folders came in order of their names, which the sort keeps where times are equal.
    studies.sort(key=lambda item: item.info.provenance.last_utc, reverse=True)
    pooled = tuple(rungs_by_protocol(contents))
    made = groups(standings.rows, standings.records, with_weights(workspace, standings.records))
    return Index(tuple(studies), tuple(unreadable), made, problem, pooled, standings.left_out)


def study_folders(workspace: Workspace) -> list[Path]:
    """Return the folders of all studies, in order of their names; one that has lost its configuration is one too."""
    return sorted({path.parent for name in ("config.json", "log.jsonl") for path in workspace.runs.glob(f"*/{name}")})


def state_of(files: StudyFiles, *, running: bool) -> str:
    """Return how far a search has come: ``Running: 28 min of 45 min``."""
    last = files.last_turn
    spent = duration(files.elapsed)
    if running:
        limit = files.time_limit
        if limit is None:
            return f"Running: {spent}"
        return f"Running: {files.elapsed / 60:.0f} of {limit / 60:.0f} min" if limit >= 60 else f"Running: {spent}"
    if last is None:
        return "Not begun"
    if isinstance(last.event, SessionBegan) or last.event.reason == "interrupted":
        return f"Interrupted after {spent}"
    return f"Ended after {spent}"


def _indexed(folder: Path, files: StudyFiles) -> IndexedStudy:
    link = f"{quote(os.fsencode(folder.name))}/report.html" if (folder / "report.html").exists() else None
    return IndexedStudy(study_info(files), link, state_of(files, running=is_owned(folder)))
