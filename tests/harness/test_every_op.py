"""Every op is known wherever an op has to be known: whoever adds one is told here what is missing."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import get_args

from harness.training.modules import MODULES
from harness.training.native.instruction import Activation
from harness.training.native.program import _ACTIVATIONS, _DROPOUTS, INSTRUCTIONS
from search_spaces.notation import parse_network
from search_spaces.op_specs import OP_NAMES, SPECS, Spec
from search_spaces.ops import BatchNorm, Dropout, Dropout2d, Op, Residual
from tests.harness.training.native.networks import NETWORKS

# Also compared with torch as an ONNX model.
EVERY_OP = (
    "conv5x5(4, pad=0, stride=2, bias) bn relu dropout(0.1) dwconv3x3(bias) res(conv1x1(4) relu) dropout2d(0.1) "
    "maxpool(3) avgpool conv1x1(6) leaky conv3x1(6, groups=2) prelu conv1x3(4) swish bn(unscaled) unshuffle(2) gap "
    "linear(12) bn relu linear(10)"
)
OPS = set(get_args(Op))
DEFAULT_COST = next(field.default for field in fields(Spec) if field.name == "cost")
GRAMMAR = Path(__file__).resolve().parents[2] / "docs" / "grammar.md"


def ops_of(ops: tuple[Op, ...]) -> set[type[Op]]:
    inner = [ops_of(op.ops) for op in ops if isinstance(op, Residual)]
    return {type(op) for op in ops}.union(*inner)


def test_every_op_has_a_spec_a_module_and_an_instruction():
    assert SPECS.keys() == OPS - {Residual}
    assert MODULES.keys() == OPS - {Residual}
    assert {*_ACTIVATIONS, *_DROPOUTS, *INSTRUCTIONS, BatchNorm} == OPS
    assert {*_ACTIVATIONS.values()} == {*Activation} - {Activation.NONE}


def test_every_op_is_among_the_networks_that_are_compared_with_torch():
    native = {op for text in NETWORKS for op in ops_of(parse_network(text).ops)}

    # Dropout draws masks of its own in each engine.
    assert native == OPS - {Dropout, Dropout2d}
    assert ops_of(parse_network(EVERY_OP).ops) == OPS


def test_every_op_is_documented():
    text = GRAMMAR.read_text(encoding="utf-8")
    assert [name for name in OP_NAMES if f"`{name}" not in text] == []


def test_what_an_op_with_a_kernel_costs_is_left_to_its_kernel():
    """A cost of its own would be ignored."""
    assert [spec.op for spec in SPECS.values() if spec.kernel is not None and spec.cost is not DEFAULT_COST] == []
