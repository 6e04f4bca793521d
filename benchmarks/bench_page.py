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
from harness.system import files

ROOT = Path(__file__).resolve().parent.parent
PAGE, RESULTS = ROOT / "docs" / "bench.md", ROOT / "benchmarks" / "results"
METHODS, UNSEEN_METHODS = RESULTS / "bench.json", RESULTS / "bench-forms.json"
PARTS, UNSEEN_PARTS = RESULTS / "bench-parts.json", RESULTS / "bench-forms-parts.json"
MARKS = marks("bench", "benchmarks/bench_page.py")


# Of the sizes that a method may reach, the second: a tenth above the smallest.
NEAR = 1
# An expected time from fewer repeats that get there says nothing.
FEWEST_HITS = 5
WHEN = ("over time", "at the end")


def side_by_side(tuned: dict[str, Any], unseen: dict[str, Any]) -> str:
    """Return the methods on the table that the default was tuned on, and on the other one, as Markdown.

    Args:
        tuned: what ``harness bench run --json`` printed for the first table.
        unseen: the same for the second table, of the same methods.
    """
    documents = (tuned, unseen)
    measures = (*(f"sizes {when} / random draws" for when in WHEN), "mean rank")
    lines = _head(["method", *(f"{measure}, {each['table']}" for measure in measures for each in documents)])
    for name in (method["name"] for method in tuned["methods"]):
        sizes = [f"{_relative(each, name, when):.3f}" for when in WHEN for each in documents]
        ranks = [
            f"{method['mean_rank']:.2f}" for each in documents for method in each["methods"] if method["name"] == name
        ]
        lines.append(_row([name, *sizes, *ranks]))
    return "\n".join(lines) + "\n"


def section(document: dict[str, Any]) -> str:
    """Return the methods on one table, and what follows, as Markdown.

    Args:
        document: what ``harness bench run --json`` printed.
    """
    near = document["methods"][0]["runtimes"][NEAR]["size"]
    head = (
        f"{document['repeats']} repeats of each method on the table `{document['table']}`, "
        f"{document['seconds']:.0f} seconds of simulated time each on {document['workers']} workers, "
        f"target {document['target_pct']:g} % validation; "
        f"the smallest network that reaches it has {document['smallest']:,} parameters."
    )
    lines = _head(
        [
            *("method", "size over time, smallest = 1", "median size at the end", "networks a repeat"),
            *(f"repeats that get to {near:,} parameters", "expected seconds until then", "false answers"),
        ]
    )
    lines += [_row(_cells(method)) for method in document["methods"] if not method["is_variant"]]
    said = [f"- {sentence}" for sentence in document["sentences"]]
    return "\n".join([head, "", *lines, "", *said]) + "\n"


def parts_section(tuned: dict[str, Any], unseen: dict[str, Any]) -> str:
    """Return the variants of the default beside it, on both tables, as Markdown."""
    documents = (tuned, unseen)
    assert tuned["repeats"] == unseen["repeats"], "both tables are replayed equally often"
    head = (
        f"The default compared with variants that have one part changed, {tuned['repeats']} repeats each: the sizes "
        "of a variant's answers over those of the default, with 95 % intervals. Above 1, the default is better. Bold: "
        "shown to differ, corrected for all lines and both columns of a table."
    )
    found = [{(pair["first"], pair["when"]): pair for pair in each["variants"]} for each in documents]
    lines = _head(["variant", "its change", *(f"{when}, {each['table']}" for when in WHEN for each in documents)])
    for method in tuned["methods"]:
        if method["is_variant"]:
            cells = [_pair(pairs[method["name"], when]) for when in WHEN for pairs in found]
            lines.append(_row([method["name"], method["says"].removeprefix("the default, but "), *cells]))
    return "\n".join([head, "", *lines]) + "\n"


def document(path: Path) -> dict[str, Any]:
    """Return what ``harness bench run --json`` printed into a file."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def current() -> str:
    """Return what the page should hold: the sections of the committed results."""
    tuned, unseen, parts, unseen_parts = map(document, (METHODS, UNSEEN_METHODS, PARTS, UNSEEN_PARTS))
    return "\n".join([side_by_side(tuned, unseen), section(tuned), section(unseen), parts_section(parts, unseen_parts)])


def _relative(found: dict[str, Any], name: str, when: str) -> float:
    """Return the sizes of a method's answers over those of random draws."""
    if name == "random":
        return 1.0
    pairs = {(pair["first"], pair["second"]): pair["ratio"] for pair in found["pairs"] if pair["when"] == when}
    return 1 / float(pairs["random", name])


def _head(names: list[str]) -> list[str]:
    return [_row(names), f"|{' --- |' * len(names)}"]


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(method: dict[str, Any]) -> list[str]:
    runtime = method["runtimes"][NEAR]
    is_known = runtime["hits"] >= FEWEST_HITS
    return [
        method["name"],
        f"{method['ratio']:.3f}",
        "none" if method["final_size"] is None else f"{method['final_size']:,.0f}",
        f"{method['networks']:.0f}",
        f"{runtime['hits']} of {runtime['repeats']}",
        f"{runtime['expected_seconds']:,.0f}" if is_known else "too few",
        f"{100 * method['false']:.0f} %",
    ]


def _pair(pair: dict[str, Any]) -> str:
    text = f"{pair['ratio']:.3f} ({pair['low']:.3f} to {pair['high']:.3f})"
    return f"**{text}**" if pair["differs"] else text


if __name__ == "__main__":
    files.write_text(PAGE, with_block(PAGE.read_text(encoding="utf-8"), MARKS, current()))
