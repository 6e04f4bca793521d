"""The leaderboard as a page: one chart over all targets, a table a target, and what the tiers mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.evidence import weight_file
from harness.evidence.leaderboard import Survey
from harness.evidence.record import Record
from harness.system import files
from harness.system.files import Workspace
from reports.board import frontier_picture
from reports.board.leaderboard_info import Group, Key, groups
from reports.board.leaderboard_table import standings, what_tiers_mean
from reports.html.chooser import chooser_script
from reports.html.dataset_tag import MNIST, shown_name
from reports.html.page import Html, Section, element, joined, left_out, page, paragraph, resource, text
from reports.numbers import plural, short


def write_leaderboard(workspace: Workspace, found: Survey) -> Path:
    """Write the leaderboard as a page beside its CSV file and return its path.

    Raises:
        UsageError: the folder cannot be written.
    """
    path = workspace.leaderboard.with_suffix(".html")
    made = groups(found.rows, found.records, with_weights(workspace, found.records))
    introduction = joined(
        [
            element("h1", text("Leaderboard")),
            _answer(made),
            left_out(error.told for error in found.damage),
        ]
    )
    footer = paragraph("Made by harness from the files of its workspace; the same files give the same page.")
    styles, scripts = resource("board/board.css"), table_scripts()
    source = page("Leaderboard", introduction, leaderboard_sections(made), footer, styles=styles, last_scripts=scripts)
    files.write_text(path, source)
    return path


def with_weights(workspace: Workspace, records: Iterable[Record]) -> list[Key]:
    """Return the keys of the records whose first seed's weights are at hand."""
    return [record.key for record in records if 0 in weight_file.kept_indices(workspace.records, record)[:1]]


def leaderboard_sections(made: Sequence[Group]) -> list[Section]:
    """Return the sections of some groups; nothing where there is none."""
    if not made:
        return []
    facts = frontier_picture.frontier(made)
    chart = [frontier_picture.draw(facts, made[0].target_pct)] if facts else []
    return [
        *(Section("frontier", "Size against errors", part) for part in chart),
        Section("standings", "Networks by target", _tabs(made)),
        Section("tiers", "What the tiers mean", what_tiers_mean()),
    ]


def table_scripts() -> list[str]:
    """Return the scripts of the tables and the tabs."""
    return [chooser_script(), resource("board/tabs.js")]


def _answer(made: Sequence[Group]) -> Html:
    """Return the smallest verified network of the first group as a sentence."""
    if not made:
        return paragraph("No row yet.")
    first, best = made[0], made[0].smallest
    goal = f"{short(first.target_pct)} % on {shown_name(first.dataset)}"
    if best is None:
        return paragraph(f"No network is verified to reach {goal} yet.", class_="verdict")
    size = plural(best.row.parameters, "parameter")
    words = f"{best.name} reaches {goal} with {size}. No smaller network is verified or certified for it."
    return paragraph(words, class_="verdict reached")


def _tabs(made: Sequence[Group]) -> Html:
    """Return a link and a part a group; a script makes tabs of them, without it all parts are in sight."""
    links = element("ul", joined(element("li", _link(group)) for group in made))
    parts = [_part(group, number) for number, group in enumerate(made, start=1)]
    return element("div", element("nav", links, aria_label="Targets"), joined(parts), data_tabs="")


def _link(group: Group) -> Html:
    other = [element("span", text(f"{group.dataset}, not MNIST"), class_="tag wait")] if group.dataset != MNIST else []
    return element("a", joined([text(f"{short(group.target_pct)} %"), *other], " "), href=f"#{group.anchor}")


def _part(group: Group, number: int) -> Html:
    heading = element(
        "h3", text(f"{shown_name(group.dataset)}, {short(group.target_pct)} %"), id=f"{group.anchor}-heading"
    )
    return element(
        "section", heading, standings(group, number), id=group.anchor, aria_labelledby=f"{group.anchor}-heading"
    )
