"""Write docs/claims.md, its chart.

    python -m benchmarks.claims_page

reads benchmarks/results/claims.jsonl (a public network per line) and claims-trainings.jsonl (a training per line, from
``benchmarks.claims_training``).

Symbols: K networks, n_k seeds of network k. The optimism of a training is the accuracy of its best epoch on the test
set minus the accuracy of its last epoch, in percentage points. Intervals of means over networks are Student's t
intervals over the K means of the networks, because seeds of a network are not independent observations of networks.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import altair as alt
import numpy as np
from scipy import stats

from harness.system import files
from reports import charts

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
TEST_IMAGES = 10_000
TARGET_PCT = 99.4  # the target that most of the repositories share
_PAGE = "claims.md"
_CHART = "claims.svg"


@dataclass(frozen=True)
class Claim:
    """A public network, its claim and its trainings.

    Attributes:
        facts: Line of claims.jsonl.
        errors: Test errors after each epoch, for each seed.
    """

    facts: dict[str, Any]
    errors: tuple[tuple[int, ...], ...]

    @property
    def last_pct(self) -> list[float]:
        """Accuracy after the last epoch, for each seed."""
        return [100 - 100 * counts[-1] / TEST_IMAGES for counts in self.errors]

    @property
    def best_pct(self) -> list[float]:
        """Accuracy after the best epoch on the test set, for each seed."""
        return [100 - 100 * min(counts) / TEST_IMAGES for counts in self.errors]

    @property
    def claimed_pct(self) -> float | None:
        """Claimed accuracy."""
        value: float | None = self.facts["claimed_accuracy_pct"]
        return value

    @property
    def is_measured(self) -> bool:
        """Whether the stated recipe is complete and at least one seed was trained with it."""
        return bool(self.errors) and self.facts["recipe_complete"] and self.claimed_pct is not None


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_claims(folder: Path = RESULTS) -> list[Claim]:
    """Return all claims with their trainings, by number."""
    trainings = _lines(folder / "claims-trainings.jsonl")
    claims = []
    for facts in _lines(folder / "claims.jsonl"):
        own = [row for row in trainings if row["nr"] == facts["nr"]]
        errors = tuple(tuple(row["test_errors"]) for row in own if "test_errors" in row)
        claims.append(Claim(facts, errors))
    return claims


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Return the mean of ``values`` and the bounds of its Student interval; three or more values."""
    low, high = stats.t.interval(confidence, len(values) - 1, fmean(values), stats.sem(values))
    return fmean(values), float(low), float(high)


def share_interval(count: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the bounds of the share ``count / total`` in per cent (Clopper and Pearson 1934)."""
    interval = stats.binomtest(count, total).proportion_ci(confidence)
    return 100 * interval.low, 100 * interval.high


def summary(claims: Sequence[Claim]) -> dict[str, Any]:
    """Return the figures of the page, as JSON values."""
    measured = [claim for claim in claims if claim.is_measured]
    at_target = [claim for claim in measured if (claim.claimed_pct or 0) >= TARGET_PCT]
    held = [claim for claim in at_target if fmean(claim.last_pct) >= TARGET_PCT]
    optimism = [fmean(np.subtract(claim.best_pct, claim.last_pct)) for claim in measured]
    excess = [(claim.claimed_pct or 0) - fmean(claim.last_pct) for claim in measured]
    wrong = [claim for claim in claims if _has_other_count(claim)]
    return {
        "claims": len(claims),
        "repositories": len({claim.facts["repository"] for claim in claims}),
        "measured": len(measured),
        "trainings": sum(len(claim.errors) for claim in measured),
        "seeds": sorted({len(claim.errors) for claim in measured}),
        "at_target": len(at_target),
        "held": len(held),
        "held_interval_pct": share_interval(len(held), len(at_target)),
        "optimism": mean_interval(optimism),
        "excess": mean_interval(excess),
        "other_counts": [claim.facts["nr"] for claim in wrong],
    }


def _has_other_count(claim: Claim) -> bool:
    claimed = claim.facts["claimed_parameters"]
    return claimed is not None and claimed != claim.facts["counted_parameters"]


def chart(claims: Sequence[Claim]) -> Any:
    """Return claimed accuracy (horizontal) against measured accuracy with the range of the seeds (vertical)."""
    rows = [
        {
            "network": f"{claim.facts['nr']}",
            "claimed": claim.claimed_pct,
            "measured": fmean(claim.last_pct),
            "least": min(claim.last_pct),
            "most": max(claim.last_pct),
        }
        for claim in claims
        if claim.is_measured
    ]
    low = min(min(claim.last_pct) for claim in claims if claim.is_measured) - 0.05
    scale = alt.Scale(domain=[max(low, 98.4), 99.7], clamp=True)
    base = alt.Chart(alt.InlineData(values=rows))
    x = alt.X("claimed:Q", scale=scale, title="claimed accuracy, %")
    points = base.mark_point(filled=True, size=45, color=charts.GREEN).encode(
        x=x, y=alt.Y("measured:Q", scale=scale, title="measured accuracy after the last epoch, %")
    )
    ranges = base.mark_rule(color=charts.GREY).encode(x=x, y=alt.Y("least:Q", scale=scale), y2=alt.Y2("most:Q"))
    ends = [{"claimed": value, "measured": value} for value in (max(low, 98.4), 99.7)]
    diagonal = (
        alt.Chart(alt.InlineData(values=ends))
        .mark_line(strokeDash=[4, 4], color=charts.GREY)
        .encode(x=alt.X("claimed:Q", scale=scale), y=alt.Y("measured:Q", scale=scale))
    )
    return (diagonal + ranges + points).properties(width=420, height=420)


def _number(value: float | None, places: int = 2) -> str:
    return "" if value is None else f"{value:.{places}f}"


def _row(claim: Claim) -> str:
    facts = claim.facts
    repository = facts["repository"].removeprefix("github.com/")
    link = f"[{repository}](https://{facts['repository']}/blob/{facts['commit']}/{facts['path'].replace(' ', '%20')})"
    claimed_parameters = facts["claimed_parameters"]
    stated_count = "" if claimed_parameters is None else f"{claimed_parameters:,}"
    last = _number(fmean(claim.last_pct)) if claim.errors else ""
    deviation = f" ± {stdev(claim.last_pct):.2f}" if len(claim.errors) > 1 else ""
    best = _number(fmean(claim.best_pct)) if claim.errors else ""
    epoch = facts["claim_epoch"] if claim.claimed_pct is not None else ""
    cells = [
        f"{facts['nr']}",
        link,
        f"{facts['counted_parameters']:,}",
        stated_count,
        _number(claim.claimed_pct),
        epoch,
        f"{last}{deviation}",
        best,
        f"{len(claim.errors)}",
        facts["refused"],
    ]
    return f"| {' | '.join(cells)} |"


def page(claims: Sequence[Claim]) -> str:
    """Return the text of docs/claims.md."""
    figures = summary(claims)
    mean, low, high = figures["optimism"]
    excess, excess_low, excess_high = figures["excess"]
    share_low, share_high = figures["held_interval_pct"]
    seeds = " to ".join(str(count) for count in sorted({figures["seeds"][0], figures["seeds"][-1]}))
    table = "\n".join(_row(claim) for claim in claims)
    return f"""# Public claims, measured

{figures["claims"]} networks of {figures["repositories"]} public repositories that state an accuracy on MNIST with
fewer than 20,000 parameters, trained here with the recipe of their repository. The page is written by
`python -m benchmarks.claims_page`.

- **{figures["held"]} of {figures["at_target"]} claims of at least {TARGET_PCT} % hold** as the mean over the
  trained seeds (per network: {seeds}) after the last epoch (95 % interval of the share: {share_low:.0f} to
  {share_high:.0f} %, Clopper and Pearson).
- **The best of all epochs is {mean:.3f} percentage points above the last epoch** (95 % interval {low:.3f} to
  {high:.3f}), the gain of a network's author who selects the epoch by the test images.
- Claimed accuracies are {excess:.3f} percentage points (95 % interval {excess_low:.3f} to {excess_high:.3f}) above the
  measured means.
- The claimed number of parameters differs from the number in the source for {len(figures["other_counts"])} networks
  (numbers {", ".join(map(str, figures["other_counts"]))} of the table).

![Claimed against measured accuracy]({_CHART})

The dashed line marks equal accuracies. A vertical line covers all seeds of a network.

## Protocol

- **Choice of networks**: public repositories with a PyTorch network below 20,000 parameters for MNIST and a stated
  result, found by a search for code; networks were chosen before any of them was trained. Only facts are stored:
  repository, commit, layers, recipe and claim.
- **Network**: the class of the repository, executed and translated by
  [`harness explain FILE.py:NAME`](grammar.md#networks-in-pytorch), with the initial weights that the class draws.
- **Training**: {figures["trainings"]} trainings of {figures["measured"]} networks, seeds per network: {seeds}; all
  60,000 training images, with the stated optimizer, rate, schedule, batch size, epochs and augmentation
  (`benchmarks/claims_training.py`). Networks were trained in a random order, so the trained networks are a random
  sample of all networks that the native engine can train.
- **Differences from the repositories**: schedules that wait for a plateau read the training loss instead of the test
  set; an incomplete last batch is dropped; AdamW's decay acts every ten steps; clipping of gradients is left out
  (numbers 11 and 25); a shift that the repository does not state is left out (46); augmentation of other libraries is
  replaced by the nearest transform of torchvision (22).
- **Accuracy**: the 10,000 test images, after each epoch. No test image affects a training. Networks without a
  complete recipe are listed, and are not part of the figures above.
- **Intervals**: Student's t over the means of the networks.

## All networks

Accuracies in per cent; *epoch* says whether the claim is about the best or the last epoch; *last* and *best* are means
over the seeds.

| nr | repository | parameters | claimed parameters | claimed | epoch | last | best | seeds | not in the notation |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
{table}
"""


def main() -> None:
    """Write the page and the chart."""
    claims = read_claims()
    files.write_text(ROOT / "docs" / _PAGE, page(claims))
    files.write_text(ROOT / "docs" / _CHART, charts.svg(chart(claims), 480) + "\n")
    print(json.dumps(summary(claims), indent=1))


if __name__ == "__main__":
    main()
