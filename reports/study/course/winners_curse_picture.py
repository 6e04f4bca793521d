"""First looks against fresh seeds: the picture, its words and its table."""

from __future__ import annotations

from reports.html import svg
from reports.html.page import Column, Html, items, joined, numeric, paragraph, table, text
from reports.numbers import DASH, count, decimal, plural, short
from reports.study.course.winners_curse import Drop, Look, WinnersCurse

MOST_ROWS = 40
_COLUMNS = (
    Column("network"),
    *numeric(
        "parameters",
        "first look, %",
        "rank of all trained",
        "rank of these",
        "fresh seeds, mean %",
        "seeds",
        "rank on fresh seeds",
        "change, points",
    ),
)
# Where any of the networks was tested.
_TESTED = numeric("test set, mean % (seeds)", "rank on the test set")


def draw(facts: WinnersCurse) -> Html:
    """Return the picture with its table; nothing where no network has fresh seeds."""
    if not facts.looks:
        return Html("")
    return joined([_picture(facts), _legend(facts), paragraph(*_words(facts), class_="note"), _table(facts)])


def description(facts: WinnersCurse) -> str:
    """Return what the picture shows, in words."""
    below = sum(look.drop_points > 0 for look in facts.looks)
    return (
        f"{plural(len(facts.looks), 'network')}: validation accuracy of the first look against the mean of fresh "
        f"seeds; {below} lie below the diagonal, where both would be equal. The table has every figure."
    )


def _picture(facts: WinnersCurse) -> Html:
    values = [value for look in facts.looks for value in (look.first_pct, look.fresh_pct)] + [facts.threshold_pct]
    # A seed that went wrong lies on the edge, so that the others can be told apart.
    low = max(min(values), facts.threshold_pct - 2.0)
    margin = max((max(values) - low) * 0.06, 0.02)
    ends = (low - margin, max(values) + margin, False)
    area = svg.frame(svg.NARROW, 340, ends, ends)
    ticks = svg.ticks(area.across, short, 5)
    level, place = area.up.position(facts.threshold_pct), area.across.position(facts.threshold_pct)
    left, right = area.across.start, area.across.end
    return svg.picture(
        area,
        "curse-picture",
        "First looks against fresh seeds",
        description(facts),
        svg.grid(area, ticks, ticks, "validation accuracy of the first look, %", "mean of fresh seeds, %"),
        svg.line(left, area.up.start, right, area.up.end, "axis"),
        svg.line(left, level, right, level, "threshold"),
        svg.line(place, area.up.start, place, area.up.end, "threshold"),
        svg.label(left + 6, level - 6, f"threshold {short(facts.threshold_pct)} %", class_="on-threshold"),
        *(_mark(area, look) for look in facts.looks),
        class_="snug",
    )


def _mark(area: svg.Frame, look: Look) -> Html:
    shape, class_ = ("circle", "trained") if look.passed else ("triangle", "pruned")
    x, y = area.across.position(look.first_pct), area.up.position(look.fresh_pct)
    words = (
        f"{look.network.label}: first look {decimal(look.first_pct, 2)} %, fresh seeds {decimal(look.fresh_pct, 2)} %"
    )
    return svg.mark(shape, x, y, class_, words, number=look.number)


def _legend(facts: WinnersCurse) -> Html:
    entries = [svg.key("circle", "trained", "met the threshold at first")] if facts.passed else []
    if facts.others:
        entries.append(svg.key("triangle", "pruned", "missed it, and was proposed again"))
    return items(entries, class_="legend")


def _words(facts: WinnersCurse) -> list[str]:
    words = [f"The first looks chose from {plural(facts.trained, 'network')} trained to the end."]
    if facts.passed is not None:
        words.append(f"Those that met the threshold {_fell(facts.passed)}")
    else:
        words.append("None of these met the threshold at first.")
    if facts.others is not None:
        words.append(f"Those that missed it {_fell(facts.others)}")
    if facts.spearman is not None:
        words.append(
            f"Rank correlation of first look and fresh seeds: {decimal(facts.spearman, 2)} (Spearman, "
            f"n = {len(facts.looks)}). Networks that passed are alike, which lowers it."
        )
    words.append(
        "A first look that passed was lucky on average, so fresh seeds are worse; one that missed was unlucky."
    )
    words.append("Fresh seeds decide which network is confirmed. The test set decides the verdict only.")
    return words


def _fell(drop: Drop) -> str:
    direction = "fell" if drop.mean_points >= 0 else "rose"
    words = f"{direction} by {decimal(abs(drop.mean_points), 3)} points on fresh seeds on average"
    if drop.error_points is None:
        return f"{words} (n = 1, so there is no standard error)."
    return f"{words} (standard error {decimal(drop.error_points, 3)}, n = {drop.networks})."


def _table(facts: WinnersCurse) -> Html:
    shown = facts.looks[:MOST_ROWS]
    caption = (
        "Networks with fresh seeds, best first look first. Change: the mean of the fresh seeds minus the first look. "
        "Ranks are by accuracy, whatever the size."
    )
    tested = any(look.test_pct is not None for look in shown)
    columns = _COLUMNS + (_TESTED if tested else ())
    rows = [_cells(look)[: len(columns)] for look in shown]
    made = table(caption, columns, rows, identifier="curse-caption")
    rest = len(facts.looks) - len(shown)
    return joined([made, paragraph(f"{plural(rest, 'network')} with a worse first look not listed.")]) if rest else made


def _cells(look: Look) -> list[Html]:
    test = DASH if look.test_pct is None else f"{decimal(look.test_pct, 3)} ({look.test_seeds})"
    figures = (
        count(look.network.parameters),
        decimal(look.first_pct, 2),
        count(look.place),
        count(look.first_rank),
        decimal(look.fresh_pct, 3),
        count(look.fresh_seeds),
        count(look.fresh_rank),
        f"{-look.drop_points:+.3f}",
        test,
        count(look.test_rank),
    )
    return [text(look.network.label), *map(text, figures)]
