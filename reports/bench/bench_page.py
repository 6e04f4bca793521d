"""The page of a comparison of search methods."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from harness.bench.comparison import Comparison, NoiseModel
from harness.bench.findings import AT_THE_END, DEFAULT, OVER_TIME, Findings, MethodFinding, p_text
from harness.bench.scores import LEVEL, Pair, Runtime
from harness.search import race
from harness.system import files
from reports.bench import ratio_matrix
from reports.bench.bench_pictures import bands_pictures, curves_picture
from reports.html.chooser import chooser_script, figure
from reports.html.page import (
    Column,
    Html,
    Section,
    details,
    element,
    foreign,
    items,
    joined,
    numeric,
    page,
    paragraph,
    resource,
    table,
    terms,
    text,
)
from reports.numbers import DASH, count, decimal, duration, plural

_RULE = (
    f"Two methods differ where the corrected p is below {100 * LEVEL:g} %, and the tested ranks and the ratio agree on"
    " the better one."
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
        Section("bands", "Each method beside the default", bands_pictures(facts)),
        Section("runtimes", "Expected running time", _runtimes(facts)),
        Section("tests", "Differences between methods", _pairs(facts)),
    ]
    if facts.variants:
        sections.append(Section("variants", "Worth of each part of the default", _variants(facts)))
    sections.append(Section("rules", "Rules of the comparison", _rules(comparison, facts)))
    footer = paragraph("Made by harness bench run from the comparison's folder; the same files give the same page.")
    styles, scripts = resource("bench/bench.css"), [chooser_script()]
    return page("Comparison of search methods", introduction, sections, footer, styles=styles, last_scripts=scripts)


def _methods(facts: Findings) -> Html:
    ranks = facts.ranking.mean_ranks
    rows = [_method_row(method, ranks.get(method.name)) for method in facts.methods]
    columns = (
        Column("method"),
        *numeric("mean rank", "over time", "at the end"),
        Column("answered, %", numeric=True, largest_first=True),
        Column("false, %", numeric=True),
        Column("networks", numeric=True, class_="spare"),
        Column("trainings", numeric=True, class_="spare"),
        Column("description", class_="says"),
    )
    caption = (
        f"{plural(facts.repeats, 'repeat')} of each method. Over time: size of the answer, divided by the"
        " smallest size that reaches the target; geometric mean over repeats and time; before the first answer the"
        " budget counts. At the end: size of the median repeat. False: share of the answers at the end that miss the"
        " target. Networks and trainings: means of a repeat."
    )
    return table(caption, columns, rows, identifier="methods-caption", sortable=True)


def _method_row(method: MethodFinding, rank: float | None) -> list[Html]:
    return [
        foreign(method.name),
        figure(decimal(rank, 2), rank),
        figure(decimal(method.ratio, 3), method.ratio),
        figure(count(method.final_size), method.final_size),
        figure(decimal(100 * method.answered, 0), method.answered),
        figure(decimal(100 * method.false, 0), method.false),
        figure(decimal(method.networks, 1), method.networks),
        figure(decimal(method.runs, 1), method.runs),
        foreign(method.says),
    ]


def _runtimes(facts: Findings) -> Html:
    sizes = [item.size for item in facts.methods[0].runtimes]
    if not sizes:
        return paragraph("No network is known to reach the target, so there is no size to be asked for.")
    columns = (Column("method"), *numeric(*(f"{count(size)} parameters" for size in sizes)))
    rows = [[foreign(method.name), *map(_runtime_cell, method.runtimes)] for method in facts.methods]
    caption = (
        "Expected running time to an answer of at most this size that reaches the target: the time of all repeats, "
        "each until its answer or until the end, divided by the number of repeats with an answer. Below it, its 95 % "
        "bootstrap interval, then the share of repeats with an answer and its exact 95 % interval."
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
        "Each pair is tested by Wilcoxon's signed-rank test on the same seeds. The p values are corrected by Holm's",
        f"procedure for {plural(len(facts.pairs), 'test')}.",
        _RULE,
    )
    names = [method.name for method in facts.methods if not method.is_variant]
    matrices = [
        ratio_matrix.draw(
            ratio_matrix.matrix(facts.pairs, names, when),
            names,
            f"Sizes {when}: the row's method over the column's, geometric mean over repeats. Below 1 the row's answers "
            "are smaller. A frame and an arrow mark a difference that holds.",
            f"ratios-{number}",
        )
        for number, when in enumerate((OVER_TIME, AT_THE_END), start=1)
    ]
    pairs = _pair_table(facts.pairs, "Sizes of the first over those of the second", "pairs-caption")
    return joined([note, *matrices, details(f"All {plural(len(facts.pairs), 'test')} with p values", pairs)])


def _variants(facts: Findings) -> Html:
    note = paragraph(
        f"Each variant is the {DEFAULT} with one part changed. A ratio above 1 means larger answers without the part.",
        f"Corrected by Holm's procedure for {plural(len(facts.variants), 'test')}.",
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
            figure(decimal(pair.ratio, 3), pair.ratio),
            figure(f"{decimal(pair.low, 3)} to {decimal(pair.high, 3)}", pair.low),
            figure(p_text(pair.p), pair.p),
            figure(p_text(pair.corrected_p), pair.corrected_p),
            text("yes" if pair.differs else "not shown"),
        ]
        for pair in pairs
    ]
    columns = (
        Column("first"),
        Column("second"),
        Column("when"),
        *numeric("ratio", "95 % interval, uncorrected", "p", "corrected p"),
        Column(f"differs at {100 * LEVEL:g} %"),
    )
    words = f"{caption}, geometric mean over repeats (and over time), with the bootstrap interval."
    return table(words, columns, rows, identifier=identifier, sortable=True)


def _rules(comparison: Comparison, facts: Findings) -> Html:
    task = comparison.task
    smallest = count(facts.judge.smallest) if math.isfinite(facts.judge.smallest) else DASH
    return terms(
        {
            "task": f"the smallest network of the space {task.space_name} with at most {task.budget:,} parameters that "
            f"reaches {task.target_pct:g} % validation accuracy after {task.recipe.epochs} epochs of the recipe "
            f"{task.recipe_name} on {task.dataset}; {duration(task.seconds)} on {plural(task.workers, 'worker')}",
            "smallest": f"{smallest} parameters, of all that the judge knows; no method does",
            "answer": f"the smallest confirmed network: by its fresh seeds, {race.CONFIRM_SEEDS} at the least, the "
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
        case NoiseModel.POOLED:
            return (
                "the mean of a network's recorded runs, and on it how far one run of a network of similar errors"
                " lay off that network's mean"
            )
        case NoiseModel.RECORDED:
            return "one of the network's recorded runs, drawn anew for each training"
        case None:
            return "real trainings"
