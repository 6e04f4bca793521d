"""The index of a workspace's studies, and the leaderboard, as pages."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from harness import files
from harness.errors import ContentError
from harness.evidence.leaderboard import Survey, survey
from harness.workspace import Workspace
from reports.chooser import choosable, figure, named, with_chooser
from reports.headline import Outcome
from reports.index import Index, IndexedStudy, read_index, study_folders
from reports.index_leaderboard import leaderboard_sections
from reports.numbers import DASH, count, duration, mean_and_deviation, plural, short
from reports.page import (
    Column,
    Html,
    Section,
    details,
    element,
    foreign,
    joined,
    left_out,
    page,
    paragraph,
    table,
    text,
)
from reports.rungs_tables import rungs_tables
from reports.study_page import write_report

_COLUMNS = (
    Column("study", class_="name"),
    Column("outcome"),
    Column("parameters", numeric=True),
    Column("test accuracy, %", numeric=True),
    Column("searched for"),
    Column("trained", numeric=True),
    Column("time", numeric=True),
    Column("last worked on, UTC", class_="date"),
    Column("verdict"),
)
_KINDS = {Outcome.REACHED: "tag good", Outcome.MISSED: "tag bad"}


def write_index(workspace: Workspace, index: Index | None = None) -> Path:
    """Write the index of all studies, read now where it is not given, beside them, and return its path.

    Raises:
        UsageError: the folder cannot be written.
    """
    path = workspace.runs / "index.html"
    files.write_text(path, render(index or read_index(workspace)))
    return path


def write_lacking_reports(workspace: Workspace) -> Iterator[tuple[str, str]]:
    """Write the reports that are missing or older than their study; yield each study's name, and what went wrong.

    Raises:
        UsageError: a folder cannot be written.
    """
    for folder in study_folders(workspace):
        if not _is_current(folder):
            try:
                write_report(folder, workspace)
            except ContentError as error:
                yield folder.name, error.message
            else:
                yield folder.name, ""


def write_leaderboard(workspace: Workspace, found: Survey | None = None) -> Path:
    """Write the leaderboard, read now where it is not given, as a page beside its CSV file and return its path.

    Raises:
        ContentError: the ledger does not hold together.
        UsageError: the folder cannot be written.
    """
    path = workspace.leaderboard.with_suffix(".html")
    found = found or survey(workspace)
    sections = leaderboard_sections(found.rows)
    introduction = joined(
        [
            element("h1", text("Leaderboard")),
            paragraph(_LEADERBOARD_WORDS) if sections else paragraph("No row yet."),
            left_out(error.message for error in found.damage),
        ]
    )
    files.write_text(path, with_chooser(page("Leaderboard", introduction, sections, _footer())))
    return path


_LEADERBOARD_WORDS = (
    "Certified and verified rows reach their target as the mean over training seeds that were fixed in advance, at the "
    "last epoch, the test set read once a seed, and a lower bound of that mean reaches it too. All others are figures "
    "with less behind them: at the target the mean reaches it and its 90 % lower bound does not, measured ones miss "
    "the target or have fewer than five seeds, searched ones were never tested, claimed ones are somebody's word."
)


def render(index: Index) -> str:
    """Return the page of an index."""
    reached = sum(item.outcome is Outcome.REACHED for item in index.studies)
    introduction = joined(
        [
            element("h1", text("Studies and leaderboard")),
            element(
                "p",
                text(f"{plural(len(index.studies), 'study', 'studies')}; targets reached: {reached}."),
                class_="verdict",
            ),
        ]
    )
    sections = [Section("studies", "Studies", _studies(index))]
    if index.problem:
        sections.append(Section("leaderboard", "Leaderboard", paragraph(f"It cannot be read: {index.problem}")))
    # Studies that cannot be read are named above.
    above = {item.why for item in index.unreadable}
    if damage := [message for message in index.damage if message not in above]:
        sections.append(Section("left-out", "Leaderboard: what it lacks", left_out(damage)))
    sections += leaderboard_sections(index.rows)
    if any(facts.finished for facts in index.rungs):
        parts = [rungs_tables(facts, f"rungs-{number}") for number, facts in enumerate(index.rungs) if facts.finished]
        sections.append(Section("rungs", "Does an early reading predict the end?", joined(parts)))
    return with_chooser(page("Studies and leaderboard", introduction, sections, _footer()))


def _studies(index: Index) -> Html:
    parts = []
    if index.studies:
        rows = [_cells(item) for item in index.studies]
        caption = "All studies of this workspace, the one that was worked on last first."
        parts.append(choosable(table(caption, _COLUMNS, rows, identifier="studies-caption"), "studies"))
    else:
        parts.append(paragraph("There is no study yet: harness search --budget 20000 begins one."))
    if index.unreadable:
        rows = [[foreign(item.name), foreign(item.why)] for item in index.unreadable]
        columns = (Column("study"), Column("why"))
        parts.append(table("Studies that cannot be read.", columns, rows, identifier="unreadable-caption"))
    return joined(parts)


def _cells(item: IndexedStudy) -> list[Html]:
    name = named(foreign(item.name), item.name)
    return [
        element("a", name, href=item.link) if item.link else name,
        element("span", text(item.outcome), class_=_KINDS.get(item.outcome, "tag")),
        figure(count(item.parameters), item.parameters, is_amount=True),
        figure(
            mean_and_deviation(item.mean_test_accuracy_pct, item.std_test_accuracy_pct, 3), item.mean_test_accuracy_pct
        ),
        joined(
            [
                text(f"{short(item.target_pct)} % on"),
                foreign(item.dataset),
                text(f"within {count(item.budget)} of"),
                foreign(item.space),
            ],
            " ",
        ),
        figure(count(item.trained), item.trained, is_amount=True),
        figure(duration(item.wall_seconds), item.wall_seconds, is_amount=True),
        text(item.last_utc.partition("+")[0].replace("T", " ") or DASH),
        details("verdict", element("p", text(item.verdict))),
    ]


def _footer() -> Html:
    return paragraph("Made by harness from the files of its workspace; the same files give the same page.")


def _is_current(folder: Path) -> bool:
    """Tell whether a study has a report that is as new as all else in its folder that reports show."""
    try:
        made = os.stat(folder / "report.html").st_mtime_ns
    except OSError:
        return False
    parts = [path for path in (folder / "config.json", folder / "log.jsonl", folder / "results") if path.exists()]
    return all(os.stat(path).st_mtime_ns <= made for path in parts)
