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
    from harness.studies.study_state import StudyState


@click.command(short_help="List the studies, or remove some.")
@click.option("--remove", metavar="STUDY", help="Remove this study or group; records of verified networks remain.")
@options.as_json
def studies(remove: str | None, as_json: bool) -> int:
    """List the studies below runs/, the latest last, with the target, time and result of each study.

    The studies of a SmallestClassifier, such as the folds of a cross-validation, are a group with the name of its
    argument 'study'. A group is one row of the list; --json lists all studies.
    """
    from harness.interface.lookup import read_studies
    from harness.studies.config import owned
    from harness.studies.names import group_of, studies_of

    workspace = files.workspace()
    if remove is not None:
        folders = studies_of(remove, workspace)
        with ExitStack() as stack:
            # Lock all studies before the first removal: if a study is in use, the whole group is kept.
            for folder in folders:
                stack.enter_context(owned(folder))
            for folder in folders:
                files.remove_folder(folder)
        paths = [str(folder) for folder in folders]
        options.print_result(as_json, {"removed": paths[0] if len(paths) == 1 else paths}, "\n".join(paths))
        return 0
    states = read_studies(workspace)
    if as_json:
        options.print_json({"studies": [_document(study) for study in states]})
    elif not states:
        say(f"no studies in {workspace.runs} yet")
    else:
        groups: dict[str, list[StudyState]] = {}
        for study in states:
            name = study.folder.name
            groups.setdefault(group_of(name, study.config.dataset) or name, []).append(study)
        cells = [_row(name, members) for name, members in groups.items()]
        numbers = [Column(title, is_numeric=True) for title in ("target, %", "time", "trained", "parameters")]
        show_table(console(), cells, [""] * len(cells), [Column("study"), *numbers, Column("verdict")])
    return 0


def _document(study: StudyState) -> dict[str, Any]:
    """Return a study as JSON values; network and tier are None without an answer."""
    answer = study.answer
    return {
        "study": study.folder.name,
        "dataset": study.config.dataset,
        "target_pct": study.config.target_pct,
        "seconds": round(study.seconds, 1),
        "trained": study.trained_count,
        "hash": None if answer is None else answer.proposal.hash,
        "parameters": None if answer is None else answer.proposal.parameters,
        "tier": study.answer_tier or None,
    }


def _row(name: str, members: Sequence[StudyState]) -> list[str]:
    """Return the cells of a study or of a group: sums of times and networks, and ranges of targets and parameters."""
    sizes = [study.answer.proposal.parameters for study in members if study.answer is not None]
    tiers = Counter(study.answer_tier for study in members if study.answer_tier)
    title = members[0].folder.name
    verdict = "".join(tiers)
    if len(members) > 1:
        title = f"{name} ({len(members)} studies)"
        verdict = ", ".join(f"{count} {tier}" for tier, count in tiers.items())
    return [
        title,
        _range([study.config.target_pct for study in members]),
        duration_text(sum(study.seconds for study in members)),
        str(sum(study.trained_count for study in members)),
        _range(sizes),
        verdict,
    ]


def _range(values: Sequence[float]) -> str:
    """Return the lowest and the highest value as text, once if both are equal; empty without values."""
    return " to ".join(f"{value:,.12g}" for value in sorted({min(values), max(values)})) if values else ""
