from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.evidence import record
from harness.evidence.leaderboard import survey
from harness.system.files import Workspace
from harness.training.result import Status
from reports.board.index import read_index, state_of, write_index, write_lacking_reports
from reports.board.leaderboard_page import write_leaderboard
from reports.study import study_files
from reports.study.headline import Outcome
from tests.outline import checked
from tests.wording import lacking


def test_all_studies_are_listed_the_one_worked_on_last_first(
    realistic_study: Any, new_study: Any, place: Workspace, synthetic: Any
):
    old = new_study(name="old")
    old.finish(old.propose(synthetic.network(4, 5, 6)), None, status=Status.CRASHED)
    old.note("ended", reason="time")
    old.write()

    index = read_index(place)

    assert [item.info.name for item in index.studies] == [realistic_study.name, "old"]
    reached, missed = index.studies
    assert (reached.info.headline.outcome, missed.info.headline.outcome) == (Outcome.REACHED, Outcome.MISSED)
    assert reached.info.answer is not None
    assert reached.info.answer.parameters == next(
        event["parameters"] for event in realistic_study.events if event["event"] == "winner"
    )
    assert missed.info.answer is None
    assert index.standings[0].entries[0].row.hash == next(
        event["hash"] for event in realistic_study.events if event["event"] == "winner"
    )
    assert index.problem == ""


def test_a_report_is_linked_where_it_is(new_study: Any, place: Workspace):
    for name in ("with", "without", "odd #?&\"'%"):
        new_study(name=name).write()
    for name in ("with", "odd #?&\"'%"):
        (place.runs / name / "report.html").write_text("x")

    links = {item.info.name: item.link for item in read_index(place).studies}

    assert links == {
        "with": "with/report.html",
        "without": None,
        "odd #?&\"'%": "odd%20%23%3F%26%22%27%25/report.html",
    }


def test_a_study_that_cannot_be_read_is_named_and_stops_nothing(new_study: Any, place: Workspace):
    for name in ("good", "torn", "foreign"):
        new_study(name=name).write()
    (place.runs / "torn" / "config.json").write_text("{", encoding="utf-8")
    (place.runs / "foreign" / "results").mkdir()
    (place.runs / "foreign" / "results" / "trial-00000-search-0.json").write_text("[]", encoding="utf-8")

    index = read_index(place)
    page = checked(write_index(place, read_index(place)).read_text(encoding="utf-8"))

    assert [item.info.name for item in index.studies] == ["good"]
    assert [item.name for item in index.unreadable] == ["foreign", "torn"]
    assert index.problem == ""
    assert sorted(index.left_out) == sorted(item.why for item in index.unreadable)
    assert "Studies that cannot be read." in page.text("caption")
    assert "left-out" not in [attributes["id"] for attributes in page.all("section")]


@pytest.mark.parametrize(
    ("running", "seconds", "events", "state"),
    [
        (True, 2700.0, [], "Running: 28 of 45 min"),
        (True, None, [], "Running: 28 min 1 s"),
        (True, "soon", [], "Running: 28 min 1 s"),
        (False, 2700.0, [], "Interrupted after 28 min 1 s"),
        (False, None, [{"reason": "interrupted"}], "Interrupted after 28 min 1 s"),
        (False, None, [{"reason": "time"}], "Ended after 28 min 1 s"),
    ],
)
def test_a_study_says_how_far_its_search_has_come(
    running: bool, seconds: Any, events: list[Any], state: str, new_study: Any, place: Workspace
):
    study = new_study()
    study.events[-1]["seconds"] = seconds
    study.note("proposed", 28 * 60, trial=0)
    for event in events:
        study.note("ended", **event)

    files = study_files.read_study(study.write(), place)

    assert state_of(files, running=running) == state


def test_a_study_without_a_session_has_not_begun(new_study: Any, place: Workspace):
    study = new_study()
    study.events.clear()

    assert state_of(study_files.read_study(study.write(), place), running=False) == "Not begun"


def test_a_damaged_line_of_the_ledger_is_named(new_study: Any, place: Workspace):
    new_study(name="good").write()
    place.records.mkdir(exist_ok=True)
    place.ledger.write_text("[]\n", encoding="utf-8")

    page = checked(write_index(place, read_index(place)).read_text(encoding="utf-8"))

    assert [item.info.name for item in read_index(place).studies] == ["good"]
    assert f"the ledger {place.ledger}, line 1" in page.text()


def test_a_study_that_vanishes_while_it_is_read_is_named(new_study: Any, place: Workspace, monkeypatch: Any):
    folders = [new_study(name=name).write() for name in ("a", "b")]
    real = study_files.read_study

    def read(folder: Path, *rest: Any) -> Any:
        shutil.rmtree(folders[1], ignore_errors=True)
        return real(folder, *rest)

    monkeypatch.setattr("reports.board.index.read_study", read)

    found = read_index(place)

    assert [item.info.name for item in found.studies] == ["a"]
    assert [item.name for item in found.unreadable] == ["b"]


def test_the_page_lists_studies_and_standings(realistic_study: Any, place: Workspace):
    list(write_lacking_reports(place))

    path = write_index(place, read_index(place))

    link = f"{realistic_study.name}/report.html"
    page = checked(path.read_text(encoding="utf-8"), links=(link,))
    assert path == place.runs / "index.html"
    assert "1 study; targets reached: 1." in page.text("p")
    assert link in [attributes["href"] for attributes in page.all("a")]
    assert (path.parent / link).exists()
    assert [attributes["id"] for attributes in page.all("section")] == [
        "studies",
        "frontier",
        "standings",
        "mnist-99.4",
        "tiers",
        "rungs",
    ]
    assert "MNIST, 99.4 %" in page.text("h3")


def test_a_workspace_without_anything_has_pages_too(place: Workspace):
    place.runs.mkdir()

    index = checked(write_index(place, read_index(place)).read_text(encoding="utf-8"))
    standings = checked(write_leaderboard(place, survey(place)).read_text(encoding="utf-8"))

    assert "harness search --budget 20000" in index.text("p")
    assert "No row yet." in standings.text("p")


def test_the_leaderboard_is_a_page_of_all_rows_beside_its_csv(realistic_study: Any, place: Workspace):
    path = write_leaderboard(place, survey(place))

    page = checked(path.read_text(encoding="utf-8"))
    assert path == place.root / "leaderboard.html"
    rows = [entry.row for group in read_index(place).standings for entry in group.entries]
    assert len([row for row in page.all("tr") if row.get("class") == "fold"]) == len(rows) > 3
    for row in rows:
        assert row.hash[:6] in page.text("code")
        assert str(row.architecture) in page.text("bdi")
    assert "receptive field" in page.text("p"), "layers are drawn, and how to read them is said"


def test_the_seeds_of_a_row_say_how_many_reach_the_target(place: Workspace, synthetic: Any):
    record.write(place.records, synthetic.evidence(synthetic.network(4, 5, 6), [58, 59, 60, 61, 62, 30, 31]))

    text = write_leaderboard(place, survey(place)).read_text(encoding="utf-8")

    assert text.count(">5/7<") == 1


def test_a_row_at_the_target_is_marked_and_not_called_proven(place: Workspace, synthetic: Any):
    record.write(place.records, synthetic.evidence(synthetic.network(4, 5, 6), [57, 58, 59, 60, 61]))
    record.write(place.records, synthetic.evidence(synthetic.network(4, 5, 7), [50, 51, 52, 53, 54]))

    text = write_leaderboard(place, survey(place)).read_text(encoding="utf-8").replace("\N{NO-BREAK SPACE}", " ")

    assert lacking(text, "2 rows on MNIST", "99.4 %", "1 certified or verified") == []
    assert '<span class="tag">at the target</span>' in text
    assert '<span class="tag good">verified</span>' in text


def test_the_same_files_give_the_same_bytes(realistic_study: Any, place: Workspace):
    first = write_index(place, read_index(place)).read_bytes(), write_leaderboard(place, survey(place)).read_bytes()

    assert write_index(place, read_index(place)).read_bytes() == first[0]
    assert write_leaderboard(place, survey(place)).read_bytes() == first[1]


def test_reports_that_are_missing_or_outdated_are_written_and_no_others(new_study: Any, place: Workspace):
    for name in ("missing", "outdated", "current", "torn"):
        new_study(name=name).write()
    for name in ("outdated", "current"):
        report = place.runs / name / "report.html"
        report.write_text("before")
        later = 10_000_000_000
        os.utime(report, (later, later))
    os.utime(place.runs / "outdated" / "log.jsonl", (later + 1, later + 1))
    (place.runs / "torn" / "results").mkdir()
    (place.runs / "torn" / "results" / "trial-00000-search-0.json").write_text("[]", encoding="utf-8")

    done = dict(write_lacking_reports(place))

    assert set(done) == {"missing", "outdated", "torn"}
    assert (place.runs / "current" / "report.html").read_text() == "before"


def test_hostile_words_are_words(new_study: Any, place: Workspace, synthetic: Any):
    words = "<script>alert(1)<x onload=alert(2)>"
    study = new_study(name=words)
    document = json.loads((study.folder / "config.json").read_text(encoding="utf-8"))
    document["config"]["space"] = words
    (study.folder / "config.json").write_text(json.dumps(document), encoding="utf-8")
    study.verify(study.propose(synthetic.network(4, 5, 6)), [50, 51], name=words, recipe_name=words)
    study.write()

    page = checked(write_index(place, read_index(place)).read_text(encoding="utf-8"))

    assert len(page.all("script")) == 2, "those of the page itself"
    assert words in page.text("bdi")
