"""Searches without training, of networks whose accuracies are made up from their sizes.

``run`` runs one session; ``tests.fakes.without_processes`` has to stand in for its workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.data.datasets import dataset
from harness.evidence.bounds import error_ratio_of
from harness.searching import loop
from harness.searching.plan import SearchPlan
from harness.searching.proposer import Proposer
from harness.searching.search_state import Observer, Search
from harness.searching.time_budget import Effort
from harness.studies import config as study
from harness.studies.config import StudyConfig, StudyObjective
from harness.studies.events import Entry, Event, Proposal, RunEnded
from harness.studies.log import StudyLog, read_state
from harness.studies.study_state import StudyState
from harness.system.files import Workspace
from harness.training.executors.base import DataLocation, Limits
from harness.training.native.engine import EngineChoice
from harness.training.recipe import NamedRecipe, Recipe
from harness.training.result import Purpose, Result
from harness.training.run import Job
from search_spaces.network import Architecture
from search_spaces.notation import parse_network, parse_space
from search_spaces.space import Metric
from tests import study_logs
from tests.factories import CONFIG, make_job_result, make_proposal
from tests.fakes import Seeds

# Sizes from 330 to some 40,000; one network a pair of widths.
SPACE = "width = {4, 6, 8, 10, 12, 16, 20, 24, 32, 40}; net = conv3x3(width) relu conv3x3(width) relu gap linear(10);"
ONE_CONVOLUTION = "width = 1..40; net = conv3x3(width) gap linear(10);"  # 10 + 19 a channel
TARGET_PCT = 99.0
RECIPE = Recipe(epochs=8)
RECIPE_HASH = RECIPE.hash


def first_job(proposal: Proposal) -> Job:
    """Return the first run of a network, whole."""
    return Job(
        architecture=proposal.architecture,
        recipe=RECIPE,
        recipe_name="short",
        purpose=Purpose.SEARCH,
        seed_index=0,
        trial=proposal.trial,
        decisions=proposal.decisions,
    )


def config(**fields: Any) -> StudyConfig:
    """Return the configuration of a small study."""
    plain = replace(
        CONFIG,
        target_pct=TARGET_PCT,
        threshold_pct=TARGET_PCT,
        space="widths",
        space_text=SPACE,
        recipe=RECIPE,
        recipe_name="short",
        rungs=(2, 4),
    )
    return replace(plain, **fields)


def effort(**fields: Any) -> Effort:
    """Return the effort of a small study: 20 networks, one worker, no end in time."""
    plain = Effort(seconds=None, trials=20, workers=1, device="cpu", limits=Limits())
    return replace(plain, **fields)


def taken_up(folder: Path, config: StudyConfig, effort: Effort, *observers: Observer) -> Search:
    """Return a search that goes on with the study in a folder, which may be new."""
    state = StudyLog(folder).recover_into(StudyState(folder, config))
    return loop.open_search(state, effort, DataLocation("mnist", None), observers=observers)


def run(folder: Path, config: StudyConfig, effort: Effort, *observers: Observer) -> Search:
    """Run one session of a search."""
    study.open_study(folder, config, {})
    search = taken_up(folder, config, effort, *observers)
    loop.run_search(search, ["harness"])
    return search


@dataclass(frozen=True, slots=True)
class Trial:
    """A network of one convolution so wide: the accuracies of its first run and on fresh seeds.

    Attributes:
        first: None where it has not ended.
    """

    width: int
    first: float | None = 99.5
    fresh: tuple[float, ...] = ()


def opened(folder: Path, networks: Sequence[Trial], *, sampler: str = "tpe", **fields: Any) -> Search:
    """Return a search in progress, its workers idle and these networks its trials from 0 on, of which no log tells."""
    plain = config(space_text=ONE_CONVOLUTION, sampler=sampler)
    search = taken_up(folder, plain, effort(**fields))
    search.executor.start(search.effort.workers)
    for number, network in enumerate(networks):
        apply(search, make_proposal(number, f"conv3x3({network.width}) gap linear(10)"))
        if network.first is not None:
            file(search, number, Purpose.SEARCH, 0, network.first)
        for index, accuracy_pct in enumerate(network.fresh):
            file(search, number, Purpose.CONFIRM, index, accuracy_pct)
    return search


def apply(search: Search, event: Event) -> None:
    """Let something have happened of which no log tells."""
    search.take(Entry(0.0, event))


def file(search: Search, trial: int, purpose: Purpose, index: int, accuracy_pct: float) -> None:
    """Let a run have ended."""
    job = search.job(search.state.candidates[trial], purpose, index)
    apply(search, RunEnded(run=make_job_result(job, lambda parameters, seed: accuracy_pct, RECIPE.epochs)))


def proposer_of(search: Search) -> Proposer:
    """Return who proposed the networks of a session of a study."""
    assert isinstance(search.proposer, Proposer)
    return search.proposer


def results(folder: Path) -> list[Result]:
    """Return the runs that have ended."""
    return read_state(folder).results if (folder / "config.json").exists() else []


def events(folder: Path, *kinds: str) -> list[dict[str, Any]]:
    """Return the lines of a log, those of some kinds or all; of a run that has ended its main facts."""
    lines = [event for event in study_logs.read_lines(folder) if not kinds or event["event"] in kinds]
    facts = ("trial", "purpose", "seed_index", "status", "validation_errors")
    for event in lines:
        if (run := event.pop("run", None)) is not None:
            event |= {name: run[name] for name in facts}
    return lines


# A search of two networks that has come to its end; the larger one stood first ------------------------------------

TWO_NETWORKS = "net = conv3x3({4, 8}) gap linear(10);"
WINNER = parse_network("conv3x3(4) gap linear(10)")
# The first to stand.
LARGER = parse_network("conv3x3(8) gap linear(10)")


def finished(folder: Path, **fields: Any) -> tuple[SearchPlan, Search]:
    """Return that search."""
    search_plan = plan(folder, **fields)
    return search_plan, run(search_plan.folder, search_plan.config, search_plan.effort)


def plan(folder: Path, *, lengths: tuple[int, ...] = (), front_of: str = "", **fields: Any) -> SearchPlan:
    """Return the plan of that search, or of one for a Pareto front in another space."""
    text = front_of or TWO_NETWORKS
    objectives = [StudyObjective(Metric.PARAMETERS), StudyObjective(Metric.MACS, 200_000)]
    objectives = objectives if front_of else objectives[:1]
    workspace = Workspace(folder)
    return SearchPlan(
        workspace=workspace,
        folder=workspace.study("a-study"),
        config=config(space_text=text, lengths=lengths, objectives=tuple(objectives)),
        effort=effort(**fields),
        source=DataLocation("mnist", None),
        data=dataset("mnist"),
        named_recipe=NamedRecipe("short", RECIPE),
        space=parse_space(text, "widths"),
        error_ratio=error_ratio_of(dataset("mnist"), 99.4),
        engine=EngineChoice(None),
        past=(),
        left_out=(),
        recorded_origins={},
    )


def misses(seeds: Seeds, *networks: Architecture) -> None:
    """Let these networks miss the target on the test images, and others reach it."""

    def watch(job: Job) -> None:
        seeds.errors = lambda index: 101 if job.architecture in networks else 55

    seeds.watch = watch
