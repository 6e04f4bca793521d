"""Log lines of a study: events are read as written, damaged lines are skipped, and the words of the file are fixed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from harness.spaces.notation import parse_network
from harness.spaces.space import Decision
from harness.studies.events import (
    _KINDS,
    Advised,
    Confirmed,
    DrawsRejected,
    EndReason,
    Entry,
    Event,
    FailedConfirmation,
    Postponed,
    Proposal,
    Rejected,
    Repeated,
    RunEnded,
    RungReached,
    SearchForecast,
    SessionBegan,
    SessionEnded,
    Verified,
    WinnerChosen,
    line,
    read_line,
)
from harness.studies.standing import Standing
from harness.training.result import Epoch, Status
from tests.factories import make_result

UTC = "2026-11-22T03:00:00+00:00"
NETWORK: dict[str, Any] = {"trial": 3, "hash": "0123456789ab", "parameters": 1_462}
EVENTS: list[Event] = [
    SessionBegan(command=("harness", "search"), workers=2, device="cpu", seconds=600.0),
    SessionEnded(reason=EndReason.EXHAUSTED, message="no more", seconds=None, trials=9),
    SessionEnded(reason="power failure"),
    Proposal(
        **NETWORK,
        architecture=parse_network("gap | linear(10)"),
        origin="surrogate",
        decisions=(Decision("net.0", 1, 3, True),),
        epochs=12,
        chance=0.5,
    ),
    DrawsRejected(rejected={"macs": 4}),
    Rejected(reason="parameters", parameters=30_000, hash="ab", origin="baseline", violation=0.5, indices={"net.0": 1}),
    Repeated(trial=3, hash="ab", indices={"net.0": 1}),
    RungReached(trial=3, epoch=4, seed_index=1, validation_errors=80, predicted_pct=99.5, pruned=True),
    RunEnded(run=make_result(errors=90, seed_index=1, status=Status.DIVERGED, trial=3)),
    Confirmed(**NETWORK, validation_accuracy_pct=99.4, validation_seeds=2, budget=1_461),
    FailedConfirmation(**NETWORK, validation_accuracy_pct=99.2, validation_seeds=2),
    WinnerChosen(**NETWORK, validation_accuracy_pct=99.4, validation_seeds=2),
    Postponed(hash="ab", parameters=5, seconds=48.5),
    Verified(hash="ab", recipe_hash="cd", tier=Standing.VERIFIED, mean_test_accuracy_pct=99.45, seeds=6, passed=True),
    Advised(arguments=("search", "--time", "2m"), advice="resumes the study"),
    SearchForecast(
        parameters=(300, 512, None), chance=0.9, seconds=(20.0, 60.5, 240.0), accuracy_pct=(97.0, 98.5, 99.0)
    ),
    RungReached(trial=3, epoch=4, validation_errors=80, validation_soft_errors=125.5),
    RunEnded(run=replace(make_result(errors=90, trial=3), validation_soft_errors=140.25, validation_loss=0.031)),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_event_is_read_as_written(event: Event):
    entry = Entry(61.25, event, UTC)

    assert read_line(line(entry)) == entry


def test_line_without_soft_errors_is_that_of_earlier_versions():
    history = (Epoch(1, 0.1, 0.5, 2.0, validation_errors=90),)
    run = replace(make_result(errors=90, trial=3), history=history)
    document = json.loads(line(Entry(1.0, RunEnded(run=run), UTC)))

    assert not {"validation_soft_errors", "validation_loss"} & (document["run"].keys() | document["run"]["history"][-1])


def test_log_words_of_all_versions_are_known():
    assert {type(event) for event in EVENTS} == set(_KINDS.values())
    assert list(_KINDS) == [
        *("session", "ended", "proposed", "draws_rejected", "looked", "rejected", "repeated", "rung", "finished"),
        *("confirmed", "standing", "refuted", "winner", "postponed", "verified", "advised", "quoted"),
    ]
    document = json.loads(line(Entry(1.00049, EVENTS[9], UTC)))
    assert list(document)[:6] == ["event", "elapsed", "utc", "trial", "hash", "parameters"]
    assert (document["event"], document["elapsed"]) == ("confirmed", 1.0)


@pytest.mark.parametrize(
    ("present", "earlier"),
    [("confirmed", "standing"), ("draws_rejected", "looked"), ("baseline", "floor"), ("surrogate", "aim")],
)
def test_words_of_earlier_logs_are_read_as_present_words(present: str, earlier: str):
    lines = [line(Entry(61.25, event, UTC)) for event in EVENTS if f'"{present}"' in line(Entry(61.25, event, UTC))]
    assert lines
    for text in lines:
        assert read_line(text.replace(f'"{present}"', f'"{earlier}"')) == read_line(text)


def test_empty_tier_of_earlier_logs_is_confirmed():
    text = '{"event": "verified", "elapsed": 0, "hash": "ab", "tier": "", "passed": true}'
    assert read_line(text) == Entry(0.0, Verified(hash="ab", tier=Standing.CONFIRMED, passed=True))


def test_read_line_ignores_fields_of_newer_versions():
    text = '{"event": "session", "elapsed": 0, "device": "cpu", "colour": 1}'
    assert read_line(text) == Entry(0.0, SessionBegan(device="cpu"))


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", '{"elapsed": 1}', '{"event": "unheard"}', '{"event": ["session"]}', '{"event": "proposed"}'),
        *(f'{{"event": "session", "elapsed": {elapsed}}}' for elapsed in ("-1", "NaN", "true", '"1"')),
        '{"event": "session", "utc": 5}',
        '{"event": "session", "workers": "<b>"}',
        '{"event": "rung", "trial": 0, "epoch": 1, "predicted_pct": NaN}',
        '{"event": "finished", "trial": 0, "purpose": "search"}',
    ],
)
def test_read_line_returns_none_for_line_without_valid_event(text: str):
    assert read_line(text) is None


def test_line_refuses_number_that_is_not_finite():
    with pytest.raises(ValueError):  # noqa: PT011
        line(Entry(1.0, Postponed(hash="ab", parameters=5, seconds=float("inf"))))
