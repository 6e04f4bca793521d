"""All facts of a study's report, computed from what was read; a page only puts them into words and charts."""

from __future__ import annotations

from dataclasses import dataclass

from harness.data.datasets import dataset
from harness.evidence.leaderboard import LeaderboardRow
from harness.evidence.record import Record
from harness.evidence.study import StudyConfig
from harness.system.errors import typed
from harness.training.inspection import Inspection
from reports.study.answer import Caveats, Headline, NextStep, Winner, caveats, headline, next_step, winner
from reports.study.choices import Choices, choices
from reports.study.mistakes import Mistakes, mistakes
from reports.study.networks import Network, named, networks
from reports.study.provenance import Provenance, provenance, recipe_options
from reports.study.pruning import Rungs, rungs_by_length
from reports.study.search_course import (
    Accounting,
    AccuracyPicture,
    Curve,
    EffectiveBudget,
    Progress,
    SeedSpread,
    TimeSpent,
    accounting,
    accuracy_picture,
    effective_budget,
    first_ends,
    learning_curves,
    progress,
    seed_spread,
    time_spent,
)
from reports.study.study_files import StudyFiles
from search_spaces.cost import Analysis, analyse


@dataclass(frozen=True, slots=True, kw_only=True)
class _WinnerInfo:
    """The answer, looked at closely.

    Attributes:
        network: None where the log has lost it; so with its ``analysis``.
        kernels: the inspected seed that shows its first kernels, None where there is none.
        commands: what to type, each with what it does.
    """

    network: Network | None
    analysis: Analysis | None
    mistakes: Mistakes | None
    kernels: Inspection | None
    commands: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyInfo:
    """The facts of one report.

    Attributes:
        answer: the network that the study answers with, None where it has none; ``closer`` is a look at it.
        networks: all that the study has trained or begun, best first; ``ends`` says after how many seconds the first
            run of one ended, by its place.
        rungs: what is known of pruning, for each length of a training.
        rows: the workspace's standings on this data set.
        left_out: what is wrong with files of the workspace that the facts lack.
    """

    name: str
    config: StudyConfig
    headline: Headline
    answer: Winner | None
    closer: _WinnerInfo | None
    next_step: NextStep | None
    caveats: Caveats
    networks: tuple[Network, ...]
    ends: dict[int, float]
    picture: AccuracyPicture
    curves: tuple[Curve, ...]
    rungs: tuple[Rungs, ...]
    seeds: SeedSpread
    choices: Choices | None
    time: TimeSpent
    accounting: Accounting
    progress: Progress
    budget: EffectiveBudget
    provenance: Provenance
    rows: tuple[LeaderboardRow, ...]
    left_out: tuple[str, ...]


def study_info(files: StudyFiles) -> StudyInfo:
    """Return the facts of a study's report."""
    found = tuple(named(networks(files)))
    answer = winner(files)
    config = files.config
    return StudyInfo(
        name=files.name,
        config=config,
        headline=headline(files, found, answer),
        answer=answer,
        closer=_closer(files, found, answer) if answer else None,
        next_step=next_step(files, answer),
        caveats=caveats(files, found, answer),
        networks=found,
        ends=first_ends(files, found),
        picture=accuracy_picture(files, found),
        curves=learning_curves(found),
        rungs=rungs_by_length(files),
        seeds=seed_spread(files, found),
        choices=choices(found, config),
        time=time_spent(files),
        accounting=accounting(files, found),
        progress=progress(files, found),
        budget=effective_budget(files, found),
        provenance=provenance(files, answer),
        rows=tuple(row for row in files.rows if row.dataset == config.dataset),
        left_out=files.left_out,
    )


def _closer(files: StudyFiles, of: tuple[Network, ...], answer: Winner) -> _WinnerInfo:
    network = next((item for item in of if item.hash == answer.hash), None)
    row = answer.row
    measured = next((item for item in files.measured if row is not None and item.row.key == row.key), None)
    inspections = measured.inspections if measured else ()
    return _WinnerInfo(
        network=network,
        analysis=analyse(network.architecture, dataset(files.config.dataset).task) if network else None,
        mistakes=mistakes(measured.record, inspections) if measured else None,
        kernels=next((item for item in inspections if item.kernels), None),
        commands=tuple(_commands(files, answer, network, measured.record if measured else None)),
    )


def _commands(
    files: StudyFiles, answer: Winner, network: Network | None, record: Record | None
) -> list[tuple[str, str]]:
    """Return the commands, the exact repetition first; the second needs neither this study nor its records."""
    config = files.config
    if record is None:
        seeds, target = [], config.target_pct
        again = "trains it on fresh seeds and reads the test set"
        recipe = recipe_options(*_recipe_of(config, network))
    else:
        seeds, target = ["--seeds", str(max(run.index for run in record.seeds) + 1)], record.target_pct
        again = "trains the recorded seeds again and compares them with the record, bit for bit on an equal machine"
        recipe = recipe_options(record.recipe_name, record.recipe.epochs)
    found = [(typed("verify", answer.hash, *seeds), again)]
    if network is not None:
        notation = str(network.architecture)
        goal = ["--dataset", config.dataset, "--target", f"{target:.12g}"]
        words = "does the same where this study is not at hand, if the recipe of that name is still the same"
        found.append((typed("verify", notation, *recipe, *goal, *seeds), words))
        found.append((typed("explain", notation, "--torch"), "counts it again, with torch and others"))
    return found


def _recipe_of(config: StudyConfig, network: Network | None) -> tuple[str, int | None]:
    epochs = network.epochs if network else None
    return config.recipe_of(epochs)[1], epochs
