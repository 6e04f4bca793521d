"""``harness report``: write the page of a study, and print the path."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Any

import click

from harness.interface import options
from harness.system import doors, files
from harness.system.doors import Door
from harness.system.errors import UsageError
from harness.system.files import Workspace
from harness.system.terminal import busy, say


@click.command(short_help="Write the report of a study.")
@click.argument("name", metavar="[STUDY]", required=False)
@click.option("--watch", is_flag=True, help="Update the report until the search ends.")
@click.option("--open", "opens_browser", is_flag=True, help="Open the page in the browser.")
@click.option("--figures", is_flag=True, help="Also write the figures, as SVG and PNG.")
@click.option("--tables", is_flag=True, help="Also write the networks, as CSV and JSON.")
@click.option("--markdown", is_flag=True, help="Print a summary for a pull request; write nothing.")
@options.option("storage", help="Also update the study in this database; see docs/use/storage.md.")
@options.as_json
def report(
    name: str | None,
    as_json: bool,
    storage: str | None,
    watch: bool,
    opens_browser: bool,
    figures: bool,
    tables: bool,
    markdown: bool,
) -> None:
    """Write the report of STUDY, an HTML file that works offline, and print the path.

    STUDY is a name, or the path of a study's folder or report; without STUDY, the latest study is used.

    A search updates its own report while it runs, and the page reloads itself. --watch updates the report until the
    search ends. --figures and --tables write files beside the report.

    \b
    harness report --open
    harness report --watch --open
    harness report --markdown | gh pr create --body-file -
    """
    if storage is not None and (watch or markdown):
        raise UsageError("--storage cannot be combined with --watch and --markdown")
    if markdown and (opens_browser or watch or figures or tables):
        raise UsageError("--markdown writes no file and cannot be combined with --open, --watch, --figures or --tables")
    from harness.pages import study_facts, study_page

    workspace = files.workspace()
    folder = _study_folder(name, workspace)
    if markdown:
        text = study_page.study_summary(study_facts.read_study(folder, workspace))
        options.print_result(as_json, {"markdown": text}, text.removesuffix("\n"))
        return
    if storage is not None:
        _mirror(folder, storage)
    path = folder / "report.html"
    if watch:
        from harness.interface import session

        say(f"watching {path}")
        if opens_browser:
            webbrowser.open(path.absolute().as_uri())
        session.watch(folder, workspace)
    else:
        with busy(f"writing the report of {folder.name}"):
            study_page.write_report(folder, workspace)
    document: dict[str, Any] = {"report": str(path), "study": folder.name}
    if figures or tables:
        info = study_facts.read_study(folder, workspace)
        paths = study_page.write_figures(info, folder / "figures") if figures else []
        if tables:
            paths += study_page.write_tables(info, folder)
        document["files"] = [str(file) for file in paths]
    if opens_browser and not watch:
        webbrowser.open(path.absolute().as_uri())
    options.print_result(as_json, document, "\n".join([str(path), *document.get("files", [])]))


def _study_folder(name: str | None, workspace: Workspace) -> Path:
    from harness.interface.lookup import may_be_known
    from harness.studies.names import find_study, studies, study_folder

    if name is not None and may_be_known(name) and find_study(name, workspace) is None:
        raise UsageError(f"{name!r} is a network: a report requires a study")
    folder = study_folder(name, workspace)
    if name is None and len(studies(workspace)) > 1:
        say(f"latest study: {folder.name}")
    return folder


def _mirror(folder: Path, storage: str) -> None:
    from harness.studies.config import locked_folder
    from harness.studies.log import read_state

    mirror = doors.feature(Door.OBSERVERS, "storage", "--storage")
    study = read_state(folder)
    # A search that works on the study updates the database itself.
    with locked_folder(folder), busy(f"writing {folder.name} to the database"):
        mirror.copy(study, say, storage)
