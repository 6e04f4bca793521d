"""The report of one study: one page that works offline, and reloads itself while its search goes on."""

from __future__ import annotations

from pathlib import Path

from harness.data.datasets import dataset
from harness.evidence.study import Study
from harness.system import files
from harness.system.errors import typed
from harness.system.files import Workspace
from reports import course, render
from reports.answer import caveats, commands, headline, next_step
from reports.charts import networks_rows, study_charts
from reports.mistakes import mistakes
from reports.networks import MOST_NAMED
from reports.study_facts import StudyFacts, made_by, read_study, recipe_rows, settings
from search_spaces.cost import analyse, stored_numbers


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
    network, proof, rows = info.network, info.proof, networks_rows(info)
    task, choices = dataset(info.config.dataset).task, course.choices(info)
    return render.page(
        "study.html",
        charts=study_charts(info, rows, choices),
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
