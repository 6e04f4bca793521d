"""Cold searches in worlds that the model of the errors believes in: a quick look at a new rule before the main job.

    python -m benchmarks.posterior_search --data FOLDER --time 57m --seeds 101 102 103

A world is one draw from the model, fitted to all trainings that come with the package: each network has its errors
there, drawn given those drawn before it. Seeds differ by ``SEED``; a training takes the seconds of the estimate. The
search is that of ``harness search`` with its defaults, open part and choice, on a simulated clock; a search of 57
minutes takes some 20 to 50 seconds of a core. One JSON line a search goes to standard output: what stood when, what
was proposed with which chance, the winner, and its true chance to pass a verification.

What the model believes is true here, so sizes are rather too good, and a rule that the model deceives looks harmless.
A rule counts only once ``benchmarks.main_job`` has been run with it.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.bench.simulation.clock import SimulatedExecutor
from harness.bench.simulation.readings import Reading
from harness.commands.search import search
from harness.evidence import study
from harness.evidence.events import Confirmed, Proposal, WinnerChosen, of_kind
from harness.search.proposals.estimate import PACES, training_seconds
from harness.search.proposals.features import work
from harness.search.proposals.prior import keep, observations
from harness.search.proposals.surrogate import Observation, fitted, predicted, row_of
from harness.search.race import NETWORK_SHARE, VERIFY_SEEDS
from harness.search.run_plan import SearchPlan, make_plan
from harness.search.search import run_search
from harness.search.session import Session
from harness.search.watcher import Moment
from harness.system import statistics
from harness.system.errors import HarnessError
from harness.system.files import Workspace
from harness.training.recipe import Recipe
from harness.training.result import Status
from harness.training.run import Job
from harness.training.workers import Event
from search_spaces.cost import analyse
from search_spaces.network import Architecture
from search_spaces.task import MNIST

IMAGES, SIZE, WORKERS = 50_000, 10_000, 2
# What the seeds of a network differ by, as a share of its errors.
SEED = 0.07
# A search looks at its clock so often, in seconds.
TICK = 5.0
# Options that say nothing of the search itself.
UNPLANNED = {"plan_only", "verbose", "as_json", "storage"}


class World:
    """The errors of all networks: one draw from the model, given what was drawn before.

    Attributes:
        known: the trainings that the model is fitted to, then the draws.
    """

    def __init__(self, known: Sequence[Observation], seed: int) -> None:
        """Begin with no network drawn."""
        self.known = list(known)
        self._draw = np.random.default_rng(seed)
        self._errors: dict[tuple[str, str], float] = {}

    def errors(self, network: Architecture, recipe: Recipe) -> float:
        """Return the mean validation errors of a network, of ten thousand; always the same ones."""
        key = (network.hash, recipe.hash)
        if key not in self._errors:
            row = row_of(network, recipe, MNIST)
            means, deviations = predicted(fitted(self.known), [row])
            self._errors[key] = math.exp(float(means[0]) + float(deviations[0]) * float(self._draw.normal()))
            # As if it had been trained very often.
            self.known.append(Observation(row, self._errors[key], runs=10**6))
        return self._errors[key]

    def read(self, job: Job, repeat: int) -> Reading:
        """Return the run of a job; the same job is always the same run."""
        analysis, epochs = analyse(job.architecture, MNIST), job.recipe.epochs
        rng = random.Random(f"{repeat}/{job.architecture.hash}/{epochs}/{job.purpose}/{job.seed_index}")
        final = self.errors(job.architecture, job.recipe) * math.exp(rng.gauss(0, SEED))
        seconds = training_seconds(epochs, IMAGES, work(job.architecture, MNIST), PACES["native"])
        seconds *= rng.uniform(0.95, 1.05)
        shares = {number: number / epochs for number in range(1, epochs + 1)}
        return Reading(
            network_hash=job.architecture.hash,
            parameters=analysis.parameters,
            macs=analysis.macs,
            size=SIZE,
            # Some 2.5 times as many after a quarter of the epochs and 1.6 after a half, as in trainings by ``small``.
            errors={number: round(final * (1 + 1.35 * (1 - share) ** 2.6)) for number, share in shares.items()},
            seconds={number: seconds * share for number, share in shares.items()},
            status=Status.COMPLETE,
        )


class TickingExecutor(SimulatedExecutor):
    """Simulated workers whose clock also stops between two ends: a search sees that its time has come."""

    def poll(self, timeout: float) -> list[Event]:
        """Go on to the next end of a job or by a tick, where that comes first."""
        whole, self.end = self.end, min(self.end, self.clock + TICK)
        try:
            return SimulatedExecutor.poll(self, timeout)
        finally:
            self.end = whole


class Unwatched:
    """Nobody looks on."""

    rejected = trained = 0

    def tick(self, at: Moment) -> None:
        """Do nothing."""

    def ended(self, *decided: object) -> None:
        """Do nothing."""


def planned(arguments: Sequence[str], root: Path) -> SearchPlan:
    """Return the plan of ``harness search`` with these arguments, for two workers of this machine."""
    context = search.make_context("search", list(arguments))
    given = {name: value for name, value in context.params.items() if name not in UNPLANNED}
    plan = make_plan(given, dict.fromkeys(given, "default"), Workspace(root))
    return replace(plan, effort=replace(plan.effort, workers=WORKERS))


def searched(plan: SearchPlan, world: World) -> Session:
    """Run a search in a world until it has chosen its winner."""
    keep(plan.folder, plan.past)
    study.open_study(plan.folder, plan.config, plan.origins)
    seed, seconds = plan.config.seed, plan.effort.seconds or math.inf
    return run_search(
        plan.folder,
        plan.config,
        plan.effort,
        plan.source,
        Unwatched(),
        ["posterior_search"],
        lambda source, limits: TickingExecutor(world, seed, seconds),
    )


def told(plan: SearchPlan, session: Session, world: World) -> dict[str, Any]:
    """Return what a search has done, and the true chance of its winner."""
    events = study.read_events(plan.folder)
    winners = of_kind(events, WinnerChosen)
    winner = session.candidates[winners[-1].event.trial] if winners else None
    return {
        "seed": plan.config.seed,
        "seconds": plan.effort.seconds,
        "winner": winner and winner.proposal.parameters,
        "true_chance": winner and round(true_chance(plan, winner.proposal, world), 3),
        "fresh_seeds": winner and len(winner.fresh),
        "confirmed": [(round(entry.elapsed), entry.event.parameters) for entry in of_kind(events, Confirmed)],
        "proposed": [
            (round(entry.elapsed), entry.event.parameters, entry.event.epochs, round(entry.event.chance or 0.0, 2))
            for entry in of_kind(events, Proposal)
        ],
    }


def true_chance(plan: SearchPlan, proposal: Proposal, world: World) -> float:
    """Return the chance that a verification passes, by the errors that the network has in its world."""
    recipe, _ = plan.config.recipe_of(proposal.epochs)
    allowed = (100 - plan.config.threshold_pct) / 100 * SIZE
    margin = math.log(allowed / world.errors(proposal.architecture, recipe))
    return statistics.normal_share(margin / math.sqrt(NETWORK_SHARE**2 + SEED**2 / VERIFY_SEEDS))


def main() -> None:
    """Search in a world a seed, and print a line each."""
    parser = argparse.ArgumentParser(prog="posterior_search", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--seeds", type=int, nargs="+", required=True, help="of the searches, each in a world of its own"
    )
    parser.add_argument("--time", default="57m", help="of each search [57m]")
    parser.add_argument("--data", help="folder of the images [as harness search]")
    given = parser.parse_args()
    data = () if given.data is None else ("--data", given.data)
    for seed in given.seeds:
        with tempfile.TemporaryDirectory(prefix="posterior-search-") as folder:
            try:
                plan = planned(("--time", given.time, "--seed", str(seed), "--device", "cpu", *data), Path(folder))
            except HarnessError as error:
                print(f"posterior_search: {error.told}", file=sys.stderr)
                sys.exit(error.exit_code)
            world = World(observations(plan.past, plan.config.recipe, plan.space.task), seed)
            print(json.dumps(told(plan, searched(plan, world), world)), flush=True)


if __name__ == "__main__":
    main()
