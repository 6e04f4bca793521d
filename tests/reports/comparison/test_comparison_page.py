from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.evidence import record
from harness.system.errors import ContentError, UsageError
from harness.system.files import Workspace
from reports.comparison.comparison_page import _file_name, write_network_comparison, write_study_comparison
from search_spaces.catalog import PRESETS, network_name
from search_spaces.cost import analyse
from search_spaces.network import Architecture
from search_spaces.notation import parse_network
from search_spaces.task import MNIST
from tests.outline import Outline, checked

HOSTILE = [
    "<script>alert(1)</script>",
    "\" onmouseover='alert(1)' x=\"",
    "=cmd|' C calc'!A0",
    "\u202egnirts desrever",
    "]]><svg onload=alert(1)>",
    "\N{PILE OF POO}" * 50,
]


def named(*names: str) -> list[tuple[str, Architecture]]:
    return [(name, parse_network(PRESETS[name].text)) for name in names]


def page_of(path: Path) -> Outline:
    return checked(path.read_text(encoding="utf-8"))


@pytest.fixture
def measured(place: Workspace, synthetic: Any) -> list[tuple[str, Architecture]]:
    """Two networks with records, and one without."""
    networks = [synthetic.network(4, 6, 8), synthetic.network(6, 8, 10), synthetic.network(8, 12, 16)]
    record.write(place.records, synthetic.evidence(networks[0], [70, 71, 75]))
    record.write(place.records, synthetic.evidence(networks[1], [50, 51, 55, 53, 54], name="mine"))
    return [("", network) for network in networks]


def test_the_page_of_networks_has_its_parts(measured: list[tuple[str, Architecture]], place: Workspace):
    page = page_of(write_network_comparison(measured[:2], place))

    sections = [attributes["id"] for attributes in page.all("section")]
    assert sections == ["networks", "seeds", "parameters", "mistakes", "recipes", "commands"]
    assert page.text("h1") == "Comparison of networks"
    assert "mine has " in page.text("p")
    assert f"harness verify {measured[1][1].hash} --seeds 5" in page.text("code")


def test_a_network_without_a_record_can_be_compared_too(measured: list[tuple[str, Architecture]], place: Workspace):
    page = page_of(write_network_comparison(measured[1:], place))

    assert (
        f"Without a record on the test set: {network_name(measured[2][1], analyse(measured[2][1], MNIST).parameters)}"
        in page.text("li")
    )
    assert "Not all of these networks were measured on the same test set." in page.text("p")
    assert f"harness verify '{measured[2][1]}' --seeds 5" in page.text("code")


def test_four_networks_of_which_nothing_is_known_can_be_compared(place: Workspace):
    page = page_of(write_network_comparison(named("seed1", "seed2", "seed3", "seed4"), place))

    assert "These networks have no record on the test set." in page.text("p")


def test_the_page_of_studies_has_its_parts_and_compares_their_answers(
    realistic_study: Any, new_study: Any, place: Workspace, synthetic: Any
):
    other = new_study(name="other")
    proposal = other.propose(synthetic.network(8, 12, 16))
    other.finish(proposal, 45)
    other.standing("winner", proposal, [45])
    other.write()

    page = page_of(write_study_comparison([realistic_study.folder, other.folder], place))

    sections = [attributes["id"] for attributes in page.all("section")]
    assert sections == ["figures", "fronts", "settings", "commands", "networks", "seeds", "parameters"]
    assert realistic_study.name in page.text("h3") or realistic_study.name in page.text("bdi")
    assert "harness search --budget 20000" in page.text("code")


def test_studies_of_which_only_the_configuration_exists_can_be_compared(new_study: Any, place: Workspace):
    folders = [new_study(name=name).folder for name in ("a", "b")]

    page = page_of(write_study_comparison(folders, place))

    assert "These studies have no trained network yet" in page.text("p")


def test_the_same_files_give_the_same_bytes(
    realistic_study: Any, new_study: Any, measured: list[tuple[str, Architecture]], place: Workspace
):
    other = new_study(name="other").write()
    studies = [realistic_study.folder, other]

    first = [write_study_comparison(studies, place), write_network_comparison(measured, place)]
    before = [path.read_bytes() for path in first]
    again = [write_study_comparison(studies, place), write_network_comparison(measured, place)]

    assert again == first
    assert [path.read_bytes() for path in again] == before


@pytest.mark.parametrize("words", HOSTILE)
def test_hostile_names_appear_as_names(words: str, new_study: Any, place: Workspace, synthetic: Any):
    name = words.replace("/", "-")[:40]
    studies = [new_study(name=name), new_study(name=f"{name} 2")]
    for study in studies:
        study.note("session", command=["harness", words], workers=2, device=words)
        study.note("ended", reason=words)
        study.write()
    made = synthetic.evidence(synthetic.network(4, 6, 8), [70, 71], name=words)
    record.write(place.records, made)

    pages = [
        page_of(write_study_comparison([study.folder for study in studies], place)),
        page_of(write_network_comparison([("", made.architecture), *named("seed1")], place)),
    ]

    for page in pages:
        assert len(page.all("script")) <= 3, "data, drawing library and the page's own"
    assert name in pages[0].text("th")
    assert words in pages[1].text("th")


def test_a_file_is_named_after_what_it_compares():
    assert _file_name(["a", "b.c-2"]) == "comparison-a-b.c-2.html"


@pytest.mark.parametrize("names", [["<x>", "y"], ["x" * 200, "y" * 200], ["a b", "c"], ["\udcff", "d"], ["ä", "ö"]])
def test_odd_and_long_names_give_a_short_plain_file_name_of_their_own(names: list[str]):
    name = _file_name(names)

    assert len(name.encode()) < 140
    assert name.isascii()
    assert name != _file_name(names[::-1])


def test_a_folder_that_cannot_be_written_is_the_user_s_to_mend(place: Workspace):
    place.runs.write_text("in the way")

    with pytest.raises(UsageError, match=r"cannot write .*runs/comparison-"):
        write_network_comparison(named("seed1", "seed2"), place)


def test_a_damaged_study_is_named(new_study: Any, place: Workspace):
    folders = [new_study(name=name).folder for name in ("a", "b")]
    (folders[1] / "config.json").write_text("{", encoding="utf-8")

    with pytest.raises(ContentError, match=r"runs/b/config.json: "):
        write_study_comparison(folders, place)
