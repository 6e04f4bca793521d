from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness import export
from harness.data.datasets import DATASETS
from harness.evidence.record import Record, SeedRun
from harness.export import Match, match, record_of_seed, to_onnx
from harness.training.result import Result
from harness.training.train import Training
from harness.training.weights import final_network, properties, weights_of
from search_spaces.notation import parse_network
from tests.harness.tied_run import TIED, some_images, tied_run

MNIST = DATASETS["mnist"]


@pytest.fixture(scope="module")
def trained() -> tuple[Result, Training]:
    """A tied network, trained for two epochs on a hundred images, with averaged weights."""
    return tied_run()


def test_the_same_weights_give_the_same_model(trained: tuple[Result, Training]):
    result, run = trained
    about = properties(result, MNIST)

    models = {to_onnx(parse_network(TIED), final_network(run), MNIST, some_images(5)[0], about)[0] for _ in range(3)}

    assert len(models) == 1


def test_the_model_is_compared_with_torch(trained: tuple[Result, Training]):
    _, check = to_onnx(parse_network(TIED), final_network(trained[1]), MNIST, some_images(64)[0], {})

    assert (check.images, check.classes_differ) == (64, 0)
    assert check.largest_difference < 1e-5


def test_a_model_that_says_something_else_is_never_given_out(
    trained: tuple[Result, Training], monkeypatch: pytest.MonkeyPatch
):
    network = final_network(trained[1])
    kept, tied = weights_of(network)
    wrong = {**kept, "ops.0.weight": kept["ops.0.weight"] + np.float32(0.5)}
    monkeypatch.setattr(export, "weights_of", lambda given: (wrong, tied))

    with pytest.raises(AssertionError, match="ONNX gives other logits than torch, by "):
        to_onnx(parse_network(TIED), network, MNIST, some_images(8)[0], {})


# The record ---------------------------------------------------------------------------------------------------


@pytest.fixture
def recorded(new_record: Callable[..., Record]) -> SeedRun:
    return replace(new_record([60]).seeds[0], weights_sha256="aa")


@pytest.mark.parametrize(
    ("weights", "changes", "found"),
    [
        ("aa", {}, Match.IDENTICAL),
        ("aa", {"device": "another"}, Match.IDENTICAL),
        ("bb", {}, Match.DIFFERENT),
        ("bb", {"commit": "1" * 40, "dirty": True}, Match.DIFFERENT),
        ("bb", {"engine": "native AVX2 0123"}, Match.ELSEWHERE),
        ("bb", {"torch": "2.99"}, Match.ELSEWHERE),
    ],
)
def test_weights_are_compared_with_the_record(
    weights: str, changes: dict[str, Any], found: Match, recorded: SeedRun, new_result: Callable[..., Result]
):
    environment = replace(recorded.environment, **changes)

    assert match(new_result(weights_sha256=weights, environment=environment), recorded) is found


def test_without_a_recorded_digest_there_is_nothing_to_compare_with(
    recorded: SeedRun, new_result: Callable[..., Result]
):
    made = new_result(weights_sha256="aa", environment=recorded.environment)

    assert match(made, None) is Match.UNRECORDED
    assert match(made, replace(recorded, weights_sha256=None)) is Match.UNRECORDED


def test_a_recorded_seed_is_found_whatever_target_it_was_run_for(new_record: Callable[..., Record]):
    other, mine = new_record([60, 61], dataset="kmnist"), new_record([70, 71], target_pct=99.0)
    key = (mine.hash, mine.recipe_hash, "mnist")

    assert record_of_seed([other, mine], *key, 1) == mine
    assert record_of_seed([other, mine], *key, 2) is None
    assert record_of_seed([other], *key, 1) is None
    assert record_of_seed([mine], mine.hash, "0" * 12, "mnist", 1) is None
