"""Which networks of a space a table is recorded of: all of them, or equal numbers in bands of size."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from harness.bench.tables.table import Sample
from search_spaces.count import configurations
from search_spaces.draw import Draw, Uniform, draw, enumerate_draws, judge
from search_spaces.errors import DrawError
from search_spaces.network import Architecture
from search_spaces.space import SearchSpace

BANDS = 8
# Spaces with no more configurations than this are looked at as a whole: ten seconds.
MOST_ENUMERATED = 100_000
# Of larger spaces so many times the networks wanted are drawn at most, and so many draws a network wanted looked at:
# a band that a space seldom hits is filled from far more draws than the others.
POOL_FACTOR = 20
DRAWS_FACTOR = 500
LEAST_DRAWS = 10_000


@dataclass(frozen=True, slots=True)
class SampledNetwork:
    """One network that was chosen, and what it costs."""

    architecture: Architecture
    parameters: int
    macs: int


@dataclass(frozen=True, slots=True)
class SampledNetworks:
    """The networks that were chosen, in an order of which each beginning has all sizes.

    Attributes:
        considered: distinct networks they were chosen from; all of the space where ``enumerated``.
    """

    sample: Sample
    networks: tuple[SampledNetwork, ...]
    considered: int
    enumerated: bool


def sampled(space: SearchSpace, count: int, seed: int, budget: int | None = None) -> SampledNetworks:
    """Choose ``count`` distinct networks of a space, or all where it has no more.

    They are stratified by size: the same number from each of eight bands of parameters that are equally wide in the
    logarithm, and where a band has too few, more from the others.

    Raises:
        DrawError: no network of the space was accepted.
    """
    rng = random.Random(seed)
    enumerated = configurations(space) <= MOST_ENUMERATED
    drawn = (draw(space, Uniform(rng)) for _ in range(max(LEAST_DRAWS, DRAWS_FACTOR * count)))
    draws, most = (enumerate_draws(space), math.inf) if enumerated else (drawn, POOL_FACTOR * count)
    pool = _pool(space, draws, most, budget)
    if not pool:
        raise DrawError(
            f"no network of the space '{space.name}' keeps its conditions"
            + ("" if budget is None else f" and the budget of {budget:,} parameters"),
            hint="raise the budget, or loosen the space's conditions",
        )
    chosen = tuple(_stratified(pool, rng))[:count]
    bands = 0 if enumerated and len(pool) <= count else BANDS
    return SampledNetworks(Sample(seed=seed, networks=count, bands=bands, budget=budget), chosen, len(pool), enumerated)


def _pool(space: SearchSpace, draws: Iterable[Draw], most: float, budget: int | None) -> list[SampledNetwork]:
    """Return the distinct networks of draws that are accepted, at most so many."""
    found: dict[str, SampledNetwork] = {}
    for each in draws:
        judgement = judge(space, each.architecture, budget)
        if judgement.accepted and (analysis := judgement.analysis) is not None:
            network = SampledNetwork(each.architecture, analysis.parameters, analysis.macs)
            found.setdefault(each.architecture.hash, network)
        # Before the next draw, which would take random numbers.
        if len(found) >= most:
            break
    return list(found.values())


def _stratified(pool: list[SampledNetwork], rng: random.Random) -> Iterator[SampledNetwork]:
    """Yield all networks, one from each band in turn, within a band in a random order."""
    low = math.log(min(network.parameters for network in pool))
    high = math.log(max(network.parameters for network in pool))
    bands: list[list[SampledNetwork]] = [[] for _ in range(BANDS)]
    for network in pool:
        share = (math.log(network.parameters) - low) / (high - low) if high > low else 0.0
        bands[min(BANDS - 1, int(share * BANDS))].append(network)
    for band in bands:
        # The order of the pool is that of the draws; that of the hashes is nobody's.
        band.sort(key=lambda network: network.architecture.hash)
        rng.shuffle(band)
    while any(bands):
        for band in bands:
            if band:
                yield band.pop()
