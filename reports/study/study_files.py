"""What a study's folder and its workspace hold, read once.

Everything else in this package computes on these values and touches no file. A study that has only just begun, or was
killed, lacks events and results; nothing here needs any of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

from harness.data.datasets import dataset
from harness.evidence import leaderboard, record, study
from harness.evidence.events import Entry, Event, SessionBegan, SessionEnded, of_kind
from harness.evidence.leaderboard import LeaderboardRow
from harness.evidence.record import Record
from harness.evidence.study import StudyConfig
from harness.search import prior
from harness.system.files import Workspace
from harness.training import inspection
from harness.training.inspection import Inspection
from harness.training.result import Result
from reports.numbers import plural

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
        events: what the log holds, oldest first.
        measured: networks of this data set and target with a record, whichever study found them.
        rows: the standings of the whole workspace.
        test_reads: the purpose of each read of this data set's test set in this workspace; empty text where a line
            has none. A damaged line counts for every data set.
        past_trainings: how many earlier trainings its model of the errors began with; None where it does not say.
        left_out: what is wrong with files of the workspace that were left out.
        at_work: a program works in its folder now.
    """

    name: str
    config: StudyConfig
    origins: Mapping[str, str]
    events: tuple[Entry[Event], ...] = ()
    results: tuple[Result, ...] = ()
    measured: tuple[Measured, ...] = ()
    rows: tuple[LeaderboardRow, ...] = ()
    test_reads: tuple[str, ...] = ()
    past_trainings: int | None = None
    left_out: tuple[str, ...] = ()
    at_work: bool = False

    @property
    def elapsed(self) -> float:
        """Seconds that the study has been worked on, all sessions together."""
        return study.elapsed_seconds(self.events)

    @property
    def last_turn(self) -> Entry[SessionBegan] | Entry[SessionEnded] | None:
        """The last event that began or ended a session, None where there is none."""
        turns = (entry for entry in reversed(self.events) if isinstance(entry.event, SessionBegan | SessionEnded))
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
        return of_kind(self.events, kind)


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
    config = study.read_config(folder)
    standings = standings or read_standings(workspace)
    by_key = {row.key: row for row in standings.rows}
    results = study.finished_results(folder)
    events, damage = study.read_log(folder)
    past = prior.kept(folder)
    known = {result.hash for result in results}
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
        name=folder.name,
        config=config,
        origins=study.read_origins(folder),
        events=tuple(events),
        results=tuple(results),
        measured=tuple(measured),
        rows=standings.rows,
        test_reads=tuple(purpose for name, purpose in standings.test_reads if name in ("", config.dataset)),
        past_trainings=None
        if past is None
        else len(prior.observations(past, config.recipe, dataset(config.dataset).task)),
        left_out=(*standings.left_out, *damage, *lost_lines(folder, events)),
        at_work=study.is_owned(folder),
    )


def lost_lines(folder: Path, events: Iterable[Entry[Event]]) -> list[str]:
    """Return what a study's log lacks of the networks that have results, in a sentence; nothing where it has all."""
    known = {f"{proposal.trial:05d}" for proposal in study.proposals(events)}
    lost = {path.name.split("-")[1] for path in (folder / "results").glob("trial-*.json")} - known
    if not lost:
        return []
    networks = plural(len(lost), "network")
    return [f"{folder / 'log.jsonl'} lacks {networks} with results: all of it or a part was removed"]


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
