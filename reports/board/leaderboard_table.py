"""The rows of one data set and target as a table; a row unfolds to its layers, its notation and what to type."""

from __future__ import annotations

from harness.evidence.leaderboard import PROVEN, Tier
from reports.board.leaderboard_info import HASH_DIGITS, Entry, Group
from reports.html import layer_diagram, seed_dots, svg, thumbnail
from reports.html.chooser import choosable, copyable, figure, named
from reports.html.dataset_tag import dataset_banner, shown_name
from reports.html.page import Column, Html, element, foreign, joined, paragraph, table, terms, text
from reports.numbers import DASH, count, decimal, duration, plural, short
from reports.study.caveats_box import TIERS
from reports.study.standings import accuracy_words, tier_tag

# The style sheet leaves ``spare`` columns out on a telephone.
_COLUMNS = (
    Column("rank", numeric=True),
    Column("network", class_="network-name"),
    Column("layers", class_="spare"),
    Column("parameters", numeric=True),
    Column("stored", numeric=True, class_="spare"),
    Column("MACs, M", numeric=True, class_="spare"),
    Column("accuracy, %", numeric=True, largest_first=True),
    Column("errors", numeric=True, class_="spare"),
    Column("seeds", class_="spare"),
    Column("tier"),
    Column("recipe", class_="spare"),
    Column("more", class_="spare"),
)
# A strip takes some eight kilobytes of the page.
MOST_STRIPS = 40


def standings(group: Group, number: int) -> Html:
    """Return the table of a group; ``number`` makes the names on the page unique."""
    proven = sum(entry.row.tier in PROVEN for entry in group.entries)
    caption = (
        f"{plural(len(group.entries), 'row')} on {shown_name(group.dataset)} with a target of "
        f"{short(group.target_pct)} %; "
        f"{proven} certified or verified. Stored: parameters, and means and variances of BN. MACs: millions of "
        "multiply-adds for an image. Accuracy and errors: means over the seeds on the test set; v marks validation "
        "accuracy, c an unchecked claim. Seeds: a dot is a training seed by its errors, the line is the target; 15/20: "
        "15 of 20 seeds reach it. Rank and tier: see the end of the page."
    )
    across = seed_dots.shared_axis(entry.seeds for entry in group.entries if entry.seeds)
    rows = [_cells(entry, across) for entry in group.entries]
    folds = [_fold(entry, f"row-{number}-{place}", place) for place, entry in enumerate(group.entries, start=1)]
    made = table(caption, _COLUMNS, rows, identifier=f"standings-{number}", row_header=1, folds=folds)
    return joined([dataset_banner(group.dataset), choosable(made, "rows")])


def _cells(entry: Entry, across: svg.Axis | None) -> list[Html]:
    row = entry.row
    name = [element("b", foreign(entry.name)), element("code", text(row.hash[:HASH_DIGITS]))]
    return [
        figure(str(row.rank), row.rank),
        named(joined(name, " "), row.hash),
        thumbnail.draw(row.architecture, entry.analysis.task),
        figure(count(row.parameters), row.parameters, is_amount=True),
        figure(count(row.stored_numbers), row.stored_numbers, is_amount=True),
        figure(f"{row.macs / 1e6:.2f}", row.macs, is_amount=True),
        figure(accuracy_words(row), entry.accuracy_pct),
        figure(decimal(row.test_errors_mean, 1), row.test_errors_mean, is_amount=True),
        _seeds(entry, across),
        tier_tag(row.tier),
        foreign(row.recipe or DASH),
        Html(""),
    ]


def _seeds(entry: Entry, across: svg.Axis | None) -> Html:
    row = entry.row
    seeds = row.validation_seeds if row.tier is Tier.SEARCHED else row.seeds
    words = str(seeds) if row.seeds_at_target is None else f"{row.seeds_at_target}/{seeds}"
    said = figure(words, seeds)
    return joined([seed_dots.draw(entry.seeds, across), said], " ") if entry.seeds and across else said


def _fold(entry: Entry, identifier: str, place: int) -> Html:
    """Return what a row unfolds to."""
    row = entry.row
    drawn = place <= MOST_STRIPS
    strip = [layer_diagram.draw(entry.analysis, identifier), layer_diagram.note(row.architecture)] if drawn else []
    commands = [
        element("p", copyable(element("code", text(command))), text(f" {said}"), class_="command")
        for command, said in entry.commands
    ]
    content = joined(
        [
            *strip,
            element("p", copyable(element("code", foreign(str(row.architecture)), class_="notation"))),
            *commands,
            terms(_facts(entry)),
        ]
    )
    summary = element("summary", text("more"), aria_label=f"more about {entry.name} {row.hash[:HASH_DIGITS]}")
    return element("details", summary, element("div", content, class_="inside"))


def _facts(entry: Entry) -> dict[str, str]:
    """Return what has no column, without what is not known."""
    row = entry.row
    known = {
        "hash": row.hash,
        "multiply-adds for an image": count(row.macs),
        "99 % lower bound": decimal(row.lower_bound_pct, 3),
        "over images too": decimal(row.lower_bound_images_pct, 3),
        "errors of each seed": ", ".join(map(str, entry.seeds.errors)) if entry.seeds else DASH,
        "training a seed": duration(row.train_seconds),
        "date": row.date_utc[:10] or DASH,
        "study": row.study or DASH,
        "note": row.note or DASH,
    }
    return {name: words for name, words in known.items() if words != DASH}


def what_tiers_mean() -> Html:
    """Return the tiers with what each has behind it."""
    rows = [[tier_tag(tier), text(f"{words[0].upper()}{words[1:]}.")] for tier, words in TIERS.items()]
    note = paragraph(
        "Rows are ranked by tier, the best first, and within a tier by parameters, the fewest first. Test accuracy is "
        "that of the last epoch. Seeds are fixed in advance. Each reads the test set once, at the last epoch; only the "
        "recipes of the five documents read it after each epoch, too."
    )
    caption = "Tiers, the best first."
    return joined([table(caption, (Column("tier"), Column("meaning")), rows, identifier="tiers-caption"), note])
