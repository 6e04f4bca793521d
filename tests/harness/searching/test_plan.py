"""The resolved plan of a search: all values, and refusals before any file is written."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.data.datasets import DATASETS
from harness.evidence import bounds as offset_module
from harness.interface.session import planned_search
from harness.searching import augmentation
from harness.searching import plan as plan_module
from harness.searching.plan import SearchPlan, plan_search, search_plan_json
from harness.searching.request import SearchRequest
from harness.searching.start_networks import StartNetworks
from harness.searching.surrogate.prior import prior_of_package, write_prior
from harness.searching.time_budget import Effort, Pace
from harness.spaces.chips import CHIPS
from harness.spaces.network import MNIST, analyse
from harness.spaces.notation import parse_network, parse_notation, parse_space
from harness.spaces.space import Condition, Metric, SearchSpace, draw_uniform, judge
from harness.spaces.space_errors import UnknownNameError
from harness.studies import config as study
from harness.studies.candidate import costs_of
from harness.studies.events import Proposal
from harness.system.errors import ContentError, DeviceError, UsageError
from harness.system.files import Workspace
from harness.training.executors.base import DataLocation, JobEnded, Limits
from harness.training.executors.processes import Processes
from harness.training.recipe import NamedRecipe, Recipe, named_recipe
from harness.training.result import Errors
from harness.training.run import Job
from tests.factories import make_job_result
from tests.fakes import InstantExecutor

REQUEST = SearchRequest(
    dataset="mnist-5k", space="card", recipe="fast", prior="none", time=2700.0, workers=2, device="cpu", engine="torch"
)


def plan(root: Path, **changes: Any) -> SearchPlan:
    return plan_search(replace(REQUEST, **changes), Workspace(root), recipe_choice="left open")


def test_plan_resolves_all_values(tmp_path: Path):
    search_plan = plan(tmp_path)

    assert plan(tmp_path, epochs=(20, 5, 20)).config.lengths == (5, 20)
    assert search_plan.config == study.StudyConfig(
        dataset="mnist-5k",
        data_hash=search_plan.config.data_hash,
        budget=20_000,
        target_pct=search_plan.config.target_pct,
        threshold_pct=search_plan.config.target_pct,
        space="card",
        space_text=search_plan.space.text,
        sampler="surrogate",
        recipe=search_plan.training.named_recipe.recipe,
        recipe_name="fast",
        rungs=(4, 8),
        seed=0,
        lengths=(15,),
        prior="none",
        prior_sha256="",
    )
    assert (search_plan.prior, search_plan.left_out) == ((), ())
    assert len(search_plan.config.data_hash) == 64
    assert search_plan.config.target_pct > 90
    assert (search_plan.effort.workers, search_plan.effort.device, search_plan.effort.seconds) == (2, "cpu", 2700.0)
    assert (search_plan.effort.limits.seconds, search_plan.effort.limits.memory_mb) == (1800.0, 4096)
    assert search_plan.source.dataset == "mnist-5k"


def test_threshold_follows_from_target_and_error_ratio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "error-ratios.json").write_text(
        json.dumps({"mnist-5k": {"errors_ratio": 0.8, "relative_error": 0.0408, "protocol": "measured"}})
    )
    monkeypatch.setattr(offset_module, "files", lambda package: tmp_path)

    # 2.5 % errors divided by 0.8 are 3.125 %.
    assert plan(tmp_path, target_pct=97.5).config.threshold_pct == pytest.approx(96.875)


# Two networks with 94 and 178 parameters: 784 x 9 + 10 multiply-adds per channel.
TWO_NETWORKS = "net = conv3x3({4, 8}) bn relu | gap | linear(10);"


@pytest.mark.parametrize(("budget", "macs"), [(20_000, 56_528), (100, 28_264)])
def test_objective_without_limit_starts_at_largest_network_within_budget(budget: int, macs: int, tmp_path: Path):
    (tmp_path / "two.space").write_text(TWO_NETWORKS, encoding="utf-8")
    changes: dict[str, Any] = {
        "space": f"@{tmp_path / 'two.space'}",
        "minimise": ("macs", "parameters"),
        "budget": budget,
    }
    search_plan = plan(tmp_path, **changes)

    assert search_plan.config.limits == (macs, budget)
    assert search_plan_json(search_plan)["drawn_ceilings"] == ["macs"]


# Constants of a network with c channels: weights of both kernels, a multiplier and a bias of 16 bits per channel of the
# first, and the bias of 16 bits per class of the second. Packed, the weights of a kernel begin at a full byte.
@pytest.mark.parametrize(
    ("recipe", "constants", "limit"),
    [
        ("small-int8", 36 + 4 * 4 + 40 + 10 * 2, 72 + 8 * 4 + 80 + 10 * 2),
        ("small-int5", 23 + 4 * 4 + 25 + 10 * 2, 45 + 8 * 4 + 50 + 10 * 2),
    ],
)
def test_weight_bytes_depend_on_weight_bits_of_recipe(recipe: str, constants: int, limit: int, tmp_path: Path):
    (tmp_path / "two.space").write_text(TWO_NETWORKS, encoding="utf-8")
    search_plan = plan(tmp_path, space=f"@{tmp_path / 'two.space'}", minimise=("weight_bytes",), recipe=recipe)
    network = parse_network("conv3x3(4) bn relu | gap | linear(10)")
    proposal = Proposal(trial=0, architecture=network, hash=network.hash, parameters=94, origin="draw", decisions=())

    assert costs_of(proposal, search_plan.config) == (constants,)
    feasibility = judge(search_plan.space, network, limit=constants - 1, objective=Metric.WEIGHT_BYTES)
    assert (feasibility.accepted, feasibility.excess) == (False, 1)
    assert search_plan.config.limits == (limit,)


def test_limit_of_objective_is_lowered_by_chip(tmp_path: Path):
    limits = (Condition(Metric.WEIGHT_BYTES, "<=", 15_000),)
    without_chip = plan(tmp_path, minimise=("weight_bytes",), limits=limits)
    with_chip = plan(tmp_path, minimise=("weight_bytes",), limits=limits, chip=CHIPS["STM32F030F4"])
    large_chip = plan(tmp_path, minimise=("weight_bytes",), chip=CHIPS["RP2040"])

    assert (without_chip.config.limits[0], with_chip.config.limits[0]) == (15_000, 13_276)
    assert "drawn_ceilings" not in search_plan_json(without_chip)
    # The search does not start at the two megabytes of this chip.
    assert large_chip.config.limits[0] < 200_000


def test_plan_writes_no_files(tmp_path: Path):
    search_plan_json(plan(tmp_path / "nowhere"))

    assert list(tmp_path.iterdir()) == []


# Names ------------------------------------------------------------------------------------------------------


def test_default_study_names_differ_between_configurations(tmp_path: Path):
    changes = {"seed": 1, "target_pct": 95.0, "space": "tiny", "recipe": "smoke", "sampler": "random", "prior": "own"}
    requests: list[dict[str, Any]] = [{}, *({name: value} for name, value in changes.items()), {"epochs": (5,)}]
    names = {plan(tmp_path, **request).folder.name for request in requests}

    assert len(names) == 8
    assert plan(tmp_path).folder.name in names
    assert all(name.startswith(("mnist-5k-card-20000-", "mnist-5k-tiny-20000-")) for name in names)


# Refusals ---------------------------------------------------------------------------------------------------

FOUR_NETWORKS = "net = conv3x3({4, 8, 12, 16}) gap linear(10);"
CONTRADICTORY = (Condition(Metric.MACS, "<=", 5), Condition(Metric.MACS, ">=", 10))


@pytest.mark.parametrize("dataset", ["auto", "mnist-5k"])
@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"study": "../x"}, UsageError),
        ({"study": "x" * 300}, UsageError),
        ({"study": "a\0b"}, UsageError),
        ({"sampler": "tpee"}, UsageError),
        ({"recipe": "fst"}, UsageError),
        ({"recipe": "@nowhere.toml"}, UsageError),
        ({"space": "crad"}, UnknownNameError),
        ({"device": "tpu"}, UsageError),
        ({"device": "cuda:77"}, DeviceError),
        ({"epochs": (0,)}, UsageError),
        ({"epochs": (10_001,)}, UsageError),
        ({"target_pct": 100.0}, UsageError),
        ({"limits": CONTRADICTORY}, UsageError),
        # conv3x3(4) gap linear(10) has 4 * 9 + 50 parameters.
        ({"space": FOUR_NETWORKS, "budget": 85}, ContentError),
        ({"space": f"{FOUR_NETWORKS} where macs <= 10"}, ContentError),
    ],
)
def test_invalid_request_is_refused_before_images_are_read(
    dataset: str, changes: dict[str, Any], error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(plan_module, "load", lambda *arguments: pytest.fail("the data were read"))
    if "net" in (text := changes.get("space", "")):
        (tmp_path / "few.space").write_text(text)
        changes = changes | {"space": f"@{tmp_path}/few.space"}

    with pytest.raises(error):
        plan(tmp_path / "place", dataset=dataset, **changes)

    assert not (tmp_path / "place").exists()


def test_batch_larger_than_data_is_refused_before_training(tmp_path: Path):
    recipe = tmp_path / "large.toml"
    recipe.write_text("batch_size = 4001\n")

    with pytest.raises(ContentError) as caught:
        plan(tmp_path, recipe=f"@{recipe}")
    assert "batch_size = 1000" in str(caught.value.hint)  # of 4,000 images


def test_plan_for_study_with_different_configuration_is_refused(tmp_path: Path):
    existing = plan(tmp_path, study="mine")
    study.open_study(existing.folder, existing.config, existing.recorded_origins)

    assert search_plan_json(plan(tmp_path, study="mine"))["exists"] is True
    with pytest.raises(ContentError):
        search_plan_json(plan(tmp_path, study="mine", budget=600))


@pytest.mark.parametrize(
    "changes",
    [{"budget": 300}, {"limits": (Condition(Metric.PARAMETERS, "<=", 10),)}, {"budget": 10, "minimise": ("macs",)}],
)
def test_budget_below_the_smallest_network_of_a_large_space_is_refused(tmp_path: Path, changes: dict[str, Any]):
    with pytest.raises(ContentError, match=r"parameters"):
        plan(tmp_path, **changes)

    assert plan(tmp_path, budget=900).config.budget == 900


# Output -----------------------------------------------------------------------------------------------------


def test_search_plan_json_states_size_of_space_and_feasible_share(tmp_path: Path):
    space = tmp_path / "few.space"
    space.write_text("net = conv3x3({4, 8, 12, 16}) gap linear(10);")

    document = search_plan_json(plan(tmp_path, space=f"@{space}", budget=200, recipe="auto"))

    assert json.loads(json.dumps(document, allow_nan=False)) == json.loads(json.dumps(document))
    assert (document["derivations"], document["feasible_share"], document["feasible"]["exact"]) == (4, [0.5, 0.5], True)
    assert (document["stand_seeds"], document["most_seeds"], document["past_trainings"]) == (2, 6, 0)
    assert document["lengths"] == (5, 8, 12, 20, 30, 60, 120, 240)
    assert document["origins"]["budget"] == "call"
    assert document["origins"]["study"] == "default"


@pytest.mark.parametrize(
    ("images", "lengths"),
    [
        (48_000, (5, 8, 12, 20, 30, 60)),
        (20_000, (5, 8, 12, 20, 30, 60, 120)),
        (3_200, (10, 16, 24, 40, 60, 120, 240, 480)),
        (40, (165, 264, 396, 660, 990, 1_980)),
    ],
)
def test_small_data_sets_have_longer_lengths(images: int, lengths: tuple[int, ...]):
    assert plan_module._default_lengths(images) == lengths


def test_estimated_seconds_are_for_median_network_and_each_length(tmp_path: Path):
    space = tmp_path / "few.space"
    space.write_text("net = conv3x3({4, 8, 12, 16}) gap linear(10); where macs <= 90000")
    document = search_plan_json(plan(tmp_path, space=f"@{space}", epochs=(5, 20)))

    # 4,000 images at 0.27 ms and 0.31 ns per unit of work; the median of three has eight channels: 28 * 28 * 9 * 8 of
    # the convolution and 80 of the linear layer, for each number of the maps 6.1 more, and 20 for each parameter.
    work = 28 * 28 * 9 * 8 + 80 + 6.1 * (8 * 784 + 8 + 10) + 20 * (72 + 90)
    epoch = 4_000 * (2.7e-4 + 3.1e-10 * work)
    assert document["estimated_seconds_a_training"] == pytest.approx([5 * epoch, 20 * epoch])


def test_hash_of_configuration_equals_hash_of_earlier_versions():
    # The hash is part of the folder name; with a different hash, an existing study would start again.
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

    document = json.dumps(study.config_document(config), sort_keys=True)
    assert hashlib.sha256(document.encode()).hexdigest()[:6] == "73f624"


def test_resumed_study_uses_stored_prior(tmp_path: Path):
    new = plan(tmp_path, study="mine", dataset="mnist-5k", prior="shipped")
    training = replace(prior_of_package("mnist")[0], source="kept")
    write_prior(new.folder, (training,))

    assert new.prior == prior_of_package("mnist-5k", frozenset({"mnist"}))
    assert plan(tmp_path, study="mine", prior="shipped").prior == (training,)
    assert plan(tmp_path, study="mine", prior="own").prior == (training,)


def test_limit_is_stored_as_condition_of_space(tmp_path: Path):
    limits = (Condition(Metric.MACS, "<=", 700_000),)
    search_plan = plan(tmp_path, limits=limits)

    assert parse_space(search_plan.config.space_text).conditions[-1:] == limits
    assert search_plan.config.limits[0] == 20_000
    assert search_plan.folder.name != plan(tmp_path).folder.name


def test_objective_starts_at_strictest_limit(tmp_path: Path):
    limits = (Condition(Metric.MACS, "<=", 700_000), Condition(Metric.MACS, "<", 600_000))
    search_plan = plan(tmp_path, minimise=("macs",), limits=limits)

    assert (search_plan.config.minimised, search_plan.config.limits) == ((Metric.MACS,), (599_999,))
    # The budget remains a condition.
    assert Condition(Metric.PARAMETERS, "<=", 20_000) in search_plan.space.conditions


def test_start_networks_must_be_feasible_and_are_stored(tmp_path: Path):
    template = "conv3x3(8) relu | maxpool(4) | conv3x3(8) relu conv3x3({}) | gap | linear({})"
    feasible, too_large, wrong_classes = template.format(8, 10), template.format(900, 10), template.format(8, 7)

    def planned(*texts: str, **changes: Any) -> SearchPlan:
        networks = StartNetworks("leaderboard", tuple(map(parse_notation, texts)))
        return plan(tmp_path, start_from=networks, **changes)

    search_plan = planned(too_large, wrong_classes, feasible)
    assert (search_plan.config.start_from, search_plan.config.known) == ("leaderboard", (feasible,))

    study.open_study(search_plan.folder, search_plan.config, {})
    for texts in ((feasible, template.format(9, 10)), (wrong_classes,)):
        repeated = planned(*texts)
        assert (repeated.folder, repeated.config) == (search_plan.folder, search_plan.config)

    with pytest.raises(UsageError, match="images of 1x28x28"):
        planned(wrong_classes, budget=19_000)


def test_runs_of_several_starts_have_no_rungs(tmp_path: Path):
    assert plan(tmp_path, recipe="small").config.rungs
    assert plan(tmp_path, recipe="small-starts").config.rungs == ()


def test_user_trainer_defines_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "user_trainer.py").write_text("def train(*arguments): ...")
    search_plan = plan(tmp_path, recipe="auto", trainer="user_trainer:train")
    assert (search_plan.config.recipe.trainer, search_plan.config.recipe_of(8)[1]) == (
        "user_trainer:train",
        "user_trainer:train-8ep",
    )
    assert search_plan.config.recipe.trainer_sha256 == hashlib.sha256(b"def train(*arguments): ...").hexdigest()
    # A user trainer has no rungs, and the pace is the pace of torch.
    assert (
        search_plan.config.rungs,
        plan(tmp_path, recipe="auto", trainer="user_trainer:train", engine="auto").effort.engine,
    ) == ((), "torch")
    with pytest.raises(UsageError, match="recipe and trainer"):
        plan(tmp_path, trainer="user_trainer:train")
    with pytest.raises(UsageError, match="none"):
        plan(tmp_path, recipe="auto", trainer="user_trainer:none")


def test_user_sampler_is_identified_by_source_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(tmp_path)
    text = "def begin(problem): ..."
    (tmp_path / "user_sampler.py").write_text(text)
    config = plan(tmp_path, sampler="user_sampler:begin").config
    assert config.sampler_sha256 == hashlib.sha256(text.encode()).hexdigest()
    # Configurations of earlier versions keep names and documents.
    assert "sampler_sha256" not in study.config_document(replace(config, sampler_sha256=""))


ONE_CONVOLUTION = parse_space("net = conv3x3(4..40) gap linear(10);", "one")
ONE_ERROR = Errors(1, 500)


@dataclass
class Choice:
    """A choice of the augmentation with scripted trainings, which ends with ``recipe`` after the trainings ``jobs``."""

    recipe: str
    jobs: list[Job]


@pytest.fixture
def choose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Choice]:
    """Return a function that chooses the augmentation of a user's data set of 4,000 images."""

    def choice(
        errors: Mapping[str, Errors | None],
        space: SearchSpace = ONE_CONVOLUTION,
        run_seconds: float = 0.0,
        **fields: Any,
    ) -> Choice:
        jobs: list[Job] = []

        def run_all(queue: list[Job], *_: object, **__: object) -> Iterator[SimpleNamespace]:
            while queue:
                job = queue.pop(0)
                jobs.append(job)
                validation = errors.get(job.recipe_name, ONE_ERROR)
                yield SimpleNamespace(job=job, result=SimpleNamespace(validation=validation, train_seconds=run_seconds))

        monkeypatch.setattr(augmentation, "run_all", run_all)
        effort = replace(Effort(seconds=None, trials=None, workers=1, device="cpu", limits=Limits()), **fields)
        executor = Processes(DataLocation("mine", None), Limits())
        data = replace(DATASETS["mnist-5k"], name="mine")
        return Choice(augmentation.choose(data, space, 500, executor, effort, Workspace(tmp_path)).name, jobs)

    return choice


@pytest.mark.parametrize("condition", ["", "where macs <= 70000;", "where macs <= 1;"])
def test_augmentation_is_chosen_with_median_or_smallest_network(condition: str, choose: Callable[..., Choice]):
    space = parse_space(f"net = conv3x3(4..40) gap linear(10); {condition}", "one")
    jobs = choose({}, space, device="cuda:1").jobs
    expected = parse_network("conv3x3(4) gap linear(10)")
    if "1;" not in condition:
        rng = random.Random(0)
        draws = [draw_uniform(space, rng, 500).architecture for _ in range(25)]
        expected = sorted(draws, key=lambda each: analyse(each, MNIST).parameters)[12]
    assert {(job.architecture, job.device) for job in jobs} == {(expected, "cuda:1")}


@pytest.mark.parametrize(("seconds", "workers"), [(100.0, 1), (100.0, 2), (3.0, 1)])
def test_choice_of_augmentation_takes_at_most_a_fifth_of_the_time(
    seconds: float, workers: int, choose: Callable[..., Choice], monkeypatch: pytest.MonkeyPatch
):
    # An epoch takes 0.4 s; without the limit, the trainings would take 75 s or more.
    monkeypatch.setattr(augmentation, "pace_of", lambda *_: Pace(1e-4, 0.0))

    used_seconds = sum(job.recipe.epochs for job in choose({}, seconds=seconds, workers=workers).jobs) * 0.4 / workers

    # The minimum is an epoch per training.
    assert used_seconds <= max(0.2 * seconds, 6 * 0.4)
    assert used_seconds > 0.15 * seconds


def test_recipe_with_failed_trainings_is_not_chosen(choose: Callable[..., Choice]):
    # The folds differ in size: the share of errors decides, not the number.
    errors = {"small": None, "small-shift": Errors(40, 100), "small-still": Errors(30, 50)}
    assert choose(errors).recipe == "small-shift"


@pytest.mark.parametrize(("run_seconds", "seeds"), [(6.0, 2), (6.1, 1)])
def test_augmentation_is_chosen_by_single_seed_if_trainings_are_slow(
    run_seconds: float, seeds: int, choose: Callable[..., Choice]
):
    jobs = choose({}, run_seconds=run_seconds, seconds=180.0).jobs

    # Six trainings may take 36 s.
    assert [job.seed_index for job in jobs] == [seed for seed in range(seeds) for _ in augmentation.CHOICES]


def test_choice_of_augmentation_ends_with_half_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    clock = itertools.count(0, 20)  # s, at each reading
    monkeypatch.setattr(InstantExecutor, "now", lambda executor: next(clock))
    executor = InstantExecutor(lambda job: JobEnded(job, make_job_result(job, lambda *_: 97.0, job.recipe.epochs)))
    data = replace(DATASETS["mnist-5k"], name="mine")
    effort = Effort(seconds=60.0, trials=None, workers=1, device="cpu", limits=Limits())
    workspace = Workspace(tmp_path)
    assert augmentation.choose(data, ONE_CONVOLUTION, 500, executor, effort, workspace).name == "small-shift"
    assert not workspace.data_sets()


def test_time_for_choice_of_augmentation_is_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def choose(*_: object) -> NamedRecipe:
        time.sleep(0.2)
        return named_recipe("small-still")

    monkeypatch.setenv("HARNESS_WORKSPACE", str(tmp_path))
    monkeypatch.setattr(plan_module, "recipe_for", lambda *_: None)
    monkeypatch.setattr(plan_module, "choose", choose)
    with planned_search(replace(REQUEST, recipe="auto")) as plan:
        assert (plan.training.named_recipe.name, plan.effort.seconds) == ("small-still", REQUEST.time)
        assert plan.training.planning_seconds > 0.2
    # A plan trains no network, and a named recipe needs no choice.
    for recipe, only_plan in (("auto", True), ("fast", False)):
        with planned_search(replace(REQUEST, recipe=recipe), only_plan=only_plan) as plan:
            assert plan.training.planning_seconds == 0
            assert plan.training.recipe_choices == (augmentation.CHOICES if only_plan else ())
