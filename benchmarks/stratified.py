"""A stratified set of draws of a space: every form, sizes evenly in the logarithm, short and long trainings."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from dataclasses import dataclass

from harness.search.proposals.estimate import PACES, training_seconds
from harness.search.proposals.features import work, work_of
from harness.system.errors import UsageError
from search_spaces.draw import Uniform, draw, judge
from search_spaces.network import Form, form
from search_spaces.notation import parse_notation
from search_spaces.space import SearchSpace
from search_spaces.task import MNIST

EPOCHS = (5, 8, 12, 20, 30)
# Of the search split of mnist.
IMAGES = 50_000
# Draws that the set is chosen from: of the space `all`, some hundreds a form.
DRAWS = 6_000
# Ours: parameters below which a form is left out, so that a set is not spent on networks that no search will want.
LEAST = {
    Form.PLAIN: 3500,
    Form.SUMMED: 2000,
    Form.TIED: 2000,
    Form.SQUEEZED: 1500,
    Form.SEPARABLE: 1500,
    Form.POSED: 900,
    Form.MIRRORED: 600,
    Form.POSED_SEPARABLE: 700,
}


@dataclass(frozen=True, slots=True, order=True)
class Planned:
    """One training of a set."""

    parameters: int
    macs: int
    architecture: str
    form: Form
    epochs: int


def drawn(space: SearchSpace, count: int, seed: int, longest_seconds: float) -> list[Planned]:
    """Return ``count`` trainings in random order, fewer where a form has fewer networks.

    Forms have as many each, as far as ``count`` can be shared out. Of the epochs in ``EPOCHS`` those are drawn from
    evenly with which a training takes at most so many seconds on one core, as a search estimates it before it has
    measured anything (``harness/search/proposals/estimate.py``).

    Raises:
        UsageError: no network of the space is that quick.
    """
    rng = random.Random(seed)
    by_form = _networks(space, rng, longest_seconds)
    if not by_form:
        raise UsageError(f"none of {DRAWS:,} draws trains {EPOCHS[0]} epochs within {longest_seconds:g} s")
    made = []
    for place, kind in enumerate(sorted(by_form)):
        share = count // len(by_form) + (place < count % len(by_form))
        for parameters, macs, architecture in _spread(sorted(by_form[kind]), share, rng):
            steps = work(parse_notation(architecture), MNIST)
            epochs = rng.choice([each for each in EPOCHS if _seconds(each, steps) <= longest_seconds])
            made.append(Planned(parameters, macs, architecture, kind, epochs))
    rng.shuffle(made)
    return made


def _networks(space: SearchSpace, rng: random.Random, longest_seconds: float) -> dict[Form, set[tuple[int, int, str]]]:
    """Return (parameters, multiply-adds, text) of the networks to choose from."""
    found: dict[Form, set[tuple[int, int, str]]] = defaultdict(set)
    for _ in range(DRAWS):
        network = draw(space, Uniform(rng)).architecture
        judgement = judge(space, network)
        if judgement.accepted and judgement.analysis is not None:
            kind, cost = form(network), judgement.analysis
            if cost.parameters >= LEAST[kind] and _seconds(EPOCHS[0], work_of(cost)) <= longest_seconds:
                found[kind].add((cost.parameters, cost.macs, str(network)))
    return dict(found)


def _spread(networks: list[tuple[int, int, str]], count: int, rng: random.Random) -> list[tuple[int, int, str]]:
    """Return one network near a random size in each of ``count`` equal parts of the logarithm of sizes."""
    low, high = math.log(networks[0][0]), math.log(networks[-1][0])
    left, chosen = list(networks), []
    for part in range(min(count, len(networks))):
        wanted = low + (high - low) * (part + rng.random()) / count
        nearest = min(left, key=lambda network: abs(math.log(network[0]) - wanted))
        left.remove(nearest)
        chosen.append(nearest)
    return chosen


def _seconds(epochs: int, network_work: float) -> float:
    return training_seconds(epochs, IMAGES, network_work, PACES["native"])
