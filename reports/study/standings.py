"""Tables of networks: those of a study, and the leaderboard of its workspace."""

from __future__ import annotations

from collections.abc import Sequence

from harness.evidence.leaderboard import PROVEN, LeaderboardRow, Tier, cost_of
from harness.system.errors import typed
from reports.html import thumbnail
from reports.html.page import Column, Html, details, element, foreign, joined, paragraph, table, text
from reports.numbers import DASH, count, decimal, mean_and_deviation, plural, short, spread
from reports.study.networks import DIGITS, MOST_NAMED, Network, State
from search_spaces.catalog import network_name
from search_spaces.space import OBJECTIVES, Metric
from search_spaces.task import Task

# More rows than any study has had; a page of a hundred thousand would help nobody.
MOST_NETWORKS = 10_000
MOST_ROWS = 5
# A longer note is folded away.
_LONG_NOTE = 40


def networks_table(
    networks: Sequence[Network], task: Task, threshold_pct: float, minimise: Metric = Metric.PARAMETERS
) -> Html:
    """Return the study's networks, best first; nothing where there is none."""
    if not networks:
        return Html("")
    shown = networks[:MOST_NETWORKS]
    caption = (
        "First the tested networks whose mean reaches the target, then those whose validation accuracy meets the "
        f"threshold of {short(threshold_pct)} % (fewest {OBJECTIVES[minimise]} first), then the others (most accurate "
        "first). \N{PLUS-MINUS SIGN} is one standard deviation over training seeds; their number stands in brackets. "
        "Fresh seeds had not trained this network before. Errors are wrong validation images, the mean over seeds. In "
        "the strips a bar is as tall as a layer's map and wider for more channels; kernels used several times have "
        "their own colour. Pruned: stopped early, because at most one training in ten would reach the threshold from "
        "there."
    )
    rows = [_network_cells(number, network, task) for number, network in enumerate(shown, start=1)]
    made = table(
        caption,
        _network_columns(minimise),
        rows,
        identifier="networks-caption",
        row_header=1,
        row_identifiers=[anchor(network.hash) for network in shown],
        sortable=True,
    )
    if len(networks) > len(shown):
        return joined([made, paragraph(f"The first {count(len(shown))} of {count(len(networks))} networks.")])
    return made


def leaderboard_table(
    rows: Sequence[LeaderboardRow], dataset: str, target_pct: float, minimise: Metric = Metric.PARAMETERS
) -> Html:
    """Return the workspace's best rows for a target on a data set, and how to see all."""
    ours = [row for row in rows if (row.dataset, row.target_pct) == (dataset, target_pct)]
    if not ours:
        return paragraph("The leaderboard has no row for this target yet.")
    shown = ours[:MOST_ROWS]
    caption = (
        f"The best {len(shown)} of {plural(len(ours), 'row')} for {short(target_pct)} % on {dataset}, ranked by "
        "parameters. Accuracy is the mean on the test set; v marks validation accuracy, c a claim that nobody has "
        "checked here."
    )
    made = table(
        caption,
        _row_columns(minimise),
        [_row_cells(place, row, minimise) for place, row in enumerate(shown, start=1)],
        identifier="leaderboard-caption",
        row_header=1,
        sortable=True,
    )
    command = element("code", text(typed("leaderboard", "--html")))
    return joined([made, element("p", text("The whole leaderboard as a page: "), command, class_="note")])


def anchor(network_hash: str) -> str:
    """Return the identifier of a network's row on the page."""
    return f"network-{network_hash}"


def accuracy_words(row: LeaderboardRow) -> str:
    """Return mean and deviation on the test set, per cent; v marks validation accuracy, c an unchecked claim."""
    match row.tier:
        case Tier.SEARCHED:
            return f"{decimal(row.validation_accuracy_pct, 2)} v"
        case Tier.CLAIMED:
            return f"{decimal(row.mean_test_accuracy_pct, 2)} c"
        case _:
            return mean_and_deviation(row.mean_test_accuracy_pct, row.std_test_accuracy_pct, 3)


def tier_tag(tier: Tier) -> Html:
    """Return a tier as a small label: filled where it is certified, an outline where it is verified."""
    return _tag(tier, "good filled" if tier is Tier.CERTIFIED else "good" if tier in PROVEN else None)


def _network_columns(minimise: Metric) -> tuple[Column, ...]:
    # The style sheet of the study's page knows these columns by their places.
    return (
        Column("#", numeric=True, bare=True),
        Column("network"),
        Column("layers"),
        Column(OBJECTIVES[minimise], numeric=True, bare=True),
        Column("epochs", numeric=True, bare=True),
        Column("validation, % (seeds)", numeric=True, largest_first=True, bare=True),
        Column("errors", numeric=True, bare=True),
        Column("test, % (seeds)", numeric=True, largest_first=True, bare=True),
        Column("tier"),
        Column("state"),
        *_also_parameters(minimise),
        Column("notation"),
    )


def _row_columns(minimise: Metric) -> tuple[Column, ...]:
    return (
        Column("place", numeric=True),
        Column("network"),
        Column("tier"),
        Column(OBJECTIVES[minimise], numeric=True),
        Column("test accuracy, % (seeds)", numeric=True, largest_first=True),
        Column("99 % lower bound", numeric=True, largest_first=True),
        *_also_parameters(minimise),
        Column("recipe"),
        Column("note"),
    )


def _also_parameters(minimise: Metric) -> list[Column]:
    """Return the column of the parameters where another metric stands in their place."""
    return [] if minimise is Metric.PARAMETERS else [Column("parameters", numeric=True)]


def _network_cells(number: int, network: Network, task: Task) -> list[Html]:
    row = network.row
    accuracies = network.validation_accuracies_pct
    seeds = f"({len(accuracies)}{' fresh' if network.fresh else ''})"
    return [
        text(number),
        text(network.label),
        thumbnail.draw(network.architecture, task) if number <= MOST_NAMED else text(DASH),
        text(count(network.cost)),
        text(count(network.epochs)),
        text(f"{spread(accuracies)} {seeds}" if accuracies else DASH),
        text(DASH if network.errors is None else short(round(network.errors, 1))),
        text(f"{accuracy_words(row)} ({row.seeds})" if row else DASH),
        tier_tag(row.tier) if row else text(Tier.SEARCHED if network.complete else DASH),
        state_tag(network),
        *([] if network.minimised is None else [text(count(network.parameters))]),
        foreign(str(network.architecture)),
    ]


def _row_cells(place: int, row: LeaderboardRow, minimise: Metric) -> list[Html]:
    accuracy = accuracy_words(row)
    seeds = row.validation_seeds if row.tier is Tier.SEARCHED else row.seeds
    name = row.name or network_name(row.architecture, row.parameters)
    return [
        text(place),
        joined([foreign(name), element("code", text(row.hash[:DIGITS]))], " "),
        tier_tag(row.tier),
        text(count(cost_of(row, minimise))),
        text(f"{accuracy} ({seeds})" if seeds else accuracy),
        text(decimal(row.lower_bound_pct, 3)),
        *([] if minimise is Metric.PARAMETERS else [text(count(row.parameters))]),
        foreign(row.recipe),
        _note(row.note),
    ]


def _note(note: str) -> Html:
    if len(note) <= _LONG_NOTE:
        return foreign(note or DASH)
    fields = note.partition(": ")[2].count(",") + 1
    words = f"{fields} assumed" if note.startswith("recipe fields assumed: ") else "note"
    return details(words, foreign(note))


def state_tag(network: Network) -> Html:
    """Return how far a network got, as a small label where it is a verdict."""
    kinds = {State.WINNER: "good", State.CONFIRMED: "good", State.REFUTED: "bad", State.FAILED: "bad"}
    if network.state is State.FAILED:
        return _tag(network.remark, "bad")
    if network.state not in kinds:
        return text(f"{network.state} {network.remark}".strip())
    tag = _tag(network.state, kinds[network.state])
    return joined([tag, element("small", text(network.remark))], " ") if network.remark else tag


def _tag(words: str, kind: str | None) -> Html:
    return element("span", text(words), class_=f"tag {kind}" if kind else "tag")
