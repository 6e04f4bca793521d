"""The report of one study: one page that works offline, and reloads itself while its search goes on."""

from __future__ import annotations

from pathlib import Path

from harness.data.datasets import dataset
from harness.evidence.leaderboard import PROVEN, Tier
from harness.system import files
from harness.system.errors import typed
from harness.system.files import Workspace
from reports import layers, render
from reports.study.answer import TIERS, binomial_error
from reports.study.choices import FEWEST_NETWORKS
from reports.study.mistakes import image_uri
from reports.study.networks import MOST_NAMED, State, accuracy_words
from reports.study.study_charts import networks_rows, study_charts
from reports.study.study_files import read_study
from reports.study.study_info import StudyInfo, study_info
from search_spaces.cost import stored_numbers
from search_spaces.ops import op_text
from search_spaces.space import OBJECTIVES, Metric
from search_spaces.task import shape_text

_RELOAD_SECONDS = 10
# So long after somebody's last touch the page waits.
_QUIET_SECONDS = 5
# An image takes about 400 bytes of the page.
_MOST_PICTURES, _MOST_KERNELS = 24, 64


def write_report(folder: Path, workspace: Workspace, *, live: bool = False) -> Path:
    """Write the report of the study in ``folder`` and return its path.

    Args:
        folder: of the study.
        workspace: that it belongs to.
        live: the page reloads itself, because its search goes on.

    Raises:
        ContentError: there is no study, or one of its files or the ledger does not hold together.
        UsageError: the folder cannot be written.
    """
    path = folder / "report.html"
    files.write_text(path, page(study_info(read_study(folder, workspace)), live=live))
    return path


def page(info: StudyInfo, *, live: bool = False) -> str:
    """Return the page of a study."""
    config, closer = info.config, info.closer
    data = dataset(config.dataset)
    unit = OBJECTIVES[config.minimise]
    row = info.answer.row if info.answer else None
    network = closer.network if closer else None
    ranges = [("parameters", "smallest", "largest"), ("validation, %", "least", "most")]
    if config.minimise is not Metric.PARAMETERS:
        ranges.insert(0, (unit, "least_macs", "most_macs"))
    present = {item.state for item in info.networks}
    found = closer.mistakes if closer else None
    confused = found.confusion if found and found.confusion else ()
    cells = [value for label, line in enumerate(confused) for said, value in enumerate(line) if said != label]
    return render.page(
        "study.html",
        charts=study_charts(info),
        styles=["study/study.css"],
        scripts=["study/study.js", *(["study/live.js"] if live else [])],
        datasets={"networks": networks_rows(info)},
        data={"study": info.name, "verify": typed("verify"), "remarks": _remarks(info)},
        info=info,
        config=config,
        dataset=data,
        live=live,
        reload_seconds=_RELOAD_SECONDS,
        quiet_seconds=_QUIET_SECONDS,
        unit=unit,
        row=row,
        cost=network.cost if network else info.answer.parameters if info.answer else None,
        offset=config.threshold_pct - config.target_pct,
        noise=binomial_error(config.target_pct, data.test_size),
        many=len(info.networks) >= FEWEST_NETWORKS,
        pictures=[item for item in found.mistakes if item.pixels is not None][:_MOST_PICTURES] if found else [],
        most_confused=max(cells, default=0),
        columns=[f"#{label}" for label in range(len(confused))],
        states=[state for state in State if state in present],
        ranges=ranges,
        most_named=MOST_NAMED,
        tier_kinds={tier: "good filled" if tier is Tier.CERTIFIED else "good" for tier in PROVEN},
        tiers=TIERS,
        accuracy_words=accuracy_words,
        thumbnail=lambda item: layers.thumbnail(item.architecture, data.task),
        strip=layers.strip(closer.analysis) if closer and closer.analysis else "",
        stored=stored_numbers(network.architecture, data.task) if network else None,
        op_text=op_text,
        shape_text=shape_text,
        image_uri=image_uri,
        kernels=_kernels(info),
        provenance=[
            ("facts", "Code, machine and data behind the results", info.provenance.facts),
            (
                "settings",
                "Configuration, with the origin of each value",
                [(item.name, f"{item.value} ({item.origin})") for item in info.provenance.settings],
            ),
            ("recipe", "Training recipe of the search", info.provenance.recipe),
        ],
    )


def _remarks(info: StudyInfo) -> dict[str, str]:
    """Return what is to be said of single networks, by their number."""
    return {str(number): network.remark for number, network in enumerate(info.networks) if network.remark}


def _kernels(info: StudyInfo) -> list[tuple[str, str]]:
    """Return the first kernels of the answer as images, each with its numbers in words."""
    inspection = info.closer.kernels if info.closer else None
    if inspection is None:
        return []
    largest = max((abs(value) for kernel in inspection.kernels for value in kernel), default=0.0) or 1.0
    edge, found = inspection.kernel_edge, []
    for number, kernel in enumerate(inspection.kernels[:_MOST_KERNELS], start=1):
        pixels = bytes(round(127.5 + 127.5 * (value / largest)) for value in kernel)
        words = ", ".join(f"{value:.2f}" for value in kernel)
        found.append((image_uri(pixels, (edge, edge)), f"kernel {number}: {words}"))
    return found
