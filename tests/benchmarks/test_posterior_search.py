"""Searches in worlds drawn from the model of the errors."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
from scipy import stats

from benchmarks.posterior_search import SEED, TickingExecutor, World, planned, searched, told, true_chance
from harness.evidence.events import Proposal
from harness.search.proposals.prior import observations
from harness.search.proposals.surrogate import Observation, fitted, predicted, row_of
from harness.search.proposals.trainings import shipped
from harness.training.recipe import RECIPES
from harness.training.result import Purpose
from search_spaces.notation import parse_network
from search_spaces.task import MNIST
from tests.harness import scripted

RECIPE = RECIPES["small"].recipe
NETWORK, OTHER = (parse_network(f"conv3x3({width}) bn relu | maxpool | gap | linear(10)") for width in (8, 12))
FEW = observations(shipped("mnist")[:40], RECIPE, MNIST)


def test_a_network_has_the_same_errors_always_and_others_are_drawn_given_them():
    world, again = World(FEW, 1), World(FEW, 1)

    first = world.errors(NETWORK, RECIPE)
    assert world.errors(NETWORK, RECIPE) == first == again.errors(NETWORK, RECIPE)
    assert World(FEW, 2).errors(NETWORK, RECIPE) != first
    # What is drawn next lies about what the model says of it, given the first one as well known.
    row = row_of(OTHER, RECIPE, MNIST)
    means, deviations = predicted(fitted([*FEW, Observation(row_of(NETWORK, RECIPE, MNIST), first, 10**6)]), [row])
    draws = []
    for seed in range(200):
        one = World(world.known, seed)
        draws.append(math.log(one.errors(OTHER, RECIPE)))
    assert statistics.mean(draws) == pytest.approx(float(means[0]), abs=4 * float(deviations[0]) / math.sqrt(200))
    assert statistics.stdev(draws) == pytest.approx(float(deviations[0]), rel=0.25)


def test_a_job_is_the_same_run_always_and_seeds_differ_by_their_share():
    world = World(FEW, 1)
    job = replace(scripted.first_job(scripted.proposal(0, str(NETWORK))), architecture=NETWORK, recipe=RECIPE)
    last = RECIPE.epochs
    runs = [world.read(replace(job, purpose=Purpose.CONFIRM, seed_index=index), 0) for index in range(300)]

    assert runs[7] == world.read(replace(job, purpose=Purpose.CONFIRM, seed_index=7), 0)
    logs = [math.log(run.errors[last]) for run in runs]
    assert statistics.stdev(logs) == pytest.approx(SEED, rel=0.2)
    assert statistics.mean(logs) == pytest.approx(math.log(world.errors(NETWORK, RECIPE)), abs=0.02)
    assert list(runs[0].errors.values()) == sorted(runs[0].errors.values(), reverse=True)
    assert list(runs[0].seconds.values()) == sorted(runs[0].seconds.values())


def test_the_clock_stops_between_two_ends_too():
    executor = TickingExecutor(World(FEW, 1), 0, 12.0)
    executor.start(1)

    assert [(executor.poll(1.0), executor.now())[1] for _ in range(4)] == [5.0, 10.0, 12.0, 12.0]


@pytest.mark.slow
def test_a_search_in_a_world_ends_with_a_winner_and_its_true_chance(tmp_path: Path):
    plan = planned(("--time", "90s", "--seed", "3", "--dataset", "mnist-5k", "--device", "cpu"), tmp_path)
    world = World(FEW, 3)

    found = told(plan, searched(plan, world), world)

    assert (found["seed"], found["seconds"]) == (3, 90.0)
    assert found["proposed"]
    if found["winner"] is not None:
        assert found["winner"] in [parameters for _, parameters in found["confirmed"]]
        assert 0 <= found["true_chance"] <= 1


def test_the_true_chance_is_that_of_six_seeds_on_other_images(tmp_path: Path):
    plan = planned(("--dataset", "mnist-5k", "--device", "cpu"), tmp_path)
    world = World(FEW, 1)
    proposal: Proposal = scripted.proposal(0, str(NETWORK))
    recipe, _ = plan.config.recipe_of(proposal.epochs)

    found = true_chance(plan, proposal, world)

    allowed = 100 * (100 - plan.config.threshold_pct)
    spread = math.sqrt(0.032**2 + SEED**2 / 6)
    margin = math.log(allowed / world.errors(proposal.architecture, recipe)) / spread
    assert found == pytest.approx(float(stats.norm.cdf(margin)), abs=1e-9)
