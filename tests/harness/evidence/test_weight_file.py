"""Files of weights: which names they have, and what is refused of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from harness.evidence.record import Record
from harness.evidence.weight_file import path_of, read, read_recorded
from harness.system.errors import ContentError
from harness.training.modules import Network, build
from harness.training.train import to_safetensors
from search_spaces.network import MNIST
from search_spaces.notation import parse_network

NETWORK = "conv3x3(4) bn relu | conv3x3(4, tie=t1) bn res(conv3x3(4, tie=t1) bn) | gap | linear(10)"


def learned(seed: int) -> Network:
    torch.manual_seed(seed)
    return build(parse_network(NETWORK), MNIST)


def digest(network: Network) -> str:
    """The digest of a record: all floating tensors of torch's state, each as often as it has a name."""
    tensors = [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]
    return hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in tensors)).hexdigest()


@pytest.fixture
def evidence(new_record: Callable[..., Record]) -> Record:
    """A record of the seeds 2 to 5, with the digests of networks of these seeds."""
    made = new_record([60] * 4, NETWORK, first=2)
    seeds = tuple(replace(run, weights_sha256=digest(learned(run.index))) for run in made.seeds)
    return replace(made, seeds=seeds)


def keep(folder: Path, evidence: Record, index: int, content: bytes | None = None) -> Path:
    path = path_of(folder, evidence, index)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content or to_safetensors(learned(index), {"architecture": NETWORK}))
    return path


def test_what_is_read_is_torch_s_state_with_a_tied_kernel_once(evidence: Record, tmp_path: Path):
    network = learned(3)

    found = read(keep(tmp_path, evidence, 3))

    state = {name: value for name, value in network.state_dict().items() if value.is_floating_point()}
    assert found.state == tuple(state)
    assert found.tied == {"ops.5.ops.0.weight": "ops.3.weight"}
    assert found.kept.keys() == state.keys() - found.tied.keys()
    assert all(np.array_equal(value, state[name].numpy()) for name, value in found.kept.items())
    assert found.about == {"architecture": NETWORK}
    assert found.sha256 == digest(network)


@pytest.mark.parametrize(
    ("seed", "about"),
    [
        (5, {"architecture": NETWORK}),
        (4, {}),
        (4, {"architecture": NETWORK.replace("bn relu", "relu bn")}),
        *((4, {"architecture": NETWORK, name: "1"}) for name in ("pixel_mean", "parameters", "weights_sha256")),
    ],
)
def test_weights_that_are_not_as_the_record_has_them_are_refused(
    seed: int, about: dict[str, str], evidence: Record, tmp_path: Path
):
    keep(tmp_path, evidence, 4)
    assert read_recorded(tmp_path, evidence, 4).sha256 == evidence.seeds[2].weights_sha256
    silent = replace(evidence, seeds=(replace(evidence.seeds[2], weights_sha256=None),))
    with pytest.raises(ContentError):
        read_recorded(tmp_path, silent, 4)
    keep(tmp_path, evidence, 4, to_safetensors(learned(seed), about))

    with pytest.raises(ContentError):
        read_recorded(tmp_path, evidence, 4)


ARRAY = {"a": np.zeros(2, dtype=np.float32)}


def stated(about: object) -> bytes:
    return save(ARRAY, {"harness": json.dumps(about)})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no weights",
        save(ARRAY),
        *(save(ARRAY, {"harness": about}) for about in ("{", "[]")),
        *map(
            stated,
            [
                {"state": ["a"]},
                {"state": ["a"], "tied": [1]},
                {"state": [["a"]], "tied": {}},
                {"state": 3, "tied": {}},
                {"state": ["a", "b"], "tied": {}},
                {"state": [], "tied": {}},
            ],
        ),
    ],
)
def test_a_file_that_this_program_has_not_written_is_refused_in_one_line(content: bytes, tmp_path: Path):
    path = tmp_path / "net.safetensors"
    path.write_bytes(content)

    with pytest.raises(ContentError) as caught:
        read(path)

    assert "\n" not in caught.value.message
    assert str(path) in caught.value.message
