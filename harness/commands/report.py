"""``harness report``: write the page of a study, a comparison or all studies, and name it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness import options
from harness.system.errors import UsageError
from harness.system.files import Workspace, workspace
from harness.system.terminal import busy, say

if TYPE_CHECKING:
    from search_spaces.network import Architecture

_MOST = 4


@click.command(short_help="Write the report of a study, or compare several.")
@click.argument("names", metavar="[STUDY [OTHER]...]", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="An index of all studies, with the leaderboard.")
@click.option("--watch", is_flag=True, help="Keep the report current while the study's search goes on.")
@click.option("--open", "opened", is_flag=True, help="Show the page in the browser.")
@click.option("--figures", is_flag=True, help="Write the study's figures too, as SVG and PNG.")
@click.option("--tables", is_flag=True, help="Write the study's networks too, as CSV and JSON.")
@click.option("--markdown", is_flag=True, help="Print a summary for a pull request; write nothing.")
@options.option("storage", help="Bring the study in this database up to date too; see docs/storage.md.")
@options.as_json
def report(names: tuple[str, ...], as_json: bool, storage: str | None, **given: bool) -> int:
    """Write the report of STUDY, one HTML file that works offline, and print its path.

    STUDY is a name, or the path of a study's folder or report; without it, the latest study. Two to four studies, or
    two to four networks (presets, hashes, names, the notation in quotes, or @FILE), are compared side by side.

    A search rewrites its own report while it runs, and the page reloads itself. --watch rewrites it whenever there is
    something new, and ends with the search. --all writes missing and outdated reports, and runs/index.html. --figures
    and --tables write files beside the report.

    \b
    harness report --open
    harness report --watch --open
    harness report mnist-card-20000-2f6e01 mnist-tiny-5000-77ab12
    harness report seed1 seed4 anchor3762
    harness report --markdown | gh pr create --body-file -
    """
    several = given["everything"] or len(names) > 1
    asked = [flag for flag in ("everything", "opened", "watch", "figures", "tables") if given[flag]]
    for broken, message in (
        (len(names) > _MOST, f"{len(names)} names were given, but at most {_MOST} can be compared"),
        (given["everything"] and names, "--all is of all studies, so no name goes with it"),
        (several and {"watch", "figures", "tables"} & {*asked}, "--watch, --figures and --tables are of one study"),
        (storage is not None and (several or given["watch"] or given["markdown"]), "--storage is of one study's page"),
        (given["markdown"] and asked, "--markdown prints and writes nothing: no other option goes with it"),
    ):
        if broken:
            raise UsageError(message)
    place = workspace()
    if given["markdown"]:
        text = _markdown(names, place)
        options.answer(as_json, {"markdown": text}, text.removesuffix("\n"))
        return 0
    if given["everything"]:
        document = _index(place)
    elif len(names) > 1:
        document = _comparison(names, place)
    else:
        document = _study(_one(names, place), place, storage, given)
    if given["opened"] and not given["watch"]:
        _open(document["report"])
    options.answer(as_json, document, "\n".join([document["report"], *document.get("files", [])]))
    return 0


def _open(path: str | Path) -> None:
    import webbrowser

    webbrowser.open(Path(path).absolute().as_uri())


def _one(names: tuple[str, ...], place: Workspace) -> Path:
    from harness.networks import find_study, is_short, read_study, studies

    if names and is_short(names[0]) and find_study(names[0], place) is None:
        raise UsageError(f"{names[0]!r} is a network: one report is of a study, or compares 2 to {_MOST} networks")
    folder = read_study(names[0] if names else None, place)
    if not names and len(studies(place)) > 1:
        say(f"the latest study: {folder.name}")
    return folder


def _study(folder: Path, place: Workspace, storage: str | None, given: dict[str, bool]) -> dict[str, Any]:
    """Write the report of a study and what else is asked for."""
    from reports.study_facts import read_study
    from reports.study_page import write_report

    if storage is not None:
        _store(folder, storage)
    path = folder / "report.html"
    if given["watch"]:
        from harness.shown_search import watch

        say(f"watching {path}")
        if given["opened"]:
            _open(path)
        watch(folder, place)
    else:
        with busy(f"writing the report of {folder.name}"):
            path = write_report(folder, place)
    document: dict[str, Any] = {"report": str(path), "study": folder.name}
    if given["figures"] or given["tables"]:
        from reports.study_page import write_figures, write_tables

        info = read_study(folder, place)
        files = write_figures(info, folder / "figures") if given["figures"] else []
        files += write_tables(info, folder) if given["tables"] else []
        document["files"] = [str(file) for file in files]
    return document


def _store(folder: Path, url: str) -> None:
    """Write a study to a database.

    Raises:
        UsageError: the database cannot be used, or a search works on the study, which then keeps it there itself.
    """
    from harness.evidence.mirror import Mirror
    from harness.evidence.study import Study, owned

    study, words = Study.read(folder), f"writing {folder.name} to the database"
    with owned(folder), busy(words), Mirror(folder.name, study.config, url, say) as mirror:
        mirror.entries = study.entries
        if not mirror.finish(seconds=None):
            raise UsageError("the database of --storage could not be brought up to date; the same command goes on")


def _index(place: Workspace) -> dict[str, Any]:
    from reports.board import read_index, write_index, write_lacking_reports

    problems = []
    for name, problem in write_lacking_reports(place):
        problems += [problem] if problem else []
        if not problem:
            say(f"{name}: report written")
    found = read_index(place)
    # A study may be damaged for its report, for the index and for the standings.
    left_out = list(dict.fromkeys([*problems, *found.left_out]))
    options.say_left_out(left_out)
    return {"report": str(write_index(place, found)), "study": None, "left_out": left_out}


def _comparison(names: tuple[str, ...], place: Workspace) -> dict[str, Any]:
    from reports.comparison import write_network_comparison, write_study_comparison

    folders, networks = _compared(names, place)
    if folders:
        path = write_study_comparison(folders, place)
        return {"report": str(path), "studies": [folder.name for folder in folders]}
    path = write_network_comparison(networks, place)
    return {"report": str(path), "networks": [architecture.hash for _, architecture in networks]}


def _markdown(names: tuple[str, ...], place: Workspace) -> str:
    from reports import study_page
    from reports.comparison import network_comparison, read_networks, read_studies
    from reports.study_facts import read_study

    if len(names) < 2:
        return study_page.study_summary(read_study(_one(names, place), place))
    folders, networks = _compared(names, place)
    facts = read_studies(folders, place) if folders else network_comparison(read_networks(networks, place))
    return study_page.comparison_summary(facts)


def _compared(names: tuple[str, ...], place: Workspace) -> tuple[list[Path], list[tuple[str, Architecture]]]:
    """Return the studies, or the networks, that two to four names mean.

    Raises:
        UsageError: an unknown name, one that was given twice, or studies and networks together.
    """
    from harness.networks import find_study, is_short, read_network, studies
    from search_spaces.catalog import PRESETS
    from search_spaces.errors import nearest
    from search_spaces.network import MNIST

    folders = {name: folder for name in names if (folder := find_study(name, place)) is not None}
    others = [name for name in names if name not in folders]
    for name in others:
        if re.fullmatch(r"[\w./-]+", name) and name != "-" and not is_short(name):
            hint = nearest(name, [*studies(place), *PRESETS])
            raise UsageError(f"no study and no network is called {name[:60]!r}", hint=hint)
    if folders and others:
        raise UsageError(f"{next(iter(folders))!r} is a study and {others[0]!r} a network: compare one kind")
    read = [read_network(name, place, MNIST) for name in others]
    if len({given.architecture.hash for given in read} or {*folders.values()}) < len(names):
        raise UsageError("the same study or network is given twice")
    return list(folders.values()), [(given.name, given.architecture) for given in read]
