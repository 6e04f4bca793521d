"""What other programs read of a study: a summary in Markdown, a table of its networks, its charts as files.

The table has raw numbers, one line a network, CSV and JSON alike.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from harness.data.datasets import dataset
from harness.system import files, statistics
from harness.system.document import csv_text
from harness.training.result import finite
from reports import charts, course
from reports.answer import commands, headline
from reports.render import markdown
from reports.study_facts import StudyFacts, made_by
from search_spaces.cost import analyse

_SCHEMA_VERSION = 1
# ``place`` is that of the report's table; ``macs`` is younger than the others, and so stands last.
COLUMNS = (
    *("place", "hash", "parameters", "tier", "state", "remark", "epochs", "validation_accuracy_pct"),
    *("validation_std_pct", "validation_seeds", "validation_fresh", "mean_test_accuracy_pct", "std_test_accuracy_pct"),
    *("lower_bound_pct", "test_seeds", "reached", "trial", "origin", "architecture", "macs"),
)


def study_summary(info: StudyFacts) -> str:
    """Return the summary of a study, short enough for the text of a pull request."""
    facts = {"accounting": course.accounting(info), "code_version": made_by(info)["code"], "commands": commands(info)}
    return markdown("summary.md", study=info, headline=headline(info), **facts)


def comparison_summary(facts: SimpleNamespace) -> str:
    """Return the summary of a comparison."""
    kind = "studies" if hasattr(facts, "infos") else "networks"
    return markdown("summary.md", **{"study": None, "studies": None, "networks": None, kind: facts})


def lines(info: StudyFacts) -> list[dict[str, Any]]:
    """Return a line a network, best first; the keys are ``COLUMNS``. What is not known is None."""
    task, found = dataset(info.config.dataset).task, []
    for place, network in enumerate(info.networks, start=1):
        row, accuracies = network.row, network.validation_accuracies_pct
        values = (
            place,
            network.hash,
            network.parameters,
            row.tier if row else "searched" if network.complete else None,
            network.state,
            network.remark,
            network.epochs,
            finite(network.accuracy_pct),
            finite(statistics.standard_deviation(accuracies)),
            len(accuracies),
            network.fresh,
            finite(row.mean_test_accuracy_pct) if row else None,
            finite(row.std_test_accuracy_pct) if row else None,
            finite(row.lower_bound_pct) if row else None,
            row.seeds if row else 0,
            row.reached if row else False,
            network.trial,
            network.origin,
            str(network.architecture),
            analyse(network.architecture, task).macs,
        )
        # A lone surrogate, which a journal may hide, cannot be written.
        texts = [_writable(value) if isinstance(value, str) else value for value in values]
        found.append(dict(zip(COLUMNS, texts, strict=True)))
    return found


def _writable(text: str) -> str:
    return text.encode(errors="replace").decode()


def write_tables(info: StudyFacts, folder: Path) -> list[Path]:
    """Write ``networks.csv`` and ``networks.json`` and return their paths.

    Raises:
        UsageError: the folder cannot be written.
    """
    rows = lines(info)
    document = {
        "study": _writable(info.name),
        "dataset": info.config.dataset,
        "target_pct": info.config.target_pct,
        "threshold_pct": info.config.threshold_pct,
        "networks": rows,
        "schema_version": _SCHEMA_VERSION,
    }
    made = {
        folder / "networks.csv": csv_text(COLUMNS, [list(row.values()) for row in rows]),
        folder / "networks.json": json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
    }
    files.write_together({path: words.encode() for path, words in made.items()})
    return list(made)


def write_figures(info: StudyFacts, folder: Path) -> list[Path]:
    """Write the charts of a study below ``folder`` as SVG and PNG and return their paths.

    Raises:
        UsageError: the folder cannot be written.
    """
    drawn = charts.study_charts(info, charts.networks_rows(info), None)
    made: dict[Path, bytes] = {}
    for name, chart in (("accuracy", "accuracy"), ("budget", "over-time"), ("proposals", "steps")):
        picture = drawn[chart] or charts.nothing()
        made |= {folder / f"{name}.svg": charts.svg(picture).encode(), folder / f"{name}.png": charts.png(picture)}
    files.write_together(made)
    return list(made)
