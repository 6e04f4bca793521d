from __future__ import annotations

import hashlib
import io
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from harness.system.errors import ContentError
from harness.training import train as train_module
from harness.training.recipe import Initialisation, Optimizer, Precision, Recipe, Schedule
from harness.training.steps import Images
from harness.training.train import (
    Training,
    checkpoint,
    count_errors,
    predictions,
    resume,
    start,
    train_epoch,
    weights_digest,
)
from search_spaces.notation import parse_network
from search_spaces.task import MNIST

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
    initialisation=Initialisation.TORCH,
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


def test_the_full_recipe_learns_too():
    images = synthetic(64)
    run = trained(replace(FULL, epochs=40, batch_size=8, shift_pixels=0.5, rotation_degrees=3.0), images=images)
    assert count_errors(run, images) <= 3


def test_equal_seeds_give_equal_bits_whatever_the_global_generator_does():
    torch.manual_seed(1)
    first = trained(FULL)
    torch.manual_seed(2)
    second = trained(FULL)
    assert weights_digest(first) == weights_digest(second)
    assert same(states(first), states(second))
    assert [epoch.train_loss for epoch in first.history] == [epoch.train_loss for epoch in second.history]


def test_training_leaves_the_global_generator_alone():
    torch.manual_seed(12345)
    before = torch.get_rng_state()
    run = trained(replace(FULL, epochs=1))
    predictions(run, synthetic(16))
    assert torch.equal(torch.get_rng_state(), before)


def test_another_seed_gives_other_first_weights_and_other_last_weights():
    assert not same(states(start(NETWORK, FULL, 1, CPU, task=MNIST)), states(start(NETWORK, FULL, 2, CPU, task=MNIST)))
    assert weights_digest(trained(FULL, 1)) != weights_digest(trained(FULL, 2))


@pytest.mark.parametrize(
    "recipe",
    [
        FULL,
        replace(FULL, optimizer=Optimizer.ADAM, learning_rate=0.003, precision=Precision.BF16),
        replace(FULL, average_start=0.6, schedule=Schedule.STEP, step_epochs=(2,), momentum=0.0, nesterov=False),
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


def test_looking_at_images_between_epochs_changes_nothing():
    images, looked = synthetic(64), start(NETWORK, FULL, 7, CPU, task=MNIST)
    for _ in range(FULL.epochs):
        train_epoch(looked, images)
        count_errors(looked, images)
        weights_digest(looked)
    assert weights_digest(looked) == weights_digest(trained(FULL))


def test_the_average_of_weights_and_bn_statistics_is_the_one_of_a_naive_sum():
    recipe = replace(FULL, average_start=0.25, average_decay=0.7)
    run, seen = start(NETWORK, recipe, 7, CPU, task=MNIST), []

    def remember() -> None:
        seen.append([tensor.double() for tensor in states(run) if tensor.is_floating_point()])

    for _ in range(recipe.epochs):
        train_epoch(run, synthetic(64), on_step=remember)

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


def test_predictions_come_from_the_average_and_leave_the_weights_as_they_were():
    images, run = synthetic(30), trained(FULL)
    before = states(run)
    by_average = predictions(run, images)
    assert run.average is not None
    assert same(states(run), before)

    with torch.no_grad():
        for tensor, average in zip(run.state, run.average, strict=True):
            tensor.copy_(average)
    run.network.eval()
    normalised = (images.pixels.float() / 255 - images.mean[0]) / images.deviation[0]
    logits = run.network(normalised)

    assert torch.equal(by_average, logits.argmax(1))


def test_images_are_counted_in_batches_as_they_are_at_once(monkeypatch: pytest.MonkeyPatch):
    images, run = synthetic(50), trained(PLAIN)
    whole = predictions(run, images)
    monkeypatch.setattr(train_module, "_EVALUATION_BATCH", 7)
    assert torch.equal(predictions(run, images), whole)
    assert count_errors(run, images) == int((whole != images.labels).sum())


def test_the_digest_is_of_the_weights_that_predict():
    run = trained(FULL)
    assert run.average is not None

    averaged = hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in run.average)).hexdigest()
    assert weights_digest(run) == averaged
    run.average = None
    raw = hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in run.state)).hexdigest()
    assert weights_digest(run) == raw
    assert raw != averaged


def test_a_loss_that_is_not_finite_ends_the_run():
    run = start(NETWORK, PLAIN, 7, CPU, task=MNIST)
    with torch.no_grad():
        next(run.network.parameters()).fill_(math.nan)
    epoch = train_epoch(run, synthetic(64))
    assert run.diverged
    assert epoch.train_loss is None
    assert run.history == [epoch]


def test_a_rate_that_is_far_too_high_diverges():
    network = parse_network("conv3x3(4) conv3x3(4) | gap | linear(10)")
    run = start(network, replace(PLAIN, learning_rate=1e3, warmup=0.0, epochs=20), 7, CPU, task=MNIST)
    while len(run.history) < 20 and not run.diverged:
        train_epoch(run, synthetic(64))
    assert run.diverged


def test_an_epoch_takes_every_image_once_but_for_the_batch_that_is_not_full(monkeypatch: pytest.MonkeyPatch):
    images, run, seen = synthetic(70), start(NETWORK, PLAIN, 7, CPU, task=MNIST), []
    # The first pixel numbers the images.
    images.pixels[:, 0, 0, 0] = torch.arange(70, dtype=torch.uint8)

    def spy(pixels: Tensor, *_: object) -> Tensor:
        seen.append((pixels[:, 0, 0, 0] * 255).round().int().tolist())
        return pixels

    monkeypatch.setattr(train_module, "augment", spy)
    train_epoch(run, images)
    train_epoch(run, images)

    epochs = [[number for batch in batches for number in batch] for batches in (seen[:4], seen[4:])]
    assert [len(batch) for batch in seen] == [16] * 8
    assert all(len(set(epoch)) == 64 for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_too_few_images_for_a_batch_are_refused():
    run = start(NETWORK, PLAIN, 7, CPU, task=MNIST)
    with pytest.raises(ContentError, match=r"^recipe: batch_size is 16, but there are only 15 images to train on$"):
        train_epoch(run, synthetic(15))


def test_seconds_add_up_over_the_epochs_and_leave_out_what_comes_between():
    run = trained(PLAIN)
    seconds = [epoch.train_seconds for epoch in run.history]
    assert seconds == sorted(seconds)
    assert run.seconds == seconds[-1] > 0


@pytest.mark.gpu
def test_a_gpu_gives_equal_bits_twice_and_learns():
    device, images = torch.device("cuda"), synthetic(64)
    there = Images(images.pixels.to(device), images.labels.to(device), images.mean, images.deviation)
    digests = []
    for _ in range(2):
        run = start(NETWORK, replace(PLAIN, epochs=30, batch_size=8), 7, device, task=MNIST)
        for _ in range(30):
            train_epoch(run, there)
        digests.append(weights_digest(run))
        assert count_errors(run, there) == 0

    assert digests[0] == digests[1]
