from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.evidence.leaderboard import Tier
from harness.system.errors import UsageError
from harness.system.files import Workspace
from harness.training.result import Status
from reports.study.study_controls import study_script
from reports.study.study_page import GLOSSARY, write_report
from search_spaces.draw import Decision
from tests.outline import ADDRESSES, Outline

HOSTILE = [
    "<script>alert(1)</script>",
    "\" onmouseover='alert(1)' x=\"",
    "=cmd|' /C calc'!A0",
    "\u202egnirts desrever",
    "x" * 10_000,
    "]]></style><svg onload=alert(1)>",
]


def ids_of(page: Outline) -> Counter[str]:
    return Counter(attributes["id"] for _, attributes in page.elements if "id" in attributes)


def page_of(folder: Path, place: Workspace) -> Outline:
    return Outline(write_report(folder, place).read_text(encoding="utf-8"))


@pytest.fixture
def realistic_page(realistic_study: Any, place: Workspace) -> Outline:
    return page_of(realistic_study.folder, place)


def test_the_report_lies_in_the_folder_of_its_study(realistic_study: Any, place: Workspace):
    assert write_report(realistic_study.folder, place) == realistic_study.folder / "report.html"


def test_the_same_files_give_the_same_bytes(realistic_study: Any, place: Workspace):
    first = write_report(realistic_study.folder, place).read_bytes()

    assert write_report(realistic_study.folder, place).read_bytes() == first


def test_the_page_names_no_address_outside_itself_and_runs_one_script(realistic_page: Outline):
    anchors = set(ids_of(realistic_page))
    for tag, attributes in realistic_page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "form", "base")
        assert not [name for name in attributes if name.startswith("on")]
        for name in ADDRESSES & attributes.keys():
            if tag == "img":
                assert attributes[name].startswith("data:image/png;base64,")
            else:
                assert attributes[name].startswith("#")
                assert attributes[name][1:] in anchors
    assert "url(" not in realistic_page.text("style")
    scripts = [attributes.get("type", "") for tag, attributes in realistic_page.elements if tag == "script"]
    assert scripts == ["", "application/json"]
    [policy] = [found["content"] for _, found in realistic_page.elements if "http-equiv" in found]
    digest = base64.b64encode(hashlib.sha256(study_script().encode()).digest()).decode()
    assert f"default-src 'none'; script-src 'sha256-{digest}'; " in policy


def test_every_identifier_is_unique_and_every_reference_is_met(realistic_page: Outline):
    ids = ids_of(realistic_page)

    assert [name for name, count in ids.items() if count > 1] == []
    for _, attributes in realistic_page.elements:
        for name in ("aria-labelledby", "aria-describedby"):
            if name in attributes:
                assert set(attributes[name].split()) <= set(ids)


def test_every_table_has_a_caption_and_every_heading_its_scope(realistic_page: Outline):
    tags = Counter(tag for tag, _ in realistic_page.elements)

    assert tags["table"] == tags["caption"] > 5
    assert {attributes.get("scope") for tag, attributes in realistic_page.elements if tag == "th"} == {"col", "row"}


def test_headings_go_down_one_level_at_a_time(realistic_page: Outline):
    levels = [int(tag[1]) for tag, _ in realistic_page.elements if re.fullmatch(r"h[1-6]", tag)]

    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_the_page_has_its_parts_and_a_way_to_each(realistic_page: Outline):
    sections = [attributes["id"] for tag, attributes in realistic_page.elements if tag == "section"]
    links = {attributes["href"] for tag, attributes in realistic_page.elements if tag == "a"}

    assert sections == [
        "picture", "winner", "next", "caveats", "seeds", "curse", "leaderboard", "budget", "networks", "closer",
        "curves", "rungs", "choices", "time", "proposals", "provenance", "glossary",
    ]  # fmt: skip
    parts = [attributes["id"] for tag, attributes in realistic_page.elements if attributes.get("class") == "group"]
    assert parts == ["part-answer", "part-evidence", "part-search", "part-provenance"]
    assert {f"#{name}" for name in parts} <= links
    assert {f"#{name}" for name in sections} <= links
    assert "#content" in links


def test_the_numbers_of_the_study_are_on_the_page(realistic_study: Any, realistic_page: Outline):
    counts = Counter(event["event"] for event in realistic_study.events)
    asked = counts["rejected"] + counts["repeated"] + counts["proposed"]

    paragraphs = realistic_page.text("p")
    assert f"{asked} proposals = {counts['rejected']} rejected before training" in paragraphs
    assert f"+ {counts['repeated']} repeated + {counts['proposed']} to train" in paragraphs
    assert "Reached: network" in paragraphs
    # The picture and the table have one entry a network each.
    rows = [name for name in ids_of(realistic_page) if re.fullmatch(r"network-[0-9a-f]{12}", name)]
    assert len(rows) == counts["proposed"]


def test_what_is_mnist_has_no_banner_and_a_green_success(realistic_page: Outline):
    classes = [attributes.get("class") for tag, attributes in realistic_page.elements if tag == "p"]

    assert "verdict reached" in classes
    assert "banner" not in classes


def test_each_point_says_which_network_it_is(realistic_page: Outline):
    titles = [text for where, text in realistic_page.texts if where == "title"]
    numbers = {
        int(found["data-n"])
        for _, found in realistic_page.elements
        if found.get("class", "").startswith("mark") and "data-n" in found
    }
    rows = [name for name in ids_of(realistic_page) if name.startswith("network-")]

    assert len([title for title in titles if re.match(r"plain-\d+ [0-9a-f]{6}: [\d,]+ parameters", title)]) > 3
    assert max(numbers) < len(rows)


def test_the_dark_theme_is_for_screens_so_paper_stays_light(realistic_page: Outline):
    style = realistic_page.text("style")

    assert "@media screen and (prefers-color-scheme: dark)" in style
    assert "@media print" in style
    assert "@media (prefers-color-scheme" not in style


@pytest.mark.parametrize("words", HOSTILE)
def test_hostile_words_appear_as_words_wherever_they_come_from(
    new_study: Any, place: Workspace, synthetic: Any, words: str
):
    # A slash cannot be in the name of a folder, and the name is short.
    study = new_study(name=words.replace("/", "-")[:60])
    study.note("rejected", reason=words, parameters=None, hash=None, origin=words)
    proposal = study.propose(synthetic.network(8, 8, 8))
    study.finish(proposal, 50)
    study.events[-2]["origin"] = words
    study.note("session", command=["harness", words], workers=words, device=words)
    study.note("ended", reason=words)
    study.events[-1]["utc"] = words
    configuration = study.folder / "config.json"
    document = json.loads(configuration.read_text(encoding="utf-8"))
    document["config"]["space_text"] = document["origins"]["budget"] = words
    configuration.write_text(json.dumps(document), encoding="utf-8")
    folder = study.write()

    made = page_of(folder, place)

    assert [attributes for tag, attributes in made.elements if tag == "script"] == [
        {},
        {"type": "application/json", "id": "study-data"},
    ]
    assert not [tag for tag, _ in made.elements if tag in ("img", "object")]
    assert not [name for _, attributes in made.elements for name in attributes if name.startswith("on")]
    assert words in made.text("bdi")
    # Once for each of its two widths.
    assert made.text("title").count("Parameters against accuracy") == 2


def test_figures_that_are_not_known_become_dashes(new_study: Any, place: Workspace, synthetic: Any):
    study = new_study()
    proposal = study.propose(synthetic.network(8, 8, 8))
    study.finish(proposal, 50)
    study.note(
        "winner",
        trial=0,
        hash=proposal["hash"],
        parameters=proposal["parameters"],
        validation_accuracy_pct=None,
        validation_seeds=None,
    )

    made = page_of(study.write(), place)

    assert not re.search(r"\bnan\b|\binf\b|\bNone\b", "".join(text for _, text in made.texts))
    assert "reached \u2013 on validation" in made.text("p")


@pytest.mark.parametrize("events", [0, 1, 2, 3, 5, 9, 40])
def test_a_study_cut_off_at_any_moment_has_a_report(realistic_study: Any, place: Workspace, events: int):
    realistic_study.events = realistic_study.events[:events]

    made = page_of(realistic_study.write(), place)

    assert "Skip to the report" in made.text("a")


def test_a_study_of_which_only_the_configuration_exists_has_a_report(new_study: Any, place: Workspace):
    study = new_study()

    made = page_of(study.folder, place)

    assert "No result yet" in made.text("p")
    sections = [attributes["id"] for tag, attributes in made.elements if tag == "section"]
    assert sections == ["caveats", "provenance", "glossary"]
    assert "The log names no command." in made.text("p")


def test_events_that_lack_everything_are_survived(new_study: Any, place: Workspace):
    study = new_study()
    kinds = ("rejected", "repeated", "rung", "finished", "standing", "refuted", "winner", "verified", "ended", "x")
    study.events += [{"event": kind} for kind in kinds]

    assert page_of(study.write(), place).open == []


def test_a_failed_study_says_so_plainly(new_study: Any, place: Workspace, synthetic: Any):
    study = new_study()
    study.finish(study.propose(synthetic.network(8, 8, 8)), None, status=Status.CRASHED)
    study.note("ended", reason="time")

    made = page_of(study.write(), place)

    assert "Missed: the search ended and no network was trained to the end" in made.text("p")
    assert ("p", {"class": "verdict missed"}) in made.elements


def test_a_data_set_other_than_mnist_is_named_and_has_no_label_errors(new_study: Any, place: Workspace, synthetic: Any):
    study = new_study(config=replace(synthetic.CONFIG, dataset="fashion-mnist", target_pct=90.0))
    proposal = study.propose(synthetic.network(8, 8, 8))
    study.standing("winner", proposal, [50])
    study.verify(proposal, [50] * 5, dataset="fashion-mnist", target_pct=90.0)

    made = page_of(study.write(), place)

    assert "on fashion-mnist" in made.text("p")
    assert "90 % on fashion-mnist" in made.text("dd")
    assert "Wrong labels" not in made.text("dt")
    # No green for a success on other data, and a loud word.
    assert ("p", {"class": "banner"}) in made.elements
    assert ("p", {"class": "verdict"}) in made.elements
    assert "Reached: " in made.text("p")


def test_a_thousand_trained_networks_stay_below_a_megabyte(new_study: Any, place: Workspace, synthetic: Any):
    study = new_study()
    coins = [Decision(f"stage/choice-{number}", number % 2, 9, ordered=True) for number in range(13)]
    for number in range(1_000):
        proposal = study.propose(synthetic.network(3 + number % 10, 3 + number // 10 % 10, 3 + number // 100))
        status, epochs = (Status.COMPLETE, 15) if number % 3 else (Status.PRUNED, 4)
        study.finish(proposal, 50 + number % 300, status=status, epochs=epochs, decisions=tuple(coins))
        if number in (100, 400, 700):
            study.confirm(proposal, [50, 55, 60])
            study.standing("standing", proposal, [50, 55, 60], budget=proposal["parameters"] - 1)
    study.standing("winner", proposal, [50, 55, 60])
    study.inspect(study.verify(proposal, [55, 58, 52, 61, 57, 54]))

    assert write_report(study.write(), place).stat().st_size < 1_000_000


def test_a_folder_that_cannot_be_written_is_the_user_s_to_mend(
    realistic_study: Any, place: Workspace, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("harness.system.files.tempfile.mkstemp", refuse)

    with pytest.raises(UsageError, match=r"cannot write .*report\.html: Permission denied"):
        write_report(realistic_study.folder, place)
    assert not (realistic_study.folder / "report.html").exists()


def test_each_tier_is_explained_once(realistic_page: Outline):
    explained = Counter(text for where, text in realistic_page.texts if where == "dt")

    assert {explained[tier] for tier in Tier} == {1}


def test_the_glossary_explains_the_words_that_the_page_uses(realistic_page: Outline):
    assert set(GLOSSARY) <= {text for where, text in realistic_page.texts if where == "dt"}
