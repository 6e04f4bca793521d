"""The leaderboard as part of a page: a picture and a table for each data set and target."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from harness.evidence.leaderboard import PROVEN, LeaderboardRow, Tier
from reports import svg
from reports.chooser import choosable, figure, named
from reports.error_scale import errors_pct
from reports.numbers import DASH, count, decimal, duration, mean_and_deviation, pct, plural, short
from reports.page import Column, Html, Section, details, element, foreign, items, joined, paragraph, table, text
from reports.standings import tier_tag

_COLUMNS = (
    Column("rank", numeric=True),
    Column("network"),
    Column("tier"),
    Column("parameters", numeric=True),
    Column("stored", numeric=True),
    Column("MACs", numeric=True),
    Column("accuracy, %", numeric=True),
    Column("99 % low", numeric=True),
    Column("images too", numeric=True),
    Column("seeds", numeric=True),
    Column("recipe"),
    Column("training a seed", numeric=True),
    Column("more"),
)
# Which marks a tier has; claims and validation figures are hollow, because nobody has checked them on the test set.
_KINDS = {
    Tier.CERTIFIED: ("square", "reached", "certified or verified, mean test accuracy"),
    Tier.VERIFIED: ("square", "reached", "certified or verified, mean test accuracy"),
    Tier.AT_TARGET: ("square", "measured", "at the target: the mean reaches it, its 90 % lower bound does not"),
    Tier.MEASURED: ("diamond", "measured", "measured below the target, or with fewer than five seeds"),
    Tier.SEARCHED: ("circle", "searched", "searched, validation accuracy"),
    Tier.CLAIMED: ("triangle", "claimed", "claimed by others, not checked here"),
}


def leaderboard_sections(rows: Sequence[LeaderboardRow]) -> list[Section]:
    """Return a section a data set and target, in the order of the standings."""
    groups = groupby(rows, key=lambda row: (row.dataset, row.target_pct))
    return [
        Section(f"leaderboard-{number}", f"{dataset}, {short(target)} %", _standings(number, dataset, target, [*group]))
        for number, ((dataset, target), group) in enumerate(groups, start=1)
    ]


def _standings(number: int, dataset: str, target_pct: float, rows: list[LeaderboardRow]) -> Html:
    proven = sum(row.tier in PROVEN for row in rows)
    caption = (
        f"Leaderboard on {dataset} with a target of {short(target_pct)} %: {plural(len(rows), 'row')}, {proven} of "
        "them proven to reach it. Stored numbers are the parameters and the means and variances of BN. Accuracy is the "
        "mean on the test set, 99 % low its lower bound over seeds, and images too that over seeds and images; "
        "v marks validation accuracy, c a claim that nobody has checked here. Before all seeds of a row "
        "stands how many of them reach the target by themselves."
    )
    made = table(caption, _COLUMNS, [_cells(row) for row in rows], identifier=f"standings-{number}", row_header=1)
    return joined([_picture(number, dataset, target_pct, rows), choosable(made, "rows")])


def _cells(row: LeaderboardRow) -> list[Html]:
    name = [foreign(row.name)] if row.name else []
    seeds = row.validation_seeds if row.tier is Tier.SEARCHED else row.seeds
    return [
        figure(str(row.rank), row.rank),
        named(joined([*name, element("code", text(row.hash))], " "), row.hash),
        tier_tag(row.tier),
        figure(count(row.parameters), row.parameters, is_amount=True),
        figure(count(row.stored_numbers), row.stored_numbers, is_amount=True),
        figure(count(row.macs), row.macs, is_amount=True),
        figure(_accuracy(row), _value(row)),
        figure(decimal(row.lower_bound_pct, 3), row.lower_bound_pct),
        figure(decimal(row.lower_bound_images_pct, 3), row.lower_bound_images_pct),
        figure(str(seeds) if row.seeds_at_target is None else f"{row.seeds_at_target}/{seeds}", seeds),
        foreign(row.recipe or DASH),
        figure(duration(row.train_seconds), row.train_seconds),
        details("notation", _more(row)),
    ]


def _more(row: LeaderboardRow) -> Html:
    said = [row.date_utc[:10]] if row.date_utc else []
    said += [f"study {row.study}"] if row.study else []
    said += [row.note] if row.note else []
    return joined([element("code", foreign(row.architecture)), *(element("p", foreign(words)) for words in said)])


def _accuracy(row: LeaderboardRow) -> str:
    match row.tier:
        case Tier.SEARCHED:
            return f"{decimal(row.validation_accuracy_pct, 2)} v"
        case Tier.CLAIMED:
            return f"{decimal(row.mean_test_accuracy_pct, 2)} c"
        case _:
            return mean_and_deviation(row.mean_test_accuracy_pct, row.std_test_accuracy_pct, 3)


def _value(row: LeaderboardRow) -> float | None:
    return row.validation_accuracy_pct if row.tier is Tier.SEARCHED else row.mean_test_accuracy_pct


def _picture(number: int, dataset: str, target_pct: float, rows: list[LeaderboardRow]) -> Html:
    """Return parameters against accuracy, or a sentence where no row has an accuracy."""
    points = [(row, value) for row in rows if (value := _value(row)) is not None and row.parameters > 0]
    if not points:
        return paragraph("No row has an accuracy.")
    sizes = [row.parameters for row, _ in points]
    levels = [errors_pct(target_pct), *(errors_pct(value) for _, value in points)]
    area = svg.frame(
        1120, 420, (min(sizes) / 1.15, max(sizes) * 1.15, True), (max(levels) * 1.15, min(levels) / 1.15, True)
    )
    ticks = [svg.Tick(value, count(value)) for value in svg.log_ticks(area.across.low, area.across.high) if value >= 1]
    shares = [svg.Tick(value, short(100 - value)) for value in svg.log_ticks(area.up.high, area.up.low, 12)]
    y = area.up.position(errors_pct(target_pct))
    found = {row.tier for row, _ in points}
    image = svg.picture(
        area,
        f"standings-picture-{number}",
        f"Parameters against accuracy on {dataset}",
        f"{plural(len(points), 'row')}; the table below has every figure.",
        svg.grid(area, ticks, shares, "parameters (logarithmic)", "accuracy, % (errors logarithmic)"),
        svg.line(area.across.start, y, area.across.end, y, "target"),
        svg.label(area.across.start + 6, y - 6, f"target {short(target_pct)} %", class_="on-target"),
        *(_mark(area, row, value) for row, value in reversed(points)),
    )
    kinds = dict.fromkeys(_KINDS[tier] for tier in Tier if tier in found)
    return joined([image, items((svg.key(*kind) for kind in kinds), class_="legend")])


def _mark(area: svg.Frame, row: LeaderboardRow, value: float) -> Html:
    shape, class_, _ = _KINDS[row.tier]
    x, y = area.across.position(row.parameters), area.up.position(errors_pct(value))
    words = (
        f"{f'{row.name} {row.hash}'.strip()}: {plural(row.parameters, 'parameter')}, {pct(value)}, {row.tier}, "
        f"recipe {row.recipe or DASH}\n{row.architecture}"
    )
    bar = Html("")
    if row.tier is not Tier.CLAIMED and row.std_test_accuracy_pct is not None:
        low, high = (errors_pct(value + sign * row.std_test_accuracy_pct) for sign in (-1, 1))
        bar = svg.error_bar(x, area.up.position(low), area.up.position(high), f"bar {class_}")
    return joined([bar, svg.mark(shape, x, y, class_, words)], "")
