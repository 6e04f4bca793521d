"""The report of a search that goes on: the same page, which reloads itself.

The page of a search that is over has no such script, so that the last one written stops the reloading.
"""

from __future__ import annotations

import re
from pathlib import Path

from harness.system import files
from harness.system.workspace import Workspace
from reports.html.page import Html, element, joined, text
from reports.html.page_script import with_script
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
    files.write_text(path, reloading(render(info), time_bar(info.progress)))
    return path


def reloading(page: str, time: Html | None = None) -> str:
    """Return a page with the script that reloads it, which the page's policy then allows.

    ``time`` is what the bar at its top says of the search's time.
    """
    page = re.sub("<body[^>]*>", lambda found: found[0] + _bar(time or Html("")), page, count=1)
    return with_script(page, "study/live.js")


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
