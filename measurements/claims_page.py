"""Write docs/evidence/claims.md and the chart of this page, and the rows of the public networks on the leaderboard.

    python -m measurements.claims_page

reads measurements/results/claims.jsonl (a public network per line) and claims-trainings.jsonl (a training per line,
from ``measurements.claims_training``).

The rows are records/public_claims.json, from which leaderboard.csv follows.

Symbols: K networks, n_k seeds of network k. The optimism of a training is the accuracy of the best epoch on the test
set minus the accuracy of the last epoch, in percentage points. Intervals of means over networks are Student's t
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

from harness.evidence import leaderboard_table
from harness.pages import charts
from harness.spaces.network import MNIST, analyse
from harness.spaces.notation import parse_network
from harness.system import files

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "measurements" / "results"
TEST_IMAGES = 10_000  # of MNIST
TARGET_PCT = 99.4  # the target that most of the repositories share
_PAGE = "claims.md"
ROWS = ROOT / "records" / "public_claims.json"
_CHART = "claims.svg"


@dataclass(frozen=True)
class Claim:
    """A public network with the claim and the trainings.

    Attributes:
        facts: Line of claims.jsonl.
        errors: Test errors after each epoch, for each seed; empty if not trained.
    """

    facts: dict[str, Any]
    errors: tuple[tuple[int, ...], ...]

    @property
    def parameters(self) -> int:
        """Number of parameters, counted as on the leaderboard; of the source if the network has no notation.

        The source may have layers that the forward pass does not use.
        """
        network: str | None = self.facts["network"]
        return analyse(parse_network(network), MNIST).parameters if network else int(self.facts["counted_parameters"])

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
        """Whether the stated recipe is complete and a seed was trained with this recipe."""
        return bool(self.errors) and self.facts["recipe_complete"] and self.claimed_pct is not None


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_claims(folder: Path = RESULTS) -> list[Claim]:
    """Return all claims with the trainings, by number."""
    trainings = _lines(folder / "claims-trainings.jsonl")
    claims = []
    for facts in _lines(folder / "claims.jsonl"):
        own = [row for row in trainings if row["nr"] == facts["nr"]]
        errors = tuple(tuple(row["test_errors"]) for row in own if "test_errors" in row)
        claims.append(Claim(facts, errors))
    return claims


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Return the mean of ``values`` and the bounds of the Student interval; three or more values."""
    low, high = stats.t.interval(confidence, len(values) - 1, fmean(values), stats.sem(values))
    return fmean(values), float(low), float(high)


def share_interval(count: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the bounds of the share ``count / total`` in per cent (Clopper and Pearson 1934)."""
    interval = stats.binomtest(count, total).proportion_ci(confidence)
    return 100 * interval.low, 100 * interval.high


def summary(claims: Sequence[Claim]) -> dict[str, Any]:
    """Return the figures of the page, as JSON values.

    Raises:
        ValueError: Fewer than three networks are measured.
    """
    measured = [claim for claim in claims if claim.is_measured]
    if len(measured) < 3:
        raise ValueError(f"{len(measured)} measured networks; the intervals need three")
    # ``or``: a measured claim has an accuracy, which the type does not state.
    at_target = [claim for claim in measured if (claim.claimed_pct or 0) >= TARGET_PCT]
    reaching = [claim for claim in at_target if fmean(claim.last_pct) >= TARGET_PCT]
    optimism = [fmean(np.subtract(claim.best_pct, claim.last_pct)) for claim in measured]
    of_last = [claim for claim in measured if claim.facts["claim_epoch"] == "last"]
    of_best = [claim for claim in measured if claim.facts["claim_epoch"] == "best"]
    return {
        "claims": len(claims),
        "repositories": len({claim.facts["repository"] for claim in claims}),
        "stated": sum(claim.claimed_pct is not None for claim in claims),
        "measured": len(measured),
        "trainings": sum(len(claim.errors) for claim in measured),
        "seeds": sorted({len(claim.errors) for claim in measured}),
        "at_target": len(at_target),
        "reaching": len(reaching),
        "reaching_interval_pct": share_interval(len(reaching), len(at_target)),
        "optimism": mean_interval(optimism),
        "excess_of_last": [(claim.claimed_pct or 0) - fmean(claim.last_pct) for claim in of_last],
        "excess_of_best": [(claim.claimed_pct or 0) - fmean(claim.best_pct) for claim in of_best],
        "other_counts": [
            claim.facts["nr"] for claim in claims if claim.facts["claimed_parameters"] not in (None, claim.parameters)
        ],
    }


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
    lows = [min(*claim.last_pct, claim.claimed_pct or 100) for claim in claims if claim.is_measured]
    domain = [min(lows) - 0.05, 99.7]
    scale = alt.Scale(domain=domain)
    base = alt.Chart(alt.InlineData(values=rows))
    x = alt.X("claimed:Q", scale=scale, title="claimed accuracy, %")
    points = base.mark_point(filled=True, size=45, color=charts.Colour.GREEN).encode(
        x=x, y=alt.Y("measured:Q", scale=scale, title="measured accuracy after the last epoch, %")
    )
    ranges = base.mark_rule(color=charts.Colour.GREY).encode(x=x, y=alt.Y("least:Q", scale=scale), y2=alt.Y2("most:Q"))
    ends = [{"claimed": value, "measured": value} for value in domain]
    diagonal = (
        alt.Chart(alt.InlineData(values=ends))
        .mark_line(strokeDash=[4, 4], color=charts.Colour.GREY)
        .encode(x=alt.X("claimed:Q", scale=scale), y=alt.Y("measured:Q", scale=scale))
    )
    return (diagonal + ranges + points).properties(width=420, height=420)


def _number(value: float | None, places: int = 2) -> str:
    return "" if value is None else f"{value:.{places}f}"


def _address(facts: dict[str, Any]) -> str:
    """Return the address of the source of a network at the stated commit, without the scheme."""
    return f"{facts['repository']}/blob/{facts['commit']}/{facts['path'].replace(' ', '%20')}"


def _row(claim: Claim) -> str:
    facts = claim.facts
    repository = facts["repository"].removeprefix("github.com/")
    link = f"[{repository}](https://{_address(facts)})"
    claimed_parameters = facts["claimed_parameters"]
    stated_count = "" if claimed_parameters is None else f"{claimed_parameters:,}"
    last = _number(fmean(claim.last_pct)) if claim.errors else ""
    deviation = f" ± {stdev(claim.last_pct):.2f}" if len(claim.errors) > 1 else ""
    best = _number(fmean(claim.best_pct)) if claim.errors else ""
    epoch = facts["claim_epoch"] if claim.claimed_pct is not None else ""
    cells = [
        f"{facts['nr']}",
        link,
        f"{claim.parameters:,}",
        stated_count,
        _number(claim.claimed_pct),
        epoch,
        f"{last}{deviation}",
        best,
        f"{len(claim.errors)}",
        facts["refused"],
    ]
    return f"| {' | '.join(cells)} |"


def _excess_text(excess: Sequence[float]) -> str:
    if len(excess) < 3:
        return f"{fmean(excess):.3f} points ({len(excess)} networks)" if excess else "not measured"
    mean, low, high = mean_interval(excess)
    return f"{mean:.3f} points ({len(excess)} networks, 95 % interval {low:.3f} to {high:.3f})"


def page(claims: Sequence[Claim]) -> str:
    """Return the text of docs/evidence/claims.md."""
    figures = summary(claims)
    mean, low, high = figures["optimism"]
    share_low, share_high = figures["reaching_interval_pct"]
    seeds = " to ".join(str(count) for count in sorted({figures["seeds"][0], figures["seeds"][-1]}))
    table = "\n".join(_row(claim) for claim in claims)
    return f"""# Public claims, measured

{figures["claims"]} networks with fewer than 20,000 parameters for MNIST, of {figures["repositories"]} public
repositories. {figures["stated"]} of the networks have a stated accuracy, and {figures["measured"]} of this group have
been trained here so far, with the recipe of the repository. The leaderboard has a row `claimed` for each stated
accuracy and a row `measured` for each trained network: `harness leaderboard --tier claimed` and `--tier measured`, with
network 3 as `claim3`. `python -m measurements.claims_page` writes this page and these rows.

- **Of {figures["at_target"]} networks that claim at least {TARGET_PCT} %, {figures["reaching"]} reach {TARGET_PCT} %
  after the last epoch**, as the mean of the trained seeds (95 % interval of the share: {share_low:.0f} to
  {share_high:.0f} %, Clopper and Pearson).
- **The best of all epochs is {mean:.3f} percentage points above the last epoch** (95 % interval {low:.3f} to
  {high:.3f}): the gain of selecting the epoch by the test images.
- A claim about the last epoch is above the measured last epoch by {_excess_text(figures["excess_of_last"])}, a claim
  about the best epoch above the measured best epoch by {_excess_text(figures["excess_of_best"])}.
- The counted number of parameters differs from the claimed number for {len(figures["other_counts"])} networks (numbers
  {", ".join(map(str, figures["other_counts"]))} of the table). Parameters of layers that the forward pass does not use
  are not counted, as on the leaderboard.

Seeds per network: {seeds}. The accuracy of a single seed varies by about 0.05 points, so the figures of single networks
are rough; the intervals of the means over networks include this variation.

![Claimed against measured accuracy](../images/{_CHART})

The dashed line marks equal accuracies. A vertical line joins the seeds of a network.

## Protocol

- **Choice of networks**: public repositories with a PyTorch network below 20,000 parameters for MNIST, found by a
  search for code before any network was trained. Only facts are stored: repository, commit, layers, recipe and claim.
- **Network**: the class of the repository, executed and translated by
  [`harness explain FILE.py:NAME`](../use/grammar.md#networks-in-pytorch), with initial weights drawn by the class.
- **Modules**: three networks with a stated accuracy (16, 20 and 28) cannot be translated, remain PyTorch modules and
  were not trained. For 16 and 28 the hash of the code is the hash of the cells of the notebook that define the network,
  because notebooks are not loaded.
- **Training**: {figures["trainings"]} trainings on all 60,000 training images, with the stated optimizer, rate,
  schedule, batch size, epochs and augmentation (`measurements/claims_training.py`). Networks are trained in a random
  order, seed by seed, so the trained networks are a random sample of the networks without a remark.
- **Differences from the repositories**: schedules that wait for a plateau read the training loss instead of the test
  set; an incomplete last batch is dropped; AdamW's decay acts every ten steps; clipping of gradients is left out
  (numbers 11 and 25); a shift that the repository does not state is left out (46); augmentation of other libraries is
  replaced by the nearest transform of torchvision (22).
- **Accuracy**: the 10,000 test images, after each epoch. No test image affects a training. Networks without a
  complete recipe or a stated accuracy are listed, and are not part of the figures above.
- **Intervals**: Student's t over the means of the networks.

## All networks

Accuracies in per cent; *epoch* states whether the claim is about the best or the last epoch; *last* and *best* are
measured here, means over the seeds.

| nr | repository | parameters | claimed parameters | claimed | epoch | last | best | seeds | remark |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
{table}
"""


def leaderboard_claims(claims: Sequence[Claim]) -> str:
    """Return the text of records/public_claims.json: the networks with a stated accuracy."""
    return json.dumps([_document(claim) for claim in claims if claim.claimed_pct is not None], indent=1) + "\n"


def _document(claim: Claim) -> dict[str, Any]:
    """Return an item of public_claims.json (``leaderboard_table._Claim``)."""
    facts = claim.facts
    epochs = facts["training"]["epochs"]
    stated = facts["claimed_parameters"]
    size = "" if stated is None else f", {stated:,} parameters claimed"
    document = {
        "name": f"claim{facts['nr']}",
        "architecture": facts["network"],
        "test_accuracy_pct": claim.claimed_pct,
        "metric": f"{facts['claim_epoch']} epoch of {epochs}, on the test set",
        "runs": 1,
        "epochs": epochs,
        "recipe": "the repository's",
        "source": f"{_address(facts)}{size}",
    }
    if claim.is_measured:
        last = [counts[-1] for counts in claim.errors]
        best = [min(counts) for counts in claim.errors]
        document["measured"] = {"test_errors": last, "best_test_errors": best, "test_size": TEST_IMAGES}
    return document


def main() -> None:
    """Write the rows, the leaderboard, the page and the chart, and print the figures."""
    claims = read_claims()
    files.write_text(ROWS, leaderboard_claims(claims))
    rows = leaderboard_table.collect(files.Workspace(files.SHIPPED))
    files.write_text(leaderboard_table.shipped_table(), leaderboard_table.to_csv(rows))
    files.write_text(ROOT / "docs" / "evidence" / _PAGE, page(claims))
    files.write_text(ROOT / "docs" / "images" / _CHART, charts.svg(chart(claims), 480) + "\n")
    print(json.dumps(summary(claims), indent=1))


if __name__ == "__main__":
    main()
