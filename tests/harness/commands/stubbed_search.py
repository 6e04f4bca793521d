"""``harness search`` up to the training, which is a stub: for tests of its command line and of its ends."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.evidence.verify import Verdict
from harness.search import conclusion, loop
from harness.search.session import FolderLog
from reports.study import study_page
from tests.harness import logged

SEARCH = ("search", "--dataset", "mnist-5k", "--device", "cpu", "--workers", "1", "--space", "tiny")


def stub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train nothing and draw no report."""
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    monkeypatch.setattr(loop, "run_search", lambda *arguments: pytest.fail("a search was begun"))
    monkeypatch.setattr(study_page, "write_report", lambda folder, place: folder / "report.html")


def searched(monkeypatch: pytest.MonkeyPatch, verdict: Verdict | None = None, **ends: Any) -> None:
    """Put a session in place of a search, and what concludes it."""

    def end(folder: Path, *arguments: Any) -> Any:
        logged.note(folder, "session", 0.0, command=[], workers=1, device="cpu")
        logged.note(folder, ends.pop("event", "ended"), 90.0, **ends.pop("values", {"reason": "time"}))
        return SimpleNamespace(
            interrupted=ends.get("interrupted", False),
            candidates={},
            contenders=ends.get("contenders", {}),
            elapsed=90.0,
            log=FolderLog(folder),
        )

    monkeypatch.setattr(loop, "run_search", end)
    monkeypatch.setattr(conclusion, "conclude", lambda *arguments: verdict)


def typed(command: str) -> tuple[list[str], dict[str, str]]:
    """Return the words before the options of a command, and the options; their order says nothing."""
    words = shlex.split(command)
    return words[:2], dict(zip(words[2::2], words[3::2], strict=True))
