"""Write the table of speeds in docs/engine.md from the committed results of three benchmarks.

    python -m benchmarks.throughput
    python -m benchmarks.time_to_target
    python -m benchmarks.static_analysis
    python -m benchmarks.speed_page

The table stands between two marks; what is outside of them is left as it is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.marked_block import marks, with_block
from harness.system import files
from harness.system.terminal import counted

ROOT = Path(__file__).resolve().parent.parent
PAGE, RESULTS = ROOT / "docs" / "engine.md", ROOT / "benchmarks" / "results"
MARKS = marks("speed", "benchmarks/speed_page.py")


def section(throughput: dict[str, Any], target: dict[str, Any], analysis: dict[str, Any]) -> str:
    """Return the speeds as Markdown; the arguments are the documents that the three benchmarks write."""
    machine = throughput["machine"]
    lines = [
        f"{throughput['rounds']} rounds on {machine['cores']} cores of {machine['processor']} "
        f"({machine['instructions']}), torch {machine['torch']}, commit {machine['commit'][:7]}"
        f"{' with changes that were not committed' if machine['dirty'] else ''}:",
        "",
        "| training, images a second on both cores | compiled engine | the harness with torch | the documents' loop "
        "| engine by loop (spread) | engine by torch |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in throughput["rows"]:
        lines.append(
            f"| {row['network']}, batch {row['batch']} | {row['harness_native']:,} | {row['harness_torch']:,} "
            f"| {row['seed_style']:,} | {row['ratio']:.1f} ({row['ratio_least']:.1f} to {row['ratio_most']:.1f}) "
            f"| {row['ratio_to_torch']:.1f} |"
        )
    reached = "" if target["document_reaches"] else ", which it does not reach"
    return "\n".join(
        [
            *lines,
            "",
            f"`{target['network']}` to 99.4 %, seconds of one core a seed: {target['seconds']:.0f} for "
            f"{target['epochs']} epochs of the recipe `fast`, a number chosen on validation "
            f"({target['mean_test_accuracy_pct']:.3f} % over five seeds, which are on the leaderboard), "
            f"{target['document_seconds']:,.0f} for the {target['document_epochs']} epochs of its "
            f"document, computed from the speed in the table ({target['document_mean_test_accuracy_pct']:.3f} % over "
            f"{counted(target['document_seeds'], 'seed')}{reached}). The ratio of {target['ratio']:.1f} is "
            f"{target['ratio_of_epochs']:.1f} from the recipe and {target['ratio_of_an_epoch']:.1f} from the engine.",
            "",
            f"Networks judged a second: {analysis['closed_form_a_second']:,} by formulas, "
            f"{analysis['counted_a_second']:,.0f} built with torch and their parameters counted, "
            f"{analysis['built_a_second']:,.0f} built and traced by fvcore, which counts multiply-adds too.",
            "",
        ]
    )


def current() -> str:
    """Return what the page should hold."""
    names = ("throughput.json", "time-to-target.json", "static-analysis.json")
    return section(*(json.loads((RESULTS / name).read_text(encoding="utf-8")) for name in names))


if __name__ == "__main__":
    files.write_text(PAGE, with_block(PAGE.read_text(encoding="utf-8"), MARKS, current()))
