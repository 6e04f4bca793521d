"""``harness leaderboard``: the standings, made anew from records, claims and local studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import click

from harness.commands.shared import options
from harness.data import datasets
from harness.system.errors import ContentError, typed
from harness.system.files import Workspace, workspace
from harness.system.terminal import Column, busy, console, show_grid, show_table

if TYPE_CHECKING:
    from harness.evidence.leaderboard import LeaderboardRow

# After the target or the rank.
# What a word means, and how it looks: green is proven and nothing else.
_STYLES = {
    "certified": "bold green",
    "verified": "green",
    "at the target": "yellow",
    "measured": "",
    "searched": "dim",
    "claimed": "dim italic",
}
_COLUMNS = (
    Column("network"),
    Column("learned", numeric=True),
    Column("stored", numeric=True, spare=5),
    Column("MACs", numeric=True, spare=6),
    Column("accuracy, %", numeric=True, spare=1),
    Column("99 % low", numeric=True, spare=4),
    Column("+ images", numeric=True, spare=8),
    Column("seeds", numeric=True, spare=3),
    Column("tier", spare=2),
    Column("recipe", spare=7),
)
# What a title alone does not say.
_LEGEND = {
    "learned": "parameters, as torch counts them",
    "stored": "parameters, and means and variances of batch normalisation",
    "MACs": "multiply-adds for one image",
    "accuracy, %": "mean and deviation over seeds on the test set",
    "99 % low": "lower 99 % bound of the mean, over seeds; a row is verified by its 90 % bound, which is higher",
    "+ images": "the same bound, over seeds and images",
    "seeds": "15/20: 15 of 20 training seeds reach the target",
    "tier": "how strong the evidence is (docs/commands.md); docs/results.md has the columns of leaderboard.csv",
}
# What a letter beside an accuracy says, by the tier that has it.
_MARKS = {"searched": "v: on validation images", "claimed": "c: an unchecked claim"}


@click.command(short_help="Show the standings.")
@click.option("--dataset", help="Only rows on this data set.")
@click.option(
    "--tier",
    type=click.Choice(["certified", "verified", "at the target", "measured", "searched", "claimed"]),
    help="Only rows of this tier.",
)
@click.option("--target", type=options.PER_CENT, help="Only rows of this target, in per cent.")
@click.option("--all", "show_all", is_flag=True, help="All rows, grouped by data set and target.")
@click.option("--limit", type=click.IntRange(1), help="Largest number of rows to show, the best first.")
@click.option("--publish", is_flag=True, help="Write leaderboard.csv, with what was run here.")
@click.option("--check", is_flag=True, help="Check that records, weights, ledger and table agree.")
@click.option("--html", is_flag=True, help="Write leaderboard.html, all rows on one page, beside it.")
@options.as_json
def leaderboard(
    dataset: str | None,
    tier: str | None,
    target: float | None,
    show_all: bool,
    limit: int | None,
    publish: bool,
    check: bool,
    html: bool,
    as_json: bool,
) -> int:
    """Show the smallest network for each target, then other verified or certified ones at the default target.

    With --all, or a choice of rows, all columns of these rows are shown. Only --publish and --html write a file.

    The rows come from records/, from published claims, and from the studies in runs/. A damaged file is reported on
    stderr and left out; --publish refuses it. Accuracy is the mean over seeds on the test set; v marks a validation
    accuracy, c a claim that nobody has checked here. Each data set and target has its own ranks. The tier "at the
    target" means that the mean reaches the target, but its lower 90 % bound does not. docs/results.md explains the
    columns of leaderboard.csv.

    Searches and verifications update the standings. In a git clone they write runs/leaderboard.csv; --publish writes
    the committed leaderboard.csv.

    --check tests that records, weight files, the ledger and the log of test reads agree with each other, with
    leaderboard.csv, and with the history in git. It trains and evaluates nothing; 'harness evaluate' checks the
    weights on the test images.

    \b
    harness leaderboard
    harness leaderboard --target 99.4
    harness leaderboard --tier verified --dataset mnist
    harness leaderboard --html
    """
    from harness.evidence.leaderboard import PROVEN, survey
    from harness.system.document import document_of

    if dataset is not None:
        datasets.dataset(dataset)
    place = workspace()
    if check:
        return _check(place, as_json)
    if publish:
        _publish(place)
    found = survey(place)
    left_out = [error.told for error in found.damage]
    options.say_left_out(left_out)
    rows = found.rows
    shown = [
        row
        for row in rows
        if dataset in (None, row.dataset) and tier in (None, row.tier.value) and target in (None, row.target_pct)
    ][:limit]
    page = {}
    if html:
        from reports.board.leaderboard_page import write_leaderboard

        page = {"page": str(write_leaderboard(place, found))}
    if as_json:
        rows_shown = [document_of(row) for row in shown]
        options.print_json({"leaderboard": str(place.leaderboard), "rows": rows_shown, "left_out": left_out, **page})
        return 0
    is_whole = not show_all and (dataset, tier, target, limit) == (None,) * 4
    if is_whole and any(row.tier in PROVEN for row in shown):
        _show_frontier(shown, _names(rows))
    elif shown:
        _show_rows(shown, _names(rows))
    elif rows:
        targets = ", ".join(f"{each:g}" for each in sorted({row.target_pct for row in rows}))
        sets = ", ".join(sorted({row.dataset for row in rows}))
        click.echo(
            f"none of the {len(rows)} rows fits these options; their targets are {targets} %, their data sets {sets}",
            err=True,
        )
    else:
        click.echo(f"no records, claims or studies in {place.root} yet", err=True)
    if page:
        click.echo(page["page"])
    return 0


def _publish(place: Workspace) -> None:
    from harness.evidence.check import vanished
    from harness.evidence.leaderboard import refresh

    for fault in vanished(place):
        raise ContentError(fault, hint="a failed attempt is never taken out; bring it back, with its record")
    refresh(place, publish=True)


def _check(place: Workspace, as_json: bool) -> int:
    from harness.evidence import check, history

    with busy("checking records, weights, ledger, log and git history"):
        faults = check.faults(place)
    whole = history.is_whole(place.root)
    said = f"the evidence in {place.root} holds together"
    if not whole:
        said += "; git has no history of it here, or not all, so it was not compared with all that was committed"
    options.answer(as_json, {"faults": faults, "with_history": whole}, "\n".join(faults) or said)
    return ContentError.exit_code if faults else 0


def _names(rows: Sequence[LeaderboardRow]) -> dict[str, str]:
    """Return what each network is called, by its hash: its row's name, else one that follows from the network."""
    from search_spaces.catalog import network_names

    given = {row.hash: row.name for row in rows if row.name}
    return network_names((row.architecture, row.parameters) for row in rows) | given


def _show_frontier(rows: Sequence[LeaderboardRow], names: Mapping[str, str]) -> None:
    """Print a line a target of the first data set, and what is proven at its default target."""
    from harness.evidence.leaderboard import PROVEN

    where = console()
    name = rows[0].dataset
    proven = [row for row in rows if row.dataset == name and row.tier in PROVEN]
    targets = sorted({row.target_pct for row in proven})
    smallest = [
        min((row for row in proven if row.target_pct == each), key=attrgetter("parameters")) for each in targets
    ]
    show_grid(where, [[f"{_title(name)}: the smallest network found for each target"]], [["bold"]])
    titles = [_show_table(where, smallest, names)]
    default = datasets.DATASETS[name].target_pct if name in datasets.DATASETS else proven[0].target_pct
    also = [row for row in proven if row.target_pct == default and row not in smallest]
    if also:
        click.echo()
        show_grid(where, [[f"{default:g} %: the other verified or certified networks"]], [["bold"]])
        titles.append(_show_table(where, also, names))
    left = len(rows) - len(smallest) - len(also)
    if left:
        click.echo(f"+{left} more: {typed('leaderboard', '--all')}")
    _show_legend(where, titles, [*smallest, *also])


def _title(name: str) -> str:
    """Return what a data set is called, also one of a newer version."""
    return datasets.DATASETS[name].title if name in datasets.DATASETS else name


def _show_rows(rows: Sequence[LeaderboardRow], names: Mapping[str, str]) -> None:
    """Print rows in their groups, each with a heading."""
    where, titles = console(), list[list[str]]()
    for number, ((name, target), group) in enumerate(groupby(rows, key=lambda row: (row.dataset, row.target_pct))):
        if number:
            click.echo()
        show_grid(where, [[f"{_title(name)}, {target:g} %"]], [["bold"]])
        titles.append(_show_table(where, list(group), names, ranked=True))
    _show_legend(where, titles, rows)


def _show_legend(where: Any, titles: Sequence[Sequence[str]], rows: Sequence[LeaderboardRow]) -> None:
    """Print what the columns of these rows and their marks mean, and which columns a narrow terminal lacks.

    Args:
        titles: those of each table that is shown.
    """
    marks = [words for tier, words in _MARKS.items() if any(row.tier == tier for row in rows)]
    legend = _LEGEND | {"accuracy, %": "; ".join([_LEGEND["accuracy, %"], *marks])}
    shown = [(title, words) for title, words in legend.items() if any(title in table for table in titles)]
    lacking = [column.title for column in _COLUMNS if any(column.title not in table for table in titles)]
    if lacking:
        shown.append(("no room for", "; ".join(lacking)))
    click.echo()
    show_grid(where, shown, [("dim", "dim")] * len(shown))


def _show_table(
    where: Any, rows: Sequence[LeaderboardRow], names: Mapping[str, str], *, ranked: bool = False
) -> list[str]:
    """Print rows as a table, of one group with their ranks, else with their targets; return the titles shown."""
    columns = (Column("rank" if ranked else "target", numeric=True), *_COLUMNS)
    cells = [
        [str(row.rank) if ranked else f"{row.target_pct:g} %", f"{row.hash[:6]} {names[row.hash]}", *_cells(row)]
        for row in rows
    ]
    return show_table(where, columns, cells, [_STYLES[row.tier.value] for row in rows])


def _cells(row: LeaderboardRow) -> list[str]:
    tested = row.tier.value not in ("searched", "claimed")
    seeds = str(row.seeds if row.tier != "searched" else row.validation_seeds)
    return [
        f"{row.parameters:,}",
        "" if row.stored_numbers is None else f"{row.stored_numbers:,}",
        f"{row.macs:,}",
        _accuracy(row),
        f"{row.lower_bound_pct:.3f}" if tested and row.lower_bound_pct is not None else "",
        f"{row.lower_bound_images_pct:.3f}" if row.lower_bound_images_pct is not None else "",
        seeds if row.seeds_at_target is None else f"{row.seeds_at_target}/{seeds}",
        row.tier.value,
        row.recipe,
    ]


def _accuracy(row: LeaderboardRow) -> str:
    match row.tier:
        case "searched":
            return f"{row.validation_accuracy_pct:.2f} v"
        case "claimed":
            return f"{row.mean_test_accuracy_pct:.2f} c"
        case _:
            deviation = row.std_test_accuracy_pct
            return f"{row.mean_test_accuracy_pct:.3f}" + (f" ± {deviation:.3f}" if deviation is not None else "")
