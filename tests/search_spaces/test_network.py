"""The form of a network follows from its structure."""

from __future__ import annotations

import hashlib
import pickle
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.catalog import space
from search_spaces.draw import Uniform, draw
from search_spaces.network import Architecture, Form, form
from search_spaces.notation import parse_network
from search_spaces.op_specs import op_text, plain
from search_spaces.ops import (
    AvgPool,
    BatchNorm,
    Conv,
    DepthwiseConv,
    Dropout,
    Dropout2d,
    GlobalAvgPool,
    LeakyReLU,
    Linear,
    MaxPool,
    Op,
    PReLU,
    ReLU,
    Residual,
    Swish,
    Unshuffle,
    kernels,
)

HEAD = (GlobalAvgPool(), Linear(10))


@pytest.mark.parametrize(
    ("op", "text"),
    [
        (Conv(1, 8), "conv1x1(8)"),
        (Conv(1, 8, 1), "conv1x1(8, pad=1)"),
        (Conv(3, 8, 1), "conv3x3(8)"),
        (Conv(5, 8, 0, 2, True, "t1"), "conv5x5(8, pad=0, stride=2, bias, tie=t1)"),
        (Conv(3, 8, kernel_width=1), "conv3x1(8)"),
        (Conv(3, 8, 0, 2, True, "t1", kernel_width=1), "conv3x1(8, pad=0, stride=2, bias, tie=t1)"),
        (Conv(1, 8, 1, kernel_width=3), "conv1x3(8)"),
        (Conv(1, 8, 2, kernel_width=3), "conv1x3(8, pad=2)"),
        (Conv(3, 8, groups=1), "conv3x3(8)"),
        (Conv(1, 8, 1, 2, True, "t1", groups=4), "conv1x1(8, pad=1, stride=2, groups=4, bias, tie=t1)"),
        (Conv(3, 8, poses=1), "conv3x3(8)"),
        (Conv(3, 8, groups=2, bias=True, poses=4), "conv3x3(8, groups=2, poses=4, bias)"),
        (DepthwiseConv(), "dwconv3x3"),
        (DepthwiseConv(0, 2, True, "t1"), "dwconv3x3(pad=0, stride=2, bias, tie=t1)"),
        (BatchNorm(), "bn"),
        (BatchNorm(unscaled=True), "bn(unscaled)"),
        (BatchNorm(poses=4), "bn(poses=4)"),
        (BatchNorm(unscaled=True, poses=2), "bn(unscaled, poses=2)"),
        (BatchNorm(poses=4, shared=True), "bn(poses=4, shared)"),
        (BatchNorm(unscaled=True, poses=2, shared=True), "bn(unscaled, poses=2, shared)"),
        (ReLU(), "relu"),
        (PReLU(), "prelu"),
        (Swish(), "swish"),
        (LeakyReLU(), "leaky"),
        (LeakyReLU(0.1), "leaky"),
        (LeakyReLU(0.25), "leaky(0.25)"),
        (Dropout(0.069), "dropout(0.069)"),
        (Dropout2d(0.5), "dropout2d(0.5)"),
        (MaxPool(), "maxpool"),
        (MaxPool(3), "maxpool(3)"),
        (Unshuffle(), "unshuffle"),
        (Unshuffle(4), "unshuffle(4)"),
        (AvgPool(), "avgpool"),
        (AvgPool(4), "avgpool(4)"),
        (GlobalAvgPool(), "gap"),
        (Linear(10), "linear(10)"),
        (Residual((Conv(3, 4), BatchNorm()), (1,)), "res(conv3x3(4) | bn)"),
    ],
)
def test_ops_are_written_without_their_defaults(op: Op, text: str):
    assert op_text(op) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.1, "0.1"), (1e-05, "0.00001"), (0.0, "0"), (5, "5"), (0.1 + 0.2, "0.30000000000000004")],
)
def test_numbers_are_plain_decimals(number: float, text: str):
    assert plain(number) == text


def test_the_default_padding_keeps_the_size_and_equals_its_explicit_form():
    assert Conv(5, 8) == Conv(5, 8, 2)
    assert Architecture((Conv(5, 8), *HEAD)).hash == Architecture((Conv(5, 8, 2), *HEAD)).hash


def test_a_square_kernel_is_as_wide_as_high_unless_it_says_so():
    assert Conv(3, 8) == Conv(3, 8, kernel_width=3)
    assert Conv(3, 8) != Conv(3, 8, kernel_width=1)


def test_dropout_of_zero_vanishes_also_inside_res():
    inner = Residual((Dropout(0.0), Conv(3, 1), Dropout2d(0.0)))
    assert str(Architecture((Dropout(0.0), inner, *HEAD))) == "res(conv3x3(1)) gap linear(10)"


def test_ties_are_renamed_in_order_of_use_and_vanish_when_used_once():
    ops = (Conv(3, 4, tie="once"), Conv(3, 4, tie="x"), Conv(3, 4, tie="b"), Conv(3, 4, tie="b"))
    written = str(Architecture((*ops, Residual((Conv(3, 4, tie="x"),)), *HEAD)))
    assert written == (
        "conv3x3(4) conv3x3(4, tie=t1) conv3x3(4, tie=t2) conv3x3(4, tie=t2) res(conv3x3(4, tie=t1)) gap linear(10)"
    )


def test_ties_that_swap_names_do_not_mix():
    ops = (Conv(3, 4, tie="t2"), Conv(3, 4, tie="t1"), Conv(3, 4, tie="t1"), Conv(3, 4, tie="t2"))
    assert [kernel.tie for kernel in kernels(Architecture(ops).ops)] == ["t1", "t2", "t2", "t1"]


def test_bars_are_printed_but_are_no_part_of_identity():
    plain_form = Architecture((Conv(3, 8), ReLU(), *HEAD))
    barred = Architecture((Conv(3, 8), ReLU(), *HEAD), bars=(2,))
    assert str(barred) == "conv3x3(8) relu | gap linear(10)"
    assert barred == plain_form
    assert barred.hash == plain_form.hash


def test_bars_at_the_ends_twice_or_around_vanished_ops_vanish():
    ops = (ReLU(), Dropout(0.0), *HEAD)
    assert str(Architecture(ops, bars=(0, 1, 2, 4))) == "relu | gap linear(10)"


def test_the_hash_is_that_of_the_canonical_ops_joined_by_one_space():
    text = "conv3x3(8) bn relu gap linear(10)"
    network = Architecture((Conv(3, 8), BatchNorm(), ReLU(), *HEAD), bars=(1, 3))
    assert network.hash == hashlib.sha256(text.encode()).hexdigest()[:12]


def test_residual_sums_are_told_apart_by_what_they_hold():
    assert Architecture((Residual((BatchNorm(),)), *HEAD)).hash != Architecture((BatchNorm(), *HEAD)).hash


@given(st.from_type(Architecture))
def test_canonical_form_is_a_fixed_point(network: Architecture):
    again = Architecture(network.ops, network.bars)
    assert again == network
    assert str(again) == str(network)


@given(st.from_type(Architecture))
def test_other_tie_names_and_idle_dropouts_change_nothing(network: Architecture):
    def renamed(ops: tuple[Op, ...]) -> tuple[Op, ...]:
        found: list[Op] = []
        for op in ops:
            if isinstance(op, Conv | DepthwiseConv):
                op = replace(op, tie=op.tie and f"x{op.tie}")
            elif isinstance(op, Residual):
                op = Residual(renamed(op.ops), op.bars)
            found += [op, Dropout(0.0)]
        return tuple(found)

    assert Architecture(renamed(network.ops)).hash == network.hash


@given(network=st.from_type(Architecture))
def test_a_network_travels_between_processes_as_it_is(network: Architecture):
    there = pickle.loads(pickle.dumps(network))
    assert (there, hash(there), str(there)) == (network, hash(network), str(network))


# The alternatives of `net` in the space `all`, in their order.
FORMS_OF_ALL = ("plain", "tied", "squeezed", "separable", "posed", "mirrored", "posed-separable")


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        ("conv3x3(8) bn relu | maxpool | conv1x1(4) | conv3x3(8) | gap | linear(10)", "plain"),
        ("gap linear(10)", "plain"),
        ("conv3x3(8) res(conv3x3(8) bn) gap linear(10)", "summed"),
        ("conv3x3(8) res(conv1x1(8, tie=a) bn) res(conv1x1(8, tie=a) bn) gap linear(10)", "tied"),
        ("conv3x3(8) conv3x3(8, tie=a) conv3x3(8, tie=a) gap linear(10)", "tied"),
        ("conv3x3(8) conv1x1(4) conv3x3(4, tie=a) conv3x3(4, tie=a) gap linear(10)", "tied"),
        ("conv3x3(8, tie=a) gap linear(10)", "plain"),
        ("conv3x3(8) conv1x1(4) conv3x3(8, tie=a) conv1x1(4) bn conv3x3(8, tie=a) gap linear(10)", "squeezed"),
        ("conv3x3(4) conv3x3(4, tie=a) res(conv3x3(4, tie=a) bn) gap linear(10)", "squeezed"),
        ("conv3x3(4) dwconv3x3 conv1x1(8) gap linear(10)", "separable"),
        ("conv3x3(4) res(dwconv3x3(tie=a)) res(dwconv3x3(tie=a)) gap linear(10)", "separable"),
        ("conv3x3(4) conv3x3(8, groups=2) gap linear(10)", "separable"),
        ("conv3x3(8, poses=4) gap linear(10)", "posed"),
        ("conv3x3(8, poses=8) gap linear(10)", "mirrored"),
        ("conv3x3(8, poses=4) conv3x3(8, groups=2, poses=4) gap linear(10)", "posed-separable"),
        ("conv3x3(8, poses=8) dwconv3x3 gap linear(10)", "posed-separable"),
    ],
)
def test_the_form_is_the_first_that_holds(network: str, expected: str):
    assert form(parse_network(network)) == expected


def test_the_forms_of_the_space_of_all_are_its_alternatives():
    rng, found = random.Random(0), space("all")
    seen = set()
    for _ in range(400):
        drawn = draw(found, Uniform(rng))
        (chosen,) = [decision.index for decision in drawn.decisions if decision.name == "net"]
        assert form(drawn.architecture) == FORMS_OF_ALL[chosen], str(drawn.architecture)
        seen.add(chosen)
    assert len(seen) == len(FORMS_OF_ALL) == len(Form) - 1
