"""The facts of a table as a few lines for people."""

from __future__ import annotations

from harness.bench.tables.summary import Spread, Summary
from harness.bench.tables.table import Table, is_exhaustive
from harness.system.duration import duration_text


def summary_text(table: Table, found: Summary) -> str:
    """Return the facts of a table for people."""
    facts = table.facts
    extent = "all" if is_exhaustive(facts) else "a sample"
    fewest, most = found.seeds
    seeds = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    lines = [
        f"table {facts.name}: {found.networks:,} networks, {extent} of the space {facts.space_name!r}; "
        f"seeds a network: {seeds}",
        f"  {found.runs:,} runs ({found.diverged:,} diverged), {facts.dataset}, recipe {facts.recipe_name} "
        f"({facts.recipe.hash}), {duration_text(found.train_seconds)} of training on {len(facts.machines)} "
        f"machine{'s' if len(facts.machines) != 1 else ''}",
        f"  parameters {_counts(found.parameters)}; multiply-adds {_counts(found.macs)}",
        "epoch  validation accuracy %, lowest median highest  between seeds  rank correlation  seconds",
    ]
    for rung in found.rungs:
        spread = rung.accuracy_pct
        accuracies = f"{spread.low:.2f} {spread.median:.2f} {spread.high:.2f}"
        deviation = "-" if rung.seed_deviation_pct is None else f"{rung.seed_deviation_pct:.3f}"
        correlation = "-" if rung.rank_correlation is None else f"{rung.rank_correlation:.2f}"
        lines.append(
            f"{rung.epoch:>5}  {accuracies:>46}  {deviation:>13}  {correlation:>16}  {rung.seconds.median:>7.1f}"
        )
    return "\n".join(lines)


def _counts(spread: Spread) -> str:
    return f"{spread.low:,.0f} to {spread.high:,.0f} (median {spread.median:,.0f})"
