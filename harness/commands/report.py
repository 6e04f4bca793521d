"""``harness report``: write the page of a study, of a comparison or of all studies, and print the path."""

from __future__ import annotations

import re
import webbrowser
from pathlib import Path
from typing import Any

import click

from harness.interface import options
from harness.system import files
from harness.system.errors import UsageError
from harness.system.files import Workspace
from harness.system.terminal import busy, say
from search_spaces.catalog import PRESETS
from search_spaces.network import MNIST, Architecture
from search_spaces.space_errors import nearest

_MOST_COMPARED = 4  # studies or networks that a page can compare


@click.command(short_help="Write the report of a study, or compare several.")
@click.argument("names", metavar="[STUDY]...", nargs=-1)
@click.option("--all", "is_index", is_flag=True, help="Write an index of all studies, with the leaderboard.")
@click.option("--watch", is_flag=True, help="Update the report until the search ends.")
@click.option("--open", "opens_browser", is_flag=True, help="Open the page in the browser.")
@click.option("--figures", is_flag=True, help="Also write the figures, as SVG and PNG.")
@click.option("--tables", is_flag=True, help="Also write the networks, as CSV and JSON.")
@click.option("--markdown", is_flag=True, help="Print a summary for a pull request; write nothing.")
@options.option("storage", help="Also update the study in this database; see docs/storage.md.")
@options.as_json
def report(
    names: tuple[str, ...],
    as_json: bool,
    storage: str | None,
    *,
    is_index: bool,
    watch: bool,
    opens_browser: bool,
    figures: bool,
    tables: bool,
    markdown: bool,
) -> int:
    """Write the report of STUDY, an HTML file that works offline, and print the path.

    STUDY is a name, or the path of a study's folder or report; without STUDY, the latest study is used. Two to four
    studies, or two to four networks (presets, hashes, names, the notation in quotes, @FILE, or PyTorch modules
    FILE.py:NAME, whose code is executed), are compared side by side.

    A search updates its own report while it runs, and the page reloads itself. --watch updates the report until the
    search ends. --all writes missing and outdated reports, and runs/index.html. --figures and --tables write files
    beside the report.

    \b
    harness report --open
    harness report --watch --open
    harness report mnist-card-20000-2f6e01 mnist-tiny-5000-77ab12
    harness report seed1 seed4 anchor3762
    harness report --markdown | gh pr create --body-file -
    """
    is_of_several = is_index or len(names) > 1
    is_of_one_study = watch or figures or tables
    if len(names) > _MOST_COMPARED:
        raise UsageError(f"{len(names)} names are given, but at most {_MOST_COMPARED} can be compared")
    if is_index and names:
        raise UsageError("--all covers all studies and cannot be combined with names")
    if is_of_several and is_of_one_study:
        raise UsageError("--watch, --figures and --tables require a single study")
    if storage is not None and (is_of_several or watch or markdown):
        raise UsageError("--storage requires a single study, without --watch and --markdown")
    if markdown and (is_index or opens_browser or is_of_one_study):
        exclusive_options = "--all, --open, --watch, --figures or --tables"
        raise UsageError(f"--markdown writes no file and cannot be combined with {exclusive_options}")
    workspace = files.workspace()
    if markdown:
        text = _markdown(names, workspace)
        options.print_result(as_json, {"markdown": text}, text.removesuffix("\n"))
        return 0
    if is_index:
        document = _index(workspace)
    elif len(names) > 1:
        document = _comparison(names, workspace)
    else:
        folder = _study_folder(names, workspace)
        if storage is not None:
            _mirror(folder, storage)
        document = _study_report(
            folder, workspace, watch=watch, opens_browser=opens_browser, figures=figures, tables=tables
        )
    if opens_browser and not watch:
        webbrowser.open(Path(document["report"]).absolute().as_uri())
    options.print_result(as_json, document, "\n".join([document["report"], *document.get("files", [])]))
    return 0


def _index(workspace: Workspace) -> dict[str, Any]:
    """Write missing and outdated reports, and the index of all studies."""
    from reports.board import read_index, write_index, write_lacking_reports

    problems = []
    for name, problem in write_lacking_reports(workspace):
        if problem:
            problems.append(problem)
        else:
            say(f"{name}: report written")
    index = read_index(workspace)
    # A damaged study may be reported three times: for the report, for the index and for the leaderboard.
    left_out = list(dict.fromkeys([*problems, *index.left_out]))
    options.say_left_out(left_out)
    return {"report": str(write_index(workspace, index)), "study": None, "left_out": left_out}


def _comparison(names: tuple[str, ...], workspace: Workspace) -> dict[str, Any]:
    from reports.comparison_page import write_network_comparison, write_study_comparison

    folders, networks = _studies_or_networks(names, workspace)
    if folders:
        path = write_study_comparison(folders, workspace)
        return {"report": str(path), "studies": [folder.name for folder in folders]}
    path = write_network_comparison(networks, workspace)
    return {"report": str(path), "networks": [architecture.hash for _, architecture in networks]}


def _study_folder(names: tuple[str, ...], workspace: Workspace) -> Path:
    """Return the folder of the only name, or of the latest study; raise UsageError if the name is of a network."""
    from harness.interface.lookup import is_hash_or_name
    from harness.studies.names import find_study, studies, study_folder

    if names and is_hash_or_name(names[0]) and find_study(names[0], workspace) is None:
        raise UsageError(f"{names[0]!r} is a network: a report requires a study, or 2 to {_MOST_COMPARED} networks")
    folder = study_folder(names[0] if names else None, workspace)
    if not names and len(studies(workspace)) > 1:
        say(f"latest study: {folder.name}")
    return folder


def _mirror(folder: Path, storage: str) -> None:
    """Update the copy of a study in a database."""
    from harness.studies.config import owned
    from harness.studies.log import read_state
    from harness.studies.mirror import Mirror

    study = read_state(folder)
    # ``owned`` fails if a search works on the study; that search updates the database itself.
    with (
        owned(folder),
        busy(f"writing {folder.name} to the database"),
        Mirror(folder.name, study.config, storage, say) as mirror,
    ):
        mirror.entries = study.entries
        if not mirror.finish(seconds=None):
            raise UsageError("cannot update the database of --storage; run the same command again to continue")


def _study_report(
    folder: Path, workspace: Workspace, *, watch: bool, opens_browser: bool, figures: bool, tables: bool
) -> dict[str, Any]:
    """Write the report of a study, with figures and tables."""
    from reports import study_facts, study_page

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
    return document


def _markdown(names: tuple[str, ...], workspace: Workspace) -> str:
    """Return the Markdown summary of a study, or of the comparison of several studies or networks."""
    from reports.comparison_page import network_comparison, read_networks, read_studies
    from reports.study_facts import read_study
    from reports.study_page import comparison_summary, study_summary

    if len(names) < 2:
        return study_summary(read_study(_study_folder(names, workspace), workspace))
    folders, networks = _studies_or_networks(names, workspace)
    if folders:
        return comparison_summary(read_studies(folders, workspace))
    return comparison_summary(network_comparison(read_networks(networks, workspace)))


def _studies_or_networks(
    names: tuple[str, ...], workspace: Workspace
) -> tuple[list[Path], list[tuple[str, Architecture]]]:
    """Return the folders of the studies, or the networks with names, that two to four names refer to.

    The list of studies or the list of networks is empty.

    Raises:
        UsageError: A name is unknown, studies and networks are mixed, or two names refer to the same study or network.
    """
    from harness.interface.lookup import is_hash_or_name, read_network
    from harness.studies.names import find_study, studies

    folders = {name: folder for name in names if (folder := find_study(name, workspace)) is not None}
    network_names = [name for name in names if name not in folders]
    for name in network_names:
        # The name has not the form of a hash, a name or the notation of a network.
        if re.fullmatch(r"[\w./-]+", name) and name != "-" and not is_hash_or_name(name):
            hint = nearest(name, [*studies(workspace), *PRESETS])
            raise UsageError(f"no study or network is named {name[:60]!r}", hint=hint)
    if folders and network_names:
        study_name = next(iter(folders))
        raise UsageError(f"{study_name!r} is a study and {network_names[0]!r} a network: these cannot be compared")
    networks = [read_network(name, workspace, MNIST) for name in network_names]
    if len({network.architecture.hash for network in networks} or {*folders.values()}) < len(names):
        raise UsageError("the same study or network is given twice")
    return list(folders.values()), [(network.name, network.architecture) for network in networks]
