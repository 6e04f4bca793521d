"""Searches without training: accuracies are computed from the numbers of parameters.

``run`` runs a session of a search; tests replace the worker processes with ``tests.fakes.without_processes``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from harness.data.datasets import dataset
from harness.searching import loop
from harness.searching.plan import SearchPlan, TrainingChoice
from harness.searching.proposer import Proposer
from harness.searching.search_state import Observer, Search
from harness.searching.time_budget import Effort
from harness.spaces.network import Architecture
from harness.spaces.notation import parse_network, parse_space
from harness.spaces.space import Metric
from harness.studies import config as study
from harness.studies.candidate import BASELINE, Candidate
from harness.studies.config import StudyConfig
from harness.studies.events import Entry, Event, Proposal, RunEnded
from harness.studies.log import StudyLog, read_state
from harness.studies.study_state import StudyState
from harness.system.files import Workspace
from harness.training.executors.base import DataLocation, Limits
from harness.training.native.engine import EngineChoice
from harness.training.recipe import NamedRecipe, Recipe
from harness.training.result import Purpose, Result, Status
from harness.training.run import Job
from tests import study_logs
from tests.factories import CONFIG, make_job_result, make_proposal
from tests.fakes import Seeds

# 100 networks of 230 to 15,170 parameters.
SPACE = "width = {4, 6, 8, 10, 12, 16, 20, 24, 32, 40}; net = conv3x3(width) relu conv3x3(width) relu gap linear(10);"
ONE_CONVOLUTION = "width = 1..40; net = conv3x3(width) gap linear(10);"  # 10 parameters, and 19 per channel
TARGET_PCT = 99.0
RECIPE = Recipe(epochs=8)
RECIPE_HASH = RECIPE.hash


def first_job(proposal: Proposal) -> Job:
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
    defaults = replace(
        CONFIG,
        target_pct=TARGET_PCT,
        threshold_pct=TARGET_PCT,
        space="widths",
        space_text=SPACE,
        recipe=RECIPE,
        recipe_name="short",
        rungs=(2, 4),
    )
    return replace(defaults, **fields)


def effort(**fields: Any) -> Effort:
    """Return the effort of a small study: 20 networks, a single worker, no time limit."""
    defaults = Effort(seconds=None, trials=20, workers=1, device="cpu", limits=Limits())
    return replace(defaults, **fields)


def resume(folder: Path, config: StudyConfig, effort: Effort, *observers: Observer) -> Search:
    state = StudyLog(folder).recover_into(StudyState(folder, config))
    return loop.open_search(state, effort, DataLocation("mnist", None), observers=observers)


def run(folder: Path, config: StudyConfig, effort: Effort, *observers: Observer) -> Search:
    study.open_study(folder, config, {})
    search = resume(folder, config, effort, *observers)
    loop.run_search(search, ["harness"])
    return search


@dataclass(frozen=True, slots=True)
class Trial:
    """A network with a single convolution, and the accuracies of the runs in percent.

    Attributes:
        width: Channels of the convolution.
        first: Accuracy of the first run, or None if the run has not ended.
        fresh: Accuracies of runs with fresh seeds.
    """

    width: int
    first: float | None = 99.5
    fresh: tuple[float, ...] = ()


def with_trials(folder: Path, networks: Sequence[Trial], *, sampler: str = "tpe", **fields: Any) -> Search:
    """Return a search with idle workers; ``networks`` are trials 0, 1, ... of the state, but not of the log."""
    search = resume(folder, config(space_text=ONE_CONVOLUTION, sampler=sampler), effort(**fields))
    search.executor.start(search.effort.workers)
    for number, network in enumerate(networks):
        apply(search, make_proposal(number, f"conv3x3({network.width}) gap linear(10)"))
        if network.first is not None:
            add_run(search, number, Purpose.SEARCH, 0, network.first)
        for index, accuracy_pct in enumerate(network.fresh):
            add_run(search, number, Purpose.CONFIRM, index, accuracy_pct)
    return search


def apply(search: Search, event: Event) -> None:
    """Apply an event to the state of a search without writing to the log."""
    search.take(Entry(0.0, event))


def add_run(search: Search, trial: int, purpose: Purpose, index: int, accuracy_pct: float) -> None:
    """Apply the end of a run to the state of a search without writing to the log."""
    job = search.job(search.state.candidates[trial], purpose, index)
    apply(search, RunEnded(run=make_job_result(job, lambda parameters, seed: accuracy_pct, RECIPE.epochs)))


def slow_down(search: Search, trial: int, seconds: float = 1_000.0) -> Candidate:
    candidate = search.state.candidates[trial]
    assert candidate.first_run is not None
    candidate.first_run = replace(candidate.first_run, train_seconds=seconds)
    candidate.fresh_runs = [replace(run, train_seconds=seconds) for run in candidate.fresh_runs]
    return candidate


def trained_candidate(
    trial: int, text: str, errors: int, origin: str = BASELINE, status: Status = Status.COMPLETE
) -> Candidate:
    proposal = make_proposal(trial, text, origin=origin)
    run = make_job_result(first_job(proposal), lambda parameters, seed: 100 - errors / 100, RECIPE.epochs)
    return Candidate(proposal, proposal.parameters, replace(run, status=status), threshold_pct=TARGET_PCT)


def proposer_of(search: Search) -> Proposer:
    assert isinstance(search.proposer, Proposer)
    return search.proposer


def sampler_trials(search: Search) -> list[FrozenTrial]:
    study = proposer_of(search).sampler_study
    assert study is not None
    return study.study.trials


def results(folder: Path) -> list[Result]:
    return read_state(folder).results if (folder / "config.json").exists() else []


def events(folder: Path, *kinds: str) -> list[dict[str, Any]]:
    """Return the events of a log, of all or only some kinds; results of runs are reduced to the main fields."""
    lines = [event for event in study_logs.read_lines(folder) if not kinds or event["event"] in kinds]
    facts = ("trial", "purpose", "seed_index", "status", "validation_errors")
    for event in lines:
        if (run := event.pop("run", None)) is not None:
            event |= {name: run[name] for name in facts}
    return lines


# A finished search of two networks; the larger network was confirmed first ----------------------------------------

TWO_NETWORKS = "net = conv3x3({4, 8}) gap linear(10);"
WINNER = parse_network("conv3x3(4) gap linear(10)")
# The network that is confirmed first.
LARGER = parse_network("conv3x3(8) gap linear(10)")


def finished(folder: Path, **fields: Any) -> tuple[SearchPlan, Search]:
    search_plan = plan(folder, **fields)
    return search_plan, run(search_plan.folder, search_plan.config, search_plan.effort)


def plan(folder: Path, *, lengths: tuple[int, ...] = (), front_of: str = "", **fields: Any) -> SearchPlan:
    """Return the plan of the search of two networks, or of a search for a Pareto front in the space ``front_of``."""
    text = front_of or TWO_NETWORKS
    objectives: dict[str, Any] = {"second": Metric.MACS, "second_most": 200_000} if front_of else {}
    workspace = Workspace(folder)
    return SearchPlan(
        workspace=workspace,
        folder=workspace.study("a-study"),
        config=config(space_text=text, lengths=lengths, **objectives),
        effort=effort(**fields),
        source=DataLocation("mnist", None),
        data=dataset("mnist"),
        space=parse_space(text, "widths"),
        training=TrainingChoice(named_recipe=NamedRecipe("short", RECIPE), engine=EngineChoice(None), lengths=lengths),
        prior=(),
        left_out=(),
        recorded_origins={},
    )


def misses(seeds: Seeds, *networks: Architecture) -> None:
    """Make ``networks`` miss the target on the test images, and all further networks reach the target."""

    def watch(job: Job) -> None:
        seeds.errors = lambda index: 101 if job.architecture in networks else 55

    seeds.watch = watch
