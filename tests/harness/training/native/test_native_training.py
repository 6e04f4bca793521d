"""Tests of the native engine against torch: gradients in float64, whole runs within the precision of float32."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from harness.spaces.catalog import space
from harness.spaces.network import MNIST, Architecture, Task, analyse
from harness.spaces.notation import parse_network
from harness.spaces.space import draw_uniform
from harness.system.errors import ContentError
from harness.training.native import driver
from harness.training.native.driver import NativeProgram, _check, _check_images
from harness.training.native.engine import Engine, _Level
from harness.training.native.engine import load as load_engine
from harness.training.recipe import Recipe
from harness.training.torch_network import Images, TorchNetwork, _affine_maps, build, state_tensors
from harness.training.training_loop import Training, start
from tests.factories import make_images
from tests.harness.training.native.engines import (
    CPU,
    HERE_IN_FLOAT64,
    ON_EACH_LEVEL,
    check_against_torch,
    gradients,
    in_float64,
)
from tests.harness.training.native.networks import (
    NETWORKS,
    POSED,
    POSED_AND_PLAIN,
    POSED_DEPTHWISE,
    SHARED,
    SIMPLY_POSED,
)


def begin(text: str) -> str:
    """Return the start of a text: pytest does not show longer ids, and -k finds an op by the id."""
    return text[:40]


@ON_EACH_LEVEL
@pytest.mark.parametrize("batch", [16, 21])
@pytest.mark.parametrize("text", [*NETWORKS, POSED, POSED_AND_PLAIN, POSED_DEPTHWISE, SHARED], ids=begin)
def test_gradients_of_every_op_equal_torch(text: str, batch: int, level: _Level):
    check_against_torch(parse_network(text), batch, in_float64(level))


@settings(max_examples=25, suppress_health_check=[HealthCheck.filter_too_much])
@given(st.from_type(Architecture), st.integers(2, 40))
def test_gradients_of_random_networks_equal_torch(architecture: Architecture, batch: int):
    # Dropout draws masks in the engine; large maps take torch long in float64.
    assume(analyse(architecture, MNIST).macs < 3_000_000 and "dropout" not in str(architecture))
    check_against_torch(architecture, batch, in_float64())


def train_with_both_engines(text: str, recipe: Recipe, epochs: int) -> tuple[Training, Training, Images]:
    """Return equal trainings by torch and by the engine, and the images."""
    images = make_images(640)
    runs = [start(parse_network(text), recipe, 5, CPU, engine, task=MNIST) for engine in (None, load_engine())]
    for run in runs:
        run.train(images, epochs)
    return runs[0], runs[1], images


RECIPES = (
    Recipe(epochs=2, batch_size=32),
    Recipe(epochs=2, batch_size=20, nesterov=False, momentum=0.0, average_decay=0.0, augmented_share=0.0),
    Recipe(epochs=2, batch_size=32, optimizer="adam", learning_rate=0.003, weight_decay=0.01, average_start=0.5),
    Recipe(epochs=2, batch_size=64, label_smoothing=0.2, average_start=0.0, weight_decay=0.01, augmented_share=1.0),
    Recipe(epochs=2, batch_size=32, weight_decay=0.1, decay_all=True),
)
# If the engines round a weight in different directions, later losses differ, but rarely within two steps.
NARROW = Recipe(epochs=2, batch_size=32, precision="int8", weight_bits=6)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("text", [NETWORKS[2], SIMPLY_POSED])
def test_run_by_engine_approximates_run_by_torch(text: str, recipe: Recipe):
    torch_run, native_run, images = train_with_both_engines(text, recipe, 2)
    for native_epoch, torch_epoch in zip(native_run.history, torch_run.history, strict=True):
        assert native_epoch.train_loss == pytest.approx(torch_epoch.train_loss, rel=2e-3)
        assert (native_epoch.epoch, native_epoch.learning_rate) == (torch_epoch.epoch, torch_epoch.learning_rate)
    assert native_run.step == torch_run.step
    assert (native_run.average is None) == (torch_run.average is None)
    # Rounding differs, and training magnifies the difference; the effect on the errors must be small.
    assert abs(native_run.evaluation(images).errors - torch_run.evaluation(images).errors) <= 0.03 * len(images)


@pytest.mark.parametrize("recipe", [*RECIPES, NARROW])
def test_weights_and_optimizer_states_after_an_epoch_equal_torch(recipe: Recipe):
    # Two steps only, so that differences of rounding stay small.
    text, images = NETWORKS[0], make_images(2 * recipe.batch_size)
    oracle, fast = (start(parse_network(text), recipe, 3, CPU, engine, task=MNIST) for engine in (None, load_engine()))
    oracle.train(images)
    fast.train(images)

    for native_values, torch_values in zip(fast.state, oracle.state, strict=True):
        torch.testing.assert_close(native_values, torch_values, rtol=1e-3, atol=1e-4)
    assert (fast.average is None) == (oracle.average is None)
    for native_values, torch_values in zip(fast.average or [], oracle.average or [], strict=True):
        torch.testing.assert_close(native_values, torch_values, rtol=1e-3, atol=1e-4)
    for native_parameter, torch_parameter in zip(fast.network.parameters(), oracle.network.parameters(), strict=True):
        state, expected = fast.optimizer.state[native_parameter], oracle.optimizer.state[torch_parameter]
        assert {name for name, value in state.items() if value is not None} >= {
            name for name, value in expected.items() if value is not None
        }
        for name, value in expected.items():
            if value is not None:
                torch.testing.assert_close(state[name], value, rtol=1e-2, atol=1e-4)


def test_epoch_in_several_calls_equals_epoch_in_a_single_call(monkeypatch: pytest.MonkeyPatch):
    states = []
    for steps_a_call in (10, 3):
        monkeypatch.setattr(driver, "_CHUNK", steps_a_call)
        # Adam counts the steps.
        run = start(parse_network(NETWORKS[0]), RECIPES[2], 3, CPU, load_engine(), task=MNIST)
        run.train(make_images(10 * 32))
        assert run.average is not None
        states.append([*run.state, *run.average])
    assert all(map(torch.equal, *states))


def test_shared_statistics_of_poses_after_a_step_equal_torch():
    # Few values per mean, so that the divisor of the variance matters.
    text, images = "conv3x3(4) bn(poses=2, shared) gap linear(8) bn(poses=8, shared) linear(10)", make_images(5)
    recipe = Recipe(epochs=1, batch_size=5, augmented_share=0.0)
    oracle, fast = (start(parse_network(text), recipe, 3, CPU, engine, task=MNIST) for engine in (None, load_engine()))
    for run in (oracle, fast):
        run.train(images)

    native_statistics, torch_statistics = (
        {name: values for name, values in run.network.state_dict().items() if "running" in name}
        for run in (fast, oracle)
    )
    assert [values.numel() for values in torch_statistics.values()] == [2, 2, 1, 1]
    for name, values in torch_statistics.items():
        torch.testing.assert_close(native_statistics[name], values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("native_engine", [False, True])
@pytest.mark.parametrize("text", ["conv3x3(4) gap bn linear(10)", "linear(10) bn", "gap res(bn relu) linear(10)"])
def test_both_engines_refuse_normalisation_of_a_single_value_per_channel(text: str, native_engine: bool):
    engine, network = load_engine() if native_engine else None, parse_network(text)
    with pytest.raises(ContentError):
        start(network, Recipe(batch_size=1), 0, CPU, engine, task=MNIST)
    run_of_two = start(network, Recipe(batch_size=2), 0, CPU, engine, task=MNIST)
    networks = map(parse_network, ("conv3x3(4) bn gap linear(10)", "conv3x3(4) gap bn(poses=4, shared) linear(10)"))
    for run in (run_of_two, *(start(larger, Recipe(batch_size=1), 0, CPU, engine, task=MNIST) for larger in networks)):
        run.train(make_images(20))
        assert not run.has_diverged


@pytest.mark.parametrize("text", [NETWORKS[0], "conv3x3(8) bn relu dropout(0.1) gap linear(10)"])
@pytest.mark.parametrize("recipe", [*RECIPES[:3], NARROW])
def test_run_resumed_from_checkpoint_has_bits_of_uninterrupted_run(text: str, recipe: Recipe):
    images = make_images(320)
    unbroken, first, second = (start(parse_network(text), recipe, 7, CPU, load_engine(), task=MNIST) for _ in range(3))
    unbroken.train(images, 2)
    first.train(images)
    second.resume(first.checkpoint())
    second.train(images)
    for values, expected in zip(second.average or second.state, unbroken.average or unbroken.state, strict=True):
        assert torch.equal(values, expected)


@pytest.mark.parametrize("text", NETWORKS[::4], ids=begin)
def test_run_with_nan_weight_diverges(text: str):
    run = start(parse_network(text), Recipe(epochs=1, batch_size=32), 0, CPU, load_engine(), task=MNIST)
    with torch.no_grad():
        first = next(run.network.parameters())
        first[(0,) * first.ndim] = math.nan
    run.train(make_images(64))
    assert run.has_diverged


def test_batch_larger_than_memory_raises_memory_error():
    recipe = replace(Recipe(), batch_size=10_000)
    architecture = parse_network("conv1x1(10000) relu gap linear(10)")
    with pytest.raises(MemoryError):
        NativeProgram(load_engine(), architecture, recipe, make_images(1))


def open_program(
    text: str, batch: int, engine: Engine
) -> tuple[NativeProgram, TorchNetwork, Callable[[], tuple[float, Tensor]]]:
    """Return a program in float64, a network, and a function of loss and gradient under equal masks."""
    architecture = parse_network(text)
    torch.manual_seed(2)
    network = build(architecture, MNIST).double()
    program = NativeProgram(engine, architecture, Recipe(batch_size=batch), make_images(1))
    images = make_images(batch)

    def under_one_mask() -> tuple[float, Tensor]:
        engine.library.engine_seed(program.pointer, 7)
        return gradients(program, network, images.pixels, images.labels)

    return program, network, under_one_mask


def outputs_of_dropout(op: str, rate: float, level: _Level, seeds: int) -> Tensor:
    """Return outputs of dropout for inputs of 1: (seeds, channels, positions)."""
    # Maps of 1; if all weights of the last layer are zero, the gradient is the input times a constant.
    text = f"conv1x1(40, bias) {op}({rate}) linear(10)"
    program, network, _ = open_program(text, 1, in_float64(level))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        list(network.parameters())[1].fill_(1.0)
    outputs = []
    for seed in range(seeds):
        program.engine.library.engine_seed(program.pointer, seed)
        pixels, labels = torch.zeros(1, 1, 28, 28, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64)
        gradient = gradients(program, network, pixels, labels)[1]
        # For each wrong class the gradient is a tenth of the input; the 80 numbers of the convolution come before,
        # and 10 biases behind.
        outputs.append(gradient[80:-10].view(10, 40, 784)[1] * 10)

    return torch.stack(outputs)


def assert_masks(inputs: Tensor, op: str, rate: float, values: int) -> None:
    """Check outputs of dropout for inputs of 1, (seeds, channels, positions), with ``values`` draws per channel."""
    zero = inputs == 0
    rate = round(rate * 65_536) / 65_536  # a draw has 16 bits
    torch.testing.assert_close(inputs[~zero], torch.full_like(inputs[~zero], 1 / (1 - rate)), rtol=1e-9, atol=0)
    if op == "dropout2d":
        assert bool((zero.all(2) | (~zero).all(2)).all())
    draws = zero[:, :, :values].double()
    # Five standard deviations of a share.
    assert abs(draws.mean() - rate) < 5 * math.sqrt(rate * (1 - rate) / draws.numel())
    # Neighbours, and the masks of two seeds, are independent.
    for first, second in ((draws[1:], draws[:-1]), (draws[:, 1:], draws[:, :-1])):
        assert abs((first * second).mean() - rate**2) < 5 * rate / math.sqrt(first.numel())


@ON_EACH_LEVEL
@pytest.mark.parametrize(("op", "values"), [("dropout", 784), ("dropout2d", 1)])
@pytest.mark.parametrize("rate", [0.02, 0.25, 0.9])
def test_dropout_zeroes_requested_share_and_scales_remaining_values(op: str, values: int, rate: float, level: _Level):
    assert_masks(outputs_of_dropout(op, rate, level, 60), op, rate, values)
    # All instruction sets have the same random numbers.
    few = (outputs_of_dropout(op, rate, each, 5) for each in (level, HERE_IN_FLOAT64[0]))
    torch.testing.assert_close(next(few), next(few), rtol=1e-9, atol=0)


@ON_EACH_LEVEL
@pytest.mark.parametrize("batch", [16, 21])
def test_gradients_use_masks_of_forward_pass(batch: int, level: _Level):
    # Smooth ops only, so that central differences are exact; each use of a mask has a smooth op before and after.
    text = "conv3x3(4) bn dropout(0.3) | avgpool | conv3x3(6) dropout2d(0.3) bn dropout(0.5) | gap | linear(10)"
    _, network, under_one_mask = open_program(text, batch, in_float64(level))
    _, gradient = under_one_mask()
    offset = 0
    for parameter in network.parameters():
        flat = parameter.data.reshape(-1)
        assert flat.data_ptr() == parameter.data_ptr()
        for index in range(0, flat.numel(), 1 + flat.numel() // 8):
            losses = []
            for step in (1e-5, -1e-5):
                flat[index] += step
                losses.append(under_one_mask()[0])
                flat[index] -= step
            assert (losses[0] - losses[1]) / 2e-5 == pytest.approx(float(gradient[offset + index]), rel=1e-5, abs=1e-8)
        offset += flat.numel()


@ON_EACH_LEVEL
@pytest.mark.parametrize("batch", [16, 21])
@pytest.mark.parametrize("dropout", ["dropout(0.3)", "dropout2d(0.4)"])
@pytest.mark.parametrize("pool", ["maxpool", "avgpool"])
def test_pool_fused_with_dropout_uses_equal_masks(pool: str, dropout: str, batch: int, level: _Level):
    # A pool with windows of a single value has no effect, but prevents the engine from fusing dropout and pool.
    texts = [
        f"conv3x3(4) bn relu {dropout} {between} {pool} conv3x3(6) relu bn {dropout} {between} {pool} gap linear(10)"
        for between in ("", "maxpool(1)")
    ]
    (loss, gradient), (unfused_loss, expected) = (open_program(text, batch, in_float64(level))[2]() for text in texts)
    assert loss == pytest.approx(unfused_loss, rel=1e-12)
    assert torch.allclose(gradient, expected, rtol=1e-9, atol=1e-12)


PIXELS, LABELS = torch.zeros(4, 1, 28, 28, dtype=torch.uint8), torch.tensor([0, 9, 2, 3])


def test_engine_refuses_invalid_arrays():
    _check_images(PIXELS, LABELS, MNIST)
    _check("order", torch.tensor([3, 0, 1]), torch.int64, (3,), 4)
    strided, elsewhere = torch.arange(6)[::2], torch.zeros(3, dtype=torch.int64, device="meta")
    for order in (
        torch.tensor([0, 1, 4]),
        torch.tensor([0, 1, -1]),
        torch.arange(2),
        torch.arange(3.0),
        strided,
        elsewhere,
    ):
        with pytest.raises(AssertionError):
            _check("order", order, torch.int64, (3,), 4)
    for labels in (torch.tensor([0, 10, 2, 3]), torch.tensor([0, -100, 2, 3]), LABELS.int(), LABELS[:3]):
        with pytest.raises(AssertionError):
            _check_images(PIXELS, labels, MNIST)
    for pixels in (PIXELS.float(), PIXELS[:, :, ::2].contiguous(), PIXELS.transpose(2, 3)):
        with pytest.raises(AssertionError):
            _check_images(pixels, LABELS, MNIST)


# Narrow and wide images, below and above the 32 columns of a block of the engine; channels with different statistics.
TASKS = [Task((3, 32, 32), 7), Task((2, 9, 40), 3), Task((3, 70, 5), 2), Task((1, 8, 8), 10)]
MEANS, DEVIATIONS = 6 * (0.2, 0.5, 0.4), 6 * (0.3, 0.2, 0.25)
MOVED = Recipe(batch_size=16, augmented_share=0.8, rotation_degrees=20, shift_pixels=2, scale=0.2, shear=0.2)
STILL = Recipe(batch_size=16, augmented_share=0.0, learning_rate=0.01)
tasks = pytest.mark.parametrize("task", TASKS, ids=str)


def network_for(task: Task) -> Architecture:
    return parse_network(f"conv3x3(6) bn relu conv3x3(8, stride=2) bn relu gap linear({task.classes})", task)


def images_for(task: Task, count: int, seed: int = 0) -> Images:
    """Return noise with a brightness per class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(task.classes, (count,), generator=generator)
    pixels = torch.randint(0, 128, (count, *task.input_shape), generator=generator)
    pixels += (120 * labels / task.classes).long().view(-1, 1, 1, 1)
    channels = task.input_shape[0]
    return Images(pixels.to(torch.uint8), labels, MEANS[:channels], DEVIATIONS[:channels], task.classes)


def by_channel(images: Images) -> Tensor:
    """Return the normalised pixels in float64, computed channel by channel."""
    planes = [
        (images.pixels[:, channel].double() / 255 - mean) / deviation
        for channel, (mean, deviation) in enumerate(zip(images.mean, images.deviation, strict=True))
    ]
    return torch.stack(planes, 1)


@tasks
def test_gradients_and_predictions_of_each_task_equal_torch(task: Task):
    architecture, images = network_for(task), images_for(task, 21)
    torch.manual_seed(1)
    network = build(architecture, task).double()
    program = NativeProgram(in_float64(), architecture, Recipe(batch_size=21), images)

    loss, gradient = gradients(program, network, images.pixels, images.labels)
    expected = functional.cross_entropy(network(by_channel(images)), images.labels)
    parts = torch.autograd.grad(expected, list(network.parameters()))

    assert loss == pytest.approx(expected.item(), rel=1e-9)
    assert torch.allclose(gradient, torch.cat([part.reshape(-1) for part in parts]), rtol=1e-8, atol=1e-8)
    fresh = images_for(task, 30, seed=2)
    classes = network.eval()(by_channel(fresh)).argmax(1)
    assert program.predict(network, state_tensors(network), fresh.pixels).argmax(1).tolist() == classes.tolist()


@tasks
def test_both_engines_augment_images_equally(task: Task):
    # Two steps only, so that differences of rounding stay small.
    images = images_for(task, 2 * MOVED.batch_size)
    recipe = replace(MOVED, learning_rate=0.01)
    by_torch, by_engine = (
        start(network_for(task), recipe, 5, CPU, engine, task=task) for engine in (None, load_engine())
    )
    losses = [run.train(images).train_loss for run in (by_torch, by_engine)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    for torch_values, native_values in zip(by_torch.state, by_engine.state, strict=True):
        if torch_values.is_floating_point():
            assert torch.allclose(torch_values, native_values, rtol=1e-2, atol=2e-4)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("series", (1, 1, 24)),
        ("series", (12, 1, 1500)),
        ("small", (3, 8, 8)),
        ("pictures", (1, 12, 12)),
        ("pictures", (16, 32, 32)),
        ("large", (1, 41, 41)),
        ("large", (3, 96, 96)),
    ],
)
def test_step_of_networks_drawn_for_a_shape_equals_torch(name: str, shape: tuple[int, int, int]):
    task = Task(shape, 7)
    generator = random.Random(name)
    networks = [draw_uniform(space(name, task), generator).architecture for _ in range(4)]
    # Dropout draws masks in the engine.
    for architecture in [network for network in networks if "dropout" not in str(network)]:
        runs = [start(architecture, STILL, 5, CPU, engine, task=task) for engine in (None, load_engine())]
        losses = [run.train(images_for(task, STILL.batch_size)).train_loss for run in runs]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)
        for torch_values, native_values in zip(runs[0].state, runs[1].state, strict=True):
            torch.testing.assert_close(torch_values, native_values, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("pool", ["maxpool", "avgpool"])
def test_gradients_of_pooled_series_equal_torch(pool: str):
    task = Task((2, 1, 27), 3)
    architecture = parse_network(f"{pool}(3) conv1x3(4) bn relu {pool} conv1x3(3) {pool} linear(3)", task)
    images = images_for(task, 21)
    network = build(architecture, task).double()
    program = NativeProgram(in_float64(), architecture, Recipe(batch_size=21), images)

    _, gradient = gradients(program, network, images.pixels, images.labels)
    loss = functional.cross_entropy(network(by_channel(images)), images.labels)

    expected = torch.cat([part.reshape(-1) for part in torch.autograd.grad(loss, list(network.parameters()))])
    torch.testing.assert_close(gradient, expected, rtol=1e-8, atol=1e-8)


def test_rotation_of_wide_image_keeps_proportions():
    image = torch.zeros(1, 1, 11, 31)
    image[0, 0, 5, 12:19] = 1
    # The highest draw gives the largest angle; the middle draws change nothing.
    quarter = torch.tensor([[1.0], [0.5], [0.5], [0.5], [0.5], [0.5], [0.0]])
    theta = _affine_maps(quarter, 11, 31, Recipe(augmented_share=1.0, rotation_degrees=90))
    grid = functional.affine_grid(theta, [1, 1, 11, 31], align_corners=False)
    upright = functional.grid_sample(image, grid, align_corners=False)[0, 0]
    expected = torch.zeros(11, 31)
    expected[2:9, 15] = 1
    assert torch.allclose(upright, expected, atol=1e-4)
