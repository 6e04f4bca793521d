"""The comparison of two to four networks, or two to four studies, on one page."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.evidence.leaderboard import VERIFIED_SEEDS
from harness.system import files, statistics
from harness.system.errors import typed
from harness.system.files import Workspace
from reports import charts
from reports.comparison.comparison import ratio_text
from reports.comparison.comparison_networks import NetworkComparison, NetworkSide, network_comparison, read_networks
from reports.comparison.comparison_studies import StudyComparison, study_comparison
from reports.layers import thumbnail
from reports.render import page
from reports.study.mistakes import image_uri
from reports.study.study_files import read_standings, read_study
from reports.study.study_info import StudyInfo, study_info
from search_spaces.network import Architecture
from search_spaces.ops import BatchNorm, Conv, Linear, Op, op_text
from search_spaces.task import shape_text

_MOST_PICTURES = 60


def write_network_comparison(named: Sequence[tuple[str, Architecture]], workspace: Workspace) -> Path:
    """Write the comparison of some networks, each given with a name that may be empty, and return its path.

    Raises:
        ContentError: a record, the ledger or a study does not hold together.
        UsageError: the folder cannot be written.
    """
    facts = network_comparison(read_networks(named, workspace))
    path = workspace.runs / _file_name([architecture.hash for _, architecture in named])
    made = _network_charts(facts.sides)
    files.write_text(path, _page("comparison.html", made, facts=facts, studies=None))
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
    made = {"fronts": _fronts(studies.infos), "budgets": _budgets(studies.infos)}
    made |= _network_charts(answers.sides) if answers else {}
    files.write_text(path, _page("comparison.html", made, facts=answers, studies=studies))
    return path


def read_studies(folders: Sequence[Path], workspace: Workspace) -> StudyComparison:
    """Return the facts of a comparison of studies.

    Raises:
        ContentError: a file of a study or the workspace does not hold together.
    """
    standings = read_standings(workspace)
    return study_comparison([study_info(read_study(folder, workspace, standings)) for folder in folders])


def _file_name(names: Sequence[str]) -> str:
    """Return what the page of a comparison is called; long and odd names are cut, and told apart by a digest."""
    plain = "-".join(re.sub(r"[^\w.-]", "_", name, flags=re.ASCII) for name in names)
    if len(plain) <= 120 and plain == "-".join(names):
        return f"comparison-{plain}.html"
    digest = hashlib.sha256("\0".join(names).encode(errors="surrogatepass")).hexdigest()[:12]
    return f"comparison-{plain[:80]}-{digest}.html"


def _page(template: str, made: dict[str, Any], **facts: Any) -> str:
    return page(
        template,
        charts={name: chart for name, chart in made.items() if chart is not None},
        styles=["comparison/comparison.css"],
        ratio_text=ratio_text,
        thumbnail=lambda side: thumbnail(side.architecture, side.analysis.task),
        op_text=op_text,
        shape_text=shape_text,
        verify=_verify,
        image_uri=image_uri,
        most=_MOST_PICTURES,
        **facts,
    )


def _verify(side: NetworkSide) -> str:
    if side.row:
        return typed("verify", side.architecture.hash, "--seeds", str(side.row.seeds))
    return typed("verify", str(side.architecture), "--seeds", str(VERIFIED_SEEDS))


def _answers(infos: Sequence[StudyInfo], workspace: Workspace) -> NetworkComparison | None:
    """Return the comparison of the studies' answers, None where fewer than two differ."""
    found: dict[str, str] = {}
    for info in infos:
        if info.answer is not None:
            found.setdefault(info.answer.hash, info.name)
    known = {network.hash: network.architecture for info in infos for network in info.networks}
    named = [(name, known[key]) for key, name in found.items() if key in known]
    return network_comparison(read_networks(named, workspace)) if len(named) > 1 else None


def _network_charts(sides: Sequence[NetworkSide]) -> dict[str, Any]:
    seeds = [
        {"network": side.name, "seed": run, "accuracy": value}
        for side in sides
        for run, value in enumerate(side.test_pct)
    ]
    parts = [
        {
            "network": side.name,
            "op": op_text(layer.op),
            "kind": _kind(layer.op),
            "parameters": layer.parameters,
            "at": at,
        }
        for side in sides
        for at, layer in enumerate(side.analysis.layers)
        if layer.parameters
    ]
    names = [side.name for side in sides]
    means = []
    for side in sides:
        if side.test_pct:
            mean = statistics.mean(side.test_pct)
            low, high = statistics.interval(side.test_pct, 0.95) if len(side.test_pct) > 1 else (mean, mean)
            means.append({"network": side.name, "mean": mean, "low": low, "high": high})
    targets = sorted({side.row.target_pct for side in sides if side.row})
    return {"seeds": charts.seeds_side_by_side(seeds, means, targets), "parameters": charts.parts(parts, names)}


def _kind(op: Op) -> str:
    match op:
        case Conv(kernel_size=1):
            return "1x1 convolution"
        case BatchNorm():
            return "batch normalisation"
        case Linear():
            return "linear"
        case _:  # A residual sum is drawn as what it mostly holds.
            return "convolution with a window"


def _fronts(infos: Sequence[StudyInfo]) -> Any:
    units = {info.picture.unit for info in infos}
    if len(units) > 1:
        return None  # no axis can show both
    rows = [
        {"study": info.name, "network": point.label, "cost": point.cost, "accuracy": point.accuracy_pct}
        for info in infos
        for point in info.picture.front
    ]
    thresholds = sorted({info.config.threshold_pct for info in infos})
    return charts.fronts(rows, [info.name for info in infos], thresholds, units.pop())


def _budgets(infos: Sequence[StudyInfo]) -> Any:
    units = {info.picture.unit for info in infos}
    if len(units) > 1 or max(info.budget.elapsed for info in infos) <= 0:
        return None
    rows = [
        {"study": info.name, "minutes": seconds / 60, "budget": size}
        for info in infos
        for seconds, size in (
            (0.0, info.budget.first),
            *((trial.elapsed, trial.budget) for trial in info.budget.trials),
            (info.budget.elapsed, info.budget.last),
        )
        if size > 0
    ]
    return charts.budgets(rows, [info.name for info in infos])
