"""The integer form of networks: bytes counted by hand, and no map overwrites a map that is read later."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.spaces.integer_plan import IntegerPlan, IntegerStep, StepKind, integer_plan
from harness.spaces.network import MNIST, Architecture
from harness.spaces.notation import parse_network
from harness.spaces.ops import PoseLinear, Swish
from harness.spaces.space_errors import NoIntegerFormError


def plan_of(text: str, shape: tuple[int, int, int] = MNIST.input_shape) -> IntegerPlan:
    return integer_plan(parse_network(text).ops, shape)


@pytest.mark.parametrize(
    ("text", "constants", "arena"),
    [
        # 36 weights and 4 pairs of 2 bytes each; 40 weights and 10 biases of 2 bytes. A single map of 4x14x14.
        ("conv3x3(4) bn relu | maxpool | gap | linear(10)", 36 + 4 * 4 + 40 + 20, 4 * 14 * 14),
        # Without BN, a single multiplier for all channels; with biases, also a bias per channel.
        ("conv3x3(4) relu | gap | linear(10)", 36 + 2 + 40 + 20, 4 * 28 * 28),
        ("conv3x3(4, bias) relu | gap | linear(10)", 36 + 2 + 8 + 40 + 20, 4 * 28 * 28),
        # A filter in four poses is stored once; pairs are stored per channel, or per filter if statistics are shared.
        ("conv3x3(8, poses=4) bn(poses=4) relu | gap | linear(10)", 18 + 8 * 4 + 80 + 20, 8 * 28 * 28),
        ("conv3x3(8, poses=4) bn(poses=4, shared) relu | gap | linear(10)", 18 + 2 * 4 + 80 + 20, 8 * 28 * 28),
        # A tied kernel is stored once, and pairs for each use. Two maps of 4x28x28 are live.
        ("conv3x3(4) conv3x3(4, tie=a) bn relu conv3x3(4, tie=a) bn relu | gap linear(10)",
         36 + 2 + 144 + 2 * 16 + 40 + 20, 2 * 4 * 784),
        # A pointwise convolution overwrites the input.
        ("conv3x3(8) relu | conv1x1(4) | gap linear(10)", 72 + 2 + 32 + 2 + 40 + 20, 8 * 784),
        # A sum is part of the preceding convolution, and overwrites the map of the convolution.
        ("conv3x3(4) relu res(conv3x3(4) bn) relu | gap linear(10)", 36 + 2 + 144 + 16 + 40 + 20, 2 * 4 * 784),
        # The slope of prelu is part of the code, not of the constants.
        ("conv3x3(4) prelu | gap linear(10)", 36 + 2 + 40 + 20, 4 * 784),
        ("linear(10)", 7840 + 20, 0),
        # Four bytes per parameter are assumed for ops without an integer form.
        ("conv3x3(8, poses=8) gap poselinear(12, poses=8) relu linear(10)", 9 + 2 + 4 * 120 + 2 + 120 + 20, 8 * 784),
    ],
)  # fmt: skip
def test_bytes_of_constants_and_arena_equal_count_by_hand(text: str, constants: int, arena: int):
    plan = plan_of(text)

    assert (plan.constant_bytes, plan.arena_bytes) == (constants, arena)


def test_step_fuses_convolution_with_following_ops():
    plan = plan_of("conv3x3(4) bn relu | avgpool | res(conv3x3(4) bn) relu | gap | linear(10)")

    assert [step.kind for step in plan.steps] == [StepKind.CONVOLUTION, StepKind.CONVOLUTION, StepKind.LOGITS]
    first, second, last = plan.steps
    assert (first.pool is not None, second.skip, second.rectifier is not None) == (True, 1, True)
    assert last.is_global


def test_first_step_normalises_inputs_with_several_channels():
    plan = plan_of("conv3x3(4) | gap linear(10)", (3, 8, 8))

    assert plan.steps[0] == IntegerStep(kind=StepKind.SCALING, source=0, target=1, multipliers=3, biases=3)


def test_op_without_integer_form_is_named():
    plan = plan_of("conv3x3(4) swish relu | gap linear(10)")
    assert plan.missing == (Swish(),)
    with pytest.raises(NoIntegerFormError, match="swish"):
        plan.check()


def test_poselinear_has_integer_form_only_as_last_op():
    # For each class, a number per kernel (2) and a number per pose (8).
    head = plan_of("conv3x3(16, poses=8) gap poselinear(10, poses=8)")
    assert head.missing == ()
    assert head.kernels[-1].form.shape == (10, 2 + 8, 1, 1)
    hidden = plan_of("conv3x3(8, poses=8) gap poselinear(12, poses=8) relu linear(10)")
    assert hidden.missing == (PoseLinear(12, 8),)


def test_depthwise_kernel_in_poses_is_stored_once():
    plan = plan_of("conv3x3(8, poses=8) dwconv3x3(poses=4) relu gap linear(10)")
    assert [kernel.form.shape for kernel in plan.kernels] == [(1, 1, 3, 3), (2, 1, 3, 3), (10, 8, 1, 1)]
    assert plan.buffers.places == 9


@settings(max_examples=300, deadline=None)
@given(st.from_type(Architecture))
def test_no_map_overwrites_a_map_that_is_read_later(architecture: Architecture):
    plan = integer_plan(architecture.ops, MNIST.input_shape)
    last_reads = [
        max([index for index, step in enumerate(plan.steps) if number in (step.source, step.skip)], default=-1)
        for number in range(len(plan.maps))
    ]

    for index, step in enumerate(plan.steps[:-1]):
        assert step.target is not None
        output = plan.maps[step.target]
        assert output.offset is not None
        for number in range(1, step.target):
            neighbour = plan.maps[number]
            assert neighbour.offset is not None
            is_apart = output.end <= neighbour.offset or neighbour.end <= output.offset
            is_overwritten = number in step.overwritable_maps and last_reads[number] == index
            starts_alike = neighbour.offset == output.offset and neighbour.size >= output.size
            assert is_apart or last_reads[number] < index or (is_overwritten and starts_alike)
