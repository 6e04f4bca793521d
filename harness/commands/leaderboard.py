"""``harness leaderboard``: the standings, made anew from records, claims and local studies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from harness.commands import options

if TYPE_CHECKING:
    from harness.evidence.leaderboard import LeaderboardRow

# Width and title; a leading ">" puts numbers on the right.
_COLUMNS = (
    (">4", "rank"),
    ("<12", "name"),
    ("<12", "hash"),
    ("<9", "tier"),
    (">10", "parameters"),
    (">15", "accuracy %"),
    (">8", "99% low"),
    (">5", "seeds"),
    ("<12", "recipe"),
    ("<13", "dataset"),
    (">8", "target %"),
)


@click.command(short_help="Show the standings.")
@click.option("--dataset", help="Only rows on this data set.")
@click.option(
    "--tier",
    type=click.Choice(["certified", "verified", "measured", "searched", "claimed"]),
    help="Only rows of this tier.",
)
@click.option("--limit", type=click.IntRange(1), help="Only so many rows, the best.")
@click.option("--write", is_flag=True, help="Rewrite leaderboard.csv too.")
@click.option("--html", is_flag=True, help="Write leaderboard.html, all rows on one page, beside it.")
@options.as_json
def leaderboard(
    dataset: str | None, tier: str | None, limit: int | None, write: bool, html: bool, as_json: bool
) -> int:
    """Show the standings; nothing is written unless --write or --html is given.

    Rows come from records/, the claims of others and the studies under runs/. Accuracy is the mean over seeds
    on the test set; v marks validation accuracy, c a claim that nobody has checked here. Ranks are counted for
    each data set and target.

    \b
    harness leaderboard --limit 10
    harness leaderboard --tier verified --dataset mnist
    harness leaderboard --html
    """
    from dataclasses import asdict

    from harness.data.datasets import dataset as known_dataset
    from harness.evidence.leaderboard import collect, refresh
    from harness.workspace import workspace

    if dataset is not None:
        known_dataset(dataset)
    place = workspace()
    rows = refresh(place) if write else collect(place)
    shown = [row for row in rows if dataset in (None, row.dataset) and tier in (None, row.tier.value)][:limit]
    page = {}
    if html:
        from reports.index_page import write_leaderboard

        page = {"page": str(write_leaderboard(place))}
    if as_json:
        options.print_json({"leaderboard": str(place.leaderboard), "rows": [asdict(row) for row in shown], **page})
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


def _text(rows: list[LeaderboardRow]) -> str:
    return "\n".join(_line([title for _, title in _COLUMNS] if row is None else _cells(row)) for row in [None, *rows])


def _cells(row: LeaderboardRow) -> list[str]:
    tested = row.tier.value not in ("searched", "claimed")
    return [
        str(row.rank),
        row.name,
        row.hash,
        row.tier,
        f"{row.parameters:,}",
        _accuracy(row),
        f"{row.lower_bound_pct:.3f}" if tested and row.lower_bound_pct is not None else "",
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
