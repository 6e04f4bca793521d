"""Simulation of the rate of false answers: networks just below the target that are called verified or certified.

    python -m measurements.false_answers

draws seeds of networks with a true mean just below the target, for several sizes of the test set, targets and
distributions of seeds, and applies the bounds of the program (``harness.evidence.bounds``), here for arrays. A study is
two verifications with six seeds each; the study is false if a verification passes. Seeds that are declared later are
not drawn: they cannot verify a network, because the bound of the seeds declared first must reach the target too.
Further studies read the same test set and share the error budget of the ledger. A certification has twenty seeds. For
grouped data the groups are drawn as well, and the true mean is that of all groups; copies of a picture are a group that
is right or wrong as a whole. Writes ``measurements/results/false-answers.json`` and the figures
``false-answers-light.svg`` and ``false-answers-dark.svg`` in docs/images/; ``--figure`` writes the figures only.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
from scipy.special import betaincinv, gammaincinv, stdtrit

from harness.data.groups import fewest_groups, independent_cases
from harness.evidence import bounds
from harness.evidence.ledger import ALPHA, ALPHA_SHARE, LOOK_ALPHA
from harness.pages import charts
from harness.system import files, statistics
from measurements.frontier import themes

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "measurements" / "results" / "false-answers.json"
SIZES = (40, 100, 500, 2_000, 10_000)
TARGETS = (80.0, 90.0, 95.0, 97.0, 98.0, 99.0, 99.5)
MISS = 1.001  # mean number of errors, divided by the number that the target allows
STUDIES_PER_CASE = 8_000

# Seeds of two kinds: share of the worse seeds, and reach, the gap between the kinds as a share of the largest gap, at
# which the better seeds make no error. 27.6 % worse seeds have a skewness of 1.
WORSE_SHARES = (0.05, 0.1, 0.15, 0.2, 0.276, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.9)
REACHES = (0.02, 0.1, 0.3, 1.0)
# Seeds of three kinds: shares of the middle and of the worst kind, and the position of the middle between the others.
THREE_SHARES = (
    *product((0.05, 0.2, 0.4, 0.5), (0.45, 0.5)),
    *product((0.05, 0.2), (0.7,)),
    *product((0.1, 0.3, 0.6), (0.1, 0.25, 0.35)),
)
MIDDLES = (0.1, 0.3, 0.5, 0.8)
# Distributions for several studies on the same test set; "mixed": normal, but 10 % of the seeds make twice the errors.
STUDY_SIZES = (40, 300, 2_000, 10_000)
STUDY_TARGETS = (90.0, 97.0, 99.4)
STUDIES = (1, 3, 10)
# Numbers of seeds of a verification and of a certification, and the distributions for which six seeds are too few.
SEED_COUNTS = (6, 10, 20, 30, 40, 60, 80, 100, 200)
SEED_CASES = ((300, 90.0), (300, 97.0), (10_000, 90.0), (10_000, 99.4))  # test images and target
SEED_STUDIES = 4_000  # simulated workspaces and certifications per case
# Distributions of the share of errors of a group, as ``Kind``; the groups of each layout have sizes in images.
GROUP_TARGETS = (90.0, 97.0)
LAYOUTS: dict[str, tuple[int, ...]] = {
    **{f"{count} equal groups": (40,) * count for count in (5, 7, 8, 20, 50)},
    "4 x 100, 16 x 20": (*[100] * 4, *[20] * 16),
    "5, 10, ... 100": tuple(range(5, 105, 5)),
    "geometric, ratio 0.75": (202, 152, 114, 86, 65, 49, 38, 29, 22, 17, 13, 10, 8, 7, 6),
    "200, 19 x 20": (200, *[20] * 19),
    "400, 200, 100, 50, 25, 12, 6": (400, 200, 100, 50, 25, 12, 6),
    "1,000, 19 x 20": (1_000, *[20] * 19),
}
# Numbers of copies of each different picture.
COPIES: dict[str, tuple[int, ...]] = {
    "50 pictures, 3 copies each": (3,) * 50,
    "300 pictures, 2 copies each": (2,) * 300,
    "77 pictures, 1 to 31 copies": (31, 20, 12, 8, 6, 5, 4, 4, 3, 3, *[2] * 20, *[1] * 47),
    "501 pictures, one with 31 copies": (31, *[1] * 500),
}
GROUP_STUDIES = 2_000  # simulated studies per case
_BLOCK = 500  # studies of grouped data that are drawn together, to limit memory
HARD_ERRORS = 0.8  # probability that a seed misclassifies a hard image; the other images are always right
SEEDS = 6  # seeds of a verification
LOOKS = 2  # verifications of a study
CERTIFICATE_SEEDS = 20
CERTIFYING_CONFIDENCE = bounds.certifying_confidence(ALPHA * ALPHA_SHARE)


@dataclass(frozen=True)
class Kind:
    """A distribution of the errors of a seed, or of the share of errors of a group, divided by the mean.

    Attributes:
        family: Name of the family.
        spread: Standard deviation of the distribution; of "wavering" the number of images that vary between seeds, of
            "mixed" the standard deviation of usual seeds, of "points" the reach.
        shares: Of "points": share of each kind of seeds, from the best to the worst.
        positions: Of "points": position of each kind of seeds, from 0 to 1.
    """

    family: str
    spread: float
    shares: tuple[float, ...] = ()
    positions: tuple[float, ...] = ()

    def __str__(self) -> str:
        if not self.shares:
            return f"{self.family} {self.spread:g}"
        shares = " ".join(f"{100 * share:.3g}" for share in self.shares)
        middle = "".join(f", middle {position:g}" for position in self.positions[1:-1])
        return f"{self.family} {shares} %{middle}, reach {self.spread:g}"

    @property
    def skewness(self) -> float:
        """Skewness of the distribution; NaN for "wavering" and "mixed"."""
        if self.shares:
            shares = np.array(self.shares)
            deviations = np.array(self.positions) - shares @ np.array(self.positions)
            return float(shares @ deviations**3 / (shares @ deviations**2) ** 1.5)
        cubed = (self.spread**2 + 3) * self.spread  # skewness of a lognormal distribution
        return {"normal": 0.0, "gamma": 2 * self.spread, "reversed": -2 * self.spread, "lognormal": cubed}.get(
            self.family, np.nan
        )

    @property
    def worst_share(self) -> float:
        """Share of the worst kind of seeds; 1 for distributions with a single peak."""
        return 0.1 if self.family == "mixed" else (*self.shares, 1.0)[max(0, len(self.shares) - 1)]

    @property
    def is_stated(self) -> bool:
        """Whether the distribution fulfils ``statistics.SEED_CONDITION``."""
        is_skewed = self.skewness > statistics.MAX_SKEWNESS + 1e-9
        return not is_skewed and self.worst_share >= statistics.WORST_SHARE

    def factors(self, shape: tuple[int, ...], random: np.random.Generator) -> Any:
        """Return random values with mean 1."""
        if self.shares:
            centre = float(np.dot(self.shares, self.positions))
            chosen_positions = random.choice(self.positions, shape, p=self.shares)
            return 1 + self.spread * (chosen_positions - centre) / centre
        if self.family == "normal":
            return random.normal(1, self.spread, shape).clip(0)
        if self.family == "mixed":
            usual = random.normal(1 / 1.1, self.spread / 1.1, shape).clip(0)
            return usual * (1 + (random.random(shape) < 0.1))
        if self.family == "lognormal":
            deviation = np.sqrt(np.log(1 + self.spread**2))
            return np.exp(random.normal(-(deviation**2) / 2, deviation, shape))
        values = random.gamma(1 / self.spread**2, self.spread**2, shape)
        return values if self.family == "gamma" else (2 - values).clip(0)


def points(shares: Sequence[float], reach: float, middle: float | None = None) -> Kind:
    """Return a distribution of two or three points; ``shares`` are those of the points above the best."""
    all_shares = (round(1 - sum(shares), 9), *shares)
    positions = (0.0, 1.0) if middle is None else (0.0, middle, 1.0)
    present = [point for point in zip(all_shares, positions, strict=True) if point[0] > 0]
    return Kind("points", reach, *(tuple(values) for values in zip(*present, strict=True)))


TWO_KINDS = tuple(points((share,), reach) for share, reach in product(WORSE_SHARES, REACHES))
KINDS = (
    *(Kind("normal", spread) for spread in (0.08, 0.15)),
    *(Kind("gamma", spread) for spread in (0.08, 0.15, 0.25, 0.35, 0.5, 1.0)),
    *(Kind("reversed", spread) for spread in (0.08, 0.25)),
    *(Kind("lognormal", spread) for spread in (0.08, 0.16, 0.25, 0.35, 0.5)),
    *(Kind("wavering", images) for images in (1, 2, 4, 8)),
    Kind("mixed", 0.08),
    *TWO_KINDS,
    *(points(shares, reach, middle) for shares, middle, reach in product(THREE_SHARES, MIDDLES, (0.1, 1.0))),
)
STUDY_KINDS = (*(Kind("gamma", spread) for spread in (0.25, 0.5, 1.0)), Kind("normal", 0.08), Kind("mixed", 0.08))
SEED_KINDS = (Kind("gamma", 1.0), Kind("mixed", 0.08))
# A reach of 0.95 makes the worst of 45 % groups 24 times as bad as the rest, of 20 % groups 81 times.
GROUP_KINDS = (
    Kind("normal", 0.3),
    *(Kind("gamma", spread) for spread in (0.25, 0.5, 1.0)),
    *(points((share,), reach) for share, reach in product((0.1, 0.2, 0.3, 0.45, 0.6), (0.5, 0.95))),
    points((0.3, 0.45), 0.95, 0.5),
)
COPY_KIND = Kind("copies", 1.0)


def drawn(kind: Kind, mean: float, shape: tuple[int, ...], random: np.random.Generator) -> Any:
    """Return numbers of errors with mean ``mean``; None if no "wavering" distribution has this mean."""
    if kind.family == "wavering":
        core = max(0, int(np.floor(mean - kind.spread / 2)))
        share = (mean - core) / kind.spread
        return core + random.binomial(int(kind.spread), share, shape) if share <= 1 else None
    # Rounded up with the probability of the fraction, which keeps the mean.
    return np.floor(mean * kind.factors(shape, random) + random.random(shape)).astype(int)


def look_confidence(look: int) -> float:
    """Return the confidence of the bound for the verification with index ``look`` on a test set."""
    return 1 - ALPHA_SHARE * LOOK_ALPHA * (1 - ALPHA_SHARE) ** look  # as ``ledger.next_look_alpha``


def lower_bounds(errors: Any, images: int, confidence: float, target_pct: float = 0.0) -> Any:
    """Return ``bounds.lower_bound_pct`` of errors (..., seeds), (...); below ``target_pct`` Student's bound alone."""
    seeds = errors.shape[-1]
    accuracies = 100 * (1 - errors / images)
    lowest = accuracies.mean(-1) - stdtrit(seeds - 1, confidence) * accuracies.std(-1, ddof=1) / np.sqrt(seeds)
    is_near = lowest >= target_pct - 1e-9
    near_errors = errors[is_near]
    fewest = near_errors.min(-1)
    above = near_errors.sum(-1) - fewest * seeds
    by_poisson = 100 * (1 - (fewest + gammaincinv(above + 1.0, confidence) / seeds) / images)
    lowest[is_near] = np.minimum(lowest[is_near], by_poisson)
    return np.maximum(0, lowest)


def group_bounds(errors: Any, sizes: Sequence[int], confidence: float, *, are_copies: bool = False) -> Any:
    """Return ``over_groups_pct`` of errors (..., seeds, groups), (...)."""
    seeds, groups = errors.shape[-2:]
    images = sum(sizes)
    effective = independent_cases(sizes)
    if effective + 1e-9 < fewest_groups(confidence):
        return np.full(errors.shape[:-2], -np.inf)
    of_sizes = np.floor(effective - 1 + 1e-9)
    mean = errors.sum((-1, -2)) / seeds
    share = mean / images
    deviations = errors - share[..., None, None] * np.array(sizes)
    degrees = np.array([seeds - 1, groups - 1, (seeds - 1) * (groups - 1)])
    of_seeds = (deviations.sum(-1) ** 2).sum(-1) / groups
    of_groups = (deviations.sum(-2) ** 2).sum(-1) / seeds
    rest = np.maximum(0, (deviations**2).sum((-1, -2)) - of_seeds - of_groups)
    squares = np.stack([of_seeds, of_groups, rest], -1) / degrees
    answers = np.maximum(0, squares[..., 0] + squares[..., 1] - squares[..., 2])
    spread = (squares**2 / degrees).sum(-1)
    scale = np.sqrt(groups / seeds) / images
    by_groups = scale * np.sqrt(squares[..., 1])
    by_both = scale * np.sqrt(answers)
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = np.floor(np.minimum(np.where(spread > 0, answers**2 / spread, np.inf), 1e9) + 1e-6)
        freedom = np.where(by_both > by_groups, np.minimum(np.maximum(1, whole), of_sizes), of_sizes)
        error = np.maximum(by_both, by_groups)
        correction = (stdtrit(images - 1.0, confidence) / stdtrit(freedom, confidence)) ** 2
        by_variance = (share * (1 - share) / error**2 + 1) * correction
    most = (effective if are_copies else images) * np.minimum(1, correction)
    cases = np.where(error > 0, np.minimum(most, by_variance), most)
    wrong = share * cases
    is_possible = wrong < cases
    quantiles = betaincinv(np.where(is_possible, wrong + 1, 1), np.where(is_possible, cases - wrong, 1), confidence)
    return np.where(is_possible, 100 * (1 - quantiles), 0.0)


def pass_by_look(errors: Any, images: int, target_pct: float) -> Any:
    """Return whether each verification passes, (studies, looks), for errors (studies, looks, seeds)."""
    looks = errors.shape[1]
    by_look = [lower_bounds(errors[:, look], images, look_confidence(look), target_pct) for look in range(looks)]
    return np.stack(by_look, 1) >= target_pct - 1e-9


def certified_share(errors: Any, images: int, target_pct: float) -> float:
    """Return the share of the certifications that pass; ``errors`` has the shape (certifications, seeds)."""
    return float(np.mean(lower_bounds(errors, images, CERTIFYING_CONFIDENCE, target_pct) >= target_pct - 1e-9))


def shares(
    kind: Kind, studies: int, sizes: Sequence[int] = SIZES, targets: Sequence[float] = TARGETS
) -> dict[str, Any]:
    """Return the largest shares of false verifications and certifications of a distribution over sizes and targets."""
    random = np.random.default_rng(1)
    largest = {"verified": (0.0, ""), "certified": (0.0, "")}
    for images, target in product(sizes, targets):
        mean = images * (1 - target / 100) * MISS
        errors = drawn(kind, mean, (studies, LOOKS, SEEDS), random)
        if errors is None:
            continue
        verified = float(pass_by_look(errors, images, target).any(1).mean())
        certified = certified_share(drawn(kind, mean, (studies, CERTIFICATE_SEEDS), random), images, target)
        case = f"{images} images, {target:g} %"
        largest["verified"] = max(largest["verified"], (verified, case))
        largest["certified"] = max(largest["certified"], (certified, case))
    return described(kind) | {
        "verified": largest["verified"][0],
        "verified_at": largest["verified"][1],
        "certified": largest["certified"][0],
        "certified_at": largest["certified"][1],
    }


def described(kind: Kind) -> dict[str, Any]:
    """Return the fields of a distribution in the result."""
    skewness = None if np.isnan(kind.skewness) else round(kind.skewness, 3)
    return {"seeds": str(kind), "skewness": skewness, "worst_share": kind.worst_share, "stated": kind.is_stated}


def study_shares(runs: int) -> Iterator[dict[str, Any]]:
    """Yield, for each case, the share of workspaces with a false ``verified`` after several studies on a test set."""
    random = np.random.default_rng(2)
    for images, target, kind in product(STUDY_SIZES, STUDY_TARGETS, STUDY_KINDS):
        errors = drawn(kind, images * (1 - target / 100) * MISS, (runs, LOOKS * max(STUDIES), SEEDS), random)
        passes = pass_by_look(errors, images, target)
        case = {"images": images, "target_pct": target, "seeds": str(kind)}
        yield case | {f"studies_{count}": float(passes[:, : LOOKS * count].any(1).mean()) for count in STUDIES}


def seed_shares(runs: int) -> Iterator[dict[str, Any]]:
    """Yield the shares of false answers by number of seeds: of one study, of ten studies and of a certification."""
    random = np.random.default_rng(4)
    looks = LOOKS * max(STUDIES)
    for count, kind, (images, target) in product(SEED_COUNTS, SEED_KINDS, SEED_CASES):
        mean = images * (1 - target / 100) * MISS
        blocks = [drawn(kind, mean, (_BLOCK, looks, count), random) for _ in range(runs // _BLOCK)]
        passes = np.concatenate([pass_by_look(errors, images, target) for errors in blocks])
        certified = certified_share(drawn(kind, mean, (runs, count), random), images, target)
        case = {"count": count, "seeds": str(kind), "images": images, "target_pct": target}
        shares_of = {f"studies_{studies}": float(passes[:, : LOOKS * studies].any(1).mean()) for studies in (1, 10)}
        yield case | shares_of | {"certified": certified}


def drawn_groups(kind: Kind, sizes: Sequence[int], mean: float, runs: int, random: np.random.Generator) -> list[Any]:
    """Return the numbers of errors of each look and of a certification, (studies, seeds, groups).

    All looks see the same groups, each with another network. ``mean`` is the mean share of errors over all seeds and
    groups. Copies of a picture are hard together, and wrong or right together.
    """
    shape = (runs, 1, len(sizes))
    factors = 1 if kind == COPY_KIND else kind.factors(shape, random)
    hard_shares = np.minimum(1, mean * factors / HARD_ERRORS)
    tables = []
    for seeds in (*[SEEDS] * LOOKS, CERTIFICATE_SEEDS):
        luck = random.normal(1, 0.08, (runs, seeds, 1)).clip(0, 1 / HARD_ERRORS)
        if kind == COPY_KIND:
            is_wrong = random.random((runs, seeds, len(sizes))) < HARD_ERRORS * luck
            tables.append((random.random(shape) < hard_shares) * is_wrong * np.array(sizes))
        else:
            tables.append(random.binomial(random.binomial(sizes, hard_shares, shape), HARD_ERRORS * luck))
    return tables


def group_answers(kind: Kind, sizes: Sequence[int], target_pct: float, runs: int) -> Any:
    """Return the shares of studies with a false ``verified``, of false certificates, and of studies by seeds alone."""
    random = np.random.default_rng(3)
    images = sum(sizes)
    are_copies = kind == COPY_KIND
    answers = np.zeros(3)
    for _ in range(runs // _BLOCK):
        *looks, last = drawn_groups(kind, sizes, (1 - target_pct / 100) * MISS, _BLOCK, random)
        by_seeds = pass_by_look(np.stack([errors.sum(-1) for errors in looks], 1), images, target_pct)
        by_groups = [
            group_bounds(errors, sizes, look_confidence(look), are_copies=are_copies)
            for look, errors in enumerate(looks)
        ]
        verified = by_seeds & (np.stack(by_groups, 1) >= target_pct)
        by_certificate = np.minimum(
            lower_bounds(last.sum(-1), images, CERTIFYING_CONFIDENCE),
            group_bounds(last, sizes, CERTIFYING_CONFIDENCE, are_copies=are_copies),
        )
        answers += [verified.any(1).sum(), (by_certificate >= target_pct).sum(), by_seeds.any(1).sum()]
    return answers / (runs // _BLOCK * _BLOCK)


def group_shares(
    runs: int, layouts: dict[str, tuple[int, ...]], kinds: Iterable[Kind], targets: Sequence[float] = GROUP_TARGETS
) -> Iterator[dict[str, Any]]:
    """Yield the largest shares of false answers over the targets for each layout of groups and each distribution."""
    for (name, sizes), kind in product(layouts.items(), kinds):
        answers = np.max([group_answers(kind, sizes, target, runs) for target in targets], axis=0)
        shares_of = dict(zip(("verified", "certified", "verified_by_seeds"), answers.tolist(), strict=True))
        facts = {"layout": name, "groups": len(sizes), "effective": round(independent_cases(sizes), 1)}
        yield facts | described(kind) | shares_of


def _groups_of_layout(layout: tuple[str, tuple[int, ...]], kinds: tuple[Kind, ...]) -> list[dict[str, Any]]:
    return list(group_shares(GROUP_STUDIES, dict([layout]), kinds))


def worst(rows: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Return the largest shares of false verifications and certifications over the stated distributions."""
    stated_rows = [row for row in rows if row["stated"]]
    return {name: max(row[name] for row in stated_rows) for name in ("verified", "certified")}


def figure() -> Any:
    """Return the chart of false answers by the share of worse seeds, if seeds are of two kinds."""
    document = json.loads(RESULT.read_text(encoding="utf-8"))
    answers = {"verified": "verified in one study", "certified": "certified or shown"}
    rows = []
    for share, (name, label) in product(WORSE_SHARES, answers.items()):
        names = {str(kind) for kind in TWO_KINDS if kind.shares[-1] == share}
        rate = max(row[name] for row in document["cases"] if row["seeds"] in names)
        # The axis is logarithmic; no share of 8,000 studies is smaller.
        rows.append({"share": 100 * share, "rate": max(100 * rate, 0.005), "answer": label})
    x = alt.X("share:Q", title="share of worse seeds, %", scale=alt.Scale(domain=[0, 90]))
    y = alt.Y("rate:Q", title="networks below the target, %", scale=alt.Scale(type="log", domain=[0.004, 100]))
    limits = [{"rate": 10.0, "answer": answers["verified"]}, {"rate": 1.0, "answer": answers["certified"]}]
    colour = alt.Color("answer:N", title=None, scale=alt.Scale(range=[charts.Colour.PURPLE, charts.Colour.GREEN]))
    border = [{"share": 100 * statistics.WORST_SHARE, "words": f"stated from {100 * statistics.WORST_SHARE:g} % on"}]
    chart = alt.layer(
        alt.Chart(alt.InlineData(values=limits)).mark_rule(strokeDash=[5, 4]).encode(y=y, color=colour),
        alt.Chart(alt.InlineData(values=border)).mark_rule(color=charts.Colour.GREY).encode(x=x),
        alt.Chart(alt.InlineData(values=border))
        .mark_text(align="left", dx=6, color=charts.Colour.TEXT)
        .encode(x=x, y=alt.value(8), text="words:N"),
        alt.Chart(alt.InlineData(values=rows)).mark_line(point=True).encode(x=x, y=y, color=colour),
    )
    colours = {"labelColor": charts.Colour.TEXT, "titleColor": charts.Colour.TEXT}
    return chart.properties(height=300).configure(
        background="white", font="system-ui, sans-serif", axis={"gridColor": "#d3dae0", **colours}, legend=colours
    )


def main() -> None:
    """Run all cases and write the result."""
    if sys.argv[1:] != ["--figure"]:
        with ProcessPoolExecutor() as processes:
            cases = [*processes.map(partial(shares, studies=STUDIES_PER_CASE), KINDS)]
            parts = processes.map(partial(_groups_of_layout, kinds=GROUP_KINDS), LAYOUTS.items())
            groups = [row for part in parts for row in part]
            parts = processes.map(partial(_groups_of_layout, kinds=(COPY_KIND,)), COPIES.items())
            copies = [row for part in parts for row in part]
        document = {
            "condition": statistics.SEED_CONDITION,
            "largest": worst(cases),
            "largest_of_groups": worst([*groups, *copies]),
            "studies": STUDIES_PER_CASE,
            "cases": cases,
            "one_test_part": list(study_shares(STUDIES_PER_CASE)),
            "seed_studies": SEED_STUDIES,
            "seed_counts": list(seed_shares(SEED_STUDIES)),
            "group_studies": GROUP_STUDIES,
            "groups": groups,
            "copies": copies,
        }
        RESULT.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    for name, content in themes("false-answers", charts.svg(figure(), 720)).items():
        files.write_text(ROOT / "docs" / "images" / name, content + "\n")


if __name__ == "__main__":
    main()
