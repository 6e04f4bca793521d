"""Figures of README and docs/results.md are those of leaderboard.csv and the records."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from harness.evidence import ledger, record, weight_file
from harness.evidence.audit import audit
from harness.evidence.leaderboard_csv import LeaderboardRow, Tier, read
from harness.evidence.variance_components import components
from harness.system.files import Workspace

ROOT = Path(__file__).resolve().parent.parent
RESULTS = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
RECORDS = record.read_all(ROOT / "records")


@pytest.fixture(scope="module")
def rows() -> list[LeaderboardRow]:
    return [row for row in read(ROOT / "leaderboard.csv") if row.dataset == "mnist"]


@pytest.fixture(scope="module")
def headline(rows: list[LeaderboardRow]) -> LeaderboardRow:
    """The smallest certified row at 99.4 %."""
    certified = [row for row in rows if row.tier is Tier.CERTIFIED and row.target_pct == 99.4]
    return min(certified, key=lambda row: row.parameters)


def test_the_table_of_targets_is_that_of_the_leaderboard(rows: list[LeaderboardRow]) -> None:
    proven = [row for row in rows if row.tier in (Tier.CERTIFIED, Tier.VERIFIED)]
    smallest = [
        min((row for row in proven if row.target_pct == target), key=lambda row: row.parameters)
        for target in sorted({row.target_pct for row in proven})
    ]
    table = RESULTS.partition("<!-- results:")[2].partition("\n\n")[0].splitlines()

    assert table[3:] == [
        f"| {row.target_pct:g} % | {row.parameters:,} | {row.stored_numbers:,} | {row.tier} "
        f"| {row.mean_test_accuracy_pct:.3f} | {row.std_test_accuracy_pct:.3f} | {row.lower_bound_pct:.3f} "
        f"| {row.lower_bound_images_pct:.3f} | {row.seeds} | `{row.hash[:6]}` |"
        for row in smallest
    ]


def test_every_column_of_the_leaderboard_is_explained_in_its_order() -> None:
    table = RESULTS.partition("## The columns of leaderboard.csv")[2].partition("\n## ")[0]

    assert re.findall(r"^\| `(\w+)` \| .+ \|$", table, re.MULTILINE) == [item.name for item in fields(LeaderboardRow)]


def test_the_headline_of_the_readme_is_that_of_the_leaderboard(headline: LeaderboardRow) -> None:
    found = (
        (ROOT / "README.md")
        .read_text(encoding="utf-8")
        .partition("## The smallest networks found")[2]
        .partition("\n## ")[0]
    )

    for figure in (
        f"network of {headline.parameters:,} parameters reaches {headline.mean_test_accuracy_pct:.3f} %",
        f"stores {headline.stored_numbers:,} numbers",
        f"deviation {headline.std_test_accuracy_pct:.3f} points, worst run {headline.min_test_accuracy_pct:.2f} %",
        f"{headline.lower_bound_pct:.3f} % for new training runs on these test images",
        f"{headline.lower_bound_images_pct:.3f} % for new training runs on new images",
        f"`{headline.hash[:6]}`",
    ):
        assert figure in found


def test_what_the_bounds_are_explained_with_is_computed_from_the_record(headline: LeaderboardRow) -> None:
    [evidence] = [
        item
        for item in record.read_all(ROOT / "records")
        if (item.hash, item.recipe_hash, item.target_pct) == (headline.hash, headline.recipe_hash, headline.target_pct)
    ]
    parts = components([[image for image, _ in run.wrong] for run in evidence.seeds], 10_000)
    assert parts is not None

    assert f"{parts.seeds_error_pct:.3f} points from seeds and {parts.images_error_pct:.3f} from images" in RESULTS
    at_target = sum(run.accuracy_pct >= 99.4 - 1e-9 for run in evidence.seeds)
    assert f"{at_target} of {len(evidence.seeds)} seeds reached the target" in RESULTS


def test_what_later_attempts_have_left_is_what_the_ledger_gives() -> None:
    attempts = ledger.read(ROOT / "records" / "ledger.jsonl")
    alpha = ledger.next_alpha(attempts, "mnist", 99.4)

    assert f"the next is decided at {100 * (1 - alpha):g} %" in RESULTS
    missed = [item for item in attempts if item.outcome is not ledger.Outcome.CERTIFIED]
    assert (len(attempts), len(missed)) == (4, 1)


def test_the_committed_evidence_holds_together() -> None:
    assert audit(Workspace(ROOT)) == []


def test_the_number_of_kept_weights_is_what_is_there() -> None:
    kept = [
        (run, weight_file.read_recorded(ROOT / "records", evidence, index).sha256)
        for evidence in RECORDS
        for index in weight_file.kept_indices(ROOT / "records", evidence)
        if (run := evidence.seed(index))
    ]
    runs, recorded = sum(len(item.seeds) for item in RECORDS), sum(run.weights_sha256 == sha for run, sha in kept)

    assert f"kept for {len(kept)} of {runs} recorded runs" in RESULTS
    assert f"{recorded} of them have the recorded bits" in RESULTS


def test_weights_of_the_headline_are_kept(headline: LeaderboardRow) -> None:
    [evidence] = [
        item
        for item in record.read_all(ROOT / "records")
        if (item.hash, item.recipe_hash, item.target_pct) == (headline.hash, headline.recipe_hash, headline.target_pct)
    ]

    assert 0 in weight_file.kept_indices(ROOT / "records", evidence)
    assert weight_file.read_recorded(ROOT / "records", evidence, 0).about["hash"] == headline.hash
