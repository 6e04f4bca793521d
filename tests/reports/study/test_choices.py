"""Which choices mattered: Optuna's importances, given studies whose truth is known."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from harness.training.result import Epoch
from reports.study.choices import FEWEST_NETWORKS, SIZE, choices
from reports.study.networks import Network, State
from search_spaces.draw import Decision
from tests.reports.conftest import CONFIG
from tests.reports.study.test_pruning import run


def made(number: int, count: int, *, decided: bool) -> list[Network]:
    """Return networks whose errors one choice of three decides, beside a coin that decides nothing."""
    draw, found = random.Random(number), []
    for trial in range(count):
        option, coin = draw.randrange(3), draw.randrange(2)
        errors = 40 + (60 * option if decided else 0) + draw.randrange(20)
        decisions = (Decision("kind", option, 3, ordered=False), Decision("coin", coin, 2, ordered=False))
        history = tuple(Epoch(epoch, 0.1, 0.1, 1.0, errors) for epoch in range(1, CONFIG.recipe.epochs + 1))
        first: Any = run(trial, draw.randrange(500, 5_000), (errors,) * 3, decisions=decisions, history=history)
        found.append(
            Network(
                hash=first.hash,
                architecture=first.architecture,
                parameters=first.parameters,
                trial=trial,
                origin="",
                state=State.TRAINED,
                runs=(first,),
            )
        )
    return found


def test_the_choice_that_decides_is_first_and_all_shares_are_one():
    found = choices(made(1, 200, decided=True), CONFIG)

    assert found is not None
    assert (found.networks, found.epochs, found.epoch) == (200, CONFIG.recipe.epochs, CONFIG.rungs[0])
    shares = dict(found.importances)
    assert found.importances[0][0] == "kind"
    assert shares["kind"] > 0.8
    assert abs(sum(shares.values()) - 1) < 1e-9
    assert shares.keys() <= {"kind", "coin", SIZE}


def test_a_few_networks_say_nothing():
    assert choices(made(1, FEWEST_NETWORKS - 1, decided=True), CONFIG) is None
    assert choices([], CONFIG) is None


def test_a_choice_of_one_option_matters_nothing():
    alone = (Decision("x", 0, 4, ordered=False),)
    networks = made(2, 60, decided=True)
    same = [replace(item, runs=(replace(item.runs[0], decisions=alone),)) for item in networks]

    found = choices(same, CONFIG)

    assert found is None or dict(found.importances).keys() <= {SIZE}
