"""``harness studies``: list the studies below runs/, or remove a study."""

from __future__ import annotations

import shutil

import click

from harness.interface import options
from harness.system import files
from harness.system.terminal import Column, console, duration_text, show_table, write


@click.command(short_help="List the studies, or remove one.")
@click.option("--remove", metavar="STUDY", help="Remove this study; records of verified networks remain.")
@options.as_json
def studies(remove: str | None, as_json: bool) -> int:
    """List the studies below runs/, the latest last, with the target, time and result of each study."""
    from harness.interface.lookup import read_studies
    from harness.studies.config import owned
    from harness.studies.names import read_study

    workspace = files.workspace()
    if remove is not None:
        folder = read_study(remove, workspace)
        with owned(folder):
            shutil.rmtree(folder)
        options.answer(as_json, {"removed": str(folder)}, str(folder))
        return 0
    studies = read_studies(workspace)
    if as_json:
        documents = [
            {
                "study": study.folder.name,
                "dataset": study.config.dataset,
                "target_pct": study.config.target_pct,
                "seconds": round(study.seconds, 1),
                "trained": len(study.proposals),
                "hash": answer and answer.proposal.hash,
                "parameters": answer and answer.proposal.parameters,
                "tier": study.answer_tier or None,
            }
            for study, answer in ((study, study.answer) for study in studies)
        ]
        options.print_json({"studies": documents})
    elif not studies:
        write(f"no studies in {workspace.runs} yet", err=True)
    else:
        cells = []
        for study in studies:
            answer = study.answer
            size = "" if answer is None else f"{answer.proposal.parameters:,}"
            time = duration_text(study.seconds)
            networks = str(len(study.proposals))
            cells.append([study.folder.name, f"{study.config.target_pct:g}", time, networks, size, study.answer_tier])
        numbers = [Column(title, is_numeric=True) for title in ("target, %", "time", "trained", "parameters")]
        show_table(console(), cells, [""] * len(cells), [Column("study"), *numbers, Column("verdict")])
    return 0
