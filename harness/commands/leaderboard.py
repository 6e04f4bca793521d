"""``harness leaderboard``: the standings, made anew from records, claims and local studies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from harness.commands import options

if TYPE_CHECKING:
    from harness.evidence.leaderboard import LeaderboardRow
    from harness.workspace import Workspace

# Width and title; a leading ">" puts numbers on the right.
_COLUMNS = (
    (">4", "rank"),
    ("<12", "name"),
    ("<12", "hash"),
    ("<13", "tier"),
    (">10", "parameters"),
    (">7", "stored"),
    (">15", "accuracy %"),
    (">8", "99% low"),
    (">9", "+ images"),
    (">5", "seeds"),
    ("<12", "recipe"),
    ("<13", "dataset"),
    (">8", "target %"),
)


@click.command(short_help="Show the standings.")
@click.option("--dataset", help="Only rows on this data set.")
@click.option(
    "--tier",
    type=click.Choice(["certified", "verified", "at the target", "measured", "searched", "claimed"]),
    help="Only rows of this tier.",
)
@click.option("--limit", type=click.IntRange(1), help="Only so many rows, the best.")
@click.option("--write", is_flag=True, help="Rewrite leaderboard.csv too.")
@click.option("--check", is_flag=True, help="Say whether records, weights, ledger and table hold together.")
@click.option("--html", is_flag=True, help="Write leaderboard.html, all rows on one page, beside it.")
@options.as_json
def leaderboard(
    dataset: str | None, tier: str | None, limit: int | None, write: bool, check: bool, html: bool, as_json: bool
) -> int:
    """Show the standings; nothing is written unless --write or --html is given.

    Rows come from records/, the claims of others and the studies under runs/. A damaged file is named on stderr and
    left out; with --write it is refused. Accuracy is the mean over seeds
    on the test set; v marks validation accuracy, c a claim that nobody has checked here. Ranks are counted for
    each data set and target. "at the target" is a mean that reaches it without its 90 % bound.

    --check trains and evaluates nothing: each record, each weight file, each line of the ledger and of the log of test
    reads is held to the others, to leaderboard.csv, and to what git remembers. 'harness evaluate' checks the weights
    against the test images.

    \b
    harness leaderboard --limit 10
    harness leaderboard --tier verified --dataset mnist
    harness leaderboard --html
    """
    from dataclasses import asdict

    from harness.data.datasets import dataset as known_dataset
    from harness.evidence.leaderboard import refresh, survey
    from harness.workspace import workspace

    if dataset is not None:
        known_dataset(dataset)
    place = workspace()
    if check:
        return _check(place, as_json)
    if write:
        refresh(place)
    found = survey(place)
    left_out = [error.message for error in found.damage]
    options.say_left_out(left_out)
    rows = found.rows
    shown = [row for row in rows if dataset in (None, row.dataset) and tier in (None, row.tier.value)][:limit]
    page = {}
    if html:
        from reports.index_page import write_leaderboard

        page = {"page": str(write_leaderboard(place, found))}
    if as_json:
        rows_shown = [asdict(row) for row in shown]
        options.print_json({"leaderboard": str(place.leaderboard), "rows": rows_shown, "left_out": left_out, **page})
        return 0
    if shown:
        click.echo(_text(shown))
    elif rows:
        click.echo(f"none of the {len(rows)} rows is of that kind", err=True)
    else:
        click.echo(f"no records, claims or studies in {place.root} yet", err=True)
    if page:
        click.echo(page["page"])
    return 0


def _check(place: Workspace, as_json: bool) -> int:
    from harness.errors import ContentError
    from harness.evidence.audit import audit

    faults = audit(place)
    if as_json:
        options.print_json({"faults": faults})
    else:
        click.echo("\n".join(faults) or f"the evidence in {place.root} holds together")
    return ContentError.exit_code if faults else 0


def _text(rows: Sequence[LeaderboardRow]) -> str:
    return "\n".join(_line([title for _, title in _COLUMNS] if row is None else _cells(row)) for row in [None, *rows])


def _cells(row: LeaderboardRow) -> list[str]:
    tested = row.tier.value not in ("searched", "claimed")
    return [
        str(row.rank),
        row.name,
        row.hash,
        row.tier,
        f"{row.parameters:,}",
        "" if row.stored_numbers is None else f"{row.stored_numbers:,}",
        _accuracy(row),
        f"{row.lower_bound_pct:.3f}" if tested and row.lower_bound_pct is not None else "",
        f"{row.lower_bound_images_pct:.3f}" if row.lower_bound_images_pct is not None else "",
        str(row.seeds if row.tier != "searched" else row.validation_seeds),
        row.recipe,
        row.dataset,
        f"{row.target_pct:g}",
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


def _line(cells: list[str]) -> str:
    """Return one line; a cell that is too long is cut, and what could steer a terminal is left out."""
    shown = []
    for (width, _), cell in zip(_COLUMNS, cells, strict=True):
        room = int(width[1:])
        text = "".join(mark if mark.isprintable() else "?" for mark in cell)
        shown.append(f"{text if len(text) <= room else text[: room - 1] + '…':{width}}")
    return "  ".join(shown).rstrip()
