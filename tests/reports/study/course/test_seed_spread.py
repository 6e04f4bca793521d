from __future__ import annotations

import re
from typing import Any

import pytest

from harness.system.files import Workspace
from reports.study.course.seed_spread import SeedSpread, draw, seed_spread
from reports.study.networks import networks
from reports.study.study_files import read_study


def found(study: Any, place: Workspace) -> SeedSpread:
    files = read_study(study.write(), place)
    return seed_spread(files, networks(files))


@pytest.fixture
def study(new_study: Any, synthetic: Any) -> Any:
    """Two networks with fresh seeds, one of them tested, and one network with a single run."""
    made = new_study()
    large, small, single = (made.propose(synthetic.network(width, 8, 8)) for width in (9, 4, 5))
    made.finish(large, 40)
    made.confirm(large, [50, 60])
    made.finish(small, 30)
    made.confirm(small, [50, 50, 80])
    made.verify(small, [55, 65])
    made.finish(single, 45)
    return made


def test_networks_with_several_seeds_are_shown_smallest_first(study: Any, place: Workspace):
    small, large = found(study, place).rows

    assert small.network.cost < large.network.cost
    assert small.fresh == (99.5, 99.5, 99.2)
    assert small.test == (99.45, 99.35)
    assert (small.network.first_pct, large.network.first_pct) == (99.7, 99.6)


def test_the_deviation_within_networks_is_told(study: Any, place: Workspace):
    facts = found(study, place)

    # Squares about the means: 0.06 over 2, 0.005 over 1 and 0.005 over 1 degrees of freedom.
    assert facts.pooled_points == pytest.approx(((0.06 + 0.005 + 0.005) / 4) ** 0.5)
    assert "Seeds of one network deviate by 0.132 points from their mean (pooled)." in draw(facts)


def test_every_seed_is_a_mark_of_its_kind(study: Any, place: Workspace):
    made, _, narrow = draw(found(study, place)).partition('class="narrow"')

    assert made.count("data-n=") == narrow.count("data-n=")
    assert len(re.findall(r'class="mark trained" data-n=', made)) == 5
    assert len(re.findall(r'class="mark tested" data-n=', made)) == 2
    assert len(re.findall(r'class="mark pruned" data-n=', made)) == 2


def test_without_several_seeds_there_is_no_picture(new_study: Any, place: Workspace):
    assert draw(found(new_study(), place)) == ""
