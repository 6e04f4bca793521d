"""The report of one study: one page that needs no network, no other file, and no script to say all it has to say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness import files
from harness.search import race
from harness.workspace import Workspace
from reports import (
    accuracy_picture,
    budget_picture,
    honesty_box,
    learning_curves,
    seed_spread,
    time_spent,
    winners_curse_picture,
)
from reports.accounting import Accounting
from reports.choices_table import choices_tables
from reports.headline import Headline, Outcome
from reports.network_section import about, network_section
from reports.next_step import NextStep
from reports.numbers import DASH, count, duration, mean_and_deviation, pct, plural, short
from reports.page import Html, Section, element, foreign, joined, left_out, page, paragraph, resource, terms, text
from reports.provenance_tables import provenance_tables
from reports.rungs import Rungs
from reports.rungs_tables import rungs_tables
from reports.shares import shares_table
from reports.standings import leaderboard_table, networks_table
from reports.study_controls import filter_bar, study_data, study_script
from reports.study_files import read_study
from reports.study_info import StudyInfo, study_info
from reports.toy_row import toy_row, toy_table

GLOSSARY = {
    "parameters": "every stored number that training, data or a random draw has set, a shared kernel once; running "
    "statistics of batch normalisation are not counted",
    "budget": "the most parameters a network may have; the effective budget falls below the smallest one that stands",
    "seed": "the number that fixes first weights, order of the images and augmentation of one training run",
    "fresh seeds": "seeds that played no part in choosing the network",
    "first look": "the validation accuracy of the run that the search chose by, one seed",
    "stands": f"by its fresh validation seeds, {race.STAND_SEEDS} at the least, the chance that its verification "
    f"passes is {100 * race.CONFIDENCE:g} % or more",
    "refuted": f"it met the threshold with its first seed, but does not stand on fresh ones: {race.MOST_SEEDS} were "
    "run, or there is hardly a chance that more would help; their mean itself may meet it",
    "pruned": "stopped early, because its curve said that it would not reach the threshold",
    "rung": "an epoch after which it is decided whether a run is pruned",
    "exempt": "trained to the end whatever its rungs said: one network in ten, by lot, so that wrong pruning can be "
    "counted",
    "diverged": "its loss stopped being a finite number",
    "Pareto front": "the networks that are more accurate than every network of equal or smaller size",
    "recipe": "everything that training does to a network except the network, the images and the seed",
    "epochs": "how often a training goes through all images; a search may choose them for each network",
    "prior": "earlier trainings that the model of the errors begins with",
}


def write_report(folder: Path, workspace: Workspace) -> Path:
    """Write the report of the study in ``folder`` and return its path.

    Raises:
        ContentError: there is no study, or one of its files or the ledger does not hold together.
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
            left_out(info.left_out),
            _next(info.next_step),
            _figures(info),
        ]
    )
    sections = [
        Section("honesty", "Can this be believed?", honesty_box.box(info.honesty)),
        Section("picture", "Parameters against accuracy", accuracy_picture.draw(info.picture)),
        Section("networks", "Networks of this study", networks_table(info.networks, info.config.threshold_pct)),
        Section("closer", "Networks worth a closer look", _closer(info)),
        Section("curves", "Learning curves", learning_curves.draw(info.curves)),
        Section("rungs", "Does an early reading predict the end?", _rungs(info.rungs)),
        Section("seeds", "How far seeds lie apart", seed_spread.draw(info.seeds)),
        Section("curse", "What first looks owed to luck", winners_curse_picture.draw(info.curse)),
        Section("budget", "The search over time", budget_picture.draw(info.budget, info.tried)),
        Section("choices", "Which choices mattered", choices_tables(info.choices)),
        Section("time", "Where the time went", time_spent.draw(info.time)),
        Section("proposals", "Where the proposals went", _accounting(info.accounting)),
        Section("leaderboard", "Leaderboard", leaderboard_table(info.rows, info.config.dataset)),
        Section("toy", "The toy", toy_table(toy_row())),
        Section("provenance", "Provenance", provenance_tables(info.provenance)),
        Section("glossary", "Glossary", _glossary()),
    ]
    when = info.provenance.last_utc or "unknown time"
    footer = paragraph(f"Made by harness from the study's files as of {when}; the same files give the same page.")
    return page(
        f"{info.headline.outcome}: study {info.name}",
        introduction,
        sections,
        footer,
        toolbar=filter_bar(info.networks) if info.networks else None,
        styles=resource("study.css"),
        script=study_script(),
        data=study_data(info) if info.networks else None,
    )


def _verdict(headline: Headline) -> Html:
    kinds = {Outcome.REACHED: "verdict reached", Outcome.MISSED: "verdict missed"}
    return element("p", text(headline.verdict), class_=kinds.get(headline.outcome, "verdict"))


def _next(step: NextStep | None) -> Html:
    if step is None:
        return Html("")
    return element("p", text("Next: "), element("code", foreign(step.command)), text(f" {step.words}."))


def _figures(info: StudyInfo) -> Html:
    answer, row = info.answer, info.answer.row if info.answer else None
    figures = [
        (
            "network",
            element("a", element("code", text(answer.hash)), href=f"#{about(answer.hash)}") if answer else text(DASH),
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


def _closer(info: StudyInfo) -> Html:
    if not info.closer:
        return paragraph("No network has been tested, has stood or is on the front yet.")
    answer = info.answer.hash if info.answer else None
    note = paragraph(
        "First what was measured on the test set, then the winner, what stands, the Pareto front, and what fell on "
        f"fresh seeds, as far as there is room: {plural(len(info.closer), 'network')} of {count(len(info.networks))}; "
        "the others are in the table above."
    )
    # Whoever opens the page wants the answer first.
    closer = sorted(info.closer, key=lambda item: item.network.hash != answer)
    return joined([note, *(network_section(item, unfolded=item.network.hash == answer) for item in closer)])


def _rungs(facts: Sequence[Rungs]) -> Html:
    """Return the tables of each length of a training, the shortest first."""
    several = len(facts) > 1
    return joined(rungs_tables(item, f"rungs-{item.epochs}" if several else "rungs") for item in facts)


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
            shares_table("Rejections by reason", "reason", "count", facts.rejections, "rejections-caption"),
            shares_table("Finished runs by how they ended", "ended", "count", facts.outcomes, "outcomes-caption"),
        ]
    )


def _glossary() -> Html:
    return terms({word: f"{meaning}." for word, meaning in GLOSSARY.items()})
