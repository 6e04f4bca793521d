"""Early readings against the end: correlations by size, and pruning judged by the networks that are exempt from it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from scipy import stats

from harness.evidence.events import Entry, Event
from harness.training.recipe import Recipe
from harness.training.result import Epoch, Purpose, Result, Status
from reports.study.course.rungs import (
    FEWEST,
    Prediction,
    Rungs,
    WrongPruning,
    rungs,
    rungs_by_length,
    rungs_by_protocol,
)
from reports.study.course.rungs_tables import rungs_tables
from reports.study.study_files import StudyFiles
from search_spaces.notation import parse_network
from tests.harness import logged
from tests.reports.conftest import CONFIG, SIZE
from tests.wording import lacking

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


def files(results: Sequence[Result], events: Sequence[Entry[Event]] = (), name: str = "a") -> StudyFiles:
    return StudyFiles(name=name, config=CONFIG, origins={}, events=tuple(events), results=tuple(results))


def group(facts: Rungs, epoch: int, words: str) -> Prediction:
    [found] = [item for item in facts.predictions if (item.epoch, item.group) == (epoch, words)]
    return found


def noisy(count: int, noise: float, parameters: int = 1_500) -> list[Result]:
    """Return runs whose errors at epoch 4 tell less of the end than those at epoch 8."""
    draw = random.Random(1)
    ends = [draw.randrange(50, 300) for _ in range(count)]
    early = [(round(end * 2 + draw.gauss(0, noise)), round(end * 1.3 + draw.gauss(0, noise / 4))) for end in ends]
    return [run(trial, parameters, (*early[trial], end)) for trial, end in enumerate(ends)]


# Does a reading predict the end? ----------------------------------------------------------------------------


def test_correlations_are_those_of_scipy_over_errors_at_the_rung_and_at_the_end():
    results = noisy(40, 80.0)
    ends = [result.validation_errors for result in results]

    facts = rungs([files(results)])

    for epoch in CONFIG.rungs:
        early = [result.history[epoch - 1].validation_errors for result in results]
        found = group(facts, epoch, "all that went to the end")
        assert found.networks == 40
        assert found.spearman == pytest.approx(stats.spearmanr(early, ends).statistic)
        assert found.kendall == pytest.approx(stats.kendalltau(early, ends).statistic)
        assert found.low is not None
        assert found.high is not None
        assert found.spearman is not None
        assert found.low < found.spearman < found.high


def test_the_interval_is_the_same_each_time_and_narrower_with_more_networks():
    first, again = rungs([files(noisy(60, 80.0))]), rungs([files(noisy(60, 80.0))])

    assert first == again
    wide, narrow = (group(rungs([files(noisy(count, 80.0))]), 4, "all that went to the end") for count in (12, 200))
    assert (wide.high or 0) - (wide.low or 0) > 2 * ((narrow.high or 0) - (narrow.low or 0))


def test_sizes_are_banded_by_doublings_and_their_ends_belong_to_the_smaller():
    sizes = (1_000, 1_001, 2_000, 2_001, 16_000, 16_001)

    facts = rungs([files([run(trial, size, (9, 8, 7)) for trial, size in enumerate(sizes)])])

    counted = {item.group: item.networks for item in facts.predictions if item.epoch == 4}
    assert counted == {
        "all that went to the end": 6,
        "those exempt by lot": 1,
        "1 to 1,000 parameters": 1,
        "1,001 to 2,000 parameters": 2,
        "2,001 to 4,000 parameters": 1,
        "8,001 to 16,000 parameters": 1,
        "over 16,000 parameters": 1,
    }


def test_too_few_networks_and_equal_ones_have_no_correlation():
    few = rungs([files(noisy(FEWEST - 1, 80.0))])
    equal = rungs([files([run(trial, 1_500, (90, 80, 70)) for trial in range(FEWEST)])])

    for facts in (few, equal):
        found = group(facts, 4, "all that went to the end")
        assert (found.spearman, found.low, found.high, found.kendall) == (None, None, None, None)
    assert "Too few to say whether a rung predicts the end: 8 networks" in rungs_tables(few)
    assert "there are 7." in rungs_tables(few)


def test_only_first_runs_that_went_to_the_end_and_were_read_at_every_rung_count():
    whole = noisy(5, 10.0)
    others = [
        run(10, 1_500, (90, 80, 70), status=Status.PRUNED),
        run(11, 1_500, (90, 80, 70), status=Status.DIVERGED),
        run(12, 1_500, (90, 80, 70), purpose=Purpose.CONFIRM),
        run(13, 1_500, (90, 80, 70), history=(Epoch(EPOCHS, 0.1, 0.1, 1.0, 70),)),
        run(14, 1_500, (90, 80, 70), validation_errors=None),
    ]

    facts = rungs([files([*whole, *others])])

    assert (facts.finished, facts.exempt) == (5, 1)


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
    first, second, whole = rungs([judged]).pruning

    # Five were spared at epoch 4: one reached, three missed, one diverged.
    assert (first.epoch, first.pruned, first.spared, first.reached, first.share) == (4, 2, 5, 1, 0.2)
    assert (second.epoch, second.pruned, second.spared, second.reached, second.share) == (8, 1, 2, 0, 0.0)
    assert (whole.epoch, whole.pruned, whole.spared, whole.reached) == (None, 3, 5, 1)
    exact = stats.binomtest(1, 5).proportion_ci(0.95, method="exact")
    assert (whole.low, whole.high) == pytest.approx((exact.low, exact.high))
    words = rungs_tables(rungs([judged]))
    assert lacking(words, "20.0 % of the pruned", "met the threshold", "0.5 to 71.6 %", "1 of the 3 pruned") == []


def test_without_a_spared_network_nothing_is_said_of_wrong_pruning():
    facts = rungs([files([run(3, 1_500, (90, 80, 70))], [rung(1, 4, "pruned"), rung(2, 4, "hopeful")])])

    assert facts.pruning[-1] == WrongPruning(None, 1, 0, 0, None, None)
    assert facts.pruning[-1].share is None
    assert "How often pruning was wrong cannot be said: 1 network was pruned" in rungs_tables(facts)


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
    both = replace(files(results, events), config=replace(CONFIG, lengths=(15, 30, 60)))

    short, long = rungs_by_length(both)

    assert (short.recipe_name, short.epochs, short.rungs, short.finished) == ("fast", 15, (4, 8), 1)
    assert (long.recipe_name, long.epochs, long.rungs, long.finished) == ("fast-30ep", 30, (8, 16), 1)
    assert [item.pruned for item in short.pruning] == [1, 0, 1]
    assert [(item.epoch, item.pruned, item.reached) for item in long.pruning] == [(8, 1, 0), (16, 0, 1), (None, 1, 1)]
    assert [facts.epochs for facts in rungs_by_protocol([both])] == [15, 30, 60]


def test_lengths_with_the_same_rungs_are_kept_apart():
    results = [
        of_length(1, {2: 90, 3: 80, 4: 70}),
        of_length(2, {2: 90, 3: 80, 5: 60}),
        of_length(3, {2: 9, 3: 8, 5: 7}),
    ]
    both = replace(files(results), config=replace(CONFIG, lengths=(4, 5)))

    assert [(facts.epochs, facts.rungs, facts.finished) for facts in rungs_by_length(both)] == [
        (4, (2, 3), 1),
        (5, (2, 3), 2),
    ]


def test_a_study_without_any_reading_has_one_table():
    nothing = replace(files([]), config=replace(CONFIG, lengths=(15, 30)))

    assert [facts.finished for facts in rungs_by_length(nothing)] == [0]


# Several studies --------------------------------------------------------------------------------------------


def test_studies_of_one_protocol_are_counted_together_and_others_apart(judged: StudyFiles):
    other = replace(judged, name="b", results=tuple(replace(result, seed=1) for result in judged.results))
    longer = replace(judged, name="c", config=replace(CONFIG, recipe=Recipe(epochs=30), rungs=(8, 15)))
    short = replace(judged, name="d", config=replace(CONFIG, recipe=Recipe(epochs=1), rungs=()))

    found = rungs_by_protocol([judged, other, longer, short])

    assert sorted((facts.studies, facts.epochs) for facts in found) == [(1, 30), (2, EPOCHS)]
    [both] = [facts for facts in found if facts.studies == 2]
    # Trials of one number in two studies are two runs.
    assert (both.pruning[-1].pruned, both.pruning[-1].spared) == (6, 10)
    assert (both.finished, both.predictions[0].networks) == (8, 8)
    assert rungs_tables(rungs([short])) == "<p>The recipe is too short for rungs: nothing is pruned.</p>"


def test_the_same_run_in_two_studies_is_counted_once(judged: StudyFiles):
    twice, once = rungs([judged, replace(judged, name="b")]), rungs([judged])

    assert twice.finished == once.finished
    assert (twice.pruning[-1].spared, twice.pruning[-1].reached) == (5, 1)
