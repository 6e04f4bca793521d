"""Tests of the persistent kernel on a processor: gradients against torch in float64, runs against torch's runs."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.engine import native, persistent_training
from harness.engine.instruction import Code, Instruction, Rectifier
from harness.engine.persistent_training import JobRow, Kernel, refusal, train_epoch_side_by_side
from harness.errors import ContentError
from harness.training.build import FastDropout, build, initialise
from harness.training.recipe import Initialisation, Precision, Recipe
from harness.training.train import Images, Training, checkpoint, count_errors, resume, start, train_epoch
from search_spaces.architecture import Architecture
from search_spaces.cost import analyse
from search_spaces.notation import parse_network
from tests.harness.dropout_masks import assert_masks
from tests.harness.engine.test_native_training import CPU, NETWORKS, RECIPES, reference, some_images
from tests.harness.persistent_host import host_kernel
from tests.harness.training.test_distillation import TAUGHT
from tests.harness.training.test_posed import Noting


def one_step(kernel: Kernel, run: Training, images: Images) -> tuple[float, Tensor]:
    """The loss of one batch, unmoved, and the gradients of all parameters, flat; the network stays as it was."""
    part = persistent_training._prepared(kernel, run, images)
    table = torch.frombuffer(bytearray(bytes(part.row)), dtype=torch.uint8)
    kernel.launch(table, 1, part.fast_bytes)
    loss, gradient = part.tensors["loss"], part.tensors["gradient"]
    assert loss is not None
    assert gradient is not None
    return loss.item(), gradient


def without_chance(architecture: Architecture, recipe: Recipe) -> Training:
    """A run in float64 whose scales and shifts are not at rest, and which torch drops nothing of."""
    torch.manual_seed(1)
    run = start(architecture, recipe, 1, CPU)
    network = build(architecture).double()
    initialise(network, Initialisation.KAIMING)
    for parameter in network.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.3 * torch.randn(parameter.shape, dtype=torch.float64)
    for module in network.modules():
        if isinstance(module, FastDropout):
            module.p = 0.0
    run.network = network
    return run


def compared(architecture: Architecture, batch: int, kernel: Kernel) -> None:
    """Check loss and gradients of one batch against torch, in float64."""
    recipe = Recipe(batch_size=batch, label_smoothing=0.1, augmented_share=0.0)
    run, images = without_chance(architecture, recipe), some_images(batch)
    # The kernel sees the batch in an order of its own, which means nothing to sums but their rounding.
    loss, gradient = one_step(kernel, run, images)
    expected_loss, expected = reference(run.network, images, 0.1)

    assert loss == pytest.approx(expected_loss, rel=1e-9)
    assert (gradient - expected).abs().max() <= 1e-8 * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize("batch", [16, 21])
@pytest.mark.parametrize("text", NETWORKS)
def test_gradients_of_every_op_equal_torch_s(text: str, batch: int):
    # With one thread and its kernels in memory, with three and in the memory of the block.
    fast_bytes, threads = (0, 1) if batch == 16 else (1 << 20, 3)
    compared(parse_network(text), batch, host_kernel(threads, double=True, fast_bytes=fast_bytes))


@settings(max_examples=40, suppress_health_check=[HealthCheck.filter_too_much])
@given(st.from_type(Architecture), st.integers(2, 40))
def test_gradients_of_random_networks_equal_torch_s(architecture: Architecture, batch: int):
    # Dropout draws masks of its own; large maps take torch long in float64.
    assume(analyse(architecture).macs < 1_000_000 and "dropout" not in str(architecture))
    assume("poses" not in str(architecture))

    compared(architecture, batch, host_kernel(double=True))


def ended(text: str, recipe: Recipe, kernel: Kernel, seeds: Sequence[int] = (5,), epochs: int = 2) -> list[Training]:
    """Runs of some seeds, side by side."""
    images = some_images(320)
    runs = [start(parse_network(text), recipe, seed, CPU) for seed in seeds]
    for _ in range(epochs):
        train_epoch_side_by_side(kernel, runs, images)
    return runs


def bits(run: Training) -> list[Tensor]:
    """All that a run remembers."""
    memories = [
        value for kept in run.optimizer.state.values() for value in kept.values() if isinstance(value, torch.Tensor)
    ]
    return [*run.state, *(run.average or []), *memories]


DROPPING = "conv3x3(5) bn relu dropout(0.2) | maxpool | conv3x3(9, stride=2) prelu bn dropout2d(0.2) | gap | linear(10)"


@pytest.mark.parametrize("text", [NETWORKS[1], DROPPING])
def test_any_number_of_threads_gives_the_same_bits(text: str):
    ends = [bits(ended(text, RECIPES[0], host_kernel(threads), epochs=1)[0]) for threads in (1, 3, 8)]

    for other in ends[1:]:
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(ends[0], other, strict=True))


def test_a_network_trains_the_same_whoever_trains_beside_it():
    kernel, images = host_kernel(2), some_images(320)
    texts, recipes = (NETWORKS[0], DROPPING, NETWORKS[9]), (RECIPES[0], RECIPES[1], RECIPES[2])
    pairs = list(zip(texts, recipes, strict=True))
    together = [start(parse_network(text), recipe, 4, CPU) for text, recipe in pairs]
    train_epoch_side_by_side(kernel, together, images)

    for run, (text, recipe) in zip(together, pairs, strict=True):
        (alone,) = ended(text, recipe, kernel, seeds=(4,), epochs=1)
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(bits(run), bits(alone), strict=True))
        assert run.history[0].train_loss == alone.history[0].train_loss


@pytest.mark.parametrize("recipe", RECIPES)
def test_an_epoch_leaves_the_weights_memories_and_averages_of_torch(recipe: Recipe):
    # Two steps only: before rounding has grown.
    images = some_images(2 * recipe.batch_size)
    plain, ours = (start(parse_network(NETWORKS[0]), recipe, 3, CPU) for _ in range(2))
    train_epoch(plain, images)
    train_epoch_side_by_side(host_kernel(2), [ours], images)

    assert (ours.step, ours.history[0].learning_rate) == (plain.step, plain.history[0].learning_rate)
    assert ours.history[0].train_loss == pytest.approx(plain.history[0].train_loss, rel=1e-4)
    assert (ours.average is None) == (plain.average is None)
    for mine, other in zip([*ours.state, *(ours.average or [])], [*plain.state, *(plain.average or [])], strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4)
    for mine, other in zip(ours.network.parameters(), plain.network.parameters(), strict=True):
        for name, value in plain.optimizer.state[other].items():
            if value is not None:
                torch.testing.assert_close(ours.optimizer.state[mine][name], value, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_run_follows_the_run_by_the_native_engine(recipe: Recipe):
    images = some_images(320)
    fast = start(parse_network(NETWORKS[2]), recipe, 5, CPU, native.load())
    for _ in range(2):
        train_epoch(fast, images)
    (ours,) = ended(NETWORKS[2], recipe, host_kernel())

    for mine, other in zip(ours.history, fast.history, strict=True):
        assert mine.train_loss == pytest.approx(other.train_loss, rel=2e-3)
    assert abs(count_errors(ours, images) - count_errors(fast, images)) <= 0.03 * len(images)


def test_the_host_reads_no_number_of_a_single_run_for_which_it_would_wait():
    runs, images = [start(parse_network(DROPPING), RECIPES[0], seed, CPU) for seed in range(3)], some_images(64)

    Noting.names.clear()
    with Noting():  # type: ignore[no-untyped-call]
        train_epoch_side_by_side(host_kernel(), runs, images)

    assert {"aminmax", "randint"} <= Noting.names
    assert "_local_scalar_dense" not in Noting.names


def test_what_runs_of_one_network_share_is_copied_once():
    first, second = (
        persistent_training._prepared(
            host_kernel(), start(parse_network(DROPPING), RECIPES[0], seed, CPU), some_images(64)
        ).tensors
        for seed in range(2)
    )

    shared = {name for name, tensor in first.items() if tensor is not None and tensor is second[name]}
    assert shared == {"instructions", "maps", "gradients", "spreads", "decay", "schedule"}


def test_engines_go_on_where_another_one_stopped():
    images, recipe = some_images(320), RECIPES[0]
    first, second = (start(parse_network(NETWORKS[0]), recipe, 7, CPU) for _ in range(2))
    train_epoch_side_by_side(host_kernel(), [first], images)
    resume(second, checkpoint(first))
    train_epoch_side_by_side(host_kernel(), [first], images)
    train_epoch(second, images)

    assert second.history[-1].train_loss == pytest.approx(first.history[-1].train_loss, rel=1e-3)


@pytest.mark.parametrize(("op", "values"), [("dropout", 784), ("dropout2d", 1)])
@pytest.mark.parametrize("rate", [0.02, 0.25, 0.9])
def test_dropout_zeroes_the_share_it_is_told_and_scales_the_rest(op: str, values: int, rate: float):
    # Maps of ones; with all weights of the last layer zero its gradient is its input times a constant.
    architecture = parse_network(f"conv1x1(40, bias) {op}({rate}) linear(10)")
    recipe, seen = Recipe(batch_size=1, augmented_share=0.0), []
    images = replace(some_images(1), pixels=torch.zeros(1, 1, 28, 28, dtype=torch.uint8), labels=torch.zeros(1).long())
    for seed in range(40):
        run = start(architecture, recipe, seed, CPU)
        run.network = run.network.double()
        with torch.no_grad():
            for index, parameter in enumerate(run.network.parameters()):
                parameter.fill_(float(index == 1))
        gradient = one_step(host_kernel(double=True), run, images)[1]
        seen.append(gradient[80:-10].view(10, 40, 784)[1] * 10)

    assert_masks(torch.stack(seen), op, rate, values)


def test_gradients_pass_through_the_masks_of_the_forward_pass():
    # Smooth ops only, so that central differences are exact; each use of a mask has one before and one after it.
    text = "conv3x3(3) bn dropout(0.3) | avgpool(4) | conv3x3(5) dropout2d(0.3) bn dropout(0.5) | gap | linear(10)"
    images, kernel, recipe = some_images(12), host_kernel(double=True), Recipe(batch_size=12, augmented_share=0.0)
    run = without_chance(parse_network(text), recipe)
    draws = run.generator.get_state()

    def under_one_mask() -> tuple[float, Tensor]:
        run.generator.set_state(draws)
        return one_step(kernel, run, images)

    _, gradient = under_one_mask()
    at = 0
    for parameter in run.network.parameters():
        flat = parameter.data.reshape(-1)
        assert flat.data_ptr() == parameter.data_ptr()
        for index in range(0, flat.numel(), 1 + flat.numel() // 5):
            losses = []
            for step in (1e-5, -1e-5):
                flat[index] += step
                losses.append(under_one_mask()[0])
                flat[index] -= step
            assert (losses[0] - losses[1]) / 2e-5 == pytest.approx(float(gradient[at + index]), rel=1e-5, abs=1e-8)
        at += flat.numel()


def test_masks_change_from_step_to_step():
    # One image, over and over, and a rate of nearly nothing: only masks tell the losses of two steps apart.
    images = some_images(2)
    images = replace(images, pixels=images.pixels[:1].repeat(2, 1, 1, 1), labels=images.labels[:1].repeat(2))
    recipe = Recipe(batch_size=1, augmented_share=0.0, learning_rate=1e-12, momentum=0.0, nesterov=False)
    kernel, losses = host_kernel(), []
    for steps in (1, 2):
        run = start(parse_network("conv1x1(4) dropout(0.5) linear(10)"), recipe, 0, CPU)
        part = persistent_training._prepared(kernel, run, images)
        part.row.steps = steps
        kernel.launch(torch.frombuffer(bytearray(bytes(part.row)), dtype=torch.uint8), 1, part.fast_bytes)
        losses.append(persistent_training._tensor(part, "loss").item())

    assert losses[1] - losses[0] != pytest.approx(losses[0], rel=1e-3)


@pytest.mark.parametrize("text", [*NETWORKS[:4], "conv3x3(4) relu maxpool relu res(bn relu) avgpool conv1x1(10) gap"])
def test_a_weight_that_is_not_a_number_is_seen_in_the_loss(text: str):
    bad, good = (start(parse_network(text), Recipe(epochs=1, batch_size=32), 0, CPU) for _ in range(2))
    with torch.no_grad():
        first = next(bad.network.parameters())
        first[(0,) * first.ndim] = math.nan

    train_epoch_side_by_side(host_kernel(), [bad, good], some_images(64))

    assert [run.diverged for run in (bad, good)] == [True, False]
    assert bad.history[0].train_loss is None


@pytest.mark.parametrize(
    ("recipe", "device", "why"),
    [
        (Recipe(), "cuda", None),
        (Recipe(), "cpu", "it runs on CUDA devices, not on cpu"),
        (Recipe(precision=Precision.BF16), "cuda", "it computes in fp32, and the recipe asks for bf16"),
        (TAUGHT, "cuda", "it knows no teachers, and the recipe has one"),
    ],
)
def test_what_the_engine_cannot_train_it_declines(recipe: Recipe, device: str, why: str | None):
    assert refusal(parse_network(NETWORKS[0]), recipe, torch.device(device)) == why


def test_networks_in_poses_it_declines():
    posed = parse_network("conv3x3(4) bn(poses=2) relu gap linear(10)")

    assert refusal(posed, Recipe(), torch.device("cuda")) == "it knows no poses, and the network has some"


def test_fewer_images_than_a_batch_are_an_error():
    run = start(parse_network(NETWORKS[0]), Recipe(), 0, CPU)

    with pytest.raises(ContentError, match="batch_size is 64, but there are only 63 images"):
        train_epoch_side_by_side(host_kernel(), [run], some_images(63))


def declared(file: str, name: str) -> list[str]:
    """Names of a structure's or an enumeration's members in a source, in order."""
    text = re.sub(r"//[^\n]*", "", (persistent_training.SOURCES / file).read_text(encoding="utf-8"))
    body = re.search(rf"{name} (?:: int )?\{{(.*?)\}};", text, re.DOTALL)
    assert body is not None
    return re.findall(r"\b(\w+)(?=\s*[,;]|\s*$)", body.group(1))


def test_rows_have_the_fields_of_the_kernel_s_structures_in_order():
    renamed = {"in": "source", "out": "target"}
    found = [renamed.get(name, name) for name in declared("program.h", "struct Instruction")]
    assert found == list(Instruction.__slots__)
    assert declared("program.h", "struct MapRow") == list(persistent_training.MAP_ROW.names or ())
    assert declared("program.h", "struct Job") == [field[0] for field in JobRow._fields_]
    assert declared("program.h", "enum class Code") == [code.name for code in Code]
    assert declared("program.h", "enum Rectifier") == [rectifier.name for rectifier in Rectifier]
