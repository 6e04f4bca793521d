"""``harness leaderboard``: the leaderboard, rebuilt from records, claims and local studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import click

from harness.data import datasets
from harness.interface import options
from harness.searching.option_types import PER_CENT
from harness.spaces.catalog import network_names
from harness.system import doors, files
from harness.system.document import document_of
from harness.system.doors import Door
from harness.system.errors import UsageError, as_command
from harness.system.terminal import Column, console, counted, say, show_table, write

if TYPE_CHECKING:
    from rich.console import Console

    from harness.evidence.leaderboard_table import LeaderboardRow

# Green is reserved for proven tiers.
_STYLES = {
    "certified": "bold green",
    "verified": "green",
    "at the target": "yellow",
    "measured": "",
    "searched": "dim",
    "claimed": "dim italic",
}
_WIDE = 112  # characters of a terminal from which all columns are shown
_LEGEND = (
    "accuracy: mean and deviation over seeds on the test set (v: on validation images, unconfirmed if of one seed; "
    "c: an unchecked claim); seeds: seeds that reach the target / all seeds"
)
_WIDE_LEGEND = "; bound: the lower bound that decides the tier"

# Title and rows of each table.
_Tables = Sequence[tuple[str, Sequence["LeaderboardRow"]]]


# Also stated as ``--dataset``.
@click.command(short_help="Show the leaderboard.")
@options.dataset_as_argument
@options.option("dataset", default=None, help="Only rows on this data set, a name or a path.")
@click.option("--tier", type=click.Choice(list(_STYLES)), help="Only rows of this tier.")
@click.option("--target", type=PER_CENT, help="Only rows of this target, in per cent.")
@click.option("--all", "show_all", is_flag=True, help="All rows, grouped by data set and target.")
@click.option("--limit", type=click.IntRange(1), help="Largest number of rows to show, the best first.")
@click.option("--publish", metavar="NETWORK", help="Copy the evidence of NETWORK into the clone of the repository.")
@click.option("--check", is_flag=True, help="Check that records, weights, ledger and table agree.")
@click.option("--anchor", metavar="COMMIT", help="With --check: also compare with this published commit.")
@click.option("--html", is_flag=True, help="Write leaderboard.html, a page with all rows.")
@options.as_json
@click.pass_context
def leaderboard(
    context: click.Context,
    /,
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
    """Show the smallest network for each target, then further verified or certified networks at the default target.

    The rows come from the evidence that is part of the program, from verifications in this workspace (runs/records),
    and from the studies in runs/; a damaged file is left out and named on stderr. Only rows of the same data set and
    target are compared: by tier, the best first; within a tier rows at the target by parameters, then the remaining
    rows by accuracy.

    \b
    certified      20 seeds or more, declared in a public commit before the first one ran, all run;
                   the lower bound of the mean (99 % confidence or more) reaches the target
    verified       5 seeds or more, all declared seeds run; two lower bounds of the mean reach
                   the target: over all seeds, and over the seeds declared first. Their confidence
                   is 98 % when a workspace first reads the test images, and higher each further time
    at the target  5 seeds or more; the mean reaches the target, the bound does not
    measured       below the target, fewer seeds, seeds without a declaration, or a declared seed has
                   not been run
    searched       measured by a search on validation images only
    claimed        reported elsewhere, not measured here

    At most 10 % of the searches call a network below the target verified, and at most 1 % of the certificates are
    false, if the errors of the seeds have a skewness of at most 0.5 and no separate group of worse seeds is smaller
    than 50 % of the seeds. If one seed in ten is far worse than the rest, six seeds guarantee nothing.

    Networks of public repositories (claims, and trainings with the recipe of the repository) are left out without
    --all, --tier or --json if other rows fit.

    Searches and verifications write runs/leaderboard.csv. --publish is for maintainers: the record, weights,
    declarations and test reads of a network are copied into records/ of the repository, and leaderboard.csv of the
    repository is rewritten.

    --check tests that no line or weights file ever committed in records/ is missing, and that rows, bounds and weights
    follow from the recorded seeds. The test finds mistakes and careless edits, but not a rewritten git history: for
    that, --anchor compares with a commit that was published elsewhere.

    \b
    harness leaderboard
    harness leaderboard --target 99.4
    harness leaderboard --tier verified --dataset mnist
    harness leaderboard --html
    """
    from harness.evidence.leaderboard_table import survey

    workspace = files.workspace()
    dataset_name = None if dataset is None else datasets.dataset_of_option(dataset).name  # ``auto`` is MNIST
    if check:
        publication = doors.feature(Door.COMMANDS, "publication", "--check")
        exit_code: int = context.invoke(publication.commands["check"], anchor=anchor, as_json=as_json)
        return exit_code
    if anchor:
        raise UsageError("--anchor COMMIT requires --check")
    if publish:
        publication = doors.feature(Door.COMMANDS, "publication", "--publish")
        context.invoke(publication.commands["publish"], network=publish, dataset=dataset or datasets.AUTO)
        # The rows are shown after publishing.
    standings = survey(workspace)
    left_out = [error.one_line for error in standings.damage]
    options.say_left_out(left_out)
    matches = [row for row in standings.rows if dataset_name in (None, row.dataset)]
    matches = [row for row in matches if tier in (None, row.tier) and target in (None, row.target_pct)]
    page = {}
    if html:
        from harness.pages.board import write_leaderboard

        page = {"page": str(write_leaderboard(workspace, standings))}
    if as_json:
        rows = [document_of(row) for row in matches[:limit]]
        options.print_json({"leaderboard": str(workspace.leaderboard), "rows": rows, "left_out": left_out, **page})
    elif html:
        write(page["page"])
    elif not standings.rows:
        say(f"no records, claims or studies in {workspace.root} yet")
    elif not matches:
        targets = ", ".join(f"{target_pct:g}" for target_pct in sorted({row.target_pct for row in standings.rows}))
        dataset_names = ", ".join(sorted({row.dataset for row in standings.rows}))
        facts = f"existing targets: {targets} %, existing data sets: {dataset_names}"
        say(f"none of the {len(standings.rows)} rows matches the options; {facts}")
    else:
        wants_summary = not (show_all or limit or dataset or tier or target)
        names = network_names((row.architecture, row.parameters) for row in standings.rows)
        names |= {row.hash: row.name for row in standings.rows if row.name}
        # Networks of public repositories, without a hash of the recipe, would outnumber the user's rows.
        visible_rows = [row for row in matches if row.recipe_hash or show_all or tier] or matches
        _show(visible_rows[:limit], names, wants_summary=wants_summary, hidden=len(matches) - len(visible_rows))
    return 0


def _show(rows: Sequence[LeaderboardRow], names: Mapping[str, str], *, wants_summary: bool, hidden: int) -> None:
    """Print a table for each data set and target; a summary has the proven rows of the first data set only, if any."""
    proven_rows = [row for row in rows if row.dataset == rows[0].dataset and row.tier.is_proven]
    is_ranking = not (wants_summary and proven_rows)
    tables: _Tables
    if is_ranking:
        groups = groupby(rows, key=lambda row: (row.dataset, row.target_pct))
        tables = [(f"{_title(name)}, {target_pct:g} %", list(group)) for (name, target_pct), group in groups]
    else:
        tables = _smallest_and_others(proven_rows)
    output = console()
    missing_count = hidden + len(rows) - sum(len(group) for _, group in tables)
    further = f"{counted(missing_count, 'more row')}: {as_command('leaderboard', '--all')}"
    if not output.is_terminal:
        _print_fields([row for _, group in tables for row in group], names)
        if missing_count:
            click.echo(further, err=True)
        return
    _print_tables(output, tables, names, is_ranking)
    if missing_count:
        click.echo(f"{further}\n")
    show_table(output, [[_LEGEND + (_WIDE_LEGEND if output.width >= _WIDE else "")]], ["dim"])


def _title(dataset_name: str) -> str:
    # Data sets of users and of newer versions have no title.
    return datasets.DATASETS[dataset_name].title if dataset_name in datasets.DATASETS else dataset_name


def _smallest_and_others(proven_rows: Sequence[LeaderboardRow]) -> _Tables:
    name = proven_rows[0].dataset
    default_pct = datasets.DATASETS[name].target_pct if name in datasets.DATASETS else proven_rows[0].target_pct
    by_target = sorted(proven_rows, key=lambda row: (row.target_pct, row.parameters))
    smallest = [next(group) for _, group in groupby(by_target, lambda row: row.target_pct)]
    further = [row for row in proven_rows if row.target_pct == default_pct and row not in smallest]
    return [
        (f"{_title(name)}: the smallest network found for each target", smallest),
        (f"{default_pct:g} %: further verified or certified networks", further),
    ]


def _print_tables(output: Console, tables: _Tables, names: Mapping[str, str], is_ranking: bool) -> None:
    first = "rank" if is_ranking else "target"
    titles = (first, "network", "parameters", "accuracy, %", "seeds", "tier", "bound", "MACs", "recipe")
    columns = [Column(title, is_numeric=title not in ("network", "tier", "recipe")) for title in titles]
    if output.width < _WIDE:
        columns = columns[:6]  # up to the tier
    for title, group in tables:
        if group:
            show_table(output, [[title]], ["bold"])
            cells = [_cells(row, names[row.hash], is_ranking)[: len(columns)] for row in group]
            show_table(output, cells, [_STYLES[row.tier.value] for row in group], columns)
            click.echo()


def _print_fields(rows: Sequence[LeaderboardRow], names: Mapping[str, str]) -> None:
    fields = ("dataset", "target_pct", "hash", "parameters", "macs", "mean_test_accuracy_pct", "std_test_accuracy_pct",
              "lower_bound_pct", "confidence", "seeds", "seeds_at_target", "tier", "recipe")  # fmt: skip
    # After the name, because programs may read columns by position.
    later_fields = ("validation_accuracy_pct", "validation_seeds")
    write("\t".join((*fields, "name", *later_fields)))
    for row in rows:
        values = [getattr(row, field) for field in (*fields, *later_fields)]
        values.insert(len(fields), names[row.hash])
        write("\t".join(map(_field_text, values)))


def _field_text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.9g}"
    return "" if value is None else str(value)


def _cells(row: LeaderboardRow, name: str, is_ranking: bool) -> tuple[str, ...]:
    seeds = row.validation_seeds if row.tier == "searched" else row.seeds
    return (
        str(row.rank) if is_ranking else f"{row.target_pct:g} %",
        f"{row.hash[:6]} {name}",
        f"{row.parameters:,}",
        row.accuracy_words or "-",
        str(seeds) if row.seeds_at_target is None else f"{row.seeds_at_target}/{seeds}",
        row.tier.value,
        "" if row.lower_bound_pct is None else f"{row.lower_bound_pct:.3f}",
        f"{row.macs:,}",
        row.recipe,
    )
