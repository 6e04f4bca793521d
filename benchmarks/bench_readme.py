"""Write the README's table of search methods from the committed result of the bench.

    harness bench run mnist-bench --ablations --json > benchmarks/results/bench.json
    python -m benchmarks.bench_readme

The table stands between two marks; what is outside of them is left as it is. Without a result there is no table.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness import files

ROOT = Path(__file__).resolve().parent.parent
README, RESULT = ROOT / "README.md", ROOT / "benchmarks" / "results" / "bench.json"
BEGIN, END = "<!-- bench: written by benchmarks/bench_readme.py -->\n", "<!-- bench: end -->\n"


def section(document: dict[str, Any]) -> str:
    """Return the table and what follows from it, as Markdown.

    Args:
        document: what ``harness bench run --json`` printed.
    """
    head = (
        f"{document['repeats']} repeats of each method on the table `{document['table']}`, "
        f"{document['seconds'] / 60:.1f} minutes of simulated time each, target {document['target_pct']:g} % "
        f"validation; the smallest network that reaches it has {document['smallest']:,} parameters."
    )
    lines = [
        "| method | size over time, smallest = 1 | median size at the end | false answers | mean rank |",
        "| --- | --- | --- | --- | --- |",
        *(_line(method) for method in document["methods"] if not method["is_variant"]),
    ]
    said = [f"- {sentence}" for sentence in document["sentences"]]
    return "\n".join([head, "", *lines, "", *said]) + "\n"


def with_section(readme: str, made: str) -> str:
    """Return the README with this text between its marks."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin, "the README has both marks"
    assert end, "the README has both marks"
    return f"{before}{BEGIN}{made}{END}{after}"


def current() -> str:
    """Return what the README should hold: the section of the committed result, nothing where there is none."""
    return section(json.loads(RESULT.read_text(encoding="utf-8"))) if RESULT.exists() else ""


def _line(method: dict[str, Any]) -> str:
    size = "none" if method["final_size"] is None else f"{method['final_size']:,.0f}"
    cells = [
        method["name"],
        f"{method['ratio']:.3f}",
        size,
        f"{100 * method['false']:.0f} %",
        f"{method['mean_rank']:.2f}",
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    files.write_text(README, with_section(README.read_text(encoding="utf-8"), current()))
