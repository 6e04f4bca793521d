"""What a study's folder and its workspace hold, read once.

Everything else in this package computes on these values and touches no file. A study that has only just begun, or was
killed, lacks events and results; nothing here needs any of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

from harness.data.datasets import dataset
from harness.evidence import leaderboard, record
from harness.evidence.events import Entry, Event, SessionBegan, SessionEnded
from harness.evidence.leaderboard import LeaderboardRow
from harness.evidence.record import Record
from harness.evidence.study import Study, StudyConfig, is_owned, read_origins
from harness.search import prior
from harness.system.files import Workspace
from harness.training import inspection
from harness.training.inspection import Inspection
from harness.training.result import Result

_E = TypeVar("_E", bound=Event)


@dataclass(frozen=True, slots=True)
class Measured:
    """A network whose test accuracy is on record: the evidence and the row that it makes.

    Attributes:
        inspections: what verifications on this machine have left to look at, one a seed; of networks that the study
            knows, and of recorded weights only.
    """

    record: Record
    row: LeaderboardRow
    inspections: tuple[Inspection, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFiles:
    """The contents of a study.

    Attributes:
        origins: where each value of the configuration came from.
        study: what has happened to it.
        measured: networks of this data set and target with a record, whichever study found them.
        rows: the standings of the whole workspace.
        test_reads: the purpose of each read of this data set's test set in this workspace; empty text where a line
            has none. A damaged line counts for every data set.
        past_trainings: how many earlier trainings its model of the errors began with; None where it does not say.
        left_out: what is wrong with files of the workspace that were left out.
        at_work: a program works in its folder now.
    """

    study: Study
    origins: Mapping[str, str]
    measured: tuple[Measured, ...] = ()
    rows: tuple[LeaderboardRow, ...] = ()
    test_reads: tuple[str, ...] = ()
    past_trainings: int | None = None
    left_out: tuple[str, ...] = ()
    at_work: bool = False

    @property
    def name(self) -> str:
        """Name of the study."""
        return self.study.folder.name

    @property
    def config(self) -> StudyConfig:
        """What decides its outcome."""
        return self.study.config

    @property
    def results(self) -> list[Result]:
        """All finished runs, in order of trial, purpose and seed."""
        return self.study.results

    @property
    def elapsed(self) -> float:
        """Seconds that the study has been worked on, all sessions together."""
        return self.study.seconds

    @property
    def last_turn(self) -> Entry[SessionBegan] | Entry[SessionEnded] | None:
        """The last event that began or ended a session, None where there is none."""
        entries = reversed(self.study.entries)
        turns = (entry for entry in entries if isinstance(entry.event, SessionBegan | SessionEnded))
        return cast("Entry[SessionBegan] | Entry[SessionEnded] | None", next(turns, None))

    @property
    def time_limit(self) -> float | None:
        """Seconds that the last session was given; None for no end, or where its program did not note them."""
        sessions = self.entries_of(SessionBegan)
        return sessions[-1].event.seconds if sessions else None

    @property
    def searching(self) -> bool:
        """Whether the search goes on now: a session has begun, has no end, and its program lives."""
        return self.at_work and self.last_turn is not None and isinstance(self.last_turn.event, SessionBegan)

    def entries_of(self, kind: type[_E]) -> list[Entry[_E]]:
        """Return the events of one kind with their times, oldest first."""
        return self.study.of_kind(kind)


@dataclass(frozen=True, slots=True)
class Standings:
    """What a workspace holds beside its studies: all evidence, the standings made from all, reads of test sets.

    Attributes:
        test_reads: data set and purpose of each; empty texts where a line has none.
        left_out: what is wrong with the files that are left out, a line each.
    """

    records: tuple[Record, ...] = ()
    rows: tuple[LeaderboardRow, ...] = ()
    test_reads: tuple[tuple[str, str], ...] = ()
    left_out: tuple[str, ...] = ()


def read_standings(workspace: Workspace) -> Standings:
    """Read what all studies of a workspace share; what does not hold together is left out and named.

    Raises:
        ContentError: the ledger does not hold together.
    """
    found = leaderboard.survey(workspace)
    left_out = tuple(error.told for error in found.damage)
    return Standings(found.records, found.rows, _test_reads(workspace.test_log), left_out)


def read_study(folder: Path, workspace: Workspace, standings: Standings | None = None) -> StudyFiles:
    """Read a study and what its workspace knows about its networks.

    Args:
        folder: of the study.
        workspace: that it belongs to.
        standings: of that workspace, where they have been read already.

    Raises:
        ContentError: there is no study, or one of its files or the ledger does not hold together.
    """
    study = Study.read(folder)
    config = study.config
    standings = standings or read_standings(workspace)
    by_key = {row.key: row for row in standings.rows}
    past = prior.kept(folder)
    known = {result.hash for result in study.results}
    measured = [
        Measured(
            evidence,
            by_key[*evidence.key, False],
            inspections_of(evidence, workspace) if evidence.hash in known else (),
        )
        for evidence in standings.records
        if (evidence.dataset, evidence.target_pct) == (config.dataset, config.target_pct)
    ]
    return StudyFiles(
        study=study,
        origins=read_origins(folder),
        measured=tuple(measured),
        rows=standings.rows,
        test_reads=tuple(purpose for name, purpose in standings.test_reads if name in ("", config.dataset)),
        past_trainings=None
        if past is None
        else len(prior.observations(past, config.recipe, dataset(config.dataset).task)),
        left_out=standings.left_out,
        at_work=is_owned(folder),
    )


def inspections_of(evidence: Record, workspace: Workspace) -> tuple[Inspection, ...]:
    """Return the inspections of a record's own weights; those of a re-run that gave others say nothing about it."""
    weights = {run.index: run.weights_sha256 for run in evidence.seeds}
    row = record.path_of(workspace.records, evidence).stem
    found = inspection.read_inspections(workspace.runs, row)
    return tuple(item for item in found if weights.get(item.seed_index) == item.weights_sha256)


def _test_reads(log: Path) -> tuple[tuple[str, str], ...]:
    """Return data sets and purposes; a damaged line is a read all the same."""
    if not log.exists():
        return ()
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return tuple(_test_read(line) for line in lines if line.strip())


def _test_read(line: str) -> tuple[str, str]:
    try:
        read = json.loads(line)
        return str(read.get("dataset", "")), str(read["purpose"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return "", ""
