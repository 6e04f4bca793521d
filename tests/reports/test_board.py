from __future__ import annotations

import json
import os
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.evidence import record
from harness.evidence.leaderboard import survey
from harness.networks import only_row, read_network
from harness.system.files import Workspace
from harness.training.recipe import Recipe
from harness.training.result import Status
from reports import board
from reports.board import Group, _state_of, groups, read_index, write_index, write_lacking_reports, write_leaderboard
from reports.study import study_files
from search_spaces.task import MNIST
from tests.outline import checked


def made_of(place: Workspace, *evidence: Any) -> tuple[Group, ...]:
    for made in evidence:
        record.write(place.records, made)
    found = survey(place)
    return groups(found.rows, found.records, [made.key for made in evidence[:1]])


def test_the_default_target_comes_first_and_other_data_sets_last(place: Workspace, synthetic: Any):
    networks = [synthetic.network(4, 5, size) for size in (6, 7, 8)]
    made = made_of(
        place,
        synthetic.evidence(networks[0], [30] * 5, target_pct=99.6),
        synthetic.evidence(networks[1], [50] * 5),
        synthetic.evidence(networks[1], [50] * 5, target_pct=99.0),
        replace(synthetic.evidence(networks[2], [50] * 5), dataset="fashion-mnist"),
    )

    assert [group.anchor for group in made] == ["mnist-99.4", "mnist-99.6", "mnist-99", "fashion-mnist-99.4"]
    assert len({entry.name for group in made for entry in group.entries if entry.row.hash == networks[1].hash}) == 1


def test_the_chart_joins_the_smallest_proven_network_of_each_target(place: Workspace, synthetic: Any):
    made = made_of(
        place,
        *(
            synthetic.evidence(synthetic.network(4, 5, size), [errors] * 5, target_pct=target)
            for size, errors, target in ((6, 80, 99.0), (7, 61, 99.4), (8, 50, 99.4), (10, 30, 99.6), (12, 55, 99.4))
        ),
    )

    rows, target_pct = board._frontier_rows(made)

    assert target_pct == 99.4
    assert [(row["best"], row["target"]) for row in rows[:3]] == [(True, 99.4), (True, 99.6), (True, 99.0)]
    assert [row["best"] for row in rows[3:]] == [False, False]
    assert made[0].proven[0].row.architecture == synthetic.network(4, 5, 8)
    # What a command at hand is: the weights of the first record are kept.
    by_size = {entry.row.parameters: entry for group in made for entry in group.entries}
    firsts = [by_size[size].commands[0][0].split()[1] for size in sorted(by_size)]
    assert firsts == ["evaluate", "verify", "verify", "verify", "verify"]


def test_commands_mean_the_very_row_they_stand_in(place: Workspace, synthetic: Any):
    network = synthetic.network(4, 5, 6)
    first = synthetic.evidence(network, [50] * 5)
    longer = replace(Recipe(), epochs=99)
    seeds = tuple(synthetic.seed_run(network, longer.hash, index, 50) for index in range(5))
    second = replace(first, recipe=longer, recipe_hash=longer.hash, recipe_name="fast-99ep", seeds=seeds)

    for group in made_of(place, first, second, replace(first, target_pct=99.0)):
        for entry in group.entries:
            verify = next(command for command, _ in entry.commands if " verify " in command)
            words = shlex.split(verify)
            options = dict(zip(words[3::2], words[4::2], strict=True))
            meant = only_row(
                read_network(words[2], place, MNIST),
                dataset=options.get("--dataset"),
                target_pct=float(options["--target"]),
                recipe_given="--recipe" in options,
            )
            assert meant is not None
            assert meant.target_pct == group.target_pct
            assert options["--recipe"] == "fast"
            assert options.get("--epochs") == ("99" if entry.row.recipe == "fast-99ep" else None)


def test_the_leaderboard_holds_every_row_with_its_seeds_notation_and_tier(
    realistic_study: Any, place: Workspace, synthetic: Any
):
    record.write(place.records, synthetic.evidence(synthetic.network(4, 5, 6), [58, 59, 60, 61, 62, 30, 31]))

    path = write_leaderboard(place, survey(place))

    source = path.read_text(encoding="utf-8")
    page = checked(source)
    assert path == place.root / "leaderboard.html"
    rows = [entry.row for group in read_index(place).standings for entry in group.entries]
    assert len([row for row in page.all("tr") if row.get("class") == "fold"]) == len(rows) > 4
    for row in rows:
        assert row.hash[:6] in page.text("code")
        assert str(row.architecture) in page.text("bdi")
        assert row.tier in page.text("span")
    assert source.count(">5/7<") == 1
    assert source.count('<circle cx="') == sum(row.seeds for row in rows if row.seeds_at_target is not None)
    assert write_leaderboard(place, survey(place)).read_text(encoding="utf-8") == source


def test_the_index_lists_studies_with_links_the_one_worked_on_last_first(
    realistic_study: Any, new_study: Any, place: Workspace, synthetic: Any
):
    name = "odd #?&\"'%"
    old = new_study(name=name)
    old.finish(old.propose(synthetic.network(4, 5, 6)), None, status=Status.CRASHED)
    old.note("ended", reason="time")
    old.write()
    (place.runs / name / "report.html").write_text("x")

    index = read_index(place)

    assert [(info.name, link) for info, _, link in index.studies] == [
        (realistic_study.name, None),
        (name, "odd%20%23%3F%26%22%27%25/report.html"),
    ]
    assert [info.headline.outcome for info, _, _ in index.studies] == ["reached", "missed"]
    winner = next(event["hash"] for event in realistic_study.events if event["event"] == "winner")
    assert index.standings[0].entries[0].row.hash == winner
    page = checked(write_index(place, index).read_text(encoding="utf-8"), links=(index.studies[1][2] or "",))
    assert "2 studies; targets reached: 1." in page.text("p")


def test_what_cannot_be_read_is_named_once_and_stops_nothing(new_study: Any, place: Workspace, monkeypatch: Any):
    for name in ("good", "torn", "foreign", "vanished"):
        new_study(name=name).write()
    (place.runs / "torn" / "config.json").write_text("{", encoding="utf-8")
    (place.runs / "foreign" / "log.jsonl").write_text("[]\n", encoding="utf-8")
    real = study_files.read_study

    def read(folder: Path, *rest: Any) -> Any:
        shutil.rmtree(place.runs / "vanished", ignore_errors=True)
        return real(folder, *rest)

    monkeypatch.setattr(board, "read_study", read)
    index = read_index(place)
    page = checked(write_index(place, index).read_text(encoding="utf-8"))

    assert [info.name for info, _, _ in index.studies] == ["good"]
    assert list(index.unreadable) == ["foreign", "torn", "vanished"]
    assert sorted(index.left_out) == sorted(index.unreadable.values())
    assert "left-out" not in [attributes["id"] for attributes in page.all("section")]
    # A damaged ledger leaves the studies.
    place.records.mkdir(exist_ok=True)
    place.ledger.write_text("[]\n", encoding="utf-8")
    assert f"the ledger {place.ledger}, line 1" in checked(
        write_index(place, read_index(place)).read_text(encoding="utf-8")
    ).text("bdi")


@pytest.mark.parametrize(
    ("running", "seconds", "events", "state"),
    [
        (True, 2700.0, [], "Running: 28 of 45 min"),
        (True, None, [], "Running: 28 min 1 s"),
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

    assert _state_of(study_files.read_study(study.write(), place), running=running) == state


def test_a_workspace_without_anything_has_pages_too(place: Workspace):
    place.runs.mkdir()

    checked(write_leaderboard(place, survey(place)).read_text(encoding="utf-8"))
    index = checked(write_index(place, read_index(place)).read_text(encoding="utf-8"))
    assert "harness search --budget 20000" in index.text("code")


def test_reports_that_are_missing_or_outdated_are_written_and_no_others(new_study: Any, place: Workspace):
    for name in ("missing", "outdated", "current", "torn"):
        new_study(name=name).write()
    for name in ("outdated", "current"):
        report = place.runs / name / "report.html"
        report.write_text("before")
        later = 10_000_000_000
        os.utime(report, (later, later))
    os.utime(place.runs / "outdated" / "log.jsonl", (later + 1, later + 1))
    (place.runs / "torn" / "log.jsonl").write_text("[]\n", encoding="utf-8")

    done = dict(write_lacking_reports(place))

    assert set(done) == {"missing", "outdated", "torn"}
    assert (place.runs / "current" / "report.html").read_text() == "before"


def test_hostile_words_are_words(new_study: Any, place: Workspace, synthetic: Any):
    words = "</script><script>alert(1)<x onload=alert(2)>"
    study = new_study(name=words.replace("/", ""))
    document = json.loads((study.folder / "config.json").read_text(encoding="utf-8"))
    document["config"]["space"] = words
    (study.folder / "config.json").write_text(json.dumps(document), encoding="utf-8")
    for size in (6, 7, 8):
        study.verify(study.propose(synthetic.network(4, 5, size)), [50, size], name=words, recipe_name=words)
    study.write()

    page = checked(write_index(place, read_index(place)).read_text(encoding="utf-8"))

    assert len(page.all("script")) == 4, "data, drawing library and those of the page"
    assert words in page.text("bdi")
