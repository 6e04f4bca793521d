"""The report of one study: one page that needs no network, no other file, and no script to say all it has to say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.data.datasets import dataset
from harness.search import race
from harness.system import files
from harness.system.files import Workspace
from reports.html.dataset_tag import MNIST, dataset_banner
from reports.html.funnel import funnel
from reports.html.page import (
    Html,
    Section,
    element,
    figures,
    foreign,
    joined,
    left_out,
    page,
    paragraph,
    resource,
    terms,
    text,
)
from reports.html.shares import shares_table
from reports.numbers import DASH, count, duration, mean_and_deviation, pct, plural, short
from reports.study import caveats_box
from reports.study.course import (
    accuracy_picture,
    budget_picture,
    learning_curves,
    seed_spread,
    time_spent,
    winners_curse_picture,
)
from reports.study.course.accounting import Accounting
from reports.study.course.choices_table import choices_tables
from reports.study.course.rungs import FEWEST, Rungs
from reports.study.course.rungs_tables import rungs_tables
from reports.study.headline import Outcome
from reports.study.network.network_info import NetworkInfo
from reports.study.network.network_section import about, network_section
from reports.study.networks import minimised
from reports.study.next_step import NextStep
from reports.study.progress import cards, running_table
from reports.study.provenance_tables import provenance_tables
from reports.study.standings import anchor, leaderboard_table, networks_table
from reports.study.study_controls import filter_bar, study_data, study_script
from reports.study.study_files import read_study
from reports.study.study_info import StudyInfo, study_info

GLOSSARY = {
    "parameters": "learned numbers, a shared kernel once; the running statistics of batch normalisation are not "
    "learned and not counted",
    "budget": "the most parameters a network may have; the effective budget falls below that of the best confirmed one",
    "seed": "the number that fixes first weights, order of the images and augmentation of one training run",
    "fresh seeds": "seeds that played no part in choosing the network",
    "first look": "the validation accuracy of the run that the search chose by, one seed",
    "poses": "rotated or mirrored copies of one kernel that share its weights, as in p4 and p4m group convolutions",
    "confirmed": f"by its fresh validation seeds, {race.CONFIRM_SEEDS} at the least, the chance that its verification "
    f"passes is {100 * race.CONFIDENCE:g} % or more",
    "failed confirmation": f"it met the threshold with its first seed, but not on fresh ones: {race.MOST_SEEDS} were "
    f"run, or the chance that more confirm it is below {100 * race.LEAST_CHANCE:g} %; their mean itself may meet it",
    "pruned": "stopped early, because at most one training in ten would reach the threshold from there",
    "rung": "an epoch after which it is decided whether a run is pruned",
    "exempt": "trained to the end whatever its rungs said: one network in ten, by its hash, so that wrong pruning can "
    "be counted",
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


def render(info: StudyInfo, top: Html | None = None, last_scripts: Sequence[str] = ()) -> str:
    """Return the page; ``top`` stands before all else, and ``last_scripts`` are loaded last."""
    introduction = joined(
        [
            element("h1", text("Study "), foreign(info.name)),
            dataset_banner(info.config.dataset),
            _verdict(info),
            paragraph(info.headline.progress),
            left_out(info.left_out),
            _figures(info),
            *([running_table(info.progress)] if info.progress.searching else []),
        ]
    )
    when = info.provenance.last_utc or "unknown time"
    footer = joined(
        [
            paragraph(f"Made by harness from the study's files as of {when}; the same files give the same page."),
            paragraph("Folded sections are not printed; unfold them first.", class_="print-only"),
        ]
    )
    return page(
        f"{info.headline.outcome}: study {info.name}",
        introduction,
        [part for part in _sections(info) if part.content],
        footer,
        toolbar=filter_bar(info.networks, info.config.minimise) if info.networks else None,
        toolbar_group=SEARCH,
        styles=resource("study/study.css"),
        script=study_script(),
        data=study_data(info) if info.networks else None,
        last_scripts=last_scripts,
        top=top or Html(""),
    )


ANSWER, EVIDENCE, SEARCH, PROVENANCE = "Answer", "Evidence", "Search", "Provenance"


def _sections(info: StudyInfo) -> list[Section]:
    """Return the sections in the order in which a reader asks; those without content have nothing to say yet."""
    config = info.config
    task = dataset(config.dataset).task
    answer = next((item for item in info.closer if info.answer and item.network.hash == info.answer.hash), None)
    others = [item for item in info.closer if item is not answer]
    rows = leaderboard_table(info.rows, config.dataset, config.target_pct, config.minimise) if info.rows else Html("")
    networks = networks_table(info.networks, task, config.threshold_pct, config.minimise)
    glossary = terms({word: f"{meaning}." for word, meaning in GLOSSARY.items()})
    return [
        Section("picture", info.picture.title, accuracy_picture.draw(info.picture), ANSWER),
        Section("winner", "The winner", network_section(answer, unfolded=True) if answer else Html(""), ANSWER),
        Section("next", "What to do next", _next(info.next_step), ANSWER),
        Section("caveats", "Can this be believed?", caveats_box.box(info.caveats), EVIDENCE),
        Section("seeds", "Variation between seeds", seed_spread.draw(info.seeds), EVIDENCE),
        Section("curse", "How much was luck?", winners_curse_picture.draw(info.curse), EVIDENCE, folded=True),
        Section("leaderboard", "Leaderboard", rows, EVIDENCE),
        Section("budget", "The search over time", budget_picture.draw(info.budget, info.tried, info.lanes), SEARCH),
        Section("networks", "Networks of this study", networks, SEARCH),
        Section("closer", "Other networks in detail", _closer(others, len(info.networks)), SEARCH),
        Section("curves", "Learning curves", learning_curves.draw(info.curves), SEARCH, folded=True),
        Section("rungs", "Was early stopping right?", _rungs(info.rungs), SEARCH, folded=True),
        Section("choices", "Which choices mattered", choices_tables(info.choices), SEARCH, folded=True),
        Section("time", "Where the time went", time_spent.draw(info.time), SEARCH, folded=True),
        Section("proposals", "Where the proposals went", _accounting(info.accounting), SEARCH, folded=True),
        Section("provenance", "Commands, code and machine", provenance_tables(info.provenance), PROVENANCE),
        Section("glossary", "Glossary", glossary, PROVENANCE, folded=True),
    ]


def _verdict(info: StudyInfo) -> Html:
    kinds = {Outcome.REACHED: "verdict reached", Outcome.MISSED: "verdict missed"}
    # Green is for a success on the data set that the program is about.
    doubtful = info.headline.outcome is Outcome.REACHED and info.config.dataset != MNIST
    kind = "verdict" if doubtful else kinds.get(info.headline.outcome, "verdict")
    return element("p", text(info.headline.verdict), class_=kind)


def _next(step: NextStep | None) -> Html:
    if step is None:
        return Html("")
    return element("p", element("code", foreign(step.command)), text(f" {step.words}."))


def _figures(info: StudyInfo) -> Html:
    """Return the figures of the answer; without one, where the search stands."""
    if info.answer is None:
        return cards(info.progress)
    answer, row = info.answer, info.answer.row
    network = next((item for item in info.networks if item.hash == answer.hash), None)
    label = answer.hash if network is None else network.label
    closer = {item.network.hash for item in info.closer}
    place = about(answer.hash) if answer.hash in closer else anchor(answer.hash)
    shown = [
        ("network", element("a", text(label), href=f"#{place}")),
        ("parameters", text(count(answer.parameters))),
    ]
    if row is not None:
        wrong = DASH if row.test_errors_mean is None else short(round(row.test_errors_mean, 1))
        shown += [
            ("mean test accuracy, %", text(mean_and_deviation(row.mean_test_accuracy_pct, row.std_test_accuracy_pct))),
            ("test images wrong, mean", text(wrong)),
            ("99 % lower bound", text(pct(row.lower_bound_pct))),
        ]
    shown += [
        ("target", text(f"{short(info.config.target_pct)} % on {info.config.dataset}")),
        ("budget", text(count(info.config.budget))),
        *((name, text(words)) for name, words in minimised(network, info.config)),
        ("time in all", text(duration(info.provenance.wall_seconds))),
    ]
    return figures(shown)


def _closer(others: Sequence[NetworkInfo], networks: int) -> Html:
    if not others:
        return Html("")
    note = paragraph(
        f"{len(others)} of {count(networks)} networks: those that were tested, those that were confirmed or failed "
        "confirmation, and those on the Pareto front.",
        class_="note",
    )
    return joined([note, *map(network_section, others)])


def _rungs(facts: Sequence[Rungs]) -> Html:
    """Return the tables of each length of a training that has some to say, the shortest first."""
    facts = [item for item in facts if item.finished >= FEWEST or any(part.spared for part in item.pruning)]
    several = len(facts) > 1
    return joined(rungs_tables(item, f"rungs-{item.epochs}" if several else "rungs") for item in facts)


def _accounting(facts: Accounting) -> Html:
    if not facts.proposed and not facts.runs:
        return Html("")
    return joined(
        [
            funnel("From proposals to a verified network", facts.steps, "funnel"),
            paragraph(
                "Every step counts proposals: a network with one length of its training. Within the limits: not "
                "rejected for its size, its shape or its cost. Bars are logarithmic."
            ),
            paragraph(
                f"{plural(facts.proposed, 'proposal')} = {count(facts.rejected)} rejected before training "
                f"+ {count(facts.repeated)} repeated + {count(facts.to_train)} to train. Trained so far: "
                f"{count(facts.trained)}. There are {plural(facts.runs, 'finished run')}: what reaches the threshold "
                "is trained on further seeds."
            ),
            shares_table("Rejections by reason", "reason", "count", facts.rejections, "rejections-caption"),
            shares_table("Finished runs by outcome", "ended", "count", facts.outcomes, "outcomes-caption"),
        ]
    )
