from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.system.files import Workspace
from reports.study.answer import NextStep, next_step, winner
from reports.study.study_files import read_study

SEARCH = "harness search --budget 20000"


def step(study: Any, place: Workspace) -> NextStep | None:
    files = read_study(study.write(), place)
    return next_step(files, winner(files))


def end(study: Any, **values: Any) -> None:
    """Note that the search has ended; the study's own ``note`` takes ``seconds`` for what has passed."""
    study.note("ended")
    study.events[-1] |= values


@pytest.fixture
def proposal(study: Any, synthetic: Any) -> Any:
    return study.propose(synthetic.network(8, 8, 8))


@pytest.fixture
def study(new_study: Any) -> Any:
    return new_study()


def test_a_search_that_has_not_ended_is_gone_on_with(study: Any, place: Workspace):
    assert step(study, place) == NextStep(SEARCH, "goes on with the search where it stopped")


def test_a_search_without_an_answer_is_advised_as_it_was_on_the_terminal(study: Any, place: Workspace, proposal: Any):
    study.standing("winner", proposal, [50, 52, 54])
    end(study, reason="time", seconds=60.0)
    study.note("advised", arguments=["search", "--time", "3m"], advice="goes on with the same study")

    assert step(study, place) == NextStep("harness search --time 3m", "goes on with the same study")


def test_a_contradicted_winner_is_not_certified_but_what_the_search_advised(
    study: Any, place: Workspace, proposal: Any
):
    study.standing("winner", proposal, [50, 52, 54])
    study.verify(proposal, [50] * 6)
    study.note("ended", 3600.0, reason="time")
    study.note("advised", arguments=["search", "--seed", "1"], advice="begins a search with another seed")

    found = step(study, place)

    assert found is not None
    assert found.command == "harness search --seed 1"


def test_a_verification_by_hand_ends_the_advice_of_the_search(study: Any, place: Workspace, proposal: Any):
    study.standing("winner", proposal, [50, 52, 54])
    end(study, reason="time", seconds=60.0)
    study.note("advised", arguments=["search", "--time", "3m"], advice="goes on with the same study")
    study.events[-1]["utc"] = "2020-01-01T00:00:00+00:00"
    study.verify(proposal, [50] * 6)

    found = step(study, place)

    assert found is not None
    assert found.command == f"harness verify {proposal['hash']} --certify --declare-only"


def test_the_advice_of_an_earlier_session_is_not_repeated(study: Any, place: Workspace):
    end(study, reason="time", seconds=60.0)
    study.note("advised", arguments=["search", "--time", "3m"], advice="goes on with the same study")
    study.elapsed += 60.0
    study.note("session", command=SEARCH.split())
    end(study, reason="trials")

    assert step(study, place) == NextStep(SEARCH, "goes on with the search where it ended")


def test_a_search_of_an_older_program_that_found_nothing_is_gone_on_with(study: Any, place: Workspace):
    end(study, reason="exhausted")

    assert step(study, place) == NextStep(SEARCH, "goes on with the search where it ended")


def test_a_winner_that_was_not_tested_is_verified(study: Any, place: Workspace, proposal: Any):
    study.standing("winner", proposal, [50, 52, 54])
    study.note("ended", reason="time")

    found = step(study, place)

    assert found is not None
    assert found.command == f"harness verify {proposal['hash']}"


@pytest.mark.parametrize(
    ("errors", "command"),
    [
        ([50] * 6, "harness verify {} --certify --declare-only"),
        ([50] * 3, "harness verify {} --seeds 10"),
        ([90] * 6, SEARCH),
    ],
    ids=["verified", "too few seeds", "missed"],
)
def test_what_follows_a_verification_depends_on_its_outcome(
    study: Any, place: Workspace, proposal: Any, errors: list[int], command: str
):
    study.standing("winner", proposal, [50, 52, 54])
    study.note("ended", reason="time")
    study.verify(proposal, errors)

    found = step(study, place)

    assert found is not None
    assert found.command == command.format(proposal["hash"])


def test_only_a_result_on_mnist_is_certified(new_study: Any, place: Workspace, synthetic: Any):
    study = new_study(config=replace(synthetic.CONFIG, dataset="fashion-mnist"))
    given = "--budget=20000 --space @my.space --time 3m --study mine --dataset fashion-mnist"
    study.events[0]["command"] = ["./scripts/harness", "search", *given.split()]
    proposal = study.propose(synthetic.network(8, 8, 8))
    study.standing("winner", proposal, [50, 52, 54])
    study.note("ended", reason="time")
    study.verify(proposal, [50] * 6, dataset="fashion-mnist")

    found = step(study, place)

    assert found is not None
    smaller = proposal["parameters"] - 1
    assert found.command == f"harness search --space @my.space --time 3m --dataset fashion-mnist --budget {smaller}"


def test_a_command_is_named_as_this_program_was_called(study: Any, place: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HARNESS_COMMAND", "./scripts/harness")

    found = step(study, place)

    assert found is not None
    assert found.command == "./scripts/harness search --budget 20000"


def test_a_journal_without_a_command_names_none(study: Any, place: Workspace):
    del study.events[0]["command"]

    assert step(study, place) is None
