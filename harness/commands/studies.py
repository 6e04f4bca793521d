"""``harness studies``: list the studies below runs/, or remove a study or a group of studies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from harness.interface import options
from harness.system import files
from harness.system.terminal import Column, console, duration_text, say, show_table

if TYPE_CHECKING:
    from harness.studies.study_state import StudyState, StudyVerdict


@click.command(short_help="List the studies, or remove some.")
@click.option("--remove", metavar="STUDY", help="Remove this study or group; records of verified networks remain.")
@options.as_json
def studies(remove: str | None, as_json: bool) -> int:
    """List the studies below runs/, the latest last, with the target, time and result of each study.

    The studies of a SmallestClassifier, such as the folds of a cross-validation, are a group with the name of its
    argument 'study'. A group is one row of the list; --json lists all studies.
    """
    from harness.interface.lookup import read_studies
    from harness.searching.ending import read_endings
    from harness.studies.config import locked_folder
    from harness.studies.names import group_of, studies_of

    workspace = files.workspace()
    if remove is not None:
        folders = studies_of(remove, workspace)
        with ExitStack() as stack:
            # If a study is in use, the whole group is kept.
            for folder in folders:
                stack.enter_context(locked_folder(folder))
            for folder in folders:
                files.remove_folder(folder)
        paths = [str(folder) for folder in folders]
        options.print_result(as_json, {"removed": paths[0] if len(paths) == 1 else paths}, "\n".join(paths))
        return 0
    states = read_studies(workspace)
    endings = [each.standing for each in read_endings(states, workspace)]
    listed = list(zip(states, endings, strict=True))
    if as_json:
        options.print_json({"studies": [_document(*each) for each in listed]})
    elif not states:
        say(f"no studies in {workspace.runs} yet")
    else:
        groups: dict[str, list[tuple[StudyState, StudyVerdict]]] = {}
        for study, standing in listed:
            name = study.folder.name
            groups.setdefault(group_of(name, study.config.dataset) or name, []).append((study, standing))
        cells = [_row(name, members) for name, members in groups.items()]
        numbers = [Column(title, is_numeric=True) for title in ("target, %", "time", "trained", "parameters")]
        show_table(console(), cells, [""] * len(cells), [Column("study"), *numbers, Column("verdict")])
    return 0


def _document(study: StudyState, standing: StudyVerdict) -> dict[str, Any]:
    network = standing.network
    config = study.config
    document = {"study": study.folder.name, "dataset": config.dataset, "target_pct": config.target_pct}
    document |= {"seconds": round(study.seconds, 1), "trained": study.trained_count}
    document |= {field: None if network is None else getattr(network, field) for field in ("hash", "parameters")}
    return document | {"tier": standing.tier or None}


def _row(name: str, listed: Sequence[tuple[StudyState, StudyVerdict]]) -> list[str]:
    members = [study for study, _ in listed]
    sizes = [standing.network.parameters for _, standing in listed if standing.network is not None]
    verdicts = Counter(f"{each.outcome} ({each.tier})" if each.network else str(each.outcome) for _, each in listed)
    title = members[0].folder.name
    verdict = "".join(verdicts)
    if len(members) > 1:
        title = f"{name} ({len(members)} studies)"
        verdict = ", ".join(f"{count} {words}" for words, count in verdicts.items())
    targets = _range([study.config.target_pct for study in members])
    seconds = sum(study.seconds for study in members)
    trained_count = sum(study.trained_count for study in members)
    return [title, targets, duration_text(seconds), str(trained_count), _range(sizes), verdict]


def _range(values: Sequence[float]) -> str:
    return " to ".join(f"{value:,.12g}" for value in sorted({min(values), max(values)})) if values else ""
