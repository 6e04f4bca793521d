"""The report of a study as a document: its rules, its facts, its policy, and how it lives while a search goes on."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from harness.system.files import Workspace
from harness.training.result import Status
from reports.study.study_page import write_report
from tests.outline import Outline, checked


@pytest.fixture(scope="module")
def source(realistic_report: Path) -> str:
    return realistic_report.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def outline(source: str) -> Outline:
    return checked(source)


def test_the_numbers_of_the_study_are_on_the_page(realistic_template: Any, outline: Outline):
    counts = Counter(event["event"] for event in realistic_template.events)
    asked = counts["rejected"] + counts["repeated"] + counts["proposed"]

    paragraphs = outline.text("p")
    assert f"{asked} proposals = {counts['rejected']} rejected before training" in paragraphs
    assert "Reached: network" in paragraphs
    rows = [found["id"] for tag, found in outline.elements if tag == "tr" and "id" in found]
    assert len(rows) == counts["proposed"]
    assert outline.text("h1").startswith("Study ")


def test_charts_and_table_are_of_the_same_networks(outline: Outline, source: str):
    data = json.loads(re.findall(r'<script type="application/json" id="page-data">(.*?)</script>', source)[0])
    rows = [found["id"].removeprefix("network-") for tag, found in outline.elements if tag == "tr" and "id" in found]

    assert data["datasets"]["networks"]["hash"] == rows
    shown = {found["data-chart"] for _, found in outline.elements if "data-chart" in found}
    assert shown == data["charts"].keys() >= {"accuracy", "seeds", "over-time", "learning-curves", "choices"}


def test_the_policy_allows_the_scripts_of_the_page_and_no_other(outline: Outline, source: str):
    policy = outline.all("meta")[1]["content"]

    digests = [
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        for script in re.findall(r"<script>(.*?)</script>", source, flags=re.S)
    ]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    assert f"script-src {allowed};" in policy
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy


def test_a_live_page_is_the_report_that_reloads_itself(realistic_study: Any, place: Workspace):
    plain = write_report(realistic_study.folder, place).read_text(encoding="utf-8")
    live = write_report(realistic_study.folder, place, live=True).read_text(encoding="utf-8")

    assert checked(live).all("aside")[0]["id"] == "live"
    assert "Reloads the page now and then" in live
    assert "Reloads the page now and then" not in plain
    assert write_report(realistic_study.folder, place).read_text(encoding="utf-8") == plain


@pytest.mark.parametrize("kind", ["begun", "proposed", "failed", "small"])
def test_a_young_study_has_a_page_without_what_it_cannot_say(
    new_study: Any, place: Workspace, synthetic: Any, kind: str
):
    study = new_study()
    if kind == "proposed":
        study.propose(synthetic.network(8, 8, 8))
    elif kind == "failed":
        study.finish(study.propose(synthetic.network(8, 8, 8)), None, status=Status.DIVERGED)
    elif kind == "small":
        for width in range(4, 20):
            study.finish(study.propose(synthetic.network(width, 8, 8)), 60)

    made = checked(write_report(study.write(), place).read_text(encoding="utf-8"))

    identifiers = {found["id"] for tag, found in made.elements if tag == "section"}
    assert {"next", "caveats", "provenance"} <= identifiers
    assert ("networks" in identifiers) == (kind != "begun")
    assert not {"choices", "rungs", "mistakes", "winner"} & identifiers


def test_a_data_set_that_is_not_mnist_has_a_banner_and_no_green_success(realistic_files: Any):
    from dataclasses import replace

    from reports.study.study_info import study_info
    from reports.study.study_page import page

    info = study_info(realistic_files)
    other = replace(info, config=replace(info.config, dataset="mnist-5k"))
    classes = [found.get("class", "").split() for found in checked(page(info)).all("p")]
    others = [found.get("class", "").split() for found in checked(page(other)).all("p")]

    assert ["verdict", "reached"] in classes
    assert ["banner"] not in classes
    assert ["banner"] in others
    assert ["verdict", "reached"] not in others
