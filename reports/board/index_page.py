"""The index of a workspace: a page of all its studies, with the leaderboard below."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from harness.system import files
from harness.system.errors import ContentError
from harness.system.invocation import typed
from harness.system.workspace import Workspace
from reports.board.index import Index, IndexedStudy, study_folders
from reports.board.leaderboard_page import leaderboard_sections, table_scripts
from reports.html.chooser import choosable, figure, named
from reports.html.dataset_tag import dataset_tag
from reports.html.numbers import DASH, count, duration, plural, short
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
from reports.study.course.rungs_tables import rungs_tables
from reports.study.headline import Outcome
from reports.study.standings import accuracy_words, tier_tag
from reports.study.study_info import StudyInfo
from reports.study.study_page import write_report

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
        figure(count(info.accounting.begun), info.accounting.begun, is_amount=True),
        text(info.provenance.last_utc.partition("+")[0].replace("T", " ")[:16] or DASH),
        Html(""),
    ]


def _fold(info: StudyInfo) -> Html:
    """Return what a row unfolds to: the verdict, and what was searched for."""
    goal = [text(f"Budget: {count(info.config.budget)} parameters. Search space: "), foreign(info.config.space)]
    spent = f"Networks trained: {count(info.accounting.begun)} in {duration(info.provenance.wall_seconds)}."
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
