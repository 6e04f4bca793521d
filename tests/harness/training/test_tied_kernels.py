"""One kernel used at three resolutions, inside a residual sum, strided and padded otherwise: the same in every path."""

from __future__ import annotations

import pytest
import torch

from harness.cross_check import cross_check
from harness.training.build import build
from harness.training.native import native
from harness.training.native.native import Engine
from harness.training.recipe import Optimizer, Recipe
from harness.training.together import population_of, train_epoch_together
from harness.training.train import Training, checkpoint, count_errors, predictions, resume, start, train_epoch
from search_spaces.cost import analyse
from search_spaces.notation import parse_network
from search_spaces.task import MNIST
from tests.harness.training.native.networks import ACROSS
from tests.harness.training.native.test_native_training import some_images

CPU = torch.device("cpu")
NETWORK = parse_network(ACROSS)
# Users of the first kernel, and of the second, whose groups are as many as its channels.
USERS = (("3", "7", "10.ops.0", "12"), ("15", "16"))
RECIPES = (
    Recipe(epochs=2, batch_size=32, weight_decay=0.01, average_start=0.0),
    Recipe(epochs=2, batch_size=32, optimizer=Optimizer.ADAM, learning_rate=3e-3, weight_decay=0.01),
)


def kernels_of(run: Training) -> list[list[torch.Tensor]]:
    state = run.network.state_dict()
    return [[state[f"ops.{user}.weight"] for user in users] for users in USERS]


def test_a_kernel_is_counted_once_by_us_and_by_every_library():
    analysis = analyse(NETWORK, MNIST)
    # Kernels 36, 144 and 36; norms 8 each, one without scale 4; a slope; the head.
    assert analysis.parameters == 36 + 144 + 36 + 4 * 8 + 4 + 1 + 50
    assert cross_check(NETWORK, analysis).tied_repeats == 3 * 144 + 36


def test_a_kernel_is_one_tensor_whatever_the_resolution():
    modules = dict(build(NETWORK, MNIST).ops.named_modules())
    for users in USERS:
        assert len({modules[user].weight for user in users}) == 1


@pytest.mark.parametrize("recipe", RECIPES)
def test_engines_and_populations_train_one_kernel_to_the_same_weights(recipe: Recipe):
    # Two steps: before rounding has grown.
    images = some_images(64)

    def begun(engine: Engine | None = None) -> Training:
        return start(NETWORK, recipe, 3, CPU, engine, task=MNIST)

    plain, fast, together = begun(), begun(native.load()), begun()
    before = [users[0].clone() for users in kernels_of(plain)]
    train_epoch(plain, images)
    train_epoch(fast, images)
    train_epoch_together(population_of([together, start(NETWORK, recipe, 4, CPU, task=MNIST)], images))

    for run in (plain, fast, together):
        for users, expected, first in zip(kernels_of(run), kernels_of(plain), before, strict=True):
            assert all(torch.equal(user, users[0]) for user in users)
            assert not torch.equal(users[0], first)
            torch.testing.assert_close(users[0], expected[0], rtol=1e-2, atol=2e-3)
        # The average holds a tensor a user, as the state does.
        assert (run.average is None) == (plain.average is None)
        for mine, theirs in zip(run.average or [], plain.average or [], strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-2, atol=2e-3)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("engine", ["native", "torch"])
def test_a_run_with_tied_kernels_goes_on_from_a_checkpoint_with_the_same_bits(recipe: Recipe, engine: str):
    images = some_images(96)
    chosen = native.load() if engine == "native" else None
    whole, first, second = (start(NETWORK, recipe, 7, CPU, chosen, task=MNIST) for _ in range(3))
    for _ in range(2):
        train_epoch(whole, images)

    train_epoch(first, images)
    resume(second, checkpoint(first))
    train_epoch(second, images)

    for mine, expected in zip(second.average or second.state, whole.average or whole.state, strict=True):
        assert torch.equal(mine, expected)
    for mine, expected in zip(second.state, whole.state, strict=True):
        assert torch.equal(mine, expected)


def test_both_engines_say_the_same_of_averaged_tied_kernels():
    images = some_images(320)
    run = start(NETWORK, RECIPES[0], 5, CPU, native.load(), task=MNIST)
    for _ in range(2):
        train_epoch(run, images)

    plain = start(NETWORK, RECIPES[0], 5, CPU, task=MNIST)
    resume(plain, checkpoint(run))

    assert (predictions(plain, images) != predictions(run, images)).sum() <= 1
    assert abs(count_errors(plain, images) - count_errors(run, images)) <= 1
