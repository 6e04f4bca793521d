from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.system.files import Workspace
from harness.training.result import Status
from reports.comparison.comparison import more_or_fewer
from reports.comparison.comparison_studies import _MOST_SHARED, StudyComparison, study_comparison
from reports.study.study_files import read_study
from reports.study.study_info import StudyInfo, study_info


def facts_of(place: Workspace, *studies: Any) -> StudyComparison:
    return study_comparison([info_of(study, place) for study in studies])


def info_of(study: Any, place: Workspace) -> StudyInfo:
    return study_info(read_study(study.folder, place))


def words(facts: StudyComparison, name: str) -> tuple[str, ...]:
    [found] = [line.words for line in facts.quantities if line.name == name]
    return found


@pytest.fixture
def two(new_study: Any, synthetic: Any) -> tuple[Any, Any]:
    """Two short studies: one has named a network, the other has only pruned one."""
    first = new_study(name="first")
    proposal = first.propose(synthetic.network(6, 8, 10))
    first.finish(proposal, 50)
    first.confirm(proposal, [50, 51, 52])
    first.standing("standing", proposal, [50, 51, 52], budget=proposal["parameters"] - 1)
    first.note("rejected", reason="parameters", parameters=30_000, hash="0" * 12, origin="tpe")
    first.standing("winner", proposal, [50, 51, 52])
    first.note("ended", 30.0, reason="time")
    second = new_study(name="second", config=replace(synthetic.CONFIG, seed=1, budget=5_000))
    second.finish(second.propose(synthetic.network(4, 5, 6)), 200, status=Status.PRUNED, epochs=4)
    for study in (first, second):
        study.write()
    return first, second


def test_what_studies_found_and_took_is_set_side_by_side(two: tuple[Any, Any], place: Workspace):
    facts = facts_of(place, *two)

    size = two[0].events[-2]["parameters"]
    assert words(facts, "outcome") == ("not verified yet", "no result yet")
    assert words(facts, "parameters") == (f"{size:,}", "\u2013")
    assert words(facts, "proposals") == ("2", "1")
    assert words(facts, "networks pruned") == ("0", "1")
    assert words(facts, "effective budget at the end") == (f"{size - 1:,}", "5,000")
    stood = next(event["elapsed"] for event in two[0].events if event["event"] == "standing")
    assert words(facts, "first network confirmed after")[0].startswith(f"{stood // 60:.0f} min")
    assert "tier" not in {line.name for line in facts.quantities}


def test_a_study_without_a_network_says_so(two: tuple[Any, Any], place: Workspace):
    [sentence] = facts_of(place, *two).sentences

    assert sentence.startswith("second took ")
    assert sentence.endswith("second named no network, so the sizes cannot be compared.")


def test_sizes_and_times_are_compared_in_words(two: tuple[Any, Any], new_study: Any, place: Workspace, synthetic: Any):
    third = new_study(name="third")
    proposal = third.propose(synthetic.network(8, 12, 16))
    third.standing("winner", proposal, [40])
    third.elapsed = 2 * two[0].elapsed
    third.note("ended", reason="time")
    third.write()

    [sentence] = facts_of(place, two[0], third).sentences

    ratio = proposal["parameters"] / two[0].events[-2]["parameters"]
    assert "2.00 times as long as first. Its network has " in sentence
    assert f"{proposal['parameters']:,} parameters, {more_or_fewer(ratio)} that of first " in sentence


def test_settings_are_parted_into_equal_and_different_ones(two: tuple[Any, Any], place: Workspace):
    facts = facts_of(place, *two)

    assert {line.name: line.words for line in facts.settings} == {"budget": ("20000", "5000"), "seed": ("0", "1")}
    assert {"dataset", "recipe: epochs", "definition of the space"} <= set(facts.equal)


def test_networks_that_several_studies_have_trained_are_listed_smallest_first(
    new_study: Any, place: Workspace, synthetic: Any
):
    studies = [new_study(name=name) for name in ("first", "second", "third")]
    shared = [synthetic.network(4, 5, width) for width in range(5, 5 + _MOST_SHARED + 3)]
    for more, study in enumerate(studies[:2]):
        for number, network in enumerate(shared):
            study.finish(study.propose(network), 60 + number + more)
    alone = studies[2].propose(synthetic.network(9, 9, 9))
    studies[2].finish(alone, 40)
    studies[2].finish(studies[2].propose(shared[0]), 300, status=Status.PRUNED)
    for study in studies:
        study.write()

    facts = facts_of(place, *studies)

    assert facts.shared_count == len(shared)
    assert [network.hash for network, _ in facts.shared] == [network.hash for network in shared[:_MOST_SHARED]]
    # A pruned run is no figure of a whole training.
    assert facts.shared[0][1] == (99.4, 99.39, None)


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"dataset": "kmnist"}, "Data sets or targets differ"),
        ({"target_pct": 99.0}, "Data sets or targets differ"),
        ({"threshold_pct": 99.5}, "The validation thresholds differ"),
    ],
)
def test_what_keeps_studies_from_being_compared_is_said(
    changes: dict[str, Any], note: str, new_study: Any, place: Workspace, synthetic: Any
):
    one, other = new_study(name="one"), new_study(name="other", config=replace(synthetic.CONFIG, **changes))
    for study in (one, other):
        study.write()

    assert any(said.startswith(note) for said in facts_of(place, one, other).notes)
    assert not any(said.startswith(note) for said in facts_of(place, one, one).notes)


def test_different_machines_are_pointed_at(new_study: Any, place: Workspace, synthetic: Any):
    one, other = new_study(name="one"), new_study(name="other")
    other.events[0]["workers"] = 8
    for study in (one, other):
        study.write()

    assert any(said.startswith("Machines or numbers of workers differ") for said in facts_of(place, one, other).notes)
