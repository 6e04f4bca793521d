from __future__ import annotations

import pytest

from search_spaces.cost import analyse
from search_spaces.draw import judge
from search_spaces.network import Architecture
from search_spaces.notation import parse_network
from search_spaces.ops import Conv, GlobalAvgPool
from search_spaces.resolve import parse_space
from search_spaces.task import MNIST

NETWORK = parse_network("conv3x3(8) | gap | linear(10)")  # 162 parameters, 56,528 multiply-adds, field 3


@pytest.mark.parametrize(
    ("where", "budget", "reason", "message"),
    [
        ("", None, None, ""),
        ("", 162, None, ""),
        ("", 161, "parameters", "parameters is 162, but at most 161 are allowed"),
        ("where parameters <= 161", 200, "parameters", "parameters is 162, but the space has parameters <= 161"),
        ("where parameters <= 200", 100, "parameters", "parameters is 162, but at most 100 are allowed"),
        ("where parameters == 162, macs < 56529, receptive_field > 2", None, None, ""),
        ("where macs < 56528", None, "macs", "macs is 56,528, but the space has macs < 56528"),
        (
            "where receptive_field >= 20",
            None,
            "receptive_field",
            "receptive_field is 3, but the space has receptive_field >= 20",
        ),
    ],
)
def test_conditions_and_budget(where: str, budget: int | None, reason: str | None, message: str):
    found = judge(parse_space(f"net = bn; {where}"), NETWORK, budget)
    assert (found.reason, found.message) == (reason, message)
    assert found.accepted is (reason is None)
    assert found.analysis == analyse(NETWORK, MNIST)


def test_ops_that_do_not_fit_are_rejected_without_analysis():
    found = judge(parse_space("net = bn"), Architecture((Conv(3, 8), GlobalAvgPool())))
    assert (found.reason, found.analysis, found.accepted) == ("shape", None, False)
    assert found.message.startswith("the network ends in 8x1x1; it must end in 10 values")
