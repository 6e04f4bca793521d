"""The training loop follows the recipe: rates, optimizer, smoothing, precision, averaging and several starts."""

from __future__ import annotations

import hashlib
import io
import itertools
import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import log_softmax, softmax
from sklearn.metrics import zero_one_loss
from torch import Tensor, nn

from harness.spaces.network import MNIST, analyse
from harness.spaces.notation import parse_network
from harness.system import clock
from harness.system.errors import ContentError
from harness.system.machine import choose_device
from harness.training import training_loop
from harness.training.crosscheck import cross_check
from harness.training.integer import integers_of, rounded_kernels
from harness.training.native import engine as engine_module
from harness.training.native.engine import Engine
from harness.training.recipe import Recipe
from harness.training.torch_network import Images, normalised
from harness.training.training_loop import Evaluation, Training, best_start, class_probabilities, start
from tests.factories import make_images
from tests.harness.training.native.networks import ACROSS

CPU = torch.device("cpu")
NETWORK = parse_network(
    "conv3x3(6) bn relu dropout(0.05) | maxpool(4) | conv3x3(8) bn relu res(conv3x3(8, tie=a) relu)"
    " dropout2d(0.05) conv3x3(8, tie=a) bn relu | gap | linear(10)"
)
PLAIN = Recipe(
    epochs=4,
    batch_size=16,
    learning_rate=0.05,
    augmented_share=0.0,
    average_decay=0.0,
    weight_decay=0.0,
    initialisation="torch",
)
FULL = Recipe(epochs=4, batch_size=16, learning_rate=0.05, average_start=0.25, average_decay=0.9)


def make_squares(count: int, seed: int = 1) -> Images:
    """Return images of noise with a bright rectangle whose position depends on the class."""
    source = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 60, (count, 1, 28, 28), generator=source, dtype=torch.uint8)
    labels = torch.arange(count) % 10
    for image, label in zip(pixels, labels.tolist(), strict=True):
        row, column = 5 * (label // 5) + 4, 5 * (label % 5) + 1
        image[0, row : row + 6, column : column + 5] = 250
    return Images(pixels, labels, (0.13,), (0.3,))


def train_run(recipe: Recipe, seed: int = 7, images: Images | None = None) -> Training:
    run = start(NETWORK, recipe, seed, CPU, task=MNIST)
    run.train(images or make_squares(64), recipe.epochs)
    return run


def state_of(run: Training) -> list[Tensor]:
    return [tensor.clone() for tensor in run.network.state_dict().values()]


def are_equal(left: list[Tensor], right: list[Tensor]) -> bool:
    return all(torch.equal(left_tensor, right_tensor) for left_tensor, right_tensor in zip(left, right, strict=True))


def test_training_overfits_sixty_four_images_and_loss_falls():
    images = make_squares(64)
    run = train_run(replace(PLAIN, epochs=30, batch_size=8), images=images)
    losses = [epoch.train_loss for epoch in run.history]
    assert run.evaluation(images).errors == 0
    assert losses[0] is not None
    assert losses[-1] is not None
    assert losses[0] > 2
    assert losses[-1] < losses[0] / 5
    assert [epoch.epoch for epoch in run.history] == list(range(1, 31))


@given(
    logits=arrays(np.float32, (6, 3), elements=st.floats(-80, 80, width=32)),
    labels=st.lists(st.integers(0, 2), min_size=6, max_size=6),
)
def test_evaluation_equals_scipy_and_scikit_learn(logits: Any, labels: list[int]):
    evaluation = Evaluation.of(torch.from_numpy(logits), torch.tensor(labels))

    chances = softmax(logits.astype(np.float64), axis=1)
    assert evaluation.soft_errors == pytest.approx(sum(1 - chances[range(6), labels]), abs=1e-6)
    log_chances = log_softmax(logits.astype(np.float64), axis=1)
    assert evaluation.loss == pytest.approx(-log_chances[range(6), labels].mean(), abs=1e-6)
    assert evaluation.errors == zero_one_loss(labels, logits.argmax(1), normalize=False)


def test_soft_errors_of_logits_that_are_not_finite_are_none():
    logits = torch.tensor([[0.0, math.nan], [1.0, 0.0]])

    evaluation = Evaluation.of(logits, torch.tensor([0, 0]))

    assert (evaluation.soft_errors, evaluation.loss) == (None, None)


def test_equal_seeds_give_equal_bits_with_any_global_generator():
    torch.manual_seed(1)
    first = train_run(FULL)
    torch.manual_seed(2)
    second = train_run(FULL)
    assert first.weights_digest() == second.weights_digest()
    assert are_equal(state_of(first), state_of(second))
    assert [epoch.train_loss for epoch in first.history] == [epoch.train_loss for epoch in second.history]


@pytest.mark.parametrize(
    "recipe",
    [
        FULL,
        replace(FULL, optimizer="adam", learning_rate=0.003, precision="bf16"),
        replace(FULL, average_start=0.6, schedule="step", step_epochs=(2,), momentum=0.0, nesterov=False),
        PLAIN,
    ],
    ids=["fast", "adam-bf16", "late-average", "plain"],
)
def test_run_resumed_after_any_epoch_gives_bits_of_uninterrupted_run(recipe: Recipe):
    images, whole, contents = make_squares(64), start(NETWORK, recipe, 7, CPU, task=MNIST), []
    for _ in range(recipe.epochs):
        buffer = io.BytesIO()
        torch.save(whole.checkpoint(), buffer)
        contents.append(buffer.getvalue())
        whole.train(images)

    for content in contents:
        run = start(NETWORK, recipe, 7, CPU, task=MNIST)
        run.resume(torch.load(io.BytesIO(content), weights_only=True))
        while len(run.history) < recipe.epochs:
            run.train(images)
        assert run.weights_digest() == whole.weights_digest()
        assert are_equal(state_of(run), state_of(whole))
        assert [epoch.train_loss for epoch in run.history] == [epoch.train_loss for epoch in whole.history]
        assert run.step == whole.step


def test_average_of_weights_and_bn_statistics_equals_naive_sum():
    recipe = replace(FULL, average_start=0.25, average_decay=0.7)
    run, history = start(NETWORK, recipe, 7, CPU, task=MNIST), []

    def store_state(*_: object) -> None:
        history.append([tensor.double() for tensor in state_of(run) if tensor.is_floating_point()])

    run.optimizer.register_step_post_hook(store_state)
    run.train(make_squares(64), recipe.epochs)

    # 16 steps; the average begins at the 4th, and the decay after n further steps is min(0.7, (1 + n) / (10 + n)).
    average = history[3]
    for count, state in enumerate(history[4:], start=1):
        decay = min(0.7, (1 + count) / (10 + count))
        average = [decay * old + (1 - decay) * new for old, new in zip(average, state, strict=True)]
    assert run.average is not None
    for tensor, expected in zip(run.average, average, strict=True):
        torch.testing.assert_close(tensor.double(), expected, rtol=1e-5, atol=1e-6)
    statistics = [name for name, tensor in run.network.state_dict().items() if tensor.is_floating_point()]
    position = next(index for index, name in enumerate(statistics) if name.endswith("running_var"))
    assert not torch.equal(run.average[position], run.state[position])


def test_weights_digest_is_of_average_if_present():
    run = train_run(FULL)
    assert run.average is not None
    averaged = hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in run.average)).hexdigest()
    assert run.weights_digest() == averaged
    run.average = None
    raw = hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in run.state)).hexdigest()
    assert run.weights_digest() == raw
    assert raw != averaged


@pytest.mark.parametrize("bits", [2, 3, 5, 7])
def test_step_computes_with_rounded_weights_and_updates_unrounded_weights(bits: int):
    largest = 2 ** (bits - 1) - 1
    text = "conv3x3(6, tie=a) relu conv3x3(6, groups=6) relu avgpool(4) linear(10)"
    recipe = replace(PLAIN, precision="int8", weight_bits=bits, momentum=0.0, nesterov=False, warmup=0.0)
    images = make_squares(recipe.batch_size)
    run = start(parse_network(text), recipe, 7, CPU, task=MNIST)
    network = deepcopy(run.network)
    epoch = run.train(images)

    # Rounding and straight-through gradient of torch.
    parameters = dict(network.named_parameters())
    rounded = {}
    for name, weights in parameters.items():
        scale = float(weights.detach().abs().max()) / largest
        is_kernel = weights.ndim > 1
        rounded[name] = (
            torch.fake_quantize_per_tensor_affine(weights, scale, 0, -largest, largest) if is_kernel else weights
        )
    pixels = normalised(images.pixels.float() / 255, images.mean, images.deviation)
    loss = nn.functional.cross_entropy(torch.func.functional_call(network, rounded, (pixels,)), images.labels)
    gradients = torch.autograd.grad(loss, list(parameters.values()))
    assert epoch.train_loss == pytest.approx(float(loss.detach()), rel=1e-5)
    for (name, before), gradient in zip(parameters.items(), gradients, strict=True):
        expected = before - recipe.learning_rate * gradient
        torch.testing.assert_close(run.network.get_parameter(name), expected, rtol=1e-4, atol=1e-6)


def test_final_network_has_weights_of_integer_network():
    run = train_run(replace(FULL, precision="int8", weight_bits=4))
    run.finish_average(make_squares(64))
    run.finish_integers(make_squares(64))
    network = run.final_network()
    integers = integers_of(network, run.architecture, make_squares(64))

    assert integers.plan.weight_bits == 4
    for kernel, weights in zip(integers.kernels, rounded_kernels(network, integers.plan), strict=True):
        stored = weights.detach().reshape(len(weights), -1, *kernel.shape[1:3]).permute(0, 2, 3, 1).numpy()
        np.testing.assert_allclose(stored * 7 / np.abs(stored).max(), kernel, atol=1e-4)
    # Without the scale of the integer logits, all probabilities would be 0 or 1.
    images = make_squares(64)
    chances = class_probabilities(network, run.architecture, images.pixels, images, "int8")
    soft_errors = (1 - chances[range(64), images.labels]).sum().item()
    assert run.evaluation(images).soft_errors == pytest.approx(soft_errors, rel=1e-4)
    assert abs(soft_errors - round(soft_errors)) > 1e-3


def test_run_diverges_at_loss_that_is_not_finite():
    run = start(NETWORK, PLAIN, 7, CPU, task=MNIST)
    with torch.no_grad():
        next(run.network.parameters()).fill_(math.nan)
    epoch = run.train(make_squares(64))
    assert run.has_diverged
    assert epoch.train_loss is None
    assert run.history == [epoch]


def test_epoch_uses_each_image_at_most_once_in_full_batches(monkeypatch: pytest.MonkeyPatch):
    images, run, batches = make_squares(70), start(NETWORK, PLAIN, 7, CPU, task=MNIST), []
    # The first pixel of an image is the number of the image.
    images.pixels[:, 0, 0, 0] = torch.arange(70, dtype=torch.uint8)

    def store_batch(pixels: Tensor, *_: object) -> Tensor:
        batches.append((pixels[:, 0, 0, 0] * 255).round().int().tolist())
        return pixels

    monkeypatch.setattr(training_loop, "augment", store_batch)
    run.train(images)
    run.train(images)

    epochs = [[number for batch in epoch_batches for number in batch] for epoch_batches in (batches[:4], batches[4:])]
    assert [len(batch) for batch in batches] == [16] * 8
    assert all(len(set(epoch)) == 64 for epoch in epochs)
    assert epochs[0] != epochs[1]


def train_single_start(seed: int, epochs: int, engine: Engine | None = None) -> Training:
    """Train a single start, without further starts."""
    run = start(NETWORK, STARTS, seed, CPU, engine, task=MNIST)
    run.train(make_squares(64), epochs)
    return run


STARTS = replace(FULL, epochs=5, starts=9, start_epochs=1)


@pytest.mark.parametrize("load", [lambda: None, engine_module.load], ids=["torch", "native"])
def test_best_start_is_winner_of_halving_by_loss_with_bits_of_single_run(load: Callable[[], Engine | None]):
    engine = load()

    def new_start(number: int) -> Training:
        return start(NETWORK, STARTS, 100 + number, CPU, engine, task=MNIST)

    def loss(number: int, epochs: int) -> float:
        return train_single_start(100 + number, epochs, engine).history[-1].train_loss or math.inf

    # Nine starts train one epoch, four of them go on to two epochs, and two of these to four epochs.
    best_four = sorted(range(9), key=lambda number: loss(number, 1))[:4]
    best_two = sorted(best_four, key=lambda number: loss(number, 2))[:2]
    best = min(best_two, key=lambda number: loss(number, 4))

    run = best_start(new_start(0), new_start, make_squares(64))
    assert are_equal(state_of(run), state_of(train_single_start(100 + best, 4, engine)))
    run.train(make_squares(64))
    assert are_equal(state_of(run), state_of(train_single_start(100 + best, 5, engine)))


def test_best_start_counts_seconds_of_all_starts(monkeypatch: pytest.MonkeyPatch):
    runs: list[Training] = []
    seconds = itertools.count()
    monkeypatch.setattr(clock, "now", lambda: next(seconds))

    def new_start(number: int) -> Training:
        runs.append(start(NETWORK, STARTS, number, CPU, task=MNIST))
        return runs[-1]

    best = best_start(new_start(0), new_start, make_squares(64))
    # Each epoch takes a second of the patched clock.
    assert best.seconds == best.history[-1].train_seconds == sum(len(run.history) for run in runs)
    # ``start_overhead`` predicts the epochs of the dropped starts.
    further_seconds = sum(len(run.history) for run in runs if run is not best)
    assert further_seconds == STARTS.start_overhead(STARTS.epochs) == 5 * 1 + 2 * 2 + 1 * 4


@pytest.mark.parametrize(
    ("epochs", "start_epochs", "overhead"), [(2, 3, 8 * 2), (3, 1, 5 * 1 + 2 * 2 + 1 * 3), (1, 1, 8 * 1)]
)
def test_starts_train_at_most_epochs_of_recipe(epochs: int, start_epochs: int, overhead: int):
    recipe = replace(STARTS, epochs=epochs, start_epochs=start_epochs)
    new_start = partial(start, NETWORK, recipe, device=CPU, task=MNIST)
    assert len(best_start(new_start(0), new_start, make_squares(64)).history) == epochs
    assert recipe.start_overhead(epochs) == overhead


def test_best_start_has_not_diverged():
    def new_start(number: int) -> Training:
        run = start(NETWORK, STARTS, number, CPU, task=MNIST)
        if number != 3:
            next(run.network.parameters()).data.fill_(math.nan)
        return run

    run = best_start(new_start(0), new_start, make_squares(64))
    assert are_equal(state_of(run), state_of(train_single_start(3, len(run.history))))


def test_train_epoch_refuses_fewer_images_than_batch():
    run = start(NETWORK, PLAIN, 7, CPU, task=MNIST)
    with pytest.raises(ContentError):
        run.train(make_squares(15))


@pytest.mark.gpu
def test_gpu_gives_equal_bits_twice_and_learns():
    device, images = choose_device("cuda"), make_squares(64)
    gpu_images = Images(images.pixels.to(device), images.labels.to(device), images.mean, images.deviation)
    digests = []
    for _ in range(2):
        run = start(NETWORK, replace(PLAIN, epochs=30, batch_size=8), 7, device, task=MNIST)
        run.train(gpu_images, 30)
        digests.append(run.weights_digest())
        assert run.evaluation(gpu_images).errors == 0
    assert digests[0] == digests[1]


SMALL = parse_network("conv3x3(4) bn relu | maxpool(4) | conv3x3(4, bias) | gap | linear(10)")
RECIPE = Recipe(epochs=4, batch_size=16, augmented_share=0.0)


def make_noise(count: int) -> Images:
    source = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (count, 1, 28, 28), generator=source, dtype=torch.uint8)
    return Images(pixels, torch.arange(count) % 10, (0.13,), (0.3,))


# 100 steps. The warm-up rises from a tenth of the rate; then the rate falls linearly, in steps, or not at all.
LINEAR = Recipe(epochs=10, learning_rate=0.1, warmup=0.2, schedule="linear")
STEP = Recipe(epochs=10, learning_rate=0.4, warmup=0.0, schedule="step", step_epochs=(2, 3), step_factor=0.5)
CONSTANT = Recipe(epochs=10, learning_rate=0.3, warmup=0.1, schedule="constant")


@pytest.mark.parametrize(
    ("recipe", "rates"),
    [
        (LINEAR, {0: 0.01, 10: 0.055, 19: 0.0955, 20: 0.1, 60: 0.05, 99: 0.00125}),
        (STEP, {0: 0.4, 19: 0.4, 20: 0.2, 29: 0.2, 30: 0.1, 99: 0.1}),
        (CONSTANT, {0: 0.03, 5: 0.165, 10: 0.3, 99: 0.3}),
    ],
    ids=["linear", "step", "constant"],
)
def test_schedules_give_expected_rates(recipe: Recipe, rates: dict[int, float]):
    assert {step: recipe._learning_rate(step, steps_per_epoch=10) for step in rates} == pytest.approx(rates)


def test_cosine_schedule_equals_torch_schedule():
    recipe = Recipe(epochs=5, learning_rate=0.3, warmup=0.0, schedule="cosine")
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.3)
    oracle = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50)
    for step in range(50):
        rate = oracle.get_last_lr()[0]
        assert recipe._learning_rate(step, steps_per_epoch=10) == pytest.approx(rate, rel=1e-9, abs=1e-12)
        optimizer.step()
        oracle.step()


def test_optimizer_and_history_have_rates_of_schedule():
    run, rates = start(SMALL, RECIPE, 7, CPU, task=MNIST), []
    run.optimizer.register_step_post_hook(lambda *_: rates.append(run.optimizer.param_groups[0]["lr"]))
    run.train(make_noise(64), 2)
    assert rates == [RECIPE._learning_rate(step, 4) for step in range(8)]
    assert [epoch.learning_rate for epoch in run.history] == [rates[3], rates[7]]
    assert [group["lr"] for group in run.optimizer.param_groups] == [rates[7]] * 2


def test_average_begins_at_share_of_recipe():
    run = start(SMALL, replace(RECIPE, average_start=0.5), 7, CPU, task=MNIST)
    has_average = []
    run.optimizer.register_step_pre_hook(lambda *_: has_average.append(run.average is not None))
    run.train(make_noise(64), 3)
    # The 8th of 16 steps stores the first state of the average.
    assert has_average == [False] * 8 + [True] * 4


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_loss_is_cross_entropy_with_label_smoothing_of_recipe(smoothing: float):
    network, images = parse_network("conv3x3(4) relu | gap | linear(10)"), make_noise(16)
    run = start(network, replace(RECIPE, label_smoothing=smoothing), 7, CPU, task=MNIST)
    with torch.no_grad():
        logits = run.network((images.pixels.float() / 255 - images.mean[0]) / images.deviation[0]).double()
    chances = logits - logits.logsumexp(1, keepdim=True)
    targets = torch.nn.functional.one_hot(images.labels, 10) * (1 - smoothing) + smoothing / 10
    expected = float(-(targets * chances).sum(1).mean())
    assert run.train(images).train_loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_network_computes_in_precision_of_recipe(precision: Any):
    run, dtypes = start(SMALL, replace(RECIPE, precision=precision), 7, CPU, task=MNIST), []
    run.network.ops[0].register_forward_hook(lambda *values: dtypes.append(values[-1].dtype))
    run.train(make_noise(16))
    run.predictions(make_noise(16))
    assert set(dtypes) == {torch.bfloat16 if precision == "bf16" else torch.float32}
    assert {parameter.dtype for parameter in run.network.parameters()} == {torch.float32}


TIED_NETWORK = parse_network(ACROSS)
# Ops that use the first tied kernel, and ops that use the second, with as many groups as channels.
USERS = (("3", "7", "10.ops.0", "12"), ("15", "16"))
RECIPES = (
    Recipe(epochs=2, batch_size=32, weight_decay=0.01, average_start=0.0),
    Recipe(epochs=2, batch_size=32, optimizer="adam", learning_rate=3e-3, weight_decay=0.01),
)


def kernels_of(run: Training) -> list[list[torch.Tensor]]:
    state = run.network.state_dict()
    return [[state[f"ops.{user}.weight"] for user in users] for users in USERS]


def test_tied_kernel_counts_once_in_analysis_and_libraries():
    analysis = analyse(TIED_NETWORK, MNIST)
    # Kernels 36, 144 and 36; four BNs with 8 parameters, a BN without scale with 4; a slope; the head.
    assert analysis.parameters == 36 + 144 + 36 + 4 * 8 + 4 + 1 + 50
    assert cross_check(TIED_NETWORK, analysis).tied_repeats == 3 * 144 + 36


@pytest.mark.parametrize("recipe", RECIPES)
def test_both_engines_train_tied_kernel_to_same_weights(recipe: Recipe):
    # Two steps only, because rounding differences grow with the steps.
    images = make_images(64)

    def begin(engine: Engine | None = None) -> Training:
        return start(TIED_NETWORK, recipe, 3, CPU, engine, task=MNIST)

    torch_run, native_run = begin(), begin(engine_module.load())
    initial_kernels = [users[0].clone() for users in kernels_of(torch_run)]
    torch_run.train(images)
    native_run.train(images)

    for run in (torch_run, native_run):
        for users, expected, initial in zip(kernels_of(run), kernels_of(torch_run), initial_kernels, strict=True):
            assert all(torch.equal(user, users[0]) for user in users)
            assert not torch.equal(users[0], initial)
            torch.testing.assert_close(users[0], expected[0], rtol=1e-2, atol=2e-3)
        # The average has a tensor for each user of a kernel, as the state.
        assert (run.average is None) == (torch_run.average is None)
        for tensor, torch_tensor in zip(run.average or [], torch_run.average or [], strict=True):
            torch.testing.assert_close(tensor, torch_tensor, rtol=1e-2, atol=2e-3)
