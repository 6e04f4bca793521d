"""Tests of flat programs, against the costs and shapes of the architecture and against torch's own order."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.modules.batchnorm import _BatchNorm

from harness.training.modules import build
from harness.training.native.instruction import _HEADER, Code, _header
from harness.training.native.program import program
from search_spaces.cost import analyse
from search_spaces.network import Architecture
from search_spaces.notation import parse_network
from search_spaces.task import MNIST

networks = st.from_type(Architecture)


@given(networks)
def test_a_program_counts_the_parameters_of_its_network(network: Architecture):
    assert program(network, MNIST.input_shape).parameter_count == analyse(network, MNIST).parameters


@given(networks)
def test_the_last_value_holds_a_number_a_class(network: Architecture):
    last = program(network, MNIST.input_shape).values[-1]
    assert (last.channels, last.height, last.width) == (10, 1, 1)


@given(networks)
def test_every_value_is_written_once_before_it_is_read(network: Architecture):
    found = program(network, MNIST.input_shape)
    written = {0}
    for item in found.instructions:
        assert {item.source} | ({item.other} if item.other >= 0 else set()) <= written
        assert item.target not in written
        written.add(item.target)
    assert written == set(range(len(found.values)))


@given(networks)
def test_margins_are_as_wide_as_the_widest_window_needs(network: Architecture):
    found = program(network, MNIST.input_shape)
    for index, value in enumerate(found.values):
        readers = [item for item in found.instructions if item.source == index and item.kernel >= 0]
        writers = [item for item in found.instructions if item.target == index and item.rows and item.kernel >= 0]
        assert value.margin == max(
            [0, *(item.row_padding for item in readers), *(item.column_padding for item in readers)]
        )
        back = [(item.rows - 1 - item.row_padding, item.columns - 1 - item.column_padding) for item in writers]
        assert value.gradient_margin == max([0, *(margin for both in back for margin in both)])


@settings(max_examples=30)
@given(networks)
def test_parameters_lie_in_the_order_of_torch(network: Architecture):
    module = build(network, MNIST)
    found = program(network, MNIST.input_shape)
    assert [size for size, _ in found.parameters] == [item.numel() for item in module.parameters()]
    assert [kernel for _, kernel in found.parameters] == [item.ndim > 1 for item in module.parameters()]
    norms = [item for item in module.modules() if isinstance(item, _BatchNorm)]
    assert list(found.statistics) == [item.num_features for item in norms]


def test_relu_bn_relu_dropout_are_one_instruction_in_this_order_only():
    def kinds(text: str) -> list[tuple[int, bool, int, int]]:
        found = program(parse_network(f"conv1x1(2) {text} gap linear(10)"), MNIST.input_shape)
        return [
            (item.before, item.scale >= 0, item.after, item.dropout)
            for item in found.instructions
            if item.code is Code.POINTWISE
        ]

    assert kinds("relu bn relu dropout(0.5)") == [(1, True, 1, 1)]
    assert kinds("bn dropout2d(0.5)") == [(0, True, 0, 2)]
    assert kinds("relu") == [(1, False, 0, 0)]
    assert kinds("dropout(0.5) relu bn") == [(0, False, 0, 1), (1, True, 0, 0)]
    assert kinds("bn bn") == [(0, True, 0, 0), (0, True, 0, 0)]
    assert kinds("leaky bn relu") == [(2, True, 1, 0)]
    assert kinds("swish bn swish") == [(4, True, 4, 0)]
    assert kinds("relu bn leaky dropout(0.5)") == [(1, True, 2, 1)]
    assert kinds("leaky relu leaky") == [(2, False, 0, 0), (1, False, 0, 0), (2, False, 0, 0)]


def test_statistics_lie_behind_the_parameters_means_first():
    found = program(parse_network("bn conv1x1(3, bias) bn gap linear(10)"), MNIST.input_shape)
    norms = [item for item in found.instructions if item.scale >= 0]
    # 2 of the first norm, 3 and 3 of the convolution, 6 of the second norm, 40 of the linear layer.
    assert found.parameter_count == 54
    assert [(item.scale, item.shift, item.mean, item.variance) for item in norms] == [(0, 1, 54, 55), (8, 11, 56, 59)]
    assert found.state_size == 54 + 2 + 6


def test_the_engine_s_header_is_written_from_the_declarations_here():
    assert _HEADER.read_text(encoding="utf-8") == _header(), "python -m harness.training.native.instruction writes it"
