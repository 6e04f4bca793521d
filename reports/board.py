"""The leaderboard as a page, and the index of a workspace: its studies above its leaderboard."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from harness.data.datasets import DATASETS, known_task
from harness.evidence.leaderboard import PROVEN, LeaderboardRow, Survey, Tier
from harness.evidence.record import Record, kept_indices
from harness.studies.candidate import allowed_errors
from harness.studies.events import SessionEnded
from harness.system import files
from harness.system.errors import ContentError, typed
from harness.system.files import Workspace
from reports import charts, history
from reports.render import duration, page, short
from reports.study_facts import StudyFacts, WorkspaceEvidence, read_evidence, read_study
from reports.study_page import headline, write_report
from search_spaces.catalog import network_names
from search_spaces.network import Analysis, analyse


class _Entry(NamedTuple):
    """One row; its network's name is no other network's, its accuracy on validation if it was only searched.

    ``errors`` are the wrong test images of each seed, ``allowed`` the most with which one reaches the target;
    ``commands`` what to type, each with what it does.
    """

    row: LeaderboardRow
    name: str
    accuracy_pct: float | None
    analysis: Analysis
    errors: list[int]
    allowed: int
    commands: list[tuple[str, str]]


class _Group(NamedTuple):
    """The rows of one data set and target, best first; of those certified or verified the one of fewest parameters."""

    dataset: str
    target_pct: float
    entries: list[_Entry]
    smallest: _Entry | None


def _groups(rows: Sequence[LeaderboardRow], records: Sequence[Record], workspace: Workspace) -> list[_Group]:
    """Return the groups of ranked rows: the default target of the first data set, then the others in their order."""
    by_key = {record.key: record for record in records}
    names = network_names((row.architecture, row.parameters) for row in rows)
    names |= {row.hash: row.name for row in rows if row.name}

    groups = []
    for (dataset, target_pct), group in groupby(rows, key=lambda row: (row.dataset, row.target_pct)):
        entries = []
        for row in group:
            record = by_key.get(row.key[:5]) if row.tier is not Tier.CLAIMED else None
            commands = _commands(row, record, [item for item in records if item.hash == row.hash], workspace)
            entries.append(_entry(row, names[row.hash], record, list(commands)))
        proven = [item for item in entries if item.row.tier in PROVEN]
        smallest = min(proven, key=lambda item: item.row.parameters, default=None)
        groups.append(_Group(dataset, target_pct, entries, smallest))
    first = groups[0].dataset if groups else ""
    default = DATASETS[first].target_pct if first in DATASETS else None
    return sorted(groups, key=lambda group: (group.dataset, group.target_pct) != (first, default))


def _entry(row: LeaderboardRow, name: str, record: Record | None, commands: list[tuple[str, str]]) -> _Entry:
    seeds = record.seeds if record else ()
    return _Entry(
        row=row,
        name=name,
        accuracy_pct=row.validation_accuracy_pct if row.tier is Tier.SEARCHED else row.mean_test_accuracy_pct,
        analysis=analyse(row.architecture, known_task(row.dataset)),
        errors=[run.test_errors for run in seeds],
        allowed=allowed_errors(row.target_pct, seeds[0].test_size) if seeds else 0,
        commands=commands,
    )


def _commands(
    row: LeaderboardRow, record: Record | None, of_network: Sequence[Record], workspace: Workspace
) -> Iterator[tuple[str, str]]:
    """Yield what can be done with a row, the quickest first; a record is named by what tells it from the others."""
    explain = (typed("explain", row.hash), "shows its layers and their costs")
    if record is None:
        recipe = _recipe_options(row.recipe, row.epochs) if row.recipe else []
        verify = typed("verify", row.hash, *recipe, "--dataset", row.dataset, "--target", short(row.target_pct))
        yield verify, "trains it on fresh seeds and reads the test set"
        yield explain
        return

    def several(name: str) -> bool:
        return len({getattr(item, name) for item in of_network}) > 1

    dataset = ["--dataset", record.dataset] if several("dataset") else []
    target = ["--target", short(record.target_pct)] if several("target_pct") else []
    recipe = _recipe_options(record.recipe_name, record.recipe.epochs) if several("recipe_hash") else []
    if 0 in kept_indices(workspace.records, record)[:1]:
        which = ["--recipe", record.recipe_name] if recipe else []
        effect = "loads its weights and counts its errors on the test set: seconds"
        yield typed("evaluate", row.hash, *which, *dataset), effect
        if record.recipe.precision == "int8":
            yield typed("export", row.hash, *which, *dataset, "--c", "network"), "writes its C, and a page to try it on"
    seeds = str(max(1, len(record.seeds)))
    verify = typed("verify", row.hash, *recipe, *dataset, *target, "--seeds", seeds)
    yield verify, "trains the recorded seeds again and compares them with the record"
    yield explain


def _recipe_options(name: str, epochs: int | None) -> list[str]:
    # A recipe that runs with other epochs than its own is called NAME-20ep.
    changed = f"-{epochs}ep"
    if epochs is not None and name.endswith(changed):
        return ["--recipe", name.removesuffix(changed), "--epochs", str(epochs)]
    return ["--recipe", name]


def write_leaderboard(workspace: Workspace, standings: Survey) -> Path:
    """Write the leaderboard as a page beside its CSV file and return its path."""
    path = workspace.leaderboard.with_suffix(".html")
    groups = _groups(standings.rows, standings.records, workspace)
    damage = [error.told for error in standings.damage]
    files.write_text(path, page("leaderboard.html", damage=damage, **_board(groups)))
    return path


def _board(groups: Sequence[_Group]) -> dict[str, Any]:
    """Return what the templates print of the groups; the chart is of the first data set, with its default target."""
    rows = [
        {
            "network": entry.name,
            "parameters": entry.row.parameters,
            "accuracy": entry.accuracy_pct,
            "tier": entry.row.tier.value,
            "target": group.target_pct,
            "recipe": entry.row.recipe,
            "best": entry is group.smallest,
            "href": f"#row-{number}-{rank}",
        }
        for number, group in enumerate(groups, start=1)
        for rank, entry in enumerate(group.entries, start=1)
        if group.dataset == groups[0].dataset and entry.accuracy_pct is not None and entry.row.parameters > 0
    ]
    # The networks that are best at a target come first.
    rows.sort(key=lambda row: not row["best"])
    return {
        "charts": {"frontier": charts.frontier(rows, groups[0].target_pct) if groups else None},
        "styles": ["board.css"],
        "scripts": ["board.js"],
        "groups": groups,
        "dots": _dots,
    }


def _dots(group: _Group) -> list[dict[str, Any] | None]:
    """Return a small picture for each row: a dot a seed on one axis of errors, and a tick at the errors allowed."""
    measured = [entry for entry in group.entries if entry.errors]
    errors = [number for entry in measured for number in (*entry.errors, entry.allowed)]
    low = max(min(errors, default=1), 1) / 1.05
    # Seeds that diverged lie at the end of the axis, because to scale they would squeeze all others into one dot.
    high = max(min(max(errors, default=1), 2 * max((entry.allowed for entry in measured), default=1)), low + 1) * 1.05

    def across(number: int) -> float:
        return round(5 + 110 * math.log(min(max(number, low), high) / low) / math.log(high / low), 1)

    pictures: list[dict[str, Any] | None] = []
    for entry in group.entries:
        # Dots of equal seeds stand one above the other, closer where they are many, so that all fit the picture.
        places = Counter(map(across, entry.errors))
        stacked = Counter[float]()
        step = min(2.5, 9 / max([1, *(number - 1 for number in places.values())]))
        marks = []
        for x, reached in sorted((across(number), number <= entry.allowed) for number in entry.errors):
            marks.append((x, round(12 - step * stacked[x], 1), reached))
            stacked[x] += 1
        pictures.append({"tick": across(entry.allowed), "marks": marks} if entry.errors else None)
    return pictures


class _Listed(NamedTuple):
    """A study of the index: how far its search has come, and the address of its report, None where it has none."""

    info: StudyFacts
    state: str
    link: str | None


class _Index(NamedTuple):
    """All facts of the index: its studies, the one worked on last first, and the leaderboard.

    ``unreadable`` says why, by the name of each folder that looks like a study and cannot be read; ``problem`` why the
    standings cannot be read, ``damage`` what is wrong with other files that they lack.
    """

    studies: list[_Listed]
    unreadable: dict[str, str]
    standings: list[_Group]
    problem: str
    damage: list[str]

    @property
    def left_out(self) -> list[str]:
        """All that could not be read and why, each once."""
        return [*self.unreadable.values(), *self.damage]


def read_index(workspace: Workspace) -> _Index:
    """Read all studies and the standings of a workspace; what cannot be read is named and stops nothing."""
    problem = ""
    try:
        evidence = read_evidence(workspace)
    except ContentError as error:
        evidence = WorkspaceEvidence()
        problem = error.told
    studies = []
    unreadable = {}
    for folder in _study_folders(workspace):
        try:
            info = read_study(folder, workspace, evidence)
        except ContentError as error:
            unreadable[folder.name] = error.told
            continue
        link = f"{quote(os.fsencode(folder.name))}/report.html" if (folder / "report.html").exists() else None
        studies.append(_Listed(info, _state_of(info), link))
    # The folders came in order of their names, which the sort keeps where times are equal.
    studies.sort(key=lambda study: study.info.last_utc, reverse=True)
    damage = [message for message in evidence.left_out if message not in unreadable.values()]
    return _Index(studies, unreadable, _groups(evidence.rows, evidence.records, workspace), problem, damage)


def _study_folders(workspace: Workspace) -> list[Path]:
    # The folders are in order of their names; one that has lost its configuration is a study too.
    return sorted({path.parent for name in ("config.json", "log.jsonl") for path in workspace.runs.glob(f"*/{name}")})


def _state_of(info: StudyFacts) -> str:
    """Return how far a search has come: ``Running: 28 of 45 min``."""
    last = info.last_turn
    spent = duration(info.elapsed)
    limit = info.time_limit
    if info.at_work and limit is not None and limit >= 60:
        return f"Running: {info.elapsed / 60:.0f} of {limit / 60:.0f} min"
    if info.at_work:
        return f"Running: {spent}"
    if last is None:
        return "Not begun"
    ended = isinstance(last.event, SessionEnded) and last.event.reason != "interrupted"
    return f"{'Ended' if ended else 'Interrupted'} after {spent}"


def write_index(workspace: Workspace, index: _Index) -> Path:
    """Write the index of all studies beside them, and return its path."""
    path = workspace.runs / "index.html"
    content = page("index.html", index=index, headline=headline, history=history, **_board(index.standings))
    files.write_text(path, content)
    return path


def write_lacking_reports(workspace: Workspace) -> Iterator[tuple[str, str]]:
    """Write the reports that are missing or older than their study; yield each study's name, and what went wrong."""
    for folder in _study_folders(workspace):
        report = folder / "report.html"
        parts = [path for path in (folder / "config.json", folder / "log.jsonl") if path.exists()]
        if report.exists() and all(os.stat(path).st_mtime_ns <= os.stat(report).st_mtime_ns for path in parts):
            continue
        try:
            write_report(folder, workspace)
        except ContentError as error:
            yield folder.name, error.told
        else:
            yield folder.name, ""
