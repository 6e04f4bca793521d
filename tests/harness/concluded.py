"""A search of two networks that has come to its end, with made-up trainings; the larger one stood first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.data.datasets import dataset
from harness.evidence.bounds import error_ratio_of
from harness.searching.plan import SearchPlan
from harness.searching.state import Search
from harness.studies.config import StudyObjective
from harness.system.files import Workspace
from harness.training.executor import Source
from harness.training.native.native import Choice
from harness.training.recipe import NamedRecipe
from harness.training.run import Job
from search_spaces.network import Architecture
from search_spaces.notation import parse_network, parse_space
from search_spaces.space import Metric
from tests.harness import scripted
from tests.harness.unrun import Seeds

SPACE = "net = conv3x3({4, 8}) gap linear(10);"
WINNER = parse_network("conv3x3(4) gap linear(10)")
# The first to stand.
LARGER = parse_network("conv3x3(8) gap linear(10)")


def searched(folder: Path, **asked: Any) -> tuple[SearchPlan, Search]:
    """Return a search that has come to its end, and its state."""
    found = plan(folder, **asked)
    return found, scripted.run(found.folder, found.config, found.effort)


def plan(folder: Path, *, lengths: tuple[int, ...] = (), front_of: str = "", **effort: object) -> SearchPlan:
    """Return the plan of that search, or of one for a Pareto front in another space."""
    text = front_of or SPACE
    objectives = [StudyObjective(Metric.PARAMETERS), StudyObjective(Metric.MACS, 200_000)]
    configured = scripted.config(
        space_text=text, lengths=lengths, objectives=tuple(objectives if front_of else objectives[:1])
    )
    spent = scripted.effort(**effort)
    place = Workspace(folder)
    return SearchPlan(
        workspace=place,
        folder=place.study("a-study"),
        config=configured,
        effort=spent,
        source=Source("mnist", None),
        recipe=NamedRecipe("short", scripted.RECIPE),
        space=parse_space(text, "widths"),
        offset=error_ratio_of(dataset("mnist"), 99.4),
        engine=Choice(None),
        past=(),
        left_out=(),
        origins={},
    )


def misses(seeds: Seeds, *networks: Architecture) -> None:
    """Let these networks miss the target on the test images, and others reach it."""

    def watch(job: Job) -> None:
        seeds.errors = lambda index: 101 if job.architecture in networks else 55

    seeds.watch = watch
