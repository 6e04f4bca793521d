"""The networks that a search would train next: those that the model of the errors thinks are worth most below a size.

They tell the model most where a search asks it. A set of them is trained, the model fitted again, and so on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from benchmarks.sources import DATASET
from benchmarks.stratified import IMAGES, Planned
from harness.data.datasets import DATASETS
from harness.evidence.error_ratio import error_ratio_of
from harness.evidence.study import StudyConfig
from harness.search.proposals.estimate import PACES, Room
from harness.search.proposals.prior import observations
from harness.search.proposals.proposer import Proposer
from harness.search.proposals.surrogate import Observation, fitted, predicted, row_of
from harness.search.proposals.trainings import PastTraining
from harness.search.race import Candidate
from harness.search.run_plan import LENGTHS
from harness.system.errors import UsageError
from harness.training.recipe import Recipe
from search_spaces.cost import analyse
from search_spaces.network import form
from search_spaces.space import SearchSpace
from search_spaces.task import MNIST

# The time of such a search in trainings. One, its fresh seeds and its verification take six times as long; it is not
# the first.
ROUNDS = 10
WORKERS = 2


def worthiest(
    space: SearchSpace,
    recipe: Recipe,
    past: Sequence[PastTraining],
    limit: int,
    longest_seconds: float,
    count: int,
    seed: int,
) -> list[Planned]:
    """Return ``count`` trainings that a search would begin with, if an answer had to be smaller than ``limit``.

    One after the other: of each the model believes that it goes as predicted before it chooses the next.

    Args:
        past: what the model is fitted to.
        limit: parameters that a network must stay below.
        longest_seconds: that a training may be estimated to take on one core.

    Raises:
        UsageError: there are not as many that are within the limits and in no past training.
    """
    config = StudyConfig(
        dataset=DATASET,
        data_hash="",
        budget=limit - 1,
        target_pct=DATASETS[DATASET].target_pct,
        threshold_pct=error_ratio_of(DATASET).threshold_pct(DATASETS[DATASET].target_pct),
        space=space.name,
        space_text=space.text,
        sampler="surrogate",
        recipe=recipe,
        recipe_name="",
        rungs=(),
        seed=seed,
        lengths=LENGTHS,
    )
    room = Room(IMAGES, PACES["native"], longest_seconds, ROUNDS * longest_seconds, WORKERS)
    known = list(observations(past, recipe, MNIST))
    trained = {(item.architecture.hash, item.epochs) for item in past}
    chosen: dict[int, Candidate] = {}
    made: list[Planned] = []
    while len(made) < count:
        trial = len(chosen)
        proposer = Proposer.new(space, replace(config, seed=seed * count + trial), past=known)
        found = proposer.propose(limit - 1, chosen, room).proposal
        if found is None:
            raise UsageError(f"the model knows only {len(made):,} networks to train below {limit:,} parameters")
        assert found.epochs is not None, "the study leaves the length open"
        chosen[trial] = Candidate(found, found.parameters)
        network = found.architecture
        if (found.hash, found.epochs) not in trained:
            macs = analyse(network, MNIST).macs
            made.append(Planned(found.parameters, macs, str(network), form(network), found.epochs))
            row = row_of(network, replace(recipe, epochs=found.epochs), MNIST)
            known.append(Observation(row, math.exp(float(predicted(fitted(known), [row])[0][0]))))
    return made
