"""Tests of how the model of the errors is judged: who learns from what, and the figures against formulas by hand."""

from __future__ import annotations

import json
import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import error_model
from benchmarks.error_model import Case, Guess, cases, folds, forms, held_out, linear, process, scores
from harness.search.proposals.surrogate import SCALES, Observation, Scales, evidence, row_of
from harness.search.proposals.trainings import PastTraining, shipped
from harness.training.recipe import named_recipe
from search_spaces.notation import parse_network
from search_spaces.task import MNIST
from tests.benchmarks.made_up import ask


def training(channels: int = 4, *, epochs: int = 30, errors: float = 100.0, rate: float = 0.1) -> PastTraining:
    """Return a training by the recipe ``small``."""
    text = f"conv3x3({channels}) bn relu | gap | linear(10)"
    return PastTraining(parse_network(text), epochs, 32, 0.6, rate, errors, 1, "plain", "made up")


def case(number: float, errors: float) -> Case:
    """Return a case that ``linear`` knows by one number, which its epochs carry."""
    return Case(training(epochs=int(number)), Observation((), errors))


def power_law(count: int) -> list[Case]:
    """Return networks whose errors are a power of their channels and of their epochs, give or take 5 %."""
    rng = random.Random(3)
    sizes = [(channels, epochs) for channels in (4, 6, 9, 14, 20) for epochs in (8, 15, 30, 60)][:count]
    made = [
        training(channels, epochs=epochs, errors=900 * channels**-0.5 * epochs**-0.3 * math.exp(rng.gauss(0, 0.05)))
        for channels, epochs in sizes
    ]
    return cases(made)


# Who learns from what ---------------------------------------------------------------------------------------


def test_only_trainings_with_the_learning_rate_of_the_recipe_are_used_and_as_a_search_sees_them():
    kept = training(errors=120.0)

    found = cases([kept, training(rate=0.2)])

    assert [each.training for each in found] == [kept]
    assert found[0].observation.row == row_of(kept.architecture, named_recipe("small", epochs=30).recipe, MNIST)
    assert found[0].log_errors == math.log(120)


def test_all_lengths_of_a_network_are_in_one_fold_and_folds_are_equally_large():
    known = cases([training(channels, epochs=epochs) for channels in range(1, 24) for epochs in (8, 30)])

    found = folds(known, 10)

    networks = [{each.training.architecture for each in group} for group in found.values()]
    assert sorted(map(len, networks)) == [2] * 7 + [3] * 3
    assert sum(map(len, networks)) == len(set().union(*networks)) == 23
    assert sum(map(len, found.values())) == 46
    turned = folds(known[::-1], 10).values()
    assert [{each.training.architecture for each in group} for group in turned] == networks


def test_a_group_is_predicted_by_all_others_and_never_by_itself():
    groups = {"one": [case(1, 10)], "two": [case(2, 20), case(3, 30)], "three": [case(4, 40)]}
    seen: list[tuple[set[float], set[float]]] = []

    def spy(learned: Sequence[Case], asked: Sequence[Case]) -> list[Guess]:
        seen.append(({each.observation.errors for each in learned}, {each.observation.errors for each in asked}))
        return [Guess(0.0, 1.0, each.log_errors) for each in asked]

    found = held_out(spy, groups)

    assert seen == [({20, 30, 40}, {10}), ({10, 40}, {20, 30}), ({10, 20, 30}, {40})]
    assert [guess.outcome for guess in found["two"]] == [math.log(20), math.log(30)]


def test_forms_are_those_of_the_trainings():
    known = cases([training(), replace(training(5), form="tied"), training(6)])

    assert {name: len(group) for name, group in forms(known).items()} == {"plain": 2, "tied": 1}


# The figures ------------------------------------------------------------------------------------------------


def test_scores_are_those_of_the_definitions():
    found = scores([Guess(0.0, 0.1, 0.3), Guess(1.0, 0.2, 0.9), Guess(0.0, 0.1, 0.128)])

    assert found["n"] == 3
    assert found["mean"] == round((0.3 - 0.1 + 0.128) / 3, 4)
    assert found["root_mean_square"] == round(math.sqrt((0.09 + 0.01 + 0.128**2) / 3), 4)
    assert found["standardised"] == round(math.sqrt((9 + 0.25 + 1.28**2) / 3), 3)
    # 1.28 deviations are within the 80 % interval, 1.2816 being its end; three are not.
    assert found["within_80"] == 0.667
    normal = [statistics.NormalDist(0, 0.1).pdf(0.3), statistics.NormalDist(1, 0.2).pdf(0.9)]
    normal.append(statistics.NormalDist(0, 0.1).pdf(0.128))
    assert found["log_density"] == pytest.approx(sum(map(math.log, normal)) / 3, abs=1e-4)


def test_least_squares_predict_as_the_formulas_of_a_straight_line_do():
    numbers, logs = [1.0, 2.0, 4.0, 9.0, 10.0], [5.0, 4.7, 4.4, 3.1, 2.9]
    known = [case(number, math.exp(log)) for number, log in zip(numbers, logs, strict=True)]

    (found,) = linear(lambda made: [made.epochs])(known, [case(20, 50.0)])

    line = statistics.linear_regression(numbers, logs)
    middle, squares = statistics.mean(numbers), sum((each - statistics.mean(numbers)) ** 2 for each in numbers)
    rest = sum((log - line.intercept - line.slope * each) ** 2 for each, log in zip(numbers, logs, strict=True)) / 3
    assert found.centre == pytest.approx(line.intercept + 20 * line.slope)
    assert found.deviation == pytest.approx(math.sqrt(rest * (1 + 1 / 5 + (20 - middle) ** 2 / squares)))
    assert found.outcome == math.log(50)


def test_the_costs_of_the_baselines_are_those_of_the_network():
    text = "conv3x3(4) bn relu | maxpool | conv3x3(8) bn relu | gap | linear(10)"
    given = replace(training(epochs=8), architecture=parse_network(text))
    # 36 + 8, 288 + 16, 90 numbers; 36 and 288 multiply-adds on 28x28 and 14x14, 80 of the head; 3, 4, then 4 more.
    parameters, macs = 44 + 304 + 90, 36 * 784 + 288 * 196 + 80

    assert error_model.size_and_length(given) == pytest.approx((math.log(parameters), math.log(8)))
    assert error_model.four_costs(given) == pytest.approx((math.log(parameters), math.log(macs), 2, 8, math.log(8)))


def test_what_is_said_of_an_outcome_counts_its_own_seeds():
    known = power_law(20)
    often = replace(known[0], observation=replace(known[0].observation, runs=4))

    once, four_times = process(SCALES)(known[1:], [known[0], often])

    assert once.centre == four_times.centre
    assert once.deviation**2 - four_times.deviation**2 == pytest.approx(SCALES.seed**2 * 3 / 4)


def test_the_hyperparameters_found_are_more_probable_than_those_around_them():
    observations = [each.observation for each in power_law(20)]

    found = error_model.most_probable(observations)

    best = evidence(observations, found)
    assert (found.level, found.seed) == (SCALES.level, SCALES.seed)
    assert best > evidence(observations, SCALES)
    for name in error_model.FREE:
        for factor in (0.7, 1.4):
            assert evidence(observations, replace(found, **{name: factor * getattr(found, name)})) < best + 0.01


def test_what_is_sought_has_not_seen_what_it_is_asked_for(monkeypatch: pytest.MonkeyPatch):
    known = power_law(20)
    seen: list[list[Observation]] = []

    def looked_for(observations: list[Observation]) -> Scales:
        seen.append(observations)
        return SCALES

    monkeypatch.setattr(error_model, "most_probable", looked_for)

    found = error_model.sought(known[5:], known[:5])

    assert seen == [[each.observation for each in known[5:]]]
    assert found == process(SCALES)(known[5:], known[:5])


def test_figures_are_no_worse_only_when_folds_and_forms_are():
    good, bad = {"log_density": 1.0}, {"log_density": 0.9}

    assert error_model.no_worse({"folds": good, "forms": good}, {"folds": good, "forms": bad})
    assert not error_model.no_worse({"folds": good, "forms": bad}, {"folds": bad, "forms": good})


# The command ------------------------------------------------------------------------------------------------


def test_all_models_are_measured_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    few = [*(replace(each.training, form="tied") for each in power_law(8)), *shipped("mnist")[::30]]
    monkeypatch.setattr(error_model, "RESULTS", tmp_path / "error-model.json")
    monkeypatch.setattr(error_model, "machine", lambda: {"cores": 1})
    monkeypatch.setattr(error_model, "shipped", lambda name: tuple(few))
    monkeypatch.setattr(error_model, "EVALUATIONS", 10)

    ask(monkeypatch, error_model.main)

    found = json.loads((tmp_path / "error-model.json").read_text(encoding="utf-8"))
    assert list(found["scores"]) == ["present", "round", "optimum", "sought", "size and length", "four costs"]
    assert found["trainings"]["on_file"] == len(few)
    assert "four costs" in capsys.readouterr().out


def test_the_committed_file_holds_together():
    found = json.loads(error_model.RESULTS.read_text(encoding="utf-8"))

    by_name = found["scores"]
    assert found["optimum_no_worse_than_round"] == error_model.no_worse(by_name["optimum"], by_name["round"])
    for each in by_name.values():
        assert each["folds"]["n"] == each["forms"]["n"] == found["trainings"]["used"]
        assert sum(form["n"] for form in each["form"].values()) == found["trainings"]["used"]
