"""Write the tables of search methods in docs/bench.md from the committed results of the bench.

    harness bench run mnist-bench --json > benchmarks/results/bench.json
    harness bench run mnist-forms --json > benchmarks/results/bench-forms.json
    PARTS='--method default --ablations --repeats 200 --json'
    harness bench run mnist-bench $PARTS > benchmarks/results/bench-parts.json
    harness bench run mnist-forms $PARTS > benchmarks/results/bench-forms-parts.json
    python -m benchmarks.bench_page

The tables stand between two marks; what is outside of them is left as it is. The default's settings were chosen on
``mnist-bench`` (in-sample); no rule was tuned on ``mnist-forms`` (out-of-sample).
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
METHODS, UNSEEN_METHODS = RESULTS / "bench.json", RESULTS / "bench-forms.json"
PARTS, UNSEEN_PARTS = RESULTS / "bench-parts.json", RESULTS / "bench-forms-parts.json"
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


def side_by_side(tuned: dict[str, Any], unseen: dict[str, Any]) -> str:
    """Return the methods on the table that the default was tuned on, and on the other one, as Markdown.

    Args:
        tuned: what ``harness bench run --json`` printed for the first table.
        unseen: the same for the second table, of the same methods.
    """
    others = {method["name"]: method for method in unseen["methods"]}
    measures = ("size over time", "relative to random draws", "repeats within a tenth of the smallest", "mean rank")
    columns = [f"{each}, {document['table']}" for each in measures for document in (tuned, unseen)]
    lines = [f"| method | {' | '.join(columns)} |", f"|{' --- |' * (1 + len(columns))}"]
    drawn = [document["methods"][0]["ratio"] for document in (tuned, unseen)]
    for method in tuned["methods"]:
        both = (method, others[method["name"]])
        sizes = [f"{each['ratio']:.3f}" for each in both]
        relative = [f"{each['ratio'] / random:.3f}" for each, random in zip(both, drawn, strict=True)]
        shares = [_share(each) for each in both]
        ranks = [f"{each['mean_rank']:.2f}" for each in both]
        lines.append(f"| {' | '.join([method['name'], *sizes, *relative, *shares, *ranks])} |")
    return "\n".join(lines) + "\n"


def parts_section(tuned: dict[str, Any], unseen: dict[str, Any]) -> str:
    """Return the variants of the default beside it, on both tables, as Markdown."""
    head = (
        f"The default compared with variants that have one part changed, {tuned['repeats']} repeats each: the sizes "
        "of a variant's answers over those of the default, with 95 % intervals. Above 1, the default is better; p is "
        "corrected for all lines and both columns of a table."
    )
    found = [{(pair["first"], pair["when"]): pair for pair in document["variants"]} for document in (tuned, unseen)]
    when = ("over time", "at the end")
    columns = [f"{each}, {document['table']}" for each in when for document in (tuned, unseen)]
    lines = [f"| variant | what it does | {' | '.join(columns)} |", f"|{' --- |' * (2 + len(columns))}"]
    for method in tuned["methods"]:
        if method["is_variant"]:
            cells = [_pair(pairs[method["name"], each]) for each in when for pairs in found]
            lines.append(f"| {method['name']} | {method['says']} | {' | '.join(cells)} |")
    return "\n".join([head, "", *lines]) + "\n"


def current() -> str:
    """Return what the page should hold: the sections of the committed results."""
    paths = (METHODS, UNSEEN_METHODS, PARTS, UNSEEN_PARTS)
    tuned, unseen, parts, unseen_parts = (json.loads(path.read_text(encoding="utf-8")) for path in paths)
    return "\n".join([side_by_side(tuned, unseen), section(tuned), section(unseen), parts_section(parts, unseen_parts)])


def _line(method: dict[str, Any]) -> str:
    size = "none" if method["final_size"] is None else f"{method['final_size']:,.0f}"
    runtime = method["runtimes"][1]
    cells = [
        method["name"],
        f"{method['ratio']:.3f}",
        size,
        "never" if runtime["expected_seconds"] is None else f"{runtime['expected_seconds']:.0f}",
        _share(method),
        f"{100 * method['false']:.0f} %",
        f"{method['mean_rank']:.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def _share(method: dict[str, Any]) -> str:
    """Return the share of the repeats that end at most a tenth above the smallest size."""
    runtime = method["runtimes"][1]
    return f"{100 * runtime['hits'] / runtime['repeats']:.0f} %"


def _pair(pair: dict[str, Any]) -> str:
    return f"{pair['ratio']:.3f} ({pair['low']:.3f} to {pair['high']:.3f}), p {p_text(pair['corrected_p'])}"


if __name__ == "__main__":
    files.write_text(PAGE, with_block(PAGE.read_text(encoding="utf-8"), MARKS, current()))
