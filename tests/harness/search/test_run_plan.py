"""The resolved plan of a search: every value, and what is refused before anything is written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.commands.search import _plan_facts
from harness.evidence import bounds as offset_module
from harness.evidence import study
from harness.search import run_plan
from harness.search.prior import keep, shipped
from harness.search.run_plan import SearchPlan, make_plan, plan_document
from harness.system.errors import ContentError, DeviceError, HarnessError, UsageError
from harness.system.files import Workspace
from harness.training.recipe import Recipe
from search_spaces.count import feasible
from search_spaces.errors import SearchSpaceError, UnknownNameError
from search_spaces.notation import parse_space
from search_spaces.space import Condition, Metric

GIVEN: dict[str, Any] = {
    "budget": 20_000,
    "minimise": "parameters",
    "limits": None,
    "target": None,
    "space": "card",
    "sampler": "auto",
    "recipe": "fast",
    "epochs": None,
    "prior": "none",
    "trials": None,
    "seconds": 2700.0,
    "seed": 0,
    "name": None,
    "trial_time": 1800.0,
    "trial_memory": 4096,
    "workers": 2,
    "device": "cpu",
    "engine": "torch",
    "dataset": "mnist-5k",
    "folder": None,
}


def plan(place: Path, **changes: Any) -> SearchPlan:
    given = GIVEN | changes
    return make_plan(given, {name: "commandline" if name in changes else "default" for name in given}, Workspace(place))


def test_the_plan_resolves_every_value(tmp_path: Path):
    made = plan(tmp_path)

    assert made.config == study.StudyConfig(
        dataset="mnist-5k",
        data_hash=made.config.data_hash,
        budget=20_000,
        target_pct=made.config.target_pct,
        threshold_pct=made.config.target_pct,
        space="card",
        space_text=made.space.text,
        sampler="surrogate",
        recipe=made.recipe.recipe,
        recipe_name="fast",
        rungs=(4, 8),
        seed=0,
        lengths=run_plan.LENGTHS,
        prior="none",
        prior_sha256="",
    )
    assert (made.past, made.left_out) == ((), ())
    assert len(made.config.data_hash) == 64
    assert made.config.target_pct > 90
    assert (made.effort.workers, made.effort.device, made.effort.seconds) == (2, "cpu", 2700.0)
    assert (made.effort.limits.seconds, made.effort.limits.memory_mb) == (1800.0, 4096)
    assert made.source.dataset == "mnist-5k"


def test_the_threshold_is_the_target_and_the_offset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "error-ratios.json").write_text(
        json.dumps({"mnist-5k": {"errors_ratio": 0.8, "relative_error": 0.0408, "protocol": "measured"}})
    )
    monkeypatch.setattr(offset_module, "files", lambda package: tmp_path)

    # 2.5 % wrong by 0.8.
    assert plan(tmp_path, target=97.5).config.threshold_pct == pytest.approx(96.875)


def test_a_plan_writes_nothing(tmp_path: Path):
    plan_document(plan(tmp_path / "nowhere"))

    assert list(tmp_path.iterdir()) == []


# Names ------------------------------------------------------------------------------------------------------


def test_a_study_without_a_name_has_one_that_no_other_configuration_has(tmp_path: Path):
    names = {
        plan(tmp_path, **changes).folder.name
        for changes in (
            {},
            {"seed": 1},
            {"target": 95.0},
            {"space": "tiny"},
            {"recipe": "smoke"},
            {"sampler": "random"},
            {"epochs": (5,)},
            {"prior": "own"},
        )
    }

    assert len(names) == 8
    assert plan(tmp_path).folder.name in names
    assert all(name.startswith(("mnist-5k-card-20000-", "mnist-5k-tiny-20000-")) for name in names)


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".", "..", "x" * 300, "a\nb", "a\0b"])
def test_a_hostile_name_is_refused_before_the_data_are_read(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run_plan, "resolve", lambda *arguments: pytest.fail("the data were read"))

    with pytest.raises(
        UsageError, match=r"^study name .*: a study is a folder below .*runs, so its name holds 1 to 200 "
    ):
        plan(tmp_path, name=name)

    assert list(tmp_path.iterdir()) == []


# What is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epochs": (0,)}, "--epochs 0"),
        ({"target": 100.0}, "--target 100"),
        ({"space": "nowhere"}, "'nowhere'"),
        ({"minimise": "macs"}, "--minimise macs"),
        ({"limits": (Condition(Metric.MACS, "<=", 5), Condition(Metric.MACS, ">=", 10))}, "--limit macs <= 5"),
    ],
)
@pytest.mark.parametrize("dataset", ["auto", "mnist-5k"])
def test_what_can_be_refused_without_images_is_refused_before_they_are_read(
    dataset: str, changes: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(run_plan, "resolve", lambda *arguments: pytest.fail("the data were read"))

    with pytest.raises((HarnessError, SearchSpaceError), match=said):
        plan(tmp_path, dataset=dataset, **changes)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"sampler": "tpee"},
            UsageError,
            r"^unknown sampler 'tpee'; known are auto, tpe, nsga2, evolution, random, surrogate$",
        ),
        ({"recipe": "fst"}, UsageError, r"^unknown recipe 'fst'; known are fast, "),
        ({"recipe": "@nowhere.toml"}, UsageError, r"^cannot read the recipe nowhere.toml: "),
        ({"space": "crad"}, UnknownNameError, r"^unknown search space 'crad'; known are all, card, "),
        ({"dataset": "mnst"}, UsageError, r"^unknown data set 'mnst': known are mnist, "),
        ({"device": "tpu"}, UsageError, r"^unknown device 'tpu'; allowed are auto, cpu, cuda and cuda:N$"),
        ({"device": "cuda:77"}, DeviceError, r"^cuda:77 was asked for, but torch .* finds \d+ CUDA devices here$"),
        ({"device": "cuda:²"}, UsageError, r"^unknown device 'cuda:²'; allowed are "),
    ],
)
def test_what_is_unknown_is_refused(changes: dict[str, Any], error: type[Exception], message: str, tmp_path: Path):
    with pytest.raises(error, match=message):
        plan(tmp_path, **changes)


def test_a_batch_that_is_larger_than_the_data_is_refused_before_training(tmp_path: Path):
    recipe = tmp_path / "large.toml"
    recipe.write_text("batch_size = 4001\n")

    with pytest.raises(ContentError, match=r"^recipe: batch_size is 4001, but there are only 4000 images to train on$"):
        plan(tmp_path, recipe=f"@{recipe}")


def test_the_plan_of_a_study_with_another_configuration_is_refused(tmp_path: Path):
    begun = plan(tmp_path, name="mine")
    study.open_study(begun.folder, begun.config, begun.origins)

    assert plan_document(plan(tmp_path, name="mine"))["exists"] is True
    with pytest.raises(
        ContentError, match=r"^study 'mine' in .* was begun with another budget \(20000 there, 600 here\);"
    ):
        plan_document(plan(tmp_path, name="mine", budget=600))


# What is shown ----------------------------------------------------------------------------------------------


def test_the_document_is_json_with_the_space_s_size_and_the_share_under_the_budget(tmp_path: Path):
    space = tmp_path / "few.space"
    space.write_text("net = conv3x3({4, 8, 12, 16}) gap linear(10);")

    document = plan_document(plan(tmp_path, space=f"@{space}", budget=200))

    assert json.loads(json.dumps(document, allow_nan=False)) == json.loads(json.dumps(document))
    assert (document["derivations"], document["feasible_share"], document["feasible"]["exact"]) == (4, [0.5, 0.5], True)
    assert (document["stand_seeds"], document["most_seeds"], document["past_trainings"]) == (2, 6, 0)
    assert document["lengths"] == run_plan.LENGTHS
    assert document["origins"]["budget"] == "commandline"
    assert document["origins"]["study"] == "default"


def test_the_expected_seconds_are_those_of_a_median_network_and_of_all_lengths(tmp_path: Path):
    space = tmp_path / "few.space"
    space.write_text("net = conv3x3({4, 8, 12, 16}) gap linear(10); where macs <= 90000")
    document = plan_document(plan(tmp_path, space=f"@{space}", epochs=(5, 20)))

    # 4,000 images at 0.185 ms and 0.0335 ns a unit of work; the median of three has eight channels: 28 * 28 * 9 * 8 of
    # the convolution and 80 of the linear layer, for each number of its maps 9 more, and 22 for each parameter.
    work = 28 * 28 * 9 * 8 + 80 + 9 * (8 * 784 + 8 + 10) + 22 * (72 + 90)
    epoch = 4_000 * (1.85e-4 + 3.35e-11 * work)
    assert document["estimated_seconds_a_training"] == pytest.approx([5 * epoch, 20 * epoch])
    runs = _plan_facts(document)["runs"]
    assert f"5 or 20 epochs, pruned at 25 % and 50 %; about {5 * epoch:.0f} to {20 * epoch:.0f} s" in runs


def test_people_are_told_every_matter(tmp_path: Path):
    facts = _plan_facts(plan_document(plan(tmp_path, budget=5_000, trials=7)))

    assert list(facts) == ["study", "target", "budget", "space", "runs", "sampler", "effort", "set by you"]
    assert facts["study"].endswith(f"(new) in {plan(tmp_path, budget=5_000).folder}")
    assert facts["effort"] == "2 workers on cpu, torch engine; 45 min 0 s, at most 7 trials"
    assert facts["sampler"] == "surrogate, seed 0; prior none: 0 past runs"
    assert (facts["budget"], facts["set by you"]) == ("5,000 parameters", "--budget, --trials")


def test_a_space_of_more_derivations_than_a_float_holds_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run_plan, "feasible", lambda space, budget: feasible(space, budget, samples=20))
    space = tmp_path / "huge.space"
    space.write_text("width = 1..100; net = conv3x3(width){100} conv3x3(width){100} gap linear(10);")

    document = plan_document(plan(tmp_path, space=f"@{space}"))

    assert document["derivations"] == 100**200
    assert _plan_facts(document)["space"].startswith("huge: 1.00e400 configurations")


def test_the_name_of_a_study_is_the_one_it_was_begun_with():
    # Its folder was named when recipes had fewer fields; under another name it would begin anew.
    config = study.StudyConfig(
        dataset="mnist",
        data_hash="ab",
        budget=20_000,
        target_pct=99.4,
        threshold_pct=99.2,
        space="card",
        space_text="net = gap | linear(10);",
        sampler="tpe",
        recipe=Recipe(),
        recipe_name="fast",
        rungs=(4, 8),
        seed=0,
    )

    assert run_plan._default_name(config) == "mnist-card-20000-73f624"


def test_the_lengths_are_those_given_in_order_and_each_once(tmp_path: Path):
    assert plan(tmp_path, epochs=(20, 5, 20)).config.lengths == (5, 20)


@pytest.mark.parametrize("epochs", [(0,), (5, -1), (10_001,)])
def test_a_length_out_of_range_is_refused(epochs: tuple[int, ...], tmp_path: Path):
    with pytest.raises(UsageError, match=r"^--epochs .*: each is from 1 to 10,000$"):
        plan(tmp_path, epochs=epochs)


def test_a_study_goes_on_with_the_trainings_that_it_keeps(tmp_path: Path):
    new = plan(tmp_path, name="mine", dataset="mnist-5k", prior="shipped")
    kept = replace(shipped("mnist")[0], source="kept")
    keep(new.folder, (kept,))

    assert new.past == ()
    assert plan(tmp_path, name="mine", prior="shipped").past == (kept,)
    assert plan(tmp_path, name="mine", prior="own").past == (kept,)


def test_a_study_that_cannot_be_read_is_left_out_and_named(tmp_path: Path):
    odd = tmp_path / "runs" / "odd" / "config.json"
    odd.parent.mkdir(parents=True)
    odd.write_text("{}")

    made = plan(tmp_path, prior="own")

    assert made.past == ()
    [left_out] = made.left_out
    assert str(odd) in left_out


def test_a_limit_is_a_condition_of_the_space_that_the_study_keeps(tmp_path: Path):
    limits = (Condition(Metric.MACS, "<=", 700_000),)
    made = plan(tmp_path, limits=limits)

    assert parse_space(made.config.space_text).conditions[-1:] == limits
    assert made.config.ceiling == 20_000
    assert made.folder.name != plan(tmp_path).folder.name


def test_what_is_minimised_begins_at_the_least_limit_of_it(tmp_path: Path):
    limits = (Condition(Metric.MACS, "<=", 700_000), Condition(Metric.MACS, "<", 600_000))
    made = plan(tmp_path, minimise="macs", limits=limits)

    assert (made.config.minimise, made.config.ceiling) == (Metric.MACS, 599_999)
    # The budget goes on holding.
    assert Condition(Metric.PARAMETERS, "<=", 20_000) in made.space.conditions


def test_what_is_minimised_needs_a_limit(tmp_path: Path):
    with pytest.raises(UsageError, match=r"^--minimise macs needs an upper limit"):
        plan(tmp_path, minimise="macs")
    assert list(tmp_path.iterdir()) == []


def test_a_budget_that_no_network_of_the_space_keeps_is_refused_with_the_least_there_is(tmp_path: Path):
    space = tmp_path / "few.space"
    space.write_text("net = conv3x3({4, 8, 12, 16}) gap linear(10); where parameters >= 170")

    # conv3x3(8) gap linear(10) has 8 * 9 + 90 parameters, conv3x3(12) 12 * 9 + 130.
    with pytest.raises(ContentError, match=r"budget of 200 parameters: its smallest has 238$") as caught:
        plan(tmp_path, space=f"@{space}", budget=200)
    assert caught.value.hint is not None
    assert "238" in caught.value.hint
    assert plan_document(plan(tmp_path, space=f"@{space}", budget=238))["feasible"]["high"] == 1


def test_a_space_whose_conditions_nothing_keeps_is_refused(tmp_path: Path):
    space = tmp_path / "none.space"
    space.write_text("net = conv3x3({4, 8}) gap linear(10); where macs <= 10")

    with pytest.raises(ContentError, match=r"'.*none' keeps all conditions \(macs <= 10\)$") as caught:
        plan(tmp_path, space=f"@{space}")
    assert f"spaces check @{space}" in (caught.value.hint or "")
