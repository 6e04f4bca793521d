"""The report of one study, one page that works offline, and what other programs read of it: Markdown, tables, charts.

The page reloads itself while its search goes on. The tables have raw numbers, one line a network, CSV and JSON alike.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from harness.data.datasets import dataset
from harness.evidence.study import Study
from harness.system import files, statistics
from harness.system.document import csv_text
from harness.system.errors import typed
from harness.system.files import Workspace
from harness.training.result import finite
from reports import charts, course, render
from reports.answer import caveats, commands, headline, next_step
from reports.mistakes import mistakes
from reports.networks import MOST_NAMED
from reports.study_facts import StudyFacts, made_by, read_study, recipe_rows, settings
from search_spaces.network import analyse, stored_numbers


def write_report(folder: Path, workspace: Workspace, *, live: bool = False, study: Study | None = None) -> Path:
    """Write the report of the study in ``folder`` and return its path.

    Args:
        folder: of the study.
        workspace: that it belongs to.
        live: the page reloads itself, because its search goes on.
        study: what has happened to it, where that has been read already.

    Raises:
        ContentError: there is no study, or one of its files or the ledger does not hold together.
        UsageError: the folder cannot be written.
    """
    path = folder / "report.html"
    files.write_text(path, page(read_study(folder, workspace, study=study), live=live))
    return path


def page(info: StudyFacts, *, live: bool = False) -> str:
    """Return the page of a study."""
    network, proof, rows = info.network, info.proof, charts.networks_rows(info)
    task, choices = dataset(info.config.dataset).task, course.choices(info)
    return render.page(
        "study.html",
        charts=charts.study_charts(info, rows, choices),
        styles=["study.css"],
        scripts=["study.js", *(["live.js"] if live else [])],
        datasets={"networks": rows},
        data={
            "study": info.name,
            "verify": typed("verify"),
            "remarks": {str(number): each.remark for number, each in enumerate(info.networks) if each.remark},
        },
        info=info,
        headline=headline(info),
        progress=course.progress(info),
        accounting=course.accounting(info),
        seeds=course.seed_spread(info),
        spared=course.spared(info),
        pruning=course.pruning(info) if len(info.networks) >= course.FEWEST_NETWORKS else [],
        choices=choices,
        caveats=caveats(info),
        next_step=next_step(info),
        commands=commands(info),
        mistakes=mistakes(proof.record, proof.inspections) if proof else None,
        analysis=analyse(network.architecture, task) if network else None,
        stored=stored_numbers(network.architecture, task) if network else None,
        tables={"facts": made_by(info).items(), "settings": settings(info), "recipe": recipe_rows(info.config)},
        live=live,
        most_named=MOST_NAMED,
    )


# What other programs read of a study --------------------------------------------------------------------------------

# ``place`` is that of the report's table; ``macs`` is younger than the others, and so stands last.
COLUMNS = (
    *("place", "hash", "parameters", "tier", "state", "remark", "epochs", "validation_accuracy_pct"),
    *("validation_std_pct", "validation_seeds", "validation_fresh", "mean_test_accuracy_pct", "std_test_accuracy_pct"),
    *("lower_bound_pct", "test_seeds", "reached", "trial", "origin", "architecture", "macs"),
)


def study_summary(info: StudyFacts) -> str:
    """Return the summary of a study, short enough for the text of a pull request."""
    facts = {"accounting": course.accounting(info), "code_version": made_by(info)["code"], "commands": commands(info)}
    return render.markdown("summary.md", study=info, headline=headline(info), **facts)


def comparison_summary(facts: SimpleNamespace) -> str:
    """Return the summary of a comparison."""
    kind = "studies" if hasattr(facts, "infos") else "networks"
    return render.markdown("summary.md", **{"study": None, "studies": None, "networks": None, kind: facts})


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
        "schema_version": 1,
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
        picture = drawn[chart] or charts.words("nothing yet")
        made |= {folder / f"{name}.svg": charts.svg(picture).encode(), folder / f"{name}.png": charts.png(picture)}
    files.write_together(made)
    return list(made)
