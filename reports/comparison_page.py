"""The comparison of two to four networks, or two to four studies, on one page."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from harness.evidence.leaderboard import VERIFIED_SEEDS
from harness.system import files
from harness.system.errors import typed
from harness.system.files import Workspace
from reports import charts
from reports.answer import commands
from reports.comparison import NetworkSide, network_comparison, read_networks, study_comparison
from reports.render import page
from reports.study_facts import StudyFacts, read_standings, read_study
from search_spaces.network import Architecture


def write_network_comparison(given: Sequence[tuple[str, Architecture]], workspace: Workspace) -> Path:
    """Write the comparison of some networks, each given with a name that may be empty, and return its path.

    Raises:
        ContentError: a record, the ledger or a study does not hold together.
        UsageError: the folder cannot be written.
    """
    facts = network_comparison(read_networks(given, workspace))
    path = workspace.runs / _file_name([architecture.hash for _, architecture in given])
    files.write_text(path, _page({}, facts, None))
    return path


def write_study_comparison(folders: Sequence[Path], workspace: Workspace) -> Path:
    """Write the comparison of the studies in some folders, with that of their answers, and return its path.

    Raises:
        ContentError: a file of a study or the workspace does not hold together.
        UsageError: the folder cannot be written.
    """
    path = workspace.runs / _file_name([folder.name for folder in folders])
    studies = read_studies(folders, workspace)
    answers = _answers(studies.infos, workspace)
    files.write_text(path, _page(charts.studies_charts(studies.infos), answers, studies))
    return path


def read_studies(folders: Sequence[Path], workspace: Workspace) -> SimpleNamespace:
    """Return the facts of a comparison of studies.

    Raises:
        ContentError: a file of a study or the workspace does not hold together.
    """
    standings = read_standings(workspace)
    return study_comparison([read_study(folder, workspace, standings) for folder in folders])


def _file_name(names: Sequence[str]) -> str:
    """Return what the page of a comparison is called; long and odd names are cut, and told apart by a digest."""
    plain = "-".join(re.sub(r"[^\w.-]", "_", name, flags=re.ASCII) for name in names)
    if len(plain) <= 120 and plain == "-".join(names):
        return f"comparison-{plain}.html"
    digest = hashlib.sha256("\0".join(names).encode(errors="surrogatepass")).hexdigest()[:12]
    return f"comparison-{plain[:80]}-{digest}.html"


def _page(made: dict[str, Any], facts: SimpleNamespace | None, studies: SimpleNamespace | None) -> str:
    if facts:
        made |= {"seeds": charts.seeds_side_by_side(facts.sides), "parameters": charts.parameters_by_op(facts.sides)}
    return page(
        "comparison.html",
        charts=made,
        styles=["comparison.css"],
        facts=facts,
        studies=studies,
        commands=commands,
        verify=_verify,
    )


def _verify(side: NetworkSide) -> str:
    if side.row:
        return typed("verify", side.architecture.hash, "--seeds", str(side.row.seeds))
    return typed("verify", str(side.architecture), "--seeds", str(VERIFIED_SEEDS))


def _answers(infos: Sequence[StudyFacts], workspace: Workspace) -> SimpleNamespace | None:
    """Return the comparison of the studies' answers, None where fewer than two differ."""
    found = {info.network.hash: (info.name, info.network.architecture) for info in reversed(infos) if info.network}
    return network_comparison(read_networks([*found.values()][::-1], workspace)) if len(found) > 1 else None
