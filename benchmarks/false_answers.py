"""How often are answers false: networks just below the target that are called verified, certified or shown?

``python -m benchmarks.false_answers`` draws seeds of networks whose true mean lies just below the target, over sizes of
the test part, targets and kinds of seeds, and asks the program's own rule (``harness.evidence.bounds``) of each. A
study is two verifications of six seeds, each with four more declared afterwards, as after a resumption; it is false
where either is called verified. Further studies look at the same test part, by the account of the ledger. A certificate
has twenty seeds. Writes ``benchmarks/results/false-answers.json``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.evidence import bounds
from harness.evidence.bounds import Judgement
from harness.evidence.ledger import ALPHA, ALPHA_SHARE, LOOK_ALPHA

RESULT = Path(__file__).parent / "results" / "false-answers.json"
SIZES = (40, 100, 500, 2_000, 10_000)
TARGETS = (80.0, 90.0, 95.0, 97.0, 98.0, 99.0, 99.5)
# Deviation of a seed's errors by their mean; for a gamma distribution the skewness is twice that.
KINDS = (
    *(("normal", share) for share in (0.08, 0.15)),
    *(("gamma", share) for share in (0.08, 0.25, 0.5)),
    ("lognormal", 0.25),
    # All images but so many are always right or always wrong.
    *(("wavering", images) for images in (1, 2, 4, 8)),
)
# Of several studies on one test part: "mixed" are normal seeds, of which a tenth makes twice the errors.
STUDY_KINDS = (("normal", 0.08), ("gamma", 0.25), ("gamma", 0.5), ("gamma", 1.0), ("mixed", 0.08))
STUDY_SIZES = (40, 300, 2_000, 10_000)
STUDY_TARGETS = (90.0, 97.0, 99.4)
STUDIES = (1, 3, 10)
SEEDS = 6
MORE_SEEDS = 4
LOOKS = 2
CERTIFICATE_SEEDS = 20


def drawn(kind: tuple[str, float], mean: float, shape: tuple[int, ...], random: np.random.Generator) -> Any:
    """Return errors of seeds, whole numbers of this mean; None where there is no such distribution."""
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
    return np.floor(values + random.random(shape)).astype(int)


def look_confidence(look: int) -> float:
    """Return the confidence of the bound that decides a look at a test part, counted from 0."""
    return 1 - ALPHA_SHARE * LOOK_ALPHA * (1 - ALPHA_SHARE) ** look


def is_verified(errors: Sequence[int], images: int, target_pct: float, look: int) -> bool:
    """Return whether a row is ever called verified: after the first declaration, or with the seeds declared later."""
    confidence = look_confidence(look)
    known = dict(enumerate(errors))
    first = {index: known[index] for index in range(SEEDS)}
    judgements = (
        bounds.judgement_of(first, images, target_pct, [range(SEEDS)], confidence=confidence),
        bounds.judgement_of(known, images, target_pct, [range(SEEDS), range(SEEDS, len(known))], confidence=confidence),
    )
    return Judgement.PROVEN in judgements


def shares(studies: int, sizes: Sequence[int] = SIZES, targets: Sequence[float] = TARGETS) -> Iterator[dict[str, Any]]:
    """Yield, for each case, the shares of false answers."""
    random = np.random.default_rng(1)
    confidence = bounds.certifying(ALPHA * ALPHA_SHARE)
    for images in sizes:
        for target in targets:
            # The mean lies below the target by a thousandth of the errors that are allowed.
            mean = images * (1 - target / 100) * 1.001
            for kind in KINDS:
                errors = drawn(kind, mean, (studies, LOOKS, SEEDS + MORE_SEEDS), random)
                if errors is None:
                    continue
                verified = [
                    any(is_verified(seeds, images, target, look) for look, seeds in enumerate(study))
                    for study in errors.tolist()
                ]
                certified = [
                    bounds.lower_bound_pct(seeds, images, confidence) >= target - 1e-9
                    for seeds in drawn(kind, mean, (studies, CERTIFICATE_SEEDS), random).tolist()
                ]
                case = {"images": images, "target_pct": target, "seeds": f"{kind[0]} {kind[1]:g}"}
                yield case | {"verified": float(np.mean(verified)), "certified": float(np.mean(certified))}


def study_shares(runs: int) -> Iterator[dict[str, Any]]:
    """Yield, for each case, the share of workspaces with a false ``verified`` after studies on one test part."""
    random = np.random.default_rng(2)
    looks = LOOKS * max(STUDIES)
    for images in STUDY_SIZES:
        for target in STUDY_TARGETS:
            mean = images * (1 - target / 100) * 1.001
            for kind in STUDY_KINDS:
                errors = drawn(kind, mean, (runs, looks, SEEDS + MORE_SEEDS), random)
                # A look at a false verification ends a study, which changes nothing of whether one was false.
                first = [
                    next((look for look in range(looks) if is_verified(seeds[look], images, target, look)), looks)
                    for seeds in errors.tolist()
                ]
                case = {"images": images, "target_pct": target, "seeds": f"{kind[0]} {kind[1]:g}"}
                yield case | {
                    f"studies_{count}": float(np.mean([look < LOOKS * count for look in first])) for count in STUDIES
                }


def worst(studies: int, sizes: Sequence[int] = SIZES, targets: Sequence[float] = TARGETS) -> dict[str, float]:
    """Return the largest share of false answers of each kind over all cases."""
    cases = list(shares(studies, sizes, targets))
    return {name: max(case[name] for case in cases) for name in ("verified", "certified")}


def main() -> None:
    """Write the result."""
    studies = 5_000
    document = {"studies": studies, "cases": list(shares(studies)), "one_test_part": list(study_shares(studies))}
    RESULT.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
