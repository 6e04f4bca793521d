"""Pruning, judged by the networks that are exempt from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from scipy import stats

from harness.evidence.events import Entry, Event, RunEnded
from harness.evidence.study import StudyConfig
from harness.training.result import Epoch, Purpose, Result, Status
from reports.study.pruning import _WrongPruning, rungs_by_length
from reports.study.study_files import StudyFiles
from search_spaces.notation import parse_network
from tests.harness import logged
from tests.reports.conftest import CONFIG, SIZE, files_of

EPOCHS = CONFIG.recipe.epochs


def run(trial: int, parameters: int, errors: Sequence[int], **changes: Any) -> Result:
    """Return a first run with these errors at the rungs and at the end; the hash is the number of the trial."""
    looks = dict(zip((*CONFIG.rungs, EPOCHS), errors, strict=False))
    made = Result(
        architecture=parse_network("gap linear(10)"),
        hash=f"{trial:012x}",
        parameters=parameters,
        macs=1,
        recipe=CONFIG.recipe,
        recipe_name="fast",
        recipe_hash=CONFIG.recipe.hash,
        dataset="mnist",
        purpose=Purpose.SEARCH,
        seed_index=0,
        seed=0,
        status=Status.COMPLETE,
        history=tuple(Epoch(epoch, 0.1, 0.1, 1.0, looks.get(epoch)) for epoch in range(1, EPOCHS + 1)),
        validation_errors=errors[-1],
        validation_size=SIZE,
        trial=trial,
    )
    return replace(made, **changes)


def rung(trial: int, epoch: int, decided: str, **changes: Any) -> Entry[Event]:
    """Return the log's entry of a decision: pruned, exempt or hopeful."""
    values = {"trial": trial, "epoch": epoch, "pruned": decided == "pruned", "exempt": decided == "exempt"}
    return logged.entry("rung", **(values | changes))


def files(results: Sequence[Result], events: Sequence[Entry[Event]] = (), config: StudyConfig = CONFIG) -> StudyFiles:
    return files_of(*events, *(Entry(0.0, RunEnded(run=each)) for each in results), config=config)


# How often is pruning wrong? --------------------------------------------------------------------------------


@pytest.fixture
def judged() -> StudyFiles:
    """Two pruned at epoch 4 and one at epoch 8; of four spared at epoch 4 two are spared again and one has reached."""
    events = [
        rung(1, 4, "pruned"),
        rung(2, 4, "pruned"),
        rung(2, 4, "pruned"),  # a killed search has decided again
        rung(3, 4, "hopeful"),
        rung(3, 8, "pruned"),
        *(rung(trial, 4, "exempt") for trial in (10, 20, 30, 40)),
        *(rung(trial, 8, "exempt") for trial in (10, 20)),
        rung(50, 4, "exempt", purpose="confirm"),
        rung(60, 4, "exempt"),  # in training yet
        rung(70, 4, "exempt"),
        rung(80, 4, "exempt"),
    ]
    results = [
        run(10, 1_500, (900, 200, 100)),
        run(20, 1_500, (900, 200, 56)),
        run(30, 1_500, (200, 90, 55)),  # 99.45 %, the threshold
        run(40, 1_500, (200, 90, 90)),
        run(70, 1_500, (900, 200, 9_000), status=Status.DIVERGED),
        run(80, 1_500, (900, 200, 10), status=Status.CRASHED),
    ]
    return files(results, events)


def test_wrong_pruning_is_the_share_of_spared_networks_that_reached(judged: StudyFiles):
    ((first, second, whole),) = (facts.pruning for facts in rungs_by_length(judged))

    # Five were spared at epoch 4: one reached, three missed, one diverged.
    assert (first.epoch, first.pruned, first.spared, first.reached, first.share) == (4, 2, 5, 1, 0.2)
    assert (second.epoch, second.pruned, second.spared, second.reached, second.share) == (8, 1, 2, 0, 0.0)
    assert (whole.epoch, whole.pruned, whole.spared, whole.reached) == (None, 3, 5, 1)
    exact = stats.binomtest(1, 5).proportion_ci(0.95, method="exact")
    assert (whole.low, whole.high) == pytest.approx((exact.low, exact.high))


def test_without_a_spared_network_nothing_is_said_of_wrong_pruning():
    (facts,) = rungs_by_length(files([run(3, 1_500, (90, 80, 70))], [rung(1, 4, "pruned"), rung(2, 4, "hopeful")]))

    assert facts.pruning[-1] == _WrongPruning(None, 1, 0, 0, None, None)
    assert facts.pruning[-1].share is None


def of_length(trial: int, looks: dict[int, int]) -> Result:
    """Return a first run with these errors after these epochs, the last of which is its end."""
    epochs = max(looks)
    history = tuple(Epoch(epoch, 0.1, 0.1, 1.0, looks.get(epoch)) for epoch in range(1, epochs + 1))
    recipe = replace(CONFIG.recipe, epochs=epochs)
    return run(trial, 1_500, list(looks.values()), recipe=recipe, history=history)


def test_each_length_of_a_training_has_its_own_rungs_and_counts():
    events = [
        rung(1, 4, "pruned"),
        rung(2, 16, "exempt"),
        rung(3, 8, "pruned"),
        logged.entry("proposed", trial=3, epochs=30),
    ]
    results = [run(0, 1_500, (90, 80, 70)), of_length(2, {8: 90, 16: 80, 30: 50})]
    both = files(results, events, replace(CONFIG, lengths=(15, 30, 60)))

    short, long = rungs_by_length(both)

    assert (short.recipe_name, short.epochs, short.rungs) == ("fast", 15, (4, 8))
    assert (long.recipe_name, long.epochs, long.rungs) == ("fast-30ep", 30, (8, 16))
    assert [item.pruned for item in short.pruning] == [1, 0, 1]
    assert [(item.epoch, item.pruned, item.reached) for item in long.pruning] == [(8, 1, 0), (16, 0, 1), (None, 1, 1)]
