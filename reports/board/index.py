"""All studies of a workspace, a line each, those that cannot be read included, and their page."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from harness.evidence.events import SessionBegan
from harness.evidence.study import is_owned
from harness.system import files
from harness.system.errors import ContentError, typed
from harness.system.files import Workspace
from reports.board.leaderboard_info import Group, groups
from reports.board.leaderboard_page import leaderboard_sections, table_scripts, with_weights
from reports.html.chooser import choosable, figure, named
from reports.html.dataset_tag import dataset_tag
from reports.html.page import (
    Column,
    Html,
    Section,
    element,
    foreign,
    joined,
    left_out,
    page,
    paragraph,
    resource,
    table,
    text,
)
from reports.numbers import DASH, count, duration, plural, short
from reports.study.course.rungs import Rungs, rungs_by_protocol
from reports.study.course.rungs_tables import rungs_tables
from reports.study.headline import Outcome
from reports.study.standings import accuracy_words, tier_tag
from reports.study.study_files import Standings, StudyFiles, read_standings, read_study
from reports.study.study_info import StudyInfo, study_info
from reports.study.study_page import write_report


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


# The style sheet leaves ``spare`` columns out on a telephone.
_COLUMNS = (
    Column("study", class_="name"),
    Column("state"),
    Column("outcome", class_="spare"),
    Column("parameters", numeric=True),
    Column("test accuracy, %", numeric=True, largest_first=True),
    Column("tier"),
    Column("target", class_="spare"),
    Column("trained", numeric=True, class_="spare"),
    Column("last worked on, UTC", class_="date spare"),
    Column("more", class_="spare"),
)
_KINDS = {Outcome.REACHED: "tag good", Outcome.MISSED: "tag bad"}


def write_index(workspace: Workspace, index: Index) -> Path:
    """Write the index of all studies beside them, and return its path.

    Raises:
        UsageError: the folder cannot be written.
    """
    path = workspace.runs / "index.html"
    files.write_text(path, render(index))
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
                yield folder.name, error.told
            else:
                yield folder.name, ""


def render(index: Index) -> str:
    """Return the page of an index."""
    reached = sum(item.info.headline.outcome is Outcome.REACHED for item in index.studies)
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
    sections += leaderboard_sections(index.standings)
    if any(facts.finished for facts in index.rungs):
        parts = [rungs_tables(facts, f"rungs-{number}") for number, facts in enumerate(index.rungs) if facts.finished]
        sections.append(Section("rungs", "Was early stopping right?", joined(parts)))
    footer = paragraph("Made by harness from the files of its workspace; the same files give the same page.")
    styles, scripts = resource("board/board.css"), table_scripts()
    return page("Studies and leaderboard", introduction, sections, footer, styles=styles, last_scripts=scripts)


def _studies(index: Index) -> Html:
    parts = []
    if index.studies:
        rows = [_cells(item) for item in index.studies]
        folds = [_fold(item.info) for item in index.studies]
        made = table(
            "Studies of this workspace, the latest first.", _COLUMNS, rows, identifier="studies-caption", folds=folds
        )
        parts.append(choosable(made, "studies"))
    else:
        parts.append(paragraph(f"There is no study yet. {typed('search', '--budget', '20000')} begins one."))
    if index.unreadable:
        rows = [[foreign(item.name), foreign(item.why)] for item in index.unreadable]
        columns = (Column("study"), Column("reason"))
        parts.append(table("Studies that cannot be read.", columns, rows, identifier="unreadable-caption"))
    return joined(parts)


def _cells(item: IndexedStudy) -> list[Html]:
    info, answer = item.info, item.info.answer
    row = answer.row if answer else None
    name = named(foreign(info.name), info.name)
    accuracy = accuracy_words(row) if row else DASH
    outcome, size = info.headline.outcome, answer.parameters if answer else None
    return [
        element("a", name, href=item.link) if item.link else name,
        text(item.state),
        element("span", text(outcome), class_=_KINDS.get(outcome, "tag")),
        figure(count(size), size, is_amount=True),
        figure(accuracy, row.mean_test_accuracy_pct if row else None),
        tier_tag(row.tier) if row else text(DASH),
        joined([text(f"{short(info.config.target_pct)} % on"), dataset_tag(info.config.dataset)], " "),
        figure(count(info.accounting.trained), info.accounting.trained, is_amount=True),
        text(info.provenance.last_utc.partition("+")[0].replace("T", " ")[:16] or DASH),
        Html(""),
    ]


def _fold(info: StudyInfo) -> Html:
    """Return what a row unfolds to: the verdict, and what was searched for."""
    goal = [text(f"Budget: {count(info.config.budget)} parameters. Search space: "), foreign(info.config.space)]
    spent = f"Networks trained: {count(info.accounting.trained)} in {duration(info.provenance.wall_seconds)}."
    content = joined([element("p", text(info.headline.verdict)), element("p", *goal, text(".")), paragraph(spent)])
    summary = element("summary", text("more"), aria_label=f"more about {info.name}")
    return element("details", summary, element("div", content, class_="inside"))


def _is_current(folder: Path) -> bool:
    """Tell whether a study has a report that is as new as all else in its folder that reports show."""
    try:
        made = os.stat(folder / "report.html").st_mtime_ns
    except OSError:
        return False
    parts = [path for path in (folder / "config.json", folder / "log.jsonl", folder / "results") if path.exists()]
    return all(os.stat(path).st_mtime_ns <= made for path in parts)
