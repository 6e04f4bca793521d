"""Early readings and wrong pruning in words and tables."""

from __future__ import annotations

from reports.html.page import Column, Html, joined, numeric, paragraph, table, text
from reports.numbers import DASH, count, decimal, pct, plural
from reports.study.course.rungs import CONFIDENCE, FEWEST, Prediction, Rungs, WrongPruning

_CORRELATION = (
    Column("after epoch", numeric=True),
    Column("networks"),
    *numeric("n", "Spearman", f"{100 * CONFIDENCE:.0f} % interval", "Kendall"),
)
_PRUNING = (
    Column("after epoch"),
    *numeric(
        "pruned",
        "exempt that it would have pruned",
        "of these reached",
        "wrong, %",
        f"{100 * CONFIDENCE:.0f} % interval",
    ),
)


def rungs_tables(facts: Rungs, identifier: str = "rungs") -> Html:
    """Return what is known of the rungs; where too little is, a sentence that says so."""
    if not facts.rungs:
        return paragraph("The recipe is too short for rungs: nothing is pruned.")
    return joined([paragraph(_where(facts)), _predictions(facts, identifier), _pruning(facts, identifier)])


def _where(facts: Rungs) -> str:
    sources = f"{plural(facts.studies, 'study', 'studies')} on {facts.dataset}, recipe {facts.recipe_name}"
    rungs = " and ".join(map(str, facts.rungs))
    return (
        f"{sources}, {plural(facts.epochs, 'epoch')}, pruning decided after epoch {rungs}. "
        f"{plural(facts.finished, 'network')} went to the end, {count(facts.exempt)} of them exempt from pruning by "
        "lot, one network in ten."
    )


def _predictions(facts: Rungs, identifier: str) -> Html:
    if facts.finished < FEWEST:
        return paragraph(
            f"Too few to say whether a rung predicts the end: {FEWEST} networks with readings at all rungs are needed, "
            f"there {'is' if facts.finished == 1 else 'are'} {facts.finished}."
        )
    caption = (
        "Rank correlation of the validation errors at a rung with the errors at the end, first runs. Bands of size "
        "tell more than all sizes together, because larger networks lead from the beginning. Only exempt networks "
        "show the whole range: of the others only the good ones went to the end, which lowers the correlation. "
        f"Intervals are bootstrapped; below {FEWEST} networks there is none."
    )
    rows = [_correlation(item) for item in facts.predictions]
    return table(caption, _CORRELATION, rows, identifier=f"{identifier}-correlation")


def _correlation(item: Prediction) -> list[Html]:
    interval = DASH if item.low is None else f"{decimal(item.low, 2)} to {decimal(item.high, 2)}"
    figures = (count(item.networks), decimal(item.spearman, 2), interval, decimal(item.kendall, 2))
    return [text(item.epoch), text(item.group), *map(text, figures)]


def _pruning(facts: Rungs, identifier: str) -> Html:
    whole = facts.pruning[-1]
    if not whole.spared:
        return paragraph(
            f"How often pruning was wrong cannot be said: {plural(whole.pruned, 'network')} "
            f"{'was' if whole.pruned == 1 else 'were'} pruned, and no exempt one that would have been has ended."
        )
    caption = "Exempt networks that a rung would have pruned, and how many of these met the threshold at the end."
    rows = [_wrong(item) for item in facts.pruning]
    made = table(caption, _PRUNING, rows, identifier=f"{identifier}-pruning")
    return joined([made, paragraph(_lost(whole))])


def _wrong(item: WrongPruning) -> list[Html]:
    share = None if item.share is None else 100 * item.share
    interval = DASH if item.low is None or item.high is None else f"{100 * item.low:.1f} to {100 * item.high:.1f}"
    figures = (count(item.pruned), count(item.spared), count(item.reached), decimal(share, 1), interval)
    return [text("any" if item.epoch is None else item.epoch), *map(text, figures)]


def _lost(whole: WrongPruning) -> str:
    assert whole.share is not None, "there is a share where networks were spared"
    low, high = (100 * (end or 0.0) for end in (whole.low, whole.high))
    return (
        f"So {pct(100 * whole.share, 1)} of the pruned networks would have met the threshold with its first seed, "
        f"{decimal(low, 1)} to {decimal(high, 1)} % by the size of the sample: about "
        f"{count(whole.share * whole.pruned)} of the {count(whole.pruned)} pruned."
    )
