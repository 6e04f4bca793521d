"""Write the tables of search methods in docs/bench.md from the committed results of the bench.

    harness bench run mnist-bench --json > benchmarks/results/bench.json
    harness bench run mnist-bench --method default --ablations --json > benchmarks/results/bench-parts.json
    python -m benchmarks.bench_page

The tables stand between two marks; what is outside of them is left as it is. Without results there are none.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.marked_block import marks, with_block
from harness.bench.results.findings import p_text
from harness.system import files

ROOT = Path(__file__).resolve().parent.parent
PAGE, RESULTS = ROOT / "docs" / "bench.md", ROOT / "benchmarks" / "results"
METHODS, PARTS = RESULTS / "bench.json", RESULTS / "bench-parts.json"
MARKS = marks("bench", "benchmarks/bench_page.py")


def section(document: dict[str, Any]) -> str:
    """Return the methods and what follows, as Markdown.

    Args:
        document: what ``harness bench run --json`` printed.
    """
    middle = document["methods"][0]["runtimes"][1]["size"]
    head = (
        f"{document['repeats']} repeats of each method on the table `{document['table']}`, "
        f"{document['seconds']:.0f} seconds of simulated time each on {document['workers']} workers, "
        f"target {document['target_pct']:g} % validation; "
        f"the smallest network that reaches it has {document['smallest']:,} parameters."
    )
    lines = [
        f"| method | size over time, smallest = 1 | median size at the end | expected seconds to {middle:,} parameters "
        "| repeats that get there | false answers | mean rank |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(_line(method) for method in document["methods"] if not method["is_variant"]),
    ]
    said = [f"- {sentence}" for sentence in document["sentences"]]
    return "\n".join([head, "", *lines, "", *said]) + "\n"


def parts_section(document: dict[str, Any]) -> str:
    """Return the variants of the default beside it, as Markdown; the same for another document."""
    head = (
        f"The default compared with variants that have one part changed, {document['repeats']} repeats each: the sizes "
        "of a variant's answers over those of the default, with 95 % intervals. Above 1, the default is better; p is "
        "corrected for all lines and both columns."
    )
    found = {(pair["first"], pair["when"]): pair for pair in document["variants"]}
    lines = [
        "| variant | what it does | over time | p | at the end | p |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for method in document["methods"]:
        if method["is_variant"]:
            cells = [_pair(found[method["name"], when]) for when in ("over time", "at the end")]
            lines.append(f"| {method['name']} | {method['says']} | {' | '.join(cells)} |")
    return "\n".join([head, "", *lines]) + "\n"


def current() -> str:
    """Return what the page should hold: the sections of the committed results, nothing where there are none."""
    if not METHODS.exists() or not PARTS.exists():
        return ""
    methods, parts = (json.loads(path.read_text(encoding="utf-8")) for path in (METHODS, PARTS))
    return f"{section(methods)}\n{parts_section(parts)}"


def _line(method: dict[str, Any]) -> str:
    size = "none" if method["final_size"] is None else f"{method['final_size']:,.0f}"
    runtime = method["runtimes"][1]
    cells = [
        method["name"],
        f"{method['ratio']:.3f}",
        size,
        "never" if runtime["expected_seconds"] is None else f"{runtime['expected_seconds']:.0f}",
        f"{100 * runtime['hits'] / runtime['repeats']:.0f} %",
        f"{100 * method['false']:.0f} %",
        f"{method['mean_rank']:.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def _pair(pair: dict[str, Any]) -> str:
    return f"{pair['ratio']:.3f} ({pair['low']:.3f} to {pair['high']:.3f}) | {p_text(pair['corrected_p'])}"


if __name__ == "__main__":
    files.write_text(PAGE, with_block(PAGE.read_text(encoding="utf-8"), MARKS, current()))
