from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.study.course.choices import FEWEST_NETWORKS, Choices, choices, explained, median, score
from reports.study.course.choices_table import choices_tables
from reports.study.networks import Network, State
from search_spaces.draw import Decision
from search_spaces.notation import parse_network
from tests.reports.conftest import CONFIG

CHOSEN = replace(CONFIG, space_text="net = conv3x3({4, 8, 12}) bn? | gap | linear(10)")
GROUPS = st.lists(st.lists(st.floats(-5, 5), min_size=1, max_size=9), min_size=2, max_size=5)


def trained(study, parameters: int, errors: int, *decisions: Decision, epochs: int | None = None) -> Network:
    proposal = {
        "trial": parameters,
        "architecture": "gap linear(10)",
        "hash": f"{parameters:012x}",
        "parameters": parameters,
    }
    run = study.finish(proposal | {"epochs": epochs}, errors, decisions=decisions)
    return Network(
        hash=run.hash,
        architecture=parse_network("gap linear(10)"),
        parameters=parameters,
        trial=1,
        origin="tpe",
        state=State.TRAINED,
        runs=(run,),
    )


def width(index: int) -> Decision:
    return Decision("channels", index, 3, ordered=True)


def norm(index: int) -> Decision:
    return Decision("bn?", index, 2, ordered=False)


@pytest.fixture
def found(new_study) -> Choices:
    """Twelve networks whose width decides all; whether there is a bn does not matter."""
    study = new_study()
    of = [
        trained(study, 100 + number, (400, 200, 100)[number % 3], width(number % 3), norm(number // 3 % 2))
        for number in range(12)
    ]
    made = choices(of, CHOSEN)
    assert made is not None
    return made


def test_the_choice_that_decides_comes_first_and_explains_everything(found: Choices):
    assert [choice.name for choice in found.choices] == ["channels", "bn?"]
    assert found.choices[0].explained == pytest.approx(1)
    assert found.choices[1].explained == 0


def test_options_are_named_by_the_space_and_compared_after_the_first_rung(found: Choices):
    options = found.choices[0].options

    assert found.epoch == 4
    assert [option.name for option in options] == ["4", "8", "12"]
    # The made-up runs have three times their final errors at epoch 4.
    assert [option.mean_pct for option in options] == pytest.approx([88.0, 94.0, 97.0])
    assert [option.networks for option in options] == [4, 4, 4]
    assert options[0].median_parameters == 103


def test_each_network_is_known_by_what_it_picked(found: Choices):
    assert found.choices[0].picked == (0, 1, 2) * 4
    assert len(found.accuracies_pct) == 12


def test_without_rungs_the_end_of_the_run_is_compared(new_study):
    study = new_study()
    made = choices(
        [trained(study, 100 + n, 100 * (1 + n % 2), norm(n % 2)) for n in range(10)], replace(CHOSEN, rungs=())
    )

    assert made is not None
    assert made.epoch is None
    assert [option.mean_pct for option in made.choices[0].options] == [99.0, 98.0]


def test_a_space_that_cannot_be_read_leaves_options_without_a_name(new_study):
    study = new_study()
    made = choices(
        [trained(study, 100 + n, 100 * (1 + n % 2), norm(n % 2)) for n in range(10)],
        replace(CHOSEN, rungs=(), space_text="net = ?"),
    )

    assert made is not None
    assert [option.name for option in made.choices[0].options] == ["option 1", "option 2"]


def test_of_several_lengths_the_commonest_is_compared(new_study):
    study = new_study()
    of = [trained(study, 100 + n, 100 * (1 + n % 2), norm(n % 2), epochs=(30, 30, 15)[n % 3]) for n in range(18)]

    made = choices(of, CHOSEN)

    # The rungs of 15 epochs are 4 and 8.
    assert made is not None
    assert (made.length, made.epoch) == (30, 8)
    assert [value is None for value in made.accuracies_pct] == [False, False, True] * 6
    assert "trained for 30 epochs" in choices_tables(made)


def test_too_few_networks_say_nothing(new_study):
    study = new_study()
    few = [trained(study, 100 + n, 100, norm(n % 2)) for n in range(FEWEST_NETWORKS - 1)]

    assert choices(few, CHOSEN) is None
    assert choices_tables(None) == ""


def test_size_by_itself_is_told(new_study):
    study = new_study()
    draw = random.Random(3)
    sizes = [draw.randrange(1_000, 9_000) for _ in range(40)]
    made = choices([trained(study, size, 20_000_000 // size // 3, norm(size % 2)) for size in sizes], CHOSEN)

    assert made is not None
    accuracies = [score(value) for value in made.accuracies_pct if value is not None]
    expected = np.corrcoef(np.log(sizes), accuracies)[0, 1] ** 2
    assert made.size_explained == pytest.approx(expected)
    assert f"explains {100 * expected:.0f}\N{NO-BREAK SPACE}%" in choices_tables(made)


@given(GROUPS)
def test_the_share_explained_is_that_of_a_regression_on_the_options(groups: list[list[float]]):
    values = np.array([value for group in groups for value in group])
    count, kinds = len(values), len(groups)
    # A column an option, as a regression with indicator variables has them.
    design = np.zeros((count, kinds))
    design[np.arange(count), [place for place, group in enumerate(groups) for _ in group]] = 1
    residual = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
    total = float(((values - values.mean()) ** 2).sum())
    if count <= kinds or total < 1e-9:
        return
    expected = 1 - float((residual**2).sum()) / (count - kinds) / (total / (count - 1))

    assert explained(groups) == pytest.approx(max(0.0, expected), abs=1e-6)


def test_equal_values_and_single_takers_explain_nothing():
    assert explained([[1.0, 1.0], [1.0]]) == 0
    assert explained([[1.0], [2.0]]) == 0


@pytest.mark.parametrize(("values", "middle"), [([3], 3), ([5, 1], 1), ([9, 1, 5], 5), ([4, 3, 2, 1], 2)])
def test_the_median_is_one_of_the_values(values: list[int], middle: int):
    assert median(values) == middle


def test_no_errors_at_all_have_a_score():
    assert math.isfinite(score(100.0))
    assert score(99.5) < score(99.0)
