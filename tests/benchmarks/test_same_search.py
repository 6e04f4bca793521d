"""Measured searches count for code that replays the same searches, and for no other."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import main_job, main_job_results, same_search
from benchmarks.main_job_results import Results, configuration_key
from harness.system.errors import UsageError
from tests.benchmarks.measured import how, outcome, search

OLD: dict[str, Any] = {"options": {"space": "all"}, "sources": {"a.py": "1"}}
NEW: dict[str, Any] = {"options": {"space": "all"}, "sources": {"b.py": "2"}}
HOW = how(replayed=3)


def results(configuration: dict[str, Any]) -> Results:
    found = search("short", 0, outcome(2_000), configuration=configuration_key(configuration))
    return Results(configurations={configuration_key(configuration): configuration}, searches=(found,))


def test_searches_of_the_older_code_count_for_the_present_one():
    made = same_search.carried(results(OLD), OLD["sources"], NEW, HOW)

    assert made.configurations == {configuration_key(NEW): NEW}
    assert [each.configuration for each in made.searches] == [configuration_key(NEW)]
    assert made.carried == (HOW,)


def test_searches_of_a_third_code_stay_what_they_are():
    other = {**OLD, "sources": {"c.py": "3"}}
    with pytest.raises(UsageError, match="no search"):
        same_search.carried(results(other), OLD["sources"], NEW, HOW)


def test_another_default_is_not_carried_over():
    changed = {**NEW, "options": {"space": "card"}}
    with pytest.raises(UsageError, match=r"options\.space: 'all' then, 'card' now"):
        same_search.carried(results(OLD), OLD["sources"], changed, HOW)


def test_an_option_that_the_older_code_had_not_is_no_other_default():
    changed = {**NEW, "options": {**NEW["options"], "minimise": "parameters"}}
    made = same_search.carried(results(OLD), OLD["sources"], changed, HOW)

    assert made.configurations == {configuration_key(changed): changed}


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results that were measured with the old code, and two checkouts that need not be asked."""
    path = tmp_path / "main-job.json"
    main_job_results.write(path, results(OLD))
    monkeypatch.setattr(main_job, "RESULTS", path)
    monkeypatch.setattr(same_search, "sources_of", lambda folder: OLD["sources"])
    monkeypatch.setattr(same_search, "defaults", lambda: NEW)
    monkeypatch.setattr(sys, "argv", ["same_search", str(tmp_path), "--carry"])
    return path


def test_equal_replays_are_noted_in_the_file(asked: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(same_search, "traces", lambda folder: ["a line", "another"])

    same_search.main()

    [noted] = main_job_results.read(asked).carried
    assert (noted.replayed, noted.equal) == (2, 2)
    assert (noted.old, noted.new) == (configuration_key(OLD), configuration_key(NEW))
    assert noted.files == ("a.py", "b.py")


def test_other_replays_carry_nothing(asked: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(same_search, "traces", lambda folder: ["a line", str(folder)])
    before = asked.read_bytes()

    with pytest.raises(SystemExit) as end:
        same_search.main()

    assert end.value.code == 1
    assert asked.read_bytes() == before


def test_nothing_is_carried_between_equal_codes(asked: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(same_search, "traces", lambda folder: ["a line"])
    monkeypatch.setattr(same_search, "defaults", lambda: OLD)

    with pytest.raises(UsageError, match="nothing to carry over"):
        same_search.main()


def test_no_replay_is_no_evidence(asked: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(same_search, "traces", lambda folder: [])

    with pytest.raises(SystemExit):
        same_search.main()


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A checkout whose searches choose the largest of their networks."""
    for name in ("harness", "search_spaces", "reports", "benchmarks/tables"):
        shutil.copytree(same_search.ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    race = tmp_path / "harness" / "search" / "race.py"
    text = race.read_text(encoding="utf-8")
    assert "CONFIDENCE = " in text
    race.write_text(re.sub(r"^CONFIDENCE = .*$", "CONFIDENCE = 0.01", text, flags=re.M), encoding="utf-8")
    return tmp_path


@pytest.mark.slow
def test_each_checkout_replays_the_searches_of_its_own_code(other: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(same_search, "METHODS", ("random",))
    monkeypatch.setenv("PYTHONPATH", os.devnull)

    ours, again, theirs = (
        same_search.traces(folder, repeats=1) for folder in (same_search.ROOT, same_search.ROOT, other)
    )

    assert len(ours) == 1
    assert ours == again
    assert ours != theirs
