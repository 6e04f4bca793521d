"""States of candidates and networks, derived from the events of a study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.datasets import DATASETS
from harness.spaces.space import Metric
from harness.studies.candidate import (
    TRANSITIONS,
    NearestMiss,
    NetworkState,
    confirm_seeds_of,
    miss_text,
    nearest_miss,
)
from harness.studies.config import config_document
from harness.studies.events import (
    Confirmed,
    Entry,
    Event,
    FailedConfirmation,
    RunEnded,
    RungReached,
    Verified,
    WinnerChosen,
)
from harness.studies.standing import Outcome, Standing
from harness.studies.study_state import StudyState
from harness.training.result import Purpose, Status
from tests import searches
from tests.factories import make_proposal, make_result

# Two networks, of which the first is trained for two lengths.
HASHES = ("a", "a", "b")
TRIALS = st.integers(0, len(HASHES) - 1)
STATUSES = st.sampled_from([Status.COMPLETE, Status.PRUNED, Status.CRASHED, Status.SHORTENED])
DECISIONS = st.sampled_from([Confirmed, FailedConfirmation, WinnerChosen])
VERDICTS = st.sampled_from([True, None, False])


def events_of(trial: int, kind: type[Any] | Status | bool | None) -> list[Event]:
    """Return the events of a step: the choice of a network as winner precedes a verdict."""
    if isinstance(kind, Status):
        run = make_result(errors=90, status=kind, purpose=Purpose.SEARCH)
        return [RunEnded(run=replace(run, trial=trial, hash=HASHES[trial]))]
    if kind is None or isinstance(kind, bool):
        return [*events_of(trial, WinnerChosen), Verified(hash=HASHES[trial], passed=kind)]
    event: Event = kind(
        trial=trial, hash=HASHES[trial], parameters=1000, validation_accuracy_pct=99.0, validation_seeds=2
    )
    return [event]


def state_of(network_hash: str, history: Sequence[tuple[int, Any]]) -> NetworkState:
    """Return the state of a network after the events: by the last verdict, else decision, else best first run."""
    kinds = [kind for trial, kind in history if HASHES[trial] == network_hash]
    verdicts = [kind for kind in kinds if kind is None or isinstance(kind, bool)]
    if verdicts:
        return {True: NetworkState.MET, None: NetworkState.OPEN, False: NetworkState.MISSED}[verdicts[-1]]
    decisions = [kind for kind in kinds if kind in (Confirmed, FailedConfirmation)]
    if decisions:
        return NetworkState.CONFIRMED if decisions[-1] is Confirmed else NetworkState.REFUTED
    order = {
        Status.COMPLETE: NetworkState.TRAINED,
        Status.PRUNED: NetworkState.PRUNED,
        Status.CRASHED: NetworkState.FAILED,
        Status.SHORTENED: NetworkState.SHORTENED,
    }
    return next((state for status, state in order.items() if status in kinds), NetworkState.WAITING)


@given(st.lists(st.tuples(TRIALS, st.one_of(STATUSES, DECISIONS, VERDICTS)), max_size=12))
def test_network_states_follow_table_of_transitions(history: list[tuple[int, Any]]):
    state = StudyState(Path("study"), searches.config())
    for trial, network_hash in enumerate(HASHES):
        state.apply(Entry(0.0, make_proposal(trial, hash=network_hash)))

    for number, (trial, kind) in enumerate(history):
        earlier_states = dict(state.network_states)
        for event in events_of(trial, kind):
            state.apply(Entry(float(number), event))
        for network_hash, network_state in state.network_states.items():
            if network_state is not earlier_states[network_hash]:
                assert network_hash == HASHES[trial]
                assert earlier_states[network_hash] in TRANSITIONS[network_state]
            assert network_state is state_of(network_hash, history[: number + 1])


def test_network_is_in_training_from_first_rung():
    state = StudyState(Path("study"), searches.config())
    state.apply(Entry(0.0, make_proposal(0, hash="a")))
    assert state.network_states == {"a": NetworkState.WAITING}

    rung: dict[str, Any] = {"epoch": 2, "validation_errors": 90, "ratio": 0.6, "predicted_pct": 99.0, "pruned": False}
    state.apply(Entry(1.0, RungReached(trial=0, purpose=Purpose.SEARCH, seed_index=0, exempt=False, **rung)))
    assert state.network_states == {"a": NetworkState.TRAINING}

    for _ in range(2):  # a damaged log may repeat an event
        state.apply(Entry(2.0, RunEnded(run=replace(make_result(errors=50), trial=0))))
    assert state.trained_count == 1


def test_log_without_proposal_of_winner_has_no_answer():
    state = StudyState(Path("study"), searches.config())
    [winner] = events_of(0, WinnerChosen)
    state.apply(Entry(0.0, winner))
    state.apply(Entry(1.0, Verified(hash="a", recipe_hash="b", tier=Standing.VERIFIED, passed=True)))

    assert state.standing() == (Outcome.NOT_YET, Standing.NONE, None, None)


@pytest.mark.parametrize("classes", [2, 10])
def test_run_without_accuracy_counts_as_chance_level(classes: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(DATASETS, "some", replace(DATASETS["mnist"], name="some", classes=classes))
    state = StudyState(Path("study"), searches.config(dataset="some"))
    state.apply(Entry(0.0, make_proposal(0)))
    for index, status in enumerate((Status.COMPLETE, Status.CRASHED)):
        errors = 90 if status is Status.COMPLETE else None
        run = make_result(errors=errors, status=status, purpose=Purpose.CONFIRM, seed_index=index)
        state.apply(Entry(1.0, RunEnded(run=replace(run, trial=0))))

    assert state.candidates[0].fresh_pct == [99.1, 100 / classes]


def test_study_is_read_without_data_set():
    state = StudyState(Path("study"), searches.config(dataset="removed"))
    state.apply(Entry(0.0, make_proposal(0)))

    assert state.candidates.keys() == {0}


@pytest.mark.parametrize(
    ("errors", "outcomes"),
    [
        ([40, 40, 40, 40], ["open", "open", "open", "confirmed"]),
        # A hard group does not refute a network while three more groups are to come.
        ([80, 30, 40, 30], ["open", "open", "open", "confirmed"]),
        ([40, 40, 40, 200], ["open", "open", "open", "refuted"]),
        ([600], ["refuted"]),
    ],
)
def test_confirmation_requires_a_seed_on_each_fold_of_groups(errors: list[int], outcomes: list[str]):
    state = StudyState(Path("study"), searches.config(group_folds=4, validation_groups=4, test_groups=4))
    state.apply(Entry(0.0, make_proposal(0)))
    state.apply(Entry(1.0, RunEnded(run=replace(make_result(errors=40), trial=0))))
    candidate = state.candidates[0]
    for index, (error_count, outcome) in enumerate(zip(errors, outcomes, strict=True)):
        assert candidate.seeds_wanted == 4
        run = make_result(errors=error_count, purpose=Purpose.CONFIRM, seed_index=index)
        state.apply(Entry(2.0, RunEnded(run=replace(run, trial=0))))

        assert (candidate.is_confirmed, candidate.is_refuted) == (outcome == "confirmed", outcome == "refuted")


def test_confirmation_counts_effective_number_of_validation_images():
    # Equal errors on 1,000 images. If these are copies of 60 pictures, the spread between seeds is larger.
    chances = []
    for cases in (0, 300, 5_000):
        state = StudyState(Path("study"), searches.config(threshold_pct=97.0, image_folds=5, validation_groups=cases))
        state.apply(Entry(0.0, make_proposal(0)))
        for index in range(5):
            run = make_result(errors=28, validation_size=1_000, purpose=Purpose.CONFIRM, seed_index=index)
            state.apply(Entry(1.0, RunEnded(run=replace(run, trial=0))))
        chances.append(state.candidates[0].chance_to_verify)

    assert state.candidates[0].groups is None
    assert chances[1] < chances[0] == chances[2]


def test_errors_on_folds_of_different_sizes_count_as_shares():
    state = StudyState(Path("study"), searches.config(group_folds=2, validation_groups=2, test_groups=2))
    state.apply(Entry(0.0, make_proposal(0)))
    runs = [make_result(errors=200, validation_size=10_000)]
    sizes = ((100, 2_000), (300, 10_000))
    runs += [
        make_result(errors=error_count, validation_size=size, purpose=Purpose.CONFIRM, seed_index=index)
        for index, (error_count, size) in enumerate(sizes)
    ]
    for run in runs:
        state.apply(Entry(1.0, RunEnded(run=replace(run, trial=0))))

    # Fresh seeds: 5 and 3 % of 10,000 images; all runs: 2, 5 and 3 %.
    miss = nearest_miss(state.candidates.values())
    assert miss is not None
    assert miss.errors == pytest.approx(400)
    assert miss.size == 10_000
    assert state.candidates[0].expected_errors({}) == pytest.approx(10_000 / 30)


@pytest.mark.parametrize(
    ("folds", "sizes", "names"),
    [(1, (), {}), (5, (), {"image_folds": 5}), (1, (30, 40), {}), (2, (30, 40), {"group_folds": 2})],
)
def test_only_folds_change_the_document_of_a_configuration(folds: int, sizes: tuple[int, ...], names: dict[str, int]):
    data = replace(DATASETS["mnist"], folds=folds, validation_group_sizes=sizes, group_by="person")
    config = searches.config(image_folds=data.image_folds, group_folds=data.group_folds)

    document = config_document(config)

    assert {name: value for name, value in document.items() if name.endswith("folds")} == names
    # A confirmation needs a fresh seed on every fold, two without folds.
    assert confirm_seeds_of(config) == max(2, folds)


def test_nearest_miss_is_the_lowest_share_of_errors_on_folds_of_different_sizes():
    state = StudyState(Path("study"), searches.config())
    for trial, (errors, images) in enumerate(((2, 10), (3, 30))):
        state.apply(Entry(0.0, make_proposal(trial)))
        state.apply(Entry(1.0, RunEnded(run=replace(make_result(errors=errors, validation_size=images), trial=trial))))

    miss = nearest_miss(state.candidates.values())

    assert miss is not None
    assert (miss.trial, miss.errors) == (1, 3)


@pytest.mark.parametrize(
    ("errors", "runs", "words"),
    [
        (15, 1, "15 errors (97.00 %), 50 allowed; not confirmed yet, further seeds have not been run"),
        (15, 3, "mean 15.0 errors of 3 runs (97.00 %), 50 allowed; the runs are too few or differ too much"),
        (75, 1, "75 errors (85.00 %), 50 allowed"),
    ],
)
def test_nearest_miss_states_accuracy_and_lacking_seeds(errors: int, runs: int, words: str):
    miss = NearestMiss(
        trial=0, hash="a" * 12, parameters=9, epochs=3, errors=errors, runs=runs, allowed=50, size=500, cost=9
    )
    assert words in miss_text(miss, Metric.PARAMETERS)
