"""``harness leaderboard``: the standings, made anew from records, claims and local studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

import click

from harness import options
from harness.data import datasets
from harness.system.errors import ContentError, UsageError, typed
from harness.system.files import workspace
from harness.system.terminal import busy, console, show_table

if TYPE_CHECKING:
    from harness.evidence.leaderboard import LeaderboardRow

# Green is proven and nothing else.
_STYLES = {
    "certified": "bold green",
    "verified": "green",
    "at the target": "yellow",
    "measured": "",
    "searched": "dim",
    "claimed": "dim italic",
}
# Columns of a terminal that shows all columns; a narrower one has the first six.
_WIDE = 112
_LEGEND = (
    "accuracy: mean and deviation over seeds on the test set (v: on validation images, c: an unchecked claim); "
    "99 % low: lower bound of the mean; seeds: how many of them reach the target"
)


@click.command(short_help="Show the standings.")
@click.option("--dataset", help="Only rows on this data set.")
@click.option("--tier", type=click.Choice(list(_STYLES)), help="Only rows of this tier.")
@click.option("--target", type=options.PER_CENT, help="Only rows of this target, in per cent.")
@click.option("--all", "show_all", is_flag=True, help="All rows, grouped by data set and target.")
@click.option("--limit", type=click.IntRange(1), help="Largest number of rows to show, the best first.")
@click.option("--publish", metavar="NETWORK", help="Copy its evidence into the clone of the repository.")
@click.option("--check", is_flag=True, help="Check that records, weights, ledger and table agree.")
@click.option("--anchor", metavar="COMMIT", help="With --check: compare with this published commit, too.")
@click.option("--html", is_flag=True, help="Write leaderboard.html, all rows on one page, beside it.")
@options.as_json
def leaderboard(
    dataset: str | None,
    tier: str | None,
    target: float | None,
    show_all: bool,
    limit: int | None,
    publish: str | None,
    check: bool,
    anchor: str | None,
    html: bool,
    as_json: bool,
) -> int:
    """Show the smallest network for each target, then other verified or certified ones at the default target.

    The rows come from the evidence that is part of the program, from what was verified here (runs/records), and from
    the studies in runs/; a damaged file is left out and named on stderr. Only rows of one data set and target are
    compared: by tier, the best first, and then by parameters.

    \b
    certified      20 seeds or more, declared in a commit before the first, all run;
                   the lower bound of their mean (99 % or stricter) reaches the target
    verified       5 seeds or more, declared at once and all run; the lower 90 % bound
                   of their mean reaches the target, and with later ones, too
    at the target  5 seeds or more; their mean reaches the target, that bound does not
    measured       below the target, fewer seeds, or a declared seed has not been run
    searched       a search measured it on validation images only
    claimed        reported by somebody else, not measured here

    Searches and verifications write runs/leaderboard.csv. --publish is for maintainers: it copies the record, weights,
    declarations and reads of a network into the repository's records/, and makes its leaderboard.csv anew.

    --check tests that nothing that was ever committed in records/ is lacking, and that rows, bounds and weights are
    what the recorded seeds give. It finds mistakes and careless edits, not somebody who rewrites the history of git:
    for that, --anchor compares with a commit that was published elsewhere.

    \b
    harness leaderboard
    harness leaderboard --target 99.4
    harness leaderboard --tier verified --dataset mnist
    harness leaderboard --html
    """
    from harness.evidence.leaderboard import PROVEN, shipped_table, survey
    from harness.system.document import document_of

    if dataset is not None:
        datasets.dataset(dataset)
    place = workspace()
    if anchor and not check:
        raise UsageError("--anchor COMMIT is for --check")
    if check or publish:
        from harness.evidence import check as evidence_check

        with busy("checking records, weights, ledger, log and git history"):
            faults = evidence_check.faults(place, anchor)
        whole = evidence_check.is_whole(shipped_table().parent)
        if check:
            said = "the evidence holds together" + ("" if whole else ", as far as git has its history here")
            options.answer(as_json, {"faults": faults, "with_history": whole}, "\n".join(faults) or said)
            return ContentError.exit_code if faults else 0
        # That the table is not what the evidence gives is what is mended.
        if faults := [fault for fault in faults if not fault.startswith(f"{shipped_table()}: ")]:
            raise ContentError(faults[0])
        from harness.networks import read_network

        assert publish is not None
        task = datasets.task_of(dataset or datasets.AUTO)
        evidence_check.publish(place, read_network(publish, place, task).architecture.hash)
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
        from reports.board import write_leaderboard

        page = {"page": str(write_leaderboard(place, found))}
    if as_json:
        rows_shown = [document_of(row) for row in shown]
        options.print_json({"leaderboard": str(place.leaderboard), "rows": rows_shown, "left_out": left_out, **page})
        return 0
    if not rows:
        click.echo(f"no records, claims or studies in {place.root} yet", err=True)
    elif not shown:
        targets = ", ".join(f"{each:g}" for each in sorted({row.target_pct for row in rows}))
        sets = ", ".join(sorted({row.dataset for row in rows}))
        told = f"none of the {len(rows)} rows fits these options; their targets are {targets} %, their data sets {sets}"
        click.echo(told, err=True)
    else:
        from search_spaces.catalog import network_names

        names = network_names((row.architecture, row.parameters) for row in rows)
        names |= {row.hash: row.name for row in rows if row.name}
        is_whole = not show_all and (dataset, tier, target, limit) == (None,) * 4
        if is_whole and any(row.tier in PROVEN for row in shown):
            _show_frontier(shown, names)
        else:
            for (name, pct), group in groupby(shown, key=lambda row: (row.dataset, row.target_pct)):
                _show_table(f"{_title(name)}, {pct:g} %", list(group), names, ranked=True)
        show_table(console(), [[_LEGEND]], ["dim"])
    if page:
        click.echo(page["page"])
    return 0


def _title(name: str) -> str:
    """Return what a data set is called, also one of a newer version."""
    return datasets.DATASETS[name].title if name in datasets.DATASETS else name


def _show_frontier(rows: Sequence[LeaderboardRow], names: Mapping[str, str]) -> None:
    """Print a line a target of the first data set, and what is proven at its default target."""
    from harness.evidence.leaderboard import PROVEN

    name = rows[0].dataset
    proven = [row for row in rows if row.dataset == name and row.tier in PROVEN]
    targets = sorted({row.target_pct for row in proven})
    smallest = [
        min((row for row in proven if row.target_pct == each), key=attrgetter("parameters")) for each in targets
    ]
    _show_table(f"{_title(name)}: the smallest network found for each target", smallest, names)
    default = datasets.DATASETS[name].target_pct if name in datasets.DATASETS else proven[0].target_pct
    also = [row for row in proven if row.target_pct == default and row not in smallest]
    if also:
        _show_table(f"{default:g} %: the other verified or certified networks", also, names)
    if left := len(rows) - len(smallest) - len(also):
        click.echo(f"+{left} more: {typed('leaderboard', '--all')}\n")


def _show_table(title: str, rows: Sequence[LeaderboardRow], names: Mapping[str, str], *, ranked: bool = False) -> None:
    """Print rows below a title, of one group with their ranks, else with their targets."""
    where = console()
    table: dict[tuple[str, bool], list[str]] = {
        ("rank" if ranked else "target", True): [str(row.rank) if ranked else f"{row.target_pct:g} %" for row in rows],
        ("network", False): [f"{row.hash[:6]} {names[row.hash]}" for row in rows],
        ("parameters", True): [f"{row.parameters:,}" for row in rows],
        ("accuracy, %", True): [_accuracy(row) for row in rows],
        ("seeds", True): [_seeds(row) for row in rows],
        ("tier", False): [row.tier.value for row in rows],
    }
    if where.width >= _WIDE:
        table[("99 % low", True)] = [_bound(row) for row in rows]
        table[("MACs", True)] = [f"{row.macs:,}" for row in rows]
        table[("recipe", False)] = [row.recipe for row in rows]
    show_table(where, [[title]], ["bold"])
    cells = list(zip(*table.values(), strict=True))
    show_table(where, cells, [_STYLES[row.tier.value] for row in rows], list(table))
    click.echo()


def _bound(row: LeaderboardRow) -> str:
    tested = row.tier not in ("searched", "claimed")
    return f"{row.lower_bound_pct:.3f}" if tested and row.lower_bound_pct is not None else ""


def _seeds(row: LeaderboardRow) -> str:
    seeds = row.seeds if row.tier != "searched" else row.validation_seeds
    return str(seeds) if row.seeds_at_target is None else f"{row.seeds_at_target}/{seeds}"


def _accuracy(row: LeaderboardRow) -> str:
    match row.tier:
        case "searched":
            return f"{row.validation_accuracy_pct:.2f} v"
        case "claimed":
            return f"{row.mean_test_accuracy_pct:.2f} c"
        case _:
            deviation = row.std_test_accuracy_pct
            return f"{row.mean_test_accuracy_pct:.3f}" + (f" ± {deviation:.3f}" if deviation is not None else "")
