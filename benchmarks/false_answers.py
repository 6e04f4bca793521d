"""Simulation of the rate of false answers: networks just below the target that are called verified or certified.

``python -m benchmarks.false_answers`` draws seeds of networks with a true mean just below the target, for several sizes
of the test set, targets and distributions of seeds, and applies the rules of the program (``harness.evidence.bounds``).
A study is two verifications with six seeds, each with four seeds declared later, as after a resumption. The study is
false if a verification passes. Further studies read the same test set and share the error budget of the ledger. A
certification has twenty seeds. For grouped data the groups are drawn as well, and the true mean is that of all groups.
Further cases have more seeds. Writes ``benchmarks/results/false-answers.json``; ``--groups`` renews the cases with
groups only, ``--seeds`` the cases with more seeds only.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from harness.evidence import bounds
from harness.evidence.bounds import Groups, Judgement
from harness.evidence.ledger import ALPHA, ALPHA_SHARE, LOOK_ALPHA

RESULT = Path(__file__).parent / "results" / "false-answers.json"
SIZES = (40, 100, 500, 2_000, 10_000)
TARGETS = (80.0, 90.0, 95.0, 97.0, 98.0, 99.0, 99.5)
MISS = 1.001  # mean number of errors, divided by the number that the target allows

# Distributions of a seed's errors: name and spread, the coefficient of variation (half the skewness of a gamma
# distribution).
KINDS = (
    *(("normal", share) for share in (0.08, 0.15)),
    *(("gamma", share) for share in (0.08, 0.25, 0.5)),
    ("lognormal", 0.25),
    # "wavering": this number of images varies between seeds, the rest is always right or always wrong.
    *(("wavering", images) for images in (1, 2, 4, 8)),
)
# Distributions for several studies on the same test set; "mixed": normal, but 10 % of the seeds make twice the errors.
STUDY_KINDS = (("normal", 0.08), ("gamma", 0.25), ("gamma", 0.5), ("gamma", 1.0), ("mixed", 0.08))
STUDY_SIZES = (40, 300, 2_000, 10_000)
STUDY_TARGETS = (90.0, 97.0, 99.4)
STUDIES = (1, 3, 10)
# Numbers of seeds of a verification and of a certification, and the distributions for which six seeds are too few.
SEED_COUNTS = (6, 10, 20, 30, 40, 60, 80, 100, 200)
SEED_KINDS = (("gamma", 1.0), ("mixed", 0.08))
SEED_CASES = ((300, 90.0), (300, 97.0), (10_000, 90.0), (10_000, 99.4))  # test images and target
# Distributions of a group's errors; "mixed": a tenth of the groups makes ``spread`` times the errors of the rest.
GROUP_KINDS = (("normal", 0.3), ("gamma", 0.5), ("gamma", 1.0), ("mixed", 5.0))
GROUPS = (7, 20, 50)
GROUP_TARGETS = (90.0, 97.0)
GROUP_SIZE = 40  # images
# Sizes of unequal groups, in images: a large group among small groups, a geometric series, and two sizes.
UNEQUAL_SIZES = (
    (1_000, *[20] * 19),
    (1_000, *[20] * 6),
    (400, 200, 100, 50, 25, 12, 6),
    (*[100] * 4, *[20] * 16),
)
GROUP_STUDIES = 3_000  # simulated studies per case
SEED_STUDIES = 2_000  # simulated workspaces per case, and a fifth of the simulated certifications
HARD_ERRORS = 0.8  # probability that a seed misclassifies a hard image; the other images are always right
SEEDS = 6  # seeds of a verification that are declared first
MORE_SEEDS = 4  # seeds that are declared later
LOOKS = 2  # verifications of a study
CERTIFICATE_SEEDS = 20
_UNGROUPED = Groups()


def drawn(kind: tuple[str, float], mean: float, shape: tuple[int, ...], random: np.random.Generator) -> Any:
    """Return numbers of errors with mean ``mean``; None if no "wavering" distribution has this mean."""
    name, spread = kind
    if name == "wavering":
        core = max(0, int(np.floor(mean - spread / 2)))
        share = (mean - core) / spread
        return core + random.binomial(int(spread), share, shape) if share <= 1 else None
    if name == "normal":
        values = random.normal(mean, spread * mean, shape).clip(0)
    elif name == "mixed":
        usual = mean / 1.1
        values = random.normal(usual, spread * usual, shape).clip(0) * (1 + (random.random(shape) < 0.1))
    elif name == "gamma":
        values = random.gamma(1 / spread**2, mean * spread**2, shape)
    else:
        deviation = np.sqrt(np.log(1 + spread**2))
        values = np.exp(random.normal(np.log(mean) - deviation**2 / 2, deviation, shape))
    # Rounded up with the probability of the fraction, which keeps the mean.
    return np.floor(values + random.random(shape)).astype(int)


def look_confidence(look: int) -> float:
    """Return the confidence of the bound for the verification with index ``look`` on a test set."""
    return 1 - ALPHA_SHARE * LOOK_ALPHA * (1 - ALPHA_SHARE) ** look  # as ``ledger.next_look_alpha``


def is_verified(errors: Sequence[int], images: int, target_pct: float, look: int, groups: Groups = _UNGROUPED) -> bool:
    """Return whether a row is called verified with the seeds declared first, or together with the seeds added later."""
    known = dict(enumerate(errors))
    first = {index: known[index] for index in range(SEEDS)}
    options: dict[str, Any] = {"confidence": look_confidence(look), "groups": groups}
    judgements = (
        bounds.judgement_of(first, images, target_pct, [range(SEEDS)], **options),
        bounds.judgement_of(known, images, target_pct, [range(SEEDS), range(SEEDS, len(known))], **options),
    )
    return Judgement.PROVEN in judgements


def certified_share(errors: Any, images: int, target_pct: float) -> float:
    """Return the share of the certifications that pass; ``errors`` has the shape (certifications, seeds)."""
    confidence = bounds.certifying_confidence(ALPHA * ALPHA_SHARE)
    lower_bounds = [bounds.lower_bound_pct(seeds, images, confidence) for seeds in errors.tolist()]
    return float(np.mean(np.array(lower_bounds) >= target_pct - 1e-9))


def shares(studies: int, sizes: Sequence[int] = SIZES, targets: Sequence[float] = TARGETS) -> Iterator[dict[str, Any]]:
    """Yield the shares of false answers for each case."""
    random = np.random.default_rng(1)
    for images in sizes:
        for target in targets:
            mean = images * (1 - target / 100) * MISS
            for kind in KINDS:
                errors = drawn(kind, mean, (studies, LOOKS, SEEDS + MORE_SEEDS), random)
                if errors is None:
                    continue
                verified = [
                    any(is_verified(seeds, images, target, look) for look, seeds in enumerate(study))
                    for study in errors.tolist()
                ]
                certified = certified_share(drawn(kind, mean, (studies, CERTIFICATE_SEEDS), random), images, target)
                case = {"images": images, "target_pct": target, "seeds": "{} {:g}".format(*kind)}
                yield case | {"verified": float(np.mean(verified)), "certified": certified}


def study_shares(runs: int) -> Iterator[dict[str, Any]]:
    """Yield, for each case, the share of workspaces with a false ``verified`` after several studies on a test set."""
    random = np.random.default_rng(2)
    looks = LOOKS * max(STUDIES)
    for images in STUDY_SIZES:
        for target in STUDY_TARGETS:
            mean = images * (1 - target / 100) * MISS
            for kind in STUDY_KINDS:
                errors = drawn(kind, mean, (runs, looks, SEEDS + MORE_SEEDS), random)
                # A real study ends at a false verification; simulating the rest does not change the first one.
                first = [
                    next((look for look in range(looks) if is_verified(seeds[look], images, target, look)), looks)
                    for seeds in errors.tolist()
                ]
                case = {"images": images, "target_pct": target, "seeds": "{} {:g}".format(*kind)}
                yield case | {
                    f"studies_{count}": float(np.mean([look < LOOKS * count for look in first])) for count in STUDIES
                }


def seed_shares(runs: int) -> Iterator[dict[str, Any]]:
    """Yield the shares of false answers by number of seeds: of one study, of ten studies and of a certification."""
    random = np.random.default_rng(4)
    looks = LOOKS * max(STUDIES)
    for count, kind, (images, target) in product(SEED_COUNTS, SEED_KINDS, SEED_CASES):
        mean = images * (1 - target / 100) * MISS
        first = []
        for _ in range(runs):
            table = drawn(kind, mean, (looks, count), random).tolist()
            by_look = (bounds.lower_bound_pct(seeds, images, look_confidence(look)) for look, seeds in enumerate(table))
            first.append(next((look for look, bound in enumerate(by_look) if bound >= target - 1e-9), looks))
        certified = certified_share(drawn(kind, mean, (5 * runs, count), random), images, target)
        case = {"count": count, "seeds": "{} {:g}".format(*kind), "images": images, "target_pct": target}
        shares_of = {
            f"studies_{studies}": float(np.mean([look < LOOKS * studies for look in first])) for studies in (1, 10)
        }
        yield case | shares_of | {"certified": certified}


def drawn_groups(kind: tuple[str, float], sizes: Sequence[int], mean: float, random: np.random.Generator) -> Any:
    """Return the numbers of errors by look, seed and group; all looks see the same groups, each with another network.

    The last look has the seeds of a certification. ``mean`` is the mean share of errors over all seeds and groups.
    """
    name, spread = kind
    groups = len(sizes)
    if name == "normal":
        factors = random.normal(1, spread, groups).clip(0)
    elif name == "gamma":
        factors = random.gamma(1 / spread**2, spread**2, groups)
    else:
        factors = (1 + (spread - 1) * (random.random(groups) < 0.1)) / (0.9 + 0.1 * spread)
    shares = np.minimum(1, mean * factors / HARD_ERRORS)
    hard = random.binomial(sizes, shares, (LOOKS + 1, 1, groups))
    luck = random.normal(1, 0.08, (LOOKS + 1, CERTIFICATE_SEEDS, 1)).clip(0, 1 / HARD_ERRORS)
    return random.binomial(hard, HARD_ERRORS * luck)


def group_shares(runs: int, layouts: Iterable[Sequence[int]]) -> Iterator[dict[str, Any]]:
    """Yield the shares of false answers on grouped data for each case, and those of a bound over seeds alone.

    Args:
        runs: Simulated studies per case.
        layouts: Sizes of the groups of each test part, in images.
    """
    random = np.random.default_rng(3)
    confidence = bounds.certifying_confidence(ALPHA * ALPHA_SHARE)
    for sizes, target, kind in product(layouts, GROUP_TARGETS, GROUP_KINDS):
        answers = np.zeros(3)
        images = sum(sizes)
        for _ in range(runs):
            table = drawn_groups(kind, sizes, (1 - target / 100) * MISS, random).tolist()
            verified = []
            by_seeds = []
            for look, seeds in enumerate(table[:LOOKS]):
                by_group = Groups(sizes, dict(enumerate(seeds[: SEEDS + MORE_SEEDS])))
                errors = [sum(each) for each in by_group.errors.values()]
                by_seeds.append(is_verified(errors, images, target, look))
                verified.append(by_seeds[-1] and is_verified(errors, images, target, look, by_group))
            certified = (
                bounds.lower_bound_pct([sum(each) for each in table[LOOKS]], images, confidence) >= target
                and bounds.over_groups_pct(table[LOOKS], sizes, confidence) >= target
            )
            answers += np.array([any(verified), certified, any(by_seeds)], float)
        shares_of = dict(zip(("verified", "certified", "verified_by_seeds"), answers / runs, strict=True))
        case = {"groups": len(sizes), "sizes": list(sizes), "target_pct": target, "kind": "{} {:g}".format(*kind)}
        yield case | shares_of


def worst(studies: int, sizes: Sequence[int] = SIZES, targets: Sequence[float] = TARGETS) -> dict[str, float]:
    """Return the largest shares of false verifications and certifications over all cases."""
    cases = list(shares(studies, sizes, targets))
    return {name: max(case[name] for case in cases) for name in ("verified", "certified")}


def main() -> None:
    """Run all cases and write the result."""
    studies = 5_000
    document = json.loads(RESULT.read_text(encoding="utf-8"))
    if not sys.argv[1:]:
        document |= {"studies": studies, "cases": list(shares(studies)), "one_test_part": list(study_shares(studies))}
    if sys.argv[1:] != ["--seeds"]:
        layouts = [*([GROUP_SIZE] * count for count in GROUPS), *UNEQUAL_SIZES]
        document |= {"group_studies": GROUP_STUDIES, "groups": list(group_shares(GROUP_STUDIES, layouts))}
    if sys.argv[1:] != ["--groups"]:
        document |= {"seed_studies": SEED_STUDIES, "seed_counts": list(seed_shares(SEED_STUDIES))}
    RESULT.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
