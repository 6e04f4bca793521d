"""How often a search names a winner that misses its verification: whole searches with made-up networks, by the rules.

Nothing is trained. Each search tries networks one after the other in decreasing size; their true errors are drawn
around the allowed ones. What a network's runs give is decided upon by ``harness.search.race`` itself: a first run that
passes, fresh seeds while there is a chance, and the smallest network that stands is verified. Time is not limited, so
each network gets all seeds that the rules allow. The ratio of errors on unseen images to errors on the validation
images is taken to be, on the average over networks, the one that the threshold rests on. Another set has networks that
get harder as they get smaller, with the present confidence only.

What seeds of a network differ by is what others differed by: a verified network's deviation, drawn from those on
record, or that of the table of the bench, the same for all. Neither says how good a network is, and nothing is chosen
by them. All assumptions see the same random numbers, so their shares are no independent samples.

    python -m benchmarks.margin --searches 600

writes benchmarks/results/margin.json in a minute and a half on one core.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from harness.bench.tables.table import Table, runs_of
from harness.bench.tables.table_files import read_table, table_folder
from harness.evidence import record
from harness.evidence.error_ratio import error_ratio_of
from harness.evidence.events import Proposal
from harness.evidence.record import Record
from harness.search import race
from harness.search.race import Candidate
from harness.system import files
from harness.system.files import workspace
from harness.system.statistics import mean, pooled_deviation, standard_deviation
from harness.training.recipe import Recipe
from harness.training.result import Purpose, Result, Status
from search_spaces.count import clopper_pearson
from search_spaces.notation import parse_network

RESULTS = Path(__file__).resolve().parent / "results" / "margin.json"
TARGET_PCT, IMAGES = 99.4, 10_000
# What is claimed: at most so many searches name a winner that misses.
CLAIM = 0.05
INTERVAL = 0.95
NETWORKS = (6, 16, 40)
SPREADS = (0.05, 0.1, 0.2)
# What networks of half the parameters make more errors by, as a logarithm: errors fall as the root of the parameters
# (surrogate.PRIOR_SLOPES). So the last networks of a search are the hardest, and those that pass the luckiest.
RISE = 0.35
NETWORK_FACTORS = (1.0, 1.5)
CONFIDENCES = (race.CONFIDENCE, 0.9, 0.95)
# With fewer seeds a network's deviation says little.
RECORD_SEEDS = 6
TABLE = "mnist-bench"


class World(StrEnum):
    """A set of assumptions: networks alike whatever their size; harder as they get smaller."""

    EVEN = "even"
    HARDER = "harder"


@dataclass(frozen=True, slots=True)
class Assumption:
    """What a search meets.

    Attributes:
        world: names the set that it belongs to.
        networks: how many it tries.
        spread: deviation of the logarithm of their true errors, around the allowed ones.
        network_share: deviation of networks in the ratio of errors on unseen images to errors on validation.
        seeds: whose deviations seeds have, ``records`` or ``table``.
        rise: by how much that logarithm is greater for the smallest network than for the largest, on the average.
    """

    world: World
    networks: int
    spread: float
    network_share: float
    seeds: str
    rise: float = 0.0


@dataclass(frozen=True, slots=True)
class Network:
    """A made-up network.

    Attributes:
        errors: validation errors in the mean over all seeds.
        ratio: its errors on unseen images to those, by what the threshold takes that to be.
        deviation: of its seeds, as a share of the errors.
        luck: standard normal numbers, one a run: the first run, the fresh seeds, the verification's.
    """

    errors: float
    ratio: float
    deviation: float
    luck: tuple[float, ...]


def assumptions() -> list[tuple[Assumption, tuple[float, ...]]]:
    """Return all that is looked at, and each one's confidences."""
    shares = [round(factor * race.NETWORK_SHARE, 6) for factor in NETWORK_FACTORS]
    values = itertools.product(NETWORKS, SPREADS, shares, ("records", "table"))
    even = [Assumption(World.EVEN, *each) for each in values]
    return [
        *((each, CONFIDENCES) for each in even),
        *((replace(each, world=World.HARDER, rise=RISE), (race.CONFIDENCE,)) for each in even),
    ]


def record_deviations(records: Sequence[Record]) -> tuple[float, ...]:
    """Return what the test errors of each verified MNIST network deviate by, as a share of their mean, ascending."""
    found = []
    for item in records:
        errors = [100 - run.accuracy_pct for run in item.seeds if run.status is Status.COMPLETE]
        if item.dataset == "mnist" and len(errors) >= RECORD_SEEDS:
            found.append(standard_deviation(errors) / mean(errors))
    return tuple(sorted(found))


def table_deviation(table: Table) -> float:
    """Return the same of validation errors for the networks of a table, pooled: two seeds of one say nothing."""
    last, groups = table.rungs[-1], []
    for network in table.runs:
        errors = [100 - run[last].validation_accuracy_pct for run in runs_of(table, network).values()]
        groups.append([each / mean(errors) for each in errors])
    return pooled_deviation(groups)[0]


@lru_cache(maxsize=2 * max(NETWORKS))
def network(given: Assumption, deviations: tuple[float, ...], place: int, search: int, allowed: float) -> Network:
    """Return a network of a search; ``place`` 0 is the largest. The same numbers give the same network.

    Args:
        allowed: validation errors that stand for the target.
    """
    rng = random.Random(search * max(NETWORKS) + place)
    centre = given.rise * (place / (given.networks - 1) - 0.5)
    errors = allowed * math.exp(centre + given.spread * rng.gauss(0, 1))
    ratio = math.exp(given.network_share * rng.gauss(0, 1))
    deviation = deviations[int(rng.random() * len(deviations))]
    runs = 1 + race.MOST_SEEDS + race.VERIFY_SEEDS
    return Network(errors, ratio, deviation, tuple(rng.gauss(0, 1) for _ in range(runs)))


def raced(made: Network, trial: int, threshold_pct: float, confidence: float) -> Candidate:
    """Return a network with the runs that the rules give it.

    Confidences other than that of ``race`` decide only whether it stands; that its fresh seeds are worth running is
    judged as for that one.
    """
    proposal = Proposal(
        trial=trial, architecture=_NETWORK, hash="", parameters=max(NETWORKS) - trial, origin="made up", decisions=()
    )
    lucks = iter(made.luck[: 1 + race.MOST_SEEDS])
    candidate = Candidate(proposal, proposal.parameters, _run(made, next(lucks), Purpose.SEARCH))
    while not stands(candidate, threshold_pct, confidence):
        wanted = race.seeds_wanted(candidate, threshold_pct) - len(candidate.fresh)
        given_up = len(candidate.fresh) >= race.MOST_SEEDS or race.refuted(candidate, threshold_pct)
        if wanted <= 0 or given_up:
            break
        candidate.fresh.extend(_run(made, next(lucks), Purpose.CONFIRM) for _ in range(wanted))
    return candidate


def stands(candidate: Candidate, threshold_pct: float, confidence: float) -> bool:
    """Return whether a network stands, by the rule of ``race`` with another confidence."""
    if confidence == race.CONFIDENCE:
        return race.stands(candidate, threshold_pct)
    known = len(candidate.fresh)
    return known >= candidate.stand_seeds and race.chance_to_verify(candidate, threshold_pct) >= confidence


def misses(made: Network, allowed: float) -> bool:
    """Return whether the mean of a network's verification is above what is allowed, in validation errors."""
    errors = [made.ratio * made.errors * (1 + made.deviation * luck) for luck in made.luck[-race.VERIFY_SEEDS :]]
    return mean(errors) > allowed


def searched(
    given: Assumption, deviations: tuple[float, ...], search: int, threshold_pct: float, confidence: float
) -> bool | None:
    """Return whether the winner of a search misses its verification; None where nothing stands."""
    allowed = allowed_errors(threshold_pct)
    # The winner is the smallest that stands and no network's runs depend on another's, so the smallest come first.
    for place in reversed(range(given.networks)):
        made = network(given, deviations, place, search, allowed)
        if stands(raced(made, place, threshold_pct, confidence), threshold_pct, confidence):
            return misses(made, allowed)
    return None


def allowed_errors(threshold_pct: float) -> float:
    """Return how many validation errors reach a threshold."""
    return IMAGES * (100 - threshold_pct) / 100


def row(given: Assumption, confidence: float, outcomes: Sequence[bool | None]) -> dict[str, Any]:
    """Return what the searches of an assumption came to: shares of all, and of those that named a winner."""
    named = sum(outcome is not None for outcome in outcomes)
    missed = sum(outcome is True for outcome in outcomes)
    return asdict(given) | {
        "confidence": confidence,
        "searches": len(outcomes),
        "named": named,
        "missed": missed,
        "share": round(missed / len(outcomes), 4),
        "interval": _interval(missed, len(outcomes)),
        "share_of_named": round(missed / named, 4) if named else None,
        "interval_of_named": _interval(missed, named) if named else None,
    }


def verdict(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what rows say of the claim, by all searches and by those that named a winner."""
    found: dict[str, Any] = {"assumptions": len(rows), "claim": CLAIM}
    for share, interval in (("share", "interval"), ("share_of_named", "interval_of_named")):
        known = [item for item in rows if item[share] is not None]
        found[share] = {
            "least": min(item[share] for item in known),
            "mean": round(mean([item[share] for item in known]), 4),
            "most": max(item[share] for item in known),
            "holds": all(item[share] <= CLAIM for item in known),
            "above": sum(item[share] > CLAIM for item in known),
            "surely_above": sum(item[interval][0] > CLAIM for item in known),
        }
    return found


def verdicts(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a verdict for each world and confidence, in the order of the rows."""
    keys = dict.fromkeys((item["world"], item["confidence"]) for item in rows)
    return [
        {"world": world, "confidence": confidence}
        | verdict([item for item in rows if (item["world"], item["confidence"]) == (world, confidence)])
        for world, confidence in keys
    ]


def constants() -> dict[str, float]:
    """Return the constants of ``race`` that decide what stands."""
    names = ("STAND_SEEDS", "MOST_SEEDS", "CONFIDENCE", "VERIFY_SEEDS", "LEAST_CHANCE", "LUCK_SHARE")
    return {name: getattr(race, name) for name in (*names, "SEED_SHARE", "SEED_FREEDOM", "NETWORK_SHARE")}


def _interval(missed: int, count: int) -> list[float]:
    return [round(bound, 4) for bound in clopper_pearson(missed, count, INTERVAL)]


def _run(made: Network, luck: float, purpose: Purpose) -> Result:
    errors = min(IMAGES, max(0, round(made.errors * (1 + made.deviation * luck))))
    return Result(
        architecture=_NETWORK,
        hash="",
        parameters=1,
        macs=1,
        recipe=_RECIPE,
        recipe_name="",
        recipe_hash="",
        dataset="mnist",
        purpose=purpose,
        seed_index=0,
        seed=0,
        status=Status.COMPLETE,
        validation_errors=errors,
        validation_size=IMAGES,
    )


# Of a network the rules ask for nothing but its errors and its size.
_NETWORK, _RECIPE = parse_network("gap | linear(10)"), Recipe()


def main() -> None:
    """Simulate all searches, print what they say of the claim, and write every assumption's shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searches", type=int, default=600, help="of each assumption")
    given = parser.parse_args()
    if given.searches < 1:
        parser.error("one search is needed at least")
    place, offset = workspace(), error_ratio_of("mnist")
    threshold_pct = offset.threshold_pct(TARGET_PCT)
    table = table_deviation(read_table(table_folder(TABLE, place)))
    deviations = {"records": record_deviations(record.read_all(place.records)), "table": (table,)}
    rows: list[dict[str, Any]] = []
    for case, confidences in assumptions():
        outcomes: dict[float, list[bool | None]] = {each: [] for each in confidences}
        for number, confidence in itertools.product(range(given.searches), confidences):
            found = searched(case, deviations[case.seeds], number, threshold_pct, confidence)
            outcomes[confidence].append(found)
        rows.extend(row(case, confidence, found) for confidence, found in outcomes.items())
    document: dict[str, Any] = {
        "machine": machine(),
        "constants": constants(),
        "threshold_pct": round(threshold_pct, 4),
        "deviations": {name: [round(each, 4) for each in found] for name, found in deviations.items()},
        "verdicts": verdicts(rows),
        "rows": rows,
    }
    files.write_json(RESULTS, document)
    for each in document["verdicts"]:
        print(json.dumps(each))


if __name__ == "__main__":
    main()
