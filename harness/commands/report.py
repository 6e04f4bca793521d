"""``harness report``: write the page of a study, a comparison or all studies, and name it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.commands.shared import options
from harness.system.errors import UsageError, typed
from harness.system.files import Workspace, workspace
from harness.system.terminal import busy
from search_spaces.errors import nearest

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
@options.storage_option(help="Bring the study in this database up to date too; see docs/storage.md.")
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
    _check(names, given, storage)
    place = workspace()
    names = tuple(_study_of_path(name, place) for name in names)
    if given["everything"]:
        document = _index(place)
    elif given["markdown"]:
        return _say_markdown(names, place, as_json)
    elif len(names) > 1:
        document = _comparison(names, place)
    else:
        folder = _folder(place, names[0] if names else None)
        if storage is not None:
            _store(folder, storage)
        document = _study(folder, place, given)
    if given["opened"] and not given["watch"]:
        _open(Path(document["report"]))
    options.answer(as_json, document, "\n".join([document["report"], *document.get("files", [])]))
    return 0


def _study_of_path(name: str, place: Workspace) -> str:
    """Return the study whose folder, or report, a path names; other names stay as they are."""
    path = Path(name).resolve() if "/" in name else None
    if path is not None and path.name == "report.html":
        path = path.parent
    return path.name if path is not None and path.parent == place.runs.resolve() else name


def _check(names: tuple[str, ...], given: dict[str, bool], storage: str | None) -> None:
    """Refuse options that do not go together."""
    several = given["everything"] or len(names) > 1
    flags = {"all": "everything", "open": "opened", "watch": "watch", "figures": "figures", "tables": "tables"}
    asked = [flag for flag, name in flags.items() if given[name]]
    rules = (
        (len(names) > _MOST, f"{len(names)} names were given, but at most {_MOST} can be compared"),
        (given["everything"] and names, "--all is of all studies, so no name goes with it"),
        (several and {"watch", "figures", "tables"} & {*asked}, "--watch, --figures and --tables are of one study"),
        (storage is not None and (several or given["watch"] or given["markdown"]), "--storage is of one study's page"),
        (given["markdown"] and asked, f"--markdown prints and writes nothing, so --{''.join(asked[:1])} does not fit"),
    )
    for broken, message in rules:
        if broken:
            raise UsageError(message)


def _study(folder: Path, place: Workspace, given: dict[str, bool]) -> dict[str, Any]:
    """Write the report of a study and what else is asked for."""
    from harness.evidence.study import read_log
    from reports.study.study_files import lost_lines
    from reports.study.study_page import write_report

    path = folder / "report.html"
    if given["watch"]:
        _watch(folder, place, opened=given["opened"])
    else:
        events, damage = read_log(folder)
        options.say_left_out([*damage, *lost_lines(folder, events)])
        with busy(f"writing the report of {folder.name}"):
            path = write_report(folder, place)
    document: dict[str, Any] = {"report": str(path), "study": folder.name}
    if given["figures"] or given["tables"]:
        from reports.study.study_files import read_study
        from reports.study.study_info import study_info

        info, files = study_info(read_study(folder, place)), list[Path]()
        if given["figures"]:
            from reports.extracts import write_figures

            files += write_figures(info, folder / "figures")
        if given["tables"]:
            from reports.extracts import write_tables

            files += write_tables(info, folder)
        document["files"] = [str(file) for file in files]
    return document


def _store(folder: Path, url: str) -> None:
    """Write a study to a database.

    Raises:
        UsageError: the database cannot be used, or a search works on the study, which then keeps it there itself.
    """
    from harness.evidence.mirror import Mirror
    from harness.evidence.study import owned, read_config

    config = read_config(folder)
    with (
        owned(folder),
        busy(f"writing {folder.name} to the database"),
        Mirror(folder, config, url, lambda line: click.echo(line, err=True)) as mirror,
    ):
        if not mirror.finish(seconds=None):
            raise UsageError("the database of --storage could not be brought up to date; the same command goes on")


def _watch(folder: Path, place: Workspace, *, opened: bool) -> None:
    from harness.commands.shared.live_report import watch

    shown = False

    def on_written(path: Path) -> None:
        nonlocal shown
        if not shown:
            click.echo(f"watching {path}", err=True)
            if opened:
                _open(path)
        shown = True

    try:
        watch(folder, place, on_written)
    except KeyboardInterrupt:
        # The ordinary end of a watch; the search goes on, and rewrites its report by itself.
        click.echo("", err=True)


def _index(place: Workspace) -> dict[str, Any]:
    from reports.board import read_index, write_index, write_lacking_reports

    problems = []
    for name, problem in write_lacking_reports(place):
        if problem:
            problems.append(problem)
        else:
            click.echo(f"{name}: report written", err=True)
    found = read_index(place)
    # A study may be damaged for its report, for the index and for the standings.
    left_out = list(dict.fromkeys([*problems, *found.left_out]))
    options.say_left_out(left_out)
    return {"report": str(write_index(place, found)), "study": None, "left_out": left_out}


def _comparison(names: tuple[str, ...], place: Workspace) -> dict[str, Any]:
    from reports.comparison.comparison_page import write_network_comparison, write_study_comparison

    folders, networks = _compared(names, place)
    if folders:
        path = write_study_comparison(folders, place)
        return {"report": str(path), "studies": [folder.name for folder in folders]}
    path = write_network_comparison(networks, place)
    return {"report": str(path), "networks": [architecture.hash for _, architecture in networks]}


def _say_markdown(names: tuple[str, ...], place: Workspace, as_json: bool) -> int:
    from reports import extracts
    from reports.comparison.comparison_networks import network_comparison, read_networks
    from reports.comparison.comparison_page import read_studies
    from reports.study.study_files import read_study
    from reports.study.study_info import study_info

    if len(names) > 1:
        folders, networks = _compared(names, place)
        text = (
            extracts.studies_summary(read_studies(folders, place))
            if folders
            else extracts.networks_summary(network_comparison(read_networks(networks, place)))
        )
    else:
        folder = _folder(place, names[0] if names else None)
        text = extracts.study_summary(study_info(read_study(folder, place)))
    options.answer(as_json, {"markdown": text}, text.removesuffix("\n"))
    return 0


def _compared(names: tuple[str, ...], place: Workspace) -> tuple[list[Path], list[tuple[str, Architecture]]]:
    """Return the studies, or the networks, that two to four names mean.

    Raises:
        UsageError: an unknown name, one that was given twice, or studies and networks together.
    """
    from harness.commands.shared.network_argument import read_network
    from search_spaces.catalog import PRESETS
    from search_spaces.task import MNIST

    studies = _studies(place)
    listed = f"the studies are {', '.join(sorted(studies)) or 'none'}"
    known = [name for name in names if name in studies]
    if known and len(known) < len(names):
        raise UsageError(f"{known[0]!r} is a study; studies are compared with studies", hint=listed)
    for name in names if not known else ():
        if re.fullmatch(r"[\w.-]+", name) and name != "-" and not _is_of_network(name):
            hint = nearest(name, [*studies, *PRESETS]) or listed
            raise UsageError(f"no study and no network is called {name[:60]!r}", hint=hint)
    read = [read_network(name, place, MNIST) for name in names] if not known else []
    if len({given.architecture.hash for given in read} or {*names}) < len(names):
        raise UsageError("the same study or network is given twice")
    return [studies[name] for name in known], [(given.name, given.architecture) for given in read]


def _is_of_network(name: str) -> bool:
    """Return whether a word is a preset, or has the form of a network's hash or name."""
    from search_spaces.catalog import PATTERN, PRESETS

    return name in PRESETS or bool(re.fullmatch(r"[0-9a-f]{6,12}", name) or PATTERN.fullmatch(name))


def _open(path: Path) -> None:
    import webbrowser

    webbrowser.open(path.absolute().as_uri())


def _folder(place: Workspace, name: str | None) -> Path:
    """Return the folder of the study that is meant.

    Raises:
        UsageError: there is no study, or none of that name.
    """
    studies = _studies(place)
    if name is not None and name not in studies and _is_of_network(name):
        raise UsageError(f"{name!r} is a network: one report is of a study, or compares 2 to {_MOST} networks")
    if not studies:
        begin = typed("search", "--budget", "20000")
        raise UsageError(f"there is no study in {place.runs} yet", hint=f"{begin} begins one")
    if name is None:
        latest = max(studies.values(), key=_last_worked_on)
        if len(studies) > 1:
            click.echo(f"of {len(studies)} studies the latest: {latest.name}", err=True)
        return latest
    if place.study(name).name not in studies:
        known = ", ".join(sorted(studies))
        raise UsageError(f"no study {name!r} in {place.runs}; there are {known}", hint=nearest(name, studies))
    return studies[name]


def _studies(place: Workspace) -> dict[str, Path]:
    return {path.parent.name: path.parent for path in place.runs.glob("*/config.json")}


def _last_worked_on(folder: Path) -> tuple[float, str]:
    journal = folder / "log.jsonl"
    changed = journal if journal.exists() else folder / "config.json"
    return changed.stat().st_mtime, folder.name
