"""What of a recipe reaches the training loop: rates, optimizer, decay, smoothing, precision, averaging."""

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
from torch import Tensor, nn

from harness.system.errors import ContentError
from harness.system.machine import choose_device
from harness.training import training_loop
from harness.training.crosscheck import cross_check
from harness.training.integer import integers_of, rounded_kernels
from harness.training.native import engine as engine_module
from harness.training.native.engine import Engine
from harness.training.recipe import Recipe, _learning_rate, start_overhead
from harness.training.torch_network import Images, normalised
from harness.training.training_loop import (
    Training,
    best_start,
    checkpoint,
    count_errors,
    final_network,
    finish_average,
    finish_integers,
    predictions,
    resume,
    start,
    train_epoch,
    weights_digest,
)
from search_spaces.network import MNIST, analyse
from search_spaces.notation import parse_network
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


def synthetic(count: int, seed: int = 1) -> Images:
    """Noise, and a bright square whose place tells the class."""
    source = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 60, (count, 1, 28, 28), generator=source, dtype=torch.uint8)
    labels = torch.arange(count) % 10
    for image, label in zip(pixels, labels.tolist(), strict=True):
        row, column = 5 * (label // 5) + 4, 5 * (label % 5) + 1
        image[0, row : row + 6, column : column + 5] = 250
    return Images(pixels, labels, (0.13,), (0.3,))


def trained(recipe: Recipe, seed: int = 7, images: Images | None = None) -> Training:
    run = start(NETWORK, recipe, seed, CPU, task=MNIST)
    for _ in range(recipe.epochs):
        train_epoch(run, images or synthetic(64))
    return run


def states(run: Training) -> list[Tensor]:
    return [tensor.clone() for tensor in run.network.state_dict().values()]


def same(left: list[Tensor], right: list[Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(left, right, strict=True))


def test_a_network_overfits_sixty_four_images_and_its_loss_falls():
    images = synthetic(64)
    run = trained(replace(PLAIN, epochs=30, batch_size=8), images=images)
    losses = [epoch.train_loss for epoch in run.history]
    assert count_errors(run, images) == 0
    assert losses[0] is not None
    assert losses[-1] is not None
    assert losses[0] > 2
    assert losses[-1] < losses[0] / 5
    assert [epoch.epoch for epoch in run.history] == list(range(1, 31))


def test_equal_seeds_give_equal_bits_whatever_the_global_generator_does():
    torch.manual_seed(1)
    first = trained(FULL)
    torch.manual_seed(2)
    second = trained(FULL)
    assert weights_digest(first) == weights_digest(second)
    assert same(states(first), states(second))
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
def test_a_run_that_is_cut_anywhere_and_resumed_gives_the_bits_of_one_that_is_not(recipe: Recipe):
    images, whole, saved = synthetic(64), start(NETWORK, recipe, 7, CPU, task=MNIST), []
    for _ in range(recipe.epochs):
        buffer = io.BytesIO()
        torch.save(checkpoint(whole), buffer)
        saved.append(buffer.getvalue())
        train_epoch(whole, images)

    for content in saved:
        run = start(NETWORK, recipe, 7, CPU, task=MNIST)
        resume(run, torch.load(io.BytesIO(content), weights_only=True))
        while len(run.history) < recipe.epochs:
            train_epoch(run, images)
        assert weights_digest(run) == weights_digest(whole)
        assert same(states(run), states(whole))
        assert [epoch.train_loss for epoch in run.history] == [epoch.train_loss for epoch in whole.history]
        assert run.step == whole.step


def test_the_average_of_weights_and_bn_statistics_is_the_one_of_a_naive_sum():
    recipe = replace(FULL, average_start=0.25, average_decay=0.7)
    run, seen = start(NETWORK, recipe, 7, CPU, task=MNIST), []

    def remember(*_: object) -> None:
        seen.append([tensor.double() for tensor in states(run) if tensor.is_floating_point()])

    run.optimizer.register_step_post_hook(remember)
    for _ in range(recipe.epochs):
        train_epoch(run, synthetic(64))

    # 16 steps; the average begins at the 4th and its decay climbs as (1 + n) / (10 + n) to 0.7 at n = 20.
    average = seen[3]
    for behind, state in enumerate(seen[4:], start=1):
        decay = min(0.7, (1 + behind) / (10 + behind))
        average = [decay * old + (1 - decay) * new for old, new in zip(average, state, strict=True)]
    assert run.average is not None
    for ours, naive in zip(run.average, average, strict=True):
        torch.testing.assert_close(ours.double(), naive, rtol=1e-5, atol=1e-6)
    statistics = [name for name, tensor in run.network.state_dict().items() if tensor.is_floating_point()]
    place = next(index for index, name in enumerate(statistics) if name.endswith("running_var"))
    assert not torch.equal(run.average[place], run.state[place])


def test_the_digest_is_of_the_weights_that_predict():
    run = trained(FULL)
    assert run.average is not None
    averaged = hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in run.average)).hexdigest()
    assert weights_digest(run) == averaged
    run.average = None
    raw = hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in run.state)).hexdigest()
    assert weights_digest(run) == raw
    assert raw != averaged


@pytest.mark.parametrize("bits", [2, 3, 5, 7])
def test_a_step_computes_with_rounded_weights_and_updates_the_weights_before_rounding(bits: int):
    largest = 2 ** (bits - 1) - 1
    text = "conv3x3(6, tie=a) relu conv3x3(6, groups=6) relu avgpool(4) linear(10)"
    recipe = replace(PLAIN, precision="int8", weight_bits=bits, momentum=0.0, nesterov=False, warmup=0.0)
    images = synthetic(recipe.batch_size)
    run = start(parse_network(text), recipe, 7, CPU, task=MNIST)
    network = deepcopy(run.network)
    epoch = train_epoch(run, images)

    # torch's own straight-through rounding, and its gradient.
    named = dict(network.named_parameters())
    rounded = {}
    for name, weights in named.items():
        scale = float(weights.detach().abs().max()) / largest
        is_kernel = weights.ndim > 1
        rounded[name] = (
            torch.fake_quantize_per_tensor_affine(weights, scale, 0, -largest, largest) if is_kernel else weights
        )
    pixels = normalised(images.pixels.float() / 255, images.mean, images.deviation)
    loss = nn.functional.cross_entropy(torch.func.functional_call(network, rounded, (pixels,)), images.labels)
    gradients = torch.autograd.grad(loss, list(named.values()))
    assert epoch.train_loss == pytest.approx(float(loss.detach()), rel=1e-5)
    for (name, before), gradient in zip(named.items(), gradients, strict=True):
        expected = before - recipe.learning_rate * gradient
        torch.testing.assert_close(run.network.get_parameter(name), expected, rtol=1e-4, atol=1e-6)


def test_the_weights_that_predict_are_those_of_the_integers():
    recipe = replace(FULL, precision="int8", weight_bits=4)
    run = trained(recipe)
    finish_average(run, synthetic(64))
    finish_integers(run, synthetic(64))
    network = final_network(run)
    integers = integers_of(network, run.architecture, synthetic(64))

    assert integers.plan.weight_bits == 4
    for kernel, weights in zip(integers.kernels, rounded_kernels(network, integers.plan), strict=True):
        stored = weights.detach().reshape(len(weights), -1, *kernel.shape[1:3]).permute(0, 2, 3, 1).numpy()
        np.testing.assert_allclose(stored * 7 / np.abs(stored).max(), kernel, atol=1e-4)


def test_a_loss_that_is_not_finite_ends_the_run():
    run = start(NETWORK, PLAIN, 7, CPU, task=MNIST)
    with torch.no_grad():
        next(run.network.parameters()).fill_(math.nan)
    epoch = train_epoch(run, synthetic(64))
    assert run.diverged
    assert epoch.train_loss is None
    assert run.history == [epoch]


def test_an_epoch_takes_every_image_once_but_for_the_batch_that_is_not_full(monkeypatch: pytest.MonkeyPatch):
    images, run, seen = synthetic(70), start(NETWORK, PLAIN, 7, CPU, task=MNIST), []
    # The first pixel numbers the images.
    images.pixels[:, 0, 0, 0] = torch.arange(70, dtype=torch.uint8)

    def spy(pixels: Tensor, *_: object) -> Tensor:
        seen.append((pixels[:, 0, 0, 0] * 255).round().int().tolist())
        return pixels

    monkeypatch.setattr(training_loop, "augment", spy)
    train_epoch(run, images)
    train_epoch(run, images)

    epochs = [[number for batch in batches for number in batch] for batches in (seen[:4], seen[4:])]
    assert [len(batch) for batch in seen] == [16] * 8
    assert all(len(set(epoch)) == 64 for epoch in epochs)
    assert epochs[0] != epochs[1]


def by_itself(seed: int, epochs: int, engine: Engine | None = None) -> Training:
    """A start that nothing else was trained beside."""
    run = start(NETWORK, STARTS, seed, CPU, engine, task=MNIST)
    for _ in range(epochs):
        train_epoch(run, synthetic(64))
    return run


STARTS = replace(FULL, epochs=5, starts=9, start_epochs=1)


@pytest.mark.parametrize("load", [lambda: None, engine_module.load], ids=["torch", "native"])
def test_of_several_starts_the_one_that_halving_by_loss_leaves_goes_on_as_if_it_were_alone(
    load: Callable[[], Engine | None],
):
    engine = load()

    def new_start(number: int) -> Training:
        return start(NETWORK, STARTS, 100 + number, CPU, engine, task=MNIST)

    def loss(number: int, epochs: int) -> float:
        return by_itself(100 + number, epochs, engine).history[-1].train_loss or math.inf

    # Nine train an epoch, four two of them, two four.
    four = sorted(range(9), key=lambda number: loss(number, 1))[:4]
    two = sorted(four, key=lambda number: loss(number, 2))[:2]
    best = min(two, key=lambda number: loss(number, 4))

    run = best_start(new_start(0), new_start, synthetic(64))
    assert same(states(run), states(by_itself(100 + best, 4, engine)))
    train_epoch(run, synthetic(64))
    assert same(states(run), states(by_itself(100 + best, 5, engine)))


def test_the_seconds_of_all_starts_are_those_of_the_one_that_goes_on(monkeypatch: pytest.MonkeyPatch):
    runs: list[Training] = []
    seconds = itertools.count()
    monkeypatch.setattr("harness.training.training_loop.time.perf_counter", lambda: next(seconds))

    def new_start(number: int) -> Training:
        runs.append(start(NETWORK, STARTS, number, CPU, task=MNIST))
        return runs[-1]

    best = best_start(new_start(0), new_start, synthetic(64))
    # Each epoch takes a second here.
    assert best.seconds == best.history[-1].train_seconds == sum(len(run.history) for run in runs)
    # What the others have trained is known beforehand.
    others = sum(len(run.history) for run in runs if run is not best)
    assert others == start_overhead(STARTS, STARTS.epochs) == 5 * 1 + 2 * 2 + 1 * 4


@pytest.mark.parametrize(
    ("epochs", "start_epochs", "overhead"), [(2, 3, 8 * 2), (3, 1, 5 * 1 + 2 * 2 + 1 * 3), (1, 1, 8 * 1)]
)
def test_starts_end_with_the_recipe_where_it_is_short(epochs: int, start_epochs: int, overhead: int):
    recipe = replace(STARTS, epochs=epochs, start_epochs=start_epochs)
    new_start = partial(start, NETWORK, recipe, device=CPU, task=MNIST)
    run = best_start(new_start(0), new_start, synthetic(64))
    assert len(run.history) == epochs
    assert start_overhead(recipe, epochs) == overhead


def test_a_start_that_diverges_does_not_go_on():
    def new_start(number: int) -> Training:
        run = start(NETWORK, STARTS, number, CPU, task=MNIST)
        if number != 3:
            next(run.network.parameters()).data.fill_(math.nan)
        return run

    run = best_start(new_start(0), new_start, synthetic(64))
    assert same(states(run), states(by_itself(3, len(run.history))))


def test_too_few_images_for_a_batch_are_refused():
    run = start(NETWORK, PLAIN, 7, CPU, task=MNIST)
    with pytest.raises(ContentError):
        train_epoch(run, synthetic(15))


@pytest.mark.gpu
def test_a_gpu_gives_equal_bits_twice_and_learns():
    device, images = choose_device("cuda"), synthetic(64)
    there = Images(images.pixels.to(device), images.labels.to(device), images.mean, images.deviation)
    digests = []
    for _ in range(2):
        run = start(NETWORK, replace(PLAIN, epochs=30, batch_size=8), 7, device, task=MNIST)
        for _ in range(30):
            train_epoch(run, there)
        digests.append(weights_digest(run))
        assert count_errors(run, there) == 0
    assert digests[0] == digests[1]


SMALL = parse_network("conv3x3(4) bn relu | maxpool(4) | conv3x3(4, bias) | gap | linear(10)")
RECIPE = Recipe(epochs=4, batch_size=16, augmented_share=0.0)


def noise(count: int) -> Images:
    source = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (count, 1, 28, 28), generator=source, dtype=torch.uint8)
    return Images(pixels, torch.arange(count) % 10, (0.13,), (0.3,))


# 100 steps in all: a warm-up that climbs from a tenth; then a fall in a line, in steps, or none.
FALLING = Recipe(epochs=10, learning_rate=0.1, warmup=0.2, schedule="linear")
STEPPED = Recipe(epochs=10, learning_rate=0.4, warmup=0.0, schedule="step", step_epochs=(2, 3), step_factor=0.5)
STAYING = Recipe(epochs=10, learning_rate=0.3, warmup=0.1, schedule="constant")


@pytest.mark.parametrize(
    ("recipe", "rates"),
    [
        (FALLING, {0: 0.01, 10: 0.055, 19: 0.0955, 20: 0.1, 60: 0.05, 99: 0.00125}),
        (STEPPED, {0: 0.4, 19: 0.4, 20: 0.2, 29: 0.2, 30: 0.1, 99: 0.1}),
        (STAYING, {0: 0.03, 5: 0.165, 10: 0.3, 99: 0.3}),
    ],
    ids=["linear", "step", "constant"],
)
def test_the_rates_of_a_schedule(recipe: Recipe, rates: dict[int, float]):
    assert {step: _learning_rate(recipe, step, steps_per_epoch=10) for step in rates} == pytest.approx(rates)


def test_the_cosine_schedule_is_torch_s():
    recipe = Recipe(epochs=5, learning_rate=0.3, warmup=0.0, schedule="cosine", final_rate=0.2)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.3)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50, eta_min=0.06)
    for step in range(50):
        assert _learning_rate(recipe, step, steps_per_epoch=10) == pytest.approx(theirs.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_a_final_rate_of_a_tenth_is_where_the_fall_ends(schedule: Any):
    falling = Recipe(epochs=10, learning_rate=0.1, warmup=0.2, schedule=schedule)
    ending = replace(falling, final_rate=0.1)
    for step in range(100):
        zero = _learning_rate(falling, step, steps_per_epoch=10)
        # The warm-up is the same; after it, the way to zero becomes the way to 0.01.
        expected = zero if step < 20 else 0.01 + 0.9 * zero
        assert _learning_rate(ending, step, steps_per_epoch=10) == pytest.approx(expected)


def test_the_rates_of_the_schedule_reach_the_optimizer_and_the_history():
    run, used = start(SMALL, RECIPE, 7, CPU, task=MNIST), []
    run.optimizer.register_step_post_hook(lambda *_: used.append(run.optimizer.param_groups[0]["lr"]))
    for _ in range(2):
        train_epoch(run, noise(64))
    assert used == [_learning_rate(RECIPE, step, 4) for step in range(8)]
    assert [epoch.learning_rate for epoch in run.history] == [used[3], used[7]]
    assert [group["lr"] for group in run.optimizer.param_groups] == [used[7]] * 2


def test_the_average_begins_where_the_recipe_says():
    run = start(SMALL, replace(RECIPE, average_start=0.5), 7, CPU, task=MNIST)
    begun = []
    run.optimizer.register_step_pre_hook(lambda *_: begun.append(run.average is not None))
    for _ in range(3):
        train_epoch(run, noise(64))
    # Of 16 steps the 8th leaves the first state of the average.
    assert begun == [False] * 8 + [True] * 4


@pytest.mark.parametrize("load", [lambda: None, engine_module.load], ids=["torch", "native"])
def test_epochs_after_the_augmentation_are_those_of_a_recipe_without(load: Callable[[], Engine | None]):
    ending = Recipe(epochs=2, batch_size=16, augmentation_off_share=0.5)
    run, plain = (
        start(SMALL, recipe, 7, CPU, load(), task=MNIST) for recipe in (ending, Recipe(epochs=2, batch_size=16))
    )
    for each in (run, plain):
        train_epoch(each, noise(64))
    # Until then they are the same; then one goes on from there as if there were no augmentation.
    assert weights_digest(run) == weights_digest(plain)
    without = start(SMALL, replace(ending, augmented_share=0.0, augmentation_off_share=0.0), 7, CPU, load(), task=MNIST)
    resume(without, deepcopy(checkpoint(plain)))

    for each in (run, plain, without):
        train_epoch(each, noise(64))

    assert weights_digest(run) == weights_digest(without) != weights_digest(plain)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_the_cross_entropy_with_the_recipes_smoothing(smoothing: float):
    network, images = parse_network("conv3x3(4) relu | gap | linear(10)"), noise(16)
    run = start(network, replace(RECIPE, label_smoothing=smoothing), 7, CPU, task=MNIST)
    with torch.no_grad():
        logits = run.network((images.pixels.float() / 255 - images.mean[0]) / images.deviation[0]).double()
    chances = logits - logits.logsumexp(1, keepdim=True)
    targets = torch.nn.functional.one_hot(images.labels, 10) * (1 - smoothing) + smoothing / 10
    expected = float(-(targets * chances).sum(1).mean())
    assert train_epoch(run, images).train_loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_network_runs_in_the_recipes_precision(precision: Any):
    run, kinds = start(SMALL, replace(RECIPE, precision=precision), 7, CPU, task=MNIST), []
    run.network.ops[0].register_forward_hook(lambda *values: kinds.append(values[-1].dtype))
    train_epoch(run, noise(16))
    predictions(run, noise(16))
    assert set(kinds) == {torch.bfloat16 if precision == "bf16" else torch.float32}
    assert {parameter.dtype for parameter in run.network.parameters()} == {torch.float32}


ACROSS_NETWORK = parse_network(ACROSS)
# Users of the first kernel, and of the second, whose groups are as many as its channels.
USERS = (("3", "7", "10.ops.0", "12"), ("15", "16"))
RECIPES = (
    Recipe(epochs=2, batch_size=32, weight_decay=0.01, average_start=0.0),
    Recipe(epochs=2, batch_size=32, optimizer="adam", learning_rate=3e-3, weight_decay=0.01),
)


def kernels_of(run: Training) -> list[list[torch.Tensor]]:
    state = run.network.state_dict()
    return [[state[f"ops.{user}.weight"] for user in users] for users in USERS]


def test_a_kernel_is_counted_once_by_us_and_by_every_library():
    analysis = analyse(ACROSS_NETWORK, MNIST)
    # Kernels 36, 144 and 36; norms 8 each, one without scale 4; a slope; the head.
    assert analysis.parameters == 36 + 144 + 36 + 4 * 8 + 4 + 1 + 50
    assert cross_check(ACROSS_NETWORK, analysis).tied_repeats == 3 * 144 + 36


@pytest.mark.parametrize("recipe", RECIPES)
def test_both_engines_train_one_kernel_to_the_same_weights(recipe: Recipe):
    # Two steps: before rounding has grown.
    images = make_images(64)

    def begun(engine: Engine | None = None) -> Training:
        return start(ACROSS_NETWORK, recipe, 3, CPU, engine, task=MNIST)

    plain, fast = begun(), begun(engine_module.load())
    before = [users[0].clone() for users in kernels_of(plain)]
    train_epoch(plain, images)
    train_epoch(fast, images)

    for run in (plain, fast):
        for users, expected, first in zip(kernels_of(run), kernels_of(plain), before, strict=True):
            assert all(torch.equal(user, users[0]) for user in users)
            assert not torch.equal(users[0], first)
            torch.testing.assert_close(users[0], expected[0], rtol=1e-2, atol=2e-3)
        # The average holds a tensor a user, as the state does.
        assert (run.average is None) == (plain.average is None)
        for mine, theirs in zip(run.average or [], plain.average or [], strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-2, atol=2e-3)
