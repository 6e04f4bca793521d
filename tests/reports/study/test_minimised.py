"""A study that minimises multiply-adds: what its report ranks, draws and names."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.system.files import Workspace
from reports.extracts import study_summary
from reports.study.networks import front_of, networks
from reports.study.study_files import StudyFiles, read_study
from reports.study.study_info import study_info
from reports.study.study_page import page as rendered
from search_spaces.cost import analyse
from search_spaces.notation import parse_network
from search_spaces.space import Metric
from search_spaces.task import MNIST
from tests import browser
from tests.reports.reading import shown, type_into

# 178 parameters, 56,528 multiply-adds.
FEW_PARAMETERS = parse_network("conv3x3(8) bn relu gap linear(10)")
# 346 parameters, 28,384 multiply-adds.
FEW_MACS = parse_network("conv3x3(16, stride=2) bn relu gap linear(10)")


@pytest.fixture
def files(new_study: Callable[..., Any], synthetic: Any, place: Workspace) -> StudyFiles:
    """Two networks that are equally good on validation, both confirmed; the search goes on."""
    config = replace(synthetic.CONFIG, minimise=Metric.MACS, most=60_000)
    study = new_study(config=config)
    for architecture in (FEW_PARAMETERS, FEW_MACS):
        proposal = study.propose(architecture)
        study.finish(proposal, 40)
        study.confirm(proposal, [41, 42, 43])
        study.standing("standing", proposal, [41, 42, 43])
    return read_study(study.write(), place)


def test_the_sizes_of_the_two_are_what_the_comments_say():
    counted = [(item.parameters, item.macs) for item in (analyse(FEW_PARAMETERS, MNIST), analyse(FEW_MACS, MNIST))]

    assert counted == [(178, 56_528), (346, 28_384)]


def test_fewer_multiply_adds_come_first_and_are_the_front(files: StudyFiles):
    found = networks(files)

    assert [network.hash for network in found] == [FEW_MACS.hash, FEW_PARAMETERS.hash]
    assert [network.cost for network in found] == [28_384, 56_528]
    assert [network.hash for network in front_of(found)] == [FEW_MACS.hash]


def test_the_table_of_networks_shows_what_is_minimised_and_the_parameters_too(files: StudyFiles):
    page = rendered(study_info(files))

    [row] = re.findall(rf'<tr id="network-{FEW_MACS.hash}">.*?</tr>', page)
    assert "<td>28,384</td><td>346</td>" in row
    assert re.findall(r"multiply-adds</th>\s*<th[^>]*>parameters</th>", page)


@pytest.mark.browser
@pytest.mark.parametrize(("name", "bound"), [("most_macs", "30000"), ("smallest", "200")])
def test_a_reader_filters_by_multiply_adds_and_by_parameters(
    name: str, bound: str, files: StudyFiles, opened: browser.Page, tmp_path: Path
):
    (page := tmp_path / "report.html").write_text(rendered(study_info(files)), encoding="utf-8")
    opened.open(page)
    assert shown(opened) == 2

    type_into(opened, name, bound)

    assert shown(opened) == 1
    assert opened.evaluate("document.querySelector('#networks tbody tr:not([hidden])').id").endswith(FEW_MACS.hash)
    assert opened.complaints == []


def test_the_picture_draws_multiply_adds(files: StudyFiles):
    info = study_info(files)

    assert {point.cost for point in info.picture.points} == {28_384, 56_528}
    assert info.picture.config.ceiling == 60_000
    page = rendered(info)
    assert "Multiply-adds against accuracy" in page
    assert "Parameters against accuracy" not in page
    assert "at most 60,000" in page


def test_the_seeds_are_in_the_order_of_multiply_adds(files: StudyFiles):
    assert [row.network.hash for row in study_info(files).seeds.rows] == [FEW_MACS.hash, FEW_PARAMETERS.hash]


def test_a_measured_answer_is_told_with_its_multiply_adds(
    new_study: Callable[..., Any], synthetic: Any, place: Workspace
):
    study = new_study(config=replace(synthetic.CONFIG, minimise=Metric.MACS, most=60_000))
    proposal = study.propose(FEW_MACS)
    study.finish(proposal, 40)
    study.standing("standing", proposal, [41])
    study.standing("winner", proposal, [41])
    study.verify(proposal, [50, 51, 52, 53, 54])
    info = study_info(read_study(study.write(), place))

    assert "28,384 multiply-adds, 346 parameters" in info.headline.verdict
    assert "| multiply-adds, minimised | 28,384 (60,000 at most) |" in study_summary(info)
    assert "<dt>multiply-adds</dt><dd>28,384</dd>" in rendered(info)
