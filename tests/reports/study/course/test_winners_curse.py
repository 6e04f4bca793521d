"""First looks against fresh seeds: drops, ranks, and what the page says of them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from harness.system.files import Workspace
from reports.study.course.winners_curse import WinnersCurse, winners_curse
from reports.study.course.winners_curse_picture import draw
from reports.study.networks import networks
from reports.study.study_files import read_study
from tests.wording import lacking


def found(study: Any, place: Workspace) -> WinnersCurse:
    files = read_study(study.write(), place)
    return winners_curse(files, networks(files))


@pytest.fixture
def study(new_study: Any, synthetic: Any) -> Any:
    """Five networks trained to the end, four with fresh seeds, two of these tested; 55 errors are the threshold."""
    made = new_study()
    proposals = [made.propose(synthetic.network(width, 8, 8)) for width in (4, 5, 6, 7, 9)]
    for proposal, errors in zip(proposals, (30, 40, 50, 60, 45), strict=True):
        made.finish(proposal, errors)
    for proposal, fresh in zip(proposals, ([60, 70, 80], [50, 50, 50], [52, 56], [58]), strict=False):
        made.confirm(proposal, fresh)
    made.verify(proposals[1], [58, 62])
    made.verify(proposals[2], [50, 60, 64])
    return made


def test_each_network_falls_from_its_first_look_to_the_mean_of_its_fresh_seeds(study: Any, place: Workspace):
    looks = found(study, place).looks

    assert [(look.first_pct, round(look.fresh_pct, 6), look.fresh_seeds) for look in looks] == [
        (99.7, 99.3, 3), (99.6, 99.5, 3), (99.5, 99.46, 2), (99.4, 99.42, 1),
    ]  # fmt: skip
    assert [look.drop_points for look in looks] == pytest.approx([0.4, 0.1, 0.04, -0.02])
    assert [look.passed for look in looks] == [True, True, True, False]


def test_ranks_are_by_accuracy_among_those_that_can_be_compared(study: Any, place: Workspace):
    facts = found(study, place)

    assert facts.trained == 5
    # The network of 45 errors has no fresh seeds, and stands third of all.
    assert [look.place for look in facts.looks] == [1, 2, 4, 5]
    assert [look.first_rank for look in facts.looks] == [1, 2, 3, 4]
    assert [look.fresh_rank for look in facts.looks] == [4, 1, 2, 3]
    assert [look.test_rank for look in facts.looks] == [None, 2, 1, None]
    assert [look.test_pct for look in facts.looks] == [None, pytest.approx(99.4), pytest.approx(99.42), None]
    # Squares of the differences of ranks: 9, 1, 1, 1, so 1 - 6 * 12 / (4 * 15).
    assert facts.spearman == pytest.approx(-0.2)


def test_equal_accuracies_share_the_better_rank(new_study: Any, synthetic: Any, place: Workspace):
    made = new_study()
    for width, errors in ((4, 40), (5, 40), (6, 50)):
        proposal = made.propose(synthetic.network(width, 8, 8))
        made.finish(proposal, errors)
        made.confirm(proposal, [errors + 5])

    facts = found(made, place)

    assert [look.first_rank for look in facts.looks] == [1, 1, 3]
    assert [look.fresh_rank for look in facts.looks] == [1, 1, 3]
    assert facts.spearman is None


def test_the_mean_drop_has_its_standard_error_apart_for_those_that_passed(study: Any, place: Workspace):
    facts = found(study, place)

    # 0.4, 0.1 and 0.04: mean 0.18, deviation 0.19287, over the root of three.
    assert facts.passed is not None
    assert facts.passed.networks == 3
    assert (facts.passed.mean_points, facts.passed.error_points) == pytest.approx((0.18, 0.111355), abs=1e-6)
    assert facts.others is not None
    assert (facts.others.networks, facts.others.error_points) == (1, None)
    assert facts.others.mean_points == pytest.approx(-0.02)
    words = draw(facts)
    assert "5 networks" in words
    passed = ("met the threshold", "fell by 0.180 points", "standard error 0.111", "n = 3")
    assert lacking(words, *passed, "missed", "rose by 0.020 points", "n = 1") == []


def test_every_network_is_a_mark_and_a_row(study: Any, place: Workspace):
    made = draw(found(study, place))

    assert len(re.findall(r'class="mark trained" data-n=', made)) == 3
    assert len(re.findall(r'class="mark pruned" data-n=', made)) == 1
    assert made.count("<tr>") == 5
    assert "99.400 (2)" in made


def test_without_fresh_seeds_there_is_nothing(new_study: Any, synthetic: Any, place: Workspace):
    made = new_study()
    made.finish(made.propose(synthetic.network(4, 8, 8)), 40)

    words = draw(found(made, place))
    made.confirm({**made.events[-2]}, [45])
    untested = draw(found(made, place))

    assert "rank on the test set" not in untested
    assert "rank on fresh seeds" in untested
    assert words == ""
