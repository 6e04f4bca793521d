"""The report of a search that goes on: the same page, which reloads itself.

The page of a search that is over has no such script, so that the last one written stops the reloading.
"""

from __future__ import annotations

from pathlib import Path

from harness.system import files
from harness.system.files import Workspace
from reports.html.page import Html, element, joined, resource, text
from reports.study.progress import time_bar
from reports.study.study_files import read_study
from reports.study.study_info import study_info
from reports.study.study_page import render

RELOAD_SECONDS = 15
# So long after somebody's last touch the page waits.
QUIET_SECONDS = 5


def write_live_report(folder: Path, workspace: Workspace) -> Path:
    """Write the report of the study in ``folder`` as a page that reloads itself, and return its path.

    Raises:
        ContentError: there is no study, or a file of the study or the workspace does not hold together.
        UsageError: the folder cannot be written.
    """
    path = folder / "report.html"
    info = study_info(read_study(folder, workspace))
    files.write_text(path, render(info, _bar(time_bar(info.progress)), [resource("study/live.js")]))
    return path


def _bar(time: Html) -> Html:
    words = "The search goes on; reload this page to see what is new."
    return element(
        "aside",
        joined(
            [
                time,
                element("span", text(words), id="live-words"),
                element("button", text("Pause"), type="button", id="live-button", hidden="hidden"),
            ],
            " ",
        ),
        id="live",
        aria_label="Live report",
        data_seconds=RELOAD_SECONDS,
        data_quiet=QUIET_SECONDS,
    )
