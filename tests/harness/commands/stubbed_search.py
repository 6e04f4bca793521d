"""``harness search`` up to the training, which is a stub: for tests of its command line and of its ends."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from harness.evidence.events import SessionBegan, SessionEnded
from harness.evidence.verify import Verdict
from harness.search import finish, loop
from harness.search.state import Search
from reports import study_page

SEARCH = ("search", "--dataset", "mnist-5k", "--device", "cpu", "--workers", "1", "--space", "tiny")


def stub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train nothing and draw no report."""
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    monkeypatch.setattr(loop, "run_search", lambda *arguments: pytest.fail("a search was begun"))
    monkeypatch.setattr(study_page, "write_report", lambda folder, place, study=None: folder / "report.html")


def searched(monkeypatch: pytest.MonkeyPatch, verdict: Verdict | None = None, **ends: Any) -> None:
    """Put a search that ends at once in place of one that trains, and what concludes it."""

    def end(search: Search, command: list[str]) -> None:
        search.add(SessionBegan(workers=1, device="cpu"))
        search.before += 90.0
        search.interrupted = ends.get("interrupted", False)
        search.contenders = ends.get("contenders", {})
        search.add(ends.get("event", SessionEnded(reason="time")))

    monkeypatch.setattr(loop, "run_search", end)
    monkeypatch.setattr(finish, "conclude", lambda *arguments: verdict)


def typed(command: str) -> tuple[list[str], dict[str, str]]:
    """Return the words before the options of a command, and the options; their order says nothing."""
    words = shlex.split(command)
    return words[:2], dict(zip(words[2::2], words[3::2], strict=True))
