"""The integer form of networks: bytes counted by hand, and maps that never lie upon one that is still read."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.deployment import (
    IntegerPlan,
    IntegerStep,
    StepKind,
    check_integer_form,
    integer_plan,
)
from search_spaces.network import MNIST, Architecture
from search_spaces.notation import parse_network
from search_spaces.ops import PoseLinear, Swish
from search_spaces.space_errors import NoIntegerFormError


def plan_of(text: str, shape: tuple[int, int, int] = MNIST.input_shape) -> IntegerPlan:
    return integer_plan(parse_network(text).ops, shape)


@pytest.mark.parametrize(
    ("text", "constants", "arena"),
    [
        # 36 weights, four pairs of two bytes each; 40 weights and ten biases. The map of 4x14x14 alone.
        ("conv3x3(4) bn relu | maxpool | gap | linear(10)", 36 + 4 * 4 + 40 + 20, 4 * 14 * 14),
        # Without BN one multiplier for all channels; with one a bias a channel too.
        ("conv3x3(4) relu | gap | linear(10)", 36 + 2 + 40 + 20, 4 * 28 * 28),
        ("conv3x3(4, bias) relu | gap | linear(10)", 36 + 2 + 8 + 40 + 20, 4 * 28 * 28),
        # A filter in four poses is stored once, its statistics four times or once.
        ("conv3x3(8, poses=4) bn(poses=4) relu | gap | linear(10)", 18 + 8 * 4 + 80 + 20, 8 * 28 * 28),
        ("conv3x3(8, poses=4) bn(poses=4, shared) relu | gap | linear(10)", 18 + 2 * 4 + 80 + 20, 8 * 28 * 28),
        # A tied kernel once; each use has its pairs. Two maps of 4x28x28 are live.
        ("conv3x3(4) conv3x3(4, tie=a) bn relu conv3x3(4, tie=a) bn relu | gap linear(10)",
         36 + 2 + 144 + 2 * 16 + 40 + 20, 2 * 4 * 784),
        # A convolution of single places writes over what it reads.
        ("conv3x3(8) relu | conv1x1(4) | gap linear(10)", 72 + 2 + 32 + 2 + 40 + 20, 8 * 784),
        # A sum is a part of the convolution before it, and lies where its map lay.
        ("conv3x3(4) relu res(conv3x3(4) bn) relu | gap linear(10)", 36 + 2 + 144 + 16 + 40 + 20, 2 * 4 * 784),
        # A slope is a number of the code.
        ("conv3x3(4) prelu | gap linear(10)", 36 + 2 + 40 + 20, 4 * 784),
        ("linear(10)", 7840 + 20, 0),
        # An op without an integer form is assumed to have four bytes a parameter.
        ("conv3x3(8, poses=8) gap poselinear(12, poses=8) relu linear(10)", 9 + 2 + 4 * 120 + 2 + 120 + 20, 8 * 784),
    ],
)  # fmt: skip
def test_bytes_of_constants_and_of_the_arena_are_those_counted_by_hand(text: str, constants: int, arena: int):
    plan = plan_of(text)

    assert (plan.constant_bytes, plan.arena_bytes) == (constants, arena)


def test_a_step_takes_in_what_follows_a_convolution():
    plan = plan_of("conv3x3(4) bn relu | avgpool | res(conv3x3(4) bn) relu | gap | linear(10)")

    assert [step.kind for step in plan.steps] == [StepKind.CONVOLUTION, StepKind.CONVOLUTION, StepKind.LOGITS]
    first, second, last = plan.steps
    assert (first.pool is not None, second.skip, second.rectifier is not None) == (True, 1, True)
    assert last.is_global


def test_several_channels_are_normalised_before_anything_else():
    plan = plan_of("conv3x3(4) | gap linear(10)", (3, 8, 8))

    assert plan.steps[0] == IntegerStep(kind=StepKind.SCALING, source=0, target=1, multipliers=3, biases=3)


def test_an_op_without_an_integer_form_is_named():
    plan = plan_of("conv3x3(4) swish relu | gap linear(10)")
    assert plan.missing == (Swish(),)
    with pytest.raises(NoIntegerFormError, match="swish"):
        check_integer_form(plan)


def test_a_head_by_pose_has_an_integer_form_as_the_last_op_alone():
    # A number a class and channel of 2, and one a class and pose.
    head = plan_of("conv3x3(16, poses=8) gap poselinear(10, poses=8)")
    assert head.missing == ()
    assert head.kernels[-1].form.shape == (10, 2 + 8, 1, 1)
    hidden = plan_of("conv3x3(8, poses=8) gap poselinear(12, poses=8) relu linear(10)")
    assert hidden.missing == (PoseLinear(12, 8),)


def test_a_depthwise_kernel_in_poses_is_stored_once():
    plan = plan_of("conv3x3(8, poses=8) dwconv3x3(poses=4) relu gap linear(10)")
    assert [kernel.form.shape for kernel in plan.kernels] == [(1, 1, 3, 3), (2, 1, 3, 3), (10, 8, 1, 1)]
    assert plan.buffers.places == 9


@settings(max_examples=300, deadline=None)
@given(st.from_type(Architecture))
def test_no_map_lies_on_one_that_is_read_later(architecture: Architecture):
    plan = integer_plan(architecture.ops, MNIST.input_shape)
    last_reads = [
        max([index for index, step in enumerate(plan.steps) if number in (step.source, step.skip)], default=-1)
        for number in range(len(plan.maps))
    ]

    for index, step in enumerate(plan.steps[:-1]):
        assert step.target is not None
        written = plan.maps[step.target]
        assert written.offset is not None
        for number in range(1, step.target):
            other = plan.maps[number]
            assert other.offset is not None
            is_apart = written.end <= other.offset or other.end <= written.offset
            is_overwritten = number in step.overwritable_maps and last_reads[number] == index
            starts_alike = other.offset == written.offset and other.size >= written.size
            assert is_apart or last_reads[number] < index or (is_overwritten and starts_alike)
