from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from harness.evidence import record
from harness.system.files import Workspace
from harness.training.result import Status
from reports.study.course.accuracy_picture import AccuracyPicture, Kind, accuracy_picture, description, draw
from reports.study.networks import networks
from reports.study.study_files import read_study
from search_spaces.cost import analyse
from search_spaces.task import MNIST


def facts(study: Any, place: Workspace) -> AccuracyPicture:
    files = read_study(study.folder, place)
    return accuracy_picture(files, networks(files))


def wide(study: Any, place: Workspace) -> str:
    """The picture as a desk shows it."""
    return draw(facts(study, place)).partition('<div class="narrow">')[0]


def heights(picture: str, class_: str) -> list[float]:
    """The vertical places of all circles of a class."""
    return [float(y) for y in re.findall(rf'<circle cx="[^"]*" cy="([^"]*)" r="[^"]*" class="mark {class_}"', picture)]


def test_every_network_with_an_accuracy_is_a_point_and_the_others_are_counted(realistic_study: Any, place: Workspace):
    found = facts(realistic_study, place)
    files = read_study(realistic_study.folder, place)
    with_accuracy = [number for number, network in enumerate(networks(files)) if network.accuracy_pct is not None]

    searched = [point for point in found.points if point.kind is not Kind.TESTED]
    assert sorted(point.number for point in searched) == with_accuracy
    assert found.left_out == len(networks(files)) - len(with_accuracy) > 0
    assert [point.kind for point in found.points].count(Kind.TESTED) == 1


def test_the_front_rises_with_the_size(realistic_study: Any, place: Workspace):
    front = facts(realistic_study, place).front

    assert len(front) > 2
    assert [point.accuracy_pct for point in front] == sorted({point.accuracy_pct for point in front})
    assert {point.kind for point in front} == {Kind.TRAINED}


def test_the_line_of_the_front_passes_each_of_its_marks_and_goes_on_to_the_edge(realistic_study: Any, place: Workspace):
    made = wide(realistic_study, place)
    [line] = re.findall(r'<polyline points="([^"]*)" class="front"', made)
    corners = [tuple(map(float, pair.split(","))) for pair in line.split()]

    assert len(corners) == 2 * len(facts(realistic_study, place).front)
    assert [x for x, _ in corners] == sorted(x for x, _ in corners)
    assert [y for _, y in corners] == sorted((y for _, y in corners), reverse=True)
    assert corners[-1] == (1100.0, corners[-2][1])


def test_only_networks_with_several_seeds_have_a_bar(realistic_study: Any, place: Workspace):
    found = facts(realistic_study, place)
    several = [point for point in found.points if point.deviation_pct is not None]

    assert wide(realistic_study, place).count('class="bar ') == len(several)
    assert 0 < len(several) < len(found.points)


def test_each_kind_has_its_own_shape_and_its_entry_in_the_legend(realistic_study: Any, place: Workspace):
    made = draw(facts(realistic_study, place))

    for class_ in ("trained", "on-front", "pruned", "reached"):
        assert len(re.findall(rf'class="mark {class_}"', made)) >= 2


def test_a_more_accurate_network_stands_higher(new_study: Any, place: Workspace, synthetic: Any):
    study = new_study()
    for width, errors in ((4, 100), (5, 50), (6, 500), (7, 5_000)):
        study.finish(study.propose(synthetic.network(width, 8, 8)), errors)
    study.write()
    found = facts(study, place)

    accuracies = [point.accuracy_pct for point in found.points if not point.on_front]
    places = heights(draw(found), "trained")[: len(accuracies)]

    # Vertical places of SVG grow downwards.
    assert sorted(zip(accuracies, places, strict=True)) == sorted(
        zip(sorted(accuracies), sorted(places, reverse=True), strict=True)
    )


def test_lines_and_numbers_are_told_in_words_too(realistic_study: Any, place: Workspace):
    found = facts(realistic_study, place)

    words = description(found)

    assert "Target 99.4 %, validation threshold 99.45 %, budget 20,000 parameters." in words
    assert all(f"{point.cost:,} with" in words for point in found.front)
    assert words in draw(found).replace("&#x27;", "'").replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize("errors", [0, 10_000])
def test_extreme_accuracies_can_be_drawn(new_study: Any, place: Workspace, synthetic: Any, errors: int):
    study = new_study()
    study.finish(study.propose(synthetic.network(8, 8, 8)), errors)
    study.write()

    assert "nan" not in draw(facts(study, place))


def test_without_any_accuracy_there_is_no_picture(new_study: Any, place: Workspace, synthetic: Any):
    study = new_study()
    study.finish(study.propose(synthetic.network(8, 8, 8)), None, status=Status.CRASHED)
    study.write()

    assert draw(facts(study, place)) == ""


def test_the_axis_ends_near_the_largest_network_and_names_a_budget_beyond_it(realistic_study: Any, place: Workspace):
    found = facts(realistic_study, place)
    largest = max(point.cost for point in found.points)
    assert largest * 1.3 < found.config.ceiling

    assert "budget 20,000 \u2192" in draw(found)
    assert 'class="budget"' not in draw(found)
    assert 'class="budget"' in draw(replace(found, config=replace(found.config, budget=largest)))


def test_what_the_leaderboard_has_and_the_study_lacks_is_drawn_as_a_ghost(
    realistic_study: Any, place: Workspace, synthetic: Any
):
    smaller = synthetic.network(3, 4, 4)
    record.write(place.records, synthetic.evidence(smaller, [50] * 6))
    record.write(place.records, synthetic.evidence(synthetic.network(4, 4, 4), [90] * 6))

    [ghost] = facts(realistic_study, place).ghosts

    assert ghost.cost == analyse(smaller, MNIST).parameters
    assert ghost.label.endswith(smaller.hash[:6])


def test_a_telephone_gets_the_points_that_are_worth_a_name(realistic_study: Any, place: Workspace):
    found = facts(realistic_study, place)
    narrow = draw(found).partition('<div class="narrow">')[2]

    named = [point for point in found.points if point.on_front or point.deviation_pct is not None]
    assert 'viewBox="0 0 390 ' in narrow
    assert len(re.findall(r'class="mark (?:trained|on-front|reached)"><title>', narrow)) == len(named)
    assert "data-n" not in narrow
