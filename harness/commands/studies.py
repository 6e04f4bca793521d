"""``harness studies``: the studies below runs/."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import click

from harness.interface import options
from harness.system import files
from harness.system.terminal import console, duration_text, show_table

if TYPE_CHECKING:
    pass


@click.command(short_help="List the studies, or remove one.")
@click.option("--remove", metavar="STUDY", help="Remove this study; what was verified stays on record.")
@options.as_json
def studies(remove: str | None, as_json: bool) -> int:
    """List the studies below runs/, the latest at the end: what each searched for, and what it found."""
    from harness.interface import lookup
    from harness.studies.config import owned
    from harness.studies.events import Confirmed
    from harness.studies.log import read_state

    workspace = files.workspace()
    if remove is not None:
        folder = lookup.read_study(remove, workspace)
        with owned(folder):
            shutil.rmtree(folder)
        options.answer(as_json, {"removed": str(folder)}, str(folder))
        return 0
    studies = [read_state(folder) for folder in lookup.studies(workspace).values()]
    answers = [[each.event.parameters for each in study.of_kind(Confirmed)][-1:] for study in studies]
    verdicts = [[verdict.passed for verdict in study.verdicts.values()][-1:] for study in studies]
    if as_json:
        documents = [
            {
                "study": study.folder.name,
                "dataset": study.config.dataset,
                "target_pct": study.config.target_pct,
                "seconds": round(study.seconds, 1),
                "trained": len(study.proposals),
                "confirmed_parameters": answer[0] if answer else None,
                "passed": verdict[0] if verdict else None,
            }
            for study, answer, verdict in zip(studies, answers, verdicts, strict=True)
        ]
        options.print_json({"studies": documents})
    elif not studies:
        click.echo(f"no studies in {workspace.runs} yet", err=True)
    else:
        words = {True: "verified", False: "missed", None: ""}
        cells = [
            [study.folder.name, f"{study.config.target_pct:g}", duration_text(study.seconds), str(len(study.proposals)),
             "".join(map("{:,}".format, answer)), "".join(words[each] for each in verdict)]
            for study, answer, verdict in zip(studies, answers, verdicts, strict=True)
        ]  # fmt: skip
        titles = [("study", False), ("target, %", True), ("time", True), ("trained", True), ("parameters", True)]
        show_table(console(), cells, [""] * len(cells), [*titles, ("verdict", False)])
    return 0
