"""Pictures of several studies, which may not minimise the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from harness.system.files import Workspace
from reports.comparison.comparison_pictures import budgets_picture, fronts_picture
from reports.study.study_files import read_study
from reports.study.study_info import StudyInfo, study_info
from search_spaces.notation import parse_network
from search_spaces.space import Metric

# 346 parameters, 28,384 multiply-adds.
NETWORK = parse_network("conv3x3(16, stride=2) bn relu gap linear(10)")


@pytest.fixture
def info_of(new_study: Callable[..., Any], synthetic: Any, place: Workspace) -> Callable[[str, Metric], StudyInfo]:
    """Facts of a study with one trained network, by its name and what it minimises."""

    def made(name: str, minimise: Metric) -> StudyInfo:
        most = None if minimise is Metric.PARAMETERS else 60_000
        study = new_study(name=name, config=replace(synthetic.CONFIG, minimise=minimise, most=most))
        study.finish(study.propose(NETWORK), 40)
        return study_info(read_study(study.write(), place))

    return made


def test_studies_that_minimise_the_same_share_an_axis_of_it(info_of: Callable[[str, Metric], StudyInfo]):
    both = [info_of("a", Metric.MACS), info_of("b", Metric.MACS)]

    fronts = fronts_picture(both)

    assert "multiply-adds (logarithmic)" in fronts
    assert fronts.count("28,384 with") == 2
    assert "<svg" in budgets_picture(both)


@pytest.mark.parametrize("picture", [fronts_picture, budgets_picture])
def test_studies_that_minimise_different_metrics_are_not_drawn_on_one_axis(
    picture: Callable[[list[StudyInfo]], str], info_of: Callable[[str, Metric], StudyInfo]
):
    made = picture([info_of("a", Metric.MACS), info_of("b", Metric.PARAMETERS)])

    assert "<svg" not in made
    assert "multiply-adds" in made
    assert "parameters" in made
