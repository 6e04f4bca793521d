"""The numbers that a network keeps are those of torch's ``state_dict``, a tied kernel once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from harness.evidence import record
from harness.training.build import build
from search_spaces.cost import stored_numbers
from search_spaces.network import Architecture
from search_spaces.task import MNIST
from tests.conftest import REPOSITORY


def kept(network: nn.Module) -> int:
    """Return how many floating numbers torch's state has; the same memory counts once."""
    tensors = {tensor.data_ptr(): tensor for tensor in network.state_dict().values() if tensor.is_floating_point()}
    return sum(tensor.numel() for tensor in tensors.values())


@settings(max_examples=40)
@given(architecture=st.from_type(Architecture))
def test_a_random_network_keeps_the_numbers_of_torch_s_state(architecture: Architecture):
    assert stored_numbers(architecture, MNIST) == kept(build(architecture, MNIST))


@pytest.mark.parametrize(
    ("row", "parameters", "numbers"), [("eab8ff", 1_462, 1_814), ("4b8be5", 1_940, 2_420), ("5b5d16", 2_490, 2_740)]
)
def test_the_numbers_of_rows_of_the_leaderboard(row: str, parameters: int, numbers: int):
    [path] = (REPOSITORY / "records").glob(f"{row}*.json")
    evidence = record.read(path)
    network = evidence.architecture
    assert evidence.parameters == parameters
    assert stored_numbers(network, MNIST) == numbers == kept(build(network, MNIST))
