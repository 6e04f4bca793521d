"""Optuna behind its adapter: every sampler proposes from conditional spaces, learns, and goes on after a restart."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import click
import optuna
import pytest
from optuna.trial import TrialState

from harness.commands.search import search
from harness.search import optuna_sampler as sampler
from harness.search.optuna_sampler import SAMPLERS, Index
from harness.search.race import Outcome
from harness.system.errors import UsageError
from search_spaces.catalog import space
from search_spaces.draw import Decision, Draw, Uniform, draw, judge, replay
from search_spaces.resolve import parse_space
from search_spaces.space import SearchSpace

CARD = space("card")
SINGLE = parse_space("net = gap linear(10);")
ALL = pytest.mark.parametrize("name", sorted(SAMPLERS))


def decisions_of(found: Draw) -> tuple[Decision, ...]:
    return found.decisions


def made_up(found: Draw, number: int) -> Outcome:
    """Return an outcome of each kind in turn: above and below the threshold, pruned, failed."""
    analysis = judge(CARD, found.architecture).analysis
    assert analysis is not None
    kind = number % 5
    return Outcome(analysis.parameters, None if kind == 4 else 0.1 * (kind - 1), kind != 3)


def ask_and_tell(index: Index, count: int, within: SearchSpace = CARD) -> list[Draw]:
    """Return so many proposals; those over 20,000 parameters are rejected, the others told."""
    asked = []
    for number in range(count):
        trial, found = sampler.ask(index, within)
        asked.append(found)
        analysis = judge(within, found.architecture).analysis
        if analysis is None:
            sampler.forget(index, trial)
        elif analysis.parameters > 20_000:
            sampler.reject(index, trial, analysis.parameters, analysis.parameters / 20_000 - 1)
        else:
            sampler.tell(index, trial, made_up(found, number))
    return asked


@pytest.mark.parametrize(
    ("name", "expected"),
    [("auto", "surrogate"), *((name, name) for name in ("surrogate", "tpe", "nsga2", "evolution", "random"))],
)
def test_a_sampler_is_known_by_its_name(name: str, expected: str):
    assert sampler.sampler_name(name) == expected


def test_the_help_says_which_sampler_auto_is():
    (said,) = (option.help for option in search.params if isinstance(option, click.Option) and option.name == "sampler")

    assert said is not None
    assert f"auto (the same as {sampler.DEFAULT})" in said


def test_an_unknown_sampler_is_refused_with_the_known_ones():
    with pytest.raises(
        UsageError, match=r"^unknown sampler 'tpee'; known are auto, tpe, nsga2, evolution, random, surrogate$"
    ) as caught:
        sampler.sampler_name("tpee")

    assert caught.value.hint == "did you mean 'tpe'?"


@ALL
def test_proposals_are_networks_of_the_space(name: str):
    index = sampler.new_index(name, 0)

    for found in ask_and_tell(index, 40):
        again = replay(CARD, found.indices, Uniform(random.Random(0)))
        assert again == found


@ALL
def test_proposals_go_on_differing(name: str):
    index = sampler.new_index(name, 0)

    hashes = {found.architecture.hash for found in ask_and_tell(index, 40)}

    assert len(hashes) > 30


@ALL
def test_the_same_seed_gives_the_same_proposals_and_another_seed_others(name: str):
    first, second, other = (ask_and_tell(sampler.new_index(name, seed), 25) for seed in (3, 3, 4))

    assert first == second
    assert first != other


@ALL
def test_the_proposals_after_a_restart_are_those_that_would_have_come(name: str):
    """40 questions: NSGA-II has 20 complete trials a generation, evolution 20 parents, TPE 10 random ones first."""
    for stop in (0, 1, 9, 24, 39):
        live, again = sampler.new_index(name, 7), sampler.new_index(name, 7)
        for number, found in enumerate(ask_and_tell(live, stop)):
            _repeat(again, found, number)
        onward = ask_and_tell(live, 3)

        assert again.asked == stop
        assert ask_and_tell(again, 3) == onward, f"after {stop} questions"


def _repeat(index: Index, found: Draw, number: int) -> None:
    """Enter what ``ask_and_tell`` did, as a later session does it from the journal."""
    analysis = judge(CARD, found.architecture).analysis
    trial = sampler.impose(index, decisions_of(found))
    if analysis is None:
        sampler.forget(index, trial)
    elif analysis.parameters > 20_000:
        sampler.reject(index, trial, analysis.parameters, analysis.parameters / 20_000 - 1)
    else:
        sampler.tell(index, trial, made_up(found, number))


@ALL
def test_an_imposed_network_is_entered_as_it_is(name: str):
    index = sampler.new_index(name, 0)
    ask_and_tell(index, 25)
    found = draw(CARD, Uniform(random.Random(5)))

    trial = sampler.impose(index, decisions_of(found))

    assert trial.params == found.indices
    assert index.study.trials[-1].state is TrialState.RUNNING
    assert index.asked == 26


@pytest.mark.parametrize(
    ("outcome", "name", "state", "value", "constraint"),
    [
        (Outcome(500, -0.25, True), "tpe", TrialState.COMPLETE, 500, -0.25),
        (Outcome(500, 0.25, True), "tpe", TrialState.COMPLETE, 500, 0.25),
        (Outcome(500, 2.5, False), "tpe", TrialState.PRUNED, None, 2.5),
        (Outcome(500, 2.5, False), "nsga2", TrialState.COMPLETE, 500, 2.5),
        (Outcome(500, None, True), "tpe", TrialState.FAIL, None, None),
        (Outcome(500, None, False), "nsga2", TrialState.FAIL, None, None),
    ],
)
def test_optuna_is_told_the_size_to_minimise_and_the_accuracy_as_a_constraint(
    outcome: Outcome, name: str, state: TrialState, value: int | None, constraint: float | None
):
    index = sampler.new_index(name, 0)
    trial, _ = sampler.ask(index, CARD)

    sampler.tell(index, trial, outcome)

    (told,) = index.study.trials
    assert (told.state, told.value) == (state, value)
    assert told.constraints == ({} if constraint is None else {"accuracy": constraint})


@pytest.mark.parametrize(
    ("name", "state", "value"), [("tpe", TrialState.PRUNED, None), ("nsga2", TrialState.COMPLETE, 30_000)]
)
def test_a_rejection_is_told_as_a_broken_constraint(name: str, state: TrialState, value: int | None):
    index = sampler.new_index(name, 0)
    trial, _ = sampler.ask(index, CARD)

    sampler.reject(index, trial, 30_000, 0.5)

    (told,) = index.study.trials
    assert (told.state, told.value, told.constraints) == (state, value, {"limits": 0.5})


def test_a_generator_beside_the_sampler_is_fixed_by_seed_and_questions():
    def drawn(seed: int, questions: int) -> float:
        index = sampler.new_index("random", seed)
        ask_and_tell(index, questions)
        return sampler.generator(index).random()

    assert drawn(0, 2) == drawn(0, 2)
    assert len({drawn(0, 2), drawn(0, 3), drawn(1, 2)}) == 3


@ALL
def test_a_space_without_a_decision_has_one_network(name: str):
    index = sampler.new_index(name, 0)

    found = ask_and_tell(index, 12, SINGLE)

    assert {item.decisions for item in found} == {()}
    assert {str(item.architecture) for item in found} == {"gap linear(10)"}


def test_the_database_is_one_that_optuna_opens(tmp_path: Path):
    index = sampler.new_index("tpe", 0)
    ask_and_tell(index, 6)
    sampler.impose(index, decisions_of(draw(CARD, Uniform(random.Random(5)))))
    path = tmp_path / "study.db"
    path.write_text("an older one")

    sampler.write_database(index, path)

    study = optuna.load_study(study_name="search", storage=f"sqlite:///{path}")
    assert [trial.params for trial in study.trials] == [trial.params for trial in index.study.trials[:6]]
    assert [path.name for path in tmp_path.iterdir()] == ["study.db"]


@pytest.mark.parametrize("name", ["what?", "100%41", "a b#c"])
def test_a_path_of_any_name_holds_the_database(name: str, tmp_path: Path):
    folder = tmp_path / name
    folder.mkdir()

    sampler.write_database(sampler.new_index("random", 0), folder / "study.db")

    assert [path.name for path in folder.iterdir()] == ["study.db"]


def test_the_database_needs_no_folder_that_a_kill_would_leave_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "not there"))

    sampler.write_database(sampler.new_index("random", 0), tmp_path / "study.db")

    assert [path.name for path in tmp_path.iterdir()] == ["study.db"]
