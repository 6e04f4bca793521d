"""All report pages as HTML documents: structure, facts, content security policy, and escaping of foreign texts."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.data.datasets import DATASETS
from harness.evidence import record
from harness.evidence.leaderboard_table import survey
from harness.interface.lookup import network_argument, only_row
from harness.pages.board import _groups, write_leaderboard
from harness.pages.charts import svg
from harness.pages.study_charts import charts_of, networks_rows
from harness.pages.study_facts import StudyFacts, read_study
from harness.pages.study_page import page, write_report
from harness.spaces.network import MNIST
from harness.spaces.notation import parse_network
from harness.spaces.space import OBJECTIVES, Metric
from harness.studies.log import read_state
from harness.system.document import document_of
from harness.system.files import Workspace
from harness.training.recipe import Recipe, named_recipe
from harness.training.result import Status
from tests.factories import CONFIG, make_claim
from tests.harness.pages.conftest import SyntheticStudy, evidence, facts_of, network, seed_run
from tests.outline import Outline, checked_outline

HOSTILE = (
    "</script><script>alert(1)<x onload=alert(2)>",
    "\" onmouseover='alert(1)' x=\"",
    "\u202egnirts desrever",
    "]]><svg onload=alert(1)>{{ 7 * 7 }}",
)


def read(path: Path) -> Outline:
    return checked_outline(path.read_text(encoding="utf-8"))


def sections(outline: Outline) -> list[str]:
    return [element["id"] for element in outline.all("section")]


# Report of a study ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def source(realistic_report: Path) -> str:
    return realistic_report.read_text(encoding="utf-8")


def test_report_has_numbers_and_networks_of_study(realistic_template: Any, source: str):
    outline, counts = checked_outline(source), Counter(event["event"] for event in realistic_template.events)
    data = json.loads(re.findall(r'<script type="application/json" id="page-data">(.*?)</script>', source)[0])

    proposals = counts["rejected"] + counts["repeated"] + counts["proposed"]
    assert f"{proposals} proposals = {counts['rejected']} rejected before training" in outline.text("p")
    assert "Proved (verified): " in outline.text("p")
    assert ["verdict", "reached"] in [item.get("class", "").split() for item in outline.all("p")]
    rows = [item["id"].removeprefix("network-") for tag, item in outline.elements if tag == "tr" and "id" in item]
    assert data["datasets"]["networks"]["hash"] == rows
    assert len(rows) == counts["proposed"]
    charts = {item["data-chart"] for _, item in outline.elements if "data-chart" in item}
    assert charts == data["charts"].keys() >= {"accuracy", "seeds", "over-time", "learning-curves"}
    assert {"next", "networks", "winner", "mistakes", "caveats", "rungs"} <= {*sections(outline)}
    assert "stopped after 24 min 14 s: no other has a chance" in source


def test_policy_allows_only_scripts_of_page(source: str):
    policy = checked_outline(source).all("meta")[1]["content"]

    digests = [
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        for script in re.findall(r"<script>(.*?)</script>", source, flags=re.S)
    ]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    assert f"script-src {allowed};" in policy
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy


def test_live_page_is_report_that_reloads(realistic_study: Any, home: Workspace, source: str):
    live = write_report(realistic_study.folder, home, live=True).read_text(encoding="utf-8")

    assert checked_outline(live).all("aside")[0]["id"] == "live"
    assert "location.reload()" in live
    assert "location.reload()" not in source
    assert write_report(realistic_study.folder, home).read_text(encoding="utf-8") == source


def test_stored_weights_of_answer_are_linked(realistic_study: Any, realistic_facts: StudyFacts, home: Workspace):
    assert realistic_facts.proof
    path = realistic_facts.proof.record.weights_path(home.records, 0)
    path.parent.mkdir(parents=True)
    path.touch()
    link = f"../{path.relative_to(home.runs)}"
    page = checked_outline(write_report(realistic_study.folder, home).read_text(encoding="utf-8"), links=(link,))
    assert [element["href"] for element in page.all("a") if "download" in element] == [link]
    assert (realistic_study.folder / link).samefile(path)


@pytest.mark.parametrize("kind", ["begun", "proposed", "failed", "small", "hostile"])
def test_report_omits_sections_without_data(new_study: Any, home: Workspace, kind: str):
    study = new_study()
    if kind == "proposed":
        study.propose(network(8, 8, 8))
    elif kind == "failed":
        study.finish(study.propose(network(8, 8, 8)), None, status=Status.DIVERGED)
    elif kind == "small":
        for width in range(4, 20):
            study.finish(study.propose(network(width, 8, 8)), 60)
    elif kind == "hostile":
        for number, text in enumerate(HOSTILE):
            study.finish(study.propose(network(4 + number, 8, 8), origin=text), 50 + number)
            study.log("rejected", reason=text)
        study.log("ended", reason=HOSTILE[0])

    outline = read(write_report(study.write(), home))

    assert {"next", "caveats", "provenance"} <= {*sections(outline)}
    assert ("networks" in sections(outline)) == (kind != "begun")
    assert not {"rungs", "mistakes", "winner"} & {*sections(outline)}
    assert len(outline.all("script")) == 4, "data, drawing library and those of the page"


def test_bias_of_selection_has_no_sign(new_study: Any, home: Workspace):
    study = new_study()
    proposal = study.propose(network(8, 8, 8))
    study.finish(proposal, 50)
    study.confirm(proposal, [30, 30])

    assert "0.200 points higher" in read(write_report(study.write(), home)).text("dd")


def test_cards_state_units(new_study: Any, home: Workspace):
    study = new_study(config=replace(CONFIG, minimise=Metric.WEIGHT_BYTES, most=60_000))
    study.finish(study.propose(parse_network("linear(10)"), origin="baseline"), 900)

    titles = read(write_report(study.write(), home)).text("dt")

    for title in ("linear model, 7,850 parameters", "nearest, 7,860 bytes of weights", "limit, bytes of weights"):
        assert title in titles


def test_report_of_known_data_set_other_than_mnist_has_banner(
    realistic_facts: StudyFacts, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(DATASETS, "mnist-5k", replace(DATASETS["mnist-5k"], test_group_sizes=(100,) * 5))

    study = facts_of(*realistic_facts.study.entries, config=replace(realistic_facts.config, dataset="mnist-5k")).study
    outline = checked_outline(page(StudyFacts(study, realistic_facts.evidence, realistic_facts.measured)))

    classes = [element.get("class", "").split() for element in outline.all("p")]
    assert ["banner"] in classes
    assert ["verdict", "reached"] in classes
    assert "binomial" not in outline.text()  # errors within a group are correlated


def test_proved_report_of_user_data_has_success_colour_and_no_banner(realistic_facts: StudyFacts, home: Workspace):
    own = replace(
        DATASETS["mnist"], name="own-0123abcd", folder="", sha256="0123abcd", all_files=DATASETS["mnist"].all_files[:2]
    )
    home.data(own.name).mkdir(parents=True)
    (home.data(own.name) / "data.json").write_text(json.dumps(document_of(own)), encoding="utf-8")

    config = replace(realistic_facts.config, dataset=own.name)
    outline = checked_outline(page(facts_of(*realistic_facts.study.entries, config=config)))

    classes = [element.get("class", "").split() for element in outline.all("p")]
    assert ["verdict", "reached"] in classes
    assert ["banner"] not in classes


# Leaderboard ----------------------------------------------------------------------------------------------------------


def groups_of(home: Workspace, *records: Any) -> Any:
    for item in records:
        record.write(home.records, item)
    board = survey(home)
    return _groups(board.rows, board.records, home)


def test_log_of_known_study_is_not_read_again(realistic_study: Any, home: Workspace):
    study = read_state(realistic_study.folder)
    expected = survey(home)
    assert expected.rows
    with (realistic_study.folder / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write("damage\n{}\n")

    assert survey(home, study) == expected
    assert survey(home).damage


def test_commands_of_row_select_that_row(home: Workspace):
    first = evidence(network(4, 5, 6), [50] * 5)
    recipe = replace(Recipe(), epochs=99)
    seeds = tuple(seed_run(first.architecture, recipe, index, 50) for index in range(5))
    second = replace(first, recipe=recipe, recipe_hash=recipe.hash, recipe_name="fast-99ep", seeds=seeds)

    for group in groups_of(home, first, second, replace(first, target_pct=99.0)):
        for entry in group.entries:
            words = shlex.split(next(command for command, _ in entry.commands if " verify " in command))
            options = dict(zip(words[3::2], words[4::2], strict=True))
            row = only_row(
                network_argument(words[2], home, MNIST),
                dataset=options.get("--dataset"),
                target_pct=float(options["--target"]),
                recipe=options["--recipe"],
            )
            assert row is not None
            assert row.target_pct == group.target_pct
            assert options["--recipe"] == entry.row.recipe
            assert named_recipe(options["--recipe"]).recipe.hash == entry.row.recipe_hash


def test_command_of_claim_uses_default_recipe(home: Workspace):
    home.records.mkdir(parents=True, exist_ok=True)
    (home.records / "claims.json").write_text(json.dumps([make_claim(str(network(4, 5, 6)), 99.5)]), encoding="utf-8")

    [group] = groups_of(home)

    [(command, _), _] = group.entries[0].commands
    assert "--recipe" not in shlex.split(command)


def test_leaderboard_marks_smallest_verified_network_of_each_target(home: Workspace):
    rows = ((6, 80, 99.0), (7, 61, 99.4), (8, 50, 99.4), (10, 30, 99.6), (12, 55, 99.4))
    board = groups_of(home, *(evidence(network(4, 5, size), [count] * 5, target_pct=pct) for size, count, pct in rows))
    assert board[0].smallest.row.architecture == network(4, 5, 8)

    path = write_leaderboard(home, survey(home))

    source = path.read_text(encoding="utf-8")
    data = json.loads(re.findall(r'id="page-data">(.*?)</script>', source)[0])["datasets"]["rows"]
    assert data["target"][:3] == [99.4, 99.6, 99.0]
    assert data["best"] == [True, True, True, False, False]
    outline = checked_outline(source)
    assert {element["id"] for tag, element in outline.elements if tag == "tr" and "id" in element} == {
        href.removeprefix("#") for href in data["href"]
    }
    assert source.count('<circle cx="') == 25, "a dot a seed"


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_escaped_on_all_pages(text: str, new_study: Any, home: Workspace):
    name = text.replace("/", "-")[:40]
    study: SyntheticStudy = new_study(name=name)
    config = json.loads((study.folder / "config.json").read_text(encoding="utf-8"))
    config["config"]["space"] = text
    (study.folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    study.log("session", command=["harness", text], workers=2, device=text)
    study.log("ended", reason=text)
    for size in (6, 7, 8):
        record.write(home.records, evidence(network(4, 5, size), [50, size], name=text, recipe_name=text))

    outlines = [read(write_report(study.write(), home)), read(write_leaderboard(home, survey(home)))]

    for outline in outlines:
        assert text in outline.text("bdi")
        assert len(outline.all("script")) <= 4, "data, drawing library and those of the page"


def test_logarithmic_axes_have_numbers_if_a_network_needs_no_ram(new_study: Any, home: Workspace):
    study = new_study(config=replace(CONFIG, minimise=Metric.RAM_BYTES, most=60_000))
    for architecture, errors, budget in ((network(8, 8, 8), 40, 7_839), (parse_network("linear(10)"), 60, -1)):
        study.finish(proposal := study.propose(architecture), errors)
        study.confirm(proposal, [errors] * 3)
        study.decide("confirmed", proposal, [errors] * 3, budget=budget)
    study.finish(study.propose(network(4, 4, 4)), 50)
    facts = read_study(study.write(), home)
    charts = charts_of(facts, networks_rows(facts))
    for name in ("accuracy", "over-time"):
        assert re.search(r">\d+,000</text>", svg(charts[name])), name
    # The linear layers are not drawn, but the table and the exported rows contain the accuracy.
    [row] = [row for row in networks_rows(facts) if not row["cost"]]
    assert (row["validation_pct"], row["errors"], row["shown"]) == (pytest.approx(99.4), pytest.approx(0.6), None)


@pytest.mark.parametrize(
    "metrics", [(Metric.PARAMETERS, None), (Metric.WEIGHT_BYTES, None), (Metric.MACS, Metric.RAM_BYTES)]
)
def test_filters_include_objectives_of_study(metrics: tuple[Metric, Metric | None], new_study: Any, home: Workspace):
    first, second = metrics
    objectives: dict[str, Any] = {"minimise": first, "most": 60_000, "second": second, "second_most": 60_000}
    study = new_study(config=replace(CONFIG, **objectives, threshold_pct=99.4498))
    study.finish(study.propose(network(8, 8, 8)), 40)
    study.propose(network(4, 4, 4))

    facts = read_study(study.write(), home)
    source = page(facts)

    assert source.count("99.4498") == 1  # in the table of settings; the remaining texts have two decimals
    titles = [text for tag, text in checked_outline(source).texts if tag == "th"]
    assert all(titles.count(OBJECTIVES[metric]) == 1 for metric in (*metrics, Metric.PARAMETERS) if metric is not None)
    front = charts_of(facts, networks_rows(facts))["front"]
    assert front is None or str(front.to_dict(validate=False)).count("'fate': 'trained'") == 1  # the second waits
    data = json.loads(re.findall(r' id="page-data">(.*?)</script>', source, re.S)[0])["data"]
    names = {name for _, low, high in data["filters"] for name in (low, high)}
    assert names == set(re.findall(r'<input type="number" step="any" name="(\w+)"', source))
    assert data["minimised"] == [str(metric) for metric in metrics if metric is not None]
    assert [field for field, _, _ in data["filters"]][-2:] == ["parameters", "validation_pct"]
    assert len(data["filters"]) == 2 + sum(metric not in (None, Metric.PARAMETERS) for metric in metrics)
