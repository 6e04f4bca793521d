"""Tables of networks: those of a study, and the leaderboard of its workspace."""

from __future__ import annotations

from collections.abc import Sequence

from harness.evidence.leaderboard import PROVEN, LeaderboardRow, Tier
from reports.networks import Network, State
from reports.numbers import DASH, count, decimal, mean_and_deviation, plural, short, spread
from reports.page import Column, Html, element, foreign, joined, paragraph, table, text

# More rows than any study has had; a page of a hundred thousand would help nobody.
MOST_NETWORKS = 10_000
MOST_ROWS = 25

# The style sheet of the study's page knows these columns by their places.
_NETWORK_COLUMNS = (
    Column("#", numeric=True, bare=True),
    Column("network"),
    Column("tier"),
    Column("parameters", numeric=True, bare=True),
    Column("multiply-adds", numeric=True, bare=True),
    Column("epochs", numeric=True, bare=True),
    Column("validation, %", numeric=True, bare=True),
    Column("val. seeds", numeric=True, bare=True),
    Column("test, %", numeric=True, bare=True),
    Column("test seeds", numeric=True, bare=True),
    Column("state"),
    Column("notation"),
)
_ROW_COLUMNS = (
    Column("rank", numeric=True),
    Column("network"),
    Column("tier"),
    Column("parameters", numeric=True),
    Column("accuracy, %", numeric=True),
    Column("99 % lower bound", numeric=True),
    Column("seeds", numeric=True),
    Column("target, %", numeric=True),
    Column("recipe"),
    Column("note"),
)


def networks_table(networks: Sequence[Network], threshold_pct: float) -> Html:
    """Return the study's networks, best first."""
    if not networks:
        return paragraph("No network has been chosen for training yet.")
    shown = networks[:MOST_NETWORKS]
    caption = (
        "Networks of this study: first those proven to reach the target, then those whose validation accuracy meets "
        f"the threshold of {short(threshold_pct)} % (smallest first), then the others (most accurate first). "
        "\N{PLUS-MINUS SIGN} is one standard deviation over training seeds; fresh seeds played no part in the choice. "
        "Epochs are those of the whole training that the figures speak of."
    )
    rows = [_network_cells(number, network) for number, network in enumerate(shown, start=1)]
    made = table(
        caption,
        _NETWORK_COLUMNS,
        rows,
        identifier="networks-caption",
        row_header=1,
        row_identifiers=[anchor(network.hash) for network in shown],
        sortable=True,
    )
    if len(networks) > len(shown):
        return joined([made, paragraph(f"The first {count(len(shown))} of {count(len(networks))} networks.")])
    return made


def leaderboard_table(rows: Sequence[LeaderboardRow], dataset: str) -> Html:
    """Return the workspace's best rows on a data set."""
    if not rows:
        return paragraph("The leaderboard has no row on this data set yet.")
    caption = (
        f"Leaderboard of the workspace on {dataset}: "
        + (f"the first {MOST_ROWS} of {count(len(rows))} rows" if len(rows) > MOST_ROWS else plural(len(rows), "row"))
        + ". Accuracy is the mean on the test set; v marks validation accuracy, c a claim that nobody has checked here."
    )
    return table(
        caption,
        _ROW_COLUMNS,
        [_row_cells(row) for row in rows[:MOST_ROWS]],
        identifier="leaderboard-caption",
        row_header=1,
        sortable=True,
    )


def anchor(network_hash: str) -> str:
    """Return the identifier of a network's row on the page."""
    return f"network-{network_hash}"


def tier_tag(tier: Tier) -> Html:
    """Return a tier as a small label: filled where it is certified, an outline where it is verified."""
    return _tag(tier, "good filled" if tier is Tier.CERTIFIED else "good" if tier in PROVEN else None)


def _network_cells(number: int, network: Network) -> list[Html]:
    row = network.row
    accuracies = network.validation_accuracies_pct
    test = mean_and_deviation(row.mean_test_accuracy_pct, row.std_test_accuracy_pct, 3) if row else DASH
    return [
        text(number),
        text(network.hash),
        tier_tag(row.tier if row else Tier.SEARCHED) if network.complete or row else text(DASH),
        text(count(network.parameters)),
        text(count(network.first.macs if network.first else None)),
        text(count(network.epochs)),
        text(spread(accuracies) if accuracies else DASH),
        text(f"{len(accuracies)}{' fresh' if network.fresh else ''}" if accuracies else DASH),
        text(test),
        text(row.seeds if row else DASH),
        state_tag(network),
        foreign(network.architecture),
    ]


def _row_cells(row: LeaderboardRow) -> list[Html]:
    accuracy = mean_and_deviation(row.mean_test_accuracy_pct, row.std_test_accuracy_pct, 3)
    if row.tier is Tier.SEARCHED:
        accuracy = f"{decimal(row.validation_accuracy_pct, 2)} v"
    elif row.tier is Tier.CLAIMED:
        accuracy = f"{decimal(row.mean_test_accuracy_pct, 2)} c"
    return [
        text(row.rank),
        joined([foreign(row.name), element("code", text(row.hash))], " ")
        if row.name
        else element("code", text(row.hash)),
        tier_tag(row.tier),
        text(count(row.parameters)),
        text(accuracy),
        text(decimal(row.lower_bound_pct, 3)),
        text(row.validation_seeds if row.tier is Tier.SEARCHED else row.seeds),
        text(short(row.target_pct)),
        foreign(row.recipe),
        foreign(row.note or DASH),
    ]


def state_tag(network: Network) -> Html:
    """Return how far a network got, as a small label where it is a verdict."""
    words = network.remark if network.state is State.FAILED else f"{network.state} {network.remark}".strip()
    kinds = {State.WINNER: "good", State.STANDS: "good", State.REFUTED: "bad", State.FAILED: "bad"}
    if network.state in kinds:
        return _tag(words, kinds[network.state])
    return text(words)


def _tag(words: str, kind: str | None) -> Html:
    return element("span", text(words), class_=f"tag {kind}" if kind else "tag")
