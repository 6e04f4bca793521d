from __future__ import annotations

import dataclasses
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from harness.training import build as build_module
from harness.training.build import Network, _initialise, build, seed_dropout
from harness.training.modules import _FlatLinear, _Residual
from harness.training.recipe import Initialisation
from search_spaces import ops as spec
from search_spaces.catalog import PRESETS, SPACES, space
from search_spaces.cost import analyse, output_shape
from search_spaces.draw import draw_uniform
from search_spaces.errors import ShapeError
from search_spaces.network import Architecture
from search_spaces.notation import parse_network
from search_spaces.task import MNIST, Shape

HEADS: tuple[tuple[spec.Op, ...], ...] = (
    (spec.GlobalAvgPool(), spec.Linear(10)),
    (spec.GlobalAvgPool(), spec.Conv(1, 10, bias=True)),
    (spec.Conv(3, 10), spec.GlobalAvgPool()),
    (spec.Linear(16), spec.BatchNorm(), spec.ReLU(), spec.Dropout(0.3), spec.Linear(10)),
)


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    """Networks with every op and option, kernels of equal shape often tied."""
    ops: list[spec.Op] = []
    shape: Shape = MNIST.input_shape
    for _ in range(draw(st.integers(1, 7))):
        op = draw(_ops(shape[0]))
        try:
            after = output_shape(op, shape)
        except ShapeError:
            continue
        # One unshuffle after the other makes more channels than anybody trains.
        if after[0] <= 64:
            ops.append(op)
            shape = after
    return Architecture((*ops, *draw(st.sampled_from(HEADS))))


def _ops(channels: int) -> st.SearchStrategy[spec.Op]:
    def tied(op: spec.Op, tie: bool) -> spec.Op:
        if not tie or not isinstance(op, spec.Conv | spec.DepthwiseConv):
            return op
        if isinstance(op, spec.DepthwiseConv):
            return dataclasses.replace(op, tie=f"d{channels}")
        assert isinstance(op, spec.Conv)
        shape = (op.out_channels // op.poses, channels // op.groups, op.kernel_size, op.kernel_width)
        return dataclasses.replace(op, tie="k" + "_".join(map(str, shape)))

    width, padding, stride = st.integers(1, 6), st.integers(0, 3), st.integers(1, 2)
    square = st.builds(spec.Conv, st.sampled_from([1, 3, 5]), width, padding, stride, st.booleans())
    column = st.builds(spec.Conv, st.just(3), width, padding, stride, st.booleans(), st.none(), st.just(1))
    row = st.builds(spec.Conv, st.just(1), width, padding, stride, st.booleans(), st.none(), st.just(3))
    parted = st.builds(lambda groups, out: spec.Conv(3, groups * out, groups=groups), st.integers(2, 3), width)
    posed = st.builds(lambda poses, out: spec.Conv(3, poses * out, poses=poses), st.sampled_from([2, 4, 8]), st.just(1))
    conv = st.one_of(square, column, row, parted, posed)
    depthwise = st.builds(spec.DepthwiseConv, padding, stride, st.booleans())
    kernel = st.builds(tied, st.one_of(conv, depthwise), st.booleans())
    same = st.builds(tied, st.builds(spec.Conv, st.sampled_from([1, 3, 5]), st.just(channels)), st.booleans())
    plain = st.sampled_from(
        [
            spec.BatchNorm(),
            spec.BatchNorm(unscaled=True),
            spec.BatchNorm(poses=2),
            spec.ReLU(),
            spec.LeakyReLU(0.3),
            spec.PReLU(),
            spec.Swish(),
            spec.Dropout(0.1),
            spec.Dropout2d(0.2),
        ]
    )
    residual = st.builds(lambda *inner: spec.Residual(inner), st.one_of(same, plain), same, plain)
    pool = st.one_of(
        st.builds(spec.MaxPool, st.integers(1, 4)),
        st.builds(spec.AvgPool, st.integers(1, 4)),
        st.builds(spec.Unshuffle, st.integers(2, 3)),
    )
    return st.one_of(kernel, kernel, same, plain, pool, residual)


def shapes_seen(network: Network) -> list[Shape]:
    """The shape after every op, as torch finds it, for one image."""
    values, shapes = torch.zeros(2, *MNIST.input_shape), []
    network.eval()
    with torch.no_grad():
        for module in network.ops:
            values = module(values)
            shapes.append(tuple(values.shape[1:]))
    return shapes


def unique_parameters(network: nn.Module) -> int:
    """Count stored scalars by the addresses of their storages, without torch's own list of parameters."""
    storages: dict[int, int] = {}
    for module in network.modules():
        for name in ("weight", "bias"):
            tensor = getattr(module, name, None)
            if isinstance(tensor, Tensor):
                storages[tensor.data_ptr()] = tensor.numel()
    return sum(storages.values())


def stored(network: Network, *path: int, name: str = "weight") -> Tensor:
    """The tensor of one op; below ``res`` the path has an index a level."""
    module: nn.Module = network
    for index in path:
        assert isinstance(module, Network | _Residual)
        module = module.ops[index]
    tensor = getattr(module, name)
    assert isinstance(tensor, Tensor)
    return tensor.detach() if tensor.grad is None else tensor


def gradient(network: Network, *path: int) -> Tensor:
    found = stored(network, *path).grad
    assert found is not None
    return found


def compare(architecture: Architecture) -> None:
    analysis = analyse(architecture, MNIST)
    network = build(architecture, MNIST)
    assert len(network.ops) == len(architecture.ops)
    assert unique_parameters(network) == analysis.parameters
    assert shapes_seen(network) == [layer.output_shape for layer in analysis.layers]
    assert network(torch.zeros(3, *MNIST.input_shape)).shape == (3, 10)


@pytest.mark.parametrize("name", PRESETS)
def test_torch_counts_and_shapes_the_presets_as_the_closed_forms_do(name: str):
    compare(parse_network(PRESETS[name].text))


@pytest.mark.parametrize("name", SPACES)
def test_torch_counts_and_shapes_networks_of_every_space_as_the_closed_forms_do(name: str):
    source = random.Random(name)
    for _ in range(15):
        compare(draw_uniform(space(name), source).architecture)


@settings(max_examples=80)
@given(architecture=architectures())
def test_torch_counts_and_shapes_any_network_as_the_closed_forms_do(architecture: Architecture):
    compare(architecture)


def test_ops_that_do_not_fit_together_are_refused():
    with pytest.raises(ShapeError, match=r"^the network ends in 8x28x28; it must end in 10 values"):
        build(Architecture((spec.Conv(3, 8),)), MNIST)


def test_a_count_that_torch_does_not_share_is_a_fault_of_the_program(monkeypatch: pytest.MonkeyPatch):
    architecture = parse_network("conv3x3(4) gap linear(10)")
    wrong = dataclasses.replace(analyse(architecture, MNIST), parameters=85)
    monkeypatch.setattr(build_module, "analyse", lambda *_: wrong)
    with pytest.raises(AssertionError, match=r"^torch counts 86 parameters, search_spaces\.cost 85: please"):
        build(architecture, MNIST)


def test_tied_kernels_are_one_tensor_with_biases_of_their_own():
    network = build(
        parse_network("conv3x3(4) conv3x3(4, tie=a, bias) conv3x3(4, pad=0, tie=a, bias) gap linear(10)"), MNIST
    )
    assert network.ops[1].weight is network.ops[2].weight
    assert network.ops[1].bias is not network.ops[2].bias
    assert network.ops[2].padding == (0, 0)


def test_a_tied_kernel_gets_the_sum_of_the_gradients_of_its_uses():
    tied = build(
        parse_network("conv3x3(4) conv3x3(4, tie=a) relu res(conv3x3(4, tie=a)) gap linear(10)"), MNIST
    ).double()
    apart = build(parse_network("conv3x3(4) conv3x3(4) relu res(conv3x3(4)) gap linear(10)"), MNIST).double()
    apart.load_state_dict(tied.state_dict())
    images = torch.randn(5, *MNIST.input_shape, dtype=torch.float64)

    for network in (tied, apart):
        network(images).square().sum().backward()

    uses = gradient(apart, 1), gradient(apart, 3, 0)
    assert all(float(use.norm()) > 0 for use in uses)
    torch.testing.assert_close(gradient(tied, 1), uses[0] + uses[1])
    torch.testing.assert_close(gradient(tied, 0), gradient(apart, 0))


def test_a_tied_kernel_survives_the_move_to_another_memory_format():
    network = build(parse_network("conv3x3(4) conv3x3(4, tie=a) conv3x3(4, tie=a) gap linear(10)"), MNIST)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in torch's stubs
    assert network.ops[1].weight is network.ops[2].weight


def test_a_residual_adds_its_input_to_what_its_ops_make_of_it():
    network = build(parse_network("conv3x3(4) res(conv3x3(4) bn relu) gap linear(10)"), MNIST).eval()
    residual = network.ops[1]
    values = torch.randn(2, 4, 28, 28)

    assert isinstance(residual, _Residual)
    inner = torch.nn.functional.conv2d(values, stored(network, 1, 0), padding=1)
    # A fresh bn in evaluation mode divides by sqrt(1 + 1e-5).
    expected = values + torch.relu(inner / (1 + 1e-5) ** 0.5)
    torch.testing.assert_close(residual(values), expected)


def test_bn_of_a_vector_and_a_linear_layer_of_a_map_are_one_module_each():
    network = build(parse_network("maxpool(7) linear(6) bn relu linear(10)"), MNIST)

    assert [type(module) for module in network.ops] == [
        nn.MaxPool2d,
        _FlatLinear,
        nn.BatchNorm1d,
        nn.ReLU,
        _FlatLinear,
    ]


def test_every_dropout_draws_from_the_generator_it_is_given_and_from_no_other():
    network = build(
        parse_network("conv3x3(8) dropout(0.2) res(conv3x3(8) dropout2d(0.2)) | gap | linear(10)"), MNIST
    ).train()
    images = torch.randn(4, *MNIST.input_shape)
    before = torch.get_rng_state()
    outputs = []
    for seed in (5, 5, 6):
        seed_dropout(network, torch.Generator().manual_seed(seed))
        outputs.append(network(images))

    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])
    assert torch.equal(torch.get_rng_state(), before)


def test_kaiming_weights_are_scaled_by_fan_in_and_biases_are_zero():
    network = build(parse_network("conv3x3(32) conv3x3(64, bias) | gap | conv1x1(10, bias)"), MNIST)
    torch.manual_seed(1)

    _initialise(network, Initialisation.KAIMING)

    kernel = stored(network, 1)
    assert float(kernel.std()) == pytest.approx((2 / (32 * 9)) ** 0.5, rel=0.03)
    assert float(kernel.mean()) == pytest.approx(0, abs=0.002)
    assert stored(network, 1, name="bias").tolist() == [0.0] * 64
    assert stored(network, 3, name="bias").tolist() == [0.0] * 10


def test_a_tied_kernel_is_drawn_once():
    networks = [
        build(parse_network(f"conv3x3(4) conv3x3(4, tie=a){more} | gap | conv1x1(10)"), MNIST)
        for more in (" conv3x3(4, tie=a)", " conv3x3(4, tie=a) conv3x3(4, tie=a)")
    ]
    for network in networks:
        torch.manual_seed(1)
        _initialise(network, Initialisation.KAIMING)

    assert torch.equal(stored(networks[0], 1), stored(networks[1], 1))
    assert torch.equal(stored(networks[0], -1), stored(networks[1], -1))


def test_torch_weights_are_left_as_torch_drew_them():
    network = build(parse_network("conv3x3(4, bias) | gap | linear(10)"), MNIST)
    before = [parameter.clone() for parameter in network.parameters()]
    _initialise(network, Initialisation.TORCH)
    assert all(torch.equal(now, then) for now, then in zip(network.parameters(), before, strict=True))


@pytest.mark.parametrize("name", PRESETS)
def test_presets_train_in_bf16_with_weights_and_gradients_in_fp32(name: str):
    network = build(parse_network(PRESETS[name].text), MNIST).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = network(torch.randn(8, *MNIST.input_shape))
    logits.float().square().sum().backward()
    gradients = [parameter.grad for parameter in network.parameters()]
    assert all(gradient is not None and gradient.dtype == torch.float32 for gradient in gradients)
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients if gradient is not None)


def test_a_kernel_of_one_column_or_row_is_padded_along_its_length_only():
    network = build(parse_network("conv3x1(4) conv1x3(5, pad=2, stride=2) conv3x1(5, pad=0) gap linear(10)"), MNIST)
    convolutions = [module for module in network.ops if isinstance(module, nn.Conv2d)]
    assert [module.kernel_size for module in convolutions] == [(3, 1), (1, 3), (3, 1)]
    assert [module.padding for module in convolutions] == [(1, 0), (0, 2), (0, 0)]
    assert [module.stride for module in convolutions] == [(1, 1), (2, 2), (1, 1)]


@pytest.mark.parametrize("text", ["conv3x3(4) bn(unscaled) gap linear(10)", "linear(4) bn(unscaled) linear(10)"])
def test_an_unscaled_bn_normalises_and_shifts(text: str):
    network = build(parse_network(text), MNIST).train()
    with torch.no_grad():
        network.ops[1].bias.fill_(3.0)  # type: ignore[operator]  # modules may be anything

    values = network.ops[1](network.ops[0](torch.randn(50, *MNIST.input_shape)))

    axes = [axis for axis in range(values.dim()) if axis != 1]
    torch.testing.assert_close(values.mean(axes), torch.full((4,), 3.0), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(values.var(axes, correction=0), torch.ones(4), rtol=1e-3, atol=1e-3)
    assert [name for name, _ in network.ops[1].named_parameters()] == ["bias"]


def test_a_prelu_begins_at_a_quarter_and_trains_in_bf16():
    network = build(parse_network("conv3x3(4) prelu gap linear(10) prelu"), MNIST)
    assert stored(network, 1).tolist() == [0.25]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        network(torch.randn(8, *MNIST.input_shape)).float().square().sum().backward()
    assert gradient(network, 1).dtype == torch.float32
    assert float(gradient(network, 1)) != 0


def test_a_network_prints_the_rates_of_its_dropouts():
    printed = repr(build(parse_network("conv3x3(4) dropout(0.1) dropout2d(0.2) gap linear(10)"), MNIST))
    assert "FastDropout(p=0.1, channels=False)" in printed
    assert "FastDropout(p=0.2, channels=True)" in printed
