"""The page of a comparison of search methods."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from harness import files
from harness.bench.comparison import Comparison
from harness.bench.findings import DEFAULT, Findings, MethodFinding, p_text
from harness.bench.ranks import LEVEL, Pair
from harness.bench.runtime import Runtime
from harness.bench.spread import Spread
from harness.search import race
from reports.bench_pictures import bands_pictures, curves_picture
from reports.numbers import DASH, count, decimal, duration, plural
from reports.page import (
    Column,
    Html,
    Section,
    element,
    foreign,
    items,
    joined,
    page,
    paragraph,
    resource,
    table,
    terms,
    text,
)

_RULE = (
    f"Two differ where the corrected p is below {100 * LEVEL:g} %, and the ranks that are tested and the ratio say the"
    " same of which is better."
)


def write_page(folder: Path, comparison: Comparison, facts: Findings) -> Path:
    """Write ``report.html`` and return its path.

    Raises:
        UsageError: the folder cannot be written.
    """
    path = folder / "report.html"
    files.write_text(path, render(comparison, facts))
    return path


def render(comparison: Comparison, facts: Findings) -> str:
    """Return the page."""
    introduction = joined(
        [
            element("h1", text("Comparison of search methods")),
            *(element("p", text(sentence), class_="finding") for sentence in facts.sentences[:2]),
            items(text(sentence) for sentence in facts.sentences[2:]) if len(facts.sentences) > 2 else Html(""),
        ]
    )
    sections = [
        Section("methods", "Methods", _methods(facts)),
        Section("curves", "Smallest size that reaches the target, over time", curves_picture(facts)),
        Section("bands", "Each method with its band", bands_pictures(facts)),
        Section("runtimes", "Expected running time", _runtimes(facts)),
        Section("tests", "Which differ", _pairs(facts)),
    ]
    if facts.variants:
        sections.append(Section("variants", "What each part of the default is worth", _variants(facts)))
    sections.append(Section("rules", "How it was judged", _rules(comparison, facts)))
    footer = paragraph("Made by harness bench run from the comparison's folder; the same files give the same page.")
    return page("Comparison of search methods", introduction, sections, footer, styles=resource("bench.css"))


def _methods(facts: Findings) -> Html:
    ranks = facts.ranking.mean_ranks
    rows = [_method_row(method, ranks.get(method.name)) for method in facts.methods]
    columns = (
        Column("method"),
        Column("mean rank", numeric=True),
        Column("over time", numeric=True),
        Column("at the end", numeric=True),
        Column("answered, %", numeric=True),
        Column("false, %", numeric=True),
        Column("networks", numeric=True),
        Column("trainings", numeric=True),
        Column("what it does"),
    )
    caption = (
        f"{plural(facts.repeats, 'repeat')} of each method. Over time: size of the answer over the smallest that"
        " reaches, geometric mean over repeats and time, no answer counted as the budget. At the end: size of the"
        " median repeat. False: share of the answers at the end that do not reach. Networks and trainings: means of a"
        " repeat."
    )
    return table(caption, columns, rows, identifier="methods-caption")


def _method_row(method: MethodFinding, rank: float | None) -> list[Html]:
    return [
        foreign(method.name),
        text(decimal(rank, 2)),
        text(decimal(method.ratio, 3)),
        text(count(method.final_size)),
        text(decimal(100 * method.answered, 0)),
        text(decimal(100 * method.false, 0)),
        text(decimal(method.networks, 1)),
        text(decimal(method.runs, 1)),
        foreign(method.says),
    ]


def _runtimes(facts: Findings) -> Html:
    sizes = [item.size for item in facts.methods[0].runtimes]
    if not sizes:
        return paragraph("No network is known to reach the target, so there is no size to be asked for.")
    columns = (Column("method"), *(Column(f"{count(size)} parameters", numeric=True) for size in sizes))
    rows = [[foreign(method.name), *map(_runtime_cell, method.runtimes)] for method in facts.methods]
    caption = (
        "Expected running time to an answer of at most so many parameters that reaches: time of all repeats until they "
        "were there or until the end, over the repeats that got there; 95 % bootstrap interval. Below it the share of "
        "the repeats that got there, with its exact 95 % interval."
    )
    return table(caption, columns, rows, identifier="runtimes-caption")


def _runtime_cell(item: Runtime) -> Html:
    if not item.hits:
        expected = f"never; 0 % (to {100 * item.share_high:.0f} %)"
        return text(expected)
    interval = f"{_time(item.low)} to {_time(item.high)}"
    share = f"{100 * item.share:.0f} % ({100 * item.share_low:.0f} to {100 * item.share_high:.0f} %)"
    lines = [text(_time(item.expected_seconds)), element("span", text(interval), class_="ratio")]
    return joined([*lines, element("span", text(share), class_="ratio")], " ")


def _time(seconds: float) -> str:
    return duration(seconds) if math.isfinite(seconds) else "never"


def _pairs(facts: Findings) -> Html:
    if not facts.pairs:
        return paragraph("Only one method was run.")
    friedman = f"Friedman's test of all of them: p {p_text(facts.ranking.p)}." if math.isfinite(facts.ranking.p) else ""
    note = paragraph(
        friedman,
        "Each pair by Wilcoxon's signed-rank test on the same seeds, corrected by Holm's procedure for",
        f"{plural(len(facts.pairs), 'test')}.",
        _RULE,
    )
    return joined([note, _pair_table(facts.pairs, "Sizes of the first over those of the second", "pairs-caption")])


def _variants(facts: Findings) -> Html:
    note = paragraph(
        f"Each variant is the {DEFAULT} with one part changed. More than 1: without the part answers are larger, so it",
        f"is worth having. Corrected by Holm's procedure for {plural(len(facts.variants), 'test')}.",
        _RULE,
    )
    return joined(
        [note, _pair_table(facts.variants, "Sizes of the variant over those of the default", "variants-caption")]
    )


def _pair_table(pairs: Sequence[Pair], caption: str, identifier: str) -> Html:
    rows = [
        [
            foreign(pair.first),
            foreign(pair.second),
            text(pair.when),
            text(decimal(pair.ratio, 3)),
            text(f"{decimal(pair.low, 3)} to {decimal(pair.high, 3)}"),
            text(p_text(pair.p)),
            text(p_text(pair.corrected_p)),
            text("yes" if pair.differs else "not shown"),
        ]
        for pair in pairs
    ]
    columns = (
        Column("first"),
        Column("second"),
        Column("when"),
        Column("ratio", numeric=True),
        Column("95 % interval", numeric=True),
        Column("p", numeric=True),
        Column("corrected p", numeric=True),
        Column(f"differs at {100 * LEVEL:g} %"),
    )
    words = f"{caption}, geometric mean over repeats (and over time), with the bootstrap interval."
    return table(words, columns, rows, identifier=identifier)


def _rules(comparison: Comparison, facts: Findings) -> Html:
    task = comparison.task
    smallest = count(facts.judge.smallest) if math.isfinite(facts.judge.smallest) else DASH
    return terms(
        {
            "task": f"the smallest network of the space {task.space_name} with at most {task.budget:,} parameters that "
            f"reaches {task.target_pct:g} % validation accuracy after {task.recipe.epochs} epochs of the recipe "
            f"{task.recipe_name} on {task.dataset}; {duration(task.seconds)} on {plural(task.workers, 'worker')}",
            "smallest": f"{smallest} parameters, of all that the judge knows; no method does",
            "answer": f"the smallest network that stands: by its fresh seeds, {race.STAND_SEEDS} at the least, the "
            f"mean of {race.VERIFY_SEEDS} others reaches the target with a chance of at least "
            f"{100 * race.CONFIDENCE:g} %. The same code and rule for every method, in the method's own time",
            "judge": _judge_words(comparison),
            "clock": _clock_words(comparison),
            "seeds": f"seed {comparison.seed}; repeat i has the same seed for every method, and the same training of "
            "the same network in it gives the same accuracy",
            "runs": _spread_words(comparison),
        }
    )


def _judge_words(comparison: Comparison) -> str:
    if comparison.table is None:
        return f"mean validation accuracy on {comparison.judge_seeds} fresh seeds, trained when all repeats had ended"
    return (
        f"mean validation accuracy at the last epoch over the seeds of the table {comparison.table}, which no method"
        " sees; an answer that does not reach counts as none"
    )


def _clock_words(comparison: Comparison) -> str:
    if comparison.table is None:
        return "this machine's; asking takes the time it takes"
    return "simulated: a training takes the seconds that were recorded; asking, starting and validating take none"


def _spread_words(comparison: Comparison) -> str:
    match comparison.spread:
        case Spread.POOLED:
            return (
                "the mean of a network's recorded runs, and on it how far one run of a network of similar errors"
                " lay off that network's mean"
            )
        case Spread.RECORDED:
            return "one of the network's recorded runs, drawn anew for each training"
        case None:
            return "real trainings"
