"""Every page as a document: its rules, its facts, its policy, and what others wrote, which stays words."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shlex
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.evidence import record
from harness.evidence.leaderboard_table import survey
from harness.interface.lookup import only_row, read_network
from harness.studies.config import StudyObjective
from harness.system.errors import ContentError, UsageError
from harness.system.files import Workspace
from harness.training.recipe import Recipe
from harness.training.result import Status
from reports.board import _groups, read_index, write_index, write_lacking_reports, write_leaderboard
from reports.comparison_page import write_network_comparison, write_study_comparison
from reports.study_facts import StudyFacts, read_study
from reports.study_page import page, write_report
from search_spaces.catalog import PRESETS
from search_spaces.network import MNIST, Architecture
from search_spaces.notation import parse_network
from search_spaces.space import Metric
from tests.factories import CONFIG, make_claim
from tests.outline import Outline, checked
from tests.reports.conftest import SyntheticStudy, evidence, facts_of, network, seed_run

HOSTILE = (
    "</script><script>alert(1)<x onload=alert(2)>",
    "\" onmouseover='alert(1)' x=\"",
    "\u202egnirts desrever",
    "]]><svg onload=alert(1)>{{ 7 * 7 }}",
)


def read(path: Path) -> Outline:
    return checked(path.read_text(encoding="utf-8"))


def sections(outline: Outline) -> list[str]:
    return [found["id"] for found in outline.all("section")]


# A study --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def source(realistic_report: Path) -> str:
    return realistic_report.read_text(encoding="utf-8")


def test_the_page_has_the_numbers_and_the_networks_of_its_study(realistic_template: Any, source: str):
    outline, counts = checked(source), Counter(event["event"] for event in realistic_template.events)
    data = json.loads(re.findall(r'<script type="application/json" id="page-data">(.*?)</script>', source)[0])

    asked = counts["rejected"] + counts["repeated"] + counts["proposed"]
    assert f"{asked} proposals = {counts['rejected']} rejected before training" in outline.text("p")
    assert "Reached. Verified: " in outline.text("p")
    assert ["verdict", "reached"] in [found.get("class", "").split() for found in outline.all("p")]
    rows = [found["id"].removeprefix("network-") for tag, found in outline.elements if tag == "tr" and "id" in found]
    assert data["datasets"]["networks"]["hash"] == rows
    assert len(rows) == counts["proposed"]
    shown = {found["data-chart"] for _, found in outline.elements if "data-chart" in found}
    assert shown == data["charts"].keys() >= {"accuracy", "seeds", "over-time", "learning-curves"}
    assert {"next", "networks", "winner", "mistakes", "caveats", "rungs"} <= {*sections(outline)}
    assert "stopped after 24 min 14 s: no other has a chance" in source


def test_the_policy_allows_the_scripts_of_the_page_and_no_other(source: str):
    policy = checked(source).all("meta")[1]["content"]

    digests = [
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        for script in re.findall(r"<script>(.*?)</script>", source, flags=re.S)
    ]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    assert f"script-src {allowed};" in policy
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy


def test_a_live_page_is_the_report_that_reloads_itself(realistic_study: Any, place: Workspace, source: str):
    live = write_report(realistic_study.folder, place, live=True).read_text(encoding="utf-8")

    assert checked(live).all("aside")[0]["id"] == "live"
    assert "location.reload()" in live
    assert "location.reload()" not in source
    assert write_report(realistic_study.folder, place).read_text(encoding="utf-8") == source


def test_kept_weights_of_the_answer_are_linked(realistic_study: Any, realistic_facts: StudyFacts, place: Workspace):
    assert realistic_facts.proof
    path = record.weights_path(place.records, realistic_facts.proof.record, 0)
    path.parent.mkdir(parents=True)
    path.touch()
    link = f"../{path.relative_to(place.runs)}"
    page = checked(write_report(realistic_study.folder, place).read_text(encoding="utf-8"), links=(link,))
    assert [found["href"] for found in page.all("a") if "download" in found] == [link]
    assert (realistic_study.folder / link).samefile(path)


@pytest.mark.parametrize("kind", ["begun", "proposed", "failed", "small", "hostile"])
def test_a_young_or_odd_study_has_a_page_without_what_it_cannot_say(new_study: Any, place: Workspace, kind: str):
    study = new_study()
    if kind == "proposed":
        study.propose(network(8, 8, 8))
    elif kind == "failed":
        study.finish(study.propose(network(8, 8, 8)), None, status=Status.DIVERGED)
    elif kind == "small":
        for width in range(4, 20):
            study.finish(study.propose(network(width, 8, 8)), 60)
    elif kind == "hostile":
        for number, words in enumerate(HOSTILE):
            proposal = study.propose(network(4 + number, 8, 8), origin=words)
            study.finish(proposal, 50 + number)
            study.note("rejected", reason=words)
        study.note("ended", reason=HOSTILE[0])

    made = read(write_report(study.write(), place))

    assert {"next", "caveats", "provenance"} <= {*sections(made)}
    assert ("networks" in sections(made)) == (kind != "begun")
    assert not {"rungs", "mistakes", "winner"} & {*sections(made)}
    assert len(made.all("script")) == 4, "data, drawing library and those of the page"


def test_a_data_set_that_is_not_mnist_has_a_banner_and_no_green_success(realistic_facts: StudyFacts):
    entries, config = realistic_facts.study.entries, replace(realistic_facts.config, dataset="mnist-5k")

    study = facts_of(*entries, config=config).study
    outline = checked(page(StudyFacts(study, realistic_facts.evidence, realistic_facts.measured)))

    classes = [found.get("class", "").split() for found in outline.all("p")]
    assert ["banner"] in classes
    assert ["verdict", "reached"] not in classes


# The leaderboard and the index ----------------------------------------------------------------------------------------


def made_of(place: Workspace, *records: Any) -> Any:
    for made in records:
        record.write(place.records, made)
    found = survey(place)
    return _groups(found.rows, found.records, place)


def test_commands_mean_the_very_row_they_stand_in(place: Workspace):
    first = evidence(network(4, 5, 6), [50] * 5)
    longer = replace(Recipe(), epochs=99)
    seeds = tuple(seed_run(first.architecture, longer, index, 50) for index in range(5))
    second = replace(first, recipe=longer, recipe_hash=longer.hash, recipe_name="fast-99ep", seeds=seeds)

    for group in made_of(place, first, second, replace(first, target_pct=99.0)):
        for entry in group.entries:
            words = shlex.split(next(command for command, _ in entry.commands if " verify " in command))
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


def test_a_claim_is_verified_with_a_recipe_that_is_known_here(place: Workspace):
    place.records.mkdir(parents=True, exist_ok=True)
    (place.records / "claims.json").write_text(json.dumps([make_claim(str(network(4, 5, 6)), 99.5)]), encoding="utf-8")

    [group] = made_of(place)

    [(command, _), _] = group.entries[0].commands
    assert "--recipe" not in shlex.split(command)


def test_the_leaderboard_joins_the_smallest_proven_network_of_each_target(place: Workspace):
    given = ((6, 80, 99.0), (7, 61, 99.4), (8, 50, 99.4), (10, 30, 99.6), (12, 55, 99.4))
    made = made_of(place, *(evidence(network(4, 5, size), [errors] * 5, target_pct=pct) for size, errors, pct in given))
    assert made[0].smallest.row.architecture == network(4, 5, 8)

    path = write_leaderboard(place, survey(place))

    source = path.read_text(encoding="utf-8")
    data = json.loads(re.findall(r'id="page-data">(.*?)</script>', source)[0])["datasets"]["rows"]
    assert data["target"][:3] == [99.4, 99.6, 99.0]
    assert data["best"] == [True, True, True, False, False]
    outline = checked(source)
    assert {found["id"] for tag, found in outline.elements if tag == "tr" and "id" in found} == {
        href.removeprefix("#") for href in data["href"]
    }
    assert source.count('<circle cx="') == 25, "a dot a seed"


def test_the_index_lists_studies_with_links_the_one_worked_on_last_first(
    realistic_study: Any, new_study: Any, place: Workspace
):
    name = "odd #?&\"'%"
    old = new_study(name=name)
    old.finish(old.propose(network(4, 5, 6)), None, status=Status.CRASHED)
    old.note("ended", reason="time")
    old.write()
    (place.runs / name / "report.html").write_text("x")

    index = read_index(place)

    link = "odd%20%23%3F%26%22%27%25/report.html"
    assert [(item.info.name, item.link) for item in index.studies] == [(realistic_study.name, None), (name, link)]
    assert [item.info.ending.outcome for item in index.studies] == ["reached", "missed"]
    page = checked(write_index(place, index).read_text(encoding="utf-8"), links=(link,))
    assert "2 studies; targets reached: 1." in page.text("p")


def test_what_cannot_be_read_is_named_once_and_stops_nothing(new_study: Any, place: Workspace):
    for name in ("good", "torn", "foreign"):
        new_study(name=name).write()
    (place.runs / "torn" / "config.json").write_text("{", encoding="utf-8")
    (place.runs / "foreign" / "log.jsonl").write_text("[]\n", encoding="utf-8")

    index = read_index(place)

    assert [item.info.name for item in index.studies] == ["good"]
    assert list(index.unreadable) == ["foreign", "torn"]
    assert sorted(index.left_out) == sorted(index.unreadable.values())
    assert "left-out" not in sections(read(write_index(place, index)))
    # A damaged ledger leaves the studies.
    place.records.mkdir(exist_ok=True)
    place.ledger.write_text("[]\n", encoding="utf-8")
    assert str(place.ledger) in read(write_index(place, read_index(place))).text("bdi")


def test_reports_that_are_missing_or_outdated_are_written_and_no_others(new_study: Any, place: Workspace):
    for name in ("missing", "outdated", "current", "torn"):
        new_study(name=name).write()
    later = 10_000_000_000
    for name in ("outdated", "current"):
        (place.runs / name / "report.html").write_text("before")
        os.utime(place.runs / name / "report.html", (later, later))
    os.utime(place.runs / "outdated" / "log.jsonl", (later + 1, later + 1))
    (place.runs / "torn" / "config.json").write_text("{", encoding="utf-8")

    done = dict(write_lacking_reports(place))

    assert {name for name, problem in done.items() if not problem} == {"missing", "outdated"}
    assert done["torn"]
    assert (place.runs / "current" / "report.html").read_text() == "before"


# Comparisons ----------------------------------------------------------------------------------------------------------


def presets(*names: str) -> list[tuple[str, Architecture]]:
    return [(name, parse_network(PRESETS[name])) for name in names]


def test_networks_are_compared_whatever_is_known_of_them(place: Workspace):
    measured = [("", network(4, 6, 8)), ("", network(6, 8, 10))]
    record.write(place.records, evidence(measured[0][1], [70, 71, 75]))
    record.write(place.records, evidence(measured[1][1], [50, 51, 55, 53, 54], name="mine"))

    whole = read(write_network_comparison(measured, place))
    partly = read(write_network_comparison([*measured[1:], *presets("seed1")], place))
    nothing = read(write_network_comparison(presets("seed1", "seed2", "seed3", "seed4"), place))

    parts = ["networks", "seeds", "parameters", "mistakes", "recipes", "commands"]
    assert [sections(page) for page in (whole, partly, nothing)] == [parts] * 3
    assert "mine has " in whole.text("p")
    assert f"harness verify {measured[1][1].hash} --seeds 5" in whole.text("code")
    assert "Without a record on the test set: seed1" in partly.text("li")
    assert "These networks have no record on the test set." in nothing.text("p")


def test_studies_are_compared_with_their_answers_to_the_same_bytes(
    realistic_study: Any, new_study: Any, place: Workspace
):
    other = new_study(name="other")
    proposal = other.propose(network(8, 12, 16))
    other.finish(proposal, 45)
    other.standing("winner", proposal, [45])
    folders = [realistic_study.folder, other.write()]

    path = write_study_comparison(folders, place)

    before = path.read_bytes()
    parts = ["figures", "fronts", "settings", "commands", "networks", "seeds", "parameters"]
    assert sections(read(path)) == parts
    assert realistic_study.name in read(path).text("bdi")
    assert write_study_comparison(folders, place).read_bytes() == before


def test_studies_of_which_only_the_configuration_exists_can_be_compared(new_study: Any, place: Workspace):
    folders = [new_study(name=name).folder for name in ("a", "b")]

    assert "These studies have no trained network yet" in read(write_study_comparison(folders, place)).text("p")
    (folders[1] / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(ContentError):
        write_study_comparison(folders, place)
    blocked = Workspace(place.root / "blocked")
    blocked.root.mkdir()
    blocked.runs.write_text("in the way")
    with pytest.raises(UsageError):
        write_network_comparison(presets("seed1", "seed2"), blocked)


@pytest.mark.parametrize("words", HOSTILE)
def test_hostile_words_are_words_on_every_page(words: str, new_study: Any, place: Workspace):
    name = words.replace("/", "-")[:40]
    studies: list[SyntheticStudy] = [new_study(name=name), new_study(name=f"{name} 2")]
    for study in studies:
        config = json.loads((study.folder / "config.json").read_text(encoding="utf-8"))
        config["config"]["space"] = words
        (study.folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        study.note("session", command=["harness", words], workers=2, device=words)
        study.note("ended", reason=words)
        study.write()
    for size in (6, 7, 8):
        record.write(place.records, evidence(network(4, 5, size), [50, size], name=words, recipe_name=words))

    pages = [
        write_study_comparison([study.folder for study in studies], place),
        write_network_comparison([("", network(4, 5, 6)), *presets("seed1")], place),
        write_leaderboard(place, survey(place)),
        write_index(place, read_index(place)),
    ]

    outlines = [read(path) for path in pages]
    assert name in outlines[0].text("th")
    assert words in outlines[1].text("th")
    assert words in outlines[2].text("bdi")
    assert words in outlines[3].text("bdi")
    for outline in outlines:
        assert len(outline.all("script")) <= 4, "data, drawing library and those of the page"


@pytest.mark.parametrize(
    "minimised", [(Metric.PARAMETERS, None), (Metric.WEIGHT_BYTES, None), (Metric.MACS, Metric.RAM_BYTES)]
)
def test_filters_are_of_what_a_study_minimises(
    minimised: tuple[Metric, Metric | None], new_study: Any, place: Workspace
):
    objectives = tuple(StudyObjective(metric, 60_000) for metric in minimised if metric is not None)
    study = new_study(config=replace(CONFIG, objectives=objectives))
    study.finish(study.propose(network(8, 8, 8)), 40)

    source = page(read_study(study.write(), place))

    data = json.loads(re.findall(r'<script type="application/json" id="page-data">(.*?)</script>', source, re.S)[0])
    data = data.get("data", data)
    names = {name for _, low, high in data["filters"] for name in (low, high)}
    assert names == set(re.findall(r'<input type="number" step="any" name="(\w+)"', source))
    assert data["minimised"] == [str(metric) for metric in minimised if metric is not None]
    assert [field for field, _, _ in data["filters"]][-2:] == ["parameters", "validation_pct"]
    assert len(data["filters"]) == 2 + sum(metric not in (None, Metric.PARAMETERS) for metric in minimised)
