"""The report of one study: a single page that needs no network, no script and no other file."""

from __future__ import annotations

from pathlib import Path

from harness import files
from harness.workspace import Workspace
from reports import accuracy_picture, budget_picture, honesty_box
from reports.accounting import Accounting, Share
from reports.headline import Headline, Outcome
from reports.numbers import DASH, count, duration, mean_and_deviation, pct, plural, short
from reports.page import (
    Column,
    Html,
    Section,
    details,
    element,
    foreign,
    joined,
    page,
    paragraph,
    table,
    terms,
    text,
)
from reports.provenance import Provenance
from reports.standings import anchor, leaderboard_table, networks_table
from reports.study_files import read_study
from reports.study_info import StudyInfo, study_info
from reports.toy_row import toy_row, toy_table

GLOSSARY = {
    "parameters": "every stored number that training, data or a random draw has set, a shared kernel once; running "
    "statistics of batch normalisation are not counted",
    "budget": "the most parameters a network may have; the effective budget falls below the smallest one that stands",
    "seed": "the number that fixes first weights, order of the images and augmentation of one training run",
    "fresh seeds": "seeds that played no part in choosing the network",
    "stands": "its one-sided 80 % lower bound over at least three fresh validation seeds meets the threshold",
    "refuted": "it met the threshold by luck of one seed, and missed it on fresh ones",
    "pruned": "stopped early, because its curve said that it would not reach the threshold",
    "diverged": "its loss stopped being a finite number",
    "Pareto front": "the networks that are more accurate than every network of equal or smaller size",
    "recipe": "everything that training does to a network except the network, the images and the seed",
}


def write_report(folder: Path, workspace: Workspace) -> Path:
    """Write the report of the study in ``folder`` and return its path.

    Raises:
        ContentError: there is no study, or a file of the study or the workspace does not hold together.
        UsageError: the folder cannot be written.
    """
    path = folder / "report.html"
    files.write_text(path, render(study_info(read_study(folder, workspace))))
    return path


def render(info: StudyInfo) -> str:
    """Return the page."""
    introduction = joined(
        [
            element("h1", text("Study "), foreign(info.name)),
            _verdict(info.headline),
            paragraph(info.headline.progress),
            _figures(info),
        ]
    )
    sections = [
        Section("honesty", "Can this be believed?", honesty_box.box(info.honesty)),
        Section("picture", "Parameters against accuracy", accuracy_picture.draw(info.picture)),
        Section("networks", "Networks of this study", networks_table(info.networks, info.config.threshold_pct)),
        Section("leaderboard", "Leaderboard", leaderboard_table(info.rows, info.config.dataset)),
        Section("toy", "The toy", toy_table(toy_row())),
        Section("proposals", "Where the proposals went", _accounting(info.accounting)),
        Section("budget", "Effective budget", budget_picture.draw(info.budget)),
        Section("provenance", "Provenance", _provenance(info.provenance)),
        Section("glossary", "Glossary", _glossary()),
    ]
    when = info.provenance.last_utc or "unknown time"
    footer = paragraph(f"Made by harness from the study's files as of {when}; the same files give the same page.")
    return page(f"{info.headline.outcome}: study {info.name}", introduction, sections, footer)


def _verdict(headline: Headline) -> Html:
    kinds = {Outcome.REACHED: "verdict reached", Outcome.MISSED: "verdict missed"}
    return element("p", text(headline.verdict), class_=kinds.get(headline.outcome, "verdict"))


def _figures(info: StudyInfo) -> Html:
    answer, row = info.answer, info.answer.row if info.answer else None
    figures = [
        (
            "network",
            element("a", element("code", text(answer.hash)), href=f"#{anchor(answer.hash)}") if answer else text(DASH),
        ),
        ("parameters", text(count(answer.parameters) if answer else DASH)),
        (
            "mean test accuracy, %",
            text(mean_and_deviation(row.mean_test_accuracy_pct, row.std_test_accuracy_pct) if row else DASH),
        ),
        ("99 % lower bound", text(pct(row.lower_bound_pct if row else None))),
        ("target", text(f"{short(info.config.target_pct)} % on {info.config.dataset}")),
        ("budget", text(count(info.config.budget))),
        ("time, all told", text(duration(info.provenance.wall_seconds))),
    ]
    return element(
        "dl",
        joined(element("div", element("dt", text(name)), element("dd", value)) for name, value in figures),
        class_="figures",
    )


def _accounting(facts: Accounting) -> Html:
    if not facts.proposed and not facts.runs:
        return paragraph("Nothing has been proposed yet.")
    return joined(
        [
            paragraph(
                f"{plural(facts.proposed, 'proposal')} = {count(facts.rejected)} rejected before anything was built "
                f"+ {count(facts.repeated)} repeated + {count(facts.to_train)} to train. Of the last, "
                f"{count(facts.begun)} have a finished run; there are {plural(facts.runs, 'finished run')}, because a "
                "network that passed is trained on further seeds."
            ),
            _shares("Rejections by reason", "reason", facts.rejections, "rejections-caption"),
            _shares("Finished runs by how they ended", "ended", facts.outcomes, "outcomes-caption"),
        ]
    )


def _shares(caption: str, name: str, shares: tuple[Share, ...], identifier: str) -> Html:
    if not shares:
        return paragraph(f"{caption}: none.")
    total = sum(share.count for share in shares)
    largest = max(share.count for share in shares)
    rows = [
        [
            foreign(share.name),
            text(count(share.count)),
            text(pct(100 * share.count / total, 1)),
            element("div", _bar(share.count / largest), class_="share"),
        ]
        for share in shares
    ]
    columns = (Column(name), Column("count", numeric=True), Column("share", numeric=True), Column("of the largest"))
    return table(caption, columns, rows, identifier=identifier)


def _bar(length: float) -> Html:
    inside = element("rect", x=0, y=0, width=max(100 * length, 0.5), height=10, class_="share-bar")
    return element("svg", inside, viewBox="0 0 100 10", preserveAspectRatio="none", aria_hidden="true")


def _provenance(facts: Provenance) -> Html:
    sessions = [
        [text(item.utc), element("code", foreign(item.command or DASH)), text(item.workers), foreign(item.device)]
        for item in facts.sessions
    ]
    settings = [[text(item.name), foreign(item.value), foreign(item.origin)] for item in facts.settings]
    parts = [
        element("h3", text("Train the answer again")),
        element("pre", element("code", text(facts.rerun)))
        if facts.rerun
        else paragraph("There is no answer to train again yet."),
        paragraph(
            f"The study took {duration(facts.wall_seconds)}, all sessions together; its finished runs trained for "
            f"{duration(facts.train_seconds)}, side by side where there were several workers."
        ),
        table(
            "Commands that worked on this study",
            (Column("began, UTC"), Column("command"), Column("workers", numeric=True), Column("device")),
            sessions,
            identifier="sessions-caption",
        )
        if sessions
        else paragraph("The journal names no command."),
        table(
            "Code, machine and data behind the results",
            (Column("what"), Column("value")),
            [[text(name), foreign(value)] for name, value in facts.facts],
            identifier="facts-caption",
        ),
        table(
            "Configuration, with the origin of each value",
            (Column("setting"), Column("value"), Column("origin")),
            settings,
            identifier="settings-caption",
        ),
        details(
            "Training recipe of the search",
            table(
                "Fields of the recipe",
                (Column("field"), Column("value")),
                [[text(item.name), foreign(item.value)] for item in facts.recipe],
                identifier="recipe-caption",
            ),
        ),
        details("Definition of the search space", element("pre", element("code", foreign(facts.space_text)))),
    ]
    return joined(parts)


def _glossary() -> Html:
    return terms({word: f"{meaning}." for word, meaning in GLOSSARY.items()})
