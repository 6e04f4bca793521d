"""``harness report``: write the page of a study and name it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands import options
from harness.errors import UsageError
from harness.invocation import typed

if TYPE_CHECKING:
    from harness.workspace import Workspace


@click.command(short_help="Write a study's report, one HTML file.")
@click.argument("study", required=False)
@options.as_json
def report(study: str | None, as_json: bool) -> int:
    """Write the report of STUDY, one HTML file that needs no network, and print its path.

    Without STUDY it is the study that was worked on last.

    \b
    harness report
    harness report mnist-card-20000-2f6e01
    """
    from harness.workspace import workspace
    from reports.study_page import write_report

    place = workspace()
    folder = _folder(place, study)
    path = write_report(folder, place)
    if as_json:
        options.print_json({"report": str(path), "study": folder.name})
    else:
        click.echo(path)
    return 0


def _folder(place: Workspace, name: str | None) -> Path:
    """Return the folder of the study that is meant.

    Raises:
        UsageError: there is no study, or none of that name.
    """
    from search_spaces.errors import nearest

    studies = {path.parent.name: path.parent for path in place.runs.glob("*/config.json")}
    if not studies:
        begin = typed("search", "--budget", "20000")
        raise UsageError(f"there is no study in {place.runs} yet", hint=f"{begin} begins one")
    if name is None:
        return max(studies.values(), key=_last_worked_on)
    if place.study(name).name not in studies:
        known = ", ".join(sorted(studies))
        raise UsageError(f"no study {name!r} in {place.runs}; there are {known}", hint=nearest(name, studies))
    return studies[name]


def _last_worked_on(folder: Path) -> tuple[float, str]:
    journal = folder / "log.jsonl"
    changed = journal if journal.exists() else folder / "config.json"
    return changed.stat().st_mtime, folder.name
