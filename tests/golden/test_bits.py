"""Trainings of six networks give the recorded weights bit by bit, with torch and with the native engine.

``bits.json`` contains the digests, and the properties of the machine for each engine. Bits depend on the instruction
set, on the release of torch and, for the native engine, on the compiler. On a different machine the test is skipped,
and the message contains the difference.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harness.spaces.network import MNIST
from harness.spaces.notation import parse_network
from harness.training.native.engine import EngineUnavailable, compiler_version, level, load
from harness.training.recipe import Recipe
from harness.training.result import instructions
from harness.training.torch_network import Images
from harness.training.training_loop import Training, start

RATE = Recipe._learning_rate
GOLDEN = Path(__file__).with_name("bits.json")
SMALL = Recipe(
    epochs=2, batch_size=32, schedule="cosine", warmup=0.1, augmented_share=0.6, average_statistics="recomputed"
)
# Network and recipe of each training; together, all ops of the engine except poselinear, and most options of recipes.
TRAININGS = {
    "tied": (
        "conv3x3(4) bn relu conv3x3(4) bn relu | maxpool | conv3x3(8) bn relu dropout(0.05) | maxpool | "
        "conv3x3(8, tie=a) bn relu conv3x3(8, tie=a) bn relu | gap | linear(10)",
        Recipe(epochs=2, batch_size=32),
    ),
    "mixed": (
        "conv5x5(5, stride=2, bias) relu bn dropout2d(0.1) | avgpool | conv1x1(12, pad=1) bn | dwconv3x3 relu "
        "res(conv3x3(12) bn relu) conv3x3(11, pad=0) relu bn | conv1x1(10, bias) | gap",
        Recipe(epochs=2, batch_size=20, optimizer="adam", learning_rate=0.003, label_smoothing=0.1),
    ),
    "matrices": (
        "maxpool relu linear(20) bn relu relu linear(10)",
        Recipe(epochs=2, batch_size=25, schedule="step", step_epochs=(1,), average_decay=0.0, decay_all=True),
    ),
    "posed": (
        "conv3x3(8, poses=4) bn(poses=4) relu | avgpool | conv1x1(8, poses=4) conv3x3(16, poses=4, tie=t1) "
        "bn(poses=4) relu | avgpool | res(conv1x1(8, poses=4, tie=t2) conv3x3(16, poses=4, tie=t1) bn(poses=4)) relu | "
        "gap | linear(10)",
        SMALL,
    ),
    "wavering": (
        "unshuffle(2) conv3x1(6) bn swish conv1x3(6, groups=2) prelu | maxpool | "
        "conv3x3(8) bn leaky | gap | linear(10)",
        Recipe(epochs=2, batch_size=32, initialisation="dirac", nesterov=False),
    ),
    "pairs": (
        "conv3x3(8) bn relu | maxpool | conv3x3(16) bn relu conv1x1(8) bn relu | gap | linear(10)",
        Recipe(epochs=2, batch_size=32, precision="bf16"),
    ),
}


def make_images(count: int) -> Images:
    """Return images of noise with a bright bar whose position depends on the class."""
    source = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 90, (count, 1, 28, 28), generator=source, dtype=torch.uint8)
    labels = torch.randint(10, (count,), generator=source)
    for image, label in zip(pixels, labels.tolist(), strict=True):
        image[0, 2 * label + 3 : 2 * label + 7, 4:24] += 120
    return Images(pixels, labels, (0.13,), (0.31,))


def machine_properties(engine: str) -> dict[str, str]:
    facts = {"instructions": instructions(), "torch": torch.__version__}
    if engine == "native":
        facts |= {"level": level().name, "compiler": compiler_version().splitlines()[0]}
    return facts


def change_as_recorded(name: str, run: Training) -> None:
    """Before each epoch, make the changes that the recorded trainings had from fields that recipes no longer have.

    ``wavering`` began with zeros in the last layer; ``pairs`` had a second epoch without augmentation, and a learning
    rate that fell to a tenth of the maximum.
    """
    if name == "wavering" and not run.history:
        head = run.network.ops[-1]
        assert isinstance(head, torch.nn.Linear)
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
    if name == "pairs" and run.history:
        run.recipe = replace(run.recipe, augmented_share=0.0)


def rate_to_a_tenth(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    rate = RATE(recipe, step, steps_per_epoch)
    is_rising = step / (steps_per_epoch * recipe.epochs) < recipe.warmup
    return rate if is_rising else 0.1 * recipe.learning_rate + (1 - 0.1) * rate


def training_digest(name: str, engine: str) -> str:
    text, recipe = TRAININGS[name]
    with one_thread():
        run = start(
            parse_network(text), recipe, 3, torch.device("cpu"), load() if engine == "native" else None, task=MNIST
        )
        images = make_images(20 * recipe.batch_size)
        for _ in range(recipe.epochs):
            change_as_recorded(name, run)
            run.train(images)
        run.finish_average(images)
    buffers = [value for state in run.optimizer.state.values() for value in state.values()]
    tensors = [*run.state, *(run.average or []), *(value for value in buffers if value is not None)]
    digest = hashlib.sha256(b"".join(tensor.detach().numpy().tobytes() for tensor in tensors)).hexdigest()
    return f"{digest[:16]}, weights {run.weights_digest()[:16]}, loss {run.history[-1].train_loss!r}"


@contextmanager
def one_thread() -> Iterator[None]:
    """Use a single thread: the rounding of sums depends on the number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("engine", ["torch", "native"])
@pytest.mark.parametrize("name", TRAININGS)
def test_training_gives_recorded_bits(name: str, engine: str, monkeypatch: pytest.MonkeyPatch):
    if name == "pairs":
        monkeypatch.setattr(Recipe, "_learning_rate", rate_to_a_tenth)
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    try:
        machine = machine_properties(engine)
    except EngineUnavailable as error:
        pytest.skip(str(error))
    if machine != golden["made"][engine]:
        pytest.skip(f"these bits were made with {golden['made'][engine]}, and here is {machine}")
    assert training_digest(name, engine) == golden["trained"][f"{name} {engine}"]
