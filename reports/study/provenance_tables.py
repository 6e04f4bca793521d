"""Where a study's figures come from, as tables."""

from __future__ import annotations

import shlex

from reports.html.page import Column, Html, details, element, foreign, joined, paragraph, table, text
from reports.numbers import DASH, count, duration
from reports.study.provenance import Provenance


def provenance_tables(facts: Provenance) -> Html:
    """Return commands, code, machine, configuration, recipe and search space."""
    sessions = [
        [
            text(entry.utc),
            element("code", foreign(shlex.join(entry.event.command) or DASH)),
            text(count(entry.event.workers)),
            foreign(entry.event.device or DASH),
        ]
        for entry in facts.sessions
    ]
    settings = [[text(item.name), foreign(item.value), foreign(item.origin)] for item in facts.settings]
    parts = [
        element("h4", text("Train the answer again")),
        element("pre", element("code", text(facts.rerun)))
        if facts.rerun
        else paragraph("There is no answer to train again yet."),
        paragraph(
            f"The study took {duration(facts.wall_seconds)}, all sessions together. Its finished runs trained for "
            f"{duration(facts.train_seconds)} in all, on all workers together."
        ),
        table(
            "Commands that worked on this study",
            (Column("began, UTC"), Column("command"), Column("workers", numeric=True), Column("device")),
            sessions,
            identifier="sessions-caption",
        )
        if sessions
        else paragraph("The log names no command."),
        details(
            "Code, machine and data",
            table(
                "Code, machine and data behind the results",
                (Column("item"), Column("value")),
                [[text(name), foreign(value)] for name, value in facts.facts],
                identifier="facts-caption",
            ),
        ),
        details(
            "Configuration",
            table(
                "Configuration, with the origin of each value",
                (Column("setting"), Column("value"), Column("origin")),
                settings,
                identifier="settings-caption",
            ),
        ),
        details(
            "Training recipe of the search",
            table(
                "Fields of the recipe",
                (Column("field"), Column("value")),
                [[text(name), foreign(value)] for name, value in facts.recipe],
                identifier="recipe-caption",
            ),
        ),
        details("Definition of the search space", element("pre", element("code", foreign(facts.space_text)))),
    ]
    return joined(parts)
