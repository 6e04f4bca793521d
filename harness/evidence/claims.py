"""What others say about their networks: figures that this program has not measured, each with its source."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.data.datasets import dataset
from harness.evidence.leaderboard_csv import LeaderboardRow, Tier, columns_of
from harness.system.document import WrittenNetwork, documented, read_as
from harness.system.errors import ContentError
from harness.training.result import PROTOCOL_VERSION
from search_spaces.cost import analyse
from search_spaces.errors import SearchSpaceError


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One claim.

    Attributes:
        metric: what the figure is, for example the best epoch on the test set.
        runs: how many runs the figure rests on.
        source: who says so, and where.
    """

    name: str
    architecture: WrittenNetwork
    test_accuracy_pct: float
    metric: str
    runs: int
    epochs: int | None
    recipe: str
    source: str
    dataset: str = "mnist"
    target_pct: float = 99.4
    protocol_version: int = PROTOCOL_VERSION


def read(path: Path) -> list[Claim]:
    """Return the claims of a file, none where there is no file.

    Raises:
        ContentError: the file does not hold claims.
    """
    if not path.exists():
        return []
    found = read_as(list[Claim], path, f"the file of claims {path}")
    for claim in found:
        _check(claim, path)
    subjects = [(claim.architecture, claim.dataset, claim.target_pct) for claim in found]
    for claim, subject in zip(found, subjects, strict=True):
        if subjects.count(subject) > 1:
            raise ContentError(f"{path} holds several claims about the network of {claim.name!r}; keep the best known")
    return found


def _check(claim: Claim, path: Path) -> None:
    for name in ("test_accuracy_pct", "target_pct"):
        if not 0 <= (value := getattr(claim, name)) <= 100:
            raise ContentError(
                f"{path}: claim {claim.name!r} states {name} as {value!r}, which is not a number from 0 to 100"
            )
    try:
        analyse(claim.architecture, dataset(claim.dataset).task)
    except SearchSpaceError as error:
        raise ContentError(f"{path}: the network of claim {claim.name!r}: {error.message}") from error


def row_of_claim(claim: Claim) -> LeaderboardRow:
    """Return the row of a claim; it never counts as reached."""
    return LeaderboardRow(
        name=claim.name,
        tier=Tier.CLAIMED,
        target_pct=claim.target_pct,
        reached=False,
        mean_test_accuracy_pct=claim.test_accuracy_pct,
        seeds=claim.runs,
        epochs=claim.epochs,
        dataset=claim.dataset,
        recipe=claim.recipe,
        **columns_of(claim.architecture, dataset(claim.dataset).task),
        note=f"{claim.metric}; {claim.source}",
        protocol_version=claim.protocol_version,
    )
