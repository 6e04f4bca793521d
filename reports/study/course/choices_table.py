"""Which choices of the space went with accuracy, as tables."""

from __future__ import annotations

from reports.html.page import Column, Html, details, foreign, joined, numeric, paragraph, table, text
from reports.html.shares import bar
from reports.numbers import count, decimal, pct
from reports.study.course.choices import Choice, Choices, Option

_CHOICES = (
    Column("choice"),
    Column("explains", numeric=True),
    Column("of all spread"),
    *numeric("networks", "options"),
    Column("most accurate option"),
)
_OPTIONS = (
    Column("choice"),
    Column("option"),
    Column("networks", numeric=True),
    Column("mean accuracy, %", numeric=True, largest_first=True),
    Column("best, %", numeric=True, largest_first=True),
    Column("median parameters", numeric=True),
)


def choices_tables(facts: Choices | None) -> Html:
    """Return what the choices explain, every option folded away; nothing where too little is known."""
    if facts is None or not facts.choices:
        return Html("")
    when = "at the end of its first run" if facts.epoch is None else f"after epoch {facts.epoch} of its first run"
    which = "" if facts.length is None else f" that was trained for {facts.length} epochs"
    note = paragraph(
        f"We compare the validation accuracy of each network{which} {when}, when all had the same training; "
        "its errors on a logarithmic scale. Each choice is taken by itself. Choices depend on each other, the sampler "
        "repeats good ones, and a choice may stand for size. Size alone (the logarithm of the parameters) explains "
        f"{pct(100 * facts.size_explained, 0)} over all networks. A share is a hint, not an effect."
    )
    summary = table(
        "Share of the spread in accuracy that each choice of the space explains, largest first",
        _CHOICES,
        [_choice_cells(choice) for choice in facts.choices],
        identifier="choices-caption",
        row_identifiers=[f"choice-{number}" for number in range(len(facts.choices))],
        sortable=True,
    )
    pairs = [(number, choice, option) for number, choice in enumerate(facts.choices) for option in choice.options]
    options = table(
        f"Every option: networks that took it and their accuracy {when}",
        _OPTIONS,
        [_option_cells(choice, option) for _, choice, option in pairs],
        identifier="options-caption",
        row_header=1,
        row_identifiers=[f"option-{number}-{option.index}" for number, _, option in pairs],
        sortable=True,
    )
    return joined([note, summary, details("Every option of every choice", options)])


def _choice_cells(choice: Choice) -> list[Html]:
    best = max(choice.options, key=lambda option: option.mean_pct)
    return [
        foreign(choice.name),
        text(pct(100 * choice.explained, 0)),
        bar(choice.explained),
        text(count(choice.networks)),
        text(len(choice.options)),
        foreign(f"{best.name}: {decimal(best.mean_pct, 2)}\N{NO-BREAK SPACE}% on average"),
    ]


def _option_cells(choice: Choice, option: Option) -> list[Html]:
    return [
        foreign(choice.name),
        foreign(option.name),
        text(count(option.networks)),
        text(decimal(option.mean_pct, 2)),
        text(decimal(option.best_pct, 2)),
        text(count(option.median_parameters)),
    ]
